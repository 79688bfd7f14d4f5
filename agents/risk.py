"""Conviction asks, risk disposes: sizes each proposal, cuts it by every limit, and records each cut.

Nothing becomes an order without an approval from here. Exits are always allowed. A person may be asked to confirm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from agents import features as f
from agents.agent import NEVER, Agent, Handler, State
from agents.breakers import Breakers
from agents.features import Features
from agents.money import CONTEXT, ZERO, exact, floor_to_step, percent_of, plain, to_cent, to_step
from agents.portfolio import Portfolio
from schemas.base import NS_PER_DAY, NS_PER_S, Event
from schemas.book import Book, Instrument, RiskSettings
from schemas.control import (
    BookPaused,
    BookResumed,
    ClockTicked,
    KillSwitchPulled,
    RulesChanged,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.decisions import Clamp, ConfirmationRequested, TradeApproved, TradeProposed, TradeRejected
from schemas.execution import OrderRequested, Side
from schemas.operations import AlertRaised

_SIGN = {"long": 1, "short": -1, "flat": 0}


class Sizing(msgspec.Struct, kw_only=True):
    """A trade on its way through the limits; it waits here when a person must confirm it."""

    proposal: str
    index: int
    side: Side
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    clamps: list[Clamp]
    held: Decimal
    """Position that it was sized for."""
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    expires_at: int = 0


class Denial(msgspec.Struct, frozen=True):
    """Why no new risk may be taken: reason, limit, its value, the value that broke it."""

    reason: str
    limit: str = ""
    limit_value: str = ""
    value: str = ""


class RiskState(State, kw_only=True):
    """`due` is when the next confirmation lapses."""

    paused: bool = False
    killed: bool = False
    day: int = 0
    orders_today: int = 0
    rules: dict[str, float]
    """Limits changed since the start, by name."""
    waiting: dict[str, Sizing]
    """Trades that wait for a person, by the id of the `ConfirmationRequested`."""


class Risk(Agent[RiskState]):
    """Sizes and limits."""

    name = "risk"

    def __init__(self, book: Book, features: Features, portfolio: Portfolio, breakers: Breakers) -> None:
        """The others are read, never changed."""
        super().__init__(book, RiskState(rules={}, waiting={}))
        self._features = features
        self._portfolio = portfolio
        self._breakers = breakers
        self.limits: RiskSettings = book.risk

    def restore(self, data: bytes) -> None:
        """Put back the state, and the limits that follow from it."""
        super().restore(data)
        self.limits = msgspec.structs.replace(self.book.risk, **self.state.rules)

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Proposals, operators, the clock for confirmations, and orders to count them."""
        return {
            TradeProposed: self.on_trade_proposed,
            TradeConfirmed: self.on_trade_confirmed,
            TradeDeclined: self.on_trade_declined,
            BookPaused: self.on_book_paused,
            BookResumed: self.on_book_resumed,
            KillSwitchPulled: self.on_kill_switch_pulled,
            RulesChanged: self.on_rules_changed,
            ClockTicked: self.on_clock_ticked,
            OrderRequested: self.on_order_requested,
        }

    # Operators

    def on_book_paused(self, event: BookPaused) -> Iterator[Event]:
        """Stop new risk."""
        self.state.paused = True
        yield self.emit(AlertRaised, event, severity="warning", text=f"paused by {event.operator}: {event.reason}")

    def on_book_resumed(self, event: BookResumed) -> Iterator[Event]:
        """Allow new risk again."""
        self.state.paused = self.state.killed = False
        yield self.emit(AlertRaised, event, severity="info", text=f"resumed by {event.operator}: {event.reason}")

    def on_kill_switch_pulled(self, event: KillSwitchPulled) -> Iterator[Event]:
        """Stop new risk and refuse whatever waits for a person; the strategy closes what is open."""
        self.state.killed = True
        text = f"kill switch pulled by {event.operator}: {event.reason}"
        yield self.emit(AlertRaised, event, severity="critical", text=text)
        for confirmation in list(self.state.waiting):
            yield self._reject_waiting(event, confirmation, "kill switch")

    def on_rules_changed(self, event: RulesChanged) -> Iterator[Event]:
        """Take new limits; an unknown name or a value that the limit cannot have changes nothing and is an alert."""
        known = {name: value for name, value in event.changes.items() if name in NUMERIC_LIMITS}
        unknown = sorted(name for name in event.changes if name not in NUMERIC_LIMITS)
        zero = sorted(name for name, value in known.items() if value <= 0)
        if unknown or zero:
            what = f"unknown limits {unknown}" if unknown else f"limits must be above zero: {zero}"
            text = f"rules not changed: {what}"
            yield self.emit(AlertRaised, event, severity="warning", text=text)
            return
        for name in sorted(known):
            self.state.rules[name] = known[name]
        self.limits = msgspec.structs.replace(self.limits, **known)

    # Proposals

    def on_trade_proposed(self, event: TradeProposed) -> Iterator[Event]:
        """Approve, cut, hold for a person, or reject."""
        index = self.index_of[event.instrument]
        held = self._portfolio.quantity(index)
        wanted = _SIGN[event.target]
        if (held > ZERO) - (held < ZERO) == wanted:
            yield self._reject(event, event.instrument, event.id, Denial(f"already {event.target}"))
            return
        clamps: list[Clamp] = []
        quantity, denial = self._entry(event, index, clamps) if wanted else (ZERO, None)
        if not quantity and not held:
            yield self._reject(event, event.instrument, event.id, denial or Denial("nothing to close"))
            return
        price = to_step(exact(event.price), self.book.instruments[index].tick_size)
        total = CONTEXT.subtract(quantity if wanted >= 0 else -quantity, held)
        sizing = Sizing(
            proposal=event.id,
            index=index,
            side="buy" if total > ZERO else "sell",
            quantity=abs(total),
            price=price,
            reduce_only=not quantity,
            clamps=clamps,
            held=held,
        )
        if quantity:
            tick = self.book.instruments[index].tick_size
            sizing.stop_price = _on_tick(event.stop_price, tick)
            sizing.target_price = _on_tick(event.target_price, tick)
        yield self._confirm_or_approve(event, sizing)

    def _entry(self, event: TradeProposed, index: int, clamps: list[Clamp]) -> tuple[Decimal, Denial | None]:
        """Size the new position: its quantity, or zero and why."""
        instrument = self.book.instruments[index]
        wanted = self._wanted_notional(event, instrument)
        denial = self._denial(event, index)
        if denial is not None:
            clamps.append(Clamp(limit=denial.reason, value=ZERO, before=to_cent(wanted), after=ZERO))
            return ZERO, denial
        notional = wanted
        for limit, bound in self._bounds(index):
            if notional > bound:
                after = max(bound, ZERO)
                value = exact(getattr(self.limits, limit))
                clamps.append(Clamp(limit=limit, value=value, before=to_cent(notional), after=to_cent(after)))
                notional = after
        unit = CONTEXT.multiply(exact(event.price), instrument.multiplier)
        quantity = floor_to_step(CONTEXT.divide(notional, unit), instrument.lot_size)
        if CONTEXT.multiply(quantity, unit) < instrument.min_notional:
            smallest = instrument.min_notional
            clamps.append(Clamp(limit="min_notional", value=smallest, before=to_cent(notional), after=ZERO))
            return ZERO, Denial("too small", "min_notional", str(smallest), str(to_cent(notional)))
        return quantity, None

    def _wanted_notional(self, event: TradeProposed, instrument: Instrument) -> Decimal:
        limits = self.limits
        if limits.order_quantity is not None:
            unit = CONTEXT.multiply(exact(event.price), instrument.multiplier)
            return CONTEXT.multiply(limits.order_quantity, unit)
        full = percent_of(max(self._portfolio.equity(), ZERO), limits.order_pct)
        return CONTEXT.multiply(full, exact(event.conviction)) if limits.scale_by_conviction else full

    def _bounds(self, index: int) -> Iterator[tuple[str, Decimal]]:
        """Give the largest notional that each limit leaves to the new position."""
        limits, equity = self.limits, max(self._portfolio.equity(), ZERO)
        yield "max_position_pct", percent_of(equity, limits.max_position_pct)
        others = CONTEXT.subtract(self._portfolio.gross_exposure(), abs(self._portfolio.notional(index)))
        yield "max_exposure_pct", CONTEXT.subtract(percent_of(equity, limits.max_exposure_pct), others)
        if limits.max_order_notional is not None:
            yield "max_order_notional", exact(limits.max_order_notional)

    def _denial(self, event: TradeProposed, index: int) -> Denial | None:
        """Say why no new risk may be taken now, if so."""
        state, limits = self.state, self.limits
        if state.killed or state.paused:
            return Denial("kill switch" if state.killed else "paused")
        rule = self._breakers.halts(index)
        if rule:
            return Denial("breaker", rule)
        if event.target == "short" and not self.book.instruments[index].shortable:
            return Denial("not shortable")
        age_s = (event.observed_at - int(self._features.state.seen[index, f.SEEN_AT])) // NS_PER_S
        if age_s > limits.max_price_age_s:
            return Denial("stale price", "max_price_age_s", str(limits.max_price_age_s), str(age_s))
        today = state.orders_today if event.observed_at // NS_PER_DAY == state.day else 0
        if limits.max_orders_per_day is not None and today >= limits.max_orders_per_day:
            return Denial("too many orders", "max_orders_per_day", str(limits.max_orders_per_day), str(today))
        return None

    def on_order_requested(self, event: OrderRequested) -> Iterator[Event]:
        """Count entries by day."""
        if event.role == "entry":
            day = event.observed_at // NS_PER_DAY
            self.state.orders_today = self.state.orders_today + 1 if day == self.state.day else 1
            self.state.day = day
        yield from ()

    # Confirmation

    def _confirm_or_approve(self, event: TradeProposed, sizing: Sizing) -> Event:
        bound = self.limits.confirm_above_notional
        unit = CONTEXT.multiply(sizing.price, self.book.instruments[sizing.index].multiplier)
        notional = CONTEXT.multiply(sizing.quantity, unit)
        if bound is None or sizing.reduce_only or notional <= exact(bound):
            return self._approve(event, sizing)
        sizing.expires_at = event.observed_at + int(self.limits.confirm_within_s) * NS_PER_S
        request = self.emit(
            ConfirmationRequested,
            event,
            event.instrument,
            instrument=event.instrument,
            proposal=event.id,
            side=sizing.side,
            quantity=plain(sizing.quantity),
            notional=to_cent(notional),
            expires_at=sizing.expires_at,
        )
        self.state.waiting[request.id] = sizing
        self.state.due = min(self.state.due, sizing.expires_at)
        return request

    def on_trade_confirmed(self, event: TradeConfirmed) -> Iterator[Event]:
        """Approve what waited, if it still waits and the position is still the one that it was sized for."""
        sizing = self.state.waiting.get(event.confirmation)
        if sizing is None:
            text = f"confirmation {event.confirmation} came too late or is unknown: nothing was traded"
            yield self.emit(AlertRaised, event, severity="warning", text=text)
        elif self.state.killed or self.state.paused or self._breakers.halts(sizing.index):
            yield self._reject_waiting(event, event.confirmation, "no new risk is allowed now")
        elif self._portfolio.quantity(sizing.index) != sizing.held:
            yield self._reject_waiting(event, event.confirmation, "the position has changed since")
        else:
            del self.state.waiting[event.confirmation]
            yield self._approve(event, sizing)
        self._reset_due()

    def on_trade_declined(self, event: TradeDeclined) -> Iterator[Event]:
        """Reject what waited."""
        if event.confirmation in self.state.waiting:
            yield self._reject_waiting(event, event.confirmation, f"declined by {event.operator}")
        self._reset_due()

    def on_clock_ticked(self, event: ClockTicked) -> Iterator[Event]:
        """Reject what nobody confirmed in time."""
        if event.observed_at >= self.state.due:
            for confirmation, sizing in list(self.state.waiting.items()):
                if event.observed_at >= sizing.expires_at:
                    yield self._reject_waiting(event, confirmation, "not confirmed in time")
            self._reset_due()

    def _reset_due(self) -> None:
        self.state.due = min((s.expires_at for s in self.state.waiting.values()), default=NEVER)

    # Answers

    def _approve(self, cause: Event, sizing: Sizing) -> Event:
        key = self.book.instruments[sizing.index].id
        return self.emit(
            TradeApproved,
            cause,
            key,
            instrument=key,
            proposal=sizing.proposal,
            side=sizing.side,
            quantity=plain(sizing.quantity),
            price=plain(sizing.price),
            reduce_only=sizing.reduce_only,
            clamps=tuple(sizing.clamps),
            stop_price=sizing.stop_price,
            target_price=sizing.target_price,
        )

    def _reject_waiting(self, cause: Event, confirmation: str, reason: str) -> Event:
        sizing = self.state.waiting.pop(confirmation)
        key = self.book.instruments[sizing.index].id
        return self._reject(cause, key, sizing.proposal, Denial(reason))

    def _reject(self, cause: Event, key: str, proposal: str, denial: Denial) -> Event:
        fields: dict[str, Any] = msgspec.structs.asdict(denial)
        return self.emit(TradeRejected, cause, key, instrument=key, proposal=proposal, **fields)


NUMERIC_LIMITS = frozenset(
    name for name in RiskSettings.__struct_fields__ if name not in ("order_quantity", "scale_by_conviction")
)
"""Limits that `RulesChanged` may set."""


def _on_tick(price: float | None, tick: Decimal) -> Decimal | None:
    return None if price is None else plain(to_step(exact(price), tick))
