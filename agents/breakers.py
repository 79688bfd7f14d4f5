"""Circuit breakers: rules that stop new risk for a while, whatever the models say. Exits and stops go on.

Drawdown and daily loss watch equity at every price; a flash move halts its instrument at every closed bar; streaks
of losing trades and of failed votes are counted from events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from math import inf
from typing import Literal

import msgspec
import numpy as np

from agents import features as f
from agents.agent import NEVER, Handler, MarketAgent, State
from agents.frame import Floats, Frame, Ints
from agents.kernels import kernel
from agents.money import ZERO, add, subtract
from agents.portfolio import Portfolio
from schemas.accounting import PositionChanged
from schemas.base import NS_PER_DAY, NS_PER_MIN, Event
from schemas.book import Book
from schemas.control import BookResumed, ClockTicked
from schemas.decisions import BreakerReset, BreakerTripped, ConsensusFailed, ConsensusReached

Rule = Literal["drawdown", "daily_loss", "losing_streak", "flash_move", "model_outage"]

DRAWDOWN, DAILY_LOSS, FLASH_MOVE = 1, 2, 4
"""Bits of what a row trips."""
PEAK, DAY_START = 0, 1
OPEN_DRAWDOWN, OPEN_DAILY = 0, 1
MAX_DRAWDOWN, MAX_DAILY_LOSS, MAX_MOVE = range(3)


@kernel
def equity_of(prices: Floats, exposures: Floats, cash: float) -> float:
    """Sum the book's worth in the fixed order of its instruments."""
    total = cash
    for k in range(len(prices)):
        if exposures[k] != 0.0:
            total += exposures[k] * prices[k]
    return total


@kernel
def fall_pct(value: float, start: float) -> float:
    """Give how far `value` lies below `start`, in percent."""
    return 100.0 * (start - value) / start if start > 0.0 else 0.0


@kernel
def watch_row(
    row: Floats,
    k: int,
    prices: Floats,
    exposures: Floats,
    cash: float,
    marks: Floats,
    limits: Floats,
    tripped: Ints,
    halted: Ints,
) -> int:
    """Take one event into `prices` and `marks`; give the bits of the rules that it trips."""
    prices[k] = row[f.PRICE]
    equity = equity_of(prices, exposures, cash)
    marks[PEAK] = max(marks[PEAK], equity)
    bits = 0
    if tripped[OPEN_DRAWDOWN] == 0 and fall_pct(equity, marks[PEAK]) > limits[MAX_DRAWDOWN]:
        bits |= DRAWDOWN
    if tripped[OPEN_DAILY] == 0 and fall_pct(equity, marks[DAY_START]) > limits[MAX_DAILY_LOSS]:
        bits |= DAILY_LOSS
    if row[f.CLOSED] != 0.0 and halted[k] == 0 and abs(row[f.RETURN]) * 100.0 > limits[MAX_MOVE]:
        bits |= FLASH_MOVE
    return bits


@kernel
def watch(
    features: Floats,
    instrument: Ints,
    lo: int,
    hi: int,
    prices: Floats,
    exposures: Floats,
    cash: float,
    marks: Floats,
    limits: Floats,
    tripped: Ints,
    halted: Ints,
) -> int:
    """Take rows until one trips a rule; give that row, or `hi`."""
    for i in range(lo, hi):
        if watch_row(features[i], instrument[i], prices, exposures, cash, marks, limits, tripped, halted) != 0:
            return i
    return hi


class OpenTrade(msgspec.Struct, kw_only=True, gc=False):
    """A round trip so far: from flat, or from the other side, to the same."""

    side: int = 0
    """1 long, -1 short, 0 flat."""
    pnl: Decimal = ZERO
    """Realised less fees; the fee of a fill that turns the position belongs to the trade that it ends."""


class BreakersState(State, kw_only=True):
    """`due` is the next reset or midnight."""

    prices: np.ndarray
    """float64[instruments]: last prices."""
    marks: np.ndarray
    """float64[2]: highest equity, equity at midnight."""
    tripped: dict[Rule, int]
    """Open breakers of the whole book: rule to the time at which it resets, 0 for an operator's."""
    halted: dict[int, int]
    """Instruments under a flash halt: index to the time at which it ends."""
    midnight: int = NEVER
    """When the next day begins; known from the first clock on."""
    trades: list[OpenTrade]
    """Per instrument."""
    losing_streak: int = 0
    failed_votes: int = 0


