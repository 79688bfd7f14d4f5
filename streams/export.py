"""A book's log, brought from its topics into the folder of a run, where an audit can prove it.

The journal stands on its topic once, in order. Derived events may stand there more than once, as a desk that was
killed sends the last ones again with the same ids: the first of each id counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from agents.pipeline import MARKET_EVENTS
from replay.log import DERIVED_TOPICS, FileLog
from schemas.base import Event
from schemas.book import Book
from schemas.codec import decode_own, encode
from schemas.errors import DivergedError, KafkaError
from schemas.operations import JournalProcessed
from schemas.topics import TOPICS
from streams.kafka import Kafka, partition_of
from streams.reading import read_back
from streams.wire import BY_BOOK, JOURNAL, PROGRESS, unpack

PARTITIONS_OF = {topic.name: topic.partitions for topic in TOPICS}


class Exported(msgspec.Struct, frozen=True):
    """What was written."""

    journal_entries: int
    derived_events: int
    doubles: int
    """Events that stood there again."""
    log_sha256: str


def export(kafka: Kafka, book: Book, out: Path, *, market_data: bool = True) -> Exported:
    """Write `book.json` and `log/` of what a book's desk has processed by now.

    Without `market_data` the journal is written as a local replay leaves it, whose archive holds the rest.
    Raises KafkaError where the desk has processed nothing yet, DivergedError where the journal has a gap.
    """
    last = _processed(kafka, book)
    out.mkdir(parents=True, exist_ok=True)
    (out / "book.json").write_bytes(msgspec.json.format(encode(book), indent=2) + b"\n")
    log = FileLog(out)
    seq = derived = doubles = 0
    for entry in _journal(kafka, book, last):
        if entry.seq != seq + 1:
            raise DivergedError(f"{kafka.name(JOURNAL)}: journal entry {entry.seq} of {book.name} follows {seq}")
        seq = entry.seq
        if market_data or type(entry) not in MARKET_EVENTS:
            log.journal(entry)
    for topic in DERIVED_TOPICS:
        seen: set[str] = set()
        for event in _derived(kafka, book, topic, last):
            if event.id in seen:
                doubles += 1
                continue
            seen.add(event.id)
            log.derived(event)
            derived += 1
    return Exported(seq, derived, doubles, log.close())


def _processed(kafka: Kafka, book: Book) -> int:
    """Give how far the book's desk has come; one that was started anew tells older positions again."""
    told = [
        progress.seq
        for message in read_back(kafka, PROGRESS, partition_of(book.name), 0)
        if message.key() == book.name.encode()
        and isinstance(progress := decode_own(message.value() or b""), JournalProcessed)
    ]
    if told:
        return max(told)
    raise KafkaError(f"book {book.name}: no desk has processed anything of it on {kafka.bootstrap}; is one running?")


def _journal(kafka: Kafka, book: Book, last: int) -> Iterator[Event]:
    """Give the book's entries up to `last`."""
    for message in read_back(kafka, JOURNAL, partition_of(book.name), 0):
        for line in unpack(message.value() or b""):
            entry = decode_own(line)
            if entry.book == book.name:
                if entry.seq > last:
                    return
                yield entry


def _derived(kafka: Kafka, book: Book, topic: str, last: int) -> Iterator[Event]:
    partitions = [partition_of(book.name)] if topic in BY_BOOK else range(PARTITIONS_OF[topic])
    for partition in partitions:
        for message in read_back(kafka, topic, partition, 0):
            event = decode_own(message.value() or b"")
            if event.book == book.name and event.seq <= last:
                yield event
