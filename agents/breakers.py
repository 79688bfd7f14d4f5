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

from agents.agent import NEVER, Agent, Handler, State
from agents.layout import DAILY_LOSS, DAY_START, DRAWDOWN, FLASH_MOVE, PEAK, Limits
from agents.money import ZERO, add, subtract
from agents.portfolio import Portfolio
from agents.rules import fall_pct
from agents.scan import equity_of
from schemas.accounting import PositionChanged
from schemas.base import NS_PER_DAY, NS_PER_MIN, Event
from schemas.book import Book
from schemas.control import BookResumed, ClockTicked
from schemas.decisions import BreakerReset, BreakerTripped, ConsensusFailed, ConsensusReached

Rule = Literal["drawdown", "daily_loss", "losing_streak", "flash_move", "model_outage"]


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


class Breakers(Agent[BreakersState]):
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
        self._limits = Limits(
            drawdown=rules.max_drawdown_pct or inf,
            daily_loss=rules.max_daily_loss_pct or inf,
            move=rules.flash_move_pct or inf,
        )
        self.limits = np.array(self._limits, np.float64)
        self.tripped = np.zeros(2, np.int64)
        """Whether drawdown, and daily loss, are tripped already."""
        self.halted = np.zeros(n, np.int64)
        """Whether an instrument is."""
        self.day_at = NEVER
        """When the next day begins, if nothing else is due and the book is marked then, so that a scan may begin it."""
        self._flags()

    def _flags(self) -> None:
        """Lay out the open breakers as the kernels read them."""
        state = self.state
        self.tripped[:] = "drawdown" in state.tripped, "daily_loss" in state.tripped
        self.halted[:] = [i in state.halted for i in range(len(state.prices))]

    def restore(self, data: bytes) -> None:
        """Put back the state, and the flags that follow from it."""
        super().restore(data)
        self._settle()

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

    def speak(self, k: int, event: Event, bits: int, move: float) -> Iterator[Event]:
        """Trip what the event, a row of the `k`-th instrument, has tripped; `move` is its bar's, as a fraction."""
        state, limits = self.state, self._limits
        equity = equity_of(state.prices, self._portfolio.exposures, self._portfolio.cash_float)
        now = event.observed_at
        if bits & DRAWDOWN:
            yield self._trip(event, "drawdown", limits.drawdown, fall_pct(equity, float(state.marks[PEAK])), 0)
        if bits & DAILY_LOSS:
            fall = fall_pct(equity, float(state.marks[DAY_START]))
            yield self._trip(event, "daily_loss", limits.daily_loss, fall, _midnight_after(now))
        if bits & FLASH_MOVE:
            until = now + self.book.breakers.cooldown_min * NS_PER_MIN
            state.halted[k] = until
            yield self._tripped_event(event, "flash_move", limits.move, 100.0 * abs(move), until, event.key)
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

    def begin_day(self, now: int) -> None:
        """Look ahead to the midnight after `now`; a scan has kept the equity at the one before."""
        self.state.midnight = _midnight_after(now)
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
        is_marked = NS_PER_DAY % (self.book.mark_every_min * NS_PER_MIN) == 0
        is_watched = self.book.breakers.max_daily_loss_pct is not None
        self.day_at = state.midnight if is_watched and is_marked and not times else NEVER
        if is_watched:
            times.append(state.midnight)
        state.due = min(times, default=NEVER)


def _midnight_after(now: int) -> int:
    return (now // NS_PER_DAY + 1) * NS_PER_DAY
