"""Where an executor is played to: the topics of a namespace of its own, with a stand-in for all but the executor.

It writes what a desk would write to `orders`, and for executors that simulate a market, one that stands still: quotes
on `ticks`, and `journal` and `progress` as sequencer and desk would. It reads `fills` and changes nothing else.
"""

from __future__ import annotations

import secrets
import time
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, cast

import msgspec
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from agents.money import CONTEXT
from schemas.base import Event, derived_id, market_id
from schemas.book import Book
from schemas.codec import encode
from schemas.errors import KafkaError
from schemas.execution import CancelRequested, OrderRequested
from schemas.market import QuoteTicked
from schemas.topics import PARTITIONS, TOPIC_OF
from streams.conformance import Sent, Word, read_word
from streams.intake import Record
from streams.kafka import Kafka, partition_of
from streams.progress import processed
from streams.publisher import CONFIRM_S
from streams.reading import bounds
from streams.wire import FILLS, JOURNAL, ORDERS, PROGRESS, Position, frame_headers, headers_of, key_of, pack

QUOTE_EVERY_S = 0.2
QUOTED = Decimal(5)
"""Times the quantity of an order: the paper executor takes a tenth of a quote, so it fills in two parts."""
_FRESH = (ORDERS, FILLS, JOURNAL)


class Stage:
    """The stand-in for one book, whose first instrument is traded. Use it in a `with`."""

    def __init__(self, kafka: Kafka, book: Book, price: Decimal, quantity: Decimal) -> None:
        """`price` is the market's, `quantity` that of an order.

        Raises KafkaError where the namespace is the live one, or was used before.
        """
        _check_fresh(kafka)
        self.run = secrets.token_hex(8)
        """Names this play: a venue knows the client order ids of the last one."""
        self.sent: list[Sent] = []
        self.words: list[Word] = []
        self._kafka, self._book, self._price, self._size = kafka, book, price, CONTEXT.multiply(quantity, QUOTED)
        self._instrument = book.instruments[0].id
        self._partition = partition_of(book.name)
        self._producer = Producer(kafka.producer())
        self._consumer = Consumer(kafka.consumer("conformance"))
        self._seq = self._count = self._quotes = 0

    def __enter__(self) -> Self:
        """Read `fills` from the beginning."""
        self._consumer.assign([TopicPartition(self._kafka.name(FILLS), n, 0) for n in range(PARTITIONS)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read no more."""
        self._consumer.close()

    def ask(self, scenario: str, kind: type[OrderRequested | CancelRequested], **fields: Any) -> str:  # noqa: ANN401
        """Ask for something new, which follows from the newest journal entry; give its id."""
        now = time.time_ns()
        event = kind(
            id=derived_id(self.run, "order", len(self.sent)),
            key=self._instrument,
            instrument=self._instrument,
            occurred_at=now,
            observed_at=now,
            book=self._book.name,
            seq=self._seq,
            cause=market_id(self._instrument, "quote", self._quotes),
            **fields,
        )
        self.sent.append(Sent(event, scenario, now))
        self._count += 1
        self.deliver(event)
        return event.id

    def deliver(self, event: Event) -> None:
        """Send an order or a cancel, once more perhaps."""
        self._produce(TOPIC_OF[type(event)], event, partition=self._partition)

    def _produce(self, topic: str, event: Event, **where: Any) -> None:  # noqa: ANN401 - the producer's own
        self._producer.produce(
            self._kafka.name(topic), key=key_of(event), value=encode(event), headers=headers_of(event), **where
        )

    def quote(self) -> None:
        """Let the market be seen: as an input, and as the next entry of the journal."""
        self._quotes += 1
        now = time.time_ns()
        price, size = float(self._price), float(self._size)
        quote = QuoteTicked(
            id=market_id(self._instrument, "quote", self._quotes),
            key=self._instrument,
            occurred_at=now,
            observed_at=now,
            bid=price,
            ask=price,
            bid_size=size,
            ask_size=size,
        )
        self._produce("ticks", quote)
        self._seq += 1
        entry = encode(msgspec.structs.replace(quote, book=self._book.name, seq=self._seq))
        self._producer.produce(
            self._kafka.name(JOURNAL),
            partition=self._partition,
            value=pack([entry]),
            headers=frame_headers(Position({self._book.name: self._seq}, {}), 1),
        )

    def report(self) -> None:
        """Say, as a desk does, how far it has come and what it has asked for; all has arrived when this returns."""
        told = derived_id(self.run, PROGRESS, self._seq)
        progress = processed(told, self._book.name, self._seq, time.time_ns(), orders=self._count)
        self._produce(PROGRESS, progress, partition=self._partition)
        if self._producer.flush(CONFIRM_S):
            raise KafkaError(f"Kafka at {self._kafka.bootstrap} takes no orders; is the broker up?")

    def look(self, seconds: float) -> None:
        """Let the market go on, and read what is said meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.quote()
            self.report()
            pause = time.monotonic() + min(left, QUOTE_EVERY_S)
            while (rest := pause - time.monotonic()) > 0:
                message = self._consumer.poll(rest)
                if message is not None:
                    self.words.append(self._read(message))

    def _read(self, message: Message) -> Word:
        if (error := message.error()) is not None:
            raise KafkaError(f"{self._kafka.name('fills')} cannot be read: {error.str()}")
        partition, offset = cast("int", message.partition()), cast("int", message.offset())
        record = Record(FILLS, partition, offset, message.timestamp()[1], message.value())
        return read_word(self._book, record, message.key() or b"", time.time_ns())


def _check_fresh(kafka: Kafka) -> None:
    if not kafka.namespace:
        raise KafkaError(
            "the script of orders is never played on the live topics; set QUORUM_KAFKA_NAMESPACE (conformance., say)"
        )
    for topic in _FRESH:
        if any(bounds(kafka, topic, partition)[1] for partition in range(PARTITIONS)):
            raise KafkaError(f"{kafka.name(topic)} holds records; choose another QUORUM_KAFKA_NAMESPACE")
