"""Every field of every event, by table: what it takes at its bounds, and what it refuses beyond them."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nextafter
from typing import Annotated

import msgspec
import pytest

from agents.money import to_cent
from schemas.base import Event
from schemas.checks import check
from schemas.codec import Catalogue, decode, encode
from schemas.control import RulesChanged
from schemas.errors import RefusedError
from schemas.execution import OrderRequested
from schemas.fields import MAX_AMOUNT, MAX_PAID, MAX_PRICE, MAX_SIZE, MIN_PRICE, MIN_SIZE, PRICE
from schemas.topics import EVENT_TYPES
from schemas.verdicts import InstructionPart, VerdictGiven, VerdictRequested
from tests.schemas.bounds import (
    BAD_NUMBERS,
    CASES,
    GOOD_NUMBERS,
    LIMITS,
    LINES,
    MAY_BE_EMPTY,
    NAME_CHARS,
    NUMBERS,
    RECORDS,
    TEXTS,
    WORDS,
    as_kind_of,
    changed,
    fields_of,
    part_of,
)
from tests.schemas.samples import full


def assert_refused(place: str, value: object) -> None:
    event, field = changed(place, value)
    with pytest.raises(RefusedError) as refusal:
        check(event)
    assert (refusal.value.event, refusal.value.field) == (type(event).__name__, field)
    assert refusal.value.event_id == event.id
    assert refusal.value.reason


def assert_refused_as_read(place: str, value: object) -> None:
    """Refused as an event and as bytes, for the same reason."""
    assert_refused(place, value)
    event, _ = changed(place, value)
    assert reading_refusal(encode(event)) == checking_refusal(event)


def checking_refusal(event: Event) -> str:
    with pytest.raises(RefusedError) as refusal:
        check(event)
    return str(refusal.value)


def reading_refusal(payload: bytes) -> str:
    with pytest.raises(RefusedError) as refusal:
        decode(payload)
    return str(refusal.value)


def assert_taken(place: str, value: object) -> None:
    event, _ = changed(place, value)
    check(event)
    assert decode(encode(event)) == event


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
            assert_refused_as_read(place, value)


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


@pytest.mark.parametrize("place", TEXTS)
def test_a_text_may_not_be_longer_than_its_limit(place: str) -> None:
    limit = LIMITS.get(place, NAME_CHARS)
    assert_taken(place, "é" * limit)
    assert_refused_as_read(place, "x" * (limit + 1))
    assert_refused_as_read(place, "é" * (limit + 1))


@pytest.mark.parametrize("place", TEXTS)
def test_only_some_texts_may_be_empty(place: str) -> None:
    if place in MAY_BE_EMPTY.split():
        assert_taken(place, "")
    else:
        assert_refused_as_read(place, "")


@pytest.mark.parametrize("place", TEXTS)
def test_a_text_may_not_steer_a_terminal_or_break_a_line_of_a_log(place: str) -> None:
    for mark in ("\x00", "\x1b[2J", "\x07", "\x7f"):
        assert_refused_as_read(place, f"a{mark}b")
    for mark in ("\ud800", "\udfff"):
        assert_refused(place, f"a{mark}b")
    assert_refused(place, b"bytes")
    for mark in ("\n", "\r\n", "\t", "\x92", "\u2028", "\u202e"):
        if place in LIMITS:
            assert_taken(place, f"a{mark}b")
        else:
            assert_refused_as_read(place, f"a{mark}b")
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
    assert_refused_as_read(place, b"x" * 700_001)
    assert_refused(place, "text")


@pytest.mark.parametrize("place", fields_of(tuple))
def test_a_list_has_at_most_100_items_of_its_kind(place: str) -> None:
    name, field = place.split(".")
    item = getattr(part_of(RECORDS[name]), field)[0]
    assert_taken(place, (item,) * 100)
    assert_refused_as_read(place, (item,) * 101)
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


@pytest.mark.parametrize(
    "changes",
    [{"order_pct": -1.0}, {"order_pct": 1.1e18}, {"": 1.0}, {"a\nb": 1.0}, {f"limit{n}": 1.0 for n in range(101)}],
)
def test_a_change_of_rules_is_refused_alike_as_it_is_read(changes: dict[str, float]) -> None:
    event = msgspec.structs.replace(full(RulesChanged), changes=changes)
    assert reading_refusal(encode(event)) == checking_refusal(event)


def test_the_bounds_are_met_to_the_last_digit() -> None:
    """What the tables hold is written as a schema can tell it apart; these lie just beyond."""
    for place, least, most in (
        ("OrderFilled.price", "1E-20", "10000000000000"),
        ("OrderFilled.quantity", "1E-18", 10**18),
    ):
        assert_refused_as_read(place, Decimal(least) * Decimal("0.999"))
        assert_refused_as_read(place, Decimal(most) + Decimal("0.001"))
    assert_refused_as_read("TradeTicked.price", nextafter(1e-18, 0))
    assert_refused_as_read("TradeTicked.price", nextafter(1e12, inf))
    assert_refused_as_read("QuoteTicked.bid_size", nextafter(1e18, inf))


def test_no_ratio_product_or_sum_of_what_is_allowed_overflows() -> None:
    dearest, smallest = MAX_PRICE / MIN_PRICE, MIN_PRICE * MIN_SIZE
    assert (dearest * 100) ** 4 < inf
    assert smallest**4 > 0
    notional = Decimal(repr(MAX_PAID)) * Decimal(repr(MAX_SIZE))
    assert notional <= Decimal(repr(MAX_AMOUNT))
    assert to_cent(notional) == notional
    assert to_cent(Decimal(repr(MAX_AMOUNT))) == Decimal(repr(MAX_AMOUNT))


class Untold(Event, frozen=True, kw_only=True):
    """A type whose fields tell msgspec no bounds."""

    count: int = 0
    name: str = ""
    names: tuple[str, ...] = ()
    blob: bytes = b""
    map: dict[str, float] = msgspec.field(default_factory=dict)
    share: Annotated[float, msgspec.Meta(extra={"range": PRICE})] = 1.0
    amount: Decimal = Decimal(0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 2**63),
        ("name", "x" * 513),
        ("names", ("",) * 101),
        ("names", ("", "x" * 513)),
        ("blob", b"x" * 700_001),
        ("map", {f"name{n}": 1.0 for n in range(101)}),
        ("map", {"x" * 513: 1.0}),
        ("share", -0.5),
        ("amount", Decimal(10**32)),
    ],
)
def test_a_field_that_tells_msgspec_nothing_is_checked_all_the_same(field: str, value: object) -> None:
    at = full(RulesChanged).observed_at
    event = msgspec.structs.replace(Untold(id="u-1", key="k", occurred_at=at, observed_at=at), **{field: value})
    with pytest.raises(RefusedError) as refusal:
        Catalogue((Untold,), {}).decode(encode(event))
    assert str(refusal.value) == checking_refusal(event)


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
