"""What was once written is read for ever, and writes the same bytes again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from schemas.base import Event
from schemas.codec import Catalogue, decode, encode
from schemas.errors import RefusedError
from schemas.topics import EVENT_TYPES
from tests.schemas.samples import GOLDEN, HINT, golden_lines

FILES = sorted(GOLDEN.rglob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_event_still_reads_and_encodes_to_the_same_bytes(path: Path) -> None:
    version = int(path.parent.name.removeprefix("v"))
    for line in golden_lines(path):
        event = decode(line)
        assert type(event).__name__ == path.stem
        if event.v == version:
            assert encode(event) == line


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_every_field_of_every_type_stands_in_a_golden_file(kind: type[Event]) -> None:
    lines = [line for path in FILES if path.stem == kind.__name__ for line in golden_lines(path)]
    written = {name for line in lines for name in msgspec.json.decode(line)}
    missing = {field.name for field in msgspec.structs.fields(kind)} - {"v"} - written
    assert not missing, f"add a line that has {missing} to a golden file of {kind.__name__} ({HINT})"


def test_golden_files_are_of_known_types() -> None:
    assert {path.stem for path in FILES} == {kind.__name__ for kind in EVENT_TYPES}


class BarClosed(Event, frozen=True, kw_only=True):
    """The bar as it would be with a field renamed and another lost, which an old log can't bear."""

    open: float
    high: float
    low: float
    last: float
    volume: float


def test_a_renamed_field_would_be_found() -> None:
    line = golden_lines(GOLDEN / "v1" / "BarClosed.jsonl")[0]
    with pytest.raises(RefusedError, match=r"close|interval_ns|last"):
        Catalogue((BarClosed,), {}).decode(line)
