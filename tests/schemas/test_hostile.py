"""What a careless or hostile producer may send: it is refused with a short, plain reason, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Event
from schemas.checks import check
from schemas.codec import MAX_RECORD_BYTES, Catalogue, decode, encode
from schemas.errors import RefusedError
from schemas.execution import OrderFilled
from schemas.market import BarClosed, TradeTicked
from schemas.texts import TweetPosted
from schemas.topics import EVENT_TYPES
from tests.schemas.samples import full, sparse
from tests.schemas.strategies import events

TRADE = encode(sparse(TradeTicked))
FILL = encode(sparse(OrderFilled))
TWEET = encode(sparse(TweetPosted))
DEEP = 100_000


def swapped(payload: bytes, old: str | bytes, new: str | bytes) -> bytes:
    old, new = (part.encode() if isinstance(part, str) else part for part in (old, new))
    assert payload.count(old) == 1
    return payload.replace(old, new)


def refusal_of(payload: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as refusal:
        decode(payload)
    assert len(str(refusal.value)) < 1_200, "a reason must fit into a log and a dead letter"
    assert str(refusal.value).isprintable()
    return refusal.value


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON: Input data was truncated"),
        (b" \n", "not JSON: Input data was truncated"),
        (b"{", "not JSON: Input data was truncated"),
        (TRADE[:-1], "not JSON: Input data was truncated"),
        (TRADE[:40], "not JSON: Input data was truncated"),
        (TRADE + b"x", "not JSON: JSON is malformed: trailing characters"),
        (TRADE + TRADE, "not JSON: JSON is malformed: trailing characters"),
        (b"\xef\xbb\xbf" + TRADE, "not JSON: JSON is malformed: invalid character (byte 0)"),
        (TRADE.decode().encode("utf-16"), "not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"\x1f\x8b\x08", "not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"null", "Expected `object`, got `null`"),
        (b"[" + TRADE + b"]", "Expected `object`, got `array`"),
        (b"1", "Expected `object`, got `int`"),
        (b"[" * DEEP, "Expected `object`, got `array`"),
        (b'{"a":' * DEEP, "is nested too deeply"),
        (b'{"type":' + b"[" * DEEP, "is nested too deeply"),
        (b"x" * (MAX_RECORD_BYTES + 1), "is longer than 1,000,000 bytes"),
        (b'{"id":"' + b"x" * 10_000_000 + b'"}', "is longer than 1,000,000 bytes"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else None,
)
def test_what_is_no_record_is_refused(payload: bytes, reason: str) -> None:
    refusal = refusal_of(payload)
    assert refusal.event == "record"
    assert refusal.reason.startswith(reason)


@pytest.mark.parametrize(
    "kind", ["5", "null", "true", "[]", "{}", '""', '"Trade"', '"tradeticked"', '"TradeTicked "', '"Event"', '"Record"']
)
def test_an_unknown_type_is_refused_by_name(kind: str) -> None:
    refusal = refusal_of(swapped(TRADE, '"TradeTicked"', kind))
    assert (refusal.event, refusal.field, refusal.event_id) == ("record", "type", "trade-ticked-2")
    assert refusal.reason.endswith("is not a type of event")


def test_a_record_without_a_type_is_refused() -> None:
    assert refusal_of(b'{"id":"1"}').field == "type"


BAD_FIELDS = [
    (swapped(TRADE, '"price":37000.5,', ""), "TradeTicked", "price", "is missing"),
    (swapped(TRADE, '"id":"trade-ticked-2",', ""), "TradeTicked", "id", "is missing"),
    (swapped(TRADE, '"price"', '"colour":1,"price"'), "TradeTicked", "colour", "is not a field of this event"),
    (swapped(TRADE, '"price"', '"":1,"price"'), "TradeTicked", "", "is not a field of this event"),
    (swapped(TRADE, "37000.5", '"37000.5"'), "TradeTicked", "price", "Expected `float`, got `str`"),
    (swapped(TRADE, "37000.5", "null"), "TradeTicked", "price", "Expected `float`, got `null`"),
    (swapped(TRADE, "37000.5", "true"), "TradeTicked", "price", "Expected `float`, got `bool`"),
    (swapped(TRADE, "37000.5", "1e999"), "TradeTicked", "price", "Number out of range"),
    (swapped(TRADE, "37000.5", "-1e999"), "TradeTicked", "price", "Number out of range"),
    (swapped(TRADE, "37000.5", "9" * 5_000), "TradeTicked", "price", "Number out of range"),
    (swapped(TRADE, "37000.5", "-37000.5"), "TradeTicked", "price", "-37000.5 is not a price between 1e-18 and 1e12"),
    (swapped(TRADE, "37000.5", "-0.0"), "TradeTicked", "price", "-0.0 is not a price"),
    (swapped(TRADE, "37000.5", "1e-999"), "TradeTicked", "price", "0.0 is not a price"),
    (swapped(TRADE, '"price"', '"seq":1.0,"price"'), "TradeTicked", "seq", "Expected `int`, got `float`"),
    (swapped(TRADE, '"price"', '"seq":"1","price"'), "TradeTicked", "seq", "Expected `int`, got `str`"),
    (swapped(TRADE, '"price"', f'"seq":{2**63},"price"'), "TradeTicked", "seq", "is beyond 64 bits"),
    (swapped(TRADE, '"price"', f'"seq":{10**4_000},"price"'), "TradeTicked", "seq", "is beyond 64 bits"),
    (swapped(TRADE, '"price"', f'"seq":{"9" * 9_000},"price"'), "TradeTicked", "seq", "Integer value out of range"),
    (swapped(TRADE, '"size"', '"side":"short","size"'), "TradeTicked", "side", "Invalid enum value 'short'"),
    (swapped(TRADE, '"size"', '"v":2,"size"'), "TradeTicked", "v", "version 2 is not known (1 to 1 are)"),
    (swapped(TRADE, '"size"', f'"v":{10**30},"size"'), "TradeTicked", "v", "is not known"),
    (swapped(FILL, '"37000.50"', '"NaN"'), "OrderFilled", "price", "NaN is not a finite number"),
    (swapped(FILL, '"37000.50"', '"sNaN"'), "OrderFilled", "price", "sNaN is not a finite number"),
    (swapped(FILL, '"37000.50"', '"Infinity"'), "OrderFilled", "price", "Infinity is not a finite number"),
    (swapped(FILL, '"37000.50"', '"1E+5"'), "OrderFilled", "price", "must be written out, without an exponent"),
    (swapped(FILL, '"37000.50"', '"1e999999"'), "OrderFilled", "price", "must be written out"),
    (swapped(FILL, '"37000.50"', '"0x10"'), "OrderFilled", "price", "Invalid decimal string"),
    (swapped(FILL, '"37000.50"', '"1,5"'), "OrderFilled", "price", "Invalid decimal string"),
    (swapped(FILL, '"37000.50"', f'"{"1" * 41}"'), "OrderFilled", "price", "has more than 40 digits"),
    (swapped(FILL, '"37000.50"', f'"0.{"1" * 900_000}"'), "OrderFilled", "price", "has more than 40 digits"),
    (swapped(FILL, '"37000.50"', '"-1"'), "OrderFilled", "price", "-1 is not a price"),
    (swapped(TWEET, '"satoshi"', f'"{"x" * 900_000}"'), "TweetPosted", "author", "900,000 characters is over"),
    (swapped(TWEET, '"satoshi"', '"\\u0000"'), "TweetPosted", "author", "holds U+0000"),
    (swapped(TWEET, '"satoshi"', '"\\u001b[2J"'), "TweetPosted", "author", "holds U+001B"),
    (swapped(TWEET, '"satoshi"', '"a\\u202eb"'), "TweetPosted", "author", "holds U+202E at 1"),
    (swapped(TWEET, '"satoshi"', '"\\ud800"'), "record", "", "not JSON: JSON is malformed"),
    (swapped(TWEET, '"satoshi"', '"\\udc00"'), "record", "", "not JSON: JSON is malformed"),
    (swapped(TWEET, '"satoshi"', b'"\xff"'), "TweetPosted", "", "not UTF-8"),
    (swapped(TWEET, '"satoshi"', b'"\xed\xa0\x80"'), "TweetPosted", "", "not UTF-8"),
    (swapped(TWEET, '"satoshi"', b'"\xc0\x80"'), "TweetPosted", "", "not UTF-8"),
    (swapped(TWEET, '"satoshi"', b'"\n"'), "record", "", "not JSON: JSON is malformed: invalid character"),
]


@pytest.mark.parametrize(
    ("payload", "event", "field", "reason"),
    BAD_FIELDS,
    ids=[f"{event}-{field}-{reason[:30]}" for _, event, field, reason in BAD_FIELDS],
)
def test_a_bad_field_is_named_with_its_event_and_the_reason(
    payload: bytes, event: str, field: str, reason: str
) -> None:
    refusal = refusal_of(payload)
    assert (refusal.event, refusal.field) == (event, field)
    assert reason in refusal.reason


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (swapped(TRADE, '"size"', '"size":1.0,"size"'), "size"),
        (swapped(TRADE, '"size"', '"s\\u0069ze":0.001,"size"'), "size"),
        (swapped(TRADE, '"id"', '"id":"trade-ticked-2","id"'), "id"),
        (swapped(TRADE, '"type"', '"type":"TradeTicked","type"'), "type"),
        (swapped(TRADE, '"size"', '"cause":"","cause":"c","size"'), "cause"),
    ],
)
def test_a_name_that_stands_twice_is_refused(payload: bytes, field: str) -> None:
    """Readers differ on which of the two counts."""
    refusal = refusal_of(payload)
    assert (refusal.event, refusal.field, refusal.reason) == ("TradeTicked", field, "stands twice")


def test_a_name_may_stand_again_inside_a_text_or_a_part() -> None:
    text = '"id":"x","type": "y" : \\"'
    tweet = msgspec.structs.replace(sparse(TweetPosted), text=text)
    assert decode(b" " + encode(tweet)) == tweet
    for kind in EVENT_TYPES:
        assert decode(b" " + encode(full(kind))) == full(kind)


@pytest.mark.parametrize(
    ("number", "canonical"),
    [
        ("1.5", "'1.5'"),
        ("7", "'7'"),
        ('" 1"', "'1'"),
        ('"1_000"', "'1000'"),
        ('"001"', "'1'"),
        ('"+1"', "'1'"),
        ('".5"', "'0.5'"),
        ('"\\u0661"', "'1'"),
        ('"1e-7"', "'1E-7'"),
    ],
)
def test_a_decimal_that_reading_would_respell_is_refused(number: str, canonical: str) -> None:
    """As the JSON Schema has it: other programs' decimal types would not read them all."""
    refusal = refusal_of(swapped(FILL, '"37000.50"', number))
    assert (refusal.event, refusal.field) == ("OrderFilled", "price")
    assert refusal.reason.endswith(f"must be written as {canonical}")


