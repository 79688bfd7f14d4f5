"""A frame: a batch of market events as columns, in journal order. What quiet spans are absorbed from.

Live, a frame holds one event; in replay, tens of thousands. Cutting frames differently changes nothing: that is the
law "batch = fold", which the tests prove on every agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from schemas.base import NS_PER_S, Event, market_id
from schemas.market import BarClosed, QuoteTicked, TradeTicked

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BAR, TRADE, QUOTE = 0, 1, 2
"""Kinds of rows."""
WIDTH = 6
"""Values of a row: bar: open, high, low, close, volume, interval_ns; trade: price, size, side (1 buy, -1 sell, 0
unknown), 0, 0, 0; quote: bid, ask, bid_size, ask_size, 0, 0."""
MAX_NUMBER = 2**63 - 1
MAX_NUMBER_DIGITS = 19
_SIDES: tuple[Literal["unknown", "buy", "sell"], ...] = ("unknown", "buy", "sell")
_SIGNS = {"unknown": 0.0, "buy": 1.0, "sell": -1.0}


def kind_name(kind: int, interval_ns: int) -> str:
    """Name a kind of market event as its id does: `bar60`, `trade`, `quote`."""
    return f"bar{interval_ns // NS_PER_S}" if kind == BAR else ("", "trade", "quote")[kind]


class Frame:
    """Columns of equal length `n`; row i is one market event.

    instruments: ids that `instrument` indexes, the book's own order.
    kind, instrument, number, occurred_at, observed_at: int64[n]. `number` is the source's own number of the event
    (trade id, update id; of a bar, its opening time in ns) and makes its id.
    values: float64[n, 6], C-contiguous, see WIDTH.
    ids: of each row, the id where its producer gave its own, else empty; `()` where all follow from their numbers.
    columns: the arrays above, in the order in which kernels take them.
    """

    __slots__ = (
        "columns",
        "ids",
        "instrument",
        "instruments",
        "kind",
        "number",
        "observed_at",
        "occurred_at",
        "values",
    )

    def __init__(
        self,
        instruments: tuple[str, ...],
        kind: Ints,
        instrument: Ints,
        number: Ints,
        occurred_at: Ints,
        observed_at: Ints,
        values: Floats,
        ids: tuple[str, ...] = (),
    ) -> None:
        """Take the columns as they are; they must be checked and in journal order already."""
        self.instruments = instruments
        self.kind = kind
        self.instrument = instrument
        self.number = number
        self.occurred_at = occurred_at
        self.observed_at = observed_at
        self.values = values
        self.ids = ids
        self.columns = (kind, instrument, number, occurred_at, observed_at, values)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.kind)

    def id(self, row: int) -> str:
        """Give the id of the event that row `row` stands for."""
        if self.ids and self.ids[row]:
            return self.ids[row]
        name = kind_name(self.kind.item(row), int(self.values.item(row, 5)))
        return market_id(self.instruments[self.instrument.item(row)], name, self.number.item(row))

    def event(self, row: int, book: str, seq: int) -> Event:
        """Make the event that row `row` stands for."""
        kind = self.kind.item(row)
        values = self.values[row].tolist()
        key = self.instruments[self.instrument.item(row)]
        occurred_at, observed_at = self.occurred_at.item(row), self.observed_at.item(row)
        if kind == BAR:
            return BarClosed(
                id=self.id(row),
                key=key,
                occurred_at=occurred_at,
                observed_at=observed_at,
                book=book,
                seq=seq,
                open=values[0],
                high=values[1],
                low=values[2],
                close=values[3],
                volume=values[4],
                interval_ns=int(values[5]),
            )
        if kind == TRADE:
            return TradeTicked(
                id=self.id(row),
                key=key,
                occurred_at=occurred_at,
                observed_at=observed_at,
                book=book,
                seq=seq,
                price=values[0],
                size=values[1],
                side=_SIDES[int(values[2])],
            )
        return QuoteTicked(
            id=self.id(row),
            key=key,
            occurred_at=occurred_at,
            observed_at=observed_at,
            book=book,
            seq=seq,
            bid=values[0],
            ask=values[1],
            bid_size=values[2],
            ask_size=values[3],
        )

    @classmethod
    def of_events(cls, events: Sequence[Event], instruments: tuple[str, ...]) -> Frame:
        """The frame of market events in journal order, whose keys must be among `instruments`."""
        index = {name: i for i, name in enumerate(instruments)}
        rows = [_row(event) for event in events]
        numbers = [_number(event, kind, values) for event, (kind, values) in zip(events, rows, strict=True)]
        ids = tuple("" if ours else event.id for event, (_, ours) in zip(events, numbers, strict=True))
        return cls(
            instruments,
            np.array([kind for kind, _ in rows], np.int64),
            np.array([index[event.key] for event in events], np.int64),
            np.array([number for number, _ in numbers], np.int64),
            np.array([event.occurred_at for event in events], np.int64),
            np.array([event.observed_at for event in events], np.int64),
            # From one flat sequence: numpy takes three times as long over a list of rows.
            np.fromiter(chain.from_iterable(values for _, values in rows), np.float64, WIDTH * len(rows)).reshape(
                -1, WIDTH
            ),
            ids if any(ids) else (),
        )


def _row(event: Event) -> tuple[int, tuple[float, ...]]:
    """Give the kind and the values of the row that stands for a market event."""
    if type(event) is BarClosed:
        return BAR, (event.open, event.high, event.low, event.close, event.volume, float(event.interval_ns))
    if type(event) is TradeTicked:
        return TRADE, (event.price, event.size, _SIGNS[event.side], 0.0, 0.0, 0.0)
    quote = cast("QuoteTicked", event)
    return QUOTE, (quote.bid, quote.ask, quote.bid_size, quote.ask_size, 0.0, 0.0)


def _number(event: Event, kind: int, values: tuple[float, ...]) -> tuple[int, bool]:
    """Give the source's number of an event, and whether its id follows from it."""
    source, _, tail = event.id.rpartition("/")
    if tail.isascii() and tail.isdecimal() and len(tail) <= MAX_NUMBER_DIGITS and (tail[0] != "0" or tail == "0"):
        number = int(tail)
        if number <= MAX_NUMBER and source == f"{event.key}/{kind_name(kind, int(values[5]))}":
            return number, True
    return (event.occurred_at - int(values[5]) if kind == BAR else event.occurred_at), False
