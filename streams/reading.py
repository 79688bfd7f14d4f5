"""Reading back what is on a topic: a range of offsets, the newest records."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar, cast

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as Code

from schemas.base import Event
from schemas.codec import decode_own
from schemas.errors import KafkaError
from streams.kafka import Kafka

TIMEOUT_S = 30.0
RETRY_S = 0.1
LEADERLESS = (Code.NOT_LEADER_FOR_PARTITION, Code.LEADER_NOT_AVAILABLE, Code.UNKNOWN_TOPIC_OR_PART)
E = TypeVar("E", bound=Event)
FIRST_LOOK = 64
"""Offsets looked at first for the newest record; each further look goes eight times as far back, up to MOST_LOOK."""
MOST_LOOK = 4096
"""Of so many records at once the largest blocks are held in memory."""


def read_back(kafka: Kafka, topic: str, partition: int, start: int, end: int | None = None) -> Iterator[Message]:
    """Give the committed records of [start, end), or to the present end. Raises KafkaError if they do not come."""
    consumer = Consumer(kafka.consumer("reader", enable_partition_eof=True) | {"auto.offset.reset": "earliest"})
    try:
        consumer.assign([TopicPartition(kafka.name(topic), partition, start)])
        while end is None or start < end:
            message = consumer.poll(TIMEOUT_S)
            if message is None:
                raise KafkaError(f"{kafka.name(topic)}/{partition}: nothing came in {TIMEOUT_S:g} s; is the broker up?")
            error = message.error()
            if error is not None:
                if error.code() == Code._PARTITION_EOF:  # noqa: SLF001 - the binding's own name for it
                    return
                raise KafkaException(error)
            start = cast("int", message.offset()) + 1
            if end is None or start <= end:
                yield message
    finally:
        consumer.close()


def read_own(value: bytes | None, kind: type[E]) -> E | None:
    """Read an event of ours, whatever its size; None where it is damaged or of another kind."""
    try:
        event = decode_own(value or b"")
    except msgspec.MsgspecError:
        return None
    return event if isinstance(event, kind) else None


def bounds(kafka: Kafka, topic: str, partition: int) -> tuple[int, int]:
    """Give the first offset that is kept, and the next one to be written."""
    consumer = Consumer(kafka.consumer("reader"))
    end = time.monotonic() + TIMEOUT_S
    try:
        while True:
            try:
                return consumer.get_watermark_offsets(TopicPartition(kafka.name(topic), partition), TIMEOUT_S)
            except KafkaException as error:  # a topic that was made just now has no leader yet
                if error.args[0].code() not in LEADERLESS or time.monotonic() > end:
                    raise
            time.sleep(RETRY_S)
    finally:
        consumer.close()


def newest_first(kafka: Kafka, topic: str, partition: int, end: int | None = None) -> Iterator[list[Message]]:
    """Give the committed records before `end` in blocks, from the newest block back; within one, in order."""
    low, high = bounds(kafka, topic, partition)
    high = high if end is None else min(high, end)
    look = FIRST_LOOK
    while high > low:
        start = max(low, high - look)
        yield list(read_back(kafka, topic, partition, start, high))
        high, look = start, min(look * 8, MOST_LOOK)