def test_what_a_refusal_quotes_is_cut_short_and_freed_of_controls() -> None:
    hostile = "\x1b[2J" + "x" * 100_000
    escaped = msgspec.json.encode(hostile)
    refusals = [
        refusal_of(swapped(TRADE, '"TradeTicked"', escaped)),
        refusal_of(swapped(TRADE, '"trade-ticked-2"', escaped)),
        refusal_of(swapped(TRADE, '"size"', escaped + b':1,"size"')),
        refusal_of(swapped(TRADE, '"size"', b'"side":' + escaped + b',"size"')),
    ]
    assert {refusal.field for refusal in refusals} >= {"type", "id", "side"}


@settings(max_examples=settings().max_examples * 3)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(payload: bytes) -> None:
    refusal_of(payload)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def outcome(payload: bytes) -> Event | None:
    """The event, or None where it is refused; anything else is raised."""
    try:
        return decode(payload)
    except RefusedError:
        return None


@settings(max_examples=settings().max_examples * 3)
@given(events(), st.data())
def test_a_field_of_any_other_value_is_read_or_refused(event: Event, data: st.DataObject) -> None:
    record = msgspec.json.decode(encode(event))
    name = data.draw(st.sampled_from([*type(event).__struct_fields__, "type", "unheard_of"]))
    record[name] = data.draw(JSON_VALUES)
    read = outcome(msgspec.json.encode(record))
    if read is not None:
        check(read)
        assert decode(encode(read)) == read


MUTATIONS: list[Callable[[bytearray, int, int], None]] = [
    lambda payload, place, byte: payload.__setitem__(place, byte),
    lambda payload, place, byte: payload.insert(place, byte),
    lambda payload, place, _: payload.__delitem__(place),
    lambda payload, place, _: payload.__delitem__(slice(place, None)),
    lambda payload, place, byte: payload.__setitem__(slice(place, place + byte), payload[place : place + byte] * 2),
]


@settings(max_examples=settings().max_examples * 5)
@given(events(), st.data())
def test_damaged_events_are_read_or_refused(event: Event, data: st.DataObject) -> None:
    payload = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(payload) - 1)))
        mutate = data.draw(st.sampled_from(MUTATIONS))
        if payload:
            mutate(payload, place, data.draw(st.integers(0, 255)))
    read = outcome(bytes(payload))
    if read is not None:
        check(read)
        assert decode(encode(read)) == read


def test_the_fuzz_above_would_notice_another_error() -> None:
    class Broken(BarClosed, frozen=True, kw_only=True, tag="BarClosed"):
        def __post_init__(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Catalogue((Broken,), {}).decode(encode(full(BarClosed)))
