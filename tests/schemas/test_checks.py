"""What ties fields together, and times: each refusal names event, field and reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import NS_PER_MS, NS_PER_S, Event
from schemas.checks import check
from schemas.errors import RefusedError
from schemas.execution import OrderRequested
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted
from schemas.topics import EVENT_TYPES
from tests.schemas.samples import full
from tests.schemas.strategies import events

AT = 1_700_000_000 * NS_PER_S


def refusal_of(event: Event, now: int | None = None) -> RefusedError:
    with pytest.raises(RefusedError) as refusal:
        check(event, now)
    assert refusal.value.event == type(event).__name__
    assert str(refusal.value).startswith(f"{refusal.value.event}.{refusal.value.field}")
    return refusal.value


@pytest.mark.parametrize(
    ("kind", "changes", "field", "reason"),
    [
        (QuoteTicked, {"bid": 2.0, "ask": 1.0}, "bid", "crossed quote: bid 2.0 is above ask 1.0"),
        (BarClosed, {"high": 1.0, "low": 2.0}, "high", "high 1.0 is below low 2.0"),
        (BarClosed, {"open": 99_999.0}, "open", "open 99999.0 lies outside low to high"),
        (BarClosed, {"close": 1.0}, "close", "close 1.0 lies outside low to high"),
        (BarClosed, {"interval_ns": 60}, "interval_ns", "60 ns is not a whole number of seconds"),
        (BarClosed, {"interval_ns": 1_500_000_000}, "interval_ns", "1500000000 ns is not a whole number of seconds"),
        (TweetPosted, {"text": " \n\t"}, "text", "is empty"),
        (NewsPublished, {"title": ""}, "title", "is empty"),
        (OrderRequested, {"order_type": "limit", "limit_price": None}, "limit_price", "is missing on a limit order"),
        (OrderRequested, {"order_type": "stop", "trigger_price": None}, "trigger_price", "is missing on a stop order"),
        (
            OrderRequested,
            {"order_type": "take_profit", "trigger_price": None},
            "trigger_price",
            "is missing on a take_profit order",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    kind: type[Event], changes: dict[str, Any], field: str, reason: str
) -> None:
    refusal = refusal_of(msgspec.structs.replace(full(kind), **changes))
    assert (refusal.field, refusal.reason) == (field, reason)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (QuoteTicked, {"bid": 2.0, "ask": 2.0}),
        (BarClosed, {"open": 5.0, "high": 5.0, "low": 5.0, "close": 5.0, "volume": 0.0}),
        (BarClosed, {"interval_ns": NS_PER_S}),
        (NewsPublished, {"text": ""}),
        (OrderRequested, {"order_type": "market", "limit_price": None, "trigger_price": None}),
        (OrderRequested, {"order_type": "stop", "limit_price": None, "trigger_price": Decimal(1)}),
    ],
)
def test_what_only_looks_odd_is_taken(kind: type[Event], changes: dict[str, Any]) -> None:
    check(msgspec.structs.replace(full(kind), **changes))


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"id": ""}, "id", "is empty"),
        ({"id": "x" * 513}, "id", "513 characters is over the limit of 512"),
        ({"key": ""}, "key", "is empty"),
        ({"key": "BTC\n"}, "key", "U+000A"),
        ({"book": "x" * 513}, "book", "over the limit"),
        ({"cause": "\x00"}, "cause", "U+0000"),
        ({"seq": -1}, "seq", "-1 is negative"),
        ({"seq": 2**63}, "seq", "beyond 64 bits"),
        ({"v": 0}, "v", "0 is not above zero"),
        ({"occurred_at": 0}, "occurred_at", "not a time in nanoseconds"),
        ({"observed_at": 1_700_000_000}, "observed_at", "not a time in nanoseconds"),
        ({"observed_at": 1_700_000_000_000}, "observed_at", "not a time in nanoseconds"),
        ({"observed_at": 1_700_000_000_000_000}, "observed_at", "not a time in nanoseconds"),
        ({"occurred_at": AT * 1_000}, "occurred_at", "is beyond 64 bits"),
        ({"occurred_at": 1.7e18}, "occurred_at", "is not a number of type int"),
    ],
)
def test_the_envelope_of_every_event_is_checked(
    kind: type[Event], changes: dict[str, Any], field: str, reason: str
) -> None:
    refusal = refusal_of(msgspec.structs.replace(full(kind), **changes))
    assert refusal.field == field
    assert reason in refusal.reason


@pytest.mark.parametrize("ahead_ms", [0, 1, 999, 1_000])
def test_an_event_may_be_observed_a_second_before_it_occurred(ahead_ms: int) -> None:
    """The clocks of source and observer differ."""
    check(msgspec.structs.replace(full(TradeTicked), occurred_at=AT + ahead_ms * NS_PER_MS, observed_at=AT))


@pytest.mark.parametrize("ahead_ns", [NS_PER_S + 1, 90 * NS_PER_S])
def test_an_event_observed_long_before_it_occurred_is_refused(ahead_ns: int) -> None:
    event = msgspec.structs.replace(full(TradeTicked), occurred_at=AT + ahead_ns, observed_at=AT)
    refusal = refusal_of(event)
    assert refusal.field == "observed_at"
    assert refusal.reason == f"observed {ahead_ns / 1e6:.0f} ms before it occurred: correct the clock skew"


def test_the_future_is_refused_where_the_time_is_known() -> None:
    event = msgspec.structs.replace(full(TradeTicked), occurred_at=AT, observed_at=AT)
    check(event)
    check(event, now=AT)
    check(event, now=AT - NS_PER_S)
    refusal = refusal_of(event, now=AT - NS_PER_S - 1)
    assert (refusal.field, refusal.reason) == ("observed_at", "lies in the future")


@given(events(), st.integers(-3 * NS_PER_S, 3 * NS_PER_S))
def test_time_travel_alone_decides_over_an_else_valid_event(event: Event, lead_ns: int) -> None:
    moved = msgspec.structs.replace(event, occurred_at=AT + lead_ns, observed_at=AT)
    if lead_ns > NS_PER_S:
        assert refusal_of(moved).field == "observed_at"
    else:
        check(moved)
