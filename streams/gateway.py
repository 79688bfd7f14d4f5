"""The model gateway: puts every question of `verdict-requests` to its model, and answers on `verdicts`.

Gateways share the partitions of the topic as a consumer group. A request counts as done once its verdict is on the
topic, and the group's position of a partition never passes one that is not done: after a crash the open ones are asked
again, under the same ids, and whoever reads drops the second answer. An unreadable request goes to the dead letters.

A model that is called over a network costs money: `streams.accounts` says when it may be called, `streams.recall` when
it need not be.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from queue import SimpleQueue
from typing import cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.models import minds
from connectors.voters import Voter, offline_voters
from replay.cassette import RecordedVerdicts, Verdict
from replay.gateway import ReplayGateway, failed
from schemas.book import Book
from schemas.codec import decode
from schemas.errors import BookError, RefusedError
from schemas.operations import AlertRaised
from schemas.verdicts import VerdictGiven, VerdictRequested
from streams import metrics
from streams.accounts import Accounts, Minds, Opened, alert_of, drained
from streams.asking import Asking, latency_ms
from streams.health import Health
from streams.intake import Record, refusal
from streams.kafka import Kafka, partition_of
from streams.limits import Circuit, terms_of
from streams.publisher import Publisher
from streams.recall import Key, Recall, repeated
from streams.wire import REQUESTS

GROUP = "gateway"
MAX_TURN = 200
REMEMBERED_ANSWERS = 20_000
"""So many requests back one that is sent again is known to be answered."""
BUSY_WAIT_S, IDLE_WAIT_S = 0.01, 0.2
COMMIT_EVERY_S = 0.5
DRAIN_S = 10.0
"""How long the end waits for calls that are under way and paid for."""
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
        outside: Minds = minds,
        rehearsal: RecordedVerdicts | None = None,
        health: Health | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`books` are all that are known; `worker` keeps its place over a restart.

        `voters` gives each one's models that are free, `outside` those that are called over a network.

        With `rehearsal`, an empty record perhaps, time is the archive's: answers are those of a replay, at the latency
        that the record or the book says, no deadline ends the wait for one, and no outside model is called.
        """
        self._kafka, self._worker, self._clock = kafka, worker, clock
        self._replays = {
            book.name: ReplayGateway(book, rehearsal, voters(book)) for book in books if rehearsal is not None
        }
        self._is_rehearsal = rehearsal is not None
        live = [] if self._is_rehearsal else list(books)
        self._alerts: SimpleQueue[AlertRaised] = SimpleQueue()
        self._accounts = Accounts(kafka, live, outside, self._alerts.put, clock)
        self._recall = Recall(live)
        self._terms = terms_of(live)
        self._circuits = {terms.circuit: set[str]() for terms in self._terms.values() if terms.circuit is not None}
        for (book, _), terms in self._terms.items():
            if terms.circuit is not None:
                self._circuits[terms.circuit].add(book)
        free = {(book.name, model): voter for book in live for model, voter in voters(book).items()}
        self._asking = Asking(free | self._accounts.voters, clock, self._terms)
        self._mine: set[int] = set()
        self._places = Places()
        self._waiting: dict[str, list[tuple[int, int]]] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._ready: list[Verdict] = []
        self._held: list[VerdictRequested] = []
        self._keys: dict[str, Key] = {}
        self._asked: dict[Key, str] = {}
        self._troubled: set[Circuit] = set()
        self._committed: dict[int, int] = {}
        self._next_commit = 0.0
        self.answered = 0
        """Verdicts produced since the start."""
        if health is not None and not self._is_rehearsal:
            health.probe("gateway", self._why_not_ready)
            health.show("circuits", self._states)

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
            self._drain()
        finally:
            self._accounts.end()
            self._consumer.close()

    def _turn(self) -> None:
        first = self._consumer.poll(BUSY_WAIT_S if len(self._asking) or self._held else IDLE_WAIT_S)
        for message in [] if first is None else [first, *self._consumer.consume(MAX_TURN - 1, 0)]:
            self._take(message)
        for opened in self._accounts.opened():
            self._admit(opened)
        held, self._held = self._held, []
        for request in held:
            self._put(request)
        for account in self._accounts:
            for call in account.retries():
                self._asking.called((call.book, call.model), call.observed_at)
        self._answer([*self._ready, *self._asking.answers()])
        self._ready = []
        self._watch_circuits()
        if time.monotonic() >= self._next_commit:
            self._commit()
            for account in self._accounts:
                account.show()

    def _drain(self) -> None:
        """Wait a while for the calls that are under way: their answers are paid for."""
        until = time.monotonic() + DRAIN_S
        while self._keys and time.monotonic() < until:
            self._answer(self._asking.answers())
            time.sleep(BUSY_WAIT_S)

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
        elif (request.book, request.model) not in self._accounts.voters:
            self._asking.ask(request)
        elif place[0] == partition_of(request.book):
            self._put(request)
        else:
            latency = latency_ms(request, self._clock())
            self._ready.append(failed(request, "unavailable", latency, "lies in another partition than its book's"))

    def _put(self, request: VerdictRequested) -> None:
        """Put a request to its outside model, unless the answer is known; hold it where that is not known yet."""
        if request.id in self._answered:
            self._done(request.id)
            return
        if request.deadline_at <= self._clock():
            self._asking.ask(request)  # fails it
            return
        if not self._accounts.is_open(request.book):
            self._held.append(request)
            return
        key = self._keys.get(request.id) or self._recall.key(request)
        recorded = self._recall.find(key) if key else None
        if recorded is not None:
            self._ready.append(repeated(recorded, request, latency_ms(request, self._clock())))
            metrics.repeated(request.model)
        elif key is None or self._asked.setdefault(key, request.id) == request.id:
            if key is not None:
                self._keys[request.id] = key
            self._asking.ask(request)
        else:
            self._held.append(request)

    def _admit(self, opened: Opened) -> None:
        """Take up what was read back, and let the books call."""
        keys = opened.keys()
        for verdict in opened.verdicts:
            self._remember(verdict.cause)
            key = keys.get(verdict.cause)
            if isinstance(verdict, VerdictGiven) and key is not None:
                self._recall.learn(key, verdict)
        for call in opened.started:
            self._asking.called((call.book, call.model), call.observed_at)
        self._accounts.admit(opened)

    def _replayed(self, request: VerdictRequested) -> Verdict:
        replay = self._replays.get(request.book)
        if replay is None:
            raise BookError(f"request {request.id} is of book {request.book}, which this gateway was not given; add it")
        return replay.answer(request)

    def _answer(self, verdicts: Sequence[Verdict]) -> None:
        """Produce verdicts; once they have arrived, their requests are done, however often they were sent."""
        sent = [verdict for verdict in verdicts if self._is_wanted(verdict)]
        alerts = list(drained(self._alerts))
        if sent or alerts:
            for event in (*sent, *alerts):
                self._publisher.send(event)
            self._publisher.confirm()
        for verdict in sent:
            self._done(verdict.cause)
            self._remember(verdict.cause)
            metrics.verdict(verdict)
        for verdict in verdicts:
            key = self._keys.pop(verdict.cause, None)
            if key is not None:
                del self._asked[key]
                if isinstance(verdict, VerdictGiven):
                    self._recall.learn(key, verdict)
        for alert in alerts:
            metrics.alerted(alert)
        self.answered += len(sent)

    def _is_wanted(self, verdict: Verdict) -> bool:
        """Tell whether a verdict is to be sent: a failure is not where another gateway has the request by now."""
        return isinstance(verdict, VerdictGiven) or verdict.cause in self._waiting

    def _done(self, request: str) -> None:
        """A request needs nothing more, however often it was sent."""
        for place in self._waiting.pop(request, ()):
            self._places.done(*place)

    def _remember(self, request: str) -> None:
        self._answered[request] = None
        if len(self._answered) > REMEMBERED_ANSWERS:
            self._answered.popitem(last=False)

    # How it is

    def _watch_circuits(self) -> None:
        """Show how the circuits are, and tell each book that one of its own has opened."""
        now = self._clock()
        for circuit, books in self._circuits.items():
            state = circuit.state(now)
            metrics.circuit(circuit.endpoint, state)
            if state == "closed":
                self._troubled.discard(circuit)
            elif circuit not in self._troubled:
                self._troubled.add(circuit)
                text = f"{circuit.endpoint} is called no more for now: {circuit.reason}"
                for book in sorted(books):
                    if self._accounts.is_open(book):
                        self._alerts.put(alert_of(book, f"{book}/{circuit.endpoint}/{now}", now, "warning", text))

    def _states(self) -> dict[str, str]:
        now = self._clock()
        return {circuit.endpoint: circuit.state(now) for circuit in self._circuits}

    def _why_not_ready(self) -> str:
        opening = self._accounts.opening
        return f"what the models of partitions {opening} have spent is being read back" if opening else ""

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
        given = [each.partition for each in partitions]
        self._mine.update(given)
        self._accounts.open(given)

    def _revoked(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._commit()
        self._lost(consumer, partitions)

    def _lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions; what is under way for them is still answered, and asked again by whoever has them."""
        lost = {each.partition for each in partitions}
        self._accounts.close(lost)
        for partition in lost:
            self._mine.discard(partition)
            self._places.drop(partition)
            self._committed.pop(partition, None)
        for request, places in list(self._waiting.items()):
            self._waiting[request] = [place for place in places if place[0] not in lost]
        gone = {request for request, places in self._waiting.items() if not places}
        for request in gone:
            del self._waiting[request]
        self._held = [request for request in self._held if request.id not in gone]
        for request in self._asking.drop(gone):
            key = self._keys.pop(request, None)
            if key is not None:
                del self._asked[key]


def _request(record: Record) -> VerdictRequested:
    if record.value is None:
        raise RefusedError("record", "", "is empty")
    event = decode(record.value)
    if not isinstance(event, VerdictRequested):
        raise RefusedError(type(event).__name__, "type", f"does not belong on topic {REQUESTS}", event.id)
    return event
