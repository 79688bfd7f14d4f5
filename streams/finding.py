"""Events looked up on Kafka: a topic is read from its newest record back, for as long as a time or a number allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from replay.finding import Marks, Span
from schemas.base import NS_PER_MIN, Event
from schemas.topics import TOPIC_OF, TOPICS
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.reading import newest_first, read_own

E = TypeVar("E", bound=Event)
MOST_RECORDS = 500_000
"""Of a partition that are read back; what is older is looked for in the lake."""
SLACK_NS = 10 * NS_PER_MIN
"""Records of a partition stand in the order of their times but for so much."""
_PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}


class OfKafka:
    """The topics of a cluster."""

    where = "the cluster"

    def __init__(self, kafka: Kafka) -> None:
        """Raises KafkaError, in a sentence, where the cluster does not answer."""
        self._kafka = kafka
        bounds_of(kafka, [("verdicts", 0)])

    def find(self, marks: Marks, span: Span | None, *types: type[E]) -> Iterator[E]:
        """Give the events of these types that hold one of the marks, by partition, the newest first."""
        topic = TOPIC_OF[types[0]]
        for partition in range(_PARTITIONS[topic]):
            yield from self._of_partition(topic, partition, marks, span, types)

    def _of_partition(
        self, topic: str, partition: int, marks: Marks, span: Span | None, types: tuple[type[E], ...]
    ) -> Iterator[E]:
        read = 0
        for block in newest_first(self._kafka, topic, partition):
            read += len(block)
            oldest = 0
            for message in reversed(block):
                value = message.value() or b""
                oldest = message.timestamp()[1] * 1_000_000
                if any(mark in value for mark in marks):
                    event = read_own(value, Event)
                    if isinstance(event, types):
                        yield event
            if read >= MOST_RECORDS or (span is not None and block and oldest < span.lo - SLACK_NS):
                return
