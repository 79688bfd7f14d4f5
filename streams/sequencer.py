"""The sequencer: merges the input topics into the journal of its partition, in one transaction a turn.

The journal's newest record says how far each input was taken, so a new sequencer goes on where the last transaction
that was committed ended: no input is lost, none is taken twice. Its transactional ids shut out a sequencer that was
thought dead. What is refused goes to the dead letters in the same transaction.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, cast

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from schemas.base import NS_PER_S, Event, market_id
from schemas.book import Book
from schemas.codec import encode
from schemas.control import ClockTicked
from schemas.operations import RecordRefused
from schemas.topics import TOPICS
from streams.intake import REMEMBERED_IDS, Intake, Record
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.metrics import SequencerMeter
from streams.reading import newest_first
from streams.wire import DEAD_LETTERS, JOURNAL, Position, frame_headers, headers_of, key_of, pack, position_of, unpack

INPUTS = tuple(topic for topic in TOPICS if topic.is_input)
MAX_TURN = 5_000
"""Records taken in one transaction."""
MAX_FRAME_BYTES = 400_000
PRODUCERS = 3
"""Transactional producers that take turns: a commit returns before its marks are written, and until then, for 20 ms as
the client waits, the same producer begins no other transaction."""
TICK_NS = NS_PER_S
TIMEOUT_S = 30.0


class Sequencer:
    """The one writer of a journal partition, for the books whose partition it is."""

    def __init__(
        self,
        kafka: Kafka,
        partition: int,
        books: Sequence[Book],
        everyone: Sequence[Book],
        *,
        start: Literal["earliest", "latest"] = "latest",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`everyone` are all books that are known; `start` is where a journal that is empty begins to take inputs."""
        self._kafka, self._partition, self._start, self._clock = kafka, partition, start, clock
        self._books = sorted(book.name for book in books)
        self._intake = Intake(books, everyone)
        self._speaks_for_all = min(book.name for book in everyone) in self._books
        """One sequencer alone writes the dead letters, for all of them read the same inputs."""
        self._topics = {kafka.name(topic.name): topic.name for topic in INPUTS}
        self._seqs: dict[str, int] = dict.fromkeys(self._books, 0)
        self._offsets: dict[str, dict[str, int]] = {}
        self._last: dict[str, int] = dict.fromkeys(self._books, 0)
        self._next_tick = 0
        self._refused: list[RecordRefused] = []
        self._meter = SequencerMeter(partition)
        self.entries = 0
        """Journal entries written since the start."""
        self.refused = 0

    def run(self, stopping: threading.Event) -> None:
        """Sequence until `stopping` is set. Raises KafkaException where the cluster fails or another has taken over."""
        self._producers = deque(self._make_producer(n) for n in range(PRODUCERS))
        self._recover()  # now that no other sequencer can write any more
        self._consumer = Consumer(self._kafka.consumer("sequencer-inputs"))
        try:
            self._consumer.assign(self._assignment())
            while not stopping.is_set():
                self._turn()
        finally:
            self._consumer.close()
            self._meter.forget()

    def _make_producer(self, number: int) -> Producer:
        """Make a producer and shut out the one that had its name: what that one left open is aborted."""
        producer = Producer(
            self._kafka.producer(
                transactional_id=self._kafka.name(f"sequencer-{self._partition}-{number}"),
                transaction_timeout_ms=20_000,
                compression_type="lz4",  # the journal is the bulk, and the workers alone read it
            )
        )
        producer.init_transactions(TIMEOUT_S)
        return producer

    # Where to go on

    def _recover(self) -> None:
        """Read back the newest journal records: how far they come, and the ids that are to be remembered."""
        newest: Position | None = None
        ids: list[str] = []
        for block in newest_first(self._kafka, JOURNAL, self._partition):
            if newest is None and block:
                newest = position_of(dict(block[-1].headers() or ()).items())
            ids[:0] = [self._meet_again(line) for message in block for line in unpack(message.value() or b"")]
            if len(ids) >= REMEMBERED_IDS:
                break
        self._intake.remember(ids)
        if newest is not None:
            self._seqs |= newest.seqs
            self._offsets = newest.offsets
        self._meter.resume(self._seqs)

    def _meet_again(self, line: bytes) -> str:
        """Give an entry's id. Time in a journal never goes back, whoever writes it."""
        head = msgspec.json.decode(line, type=_Head)
        if head.book in self._last:
            self._last[head.book] = max(self._last[head.book], head.observed_at)
        return head.id

    def _assignment(self) -> list[TopicPartition]:
        """Give every input partition, at the next offset that the journal has not taken.

        Where a journal begins to take an input is settled once, and from its first record on stands in it: the end of
        a topic lies elsewhere after a restart, and what came in between would be lost.
        """
        inputs = [(topic.name, n) for topic in INPUTS for n in range(topic.partitions)]
        fresh = [(topic, n) for topic, n in inputs if str(n) not in self._offsets.get(topic, {})]
        if fresh:
            for (topic, n), (low, high) in bounds_of(self._kafka, fresh).items():
                self._offsets.setdefault(topic, {})[str(n)] = high if self._start == "latest" else low
        return [TopicPartition(self._kafka.name(topic), n, self._offsets[topic][str(n)]) for topic, n in inputs]

    # One turn

    def _turn(self) -> None:
        """Take what is there, tick if it is time and nothing is left behind, and write it all, or nothing."""
        now = self._clock()
        wait_s = min(max((self._next_tick - now) / NS_PER_S, 0.0), TICK_NS / NS_PER_S)
        first = self._consumer.poll(wait_s)
        messages = [] if first is None else [first, *self._consumer.consume(MAX_TURN - 1, 0)]
        now = self._clock()
        lines: list[bytes] = []
        for message in messages:
            self._take(message, now, lines)
        if len(messages) < MAX_TURN and now >= self._next_tick:
            self._tick(now, lines)
        if messages or lines:
            self._write(lines)
            self._meter.took(self._topics[cast("str", message.topic())] for message in messages)

    def _take(self, message: Message, now: int, lines: list[bytes]) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        record = Record(
            self._topics[cast("str", message.topic())],
            cast("int", message.partition()),
            cast("int", message.offset()),
            message.timestamp()[1],
            message.value(),
        )
        self._offsets.setdefault(record.topic, {})[str(record.partition)] = record.offset + 1
        taken = self._intake.take(record, now)
        if isinstance(taken, RecordRefused):
            self._refused.append(taken)
            return
        event, books = taken
        lines.extend([self._entry(event, book) for book in books])

    def _entry(self, event: Event, book: str) -> bytes:
        """Stamp an event as the next entry of a book's journal, in which time never goes back."""
        self._seqs[book] += 1
        at = self._last[book] = max(self._last[book], event.observed_at)
        return encode(msgspec.structs.replace(event, book=book, seq=self._seqs[book], observed_at=at))

    def _tick(self, now: int, lines: list[bytes]) -> None:
        for book in self._books:
            at = max(now, self._last[book])
            clock = ClockTicked(id=market_id(book, "clock", at), key=book, occurred_at=at, observed_at=at)
            lines.append(self._entry(clock, book))
        self._next_tick = now - now % TICK_NS + TICK_NS
        self._meter.lags(self._ends(), self._offsets)

    def _ends(self) -> Iterator[tuple[str, int, int]]:
        """Give how far the input partitions reach, as the last fetch told: nothing is asked of the cluster."""
        for topic in INPUTS:
            for n in range(topic.partitions):
                place = TopicPartition(self._kafka.name(topic.name), n)
                bounds = self._consumer.get_watermark_offsets(place, cached=True)
                if bounds is not None:
                    yield topic.name, n, bounds[1]

    def _write(self, lines: list[bytes]) -> None:
        """Write entries, refusals and positions in one transaction."""
        self._producers.rotate(1)
        producer, position = self._producers[0], Position(self._seqs, self._offsets)
        producer.begin_transaction()
        for frame in _frames(lines):
            producer.produce(
                self._kafka.name(JOURNAL),
                partition=self._partition,
                value=pack(frame),
                headers=frame_headers(position, len(frame)),
            )
        if self._speaks_for_all:
            for letter in self._refused:
                producer.produce(
                    self._kafka.name(DEAD_LETTERS), key=key_of(letter), value=encode(letter), headers=headers_of(letter)
                )
        producer.commit_transaction(TIMEOUT_S)
        self.entries += len(lines)
        self.refused += len(self._refused)
        self._meter.wrote(self._seqs, self._refused if self._speaks_for_all else ())
        self._refused.clear()


class _Head(msgspec.Struct):
    id: str
    book: str
    observed_at: int


def _frames(lines: list[bytes]) -> list[list[bytes]]:
    """Cut entries into records that a broker takes; one without entries carries the positions of what was refused."""
    frames: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        if size + len(line) > MAX_FRAME_BYTES:
            frames.append([])
            size = 0
        frames[-1].append(line)
        size += len(line) + 1
    return frames
