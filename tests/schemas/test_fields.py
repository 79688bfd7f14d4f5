"""Every field of every event, by table: what it takes at its bounds, and what it refuses beyond them.

The tables repeat the bounds on purpose: a bound that is loosened in `schemas/` must be loosened here too.
"""

from __future__ import annotations

from decimal import Decimal
from typing import cast

import msgspec
import pytest
from msgspec import inspect

from schemas.base import Event, Record
from schemas.checks import check
from schemas.codec import decode, encode
from schemas.control import RulesChanged
from schemas.decisions import Clamp, ConsensusFailed, TradeApproved, Vote
from schemas.errors import RefusedError
from schemas.execution import OrderRequested
from schemas.topics import EVENT_TYPES
from schemas.verdicts import InstructionPart, PricePart, TextPart, VerdictGiven, VerdictRequested
from tests.schemas.samples import full

PARTS: dict[type[Record], tuple[type[Event], str, int]] = {
    Vote: (ConsensusFailed, "votes", 1),
    Clamp: (TradeApproved, "clamps", 0),
    InstructionPart: (VerdictRequested, "prompt", 0),
    PricePart: (VerdictRequested, "prompt", 1),
    TextPart: (VerdictRequested, "prompt", 3),
}
"""Where in a golden event such a part stands."""
RECORDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (*EVENT_TYPES, *PARTS)}

