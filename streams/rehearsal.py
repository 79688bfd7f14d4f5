"""The dress rehearsal: an archive published to topics of its own, and worked through by the live parts in its own time.

Desk, gateway and executor are those of a live session. The sequencer here merges by the archive's time instead of by
arrival, and writes an entry only when all that follows from the entries before has come back; so the journal is that
of a local replay, entry by entry, and so is the rest of the log. Every entry costs a round through Kafka.

On topic `progress` each part says how far it is, under a key of its own: the desk's is the book, `executor/BOOK` has
taken entry `seq` and looked at the time `observed_at`, and under `sequencer/BOOK` stands how far time has passed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import cast

from confluent_kafka import KafkaException, Message, Producer, TopicPartition

from agents.agent import NEVER
from replay.engine import CLOCK_RANK, MARKET_RANK, RANKS
from replay.pace import WallPacer
from replay.run import archived_inputs
from replay.sources import Archive
from schemas.base import NS_PER_MIN, Event, derived_id
from schemas.book import Book
from schemas.codec import decode_own, encode
from schemas.errors import KafkaError
from schemas.fields import LATEST_NS
from schemas.operations import JournalProcessed, RecordRefused
from schemas.topics import TOPIC_OF
from streams.executor import PaperExecutor
from streams.intake import Intake, Record
from streams.kafka import Kafka, partition_of
from streams.paper import snapshot_key
from streams.progress import part_key, processed
from streams.sequencer import Sequencer
from streams.wire import FILLS, PROGRESS, REQUESTS, headers_of, key_of

PART = "sequencer"
ORDINAL = "ordinal"
"""Header of a published input: its place in the archive's order."""
ROW = "row"
"""Header of the sequencer's word to the executor: a market event that is about to be journaled."""
AHEAD = 1_000
"""Inputs published before they are needed."""
PATIENCE_S = 60.0
POLL_S = 0.02
ALL_DUE = LATEST_NS + 1
"""The executor's time: whatever an order leads to is said at once, with the time that it will have."""


def passed_key(book: str) -> str:
    """Give the key under which the sequencer says that time has passed."""
    return part_key(book, PART)


class RehearsalExecutor(PaperExecutor):
    """The paper executor in the archive's time; it says how far it is."""

    def __init__(self, kafka: Kafka, partition: int, book: Book) -> None:
        """Take one book."""
        super().__init__(kafka, partition, [book], snapshot_every_s=float("inf"), clock=lambda: ALL_DUE)
        self._book = self.books[book.name]
        self._looked = ""
        self._told = self._book.processed("")

    def _turn(self) -> None:
        super()._turn()
        told = self._book.processed(self._looked)
        if told != self._told:
            self._write(PROGRESS, [told])
            self._told = told

    def _take(self, message: Message) -> None:
        if message.error() is None and message.key() == passed_key(self._book.book.name).encode():
            self._read[PROGRESS] = cast("int", message.offset()) + 1
            passed = decode_own(message.value() or b"")
            row = dict(message.headers() or ()).get(ROW)
            self._book.look(passed.observed_at, decode_own(cast("bytes", row)) if row else None)
            self._looked = passed.id
        elif message.error() is not None or message.key() != snapshot_key(self._book.book.name).encode():
            super()._take(message)


