"""A trade on its way through the limits, and why it may end there."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from agents.money import ZERO, add, magnitude, negative, subtract
from schemas.book import RiskSettings
from schemas.decisions import Clamp
from schemas.execution import Side

NUMERIC_LIMITS = tuple(
    name for name in RiskSettings.__struct_fields__ if name not in ("order_quantity", "scale_by_conviction")
)
"""Limits that `RulesChanged` may set."""


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

    def aim(self) -> Decimal:
        """Give the signed quantity that the trade leads to."""
        return add(self.held, self.quantity if self.side == "buy" else negative(self.quantity))

    def aim_for(self, quantity: Decimal) -> None:
        """Trade so much that the book holds this signed quantity."""
        total = subtract(quantity, self.held)
        self.side, self.quantity = "buy" if total > ZERO else "sell", magnitude(total)


class Denial(msgspec.Struct, frozen=True):
    """Why no new risk may be taken: reason, limit, its value, the value that broke it."""

    reason: str
    limit: str = ""
    limit_value: str = ""
    value: str = ""
