"""The processed layer of a lake, built of its raw records: `processed/bars/` and `processed/sentiment/`.

A file holds what was observed on one day, by the rules that the workers go by, so it may be built again at any time:
the same records give the same bytes. Bars are in the columns of an archive, and a replay reads them as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.archive import NS_PER_HOUR, SCHEMAS, encoded
from connectors.lake.layout import hour_folder, kind_of_file
from connectors.processed.bars import INTERVALS, LATENESS_NS, TRADE_COLUMNS, bars_of, is_late
from connectors.processed.sentiment import SCHEMA, TEXT_COLUMNS, sentiment_of, whole_text
from connectors.store import Store
from schemas.base import NS_PER_DAY, NS_PER_S
from schemas.errors import StoreError

HOURS = 24
HELD_HOURS = 4
"""Hours of trades in memory."""
_TRADES = pa.schema([("key", pa.string()), *(SCHEMAS["trades"].field(name) for name in TRADE_COLUMNS[1:])])
_TEXT_FIELDS = {"tweets": ("author", "text"), "news": ("source", "title", "text")}


class Report(NamedTuple):
    """What was built."""

    files: int
    rows: Counter[str]
    """By what they are: bars of an interval, sentiment."""
    late: Counter[str]
    """Interval to the trades that came too late for its bars."""


def build(
    store: Store, start: date | None = None, end: date | None = None, done: Callable[[date], None] = lambda _: None
) -> Report:
    """Write the files of the days from `start` to before `end`, by default of all that the lake has records of.

    What was not over when the newest record was observed is left for later. `done` is told of each day. Raises
    StoreError where the lake has no records of those days, and where it cannot be read or written.
    """
    raw = _Raw(store)
    days = [day for day in raw.days() if (start is None or day >= start) and (end is None or day < end)]
    if not days:
        raise StoreError(f"{store.where}: holds no ticks, tweets or news of these days; an archiver brings them there")
    report = Report(0, Counter(), Counter())
    for day in days:
        for name, key, table in (*_bars(raw, day, report.late), _sentiment(raw, day)):
            if table.num_rows:
                store.put(key, encoded(table))
                report.rows[name] += table.num_rows
                report = report._replace(files=report.files + 1)
        done(day)
    return report


def day_folder(day: date) -> str:
    """Give the folder of a day, UTC."""
    return f"year={day:%Y}/month={day:%m}/day={day:%d}"


def _bars(raw: _Raw, day: date, late: Counter[str]) -> Iterator[tuple[str, str, pa.Table]]:
    first = _first_hour(day)
    lo, hi = first * NS_PER_HOUR, first * NS_PER_HOUR + NS_PER_DAY
    built: dict[str, list[pa.Table]] = {name: [] for name in INTERVALS}
    for hour in range(first - 1, first + HOURS):
        trades = _trades_of(raw, hour)
        for name, interval_ns in INTERVALS.items():
            bars = bars_of(trades, interval_ns).bars
            built[name].append(_observed_in(bars, lo, min(hi, raw.newest_tick + 1)))
            if hour >= first:
                seen = raw.trades(hour)
                came_late = is_late(seen["occurred_at"].to_numpy(), seen["observed_at"].to_numpy(), interval_ns)
                late[name] += int(came_late.sum())
    for name, tables in built.items():
        bars = pa.concat_tables(tables).unify_dictionaries()  # sorted: each hour's are, and they come one by one
        yield f"bars of {name}", f"processed/bars/interval={name}/{day_folder(day)}/bars.parquet", bars


def _trades_of(raw: _Raw, hour: int) -> pa.Table:
    """Give the trades that occurred in an hour, seen while its bars waited for them."""
    lo, hi = hour * NS_PER_HOUR, (hour + 1) * NS_PER_HOUR
    near = pa.concat_tables([raw.trades(each) for each in (hour - 1, hour, hour + 1)])
    return near.filter((pc.field("occurred_at") >= lo) & (pc.field("occurred_at") < hi))


def _sentiment(raw: _Raw, day: date) -> tuple[str, str, pa.Table]:
    first = _first_hour(day)
    lo, hi = first * NS_PER_HOUR, first * NS_PER_HOUR + NS_PER_DAY
    rows = [
        msgspec.structs.asdict(event)
        for hour in range(first - 1, first + HOURS)
        for event in sentiment_of(raw.texts(hour))
        if lo <= event.observed_at < min(hi, raw.newest_text + 1)
    ]
    for row in rows:
        row["sources"] = sorted(row["sources"].items())
    table = pa.Table.from_pylist(rows, schema=SCHEMA).sort_by([("observed_at", "ascending"), ("id", "ascending")])
    return "sentiment", f"processed/sentiment/{day_folder(day)}/sentiment.parquet", table


def _observed_in(table: pa.Table, lo: int, hi: int) -> pa.Table:
    return table.filter((pc.field("observed_at") >= lo) & (pc.field("observed_at") < hi))


def _first_hour(day: date) -> int:
    return int(np.datetime64(day, "h").astype(np.int64))


class _Raw:
    """The raw records of a lake, by hour of observation."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hours = {topic: _hours(store, topic) for topic in ("ticks", "tweets", "news")}
        self.trades = lru_cache(HELD_HOURS)(self._trades)
        self.newest_tick = self._newest("ticks")
        """When the newest tick was observed, in ns; 0 where there is none."""
        self.newest_text = max(self._newest("tweets"), self._newest("news"))

    def days(self) -> list[date]:
        """Give the days on which something is observed that is built of the records."""
        found: set[date] = set()
        for hours in self._hours.values():
            for hour in hours:
                until_s = (hour + 1) * NS_PER_HOUR + LATENESS_NS
                found |= {_day(hour * NS_PER_HOUR), _day(until_s)}
        return sorted(found)

    def _trades(self, hour: int) -> pa.Table:
        """Give an hour's trades in the columns of the rule."""
        tables = [table.cast(_TRADES) for table in self._read("ticks", hour, "trades", TRADE_COLUMNS)]
        return pa.concat_tables([_TRADES.empty_table(), *tables])

    def texts(self, hour: int) -> pa.Table:
        """Give an hour's texts in the columns of the rule."""
        rows = []
        for topic, fields in _TEXT_FIELDS.items():
            for table in self._read(topic, hour, topic, ("id", "key", "observed_at", *fields)):
                for row in table.to_pylist():
                    text = row["text"] if topic == "tweets" else whole_text(row["title"], row["text"])
                    rows.append({**row, "topic": topic, "source": row[fields[0]], "text": text})
        return pa.Table.from_pylist(rows, schema=TEXT_COLUMNS)

    def _newest(self, topic: str) -> int:
        if not self._hours[topic]:
            return 0
        newest = [
            pc.max(each["observed_at"]).as_py()
            for each in self._read(topic, self._hours[topic][-1], "", ("observed_at",))
        ]
        return max((at for at in newest if at is not None), default=0)

    def _read(self, topic: str, hour: int, kind: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read the columns of an hour's files of a kind, or of all events where none is named."""
        if hour not in self._hours[topic]:
            return
        for listed in self._store.list(f"raw/{topic}/{hour_folder(hour)}/"):
            of = kind_of_file(listed.key)
            if of.startswith("_") or (kind and of != kind):
                continue
            data = self._store.get(listed.key) or b""
            try:
                yield pq.read_table(pa.BufferReader(data), columns=list(columns)).select(list(columns))
            except (pa.ArrowException, OSError, KeyError) as error:
                reason = " ".join(str(error).split())
                raise StoreError(f"{self._store.where}/{listed.key}: is no file of a lake: {reason}") from None


def _day(ns: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // NS_PER_S)).date()


def _hours(store: Store, topic: str) -> list[int]:
    """Give the hours, counted from 1970, of which a topic has a folder."""
    places = [f"raw/{topic}/"]
    for _ in ("year", "month", "day", "hour"):
        places = [f"{place}{name}/" for place in places for name in store.folders(place)]
    found = []
    for place in places:
        year, month, day, hour = (int(part.partition("=")[2]) for part in place.split("/")[2:6])
        found.append(int(np.datetime64(datetime(year, month, day, hour), "h").astype(np.int64)))  # noqa: DTZ001
    return sorted(found)
