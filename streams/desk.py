"""The desk: from journal records to decisions, for the books of the partitions that this worker was given.

Recovery needs no hook: a book's position says whether a record follows. If it does not (the worker is new, or the
partition was elsewhere in between), the newest snapshot before the record is loaded and the journal in between is
folded on; what follows from it is sent once more, with the same ids. So every output is sent at least once, and
whoever reads it drops the ids that it has seen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from logging import getLogger

from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.codec import decode_own
from streams.bookhost import BookHost
from streams.kafka import Kafka, partition_of
from streams.metrics import DeskMeter
from streams.publisher import Publisher
from streams.reading import newest_first, read_back
from streams.snapshots import Snapshots, state_of
from streams.wire import JOURNAL, OFFSET, SNAPSHOTS, unpack

SNAPSHOT_EVERY_NS = 30 * NS_PER_S
log = getLogger("quorum.desk")


class DeskPartition:
    """The books of one journal partition on this worker."""

    def __init__(self, kafka: Kafka, partition: int, books: Sequence[Book], publisher: Publisher) -> None:
        """Start with nothing; the first record says from where to go on."""
        self._kafka, self._partition, self._publisher = kafka, partition, publisher
        self._books = {book.name: book for book in books if partition_of(book.name) == partition}
        self._hosts: dict[str, BookHost] = {}
        self._offset: int | None = None
        """The next offset that the state asks for; None before the first record."""
        self._snapshots = Snapshots(kafka)
        self._next_snapshot = 0
        self._meter = DeskMeter(partition)

    @property
    def offset(self) -> int | None:
        """The next offset to take; None before the first record has come."""
        return self._offset

    @property
    def hosts(self) -> dict[str, BookHost]:
        """The books by name, once the first record has come."""
        return self._hosts

    def take(self, offset: int, value: bytes) -> None:
        """Take one journal record; all that follows from it has arrived on its topics when this returns.

        Raises KafkaError where it could not be sent, with the state unusable: the worker must end.
        """
        entries = _by_book(value)
        if self._offset is None or self._is_missing(entries):
            self._catch_up(offset)
        before = {name: host.seq for name, host in self._hosts.items()}
        self._feed(entries)
        self._offset = offset + 1
        self._publisher.confirm()
        for name, host in self._hosts.items():
            if host.seq > before[name]:
                self._publisher.send(host.processed())
        self._meter.sent(time.time_ns())
        self._snapshots.poll()
        if time.monotonic_ns() >= self._next_snapshot:
            self._save()

    def _is_missing(self, entries: dict[str, list[Event]]) -> bool:
        """Tell whether entries lie between a book's state and this record: the partition was elsewhere meanwhile.

        Offsets cannot tell, as the marks of transactions take some; positions have no gaps.
        """
        return any(
            mine[0].seq > host.seq + 1 and host.failure is None
            for name, mine in entries.items()
            if (host := self._hosts.get(name)) is not None
        )

    def _feed(self, entries: dict[str, list[Event]]) -> None:
        for name, mine in entries.items():
            host = self._hosts.get(name)
            if host is None:
                continue
            before = host.seq
            said = host.feed(mine)
            for event in said:
                self._publisher.send(event)
            self._meter.took(name, host.seq, host.now, said)
            if host.failure is not None and before < mine[-1].seq:
                log.critical("book stopped", extra={"book": name, "seq": host.seq, "error": host.failure.error})

    def _catch_up(self, offset: int) -> None:
        """Bring every book to `offset`: its newest snapshot, then the journal since the oldest of them."""
        self._hosts = {name: BookHost(book) for name, book in self._books.items()}
        starts = [self._restore(host, offset) for host in self._hosts.values()]
        start = min(starts, default=offset)
        records = 0
        for message in read_back(self._kafka, JOURNAL, self._partition, start, offset):
            self._feed(_by_book(message.value() or b""))
            records += 1
        if records:
            self._publisher.confirm()
            log.info("caught up", extra={"partition": self._partition, "records": records, "offset": offset})
        self._meter.caught_up(self._hosts.values())
        self._next_snapshot = time.monotonic_ns() + SNAPSHOT_EVERY_NS

    def _restore(self, host: BookHost, offset: int) -> int:
        """Load a book's newest snapshot that lies at or before `offset`; give the offset from which to fold on."""
        for block in newest_first(self._kafka, SNAPSHOTS, self._partition):
            for message in reversed(block):
                at = int(dict(message.headers() or ()).get(OFFSET) or -1)
                if message.key() == host.book.name.encode() and 0 <= at <= offset:
                    saved = state_of(message.value() or b"")
                    if saved is not None and host.restores(saved):
                        return at
                    log.error("snapshot skipped: it is damaged or of another book", extra={"book": host.book.name})
        return 0

    def _save(self) -> None:
        """Save every book's state with the position that it reflects; a book that has stopped keeps its last one."""
        for host in self._hosts.values():
            if host.failure is None and host.seq:
                self._snapshots.save(host.saved(), self._offset or 0)
        self._next_snapshot = time.monotonic_ns() + SNAPSHOT_EVERY_NS


def _by_book(value: bytes) -> dict[str, list[Event]]:
    """Read the entries of a journal record."""
    entries: dict[str, list[Event]] = {}
    for line in unpack(value):
        entry = decode_own(line)
        entries.setdefault(entry.book, []).append(entry)
    return entries
