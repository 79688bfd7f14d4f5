"""The published JSON Schemas: another program that keeps to them writes events that we read."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.base import Event
from schemas.codec import encode
from schemas.topics import EVENT_TYPES, TOPICS
from tests.schemas.bounds import BAD_NUMBERS, CASES, GOOD_NUMBERS, as_kind_of, changed, fields_of
from tests.schemas.samples import GOLDEN, full, golden_lines
from tests.schemas.strategies import events

DOCS = Path(__file__).parents[2] / "docs"
FEW = settings(max_examples=settings().max_examples // 5)
NAMES = [kind.__name__ for kind in EVENT_TYPES]


@cache
def published(name: str) -> dict[str, Any]:
    """The schema as it lies in the docs, where a producer finds it."""
    schema: dict[str, Any] = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
    return schema


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(published(name))


def fits(event: Event) -> bool:
    valid: bool = validator(type(event).__name__).is_valid(json.loads(encode(event)))
    return valid


def record_of(kind: type[Event]) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(encode(full(kind)))
    return record


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(published(name))
    assert published(name)["title"] == name
    assert published(name)["$id"] == f"urn:quorum:event:{name}:1"
    assert published(name)["properties"]["type"] == {"const": name}
    assert published(name)["description"]
    assert published(name)["additionalProperties"] is False


def test_every_type_has_a_schema_and_no_other_file_lies_there() -> None:
    assert sorted(path.stem for path in (DOCS / "schemas").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v1/*.jsonl")), ids=lambda path: path.stem)
def test_golden_events_fit_their_schema_and_no_other(path: Path) -> None:
    for line in golden_lines(path):
        assert [name for name in NAMES if validator(name).is_valid(json.loads(line))] == [path.stem]


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=NAMES)
@FEW
@given(data=st.data())
def test_every_valid_event_fits(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(events(kind))
    assert fits(event), list(validator(kind.__name__).iter_errors(json.loads(encode(event))))


@pytest.mark.parametrize(("place", "rule"), CASES)
def test_the_bounds_of_a_number_are_published(place: str, rule: str) -> None:
    for number in BAD_NUMBERS[rule]:
        value = as_kind_of(place, number)
        assert value is None or not fits(changed(place, value)[0])
    for number in GOOD_NUMBERS[rule]:
        value = as_kind_of(place, number)
        assert value is None or fits(changed(place, value)[0])


@pytest.mark.parametrize("place", fields_of(Decimal))
def test_a_decimal_is_a_string_in_plain_writing(place: str) -> None:
    for text in ("NaN", "Infinity", "1E+2", "1e-7", " 1", "1_0", "+1", ".5", "01", "1.", "", "-"):
        event = json.loads(encode(changed(place, Decimal(1))[0]))
        holder, field = written_at(event, place)
        holder[field] = text
        assert not validator(event["type"]).is_valid(event), text
        holder[field] = 1.5
        assert not validator(event["type"]).is_valid(event)
        for good in ("1", "0.50", "0.00000012", "1.2E-7", "1" * 12):
            holder[field] = good
            assert validator(event["type"]).is_valid(event), good


def written_at(event: dict[str, Any], place: str) -> tuple[dict[str, Any], str]:
    """The map of a written event that holds the field: the event, or the clamp inside it."""
    name, field = place.split(".")
    return (event["clamps"][0] if name == "Clamp" else event), field


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=NAMES)
def test_what_is_no_such_event_does_not_fit(kind: type[Event]) -> None:
    schema = validator(kind.__name__)
    for field in msgspec.structs.fields(kind):
        without = {name: value for name, value in record_of(kind).items() if name != field.name}
        assert schema.is_valid(without) != field.required
        assert not schema.is_valid({**record_of(kind), field.name: [{}]})
    assert not schema.is_valid({name: value for name, value in record_of(kind).items() if name != "type"})
    assert not schema.is_valid({**record_of(kind), "unheard_of": 1})
    assert not schema.is_valid({**record_of(kind), "type": "Other"})
    assert not schema.is_valid({**record_of(kind), "v": 2})
    assert not schema.is_valid({**record_of(kind), "id": "a\x1bb"})
    assert not schema.is_valid({**record_of(kind), "id": "x" * 513})


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=NAMES)
def test_times_defaults_and_requirements_are_stated(kind: type[Event]) -> None:
    schema = published(kind.__name__)
    required = {"type"}
    for field in msgspec.structs.fields(kind):
        stated = schema["properties"][field.name]
        if field.name.endswith("_at"):
            assert stated["type"] == "integer"
            assert "ns since 1970-01-01, UTC" in stated["description"]
        if field.required:
            required.add(field.name)
            assert "default" not in stated
        else:
            assert stated["default"] == json.loads(msgspec.json.encode(field.default))
    assert set(schema["required"]) == required
    assert set(schema["properties"]) == {"type", *(field.name for field in msgspec.structs.fields(kind))}


def test_the_reference_page_lists_every_topic_with_its_events_and_every_field() -> None:
    page = (DOCS / "events.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for topic in TOPICS:
        row = next(row for row in rows if row.startswith(f"| `{topic.name}` |"))
        links = [f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in topic.events]
        assert row.split(" | ")[1] == ", ".join(links)
        for kind in topic.events:
            section = page.partition(f"\n### {kind.__name__}\n")[2].partition("\n### ")[0]
            own = [field for field in kind.__struct_fields__ if field not in Event.__struct_fields__]
            assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")][: len(own)] == own
            assert page.count(f"\n### {kind.__name__}\n") == 1
