"""What the book holds and is worth: cash, positions at average cost, realised and unrealised PnL, fees, exposure.

Exact decimals throughout. Cash is conserved: start + all realised PnL - all fees + cost of what is open = cash moved,
to the last digit, because only the split of cost between the closed and the open part is ever rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from agents import features as f
from agents.agent import NEVER, Agent, Handler, State
from agents.features import Features
from agents.frame import Floats
from agents.money import COST_STEP, ZERO, add, divide, exact, magnitude, multiply, negative, plain, quantize, subtract
from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import NS_PER_MIN, Event, derived_id
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.execution import OrderFilled


class Position(msgspec.Struct, kw_only=True):
    """Signed quantity, and the signed cost of what is open (quantity times average price times multiplier)."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO


class PortfolioState(State, kw_only=True):
    """`due` is the next mark."""

    cash: Decimal
    positions: list[Position]
    realised: Decimal = ZERO
    fees: Decimal = ZERO


class Portfolio(Agent[PortfolioState]):
    """Keeps the accounts."""

    name = "portfolio"

    def __init__(self, book: Book, features: Features) -> None:
        """`features` gives the prices that positions are marked at."""
        positions = [Position() for _ in book.instruments]
        super().__init__(book, PortfolioState(cash=book.cash, positions=positions))
        self._features = features
        self.every = book.mark_every_min * NS_PER_MIN
        """Time from one mark to the next."""
        self._multipliers = [float(instrument.multiplier) for instrument in book.instruments]
        self._prices = [(0.0, ZERO)] * len(positions)
        self.exposures: Floats = np.zeros(len(positions))
        """Quantity times multiplier as float64, for the kernels that watch equity."""
        self.cash_float = float(book.cash)
        self._accounts = plain(book.cash), ZERO, ZERO
        """Cash, realised and fees as they are said."""

    def restore(self, data: bytes) -> None:
        """Put back the state, and the floats that follow from it."""
        super().restore(data)
        for i in range(len(self.state.positions)):
            self._refresh(i)

    def _refresh(self, index: int) -> None:
        """Bring what follows from the state in line with a change of the book's `index`-th position."""
        state = self.state
        self._accounts = plain(state.cash), plain(state.realised), plain(state.fees)
        self.cash_float = float(state.cash)
        self.exposures[index] = float(state.positions[index].quantity) * self._multipliers[index]

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Fills, and the clock for the marks."""
        return {OrderFilled: self.on_order_filled, ClockTicked: self.on_clock_ticked}

    def on_order_filled(self, event: OrderFilled) -> tuple[Event]:
        """Book a fill: what it closes realises PnL at average cost, what it opens adds to the cost."""
        state = self.state
        i = self.index_of[event.key]
        position = state.positions[i]
        multiplier = self.book.instruments[i].multiplier
        change = event.quantity if event.side == "buy" else negative(event.quantity)
        notional = multiply(multiply(change, event.price), multiplier)
        realised = _apply(position, change, notional)
        state.cash = subtract(subtract(state.cash, notional), event.fee)
        state.realised = add(state.realised, realised)
        state.fees = add(state.fees, event.fee)
        self._refresh(i)
        quantity = position.quantity
        cash, total_realised, total_fees = self._accounts
        average = quantize(divide(position.cost, multiply(quantity, multiplier)), COST_STEP) if quantity else ZERO
        changed = PositionChanged(
            id="",
            key=event.key,
            occurred_at=0,
            observed_at=0,
            instrument=event.key,
            order=event.order,
            quantity=plain(quantity),
            average_price=plain(average),
            realised_pnl=plain(realised),
            fee=plain(event.fee),
            cash=cash,
            total_realised_pnl=total_realised,
            total_fees=total_fees,
        )
        return (self.signed(changed, event),)

    def on_clock_ticked(self, event: ClockTicked) -> Iterator[Event]:
        """Mark the book on each boundary of the sampling interval; begin with the first."""
        now, state = event.observed_at, self.state
        if state.due == NEVER:
            state.due = self._boundary(now)
        elif now >= state.due:
            yield from self.mark([event], [self._features.state.rows[:, f.PRICE].tolist()])

    def _boundary(self, now: int) -> int:
        return (now // self.every + 1) * self.every

    def mark(self, ticks: Sequence[ClockTicked], prices: Sequence[Sequence[float]]) -> list[EquityMarked]:
        """Say what the book is worth at each of some ticks, at the last prices by then; no fill lies between them."""
        state, name, author = self.state, self.book.name, self._author
        state.due = self._boundary(ticks[-1].observed_at)
        held = [
            (i, p.quantity, p.cost, self.book.instruments[i].multiplier)
            for i, p in enumerate(state.positions)
            if p.quantity
        ]
        cash, realised, fees = self._accounts
        marked: list[EquityMarked] = []
        for tick, known in zip(ticks, prices, strict=True):
            equity, unrealised, gross = state.cash, ZERO, ZERO
            for i, quantity, cost, multiplier in held:
                notional = multiply(quantity, multiply(exact(known[i]), multiplier))
                gain, size = subtract(notional, cost), magnitude(notional)
                equity = add(equity, notional)
                unrealised = add(unrealised, gain) if unrealised else gain
                gross = add(gross, size) if gross else size
            at, cause = tick.observed_at, tick.id
            marked.append(
                EquityMarked(  # not by `emit`: a year of hours is 8,760 of them, each the one answer to its tick
                    id=derived_id(cause, author, 0),
                    key=name,
                    occurred_at=at,
                    observed_at=at,
                    book=name,
                    seq=tick.seq,
                    cause=cause,
                    equity=plain(equity),
                    cash=cash,
                    unrealised_pnl=plain(unrealised),
                    realised_pnl=realised,
                    fees=fees,
                    gross_exposure=plain(gross),
                )
            )
        self._cause, self._said = ticks[-1].id, 0
        return marked

    def quantity(self, index: int) -> Decimal:
        """Give the signed quantity held of the book's `index`-th instrument."""
        return self.state.positions[index].quantity

    def unit(self, index: int) -> Decimal:
        """Give the worth of a quantity of one at the last price; zero where no price is known."""
        price = self.exact_price(index, self._features.state.rows.item(index, f.PRICE))
        return multiply(price, self.book.instruments[index].multiplier)

    def exact_price(self, index: int, price: float) -> Decimal:
        """Give a price of the book's `index`-th instrument as a decimal, made once while the price stands."""
        known, decimal = self._prices[index]
        if price != known:
            decimal = exact(price)
            self._prices[index] = price, decimal
        return decimal

    def notional(self, index: int) -> Decimal:
        """Give the signed notional of a position at the last price."""
        quantity = self.state.positions[index].quantity
        return multiply(quantity, self.unit(index)) if quantity else ZERO

    def equity(self) -> Decimal:
        """Give cash plus all positions at the last prices."""
        total = self.state.cash
        for index, position in enumerate(self.state.positions):
            if position.quantity:
                total = add(total, multiply(position.quantity, self.unit(index)))
        return total


def _apply(position: Position, change: Decimal, notional: Decimal) -> Decimal:
    """Move a position by a signed quantity of a signed notional; give the PnL that this realises."""
    held, cost = position.quantity, position.cost
    total = add(held, change)
    if held == ZERO or (held > ZERO) == (change > ZERO):
        position.quantity, position.cost = total, add(cost, notional)
        return ZERO
    if magnitude(change) <= magnitude(held):
        closed_cost = cost if total == ZERO else _share(cost, change, held)
        position.quantity, position.cost = total, subtract(cost, closed_cost)
        return negative(add(notional, closed_cost))
    closing_notional = _share(notional, held, change)
    position.quantity, position.cost = total, subtract(notional, closing_notional)
    return negative(add(closing_notional, cost))


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Give |part / whole| of an amount, rounded to 1e-10."""
    share = divide(multiply(amount, magnitude(part)), magnitude(whole))
    return quantize(share, COST_STEP)
