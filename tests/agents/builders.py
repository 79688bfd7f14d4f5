"""Short ways to make a book, a market and the events of a scenario; times are minutes after T0 where not said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from schemas.base import NS_PER_MIN, NS_PER_S, Event, market_id
from schemas.book import Book, parse_book
from schemas.control import (
    BookPaused,
    BookResumed,
    ClockTicked,
    KillSwitchPulled,
    RulesChanged,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted

T0 = 1_704_067_200 * NS_PER_S
"""2024-01-01, midnight UTC."""
BTC, ETH = "BTC/USDT@x", "ETH/USDT@x"
LENDING: dict[str, Any] = {"lot_size": "0.001", "tick_size": "0.01", "min_notional": "1"}

E = TypeVar("E", bound=Event)


def at(minutes: float) -> int:
    """Give the time so many minutes after T0."""
    return T0 + round(minutes * NS_PER_MIN)


def minutes_of(ns: int) -> float:
    """Give the minutes after T0 of a time."""
    return (ns - T0) / NS_PER_MIN


def make_book(instruments: Sequence[str | dict[str, Any]] = (BTC,), models: int = 3, **sections: Any) -> Book:
    """A book as its file would make it: short indicators, `models` voters, whatever else is given."""
    names = [f"m{i}" for i in range(models)]
    whole: dict[str, Any] = {
        "name": "book",
        "instruments": [{**LENDING, **({"id": i} if isinstance(i, str) else i)} for i in instruments],
        "features": {"ema_fast": 2, "ema_slow": 4, "rsi": 3, "atr": 3},
        "analysts": {"models": names},
        "models": {name: {"kind": "trend"} for name in names},
        "consensus": {"agree": min(2, models) or 1},
        "strategy": {"mode": "consensus" if models else "advisory", "fast_brain": "none"},
    }
    for name, section in sections.items():
        mergeable = isinstance(section, dict) and isinstance(whole.get(name), dict)
        whole[name] = {**whole[name], **section} if mergeable else section
    return parse_book(whole)


# Market data


def bar(
    minutes: float,
    close: float,
    high: float | None = None,
    low: float | None = None,
    key: str = BTC,
    **other: Any,
) -> BarClosed:
    """A bar of one minute (`interval_s`) that closes at the given time and opens at its close."""
    interval_ns = int(other.pop("interval_s", 60)) * NS_PER_S
    opened = at(minutes) - interval_ns
    fields: dict[str, Any] = {
        "id": market_id(key, f"bar{interval_ns // NS_PER_S}", opened),
        "key": key,
        "occurred_at": at(minutes),
        "observed_at": at(minutes),
        "open": close,
        "high": close if high is None else high,
        "low": close if low is None else low,
        "close": close,
        "volume": 1.0,
        "interval_ns": interval_ns,
    }
    return BarClosed(**(fields | other))


def trade(minutes: float, price: float, number: int, key: str = BTC, **other: Any) -> TradeTicked:
    """A trade, seen when it occurred."""
    fields: dict[str, Any] = {
        "id": market_id(key, "trade", number),
        "key": key,
        "occurred_at": at(minutes),
        "observed_at": at(minutes),
        "price": price,
        "size": 1.0,
    }
    return TradeTicked(**(fields | other))


def quote(minutes: float, bid: float, ask: float, number: int, key: str = BTC) -> QuoteTicked:
    """A quote, seen when it occurred."""
    return QuoteTicked(
        id=market_id(key, "quote", number),
        key=key,
        occurred_at=at(minutes),
        observed_at=at(minutes),
        bid=bid,
        ask=ask,
        bid_size=1.0,
        ask_size=1.0,
    )


# Texts


def tweet(
    minutes: float, text: str, number: int = 0, key: str = "BTC", author: str = "wire", age_s: float = 0
) -> TweetPosted:
    """A post seen at a time, `age_s` after it was posted."""
    return TweetPosted(
        id=f"tweet-{minutes}-{number}",
        key=key,
        occurred_at=at(minutes) - round(age_s * NS_PER_S),
        observed_at=at(minutes),
        author=author,
        text=text,
    )


def news(minutes: float, title: str, text: str = "", number: int = 0, key: str = "BTC") -> NewsPublished:
    """An article."""
    return NewsPublished(
        id=f"news-{minutes}-{number}",
        key=key,
        occurred_at=at(minutes),
        observed_at=at(minutes),
        source="wire",
        title=title,
        text=text,
    )


# Time and operators


def make_input(kind: type[E], minutes: float, key: str, **fields: Any) -> E:
    """An event of a time, whose id follows from its fields."""
    ident = f"{kind.__name__}-{minutes}-{sorted(fields.items())}"[:500]
    return kind(id=ident, key=key, occurred_at=at(minutes), observed_at=at(minutes), **fields)


def clock(minutes: float) -> ClockTicked:
    """It is so late."""
    return make_input(ClockTicked, minutes, "book")


def pause(minutes: float) -> BookPaused:
    """An operator stops new risk."""
    return make_input(BookPaused, minutes, "book", operator="ann")


def resume(minutes: float) -> BookResumed:
    """An operator allows new risk."""
    return make_input(BookResumed, minutes, "book", operator="ann")


def kill(minutes: float, reason: str = "drill") -> KillSwitchPulled:
    """An operator closes everything."""
    return make_input(KillSwitchPulled, minutes, "book", operator="ann", reason=reason)


def rules(minutes: float, **changes: float) -> RulesChanged:
    """An operator sets limits."""
    return make_input(
        RulesChanged, minutes, "book", operator="ann", changes={name: float(value) for name, value in changes.items()}
    )


def confirm(minutes: float, confirmation: str) -> TradeConfirmed:
    """An operator lets a trade pass."""
    return make_input(TradeConfirmed, minutes, "book", operator="ann", confirmation=confirmation)


def decline(minutes: float, confirmation: str) -> TradeDeclined:
    """An operator refuses a trade."""
    return make_input(TradeDeclined, minutes, "book", operator="ann", confirmation=confirmation)
