"""Sending events to their topics, and knowing when all have arrived."""

from __future__ import annotations

from confluent_kafka import Producer

from schemas.base import Event
from schemas.codec import encode
from schemas.errors import KafkaError
from schemas.topics import TOPIC_OF
from streams.kafka import Kafka, partition_of
from streams.wire import BY_BOOK, headers_of, key_of

CONFIRM_S = 30.0
ANY_PARTITION = -1
"""Chosen by the key."""


class Publisher:
    """One idempotent producer: what it sends arrives in order, once, as long as it lives."""

    def __init__(self, kafka: Kafka) -> None:
        """Prepare; the connection is made with the first event."""
        self._kafka = kafka
        self._producer = Producer(kafka.producer())
        self._failure: object = None
        self.sent = 0

    def send(self, event: Event, *headers: tuple[str, str | bytes | None]) -> None:
        """Send an event; what belongs to a book goes to that book's partition."""
        topic = TOPIC_OF[type(event)]
        partition = partition_of(event.book) if event.book and topic in BY_BOOK else ANY_PARTITION
        self._producer.produce(
            self._kafka.name(topic),
            key=key_of(event),
            value=encode(event),
            headers=[*headers_of(event), *headers],
            partition=partition,
            on_delivery=self._delivered,
        )
        self.sent += 1
        if self.sent % 1000 == 0:
            self._producer.poll(0)

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self._failure = error

    def poll(self, wait_s: float = 0.0) -> None:
        """Take in what the broker has answered. Raises KafkaError where it did not take an event."""
        self._producer.poll(wait_s)
        if self._failure is not None:
            raise KafkaError(f"some events were not taken by the broker: {self._failure}")

    def confirm(self) -> None:
        """Wait until all that was sent has arrived. Raises KafkaError where it does not."""
        left = self._producer.flush(CONFIRM_S)
        if left or self._failure is not None:
            raise KafkaError(f"{left or 'some'} events were not taken by the broker: {self._failure or 'no answer'}")