NUMBERS = {
    "above zero": """
        TradeTicked.price TradeTicked.size QuoteTicked.bid QuoteTicked.ask
        BarClosed.open BarClosed.high BarClosed.low BarClosed.close BarClosed.interval_ns
        VerdictGiven.stop_price VerdictGiven.target_price VerdictGiven.horizon_ms
        OrderRequested.quantity OrderRequested.limit_price OrderRequested.trigger_price
        OrderFilled.quantity OrderFilled.price
        ConsensusReached.stop_price ConsensusReached.target_price
        TradeProposed.price TradeProposed.stop_price TradeProposed.target_price
        TradeApproved.quantity TradeApproved.price TradeApproved.stop_price TradeApproved.target_price
        ConfirmationRequested.quantity ConfirmationRequested.notional
        OutcomeMeasured.horizon_ms PricePart.close""",
    "not negative": """
        QuoteTicked.bid_size QuoteTicked.ask_size BarClosed.volume TweetPosted.followers TweetPosted.retweets
        VerdictGiven.prompt_tokens VerdictGiven.reply_tokens VerdictGiven.cost_usd VerdictGiven.latency_ms
        VerdictFailed.cost_usd VerdictFailed.latency_ms OrderFilled.leaves_quantity
        ConsensusReached.agree ConsensusReached.of RegimeAssessed.volatility
        Clamp.before Clamp.after PositionChanged.average_price EquityMarked.gross_exposure
        PricePart.atr PricePart.volatility PricePart.bars PricePart.text_count""",
    "not positive": "PricePart.drawdown",
    "0 to 1": """
        VerdictGiven.confidence VerdictGiven.size_hint ConsensusReached.confidence ConsensusReached.size_hint
        Vote.confidence TradeProposed.conviction OutcomeMeasured.confidence""",
    "-1 to 1": "NewsVetted.sentiment TextPart.sentiment PricePart.text_sentiment",
    "0 to 100": "PricePart.rsi",
    "time": "VerdictRequested.deadline_at ConfirmationRequested.expires_at PricePart.observed_at TextPart.observed_at",
    "time or zero": "OrderRequested.expires_at BreakerTripped.until",
    "any": """
        OrderFilled.fee NewsFlagged.move_pct BreakerTripped.limit BreakerTripped.value Clamp.value
        PositionChanged.quantity PositionChanged.realised_pnl PositionChanged.fee PositionChanged.cash
        PositionChanged.total_realised_pnl PositionChanged.total_fees
        EquityMarked.equity EquityMarked.cash EquityMarked.unrealised_pnl EquityMarked.realised_pnl
        EquityMarked.fees OutcomeMeasured.return_pct
        PricePart.return_since_ask PricePart.ema_fast PricePart.ema_slow""",
}
BAD_NUMBERS = {
    "above zero": ("0", "-0.5", "-1"),
    "not negative": ("-0.5", "-1", "-0.0001"),
    "not positive": ("0.5", "1"),
    "0 to 1": ("-0.01", "1.01", "-1", "2"),
    "-1 to 1": ("-1.01", "1.01", "-2", "2"),
    "0 to 100": ("-0.01", "100.01"),
    "time": ("0", "-1", "1700000000", "1700000000000", "1700000000000000", "4102444800000000000"),
    "time or zero": ("-1", "1", "1700000000", "1700000000000", "1700000000000000", "4102444800000000000"),
    "any": (),
}
GOOD_NUMBERS = {
    "above zero": ("1", "0.00000001"),
    "not negative": ("0", "1"),
    "not positive": ("0", "-1"),
    "0 to 1": ("0", "0.5", "1"),
    "-1 to 1": ("-1", "0", "1"),
    "0 to 100": ("0", "100"),
    "time": ("1700000000000000000", "31536000000000001", "4102444799999999999"),
    "time or zero": ("0", "1700000000000000000"),
    "any": ("0", "1", "-1"),
}
LINES = {
    20_000: """
        TweetPosted.text NewsPublished.text VerdictGiven.reasoning AlertRaised.text ProcessingFailed.error
        InstructionPart.text TextPart.text""",
    2_000: """
        TweetPosted.url NewsPublished.title NewsPublished.url VerdictGiven.risk_note VerdictFailed.detail
        OrderRejected.reason OrderCanceled.reason CancelRequested.reason BookPaused.reason BookResumed.reason
        TradeDeclined.reason KillSwitchPulled.reason NewsFlagged.claim TradeProposed.reason TradeRejected.reason
        RecordRefused.reason""",
}
"""Texts that may hold line breaks, by their limit; every other text is a name of one line."""
NAME_CHARS = 512
MAY_BE_EMPTY = """
    TweetPosted.author TweetPosted.url NewsPublished.source NewsPublished.text NewsPublished.url
    VerdictGiven.reasoning VerdictGiven.risk_note VerdictGiven.prompt_sha256 VerdictGiven.reply_sha256
    VerdictFailed.detail VerdictFailed.prompt_sha256 OrderAccepted.venue_order OrderRejected.reason
    OrderCanceled.reason CancelRequested.reason BookPaused.reason BookResumed.reason TradeDeclined.reason
    KillSwitchPulled.reason NewsVetted.source NewsDiscarded.source NewsFlagged.source NewsFlagged.claim
    Vote.verdict Vote.failure TradeProposed.reason TradeProposed.consensus TradeRejected.reason
    TradeRejected.limit TradeRejected.limit_value TradeRejected.value AlertRaised.text ProcessingFailed.error
    RecordRefused.reason InstructionPart.text TextPart.source TextPart.text"""


def fields_of(*kinds: type) -> list[str]:
    """`Record.field` of every own field whose golden value is of one of the types."""
    found = []
    for name, record in RECORDS.items():
        shared = set(Event.__struct_fields__) if issubclass(record, Event) else set()
        sample = part_of(record)
        own = [field for field in record.__struct_fields__ if field not in shared]
        found += [f"{name}.{field}" for field in own if type(getattr(sample, field)) in kinds]
    return found


def part_of(kind: type[Record]) -> Record:
    if kind in PARTS:
        event, field, index = PARTS[kind]
        part = getattr(full(event), field)[index]
        assert type(part) is kind
        return part
    assert issubclass(kind, Event)
    return full(kind)


def changed(place: str, value: object) -> tuple[Event, str]:
    """The golden event in which the field has another value, and where a refusal must point."""
    name, field = place.split(".")
    record = RECORDS[name]
    part = msgspec.structs.replace(part_of(record), **{field: value})
    if isinstance(part, Event):
        return part, field
    kind, holder, index = PARTS[record]
    parts = list(getattr(full(kind), holder))
    parts[index] = part
    return msgspec.structs.replace(full(kind), **{holder: tuple(parts)}), f"{holder}[{index}].{field}"


