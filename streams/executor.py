"""The paper executor: answers the orders of one journal partition with fills, each exactly once.

What was produced is on topic `fills` itself, and nowhere else: a new executor shuts out the old one by its
transactional id, restores the newest states, reads the fills produced since, and folds on without giving those again.
So there is no position to keep in step with the output. An answer whose time lies ahead is held back until then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Any, cast

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from agents.agent import NEVER
from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.codec import decode_own, encode
from schemas.operations import JournalProcessed
from streams import metrics
from streams.kafka import Kafka, partition_of
from streams.paper import Offsets, Order, PaperBook, snapshot_key
from streams.reading import read_back
from streams.snapshots import Snapshots, restore
from streams.wire import FILLS, JOURNAL, ORDERS, PROGRESS, headers_of, key_of, unpack

SNAPSHOT_EVERY_S = 30.0
MAX_TURN = 500
"""Records taken before what follows is produced."""
LONGEST_WAIT_S = 0.2
TIMEOUT_S = 30.0
log = getLogger("quorum.executor")


class PaperExecutor:
    """The one writer of paper fills for the books of a partition."""

    def __init__(
        self,
        kafka: Kafka,
        partition: int,
        books: Sequence[Book],
        *,
        snapshot_every_s: float = SNAPSHOT_EVERY_S,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Books of other partitions are left aside. `clock`, in ns, says when an answer's time has come."""
        self._kafka, self._partition, self._clock = kafka, partition, clock
        self._snapshot_every_s = snapshot_every_s
        self._books = {book.name: PaperBook(book) for book in books if partition_of(book.name) == partition}
        self._topics = {kafka.name(topic): topic for topic in (JOURNAL, ORDERS, PROGRESS)}
        self._read: dict[str, int] = {}
        self._fills_end = 0
        """Offset behind the last fill that was read at the start or written since."""
        self._snapshots = Snapshots(kafka)
        self.fills = 0
        """Answers produced since the start."""

    @property
    def books(self) -> dict[str, PaperBook]:
        """The accounts by book."""
        return self._books

    def run(self, stopping: threading.Event) -> None:
        """Execute until `stopping` is set. Raises KafkaException where the cluster fails or another has taken over."""
        self._producer = Producer(
            self._kafka.producer(
                transactional_id=self._kafka.name(f"executor-{self._partition}"), transaction_timeout_ms=20_000
            )
        )
        self._producer.init_transactions(TIMEOUT_S)
        self._recover()
        self._next_snapshot = time.monotonic() + self._snapshot_every_s
        self._consumer = Consumer(self._kafka.consumer("executor-inputs"))
        try:
            self._assign()
            while not stopping.is_set():
                self._turn()
            self._save()
            self._snapshots.finish()
        finally:
            self._consumer.close()

    # Where to go on

    def _recover(self) -> None:
        """Restore every book's newest state, and take note of the fills produced since it was saved."""
        restore(self._kafka, self._partition, {snapshot_key(name): book for name, book in self._books.items()})
        self._fills_end = start = min((book.offsets.fills for book in self._books.values()), default=0)
        produced: dict[str, set[str]] = {name: set() for name in self._books}
        for message in read_back(self._kafka, FILLS, self._partition, start):
            self._fills_end = cast("int", message.offset()) + 1
            headers: dict[str, Any] = dict(message.headers() or ())
            name = headers.get("book", b"").decode()
            if name in produced and cast("int", message.offset()) >= self._books[name].offsets.fills:
                produced[name].add(headers["id"].decode())
        for name, book in self._books.items():
            book.forget(produced[name])
            log.info("goes on", extra={"book": name, "seq": book.seq, "produced_since": len(produced[name])})
        self._read = {
            topic: min((getattr(book.offsets, topic) for book in self._books.values()), default=0)
            for topic in self._topics.values()
        }

    def _assign(self) -> None:
        places = [
            TopicPartition(self._kafka.name(topic), self._partition, offset) for topic, offset in self._read.items()
        ]
        self._consumer.assign(places)

    # One turn

    def _turn(self) -> None:
        """Take what is there, fold, and produce the answers whose time has come."""
        due = min((book.due for book in self._books.values()), default=NEVER)
        first = self._consumer.poll(min(max((due - self._clock()) / NS_PER_S, 0.0), LONGEST_WAIT_S))
        for message in [] if first is None else [first, *self._consumer.consume(MAX_TURN - 1, 0)]:
            self._take(message)
        for book in self._books.values():
            book.advance()
        self._release()
        self._reread()
        if time.monotonic() >= self._next_snapshot:
            self._save()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        topic, offset = self._topics[cast("str", message.topic())], cast("int", message.offset())
        value = message.value()
        self._read[topic] = offset + 1
        if value is None:
            return  # a compacted topic's word that a key is no more
        for line in unpack(value) if topic == JOURNAL else [value]:
            event = decode_own(line)
            book = self._books.get(event.book)
            if book is None:
                continue
            if topic == JOURNAL:
                book.entry(offset, event)
            elif topic == ORDERS:
                book.order(offset, cast("Order", event))
            else:
                book.progress(cast("JournalProcessed", event))

    def _release(self) -> None:
        now = self._clock()
        ready = [answer for book in self._books.values() for answer in book.release(now)]
        if ready:
            self._write(FILLS, ready)
            self.fills += len(ready)
            metrics.executed(ready)

    def _reread(self) -> None:
        """Go back to the journal records that were left aside, once there is room for them."""
        starved = [book for book in self._books.values() if book.starved]
        if not starved:
            return
        back = min(cast("int", book.reread_from) for book in starved)
        for book in starved:
            book.reread_from = None
        self._read[JOURNAL] = back
        self._consumer.seek(TopicPartition(self._kafka.name(JOURNAL), self._partition, back))

    def _save(self) -> None:
        """Save every book's state; one that is refused is told, and an older one serves.

        No transaction shuts out a writer that was taken for dead, so its state may come after its successor's. It may,
        for whatever state is restored, its offsets are its own: from them on lie all records that it has not taken,
        and all fills that it has not given. The latter hold as `fills` is how far this executor has read them and
        then written them itself. Up to there nobody else writes; where another has taken over, what that one wrote
        lies behind. The topic's present end would not do: between it and the state the other's fills might lie,
        and they would be given twice.
        """
        read = Offsets(self._read[JOURNAL], self._read[ORDERS], self._read[PROGRESS], self._fills_end)
        for book in self._books.values():
            if book.seq:
                self._snapshots.save(book.saved(read), book.reads_on(read).journal)
        self._snapshots.poll()
        self._next_snapshot = time.monotonic() + self._snapshot_every_s

    def _write(self, topic: str, events: Sequence[Event]) -> None:
        """Write events in one transaction, which fails where another executor has taken over."""
        producer = self._producer
        producer.begin_transaction()
        for event in events:
            producer.produce(
                self._kafka.name(topic),
                partition=self._partition,
                key=key_of(event),
                value=encode(event),
                headers=headers_of(event),
                on_delivery=self._on_fill if topic == FILLS else None,
            )
        producer.commit_transaction(TIMEOUT_S)

    def _on_fill(self, error: object, message: Message) -> None:
        if error is None:
            self._fills_end = max(self._fills_end, cast("int", message.offset()) + 1)
