"""The model gateway: puts every question of `verdict-requests` to its model, and answers on `verdicts`.

Gateways share the partitions of the topic as a consumer group. A request counts as done once its verdict is on the
topic, and the group's position of a partition never passes one that is not done: after a crash the open ones are asked
again, under the same ids, and whoever reads drops the second answer. An unreadable request goes to the dead letters.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.voters import Voter, offline_voters
from replay.cassette import RecordedVerdicts, Verdict
from replay.gateway import ReplayGateway
from schemas.book import Book
from schemas.codec import decode
from schemas.errors import BookError, RefusedError
from schemas.verdicts import VerdictRequested
from streams import metrics
from streams.asking import Asking
from streams.intake import Record, refusal
from streams.kafka import Kafka
from streams.publisher import Publisher
from streams.wire import REQUESTS

GROUP = "gateway"
MAX_TURN = 200
REMEMBERED_ANSWERS = 20_000
"""So many requests back one that is sent again is known to be answered."""
BUSY_WAIT_S, IDLE_WAIT_S = 0.01, 0.2
COMMIT_EVERY_S = 0.5
log = getLogger("quorum.gateway")


class Places:
    """Which records are not done yet, and so how far each partition may be committed."""

    def __init__(self) -> None:
        """No partition is ours yet."""
        self._next: dict[int, int] = {}
        self._undone: dict[int, dict[int, None]] = {}

    def read(self, partition: int, offset: int) -> None:
        """Take note of a record; records of a partition are read in order."""
        self._next[partition] = offset + 1
        self._undone.setdefault(partition, {})[offset] = None

    def done(self, partition: int, offset: int) -> None:
        """A record needs nothing more. One of a partition that was given away is nobody's here."""
        self._undone.get(partition, {}).pop(offset, None)

    def positions(self) -> dict[int, int]:
        """Give of each partition the first offset that is not done."""
        return {partition: next(iter(self._undone[partition]), end) for partition, end in self._next.items()}

    def drop(self, partition: int) -> None:
        """Forget a partition that another gateway is given."""
        self._next.pop(partition, None)
        self._undone.pop(partition, None)


class Gateway:
    """One member of the group."""

    def __init__(
        self,
        kafka: Kafka,
        books: Sequence[Book],
        *,
        worker: str = "",
        voters: Callable[[Book], Mapping[str, Voter]] = offline_voters,
        rehearsal: RecordedVerdicts | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`books` are all that are known; `voters` gives each one's models; `worker` keeps its place over a restart.

        With `rehearsal`, an empty record perhaps, time is the archive's: answers are those of a replay, at the latency
        that the record or the book says, and no deadline ends the wait for one.
        """
        self._kafka, self._worker, self._clock = kafka, worker, clock
        made = {book.name: voters(book) for book in books}
        self._asking = Asking(
            {(book, model): voter for book, models in made.items() for model, voter in models.items()}, clock
        )
        self._replays = {
            book.name: ReplayGateway(book, rehearsal, made[book.name]) for book in books if rehearsal is not None
        }
        self._is_rehearsal = rehearsal is not None
        self._mine: set[int] = set()
        self._places = Places()
        self._waiting: dict[str, list[tuple[int, int]]] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._ready: list[Verdict] = []
        self._committed: dict[int, int] = {}
        self._next_commit = 0.0
        self.answered = 0
        """Verdicts produced since the start."""

    @property
    def partitions(self) -> list[int]:
        """Those that this gateway has."""
        return sorted(self._mine)

    def run(self, stopping: threading.Event) -> None:
        """Answer until `stopping` is set. Raises KafkaException or KafkaError where the cluster fails.

        In a rehearsal, raises what `ReplayGateway.answer` raises.
        """
        self._publisher = Publisher(self._kafka)
        self._consumer = Consumer(self._kafka.member(GROUP, self._worker, "earliest"))
        topic = self._kafka.name(REQUESTS)
        self._consumer.subscribe([topic], on_assign=self._given, on_revoke=self._revoked, on_lost=self._lost)
        try:
            while not stopping.is_set():
                self._turn()
        finally:
            self._consumer.close()

    def _turn(self) -> None:
        first = self._consumer.poll(BUSY_WAIT_S if len(self._asking) else IDLE_WAIT_S)
        for message in [] if first is None else [first, *self._consumer.consume(MAX_TURN - 1, 0)]:
            self._take(message)
        self._answer([*self._ready, *self._asking.answers()])
        self._ready = []
        if time.monotonic() >= self._next_commit:
            self._commit()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        place = cast("int", message.partition()), cast("int", message.offset())
        self._places.read(*place)
        record = Record(REQUESTS, *place, message.timestamp()[1], message.value())
        try:
            request = _request(record)
        except RefusedError as refused:
            letter = refusal(record, refused.event_id or REQUESTS, str(refused), self._clock())
            self._publisher.send(letter)
            self._publisher.confirm()
            log.warning("request refused", extra={"place": record.place, "reason": letter.reason})
            self._places.done(*place)
            return
        if request.id in self._answered:
            self._places.done(*place)
            return
        self._waiting.setdefault(request.id, []).append(place)
        if self._is_rehearsal:
            self._ready.append(self._replayed(request))
        else:
            self._asking.ask(request)

    def _replayed(self, request: VerdictRequested) -> Verdict:
        replay = self._replays.get(request.book)
        if replay is None:
            raise BookError(f"request {request.id} is of book {request.book}, which this gateway was not given; add it")
        return replay.answer(request)

    def _answer(self, verdicts: Sequence[Verdict]) -> None:
        """Produce verdicts; once they have arrived, their requests are done, however often they were sent."""
        if not verdicts:
            return
        for verdict in verdicts:
            self._publisher.send(verdict)
        self._publisher.confirm()
        for verdict in verdicts:
            for place in self._waiting.pop(verdict.cause, ()):
                self._places.done(*place)
            self._answered[verdict.cause] = None
            if len(self._answered) > REMEMBERED_ANSWERS:
                self._answered.popitem(last=False)
            metrics.verdict(verdict)
        self.answered += len(verdicts)

    # The group

    def _commit(self) -> None:
        """Commit what is done; a commit that fails costs nothing but questions asked twice after a crash."""
        self._next_commit = time.monotonic() + COMMIT_EVERY_S
        positions = self._places.positions()
        moved = {partition: at for partition, at in positions.items() if self._committed.get(partition) != at}
        if moved:
            topic = self._kafka.name(REQUESTS)
            self._consumer.commit(offsets=[TopicPartition(topic, partition, at) for partition, at in moved.items()])
            self._committed |= moved

    def _given(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._mine.update(each.partition for each in partitions)

    def _revoked(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._commit()
        self._lost(consumer, partitions)

    def _lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions; what is under way for them is still answered, and asked again by whoever has them."""
        for each in partitions:
            self._mine.discard(each.partition)
            self._places.drop(each.partition)
            self._committed.pop(each.partition, None)


def _request(record: Record) -> VerdictRequested:
    if record.value is None:
        raise RefusedError("record", "", "is empty")
    event = decode(record.value)
    if not isinstance(event, VerdictRequested):
        raise RefusedError(type(event).__name__, "type", f"does not belong on topic {REQUESTS}", event.id)
    return event
