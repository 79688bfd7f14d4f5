"""Old versions are lifted step by step; a version without a way up is refused, never guessed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.base import Event
from schemas.codec import UPCASTERS, Catalogue, decode, encode, version_of
from schemas.errors import RefusedError
from schemas.fields import Name, PositiveInt, Price
from schemas.topics import EVENT_TYPES
from tests.schemas.samples import full, sparse


class FundingPaid(Event, frozen=True, kw_only=True):
    """A type of this test's own at its third version: v1 had `rate` in %, v2 a share, v3 names the venue."""

    v: PositiveInt = msgspec.field(default_factory=lambda: 3)
    rate: Price
    venue: Name


def to_share(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "rate": record["rate"] / 100}


def with_venue(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "venue": record["key"].partition("@")[2]}


LADDER = {("FundingPaid", 1): to_share, ("FundingPaid", 2): with_venue}
CATALOGUE = Catalogue((FundingPaid,), LADDER)
AT = 1_700_000_000_000_000_000
ENVELOPE = f'"type":"FundingPaid","id":"f-1","key":"BTC@okx","occurred_at":{AT},"observed_at":{AT}'
V1 = f'{{{ENVELOPE},"rate":2.5}}'.encode()
V2 = f'{{{ENVELOPE},"v":2,"rate":0.025}}'.encode()
V3 = f'{{{ENVELOPE},"v":3,"rate":0.025,"venue":"okx"}}'.encode()


@pytest.mark.parametrize("payload", [V1, V2, V3], ids=["v1", "v2", "v3"])
def test_every_version_reads_as_the_present_one(payload: bytes) -> None:
    event = CATALOGUE.decode(payload)
    assert event == FundingPaid(
        id="f-1",
        key="BTC@okx",
        occurred_at=AT,
        observed_at=AT,
        rate=0.025,
        venue="okx",
    )
    assert encode(event) == V3


def test_a_record_that_would_fit_the_new_version_is_still_lifted_from_its_own() -> None:
    """Without `v` it is version 1, though the present type would read it as it stands."""
    payload = f'{{{ENVELOPE},"rate":2.5,"venue":"okx"}}'.encode()
    assert encode(CATALOGUE.decode(payload)) == V3


@pytest.mark.parametrize(
    ("ladder", "payload", "reason"),
    [
        ({}, V1, "no upcaster from version 1 to 2"),
        ({("FundingPaid", 1): to_share}, V1, "no upcaster from version 2 to 3"),
        ({("FundingPaid", 1): to_share}, V2, "no upcaster from version 2 to 3"),
        (LADDER, V3.replace(b'"v":3', b'"v":4'), r"version 4 is not known \(1 to 3 are\)"),
        (LADDER, V3.replace(b'"v":3', b'"v":0'), r"version 0 is not known"),
        (LADDER, V3.replace(b'"v":3', b'"v":"3"'), r"version '3' is not known"),
        (LADDER, V3.replace(b'"v":3', b'"v":3.0'), r"version 3\.0 is not known"),
        (LADDER, V3.replace(b'"v":3', b'"v":true'), r"version True is not known"),
        (LADDER, V1.replace(b'"rate":2.5', b'"rote":2.5'), "not a record of version 1: .* KeyError: 'rate'"),
        (LADDER, V1.replace(b"2.5", b'"2.5"'), "not a record of version 1: .* TypeError"),
    ],
)
def test_what_cannot_be_lifted_is_refused(ladder: dict[Any, Any], payload: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason) as refusal:
        Catalogue((FundingPaid,), ladder).decode(payload)
    assert (refusal.value.event, refusal.value.field, refusal.value.event_id) == ("FundingPaid", "v", "f-1")


@pytest.mark.parametrize(
    ("payload", "field"), [(V1.replace(b"2.5", b"-2.5"), "rate"), (V2.replace(b"@okx", b""), "venue")]
)
def test_a_lifted_record_is_checked_like_any_other(payload: bytes, field: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        CATALOGUE.decode(payload)
    assert refusal.value.field == field


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_a_type_beyond_version_1_writes_its_version_and_has_a_whole_ladder(kind: type[Event]) -> None:
    version = version_of(kind)
    assert (b'"v":' in encode(sparse(kind))) == (version > 1)
    assert all((kind.__name__, v) in UPCASTERS for v in range(1, version))


def test_the_version_of_another_type_is_refused() -> None:
    payload = encode(msgspec.structs.replace(full(EVENT_TYPES[0]), v=2))
    with pytest.raises(RefusedError, match="version 2 is not known"):
        decode(payload)
