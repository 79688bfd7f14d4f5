"""What a worker holds of a stream until an interval is over: told once, in the order of the records, whatever dies.

An interval is over when a record observed `LATENESS_NS` behind its end was seen. Where to read again from, and what
was told before, is a `Mark` of a few numbers: a successor that starts there tells the same again, with the same ids.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from connectors.processed.bars import INTERVALS, LATENESS_NS, bar_events, bars_of
from connectors.processed.sentiment import INTERVAL_NS, TEXT_COLUMNS, Row, sentiment_of, text_row
from schemas.base import Event
from schemas.market import TradeTicked
from schemas.texts import NewsPublished, SentimentMeasured, TweetPosted

Place = tuple[str, int]
"""A topic and a partition of it."""
Measure = Callable[[pa.Table], Iterator[SentimentMeasured]]
"""Measures texts given in `TEXT_COLUMNS`, as `sentiment_of` does."""
INT64_DIGITS = 18
NEVER = 2**63 - 1


class Window(Protocol):
    """The records of one key and one interval."""

    def add(self, event: Any) -> None:  # noqa: ANN401 - of the kinds that the window is made for
        """Take a record."""

    def events(self, key: str, interval_ns: int) -> Iterator[Event]:
        """Give what is to be told of them."""


class TradesWindow:
    """Trades as columns of numbers: 40 bytes each."""

    def __init__(self) -> None:
        self._times = array("q")
        self._values = array("d")

    def add(self, event: TradeTicked) -> None:
        self._times.extend((_number(event.id), event.occurred_at, event.observed_at))
        self._values.extend((event.price, event.size))

    def events(self, key: str, interval_ns: int) -> Iterator[Event]:
        number, occurred, observed = np.array(self._times, np.int64).reshape(-1, 3).T
        price, size = np.array(self._values, np.float64).reshape(-1, 2).T
        columns = {"number": number, "occurred_at": occurred, "observed_at": observed, "price": price, "size": size}
        trades = pa.table({"key": pa.array([key] * len(number), pa.string()), **columns})
        return bar_events(bars_of(trades, interval_ns).bars)


class TextsWindow:
    """Texts as rows; `beside` may measure them in a way of its own, besides the lexicons."""

    def __init__(self, beside: Measure | None = None) -> None:
        self._beside = beside
        self._rows: list[Row] = []

    def add(self, event: TweetPosted | NewsPublished) -> None:
        self._rows.append(text_row(event))

    def events(self, key: str, interval_ns: int) -> Iterator[Event]:
        texts = pa.Table.from_pylist(self._rows, schema=TEXT_COLUMNS)
        yield from sentiment_of(texts)
        if self._beside is not None:
            yield from self._beside(texts)


def _number(id: str) -> int:
    """Give the venue's number of a trade; one with an id of another make is known by a digest, as in the lake."""
    number = id.rpartition("/")[2]
    if number.isdecimal() and len(number) <= INT64_DIGITS:
        return int(number)
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest()) >> 1


class Mark(msgspec.Struct, frozen=True):
    """How far a stream was told."""

    told: int = 0
    """Intervals that were over by this time are done with; ns."""
    whole: int = 0
    """Intervals that began before this time were not seen whole, and are not told; ns."""


class _Open:
    """An interval that is not over, and the offset of its first record in each place."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.first: dict[Place, int] = {}


class Windows:
    """All intervals that are not over."""

    def __init__(
        self, intervals: tuple[int, ...], kinds: tuple[type[Event], ...], time: str, make: Callable[[], Window]
    ) -> None:
        """`kinds` go into windows by their field `time`; all other events only tell the time."""
        self._intervals, self._kinds, self._time, self._make = intervals, kinds, time, make
        self._open: dict[tuple[int, str, int], _Open] = {}
        self._next_end = NEVER
        self.mark = Mark()
        self.late = 0
        """Records whose interval had been told, counted once for each interval."""

    def take(self, event: Event, place: Place, offset: int) -> None:
        """Put a record where it belongs, unless that was told, or was not seen whole."""
        if type(event) not in self._kinds:
            return
        at: int = getattr(event, self._time)
        for interval_ns in self._intervals:
            opened = at - at % interval_ns
            end = opened + interval_ns
            if end + LATENESS_NS <= self.mark.told:
                self.late += 1
            elif opened >= self.mark.whole:
                found = self._open.get((end, event.key, interval_ns))
                if found is None:
                    found = self._open[end, event.key, interval_ns] = _Open(self._make())
                    self._next_end = min(self._next_end, end)
                found.first.setdefault(place, offset)
                found.window.add(event)

    def tell(self, seen: int) -> Iterator[Event]:
        """Give what is over now that a record observed at `seen` came, by end, key and length."""
        if seen <= self.mark.told:
            return
        self.mark = msgspec.structs.replace(self.mark, told=seen)
        if self._next_end + LATENESS_NS > seen:
            return
        over = sorted(window for window in self._open if window[0] + LATENESS_NS <= seen)
        for end, key, interval_ns in over:
            found = self._open.pop((end, key, interval_ns))
            if end - interval_ns >= self.mark.whole:
                yield from found.window.events(key, interval_ns)
        self._next_end = min((end for end, _, _ in self._open), default=NEVER)

    def since(self, place: Place, after: int) -> int:
        """Give the first offset of a place that is still needed; `after` where none is."""
        return min((each.first[place] for each in self._open.values() if place in each.first), default=after)


def bar_windows() -> Windows:
    """Prepare to build bars of trades, by when they occurred."""
    return Windows(tuple(INTERVALS.values()), (TradeTicked,), "occurred_at", TradesWindow)


def sentiment_windows(beside: Measure | None = None) -> Windows:
    """Prepare to measure texts, by when they were observed; what `beside` tells follows what the lexicons do."""
    return Windows((INTERVAL_NS,), (TweetPosted, NewsPublished), "observed_at", lambda: TextsWindow(beside))
