"""An operator's command: sent to `control`, and followed until the journal has it or refuses it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from confluent_kafka import Consumer, TopicPartition

from schemas.base import Event
from schemas.checks import check
from schemas.codec import decode
from schemas.errors import KafkaError
from schemas.operations import RecordRefused
from streams.kafka import Kafka, partition_of
from streams.lag import bounds_of
from streams.publisher import Publisher
from streams.wire import DEAD_LETTERS, JOURNAL, unpack

POLL_S = 0.2


class Sequenced(msgspec.Struct, frozen=True):
    """What became of a command: its journal entry, or the reason for its refusal; neither where nobody took it yet."""

    seq: int = 0
    refused: str = ""


def command(kafka: Kafka, event: Event, wait_s: float) -> Sequenced:
    """Send a command for the book `event.key` and wait for it up to `wait_s`.

    Once sent it stays: a sequencer that starts later takes it. Raises RefusedError for a command that cannot be,
    KafkaError where the cluster does not take it.
    """
    check(event, event.observed_at)
    partition = partition_of(event.key)
    bounds = bounds_of(kafka, [(JOURNAL, partition), (DEAD_LETTERS, 0)])
    publisher = Publisher(kafka)
    publisher.send(event)
    publisher.confirm()
    starts = [TopicPartition(kafka.name(topic), n, high) for (topic, n), (_, high) in bounds.items()]
    for topic, value in _records(kafka, starts, wait_s):
        found = _in_journal(value, event.id) if topic == kafka.name(JOURNAL) else _refusal(value, event.id)
        if found is not None:
            return found
    return Sequenced()


def _records(kafka: Kafka, starts: list[TopicPartition], seconds: float) -> Iterator[tuple[str, bytes]]:
    """Give topic and value of what comes from these offsets on, until the time is up."""
    until = time.monotonic() + seconds
    consumer = Consumer(kafka.consumer("operator") | {"auto.offset.reset": "earliest"})
    try:
        consumer.assign(starts)
        while time.monotonic() < until:
            for message in consumer.consume(1_000, POLL_S):
                error = message.error()
                if error is not None:
                    raise KafkaError(f"Kafka at {kafka.bootstrap}: {error.str()}")
                yield message.topic() or "", message.value() or b""
    finally:
        consumer.close()


class _Entry(msgspec.Struct):
    id: str
    seq: int


def _in_journal(frame: bytes, event_id: str) -> Sequenced | None:
    for line in unpack(frame):
        entry = msgspec.json.decode(line, type=_Entry)
        if entry.id == event_id:
            return Sequenced(seq=entry.seq)
    return None


def _refusal(value: bytes, event_id: str) -> Sequenced | None:
    """A dead letter's key is the id of the event that it refuses."""
    letter = decode(value)
    if isinstance(letter, RecordRefused) and letter.key == event_id[:100]:
        return Sequenced(refused=letter.reason)
    return None
