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

from schemas.base import Event
from schemas.topics import PARTITIONS, TOPIC_OF, TOPICS

Headers = list[tuple[str, str | bytes | None]]
JOURNAL = "journal"
REQUESTS = "verdict-requests"
ORDERS = "orders"
FILLS = "fills"
PROGRESS = "progress"
SNAPSHOTS = "snapshots"
DEAD_LETTERS = "dead-letters"
OFFSET = "journal_offset"
"""Header of a snapshot: the next offset of the journal partition."""
KEYED_BY_BOOK = frozenset(topic.name for topic in TOPICS if topic.key == "book" and not topic.compacted)
"""Topics whose records have the book as their key. Compacted ones keep the newest of each part of a book instead."""
BY_BOOK = frozenset(topic.name for topic in TOPICS if not topic.is_input and topic.partitions == PARTITIONS)
"""Topics in which a book has one partition, whatever their key: so its events keep their order."""


class Position(msgspec.Struct, frozen=True):
    """How far a journal partition has come."""

    seqs: dict[str, int] = {}
    """Book to the last position in its journal."""
    offsets: dict[str, dict[str, int]] = {}
    """Input topic and partition to the next offset to take."""


def key_of(event: Event) -> bytes:
    """Give a record's key."""
    return (event.book if TOPIC_OF[type(event)] in KEYED_BY_BOOK and event.book else event.key).encode()


def headers_of(event: Event) -> Headers:
    """Give the envelope once more, so that a consumer can route without parsing."""
    headers: Headers = [
        ("type", type(event).__name__.encode()),
        ("id", event.id.encode()),
        ("observed_at", b"%d" % event.observed_at),
    ]
    if event.book:
        headers += [("book", event.book.encode()), ("seq", b"%d" % event.seq)]
    if event.cause:
        headers.append(("cause", event.cause.encode()))
    return headers


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
