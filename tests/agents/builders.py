"""Short ways to make a book, a market and the events of a scenario; times are minutes after T0 where not said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from agents.pipeline import Desk
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
from schemas.decisions import ConsensusReached, TradeApproved, TradeProposed
from schemas.execution import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted
from schemas.verdicts import FailReason, VerdictFailed, VerdictGiven, VerdictRequested
from tests.agents.invariants import Witness

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


def _input(kind: type[E], minutes: float, key: str, **fields: Any) -> E:
    ident = f"{kind.__name__}-{minutes}-{sorted(fields.items())}"[:500]
    return kind(id=ident, key=key, occurred_at=at(minutes), observed_at=at(minutes), **fields)


def clock(minutes: float) -> ClockTicked:
    """It is so late."""
    return _input(ClockTicked, minutes, "book")


def pause(minutes: float) -> BookPaused:
    """An operator stops new risk."""
    return _input(BookPaused, minutes, "book", operator="ann")


def resume(minutes: float) -> BookResumed:
    """An operator allows new risk."""
    return _input(BookResumed, minutes, "book", operator="ann")


def kill(minutes: float, reason: str = "drill") -> KillSwitchPulled:
    """An operator closes everything."""
    return _input(KillSwitchPulled, minutes, "book", operator="ann", reason=reason)


def rules(minutes: float, **changes: float) -> RulesChanged:
    """An operator sets limits."""
    return _input(
        RulesChanged, minutes, "book", operator="ann", changes={name: float(value) for name, value in changes.items()}
    )


def confirm(minutes: float, confirmation: str) -> TradeConfirmed:
    """An operator lets a trade pass."""
    return _input(TradeConfirmed, minutes, "book", operator="ann", confirmation=confirmation)


def decline(minutes: float, confirmation: str) -> TradeDeclined:
    """An operator refuses a trade."""
    return _input(TradeDeclined, minutes, "book", operator="ann", confirmation=confirmation)


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
    return _input(ConsensusReached, minutes, key, **(fields | other))


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
    return _input(TradeProposed, minutes, key, **(fields | other))


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
    return _input(TradeApproved, minutes, key, **(fields | other))


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


# A desk under watch


class Scene:
    """A desk that is told one event at a time; all that it says is kept, and held against the invariants."""

    def __init__(self, book: Book) -> None:
        """Start a desk."""
        self.desk = Desk(book)
        self.said: list[Event] = []
        self._witness = Witness(self.desk)

    def tell(self, *events: Event) -> list[Event]:
        """Journal events one after another; give all that follows from them."""
        answers: list[Event] = []
        for event in events:
            answers += self._witness.apply(event)
        self.said += answers
        return answers

    def market(self, closes: Iterable[float], start: float = 1, key: str = BTC) -> list[Event]:
        """Close one bar a minute."""
        return self.tell(*(bar(start + i, close, key=key) for i, close in enumerate(closes)))

    def snapshot(self) -> bytes:
        """Encode the desk's state."""
        return self.desk.snapshot()


def only(kind: type[E], events: Iterable[Event]) -> E:
    """Give the one event of a kind; there must be exactly one."""
    [found] = all_of(kind, events)
    return found


def all_of(kind: type[E], events: Iterable[Event]) -> list[E]:
    """Give the events of a kind."""
    return [event for event in events if type(event) is kind]


def kinds(events: Iterable[Event]) -> list[str]:
    """Name the events, in order."""
    return [type(event).__name__ for event in events]
