"""Turns approvals into orders and follows each through its life: one table of states, and nothing outside of it.

An entry that fills gets its stop and its target as reduce-only orders; when one of them fills, the other is
canceled. Before an exit or a reversal, both are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

import msgspec
import numpy as np

from agents.agent import Agent, Handler, State
from agents.frame import Ints
from agents.money import ZERO, add, magnitude, negative, plain, subtract
from agents.portfolio import Portfolio
from schemas.accounting import PositionChanged
from schemas.base import Event
from schemas.book import Book
from schemas.control import KillSwitchPulled
from schemas.decisions import TradeApproved
from schemas.execution import (
    CancelRequested,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
    OrderRole,
    OrderType,
)
from schemas.operations import AlertRaised

Status = Literal["requested", "accepted", "partly_filled", "filled", "canceled", "rejected", "expired"]

TRANSITIONS: dict[tuple[Status, type[Event]], Status] = {
    ("requested", OrderAccepted): "accepted",
    ("requested", OrderRejected): "rejected",
    ("requested", OrderFilled): "partly_filled",
    ("requested", OrderCanceled): "canceled",
    ("requested", OrderExpired): "expired",
    ("accepted", OrderFilled): "partly_filled",
    ("accepted", OrderCanceled): "canceled",
    ("accepted", OrderRejected): "rejected",
    ("accepted", OrderExpired): "expired",
    ("partly_filled", OrderAccepted): "partly_filled",
    ("partly_filled", OrderFilled): "partly_filled",
    ("partly_filled", OrderCanceled): "canceled",
    ("partly_filled", OrderExpired): "expired",
    ("filled", OrderAccepted): "filled",
    ("canceled", OrderFilled): "canceled",
}
"""(status, event) to the next status. A fill with nothing left makes `filled`. A venue may send an acceptance after a
fill, and a fill that crossed a cancel on the way; every other pair is a broken promise of the executor."""
DONE: tuple[Status, ...] = ("filled", "canceled", "rejected", "expired")
MOVING: tuple[OrderRole, ...] = ("entry", "exit")
"""Roles of the orders that are to change the position now; the others protect it."""
_ORDER_TYPE: dict[OrderRole, OrderType] = {"entry": "market", "exit": "market", "stop": "stop", "target": "take_profit"}
MAX_DONE = 256
"""Finished orders that are still remembered, for late events."""


class Order(msgspec.Struct, kw_only=True, gc=False):
    """An order's life so far."""

    index: int
    role: OrderRole
    side: Literal["buy", "sell"]
    quantity: Decimal
    approval: str
    status: Status = "requested"
    filled: Decimal = ZERO
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    canceling: bool = False


class OrdersState(State, kw_only=True):
    """Orders by id: working ones, then the last finished ones, oldest first."""

    working: dict[str, Order]
    done: dict[str, Order]


