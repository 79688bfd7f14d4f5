"""What ccxt says of a trade, a quote or a bar, as our events. What cannot be one raises ValueError with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal

from connectors.feeds.venue import Traits
from schemas.base import NS_PER_MS, NS_PER_S, market_id
from schemas.fields import INT64_MAX
from schemas.market import BarClosed, QuoteTicked, TradeTicked

Fields = dict[str, Any]


def number_of(id_: object) -> int:
    """Give a trade's id as a number; of an id that is none, 63 bits of its hash."""
    text = str(id_)
    if id_ is None or not text:
        raise ValueError("a trade without an id")
    if text.isdecimal() and int(text) <= INT64_MAX:
        return int(text)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def trade_of(trade: Fields, key: str, now: int) -> TradeTicked:
    """Make the event of ccxt's trade, received at `now`."""
    number = number_of(trade.get("id"))
    occurred_at = _ns(trade.get("timestamp"))
    told = trade.get("side")
    side: Literal["buy", "sell", "unknown"] = told if told in ("buy", "sell") else "unknown"
    return TradeTicked(
        id=market_id(key, "trade", number),
        key=key,
        occurred_at=occurred_at,
        observed_at=max(now, occurred_at),
        price=_float(trade, "price"),
        size=_float(trade, "amount"),
        side=side,
    )


def quote_of(ticker: Fields, key: str, now: int, traits: Traits, unnumbered: int) -> QuoteTicked:
    """Make the event of ccxt's ticker. `unnumbered` is its number where the venue gives none; its time is ours then."""
    info = ticker.get("info") or {}
    told = info.get(traits.quote_ms) or ticker.get("timestamp")
    occurred_at = int(told) * NS_PER_MS if told else now
    number = info.get(traits.quote_number) or ticker.get("nonce")
    return QuoteTicked(
        id=market_id(key, "quote", number_of(number) if number else unnumbered),
        key=key,
        occurred_at=occurred_at,
        observed_at=max(now, occurred_at),
        bid=_float(ticker, "bid"),
        ask=_float(ticker, "ask"),
        bid_size=_float(ticker, "bidVolume", 0.0),
        ask_size=_float(ticker, "askVolume", 0.0),
    )


def bar_of(candle: Sequence[Any], key: str, interval_ns: int, now: int) -> BarClosed:
    """Make the event of ccxt's candle: opening time in ms, open, high, low, close, volume."""
    opened_at = _ns(candle[0])
    named = dict(zip(("open", "high", "low", "close", "volume"), candle[1:], strict=False))
    closed_at = opened_at + interval_ns
    return BarClosed(
        id=market_id(key, f"bar{interval_ns // NS_PER_S}", opened_at),
        key=key,
        occurred_at=closed_at,
        observed_at=max(now, closed_at),
        interval_ns=interval_ns,
        open=_float(named, "open"),
        high=_float(named, "high"),
        low=_float(named, "low"),
        close=_float(named, "close"),
        volume=_float(named, "volume", 0.0),
    )


def same_quote(one: QuoteTicked | None, other: QuoteTicked) -> bool:
    """Tell whether the top of the book is what it was."""
    return one is not None and (one.bid, one.ask, one.bid_size, one.ask_size) == (
        other.bid,
        other.ask,
        other.bid_size,
        other.ask_size,
    )


def _ns(ms: object) -> int:
    if not isinstance(ms, int | float):
        raise ValueError("no time")  # noqa: TRY004 - one kind of error for all that cannot be an event
    return int(ms) * NS_PER_MS


def _float(fields: Fields, name: str, default: float | None = None) -> float:
    value = fields.get(name)
    if value is None:
        value = default
    if value is None:
        raise ValueError(f"no {name}")
    return float(value)
