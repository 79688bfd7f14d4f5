"""Merge of sorted streams of rows into one total order, in bounded memory, and the removal of doubles.

How the streams are cut into batches, and how the result is cut into frames, changes nothing in the sequence of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from agents.frame import BAR, Ints, kind_name
from replay.rows import Rows, concat, in_order, series
from schemas.base import market_id
from schemas.errors import ArchiveError

NEIGHBOURHOOD_ROWS = 8192
"""How far apart two rows of one instrument and kind with the same id are still recognised as doubles."""


@dataclass
class Stream:
    """Rows in order of `observed_at`, none before `opens_at`; nothing is read before it is needed."""

    opens_at: int
    batches: Iterator[Rows]
    parts: list[Rows] = field(default_factory=list)
    """What was read and not yet passed on."""
    done: bool = False

    def read(self) -> None:
        """Add the next batch that has rows, or find the end."""
        for rows in self.batches:
            if len(rows):
                self.parts.append(rows)
                return
        self.done = True

    def fill(self) -> None:
        """Read until something can be passed on."""
        while not self.done and (len(self.parts) < 2 or self.first == self.bound):  # noqa: PLR2004
            self.read()

    @property
    def first(self) -> int:
        """The time of the first row held."""
        return int(self.parts[0].observed_at[0])

    @property
    def bound(self) -> int:
        """A time before which nothing is unread: the first of the last part, so that parts are passed on uncut."""
        return int(self.parts[-1].observed_at[0])

    def take_before(self, bound: int | None) -> list[Rows]:
        """Pass on what was observed before `bound`; all that is held where it is None."""
        if bound is None:
            taken, self.parts = self.parts, []
            return taken
        taken, kept = [], []
        for rows in self.parts:
            cut = int(np.searchsorted(rows.observed_at, bound))
            if cut:
                taken.append(rows.at(slice(cut)))
            if cut < len(rows):
                kept.append(rows.at(slice(cut, None)))
        self.parts = kept
        return taken


def merge(streams: Iterable[Stream]) -> Iterator[Rows]:
    """Give all rows of all streams in the total order.

    The watermark is the earliest time that an unread row may have; what lies before it is sorted and passed on.
    """
    waiting = sorted(streams, key=lambda stream: stream.opens_at, reverse=True)
    reading: list[Stream] = []
    while waiting or reading:
        reached = min((stream.first for stream in reading), default=None)
        if waiting and (reached is None or waiting[-1].opens_at <= reached):
            stream = waiting.pop()
            stream.fill()
            reading += [stream] if stream.parts else []
            continue
        bounds = [stream.bound for stream in reading if not stream.done]
        bounds += [waiting[-1].opens_at] if waiting else []
        ready = [stream.take_before(min(bounds, default=None)) for stream in reading]
        yield from _sorted(ready)
        for stream in reading:
            stream.fill()
        reading = [stream for stream in reading if stream.parts]


def _sorted(ready: list[list[Rows]]) -> Iterator[Rows]:
    """Join what the streams passed on, as far as it must be; instruments in order make most ties right beforehand."""
    groups = [parts for parts in ready if parts]
    if len(groups) == 1:
        for chain in _chains(groups[0]):
            yield in_order(concat(chain))
        return
    groups.sort(key=lambda parts: (int(parts[0].kind[0] == BAR), int(parts[0].instrument[0])))
    yield in_order(concat([rows for parts in groups for rows in parts]))


def _chains(parts: list[Rows]) -> Iterator[list[Rows]]:
    """Cut between a stream's parts where all rows of the one side come before all of the other."""
    chain = parts[:1]
    for rows in parts[1:]:
        one_run = len(chain) == 1 and chain[0].run == rows.run >= 0 and chain[0].number[-1] < rows.number[0]
        if one_run or chain[-1].observed_at[-1] < rows.observed_at[0]:
            yield chain
            chain = []
        chain.append(rows)
    yield chain


