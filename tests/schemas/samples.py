"""The golden events: of every type one with every field set, and one with nothing but what is required."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from schemas.base import Event
from schemas.codec import decode

GOLDEN = Path(__file__).parents[1] / "golden" / "events"
HINT = "write its canonical bytes there: first line every field set, second line only what is required"

E = TypeVar("E", bound=Event)


def golden_lines(path: Path) -> list[bytes]:
    """The canonical bytes of a golden file's events."""
    assert path.is_file(), f"{path} is missing; {HINT}"
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


def full(kind: type[E]) -> E:
    """The golden event with every field set."""
    return _golden(kind, 0)


def sparse(kind: type[E]) -> E:
    """The golden event with nothing but what is required."""
    return _golden(kind, 1)


def _golden(kind: type[E], line: int) -> E:
    event = decode(golden_lines(GOLDEN / "v1" / f"{kind.__name__}.jsonl")[line])
    assert type(event) is kind
    return event
