"""Market data: trades, top of book, closed bars. Prices and sizes are float64, in quote and base units."""

from __future__ import annotations

from typing import Literal

from schemas.base import Event


class TradeTicked(Event, frozen=True, kw_only=True):
    """One trade printed on the tape."""

    price: float
    size: float
    side: Literal["buy", "sell", "unknown"] = "unknown"
    """The aggressor's side."""


class QuoteTicked(Event, frozen=True, kw_only=True):
    """The best bid and ask changed."""

    bid: float
    ask: float
    bid_size: float
    ask_size: float


class BarClosed(Event, frozen=True, kw_only=True):
    """An OHLCV bar came to its end. `occurred_at` is the end of the bar, its first instant of being whole."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    interval_ns: int