class Orders(Agent[OrdersState]):
    """Requests, follows, protects, cancels."""

    name = "orders"

    def __init__(self, book: Book, portfolio: Portfolio) -> None:
        """`portfolio` tells what there is to protect."""
        super().__init__(book, OrdersState(working={}, done={}))
        self._start()
        self._portfolio = portfolio
        self.busy: Ints = np.zeros(len(book.instruments), np.int64)
        """Entries and exits under way, per instrument: the strategy waits for their end."""

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Approvals, whatever the venue says, and the kill switch."""
        return {
            TradeApproved: self.on_trade_approved,
            OrderAccepted: self.on_venue_answer,
            OrderFilled: self.on_venue_answer,
            OrderRejected: self.on_order_ended,
            OrderCanceled: self.on_order_ended,
            OrderExpired: self.on_order_ended,
            PositionChanged: self.on_position_changed,
            KillSwitchPulled: self.on_kill_switch_pulled,
        }

    def _start(self) -> None:
        self._done = self.state.done = OrderedDict(self.state.done)  # a dict forgets its oldest key slowly

    def restore(self, data: bytes) -> None:
        """Put back the state, and the counts that follow from it."""
        super().restore(data)
        self._start()
        self.busy[:] = 0
        for order in self.state.working.values():
            self.busy[order.index] += order.role in MOVING

    def expected(self, index: int) -> Decimal:
        """Give the signed quantity that the book will hold once the entries and exits under way are filled."""
        quantity = self._portfolio.quantity(index)
        if self.busy[index]:
            for order in self.state.working.values():
                if order.index == index and order.role in MOVING:
                    left = subtract(order.quantity, order.filled)
                    quantity = add(quantity, left if order.side == "buy" else negative(left))
        return quantity

    def on_trade_approved(self, event: TradeApproved) -> list[Event]:
        """Request the order that the approval allows, after canceling what protected the old position."""
        index = self.index_of[event.instrument]
        answers = self._cancel_all(event, index, "position changes", ("stop", "target"))
        order = Order(
            index=index,
            role="exit" if event.reduce_only else "entry",
            side=event.side,
            quantity=event.quantity,
            approval=event.id,
            stop_price=event.stop_price,
            target_price=event.target_price,
        )
        answers.append(self._request(event, order))
        return answers

    def _request(self, cause: Event, order: Order, trigger: Decimal | None = None) -> OrderRequested:
        key, role = self.book.instruments[order.index].id, order.role
        draft = OrderRequested(
            id="",
            key=key,
            occurred_at=0,
            observed_at=0,
            instrument=key,
            side=order.side,
            order_type=_ORDER_TYPE[role],
            quantity=plain(order.quantity),
            role=role,
            approval=order.approval,
            trigger_price=None if trigger is None else plain(trigger),
            reduce_only=role != "entry",
        )
        request = self.signed(draft, cause)
        self.state.working[request.id] = order
        if role in MOVING:
            self.busy[order.index] += 1
        return request

    def _move(self, event: Event, order_id: str) -> Order | None:
        """Take a venue's event through the table; None where it breaks the table."""
        state = self.state
        order = state.working.get(order_id) or state.done.get(order_id)
        status = TRANSITIONS.get((order.status, type(event))) if order else None
        if order is None or status is None:
            return None
        if type(event) is OrderFilled:
            order.filled = add(order.filled, event.quantity)
            if order.filled >= order.quantity:
                status = "filled"
        order.status = status
        if status in DONE and order_id in state.working:
            self._done[order_id] = state.working.pop(order_id)
            if order.role in MOVING:
                self.busy[order.index] -= 1
            while len(self._done) > MAX_DONE:
                self._done.popitem(last=False)
        return order

    def _broken_promise(self, event: Event, order_id: str) -> Event:
        order = self.state.working.get(order_id) or self.state.done.get(order_id)
        state = f"the order is {order.status}" if order else "the book knows no such order"
        text = f"{type(event).__name__} for order {order_id}: {state}; reconcile the executor"
        return self.emit(AlertRaised, event, event.key, severity="critical", text=text)

    def on_venue_answer(self, event: OrderAccepted | OrderFilled) -> tuple[Event, ...]:
        """Follow an order that lives on, or fills. What a fill means is said by the position that follows."""
        order = self._move(event, event.order)
        if order is None:
            return (self._broken_promise(event, event.order),)
        if type(event) is OrderFilled and order.filled > order.quantity:
            text = f"order {event.order}: {order.filled} of {order.quantity} filled; reconcile the executor"
            return (self.emit(AlertRaised, event, event.key, severity="critical", text=text),)
        return ()

    def on_order_ended(self, event: OrderRejected | OrderCanceled | OrderExpired) -> list[Event]:
        """Follow an order that ends unfilled. What an entry had filled is protected; a position is never left bare
        without an alert: its stop lost, or canceled for an exit or a reversal that did not come about.
        """
        order = self._move(event, event.order)
        if order is None:
            return [self._broken_promise(event, event.order)]
        held = self._portfolio.quantity(order.index)
        if order.role == "entry" and order.filled > ZERO and _opens(order, held):
            return self._protect(event, order)
        if held and order.role != "target" and not order.canceling:
            text = f"the {order.role} of {event.key} ended ({type(event).__name__}): the position is not protected"
            return [self.emit(AlertRaised, event, event.key, severity="critical", text=text)]
        return []

    def on_position_changed(self, event: PositionChanged) -> Sequence[Event]:
        """Protect a finished entry, and anew what a late fill has added to it, expected or not; when a stop or target
        has closed the position, cancel the other.
        """
        order = self.state.done.get(event.order) or self.state.working.get(event.order)
        if order is None:
            return ()
        finished = order.role == "entry" and order.status in DONE
        if event.quantity and not finished:
            return ()
        reason = "position changes" if event.quantity else "position closed"
        answers = self._cancel_all(event, order.index, reason, ("stop", "target"))
        if finished:
            answers += self._protect(event, order)
        return answers

    def _protect(self, cause: Event, entry: Order) -> list[Event]:
        """Request the stop and the target of the position that an entry made."""
        answers: list[Event] = []
        quantity = self._portfolio.quantity(entry.index)
        if not _opens(entry, quantity):
            return answers
        prices: tuple[tuple[OrderRole, Decimal | None], ...] = (
            ("stop", entry.stop_price),
            ("target", entry.target_price),
        )
        for role, price in prices:
            if price is not None:
                order = Order(
                    index=entry.index,
                    role=role,
                    side="sell" if quantity > ZERO else "buy",
                    quantity=magnitude(quantity),
                    approval=entry.approval,
                )
                answers.append(self._request(cause, order, price))
        return answers

    def _cancel_all(self, cause: Event, index: int | None, reason: str, roles: tuple[OrderRole, ...]) -> list[Event]:
        answers: list[Event] = []
        for order_id, order in self.state.working.items():
            if order.role in roles and index in (None, order.index) and not order.canceling:
                order.canceling = True
                key = self.book.instruments[order.index].id
                request = CancelRequested(
                    id="", key=key, occurred_at=0, observed_at=0, instrument=key, order=order_id, reason=reason
                )
                answers.append(self.signed(request, cause))
        return answers

    def on_kill_switch_pulled(self, event: KillSwitchPulled) -> list[Event]:
        """Cancel every order that could still open something; stops and targets go with the exits that follow."""
        return self._cancel_all(event, None, "kill switch", ("entry",))


def _opens(entry: Order, quantity: Decimal) -> bool:
    """Tell whether a position of this signed quantity is on the side that an entry is for."""
    return quantity > ZERO if entry.side == "buy" else quantity < ZERO
