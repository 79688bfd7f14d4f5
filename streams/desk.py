"""The desk: from journal records to decisions, for the books of the partitions that this worker was given.

Recovery needs no hook: a book's position says whether a record follows. If it does not (the worker is new, or the
partition was elsewhere in between), the newest snapshot before the record is loaded and the journal in between is
folded on; what follows from it is sent once more, with the same ids, unless it is known to have arrived. So every
output is sent at least once, and whoever reads it drops the ids that it has seen.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import islice
from logging import getLogger
from typing import cast

from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.codec import decode_own
from schemas.operations import JournalProcessed
from streams.bookhost import BookHost
from streams.kafka import Kafka, partition_of
from streams.metrics import DeskMeter
from streams.publisher import Publisher
from streams.reading import newest_first, read_back, read_own
from streams.snapshots import Snapshots, restore
from streams.wire import JOURNAL, PROGRESS, unpack

SNAPSHOT_EVERY_NS = 30 * NS_PER_S
LOOKS = 4
"""Blocks of the newest progress, some 37,000 offsets, that are searched for a book's."""
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

    def _feed(self, entries: dict[str, list[Event]], silent: Container[str] = ()) -> None:
        """Feed the books; what follows is sent, but not of the `silent` ones."""
        for name, mine in entries.items():
            host = self._hosts.get(name)
            if host is None:
                continue
            before = host.seq
            said = host.feed(mine)
            for event in said if name not in silent else ():
                self._publisher.send(event)
            self._meter.took(name, host.seq, host.now, said)
            if host.failure is not None and before < mine[-1].seq:
                log.critical("book stopped", extra={"book": name, "seq": host.seq, "error": host.failure.error})

    def _catch_up(self, offset: int) -> None:
        """Bring every book to `offset`, or to where a desk has been already, and send what was not sent before.

        A desk tells a book's progress once all that followed from its entries has arrived. So where the newest
        progress on the topic is, word by word, what this desk would tell at that entry, the events up to there are on
        their topics, as far as the brokers keep what they take: the progress names the hash over all their ids. Whose
        progress it is does not matter, nor from which state that desk had come. Where it differs (the code or the
        book was changed since, or that desk was of a version that told no hash), the book is folded once more and all
        of it is sent.
        """
        told = _newest_progress(self._kafka, self._partition, self._books)
        while (differs := self._fold(offset, told)) is not None:
            log.warning("what was sent before is sent again", extra={"book": differs, "seq": told[differs].seq})
            del told[differs]
        self._meter.caught_up(self._hosts.values())
        self._next_snapshot = time.monotonic_ns() + SNAPSHOT_EVERY_NS

    def _fold(self, offset: int, told: Mapping[str, JournalProcessed]) -> str | None:
        """Load the books' newest snapshots before `offset` and fold the journal on, sending what was not `told`.

        Gives the name of a book whose events differ from those that were told, of which nothing was sent then.
        """
        self._hosts = {name: BookHost(book) for name, book in self._books.items()}
        start = min(restore(self._kafka, self._partition, self._hosts, offset).values(), default=offset)
        silent = {name for name, host in self._hosts.items() if name in told and host.seq < told[name].seq}
        records = 0
        for message in read_back(self._kafka, JOURNAL, self._partition, start):
            if cast("int", message.offset()) >= offset and not silent:
                break
            self._feed(_by_book(message.value() or b""), silent)
            records += 1
            for name in [name for name in silent if self._hosts[name].seq >= told[name].seq]:
                if self._hosts[name].processed() != told[name]:
                    return name
                silent.remove(name)
        if silent:  # what was told is of entries that this journal does not hold
            return min(silent)
        if records:
            self._publisher.confirm()
            log.info("caught up", extra={"partition": self._partition, "records": records, "offset": offset})
        return None

    def _save(self) -> None:
        """Save every book's state with the position that it reflects; a book that has stopped keeps its last one."""
        for host in self._hosts.values():
            if host.failure is None and host.seq:
                self._snapshots.save(host.saved(), self._offset or 0)
        self._next_snapshot = time.monotonic_ns() + SNAPSHOT_EVERY_NS


def _newest_progress(kafka: Kafka, partition: int, books: Iterable[str]) -> dict[str, JournalProcessed]:
    """Give the newest progress that a desk has told of each book; one that told none for long is left out."""
    wanted = set(books)
    told: dict[str, JournalProcessed] = {}
    for block in islice(newest_first(kafka, PROGRESS, partition), LOOKS):
        for message in reversed(block):
            progress = read_own(message.value(), JournalProcessed)
            if progress is not None and progress.key in wanted:  # a desk's: other parts have keys of their own
                told[progress.key] = progress
                wanted.remove(progress.key)
        if not wanted:
            break
    return told


def _by_book(value: bytes) -> dict[str, list[Event]]:
    """Read the entries of a journal record."""
    entries: dict[str, list[Event]] = {}
    for line in unpack(value):
        entry = decode_own(line)
        entries.setdefault(entry.book, []).append(entry)
    return entries