class RehearsalSequencer(Sequencer):
    """Publishes an archive and sequences it in its own time, for one book."""

    def __init__(self, kafka: Kafka, book: Book, source: Archive, *, on_progress: Callable[[int, int], None]) -> None:
        """`on_progress` is told the archive's time, in ns, and the entries so far."""
        partition = partition_of(book.name)
        super().__init__(kafka, partition, [book], [book], start="earliest")
        self._intake = Intake([book], [book], stale_ns=LATEST_NS)
        self._name, self._on_progress = book.name, on_progress
        self._topics |= {kafka.name(topic): topic for topic in (PROGRESS, REQUESTS)}
        self._publisher = Producer(kafka.producer() | {"linger.ms": 5})
        self._archive = _in_order(source, book.mark_every_min * NS_PER_MIN)
        self._published = self._used = 0
        self._arrived: dict[int, Event | None] = {}
        self._answers: list[tuple[int, int, int, Event]] = []
        self._questions: dict[str, int] = {}
        self._verdicts: list[Event] = []
        """Verdicts since the last step."""
        self._answered = self._fills = 0
        self._desk = self._executor = JournalProcessed(id="-", key="-", occurred_at=NS_PER_MIN, observed_at=NS_PER_MIN)
        self._last_price = self._shown = 0
        self._last_shown = ""
        self._is_shown = False
        """The next input has been shown to the executor."""
        self._mark_ns = book.mark_every_min * NS_PER_MIN
        self._began = self._over = False
        self._horizon = NEVER
        self.pacer: WallPacer | None = None
        self.done = threading.Event()
        """Set when the archive has come to its end."""

    def _assignment(self) -> list[TopicPartition]:
        more = [TopicPartition(self._kafka.name(topic), self._partition, 0) for topic in (PROGRESS, REQUESTS)]
        return [*super()._assignment(), *more]

    # One turn

    def _turn(self) -> None:
        """Take what has come; if nothing is under way any more, take the next step of the archive."""
        self._publish()
        if self._published > self._used and self._used not in self._arrived:
            self._await(lambda: self._used in self._arrived, "the inputs that were published did not come back")
        if not self._began:
            self._began = True
            first = self._next_input()
            self._advance([], None if first is None else first[0])
            return
        self._await(self._is_quiet, "what follows from the journal did not come back")
        for verdict in self._verdicts:  # of one time, in the order of their questions
            heappush(self._answers, (verdict.observed_at, _rank(verdict), self._questions[verdict.cause], verdict))
        self._answered += len(self._verdicts)
        self._verdicts.clear()
        self._step()
        self._on_progress(self._last[self._name], self._seqs[self._name])

    def _step(self) -> None:
        """Journal whatever comes next by time and rank: an input, an answer, or the clock."""
        given = self._next_input()
        answer = self._answers[0] if self._answers else None
        clock = (self._desk.due or NEVER, CLOCK_RANK)
        venue = (self._executor.due or NEVER, RANKS[FILLS])
        first = min(clock, venue, given[:2] if given else (NEVER, 0), answer[:2] if answer else (NEVER, 0))
        if given is None and first[0] > self._end():
            if answer is None:
                self.done.set()
                return
            first = answer[:2]
        self._hold_to_pace(first[0])
        if venue == first:
            self._show(first[0])
        elif answer is not None and answer[:2] == first:
            self._advance([heappop(self._answers)[3]])
        elif given is not None and given[:2] == first:
            if self._executor.requests and not self._is_shown and given[1] == MARKET_RANK:
                self._show(given[0], given[2])
                self._is_shown = True
            else:
                self._advance(self._taken(given))
                self._is_shown = False
        else:
            self._advance([], first[0])

    def _end(self) -> int:
        """Give the mark of the book's worth at or after the last price: as far as the clock goes."""
        return -(-self._last_price // self._mark_ns) * self._mark_ns

    def _next_input(self) -> tuple[int, int, Event] | None:
        """Give the archive's next input with its place; what was refused is passed over."""
        while self._used in self._arrived and self._arrived[self._used] is None:
            del self._arrived[self._used]
            self._used += 1
        event = self._arrived.get(self._used)
        return None if event is None else (event.observed_at, _rank(event), event)

    def _taken(self, given: tuple[int, int, Event]) -> list[Event]:
        """Take the input and, while no order works, the market data of the same time: nothing can come in between."""
        events: list[Event] = []
        following: tuple[int, int, Event] | None = given
        while following is not None and following[:2] == given[:2]:
            events.append(following[2])
            del self._arrived[self._used]
            self._used += 1
            following = self._next_input()
            if given[1] != MARKET_RANK or self._is_shown:
                break
        if given[1] == MARKET_RANK:
            self._last_price = given[0]
        return events

    def _advance(self, events: list[Event], tick: int | None = None) -> None:
        lines = [self._entry(event, self._name) for event in events]
        if tick is not None:
            self._tick(tick, lines)
        self._write(lines)

    def _show(self, now: int, row: Event | None = None) -> None:
        """Let the executor look at the time, and at a market event ahead of its entry; nothing is journaled."""
        self._shown += 1
        shown = derived_id(self._name, PART, self._shown)
        passed = processed(shown, self._name, self._seqs[self._name], now, part=PART)
        self._last_shown = passed.id
        self._publisher.produce(
            self._kafka.name(PROGRESS),
            partition=self._partition,
            key=key_of(passed),
            value=encode(passed),
            headers=[(ROW, encode(row))] if row is not None else [],
        )
        self._publisher.flush()

    def _hold_to_pace(self, now: int) -> None:
        if self.pacer is not None and (self._horizon == NEVER or now > self._horizon):
            self._horizon = self.pacer.horizon(now)

    # Kafka

    def _publish(self) -> None:
        """Keep some inputs of the archive on their topics before they are needed."""
        while not self._over and self._published - self._used < AHEAD:
            event = next(self._archive, None)
            if event is None:
                self._over = True
                break
            self._publisher.produce(
                self._kafka.name(TOPIC_OF[type(event)]),
                key=key_of(event),
                value=encode(event),
                headers=[*headers_of(event), (ORDINAL, b"%d" % self._published)],
            )
            self._published += 1
        self._publisher.poll(0)

    def _await(self, done: Callable[[], bool], missing: str) -> None:
        """Take what comes until `done`. Raises KafkaError where it takes too long."""
        end = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > end:
                raise KafkaError(f"rehearsal of {self._name}: {missing} within {PATIENCE_S:g} s; do all parts run?")
            first = self._consumer.poll(POLL_S)
            for message in [] if first is None else [first, *self._consumer.consume(AHEAD, 0)]:
                self._receive(message)

    def _is_quiet(self) -> bool:
        """Tell whether desk, gateway and executor have taken all entries and nothing of theirs is still to come."""
        seq = self._seqs[self._name]
        return (
            self._desk.seq == seq
            and self._executor.seq == seq
            and self._executor.cause == self._last_shown
            and len(self._questions) == self._answered + len(self._verdicts) == self._desk.requests
            and self._fills == self._executor.orders
        )

    def _receive(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        topic = self._topics[cast("str", message.topic())]
        value = message.value() or b""
        if topic == PROGRESS:
            self._heard(decode_own(value))
        elif topic == REQUESTS:
            self._questions.setdefault(decode_own(value).id, len(self._questions))
        else:
            self._input(topic, message)

    def _heard(self, progress: Event) -> None:
        if isinstance(progress, JournalProcessed) and progress.key == self._name:
            self._desk = progress
        elif isinstance(progress, JournalProcessed) and progress.key == snapshot_key(self._name):
            self._executor = progress

    def _input(self, topic: str, message: Message) -> None:
        place = cast("int", message.partition()), cast("int", message.offset())
        self._offsets.setdefault(topic, {})[str(place[0])] = place[1] + 1
        taken = self._intake.take(Record(topic, *place, 0, message.value()), LATEST_NS)
        ordinal = dict(message.headers() or ()).get(ORDINAL)
        if isinstance(taken, RecordRefused):
            self._refused.append(taken)
        if ordinal is not None:
            self._arrived[int(ordinal)] = None if isinstance(taken, RecordRefused) else taken[0]
        elif not isinstance(taken, RecordRefused):
            self._answer(taken[0])

    def _answer(self, event: Event) -> None:
        """Keep a fill until its time, of one time as they came; a verdict, until its question is known to be read."""
        if TOPIC_OF[type(event)] == "verdicts":
            self._verdicts.append(event)
        else:
            self._fills += 1
            heappush(self._answers, (event.observed_at, _rank(event), self._fills, event))


def _rank(event: Event) -> int:
    topic = TOPIC_OF[type(event)]
    return MARKET_RANK if topic in ("ticks", "bars") else RANKS[topic]


def _in_order(source: Archive, mark_ns: int) -> Iterator[Event]:
    """Give the archive's inputs in the order of a local replay; texts after the last price end with the next mark."""
    texts = archived_inputs(source)
    text = next(texts, None)
    last = 0
    for frame in source.frames():
        for row in range(len(frame)):
            event = frame.event(row, "", 0)
            while text is not None and (text.observed_at, _rank(text)) < (event.observed_at, MARKET_RANK):
                yield text
                text = next(texts, None)
            yield event
            last = event.observed_at
    while text is not None and text.observed_at <= -(-last // mark_ns) * mark_ns:
        yield text
        text = next(texts, None)
