"""Fetches what an archive lacks of a market's past, several portions at a time, and puts each there whole.

A portion is a month of bars or an hour of trades: its files are written once it is whole, then noted as such. So an
interrupt loses the portions under way, no more, and a run that goes on ends with the bytes of one that was not cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from connectors.archive import SCHEMAS, TOPIC_FOLDERS, discard, write
from connectors.backfill.spans import Span, hours, months, without
from connectors.backfill.state import Wanted, Whole
from connectors.backfill.venue import Candle, Trade, Venue
from connectors.held import HeldFile, read_columns
from connectors.importers.batch import Batch
from connectors.importers.examine import examine
from connectors.importers.measures import GapCounter
from connectors.importers.raw import ROW
from connectors.importers.report import Dropped, Gaps, Report
from connectors.importers.settings import Settings
from connectors.store import Store
from schemas.base import NS_PER_DAY, NS_PER_MS, NS_PER_S
from schemas.errors import VenueError

PORTIONS = 4
"""At a time: what is held in memory, and lost by an interrupt."""
CALLS = 8
"""At a time; the exchange's own limits are ccxt's to keep."""
SIDES = {"buy": 1, "sell": -1}
EARLIEST_MS = NS_PER_DAY // NS_PER_MS
"""From when on an exchange is asked what its oldest candle is."""
T = TypeVar("T")
Progress = Callable[[int], None]
"""Takes how much more of the time asked for, in ns, is done."""


@dataclass
class Outcome:
    """What a backfill did."""

    begins_ns: int
    """Where the exchange's own data begins, if that is after what was asked for; else what was asked for."""
    fetched: list[Span] = field(default_factory=list)
    rows: int = 0
    """Fetched, and in the archive now."""
    dropped: dict[str, Dropped] = field(default_factory=dict)
    files: int = 0
    gaps: Gaps | None = None
    """Of all that was asked for, fetched now or earlier."""


async def backfill(venue: Venue, store: Store, wanted: Wanted, progress: Progress = lambda _: None) -> Outcome:
    """Fetch what is not there yet. Raises VenueError, ArchiveError and StoreError; what is whole by then stays."""
    whole = Whole(store, wanted)
    todo = without((wanted.since_ns, wanted.until_ns), whole.spans)
    outcome = Outcome(wanted.since_ns)
    if todo:
        begins_ns = min(await _begins(venue, wanted), wanted.until_ns)
        if todo[0][0] == wanted.since_ns:
            outcome.begins_ns = max(wanted.since_ns, begins_ns)
        spans = [(max(lo, begins_ns), hi) for lo, hi in todo if hi > begins_ns]
        progress(wanted.until_ns - wanted.since_ns - sum(hi - lo for lo, hi in spans))
        cut = _cut(wanted.kind)
        work = iter([portion for span in spans for portion in cut(span)])
        job = _Job(venue, store, wanted, whole, outcome, progress, asyncio.Semaphore(CALLS))
        await _together([job.run(work) for _ in range(PORTIONS)])
    outcome.gaps = _gaps(store, wanted, outcome.begins_ns)
    return outcome


def _cut(kind: str) -> Callable[[Span], Iterator[Span]]:
    return months if kind == "bars" else hours


async def _together(jobs: list[Coroutine[Any, Any, T]]) -> list[T]:
    """Give what all of them give; the first error ends the others and is raised alone."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _begins(venue: Venue, wanted: Wanted) -> int:
    """Ask where the exchange's own data begins: years before it need not be asked for, and are not noted as whole."""
    if wanted.kind == "trades":
        return (await venue.first_trade() or 0) * NS_PER_MS
    first = await venue.first_candle(wanted.timeframe, EARLIEST_MS)
    return 0 if first is None else first * NS_PER_MS + wanted.interval_ns


