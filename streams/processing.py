"""The workers that compute of the raw topics: `bars` of ticks, `sentiment` of tweets and news.

Their position in Kafka is where the first record of an interval that is not over stands, and with it, as the
position's metadata, how far they have told. It is kept after what was told has arrived: who dies in between leaves a
successor that tells it again, with the same ids, so that it counts once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from logging import getLogger
from typing import Literal, NamedTuple, cast

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as Code

from schemas.base import Event
from schemas.checks import check
from schemas.codec import decode
from schemas.errors import RefusedError
from schemas.topics import TOPICS
from streams.health import Health
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.membership import Membership, Part
from streams.metrics import PROCESSED, PROCESSED_LATE, PROCESSED_REFUSED
from streams.publisher import Publisher
from streams.windows import Mark, Place, Windows, bar_windows, sentiment_windows

ProcessedRole = Literal["bars", "sentiment"]
MAX_TURN = 5_000
WAIT_S = 0.2
TIMEOUT_S = 30.0
log = getLogger("quorum.processing")


class _Role(NamedTuple):
    topics: tuple[str, ...]
    make: Callable[[], Windows]
    by_partition: bool
    """Whether an instrument's records lie in one partition; else one part reads all of them."""


ROLES: dict[ProcessedRole, _Role] = {
    "bars": _Role(("ticks",), bar_windows, by_partition=True),
    "sentiment": _Role(("tweets", "news"), sentiment_windows, by_partition=False),
}


def processor(
    kafka: Kafka,
    role: ProcessedRole,
    health: Health,
    *,
    worker: str = "",
    start: Literal["earliest", "latest"],
    windows: Callable[[], Windows] | None = None,
) -> Part:
    """Give the part that does a role, sharing the work with the other workers of the role.

    `start` is where the role begins that has never run before; `windows` are in place of the role's own.
    """
    does = ROLES[role]
    inputs = [(topic.name, n) for topic in TOPICS if topic.name in does.topics for n in range(topic.partitions)]

    def make(partition: int) -> Part | None:
        places = [place for place in inputs if place[1] == partition] if does.by_partition else inputs
        if not does.by_partition and partition != 0:
            return None
        return Processor(kafka, role, places, start, windows or does.make)

    return Membership(kafka, role, does.topics[0], make, health=health, worker=worker)


class Processor:
    """Computes of some partitions."""

    def __init__(
        self,
        kafka: Kafka,
        role: ProcessedRole,
        places: Sequence[Place],
        start: Literal["earliest", "latest"],
        windows: Callable[[], Windows],
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Nothing runs yet."""
        self._kafka, self._role, self._places, self._start, self._clock = kafka, role, list(places), start, clock
        self._topics = {kafka.name(topic): topic for topic, _ in places}
        self._windows = windows()
        self._next: dict[Place, int] = {}
        self._seen: dict[Place, int] = {}
        """When the newest record of each place was observed; ns."""
        self._ended: set[Place] = set()
        """Places that are read to their end, and hold nobody up."""
        self._cut: set[Place] = set()
        """Places whose beginning is lost: what began before their first record was not seen whole."""

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set. Raises KafkaException or KafkaError where the cluster fails."""
        consumer = Consumer(self._kafka.consumer(f"{self._role}-positions", enable_partition_eof=True))
        publisher = Publisher(self._kafka)
        try:
            consumer.assign(self._assignment(consumer))
            while not stopping.is_set():
                told = False
                for event in self._turn(consumer.consume(MAX_TURN, WAIT_S)):
                    publisher.send(event)
                    PROCESSED.labels(self._role, type(event).__name__).inc()
                    told = True
                if told:
                    publisher.confirm()
                    self._keep(consumer)
        finally:
            consumer.close()

    # Where to go on

    def _assignment(self, consumer: Consumer) -> list[TopicPartition]:
        """Give each place at the first record that is needed, and take up the mark that was left there."""
        asked = [TopicPartition(self._kafka.name(topic), n) for topic, n in self._places]
        kept = {(self._topics[each.topic], each.partition): each for each in consumer.committed(asked, TIMEOUT_S)}
        marks = [msgspec.json.decode(each.metadata or "{}", type=Mark) for each in kept.values() if each.offset >= 0]
        whole = max((mark.whole for mark in marks), default=0)
        for place, (low, high) in bounds_of(self._kafka, self._places).items():
            position = kept[place].offset
            if position < 0:
                position = high if self._start == "latest" else low
            elif position < low:
                log.warning("records are lost", extra={"place": place, "wanted": position, "first_kept": low})
            self._next[place] = max(position, low)
            if kept[place].offset < self._next[place] and self._next[place] > 0:
                if self._next[place] == high:
                    whole = max(whole, self._clock())
                else:
                    self._cut.add(place)
        self._windows.mark = Mark(max((mark.told for mark in marks), default=0), whole)
        return [TopicPartition(self._kafka.name(topic), n, self._next[topic, n]) for topic, n in self._places]

    def _keep(self, consumer: Consumer) -> None:
        """Keep how far all was told, now that it has arrived."""
        mark = msgspec.json.encode(self._windows.mark).decode()
        positions = [
            TopicPartition(self._kafka.name(place[0]), place[1], self._windows.since(place, after), mark)
            for place, after in self._next.items()
        ]
        consumer.commit(offsets=positions, asynchronous=False)

    # One turn

    def _turn(self, messages: Sequence[Message]) -> Iterator[Event]:
        """Take records, and give what is over with each of them."""
        late = self._windows.late
        for message in messages:
            place = self._topics[cast("str", message.topic())], cast("int", message.partition())
            error = message.error()
            if error is not None:
                if error.code() != Code._PARTITION_EOF:  # noqa: SLF001 - the binding's own name for it
                    raise KafkaException(error)
                self._ended.add(place)
                yield from self._windows.tell(self._time())
                continue
            self._next[place] = cast("int", message.offset()) + 1
            event = self._read(message.value())
            if event is not None:
                yield from self._take(event, place, self._next[place] - 1)
        if self._windows.late > late:
            PROCESSED_LATE.labels(self._role).inc(self._windows.late - late)
            log.info("late records", extra={"role": self._role, "records": self._windows.late - late})

    def _read(self, value: bytes | None) -> Event | None:
        """Read a record; one that the sequencer would refuse is refused here too, and it writes the dead letter."""
        try:
            event = decode(value or b"")
            check(event, self._clock())
        except RefusedError:
            PROCESSED_REFUSED.labels(self._role).inc()
            return None
        return event

    def _take(self, event: Event, place: Place, offset: int) -> Iterator[Event]:
        if place in self._cut:
            self._cut.discard(place)
            mark = self._windows.mark
            self._windows.mark = msgspec.structs.replace(mark, whole=max(mark.whole, event.observed_at))
        self._ended.discard(place)
        self._seen[place] = max(self._seen.get(place, 0), event.observed_at)
        yield from self._windows.tell(self._time())
        self._windows.take(event, place, offset)

    def _time(self) -> int:
        """Give the time up to which all was seen: by the places that are behind, where all are read by the newest."""
        behind = [self._seen.get(place, 0) for place in self._places if place not in self._ended]
        return min(behind) if behind else max(self._seen.values(), default=0)