class Breakers(MarketAgent[BreakersState]):
    """Watches, trips, resets."""

    name = "breakers"

    def __init__(self, book: Book, portfolio: Portfolio) -> None:
        """`portfolio` tells what the book holds."""
        n = len(book.instruments)
        state = BreakersState(
            prices=np.zeros(n),
            marks=np.full(2, float(book.cash)),
            tripped={},
            halted={},
            trades=[OpenTrade() for _ in range(n)],
        )
        super().__init__(book, state)
        self._portfolio = portfolio
        rules = book.breakers
        self._limits = np.array(
            [rules.max_drawdown_pct or inf, rules.max_daily_loss_pct or inf, rules.flash_move_pct or inf]
        )
        self._watches = bool(np.isfinite(self._limits).any())
        self._flags()

    def _flags(self) -> None:
        """Lay out the open breakers as the kernels read them."""
        state = self.state
        self._tripped = np.array(["drawdown" in state.tripped, "daily_loss" in state.tripped], np.int64)
        self._halted = np.array([i in state.halted for i in range(len(state.prices))], np.int64)

    def restore(self, data: bytes) -> None:
        """Put back the state, and the flags that follow from it."""
        super().restore(data)
        self._flags()

    def handlers(self) -> Mapping[type[Event], Handler]:
        """The clock, closed trades, votes, and the operator who resets."""
        return {
            ClockTicked: self.on_clock_ticked,
            PositionChanged: self.on_position_changed,
            ConsensusReached: self.on_consensus_reached,
            ConsensusFailed: self.on_consensus_failed,
            BookResumed: self.on_book_resumed,
        }

    def halts(self, index: int) -> str:
        """Name the open breaker that forbids new risk on the `index`-th instrument, or give an empty string."""
        if self.state.tripped:
            return next(iter(self.state.tripped))
        return "flash_move" if index in self.state.halted else ""

    # Market data

    def quiet_until(self, frame: Frame, lo: int, hi: int) -> int:
        """Find the first row that trips a rule."""
        if not self._watches:
            return hi
        return self._watch(frame, lo, hi, self.state.prices.copy(), self.state.marks.copy())

    def absorb(self, frame: Frame, lo: int, hi: int) -> None:
        """Move the last prices and the highest equity along the span."""
        if self._watches:
            self._watch(frame, lo, hi, self.state.prices, self.state.marks)

    def _watch(self, frame: Frame, lo: int, hi: int, prices: Floats, marks: Floats) -> int:
        portfolio = self._portfolio
        return watch(
            frame.features,
            frame.instrument,
            lo,
            hi,
            prices,
            portfolio.exposures,
            portfolio.cash_float,
            marks,
            self._limits,
            self._tripped,
            self._halted,
        )

    def speak(self, frame: Frame, row: int, event: Event) -> Iterable[Event]:
        """Take a row; trip what it trips."""
        if not self._watches:
            return ()
        portfolio, state = self._portfolio, self.state
        k = int(frame.instrument[row])
        bits = watch_row(
            frame.features[row],
            k,
            state.prices,
            portfolio.exposures,
            portfolio.cash_float,
            state.marks,
            self._limits,
            self._tripped,
            self._halted,
        )
        return self._trip_row(event, bits, k, float(frame.features[row, f.RETURN])) if bits else ()

    def _trip_row(self, event: Event, bits: int, k: int, change: float) -> Iterator[Event]:
        state, limits = self.state, self._limits.tolist()
        equity = equity_of(state.prices, self._portfolio.exposures, self._portfolio.cash_float)
        now = event.observed_at
        if bits & DRAWDOWN:
            fall = fall_pct(equity, float(state.marks[PEAK]))
            yield self._trip(event, "drawdown", limits[MAX_DRAWDOWN], fall, 0)
        if bits & DAILY_LOSS:
            fall = fall_pct(equity, float(state.marks[DAY_START]))
            yield self._trip(event, "daily_loss", limits[MAX_DAILY_LOSS], fall, _midnight_after(now))
        if bits & FLASH_MOVE:
            until = now + self.book.breakers.cooldown_min * NS_PER_MIN
            state.halted[k] = until
            yield self._tripped_event(event, "flash_move", limits[MAX_MOVE], 100.0 * abs(change), until, event.key)
        self._settle()

    # Events

    def on_clock_ticked(self, event: ClockTicked) -> Iterable[Event]:
        """Start the day at midnight; reset what has cooled down."""
        state, now = self.state, event.observed_at
        if state.midnight == NEVER:
            state.midnight = _midnight_after(now)
            self._settle()
        return () if now < state.due else self._on_due(event)

    def _on_due(self, event: ClockTicked) -> Iterator[Event]:
        state, now = self.state, event.observed_at
        if now >= state.midnight:
            state.midnight = _midnight_after(now)
            state.marks[DAY_START] = equity_of(state.prices, self._portfolio.exposures, self._portfolio.cash_float)
        for rule, until in list(state.tripped.items()):
            if 0 < until <= now:
                del state.tripped[rule]
                yield self.emit(
                    BreakerReset, event, rule=rule, reason="new_day" if rule == "daily_loss" else "cooldown"
                )
        for k, until in list(state.halted.items()):
            if until <= now:
                del state.halted[k]
                key = self.book.instruments[k].id
                yield self.emit(BreakerReset, event, key, rule="flash_move", reason="cooldown")
        self._settle()

    def on_position_changed(self, event: PositionChanged) -> tuple[Event, ...]:
        """Count trades that lost, after their fees, in a row; one ends where the position is closed or turned."""
        limit, state = self.book.breakers.max_losing_streak, self.state
        k = self.index_of[event.instrument]
        trade = state.trades[k]
        trade.pnl = subtract(add(trade.pnl, event.realised_pnl), event.fee)
        side = (event.quantity > ZERO) - (event.quantity < ZERO)
        if trade.side in (side, 0):
            trade.side = side
            return ()
        state.trades[k] = OpenTrade(side=side)
        state.losing_streak = state.losing_streak + 1 if trade.pnl < ZERO else 0
        if limit is not None and state.losing_streak >= limit and "losing_streak" not in state.tripped:
            streak, state.losing_streak = state.losing_streak, 0
            tripped = self._trip(event, "losing_streak", limit, streak, self._cooled(event))
            self._settle()
            return (tripped,)
        return ()

    def on_consensus_reached(self, event: ConsensusReached) -> tuple[Event, ...]:
        """Models answer: no outage."""
        self.state.failed_votes = 0
        return ()

    def on_consensus_failed(self, event: ConsensusFailed) -> Iterator[Event]:
        """Count questions without a usable answer, in a row; a disagreement or an abstention is an answer."""
        limit = self.book.breakers.max_failed_votes
        if event.reason != "no_quorum":
            self.state.failed_votes = 0
        elif limit is not None:
            self.state.failed_votes += 1
            if self.state.failed_votes >= limit and "model_outage" not in self.state.tripped:
                failed, self.state.failed_votes = self.state.failed_votes, 0
                yield self._trip(event, "model_outage", limit, failed, self._cooled(event))
                self._settle()

    def on_book_resumed(self, event: BookResumed) -> Iterator[Event]:
        """Reset every breaker: the operator has looked. Drawdown counts from here."""
        state = self.state
        for rule in list(state.tripped):
            del state.tripped[rule]
            yield self.emit(BreakerReset, event, rule=rule, reason="operator")
        for k in list(state.halted):
            del state.halted[k]
            key = self.book.instruments[k].id
            yield self.emit(BreakerReset, event, key, rule="flash_move", reason="operator")
        equity = equity_of(state.prices, self._portfolio.exposures, self._portfolio.cash_float)
        state.marks[PEAK] = state.marks[DAY_START] = equity
        self._settle()

    def _cooled(self, event: Event) -> int:
        return event.observed_at + self.book.breakers.cooldown_min * NS_PER_MIN

    def _trip(self, cause: Event, rule: Rule, limit: float, value: float, until: int) -> Event:
        self.state.tripped[rule] = until
        return self._tripped_event(cause, rule, limit, value, until, "")

    def _tripped_event(self, cause: Event, rule: Rule, limit: float, value: float, until: int, key: str) -> Event:
        return self.emit(BreakerTripped, cause, key, rule=rule, limit=float(limit), value=float(value), until=until)

    def _settle(self) -> None:
        """Bring flags and `due` in line with what is open."""
        state = self.state
        self._flags()
        times = [until for until in (*state.tripped.values(), *state.halted.values()) if until]
        if self.book.breakers.max_daily_loss_pct is not None:
            times.append(state.midnight)
        state.due = min(times, default=NEVER)


def _midnight_after(now: int) -> int:
    return (now // NS_PER_DAY + 1) * NS_PER_DAY
