"""Fills, as rows that say why, and the round trips that they make: from flat to flat in one instrument.

Made from `PositionChanged` (the book's own accounting) and the `OrderFilled` that caused it. Money is exact
decimals; the cost of a position is its average price, so partial exits stay in one round trip.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from agents.frame import Floats
from agents.money import ZERO, exact, plain
from replay.log import JOURNAL
from replay.rundir import Prices, RunDir
from schemas.accounting import PositionChanged
from schemas.base import NS_PER_MS
from schemas.book import Book
from schemas.errors import ArchiveError
from schemas.execution import OrderFilled

EQUITY_STEP = Decimal("0.00000001")
CSV_COLUMNS = (
    "timestamp",
    "instrument",
    "action",
    "quantity",
    "price",
    "fee",
    "pnl",
    "equity",
    "reasoning",
    "verdict_ids",
    "order_id",
)


class Fill(NamedTuple):
    """One fill, the position after it and the book's worth at that moment."""

    event: OrderFilled
    position: PositionChanged
    equity: Decimal
    """Cash and positions after the fill; this instrument at the fill's price, others at their last mark."""


class RoundTrip(NamedTuple):
    """A position from its first fill to the one that closed it, or still open (`closed_at` is None)."""

    instrument: str
    side: Literal["long", "short"]
    opened_at: int
    closed_at: int | None
    quantity: Decimal
    """The most that was held."""
    entry_price: Decimal
    """Average over the fills that added."""
    exit_price: Decimal | None
    """Average over the fills that reduced; None where none did."""
    gross: Decimal
    """Realised before fees."""
    fees: Decimal
    entry_notional: Decimal
    entry_orders: tuple[str, ...]
    exit_orders: tuple[str, ...]
    fills: int

    @property
    def net(self) -> Decimal:
        """Realised after fees."""
        return self.gross - self.fees


class Activity(NamedTuple):
    """What was traded on the way, as numbers to measure."""

    nets: tuple[float, ...]
    """Result of every closed round trip after fees, in order of closing."""
    holding_ns: tuple[int, ...]
    """How long each was held."""
    traded_notional: float
    fees: float
    equity: Floats
    gross_exposure: Floats
    """At the same marks as `equity`."""
    in_market_ns: int
    span_ns: int
    orders: int
    fills: int


def iso(ns: int) -> str:
    """Write a time as ISO 8601 in UTC, with milliseconds, or nanoseconds where it has them."""
    unit: Literal["ms", "ns"] = "ns" if ns % NS_PER_MS else "ms"
    return f"{np.datetime_as_string(np.datetime64(ns, 'ns'), unit=unit)}Z"


def read_fills(run: RunDir, book: Book, prices: Prices) -> Iterator[Fill]:
    """Give every fill in order, joined with its position and the book's worth after it.

    Raises ArchiveError where the log accounts for a fill that its journal does not hold.
    """
    worth = _Worth(book, prices)
    fills = run.events(JOURNAL, OrderFilled)
    for position in run.events("portfolio", PositionChanged):
        fill = next((fill for fill in fills if fill.id == position.cause), None)
        if fill is None:
            raise ArchiveError(f"{run.root}: the position {position.id} names a fill that the journal lacks")
        yield Fill(fill, position, worth.after(fill, position))


class _Worth:
    """Follows the positions, to value the book at a fill."""

    def __init__(self, book: Book, prices: Prices) -> None:
        self.cash = book.cash
        self.multiplier = {instrument.id: instrument.multiplier for instrument in book.instruments}
        self.prices = prices
        self.open: dict[str, PositionChanged] = {}

    def after(self, fill: OrderFilled, position: PositionChanged) -> Decimal:
        self.open[position.instrument] = position
        if not position.quantity:
            del self.open[position.instrument]
        worth = self.cash + position.total_realised_pnl - position.total_fees
        for held in self.open.values():
            price = fill.price if held is position else self._last_price(held, fill.occurred_at)
            worth += (price - held.average_price) * held.quantity * self.multiplier[held.instrument]
        return worth.quantize(EQUITY_STEP)

    def _last_price(self, held: PositionChanged, at: int) -> Decimal:
        times, values = self.prices[held.instrument]
        index = int(np.searchsorted(times, at, side="right")) - 1
        return exact(float(values[index])) if index >= 0 else held.average_price