class Doubles:
    """Drops rows that repeat the id, time and values of one seen shortly before. Batches must come in order.

    Two rows with one id that differ are an error: nobody can tell which of them is true.
    """

    def __init__(self, instruments: tuple[str, ...]) -> None:
        self.instruments = instruments
        self.dropped = 0
        self._recent: dict[int, Rows] = {}

    def distinct(self, rows: Rows) -> Rows:
        """Give the rows without doubles. Raises ArchiveError on a conflict."""
        double = self._in_run(rows) if rows.run >= 0 else self._in_any(rows)
        if not len(double):
            return rows
        self.dropped += len(double)
        keep = np.ones(len(rows), np.bool_)
        keep[double] = False
        return rows.at(keep)

    def _in_run(self, rows: Rows) -> Ints:
        """Find doubles in a run: its rows differ among themselves, so only with those before it can they agree."""
        recent = self._recent.get(rows.run)
        found: Ints = np.empty(0, np.int64)
        if recent is not None and rows.number[0] <= recent.number.max():
            found = self._compare(rows, np.arange(len(rows)), recent)
        self._remember(rows.run, rows.at(slice(-NEIGHBOURHOOD_ROWS, None)))
        return found

    def _in_any(self, rows: Rows) -> Ints:
        codes = series(rows)
        if (codes == codes[0]).all():
            groups = [(int(codes[0]), np.arange(len(rows)))]
        else:
            groups = [(code, np.flatnonzero(codes == code)) for code in np.unique(codes).tolist()]
        return np.concatenate([self._in_series(code, rows, which) for code, which in groups])

    def _in_series(self, code: int, rows: Rows, which: Ints) -> Ints:
        """Find doubles among `which`, the rows of one series."""
        numbers = rows.number[which]
        recent = self._recent.get(code)
        rising = bool((numbers[1:] > numbers[:-1]).all())
        found: Ints = which[:0]
        if not rising or (recent is not None and numbers[0] <= recent.number.max()):
            found = self._compare(rows, which, recent)
        self._remember(code, rows.at(which[-NEIGHBOURHOOD_ROWS:]))
        return found

    def _remember(self, code: int, last: Rows) -> None:
        """Keep the last rows of a series, in arrays of their own: a view would hold a whole batch in memory."""
        recent = self._recent.get(code)
        if recent is not None and len(last) < NEIGHBOURHOOD_ROWS:
            last = concat([recent.at(slice(len(last) - NEIGHBOURHOOD_ROWS, None)), last])
        self._recent[code] = last.copy()

    def _compare(self, rows: Rows, which: Ints, recent: Rows | None) -> Ints:
        here = rows.at(which)
        past = 0 if recent is None else len(recent)
        both = here if recent is None else concat([recent, here])
        order = np.argsort(both.number, kind="stable")
        earlier, later = order[:-1], order[1:]
        same = both.number[earlier] == both.number[later]
        same &= (later - earlier <= NEIGHBOURHOOD_ROWS) & (later >= past)
        earlier, later = earlier[same], later[same]
        differ = (both.values[earlier] != both.values[later]).any(axis=1)
        differ |= both.occurred_at[earlier] != both.occurred_at[later]
        if differ.any():
            at = int(np.flatnonzero(differ)[0])
            raise self._conflict(both, int(earlier[at]), int(later[at]))
        doubles: Ints = which[later - past]
        return doubles

    def _conflict(self, rows: Rows, first: int, second: int) -> ArchiveError:
        key = self.instruments[rows.instrument[first]]
        kind = kind_name(int(rows.kind[first]), int(rows.values[first, 5]))
        return ArchiveError(
            f"two rows with the id {market_id(key, kind, int(rows.number[first]))} differ (observed at"
            f" {rows.observed_at[first]}: {rows.values[first].tolist()}; observed at"
            f" {rows.observed_at[second]}: {rows.values[second].tolist()}); remove one of the two sources"
        )
