"""Saving states: never waited for, and never what stops a book.

A state that cannot be saved is logged and counted. Recovery then starts from an older one, and takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Protocol

from confluent_kafka import KafkaException, Producer

from schemas.codec import encode
from schemas.operations import StateSaved
from streams import metrics
from streams.kafka import Kafka, partition_of
from streams.reading import newest_first, read_own
from streams.wire import OFFSET, SNAPSHOTS, headers_of, key_of

GIVE_UP_MS = 20_000
FINISH_S = 5.0
log = getLogger("quorum.snapshots")


class Restorable(Protocol):
    """What goes on from a state."""

    def restores(self, saved: StateSaved) -> bool:
        """Take it; False, and nothing is changed, where it is damaged."""


def restore(kafka: Kafka, partition: int, books: Mapping[str, Restorable], before: int | None = None) -> dict[str, int]:
    """Give each of `books`, by key, its newest whole state, of those from which the journal is read on by `before`.

    Returns the journal offset from which each reads on, 0 where no state was found; the topic is read once for all.
    """
    starts = dict.fromkeys(books, 0)
    wanted = {key.encode(): key for key in books}
    for block in newest_first(kafka, SNAPSHOTS, partition) if wanted else ():
        for message in reversed(block):
            key = wanted.get(message.key() or b"")
            at = int(dict(message.headers() or ()).get(OFFSET) or -1)
            if key is None or (before is not None and not 0 <= at <= before):
                continue
            saved = read_own(message.value(), StateSaved)
            if saved is not None and books[key].restores(saved):
                starts[key] = max(0, at)
                del wanted[key.encode()]
            else:
                log.error("snapshot skipped: it is damaged or of another book", extra={"key": key})
        if not wanted:
            break
    return starts


class Snapshots:
    """Sends states to their topic by a producer of its own, so that no output stands behind one."""

    def __init__(self, kafka: Kafka) -> None:
        """Prepare; the connection is made with the first state."""
        self._kafka = kafka
        self._producer = Producer(kafka.producer(message_timeout_ms=GIVE_UP_MS, compression_type="lz4"))

    def save(self, saved: StateSaved, offset: int) -> None:
        """Send a state, from which the journal is read on at `offset`. What becomes of it shows at a later `poll`."""
        report = _reporter(saved)
        try:
            self._producer.produce(
                self._kafka.name(SNAPSHOTS),
                partition=partition_of(saved.book),
                key=key_of(saved),
                value=encode(saved),
                headers=[*headers_of(saved), (OFFSET, b"%d" % offset)],
                on_delivery=report,
            )
        except (BufferError, KafkaException) as error:
            report(error, None)

    def poll(self) -> None:
        """Report what could not be saved."""
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait for what is under way, a little: what comes to nothing is reported as before."""
        if left := self._producer.flush(FINISH_S):
            log.warning("states were still being saved at the end", extra={"states": left})


def _reporter(saved: StateSaved) -> Callable[[object, object], None]:
    """Report a delivery that failed. It keeps the state's name alone: the bytes may be many."""
    book = saved.book
    facts = {"book": book, "key": saved.key, "seq": saved.seq, "bytes": len(saved.state)}

    def report(error: object, _message: object) -> None:
        if error is not None:
            metrics.unsaved(book)
            log.error("state not saved", extra={**facts, "error": str(error)})

    return report
