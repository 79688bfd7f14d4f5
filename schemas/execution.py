"""Orders out, fills back. Prices, quantities and fees are exact decimals.

`order` is the id of the `OrderRequested`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from schemas.base import Event

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit", "stop", "take_profit"]
OrderRole = Literal["entry", "exit", "stop", "target"]


class OrderRequested(Event, frozen=True, kw_only=True):
    """Place an order; `id` is the client order id.

    A stop or take-profit becomes a market order once triggered.
    """

    instrument: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    role: OrderRole
    approval: str
    """Id of the `TradeApproved` that allows this order."""
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    expires_at: int = 0
    """Time in ns after which the rest is to expire; 0 is good till canceled."""


class CancelRequested(Event, frozen=True, kw_only=True):
    """Cancel what is left of an order."""

    instrument: str
    order: str
    reason: str


class OrderAccepted(Event, frozen=True, kw_only=True):
    """The venue has the order."""

    order: str
    venue_order: str = ""


class OrderRejected(Event, frozen=True, kw_only=True):
    """The venue refused the order; nothing was traded on it."""

    order: str
    reason: str


class OrderFilled(Event, frozen=True, kw_only=True):
    """A fill, whole or partial; `leaves_quantity` is what is still open."""

    order: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    """In the book's currency; negative is a rebate."""
    leaves_quantity: Decimal
    liquidity: Literal["maker", "taker"] = "taker"


class OrderCanceled(Event, frozen=True, kw_only=True):
    """The rest of the order was canceled."""

    order: str
    reason: str = ""


class OrderExpired(Event, frozen=True, kw_only=True):
    """The rest of the order lapsed at its time."""

    order: str
