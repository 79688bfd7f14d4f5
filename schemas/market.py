"""Market data: trades, top of book, closed bars. Prices and sizes are float64, in quote and base units."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.base import Event
from schemas.fields import PositiveInt, Price, Size, SizeOrZero


class TradeTicked(Event, frozen=True, kw_only=True):
    """One trade printed on the tape."""

    price: Price
    size: Size
    side: Literal["buy", "sell", "unknown"] = "unknown"
    """The aggressor's side."""

    def __post_init__(self) -> None:
        """Leave an unknown side off the wire however the word was made: msgspec goes by identity."""
        if self.side == "unknown":
            msgspec.structs.force_setattr(self, "side", "unknown")


class QuoteTicked(Event, frozen=True, kw_only=True):
    """The best bid and ask changed."""

    bid: Price
    ask: Price
    bid_size: SizeOrZero
    ask_size: SizeOrZero


class BarClosed(Event, frozen=True, kw_only=True):
    """An OHLCV bar came to its end. `occurred_at` is the end of the bar, its first instant of being whole."""

    open: Price
    high: Price
    low: Price
    close: Price
    volume: SizeOrZero
    """Base units traded."""
    interval_ns: PositiveInt
    """Length of the bar, a whole number of seconds."""
