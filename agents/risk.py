"""Conviction asks, risk disposes: sizes each proposal, cuts it by every limit, and records each cut.

Nothing becomes an order without an approval from here. Exits are always allowed. A person may be asked to confirm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from agents import features as f
from agents.agent import NEVER, Agent, Handler, State
from agents.breakers import Breakers
from agents.features import Features
from agents.money import (
    ZERO,
    add,
    divide,
    exact,
    floor_to_step,
    magnitude,
    multiply,
    negative,
    percent_of,
    plain,
    subtract,
    to_cent,
    to_step,
)
from agents.orders import Orders
from agents.portfolio import Portfolio
from agents.sizing import NUMERIC_LIMITS, Denial, Sizing
from schemas.base import NS_PER_DAY, NS_PER_S, Event
from schemas.book import Book, RiskSettings
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
from schemas.execution import OrderRequested
from schemas.fields import MAX_NOTE_CHARS
from schemas.operations import AlertRaised

_SIGN = {"long": 1, "short": -1, "flat": 0}


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

    def __init__(
        self, book: Book, features: Features, portfolio: Portfolio, breakers: Breakers, orders: Orders
    ) -> None:
        """The others are read, never changed."""
        super().__init__(book, RiskState(rules={}, waiting={}))
        self._features = features
        self._portfolio = portfolio
        self._breakers = breakers
        self._orders = orders
        self._set(book.risk)

    def restore(self, data: bytes) -> None:
        """Put back the state, and the limits that follow from it."""
        super().restore(data)
        self._set(self._limits_with(self.state.rules))

    def _set(self, limits: RiskSettings) -> None:
        """Work with these limits, as they are and as exact decimals."""
        self.limits = limits
        numbers = {name: getattr(limits, name) for name in NUMERIC_LIMITS}
        self._exact = {name: exact(number) for name, number in numbers.items() if number is not None}

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
            yield self._reject_waiting(event, confirmation, Denial("kill switch"))
        self._reset_due()

    def on_rules_changed(self, event: RulesChanged) -> Iterator[Event]:
        """Take new limits; an unknown name or a value that the limit cannot have changes nothing and is an alert."""
        rules = dict(sorted((self.state.rules | event.changes).items()))
        try:
            self._set(self._limits_with(rules))
            self.state.rules = rules
        except msgspec.ValidationError as error:
            text = f"rules not changed: {error}"[:MAX_NOTE_CHARS]
            yield self.emit(AlertRaised, event, severity="warning", text=text)

    def _limits_with(self, rules: dict[str, float]) -> RiskSettings:
        """Give the book's limits with some of them changed. Raises ValidationError where they cannot be."""
        fixed = sorted(rules.keys() - NUMERIC_LIMITS)
        if fixed:
            raise msgspec.ValidationError(f"no limits of these names can be changed: {', '.join(fixed)}")
        whole = {name: int(value) if value.is_integer() else value for name, value in rules.items()}
        return msgspec.convert(msgspec.structs.asdict(self.book.risk) | whole, RiskSettings)

    # Proposals

    def on_trade_proposed(self, event: TradeProposed) -> list[Event]:
        """Approve, cut, hold for a person, or reject. It takes the place of one that waits for a person."""
        index = self.index_of[event.instrument]
        answers = self._displaced(event, index) if self.state.waiting else []
        held = self._portfolio.quantity(index)
        wanted = _SIGN[event.target]
        denial: Denial | None = None
        if (held > ZERO) - (held < ZERO) == wanted:
            denial = Denial(f"already {event.target}")
        elif not wanted and not self._orders.expected(index):
            denial = Denial("already closing")
        if denial is not None:
            return [*answers, self._reject(event, event.instrument, event.id, denial)]
        clamps: list[Clamp] = []
        price, quantity = self._portfolio.exact_price(index, event.price), ZERO
        if wanted:
            quantity, denial = self._entry(event, index, price, clamps)
            if denial is not None and not held:
                return [*answers, self._reject(event, event.instrument, event.id, denial)]
        tick = self.book.instruments[index].tick_size
        sizing = Sizing(
            proposal=event.id,
            index=index,
            quantity=ZERO,
            side="buy",
            price=max(to_step(price, tick), tick),
            reduce_only=not quantity,
            clamps=clamps,
            held=held,
        )
        sizing.aim_for(quantity if wanted >= 0 else negative(quantity))
        if quantity:
            sizing.stop_price = _on_tick(event.stop_price, tick)
            sizing.target_price = _on_tick(event.target_price, tick)
        answers.append(self._confirm_or_approve(event, price, sizing))
        return answers

    def _displaced(self, event: TradeProposed, index: int) -> list[Event]:
        """Reject what waits for a person on the same instrument."""
        denial = Denial("a newer proposal takes its place")
        older = [confirmation for confirmation, sizing in self.state.waiting.items() if sizing.index == index]
        answers = [self._reject_waiting(event, confirmation, denial) for confirmation in older]
        self._reset_due()
        return answers

    def _entry(
        self, event: TradeProposed, index: int, price: Decimal, clamps: list[Clamp]
    ) -> tuple[Decimal, Denial | None]:
        """Size the new position: its quantity, or zero and why."""
        unit = multiply(price, self.book.instruments[index].multiplier)
        equity = self._equity()
        wanted = self._wanted_notional(event, unit, equity)
        denial = self._denial(event.observed_at, index, short=event.target == "short", price=price)
        if denial is not None:
            clamps.append(Clamp(limit=denial.reason, value=ZERO, before=to_cent(wanted), after=ZERO))
            return ZERO, denial
        return self._cut(index, wanted, unit, equity, clamps)

    def _equity(self) -> Decimal:
        """Give the equity that limits are a share of: that of the portfolio, but no debt."""
        return max(self._portfolio.equity(), ZERO)

    def _wanted_notional(self, event: TradeProposed, unit: Decimal, equity: Decimal) -> Decimal:
        limits = self.limits
        if limits.order_quantity is not None:
            return multiply(limits.order_quantity, unit)
        full = percent_of(equity, self._exact["order_pct"])
        return multiply(full, exact(event.conviction)) if limits.scale_by_conviction else full

    def _cut(
        self, index: int, notional: Decimal, unit: Decimal, equity: Decimal, clamps: list[Clamp]
    ) -> tuple[Decimal, Denial | None]:
        """Cut a new position's notional by every limit: its quantity in whole lots, or zero and why."""
        instrument = self.book.instruments[index]
        for limit, bound in self._bounds(index, equity):
            if notional > bound:
                after = max(bound, ZERO)
                value = plain(self._exact[limit])
                clamps.append(Clamp(limit=limit, value=value, before=to_cent(notional), after=to_cent(after)))
                notional = after
        quantity = floor_to_step(divide(notional, unit), instrument.lot_size)
        if not quantity or multiply(quantity, unit) < instrument.min_notional:
            smallest = instrument.min_notional
            clamps.append(Clamp(limit="min_notional", value=smallest, before=to_cent(notional), after=ZERO))
            return ZERO, Denial("too small", "min_notional", str(smallest), str(to_cent(notional)))
        return quantity, None

    def _bounds(self, index: int, equity: Decimal) -> list[tuple[str, Decimal]]:
        """Give the largest notional that each limit leaves to the new position."""
        limits, others = self._exact, ZERO
        for other in range(len(self.book.instruments)):
            if other != index:
                quantity = max(magnitude(self._portfolio.quantity(other)), magnitude(self._orders.expected(other)))
                others = add(others, multiply(quantity, self._portfolio.unit(other)))
        bounds = [
            ("max_position_pct", percent_of(equity, limits["max_position_pct"])),
            ("max_exposure_pct", subtract(percent_of(equity, limits["max_exposure_pct"]), others)),
        ]
        if "max_order_notional" in limits:
            bounds.append(("max_order_notional", limits["max_order_notional"]))
        return bounds

    def _denial(self, now: int, index: int, *, short: bool, price: Decimal) -> Denial | None:
        """Say why no new risk may be taken now, if so."""
        limits, tick = self.limits, self.book.instruments[index].tick_size
        halt = self._halt(index, short=short)
        if halt is not None:
            return halt
        if price < tick:
            return Denial("price below one tick", "tick_size", str(tick), str(price))
        age_s = (now - self._features.state.seen.item(index, f.SEEN_AT)) // NS_PER_S
        if age_s > limits.max_price_age_s:
            return Denial("stale price", "max_price_age_s", str(limits.max_price_age_s), str(age_s))
        if limits.max_orders_per_day is not None:
            today = self.state.orders_today if now // NS_PER_DAY == self.state.day else 0
            if today >= limits.max_orders_per_day:
                return Denial("too many orders", "max_orders_per_day", str(limits.max_orders_per_day), str(today))
        return None

    def _halt(self, index: int, *, short: bool) -> Denial | None:
        """Say why the instrument may not be traded at all, if so."""
        if self.state.killed or self.state.paused:
            return Denial("kill switch" if self.state.killed else "paused")
        rule = self._breakers.halts(index)
        if rule:
            return Denial("breaker", rule)
        if short and not self.book.instruments[index].shortable:
            return Denial("not shortable")
        return Denial("an order is under way") if self._orders.busy.item(index) else None

    def on_order_requested(self, event: OrderRequested) -> tuple[Event, ...]:
        """Count entries by day."""
        if event.role == "entry":
            day = event.observed_at // NS_PER_DAY
            self.state.orders_today = self.state.orders_today + 1 if day == self.state.day else 1
            self.state.day = day
        return ()

    # Confirmation

    def _confirm_or_approve(self, event: TradeProposed, price: Decimal, sizing: Sizing) -> Event:
        bound = self._exact.get("confirm_above_notional")
        if bound is None or sizing.reduce_only:
            return self._approve(event, sizing)
        unit = multiply(price, self.book.instruments[sizing.index].multiplier)
        notional = multiply(sizing.quantity, unit)
        if notional <= bound:
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
        """Approve what waited, cut to what the limits allow by now, if the position is still what it was sized for."""
        sizing = self.state.waiting.get(event.confirmation)
        if sizing is None:
            text = f"confirmation {event.confirmation} came too late or is unknown: nothing was traded"
            yield self.emit(AlertRaised, event, severity="warning", text=text)
            return
        denial = self._sized_anew(event.observed_at, sizing)
        if denial is None:
            del self.state.waiting[event.confirmation]
            yield self._approve(event, sizing)
        else:
            yield self._reject_waiting(event, event.confirmation, denial)
        self._reset_due()

    def _sized_anew(self, now: int, sizing: Sizing) -> Denial | None:
        """Hold a trade that waited against the limits, at the present price; say why it may be no more, if so."""
        index = sizing.index
        if self._portfolio.quantity(index) != sizing.held:
            return Denial("the position has changed since")
        price = self._portfolio.exact_price(index, self._features.state.rows.item(index, f.PRICE))
        aim = sizing.aim()
        denial = self._denial(now, index, short=aim < ZERO, price=price)
        if denial is None:
            unit = self._portfolio.unit(index)
            quantity, denial = self._cut(index, multiply(magnitude(aim), unit), unit, self._equity(), sizing.clamps)
            sizing.aim_for(quantity if aim > ZERO else negative(quantity))
            sizing.price = to_step(price, self.book.instruments[index].tick_size)
        return denial

    def on_trade_declined(self, event: TradeDeclined) -> Iterator[Event]:
        """Reject what waited."""
        if event.confirmation in self.state.waiting:
            yield self._reject_waiting(event, event.confirmation, Denial(f"declined by {event.operator}"))
        self._reset_due()

    def on_clock_ticked(self, event: ClockTicked) -> Sequence[Event]:
        """Reject what nobody confirmed in time."""
        now = event.observed_at
        if now < self.state.due:
            return ()
        late = [confirmation for confirmation, sizing in self.state.waiting.items() if now >= sizing.expires_at]
        answers = [self._reject_waiting(event, confirmation, Denial("not confirmed in time")) for confirmation in late]
        self._reset_due()
        return answers

    def _reset_due(self) -> None:
        self.state.due = min((s.expires_at for s in self.state.waiting.values()), default=NEVER)

    # Answers

    def _approve(self, cause: Event, sizing: Sizing) -> Event:
        key = self.book.instruments[sizing.index].id
        approved = TradeApproved(
            id="",
            key=key,
            occurred_at=0,
            observed_at=0,
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
        return self.signed(approved, cause)

    def _reject_waiting(self, cause: Event, confirmation: str, denial: Denial) -> Event:
        sizing = self.state.waiting.pop(confirmation)
        key = self.book.instruments[sizing.index].id
        return self._reject(cause, key, sizing.proposal, denial)

    def _reject(self, cause: Event, key: str, proposal: str, denial: Denial) -> Event:
        fields: dict[str, Any] = msgspec.structs.asdict(denial)
        return self.emit(TradeRejected, cause, key, instrument=key, proposal=proposal, **fields)


def _on_tick(price: float | None, tick: Decimal) -> Decimal | None:
    return None if price is None else plain(to_step(exact(price), tick))
