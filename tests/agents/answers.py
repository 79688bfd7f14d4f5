"""Short ways to make what models, agents and the venue answer; seen at the time of the request where none is given."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from schemas.decisions import ConsensusReached, TradeApproved, TradeProposed
from schemas.execution import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)
from schemas.verdicts import FailReason, VerdictFailed, VerdictGiven, VerdictRequested
from tests.agents.builders import BTC, at, make_input

# Models


def verdict(
    request: VerdictRequested,
    action: str = "BUY",
    minutes: float | None = None,
    confidence: float = 1.0,
    **other: Any,
) -> VerdictGiven:
    """A model's answer to a request, seen when it was asked where no time is given."""
    when = request.observed_at if minutes is None else at(minutes)
    fields: dict[str, Any] = {
        "id": f"verdict/{request.id}",
        "key": request.instrument,
        "occurred_at": when,
        "observed_at": when,
        "cause": request.id,
        "question": request.question,
        "instrument": request.instrument,
        "model": request.model,
        "action": action,
        "confidence": confidence,
    }
    return VerdictGiven(**(fields | other))


def no_verdict(
    request: VerdictRequested, reason: FailReason = "timeout", minutes: float | None = None, detail: str = ""
) -> VerdictFailed:
    """A model's failure to answer a request."""
    when = request.observed_at if minutes is None else at(minutes)
    return VerdictFailed(
        id=f"failure/{request.id}",
        key=request.instrument,
        occurred_at=when,
        observed_at=when,
        cause=request.id,
        question=request.question,
        instrument=request.instrument,
        model=request.model,
        reason=reason,
        detail=detail,
    )


def vote(minutes: float, action: str, key: str = BTC, confidence: float = 1.0, **other: Any) -> ConsensusReached:
    """A consensus, as if models had been asked."""
    fields: dict[str, Any] = {
        "instrument": key,
        "question": f"q-{minutes}",
        "action": action,
        "confidence": confidence,
        "agree": 2,
        "of": 3,
        "votes": (),
    }
    return make_input(ConsensusReached, minutes, key, **(fields | other))


def proposal(minutes: float, target: str, price: float, key: str = BTC, **other: Any) -> TradeProposed:
    """A proposal, as if a strategy had made it."""
    fields: dict[str, Any] = {
        "instrument": key,
        "mode": "consensus",
        "target": target,
        "conviction": 1.0,
        "price": price,
        "reason": "test",
    }
    return make_input(TradeProposed, minutes, key, **(fields | other))


def approval(
    minutes: float,
    side: str,
    quantity: str,
    price: str = "100",
    key: str = BTC,
    **other: Any,
) -> TradeApproved:
    """An approval, as if risk had given it."""
    fields: dict[str, Any] = {
        "instrument": key,
        "proposal": "a proposal",
        "side": side,
        "quantity": Decimal(quantity),
        "price": Decimal(price),
        "reduce_only": False,
    }
    return make_input(TradeApproved, minutes, key, **(fields | other))


# The venue


def accepted(order: OrderRequested, minutes: float | None = None) -> OrderAccepted:
    """The venue has the order."""
    when = order.observed_at if minutes is None else at(minutes)
    return OrderAccepted(
        id=f"accepted/{order.id}", key=order.instrument, occurred_at=when, observed_at=when, order=order.id
    )


def filled(
    order: OrderRequested,
    price: float | str,
    quantity: str | Decimal | None = None,
    minutes: float | None = None,
    fee: str = "0",
    number: int = 0,
) -> OrderFilled:
    """A fill of an order, of the whole of it where no quantity is given."""
    when = order.observed_at if minutes is None else at(minutes)
    size = order.quantity if quantity is None else Decimal(quantity)
    return OrderFilled(
        id=f"fill/{order.id}/{number}",
        key=order.instrument,
        occurred_at=when,
        observed_at=when,
        order=order.id,
        side=order.side,
        quantity=size,
        price=Decimal(str(price)),
        fee=Decimal(fee),
        leaves_quantity=max(order.quantity - size, Decimal(0)),
    )


def canceled(order: OrderRequested, minutes: float | None = None) -> OrderCanceled:
    """The rest of an order was canceled."""
    when = order.observed_at if minutes is None else at(minutes)
    return OrderCanceled(
        id=f"canceled/{order.id}", key=order.instrument, occurred_at=when, observed_at=when, order=order.id
    )


def rejected(order: OrderRequested, minutes: float | None = None) -> OrderRejected:
    """The venue refused an order."""
    when = order.observed_at if minutes is None else at(minutes)
    return OrderRejected(
        id=f"rejected/{order.id}",
        key=order.instrument,
        occurred_at=when,
        observed_at=when,
        order=order.id,
        reason="no funds",
    )


def expired(order: OrderRequested, minutes: float | None = None) -> OrderExpired:
    """The rest of an order lapsed."""
    when = order.observed_at if minutes is None else at(minutes)
    return OrderExpired(
        id=f"expired/{order.id}", key=order.instrument, occurred_at=when, observed_at=when, order=order.id
    )
