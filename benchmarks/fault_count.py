"""How `benchmarks.faults` counts: each book's log against what was told, and against a pure fold of its journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from schemas.base import Event
from schemas.book import Book
from schemas.codec import decode_own
from schemas.execution import OrderFilled
from schemas.topics import TOPICS
from streams.kafka import Kafka, partition_of
from streams.reading import read_back
from streams.wire import BY_BOOK, DEAD_LETTERS, FILLS, JOURNAL, unpack

ANSWERED_AGAIN = frozenset({"verdicts", DEAD_LETTERS})
"""A model that is asked again may answer otherwise; the journal keeps the first. A dead letter tells its own time."""
EXECUTOR = "executor/"
"""Begins the keys of the executor's own states, which tell how far it had read at that moment."""


def journal_of(kafka: Kafka, book: Book) -> list[Event]:
    """Read a book's whole journal."""
    records = read_back(kafka, JOURNAL, partition_of(book.name), 0)
    entries = (decode_own(line) for record in records for line in unpack(record.value() or b""))
    return [entry for entry in entries if entry.book == book.name]


def records_of(kafka: Kafka, book: Book) -> Iterator[tuple[str, Event, bytes]]:
    """Read what every topic holds of a book, but for the journal and what may be said twice."""
    for topic in TOPICS:
        if topic.name == JOURNAL or topic.name in ANSWERED_AGAIN:
            continue
        only = topic.name in BY_BOOK or topic.name == FILLS
        for partition in [partition_of(book.name)] if only else range(topic.partitions):
            for record in read_back(kafka, topic.name, partition, 0):
                value = record.value() or b""
                event = decode_own(value)
                if event.book == book.name and not event.key.startswith(EXECUTOR):
                    yield topic.name, event, value


def differing(records: Sequence[tuple[str, Event, bytes]]) -> list[str]:
    """Name the ids that stand on a topic with two contents."""
    first: dict[tuple[str, str], bytes] = {}
    return [
        f"{topic}: {type(event).__name__} {event.id} stands there with two contents"
        for topic, event, value in records
        if first.setdefault((topic, event.id), value) != value
    ]


def wrong_positions(book: Book, entries: Sequence[Event], records: Sequence[tuple[str, Event, bytes]]) -> list[str]:
    """Add up the journal's fills, and compare quantity and cash with what the desk said last."""
    quantity, cash, last_seq = Decimal(0), book.cash, 0
    for entry in entries:
        if isinstance(entry, OrderFilled):
            change = entry.quantity if entry.side == "buy" else -entry.quantity
            quantity += change
            cash -= change * entry.price + entry.fee
            last_seq = entry.seq
    said = {event.seq: event for topic, event, _ in records if type(event).__name__ == "PositionChanged"}
    if not last_seq:
        return [f"positions without fills: {len(said)}"] if said else []
    last = said.get(last_seq)
    if last is None:
        return [f"the desk said nothing on the fill at journal entry {last_seq}"]
    if (last.quantity, last.cash) != (quantity, cash):  # type: ignore[attr-defined]
        return [f"the desk holds {last.quantity} and {last.cash}, its fills come to {quantity} and {cash}"]  # type: ignore[attr-defined]
    return []