class _Building:
    """A round trip under way."""

    def __init__(self, fill: Fill, side: Literal["long", "short"]) -> None:
        self.instrument = fill.position.instrument
        self.side = side
        self.opened_at = fill.event.occurred_at
        self.most = self.added = self.added_value = self.reduced = self.reduced_value = ZERO
        self.gross = self.fees = ZERO
        self.entry_orders: dict[str, None] = {}
        self.exit_orders: dict[str, None] = {}
        self.fills = 0

    def add(self, fill: OrderFilled, quantity: Decimal, fee: Decimal, held: Decimal) -> None:
        self.fills += 1
        self.entry_orders[fill.order] = None
        self.added += quantity
        self.added_value += quantity * fill.price
        self.fees += fee
        self.most = max(self.most, held)

    def reduce(self, fill: OrderFilled, quantity: Decimal, fee: Decimal, realised: Decimal) -> None:
        self.fills += 1
        self.exit_orders[fill.order] = None
        self.reduced += quantity
        self.reduced_value += quantity * fill.price
        self.fees += fee
        self.gross += realised

    def done(self, closed_at: int | None, multiplier: Decimal) -> RoundTrip:
        return RoundTrip(
            instrument=self.instrument,
            side=self.side,
            opened_at=self.opened_at,
            closed_at=closed_at,
            quantity=self.most,
            entry_price=self.added_value / self.added,
            exit_price=self.reduced_value / self.reduced if self.reduced else None,
            gross=self.gross,
            fees=self.fees,
            entry_notional=self.added_value * multiplier,
            entry_orders=tuple(self.entry_orders),
            exit_orders=tuple(self.exit_orders),
            fills=self.fills,
        )


class Ledger:
    """Adds fills up to round trips and totals, one at a time."""

    def __init__(self, book: Book) -> None:
        self.closed: list[RoundTrip] = []
        self.traded_notional = ZERO
        self.fees = ZERO
        self.fills = 0
        self._multiplier = {instrument.id: instrument.multiplier for instrument in book.instruments}
        self._building: dict[str, _Building] = {}
        self._in_market_ns = 0
        self._in_market_since: int | None = None

    def add(self, fill: Fill) -> None:
        """Count one fill; one that turns a position splits its fee by quantity between two round trips."""
        event, position = fill.event, fill.position
        instrument, multiplier = position.instrument, self._multiplier[position.instrument]
        self.fills += 1
        self.fees += position.fee
        self.traded_notional += event.quantity * event.price * multiplier
        after = position.quantity
        before = after - (event.quantity if event.side == "buy" else -event.quantity)
        opposed = before and (before > 0) != (event.side == "buy")
        closing = min(abs(before), event.quantity) if opposed else ZERO
        if closing:
            building = self._building[instrument]
            building.reduce(event, closing, position.fee * closing / event.quantity, position.realised_pnl)
            if not after or (after > 0) != (before > 0):
                self.closed.append(self._building.pop(instrument).done(event.occurred_at, multiplier))
        opening = event.quantity - closing
        if opening:
            if instrument not in self._building:
                self._building[instrument] = _Building(fill, "long" if after > 0 else "short")
            self._building[instrument].add(event, opening, position.fee * opening / event.quantity, abs(after))
        self._follow_market(event.occurred_at)

    def _follow_market(self, at: int) -> None:
        if self._building and self._in_market_since is None:
            self._in_market_since = at
        elif not self._building and self._in_market_since is not None:
            self._in_market_ns += at - self._in_market_since
            self._in_market_since = None

    def open(self) -> list[RoundTrip]:
        """Give the round trips that no fill has closed."""
        return [b.done(None, self._multiplier[name]) for name, b in sorted(self._building.items())]

    def activity(self, equity: Floats, gross_exposure: Floats, orders: int, start: int, end: int) -> Activity:
        """Sum up a run from `start` to `end`, in ns."""
        still_open = 0 if self._in_market_since is None else max(0, end - self._in_market_since)
        return Activity(
            nets=tuple(float(trip.net) for trip in self.closed),
            holding_ns=tuple(trip.closed_at - trip.opened_at for trip in self.closed if trip.closed_at),
            traded_notional=float(self.traded_notional),
            fees=float(self.fees),
            equity=equity,
            gross_exposure=gross_exposure,
            in_market_ns=self._in_market_ns + still_open,
            span_ns=end - start,
            orders=orders,
            fills=self.fills,
        )


class TradesCsv:
    """Writes `trades.csv`, one row a fill."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(CSV_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, fill: Fill, reasoning: str, verdict_ids: tuple[str, ...]) -> None:
        """Write one fill; `pnl` is what it realised, before its fee."""
        self._writer.writerow(
            (
                iso(fill.event.occurred_at),
                fill.position.instrument,
                fill.event.side.upper(),
                plain(fill.event.quantity),
                plain(fill.event.price),
                plain(fill.position.fee),
                plain(fill.position.realised_pnl),
                plain(fill.equity),
                reasoning,
                " ".join(verdict_ids),
                fill.event.order,
            )
        )
