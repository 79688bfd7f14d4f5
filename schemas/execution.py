"""Orders out, fills back. Prices, quantities and fees are exact decimals.

`order` is the id of the `OrderRequested`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from schemas.base import Event
from schemas.fields import DecimalLevel, DecimalPrice, DecimalSize, DecimalSizeOrZero, Label, Name, Note, TimeOrZero

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit", "stop", "take_profit"]
OrderRole = Literal["entry", "exit", "stop", "target"]
_TAKER: Literal["taker"] = "taker"


class OrderRequested(Event, frozen=True, kw_only=True):
    """Place an order; `id` is the client order id.

    A stop or take-profit becomes a market order once triggered.
    """

    instrument: Name
    side: Side
    order_type: OrderType
    quantity: DecimalSize
    role: OrderRole
    approval: Name
    """Id of the `TradeApproved` that allows this order."""
    limit_price: DecimalLevel | None = None
    trigger_price: DecimalLevel | None = None
    reduce_only: bool = False
    expires_at: TimeOrZero = 0
    """Time in ns after which the rest is to expire; 0 is good till canceled."""


class CancelRequested(Event, frozen=True, kw_only=True):
    """Cancel what is left of an order."""

    instrument: Name
    order: Name
    reason: Note


class OrderAccepted(Event, frozen=True, kw_only=True):
    """The venue has the order."""

    order: Name
    venue_order: Label = ""


class OrderRejected(Event, frozen=True, kw_only=True):
    """The venue refused the order; nothing was traded on it."""

    order: Name
    reason: Note


class OrderFilled(Event, frozen=True, kw_only=True):
    """A fill, whole or partial; `leaves_quantity` is what is still open."""

    order: Name
    side: Side
    quantity: DecimalSize
    price: DecimalPrice
    fee: Decimal
    """In the book's currency; negative is a rebate."""
    leaves_quantity: DecimalSizeOrZero
    liquidity: Literal["maker", "taker"] = _TAKER

    def __post_init__(self) -> None:
        """Leave `taker` off the wire however the word was made: msgspec goes by identity."""
        if self.liquidity is not _TAKER and self.liquidity == _TAKER:
            msgspec.structs.force_setattr(self, "liquidity", _TAKER)


class OrderCanceled(Event, frozen=True, kw_only=True):
    """The rest of the order was canceled."""

    order: Name
    reason: Note = ""


class OrderExpired(Event, frozen=True, kw_only=True):
    """The rest of the order lapsed at its time."""

    order: Name
