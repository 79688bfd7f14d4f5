"""Records as they stand on Kafka: one canonical event each, but for the journal, whose records are frames of entries.

A journal record's value is canonical lines, one entry a line, in order; the lines of all records of a partition, one
after the other, are its journal. The headers say how far the record comes: `seqs`, of each book the last position,
and `positions`, of each input partition the next offset. So the last record of a partition is all that a sequencer
needs to go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from schemas.topics import PARTITIONS, TOPICS
from schemas.wire import KEYED_BY_BOOK, Headers, headers_of, key_of

__all__ = [
    "BY_BOOK",
    "CALLS",
    "DEAD_LETTERS",
    "FILLS",
    "JOURNAL",
    "KEYED_BY_BOOK",
    "OFFSET",
    "ORDERS",
    "PROGRESS",
    "REQUESTS",
    "SNAPSHOTS",
    "VERDICTS",
    "Headers",
    "Position",
    "frame_headers",
    "headers_of",
    "key_of",
    "pack",
    "position_of",
    "unpack",
]
JOURNAL = "journal"
REQUESTS = "verdict-requests"
VERDICTS = "verdicts"
CALLS = "model-calls"
ORDERS = "orders"
FILLS = "fills"
PROGRESS = "progress"
SNAPSHOTS = "snapshots"
DEAD_LETTERS = "dead-letters"
OFFSET = "journal_offset"
"""Header of a snapshot: the next offset of the journal partition."""
BY_BOOK = frozenset(topic.name for topic in TOPICS if not topic.is_input and topic.partitions == PARTITIONS)
"""Topics in which a book has one partition, whatever their key: so its events keep their order."""


class Position(msgspec.Struct, frozen=True):
    """How far a journal partition has come."""

    seqs: dict[str, int] = {}
    """Book to the last position in its journal."""
    offsets: dict[str, dict[str, int]] = {}
    """Input topic and partition to the next offset to take."""


def frame_headers(position: Position, count: int) -> Headers:
    """Give the headers of a journal record of `count` entries."""
    return [("type", b"frame"), ("count", b"%d" % count), ("position", msgspec.json.encode(position))]


def position_of(headers: Iterable[tuple[str, Any]]) -> Position:
    """Read how far a journal record comes."""
    return msgspec.json.decode(dict(headers)["position"], type=Position)


def pack(lines: Sequence[bytes]) -> bytes:
    """Give the value of a journal record."""
    return b"\n".join(lines)


def unpack(value: bytes) -> list[bytes]:
    """Give the entries of a journal record."""
    return value.split(b"\n") if value else []
