"""The simulated exchange's arithmetic: fees, slippage, size on offer, and the trading rules that an order must keep.

All results are exact decimals on the instrument's steps; a price that must be rounded is rounded against the order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from agents.money import (
    ZERO,
    add,
    divide,
    exact,
    floor_to_step,
    multiply,
    percent_of,
    plain,
    quantize,
    remainder,
    subtract,
)
from schemas.book import Instrument, VenueSettings
from schemas.execution import OrderRequested, OrderType, Side

Liquidity = Literal["maker", "taker"]

FEE_STEP = Decimal("1E-8")
"""Fees are rounded half to even to this, the finest step that venues book."""
_TEN_THOUSAND = Decimal(10_000)
_PRICE_FIELD: dict[OrderType, str] = {
    "market": "",
    "limit": "limit_price",
    "stop": "trigger_price",
    "take_profit": "trigger_price",
}


class Costs:
    """What a fill costs at this venue: fees, slippage, and how much of a row one order may take."""

    def __init__(self, venue: VenueSettings) -> None:
        """Turn basis points into exact factors."""
        slip = divide(exact(venue.slippage_bps), _TEN_THOUSAND)
        self._factor: dict[Side, Decimal] = {
            "buy": add(Decimal(1), slip),
            "sell": subtract(Decimal(1), slip),
        }
        self._rate: dict[Liquidity, Decimal] = {
            "maker": divide(exact(venue.maker_bps), _TEN_THOUSAND),
            "taker": divide(exact(venue.taker_bps), _TEN_THOUSAND),
        }
        most_pct = venue.max_volume_pct
        self._share = None if most_pct is None else percent_of(Decimal(1), exact(most_pct))

    def slipped(self, price: float, side: Side, tick: Decimal) -> Decimal:
        """Move a price against the order by the slippage and then to the next tick against it.

        It may so lie outside of what the row showed; it is never better than that, and never below one tick.
        """
        return against(multiply(exact(price), self._factor[side]), side, tick)

    def fee(self, price: Decimal, quantity: Decimal, multiplier: Decimal, liquidity: Liquidity) -> Decimal:
        """Give the fee on the notional, in the book's currency."""
        notional = multiply(multiply(price, quantity), multiplier)
        fee = multiply(notional, self._rate[liquidity])
        return plain(quantize(fee, FEE_STEP))

    def available(self, wanted: Decimal, size: float, lot: Decimal) -> Decimal:
        """Cut a quantity to what one order may take of a row of this size, in whole lots."""
        if self._share is None:
            return wanted
        most = multiply(exact(size), self._share)
        return wanted if wanted <= most else plain(floor_to_step(most, lot))


def against(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """Round to a tick, up for a buyer and down for a seller, at least one tick."""
    floor = floor_to_step(price, tick)
    if side == "buy":
        return floor if floor == price else add(floor, tick)
    return floor or tick


def refusal(order: OrderRequested, instrument: Instrument) -> str:
    """Say why an order does not keep to the steps of an instrument; empty where it does."""
    quantity = order.quantity
    if quantity <= ZERO or remainder(quantity, instrument.lot_size):
        return f"quantity {quantity} is not a multiple of the lot size {instrument.lot_size}"
    name = _PRICE_FIELD[order.order_type]
    if not name:
        return ""
    price: Decimal | None = getattr(order, name)
    if price is None:
        return f"a {order.order_type} order needs a {name}"
    if price <= ZERO or remainder(price, instrument.tick_size):
        return f"{name} {price} is not a multiple of the tick size {instrument.tick_size}"
    return ""


def undersized(order: OrderRequested, instrument: Instrument, last_price: float) -> str:
    """Say that an order's notional is below what an instrument asks for; empty where it is not.

    A market order is valued at `last_price`, float in quote units; where none was seen (0), its value is not checked.
    """
    name = _PRICE_FIELD[order.order_type]
    price: Decimal = getattr(order, name) if name else exact(last_price)
    notional = multiply(multiply(price, order.quantity), instrument.multiplier)
    if price and notional < instrument.min_notional:
        return f"notional {plain(notional)} is below the minimum of {instrument.min_notional}"
    return ""
