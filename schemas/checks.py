"""What no event may hold: NaN, infinity, impossible prices, time travel, oversize text.

The bounds of a field stand in its type (`schemas.fields`); what concerns several fields, and times, stands here.
An event that passes has canonical bytes, and `decode` gives it back from them. Column batches of market data are
checked by the same rules, vectorised, where archives are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec

from schemas.base import NS_PER_S, Event
from schemas.errors import RefusedError
from schemas.execution import OrderRequested
from schemas.fields import EARLIEST_NS, LATEST_NS
from schemas.market import BarClosed, QuoteTicked
from schemas.texts import NewsPublished, TweetPosted
from schemas.values import Fault, Test, read_tests, record_test
from schemas.verdicts import VerdictRequested

__all__ = ["EARLIEST_NS", "LATEST_NS", "MAX_CLOCK_SKEW_NS", "MAX_PROMPT_BYTES", "check", "check_read"]

MAX_CLOCK_SKEW_NS = 1 * NS_PER_S
"""How far `observed_at` may lie before `occurred_at`: the clocks of two machines differ by that much."""
MAX_PROMPT_BYTES = 900_000
"""Of a prompt's encoding, so that the request fits into a record."""


def check(event: Event, now: int | None = None) -> None:
    """Raise RefusedError unless every value of the event can be true.

    `now`, in ns, bounds the future where the caller knows the time.
    """
    _demand(event, _tests(type(event)))
    if now is not None and event.observed_at > now + MAX_CLOCK_SKEW_NS:
        raise _refusal(event, Fault("observed_at", "lies in the future"))


def check_read(event: Event, *, printable: bool) -> None:
    """As `check`, for an event that msgspec has just read: what it holds to is not tested again.

    `printable` says that there is no character but the printable ones of ASCII in what was read.
    """
    _demand(event, _tests_of_read(type(event), printable))


def _demand(event: Event, tests: Iterable[Test]) -> None:
    for test in tests:
        fault = test(event)
        if fault is not None:
            raise _refusal(event, fault)


def _refusal(event: Event, fault: Fault) -> RefusedError:
    return RefusedError(type(event).__name__, fault.path, fault.reason, str(event.id))


@cache
def _tests(kind: type[Event]) -> tuple[Test, ...]:
    return record_test(kind), _time_fault, *_RULES.get(kind, ())


@cache
def _tests_of_read(kind: type[Event], printable: bool) -> tuple[Test, ...]:  # noqa: FBT001 # a key of the cache
    return *read_tests(kind, printable=printable), _time_fault, *_RULES.get(kind, ())


def _time_fault(event: Event) -> Fault | None:
    if event.observed_at < event.occurred_at - MAX_CLOCK_SKEW_NS:
        ahead_ms = (event.occurred_at - event.observed_at) / 1e6
        return Fault("observed_at", f"observed {ahead_ms:.0f} ms before it occurred: correct the clock skew")
    return None


def _quote_fault(event: QuoteTicked) -> Fault | None:
    if event.bid > event.ask:
        return Fault("bid", f"crossed quote: bid {event.bid} is above ask {event.ask}")
    return None


def _bar_fault(event: BarClosed) -> Fault | None:
    if event.high < event.low:
        return Fault("high", f"high {event.high} is below low {event.low}")
    for field in ("open", "close"):
        if not event.low <= getattr(event, field) <= event.high:
            return Fault(field, f"{field} {getattr(event, field)} lies outside low to high")
    if event.interval_ns % NS_PER_S:
        return Fault("interval_ns", f"{event.interval_ns} ns is not a whole number of seconds")
    return None


def _tweet_fault(event: TweetPosted) -> Fault | None:
    return None if event.text.strip() else Fault("text", "is empty")


def _news_fault(event: NewsPublished) -> Fault | None:
    return None if event.title.strip() else Fault("title", "is empty")


def _request_fault(event: VerdictRequested) -> Fault | None:
    size = len(msgspec.json.encode(event.prompt))
    if size > MAX_PROMPT_BYTES:
        return Fault("prompt", f"{size:,} bytes is over the limit of {MAX_PROMPT_BYTES:,}")
    return None


def _order_fault(event: OrderRequested) -> Fault | None:
    if event.order_type == "limit" and event.limit_price is None:
        return Fault("limit_price", "is missing on a limit order")
    if event.order_type in ("stop", "take_profit") and event.trigger_price is None:
        return Fault("trigger_price", f"is missing on a {event.order_type} order")
    return None


_RULES: dict[type[Event], tuple[Test, ...]] = {
    QuoteTicked: (_quote_fault,),
    BarClosed: (_bar_fault,),
    TweetPosted: (_tweet_fault,),
    NewsPublished: (_news_fault,),
    VerdictRequested: (_request_fault,),
    OrderRequested: (_order_fault,),
}
