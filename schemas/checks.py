"""What no event may hold: NaN, infinity, impossible prices, time travel, oversize text.

Types are checked by the codec; this module checks values. Column batches of market data are checked by the
same rules, vectorised, where archives are read.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from math import isfinite

import msgspec

from schemas.base import NS_PER_S, Event
from schemas.control import RulesChanged
from schemas.errors import RefusedError
from schemas.execution import OrderFilled, OrderRequested
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted
from schemas.verdicts import VerdictFailed, VerdictGiven

MAX_TEXT_CHARS = 20_000
MAX_NAME_CHARS = 256
MAX_CLOCK_SKEW_NS = 1 * NS_PER_S
"""How far `observed_at` may lie before `occurred_at`: the clocks of two machines differ by that much."""
EARLIEST_NS = 0
LATEST_NS = 4_102_444_800 * NS_PER_S
"""2100-01-01: beyond it a time is in the wrong unit."""
LONG_TEXT_FIELDS = frozenset({"text", "reasoning", "error"})


def check(event: Event, now: int | None = None) -> None:
    """Raise RefusedError unless every value of the event can be true.

    `now`, in ns, bounds the future where the caller knows the time.
    """
    _check_envelope(event, now)
    _check_scalars(event)
    rule = _RULES.get(type(event))
    if rule is not None:
        rule(event)


def _refuse(event: Event, field: str, reason: str) -> RefusedError:
    return RefusedError(type(event).__name__, field, reason, event.id)


def _check_envelope(event: Event, now: int | None) -> None:
    if not event.id:
        raise _refuse(event, "id", "is empty; the source must give an id that is unique for ever")
    for field in ("occurred_at", "observed_at"):
        at = getattr(event, field)
        if not EARLIEST_NS < at < LATEST_NS:
            raise _refuse(event, field, f"{at} is not a time in nanoseconds since 1970 (before 2100)")
    if event.observed_at < event.occurred_at - MAX_CLOCK_SKEW_NS:
        ahead_ms = (event.occurred_at - event.observed_at) / 1e6
        raise _refuse(
            event, "observed_at", f"observed {ahead_ms:.0f} ms before it occurred: correct the clock skew"
        )
    if now is not None and event.observed_at > now + MAX_CLOCK_SKEW_NS:
        raise _refuse(event, "observed_at", "lies in the future")
    if event.seq < 0:
        raise _refuse(event, "seq", f"{event.seq} is negative")


def _check_scalars(event: Event) -> None:
    """No NaN, no infinity, no text beyond its bound, in any field of any event."""
    for field in event.__struct_fields__:
        value = getattr(event, field)
        kind = type(value)
        if kind is float:
            if not isfinite(value):
                raise _refuse(event, field, f"{value} is not a finite number")
        elif kind is Decimal:
            _check_decimal(event, field, value)
        elif kind is str:
            bound = MAX_TEXT_CHARS if field in LONG_TEXT_FIELDS else 2 * MAX_NAME_CHARS
            if len(value) > bound:
                raise _refuse(event, field, f"{len(value):,} characters is over the limit of {bound:,}")
            if "\x00" in value:
                raise _refuse(event, field, "holds a NUL character")


def _check_decimal(event: Event, field: str, value: Decimal) -> None:
    if not value.is_finite():
        raise _refuse(event, field, f"{value} is not a finite number")
    if "E" in str(value):
        raise _refuse(event, field, f"{value} must be written without an exponent")


def _positive(event: Event, *fields: str) -> None:
    for field in fields:
        value = getattr(event, field)
        if value is not None and not value > 0:
            raise _refuse(event, field, f"{value} is not above zero")


def _not_negative(event: Event, *fields: str) -> None:
    for field in fields:
        value = getattr(event, field)
        if value is not None and value < 0:
            raise _refuse(event, field, f"{value} is negative")


def _in_unit(event: Event, *fields: str) -> None:
    for field in fields:
        value = getattr(event, field)
        if value is not None and not 0 <= value <= 1:
            raise _refuse(event, field, f"{value} is not between 0 and 1")


def _check_trade(event: TradeTicked) -> None:
    _positive(event, "price", "size")


def _check_quote(event: QuoteTicked) -> None:
    _positive(event, "bid", "ask")
    _not_negative(event, "bid_size", "ask_size")
    if event.bid > event.ask:
        raise _refuse(event, "bid", f"crossed quote: bid {event.bid} is above ask {event.ask}")


def _check_bar(event: BarClosed) -> None:
    _positive(event, "open", "high", "low", "close", "interval_ns")
    _not_negative(event, "volume")
    if event.high < event.low:
        raise _refuse(event, "high", f"high {event.high} is below low {event.low}")
    for field in ("open", "close"):
        if not event.low <= getattr(event, field) <= event.high:
            raise _refuse(event, field, f"{field} {getattr(event, field)} lies outside low to high")


def _check_tweet(event: TweetPosted) -> None:
    _not_negative(event, "followers", "retweets")
    if not event.text.strip():
        raise _refuse(event, "text", "is empty")


def _check_news(event: NewsPublished) -> None:
    if not event.title.strip():
        raise _refuse(event, "title", "is empty")


def _check_verdict(event: VerdictGiven) -> None:
    _in_unit(event, "confidence", "size_hint")
    _positive(event, "stop_price", "target_price", "horizon_ms")
    _not_negative(event, "cost_usd", "latency_ms", "prompt_tokens", "reply_tokens")


def _check_failed_verdict(event: VerdictFailed) -> None:
    _not_negative(event, "cost_usd", "latency_ms")


def _check_order(event: OrderRequested) -> None:
    _positive(event, "quantity", "limit_price", "trigger_price")
    if event.order_type == "limit" and event.limit_price is None:
        raise _refuse(event, "limit_price", "is missing on a limit order")
    if event.order_type in ("stop", "take_profit") and event.trigger_price is None:
        raise _refuse(event, "trigger_price", f"is missing on a {event.order_type} order")


def _check_fill(event: OrderFilled) -> None:
    _positive(event, "quantity", "price")
    _not_negative(event, "leaves_quantity")


def _check_rules(event: RulesChanged) -> None:
    for name, value in event.changes.items():
        if not isfinite(value) or value < 0:
            raise _refuse(event, f"changes.{name}", f"{value} is not a finite number of zero or more")


_RULES: dict[type[msgspec.Struct], Callable[..., None]] = {
    TradeTicked: _check_trade,
    QuoteTicked: _check_quote,
    BarClosed: _check_bar,
    TweetPosted: _check_tweet,
    NewsPublished: _check_news,
    VerdictGiven: _check_verdict,
    VerdictFailed: _check_failed_verdict,
    OrderRequested: _check_order,
    OrderFilled: _check_fill,
    RulesChanged: _check_rules,
}
