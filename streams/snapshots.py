"""Saving states: never waited for, and never what stops a book.

A state that cannot be saved is logged and counted. Recovery then starts from an older one, and takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger

import msgspec
from confluent_kafka import KafkaException, Producer

from schemas.codec import decode_own, encode
from schemas.operations import StateSaved
from streams import metrics
from streams.kafka import Kafka, partition_of
from streams.wire import OFFSET, SNAPSHOTS, headers_of, key_of

GIVE_UP_MS = 20_000
log = getLogger("quorum.snapshots")


def state_of(value: bytes) -> StateSaved | None:
    """Read a state's record, whatever its size; None where it is damaged. Its own hash guards the state itself."""
    try:
        saved = decode_own(value)
    except msgspec.MsgspecError:
        return None
    return saved if isinstance(saved, StateSaved) else None


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


def _reporter(saved: StateSaved) -> Callable[[object, object], None]:
    """Report a delivery that failed. It keeps the state's name alone: the bytes may be many."""
    book = saved.book
    facts = {"book": book, "seq": saved.seq, "bytes": len(saved.state)}

    def report(error: object, _message: object) -> None:
        if error is not None:
            metrics.unsaved(book)
            log.error("state not saved", extra={**facts, "error": str(error)})

    return report