def assert_refused(place: str, value: object) -> None:
    event, field = changed(place, value)
    with pytest.raises(RefusedError) as refusal:
        check(event)
    assert (refusal.value.event, refusal.value.field) == (type(event).__name__, field)
    assert refusal.value.event_id == event.id
    assert refusal.value.reason


def assert_taken(place: str, value: object) -> None:
    event, _ = changed(place, value)
    check(event)
    assert decode(encode(event)) == event


def as_kind_of(place: str, number: str) -> float | Decimal | None:
    """The number in the field's own type; None where that type can't hold it."""
    name, field = place.split(".")
    kind = type(getattr(part_of(RECORDS[name]), field))
    if kind is int:
        return int(number) if "." not in number else None
    return kind(number)  # type: ignore[no-any-return]


def is_word(place: str) -> bool:
    """Whether the field takes one of a list of words."""
    name, field = place.split(".")
    info = cast("inspect.StructType", inspect.type_info(RECORDS[name]))
    return any(found.name == field and isinstance(found.type, inspect.LiteralType) for found in info.fields)


CASES = [(place, rule) for rule, places in NUMBERS.items() for place in places.split()]


def test_the_tables_name_every_field_once() -> None:
    numbers = [place for places in NUMBERS.values() for place in places.split()]
    assert sorted(numbers) == sorted(fields_of(int, float, Decimal))
    lines = [place for places in LINES.values() for place in places.split()]
    assert len(lines) == len(set(lines))
    texts = set(TEXTS)
    assert set(lines) < texts
    assert set(MAY_BE_EMPTY.split()) < texts


@pytest.mark.parametrize(("place", "rule"), CASES)
def test_a_number_beyond_its_bounds_is_refused(place: str, rule: str) -> None:
    for number in BAD_NUMBERS[rule]:
        value = as_kind_of(place, number)
        if value is not None:
            assert_refused(place, value)


@pytest.mark.parametrize(("place", "rule"), [case for case in CASES if not case[0].startswith(("Bar", "Quote"))])
def test_a_number_at_its_bounds_is_taken(place: str, rule: str) -> None:
    for number in GOOD_NUMBERS[rule]:
        value = as_kind_of(place, number)
        if value is not None:
            assert_taken(place, value)


@pytest.mark.parametrize("place", fields_of(float))
def test_a_float_must_be_finite_and_a_float(place: str) -> None:
    for value in (float("nan"), float("inf"), -float("inf"), 1, True, Decimal(1), "1"):
        assert_refused(place, value)


@pytest.mark.parametrize("place", fields_of(int))
def test_an_integer_must_fit_64_bits_and_be_an_integer(place: str) -> None:
    for value in (2**63, -(2**63) - 1, 10**30, True, 1.0, "1"):
        assert_refused(place, value)


@pytest.mark.parametrize("place", fields_of(Decimal))
def test_a_decimal_must_be_finite_and_of_bounded_length(place: str) -> None:
    for number in ("NaN", "sNaN", "Infinity", "-Infinity", "1E+2", "1E+999999", "1E-41", "1" * 41):
        assert_refused(place, Decimal(number))
    for value in (1.0, 1, "1"):
        assert_refused(place, value)


WORDS = [place for place in fields_of(str) if is_word(place)]
TEXTS = [place for place in fields_of(str) if not is_word(place)]
LIMITS = {place: limit for limit, places in LINES.items() for place in places.split()}


@pytest.mark.parametrize("place", TEXTS)
def test_a_text_may_not_be_longer_than_its_limit(place: str) -> None:
    limit = LIMITS.get(place, NAME_CHARS)
    assert_taken(place, "é" * limit)
    assert_refused(place, "x" * (limit + 1))


@pytest.mark.parametrize("place", TEXTS)
def test_only_some_texts_may_be_empty(place: str) -> None:
    if place in MAY_BE_EMPTY.split():
        assert_taken(place, "")
    else:
        assert_refused(place, "")