def _first_open(since_ns: int, interval_ns: int) -> int:
    """Tell when the first bar opened that closes at or after a time."""
    return -(-(since_ns - interval_ns) // interval_ns) * interval_ns


@dataclass
class _Job:
    """One of several that share the work."""

    venue: Venue
    store: Store
    wanted: Wanted
    whole: Whole
    outcome: Outcome
    progress: Progress
    calls: asyncio.Semaphore

    async def run(self, work: Iterator[Span]) -> None:
        """Take portions until none is left."""
        for portion in work:
            fetch = self._bars if self.wanted.kind == "bars" else self._trades
            self._keep(portion, await fetch(portion))

    async def _bars(self, portion: Span) -> pa.Table:
        step = self.wanted.interval_ns
        opens, until = (_first_open(at, step) for at in portion)
        width = self.venue.page * step
        windows = [(at, min(at + width, until)) for at in range(opens, until, width)]
        answers = await _together([self._candles(window) for window in windows])
        return _bars([candle for answer in answers for candle in answer], self.wanted)

    async def _candles(self, window: Span) -> list[Candle]:
        opens, until = window
        step = self.wanted.interval_ns // NS_PER_MS
        async with self.calls:
            found = await self.venue.candles(self.wanted.timeframe, opens // NS_PER_MS, until // NS_PER_MS, step)
        self.progress(until - opens)
        return found

    async def _trades(self, portion: Span) -> pa.Table:
        found: list[Trade] = []
        at, until = portion
        async for page in _held_back(self.calls, self.venue.trades(at // NS_PER_MS, until // NS_PER_MS)):
            found += page
            reached = max((trade["timestamp"] for trade in page), default=0) * NS_PER_MS
            if reached > at:
                self.progress(reached - at)
                at = reached
        self.progress(until - at)
        return _trades(found, self.wanted)

    def _keep(self, portion: Span, fetched: pa.Table) -> None:
        """Put a portion into the archive, with what is there of its month or hour, and note it."""
        wanted, outcome = self.wanted, self.outcome
        folder = _folder(wanted.kind, portion[0])
        there = [
            read_columns(self.store, file, SCHEMAS[wanted.kind].names) for file in _files(self.store, wanted, folder)
        ]
        table = pa.concat_tables([*there, fetched])
        report = Report(source=wanted.source, path="", source_sha256="", kind=wanted.kind)
        table = table.append_column(ROW, pa.array(np.arange(1, table.num_rows + 1)))
        rows = examine(Batch(wanted.kind, table, report, received=False), _settings(wanted))
        if rows.num_rows:
            keys = write(self.store, wanted.kind, rows, wanted.source)
            discard(self.store, wanted.kind, wanted.source, keys, within=folder)
            outcome.files += len(keys)
        self.whole.add(portion)
        outcome.fetched.append(portion)
        outcome.rows += rows.num_rows - sum(each.num_rows for each in there)
        for reason, dropped in report.dropped.items():
            if not reason.startswith("an exact double"):  # pages and portions overlap
                outcome.dropped.setdefault(reason, Dropped(0, dropped.example)).rows += dropped.rows


async def _held_back(calls: asyncio.Semaphore, pages: AsyncIterator[list[Trade]]) -> AsyncIterator[list[Trade]]:
    """Take a page when it is this job's turn."""
    while True:
        async with calls:
            page = await anext(pages, None)
        if page is None:
            return
        yield page


def _settings(wanted: Wanted) -> Settings:
    return Settings(
        kind="bars" if wanted.kind == "bars" else "ticks", instrument=wanted.instrument, interval_ns=wanted.interval_ns
    )


def _folder(kind: str, at_ns: int) -> str:
    """Name the folder, below the topic's, of the month of a bar or the hour of a trade."""
    at = np.datetime64(at_ns, "ns").astype("datetime64[s]").item()
    return f"{at:year=%Y/month=%m/}" if kind == "bars" else f"{at:year=%Y/month=%m/day=%d/hour=%H/}"


def _files(store: Store, wanted: Wanted, folder: str) -> list[HeldFile]:
    """List what of this source lies in a folder already."""
    name = f"/{wanted.kind}-{wanted.digest}.parquet"
    listed = store.list(f"{TOPIC_FOLDERS[wanted.kind]}/{folder}")
    return [HeldFile(each.key, wanted.kind, wanted.digest, each.size) for each in listed if each.key.endswith(name)]


def _bars(candles: list[Candle], wanted: Wanted) -> pa.Table:
    opened = np.array([candle[0] for candle in candles], np.int64) * NS_PER_MS
    values = [pa.array([candle[place] for candle in candles], pa.float64()) for place in range(1, 6)]
    return _table(wanted, opened, opened + wanted.interval_ns, [*values, np.full(len(opened), wanted.interval_ns)])


def _trades(trades: list[Trade], wanted: Wanted) -> pa.Table:
    try:
        number = np.array([int(trade["id"]) for trade in trades], np.int64)
    except (TypeError, ValueError, OverflowError):
        raise VenueError(f"{wanted.exchange}: numbers its trades otherwise than by whole numbers") from None
    made = np.array([trade["timestamp"] for trade in trades], np.int64) * NS_PER_MS
    values = [pa.array([trade[name] for trade in trades], pa.float64()) for name in ("price", "amount")]
    side = pa.array([SIDES.get(trade["side"], 0) for trade in trades], pa.int8())
    return _table(wanted, number, made, [*values, side])


def _table(wanted: Wanted, number: Any, at: Any, values: list[Any]) -> pa.Table:  # noqa: ANN401 - arrays of either kind
    """Put columns in the archive's order; when a row was received the exchange does not tell: when it occurred."""
    schema = SCHEMAS[wanted.kind]
    plain = pa.schema([(each.name, pa.string() if each.name == "key" else each.type) for each in schema])
    key = pa.array([wanted.instrument] * len(at), pa.string())
    return pa.table([key, number, at, at, *values], schema=plain)


def _gaps(store: Store, wanted: Wanted, begins_ns: int) -> Gaps:
    """Read the rows back, and count what is missing from where the exchange begins to the end that was asked for."""
    is_bars = wanted.kind == "bars"
    step = wanted.interval_ns if is_bars else 1
    counter = GapCounter(f"bars of {step / NS_PER_S:g} s" if is_bars else "trade ids")
    if is_bars:
        counter.expect(_first_open(begins_ns, step) // step, begins_ns)
    for portion in _cut(wanted.kind)((begins_ns, wanted.until_ns)):
        for file in _files(store, wanted, _folder(wanted.kind, portion[0])):
            table = read_columns(store, file, ("observed_at", "number"))
            at, number = table["observed_at"].to_numpy(), table["number"].to_numpy()
            inside = (at >= portion[0]) & (at < portion[1])
            counter.add(number[inside] // step, at[inside])
    if is_bars:
        counter.end(_first_open(wanted.until_ns, step) // step)
    return counter.gaps()
