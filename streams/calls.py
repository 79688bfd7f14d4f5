"""The log of the calls to models that one partition's books make: a call is on Kafka before it costs money.

Opening the log of a partition shuts out whoever wrote it before, by the transactional id that both have. So each call
that was ever let through is read back by the next gateway, or is never let through: no two gateways spend the same
money.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from schemas.base import Event
from schemas.codec import encode
from schemas.errors import KafkaError
from schemas.verdicts import ModelCallEnded, ModelCallStarted
from streams.kafka import Kafka
from streams.reading import LEADERLESS, RETRY_S, TIMEOUT_S, bounds, read_back, read_own
from streams.wire import CALLS, headers_of, key_of

ModelCall = ModelCallStarted | ModelCallEnded
WRITER = "writer"
"""Header that names the gateway process that made a call."""
MAX_TURN = 500
"""Events in one transaction."""
CONFIRM_S = 20.0
"""A start that Kafka has not confirmed after so long is not made."""


class _Told:
    """An event on its way, and who waits for it."""

    def __init__(self, event: ModelCall) -> None:
        self.event = event
        self.settled = threading.Event()
        self.trouble = "Kafka has not confirmed the start in time"


class CallLog:
    """Writes for one partition. Any thread may tell; a thread of its own writes, many events in one transaction."""

    def __init__(self, kafka: Kafka, partition: int, writer: str) -> None:
        """Take the log over: from here on no older one writes. Raises KafkaException where the cluster fails."""
        self._kafka, self._partition = kafka, partition
        self._headers = [(WRITER, writer)]
        self._queue: SimpleQueue[_Told | None] = SimpleQueue()
        self.trouble = ""
        """Why nothing can be written any more."""
        self._producer = Producer(
            kafka.producer(transactional_id=kafka.name(f"{CALLS}-{partition}"), transaction_timeout_ms=20_000)
        )
        self._producer.init_transactions(TIMEOUT_S)
        self._thread = threading.Thread(target=self._run, name=f"calls-{partition}", daemon=True)
        self._thread.start()

    def tell(self, event: ModelCall) -> None:
        """Write an event; of a start, wait until it stands there.

        Raises KafkaError where a start may not: then make no call. An end that is not written leaves the call at its
        worst, and its answer as good as it is.
        """
        told = _Told(event)
        self._queue.put(told)
        if isinstance(event, ModelCallStarted):
            if not self.trouble:
                told.settled.wait(CONFIRM_S)
            if told.trouble:
                raise KafkaError(f"no call was made: {self.trouble or told.trouble}")

    def close(self) -> None:
        """Let it end, once what was told is written."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait for that."""
        self._thread.join(CONFIRM_S)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ends = [first], False
            while len(batch) < MAX_TURN and not ends:
                try:
                    following = self._queue.get_nowait()
                except Empty:
                    break
                if following is None:
                    ends = True
                else:
                    batch.append(following)
            trouble = self._write(batch)
            for told in batch:
                told.trouble = trouble
                told.settled.set()
            if trouble:
                self.trouble = trouble
            if trouble or ends:
                break
        self._refuse_the_rest()

    def _write(self, batch: list[_Told]) -> str:
        """Write a transaction; say why it failed, or nothing."""
        try:
            self._producer.begin_transaction()
            for told in batch:
                self._producer.produce(
                    self._kafka.name(CALLS),
                    key=key_of(told.event),
                    value=encode(told.event),
                    headers=[*headers_of(told.event), *self._headers],
                    partition=self._partition,
                )
            self._producer.commit_transaction(TIMEOUT_S)
        except (KafkaException, BufferError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            return f"the log of model calls of partition {self._partition} cannot be written: {reason}"
        return ""

    def _refuse_the_rest(self) -> None:
        self.trouble = self.trouble or "the log of calls is closed"
        while True:
            try:
                left = self._queue.get_nowait()
            except Empty:
                return
            if left is not None:
                left.trouble = self.trouble
                left.settled.set()


class Written(NamedTuple):
    """A record that was read back."""

    place: str
    event: Event | None
    """None where it cannot be read."""
    writer: str


def read_since(kafka: Kafka, topic: str, partition: int, start: int) -> Iterator[Written]:
    """Give the records of a partition from an offset on, to its present end."""
    for message in read_back(kafka, topic, partition, start):
        writer = dict(message.headers() or ()).get(WRITER)
        yield Written(
            f"{topic}/{partition}/{message.offset()}",
            read_own(message.value(), Event),
            writer.decode(errors="replace") if isinstance(writer, bytes) else "",
        )


def offset_at(kafka: Kafka, topic: str, partition: int, since_ms: int) -> int:
    """Give the first offset written at a time or later; the end where there is none."""
    consumer = Consumer(kafka.consumer("reader"))
    until = time.monotonic() + TIMEOUT_S
    try:
        while True:
            try:
                found = consumer.offsets_for_times([TopicPartition(kafka.name(topic), partition, since_ms)], TIMEOUT_S)
            except KafkaException as error:  # a topic that was made just now has no leader yet
                if error.args[0].code() not in LEADERLESS or time.monotonic() > until:
                    raise
                time.sleep(RETRY_S)
            else:
                return found[0].offset if found[0].offset >= 0 else bounds(kafka, topic, partition)[1]
    finally:
        consumer.close()