@pytest.mark.parametrize("place", TEXTS)
def test_a_text_may_not_steer_a_terminal_or_break_a_line_of_a_log(place: str) -> None:
    for mark in ("\x00", "\x1b[2J", "\x07", "\x7f", "\ud800", "\udfff"):
        assert_refused(place, f"a{mark}b")
    assert_refused(place, b"bytes")
    for mark in ("\n", "\r\n", "\t", "\x92", "\u2028", "\u202e"):
        if place in LIMITS:
            assert_taken(place, f"a{mark}b")
        else:
            assert_refused(place, f"a{mark}b")
    assert_taken(place, "Zoë: 50 % “quoted” \\ \U0001f600 \u200d \u05d0")


@pytest.mark.parametrize("place", WORDS)
def test_a_word_must_be_one_of_its_list(place: str) -> None:
    for value in ("", "perhaps", None, 1):
        assert_refused(place, value)


@pytest.mark.parametrize("place", fields_of(bool))
def test_a_flag_is_true_or_false(place: str) -> None:
    for value in (0, 1, "true", None):
        assert_refused(place, value)


@pytest.mark.parametrize("place", fields_of(bytes))
def test_bytes_stay_below_the_limit_of_a_record(place: str) -> None:
    assert_taken(place, b"\xff" * 700_000)
    assert_refused(place, b"x" * 700_001)
    assert_refused(place, "text")


@pytest.mark.parametrize("place", fields_of(tuple))
def test_a_list_has_at_most_100_items_of_its_kind(place: str) -> None:
    name, field = place.split(".")
    item = getattr(part_of(RECORDS[name]), field)[0]
    assert_taken(place, (item,) * 100)
    assert_refused(place, (item,) * 101)
    assert_refused(place, [item])
    for stranger in (None, 1.0, full(RulesChanged)):
        event, _ = changed(place, (item, stranger))
        with pytest.raises(RefusedError) as refusal:
            check(event)
        assert refusal.value.field == f"{field}[1]"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order_pct": float("nan")}, "changes.order_pct"),
        ({"order_pct": float("inf")}, "changes.order_pct"),
        ({"order_pct": -1.0}, "changes.order_pct"),
        ({"order_pct": 1}, "changes.order_pct"),
        ({"": 1.0}, "changes."),
        ({"a\nb": 1.0}, "changes.a\\nb"),
        ({f"limit{n}": 1.0 for n in range(101)}, "changes"),
        ([], "changes"),
    ],
)
def test_a_change_of_rules_is_checked_name_by_name(changes: object, field: str) -> None:
    event = msgspec.structs.replace(full(RulesChanged), changes=changes)
    with pytest.raises(RefusedError) as refusal:
        check(event)
    assert refusal.value.field == field


@pytest.mark.parametrize("factor", ["x" * 2_001, "\x00", 1.0])
def test_a_key_factor_is_checked_like_any_text(factor: object) -> None:
    event = msgspec.structs.replace(full(VerdictGiven), key_factors=("fine", factor))
    with pytest.raises(RefusedError) as refusal:
        check(event)
    assert refusal.value.field == "key_factors[1]"


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_an_absent_value_is_refused_unless_the_field_is_optional(kind: type[Event]) -> None:
    sample = full(kind)
    if isinstance(sample, OrderRequested):
        sample = msgspec.structs.replace(sample, order_type="market")
    for field in msgspec.structs.fields(kind):
        event = msgspec.structs.replace(sample, **{field.name: None})
        if field.name == "cost_usd":  # no cost is a cost of zero
            assert event == msgspec.structs.replace(sample, cost_usd=Decimal(0))
        elif field.default is None:
            assert getattr(decode(encode(event)), field.name) is None
        else:
            with pytest.raises(RefusedError) as refusal:
                check(event)
            assert refusal.value.field == field.name


def test_a_prompt_that_would_not_fit_into_a_record_is_refused() -> None:
    part = InstructionPart(text="x" * 20_000)
    fits = msgspec.structs.replace(full(VerdictRequested), prompt=(part,) * 44)
    check(fits)
    assert decode(encode(fits)) == fits
    with pytest.raises(RefusedError, match=r"prompt .* over the limit of 900,000"):
        check(msgspec.structs.replace(fits, prompt=(part,) * 45))
