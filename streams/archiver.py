"""The archiver: every record of every topic into the lake, once, and where to go on is asked of the lake itself.

A consumer group shares out the partitions and keeps no positions. Of each partition the records since the chain's end
are held in memory until they make a segment, which a thread encodes and puts; whatever ends an archiver, the next one
finds the plan of the segment that was under way and makes the same one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import groupby
from logging import getLogger
from typing import cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as Code

from connectors.lake.kept import Kept
from connectors.lake.manifests import Manifest
from connectors.store import Store
from schemas.errors import KafkaError, QuorumError, StoreError
from schemas.topics import TOPICS
from streams.health import Health
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.lane import Done, Lane, Position, archive, locate
from streams.metrics import ArchiverMeter
from streams.restore import kept

EVERY_S = 60.0
"""How long a record waits at most for its segment to fill."""
HELD_BYTES = 512 << 20
"""Of records in memory, all partitions together, as far as `Lane` knows; above it segments are cut early."""
THREADS = 4
"""Segments under way at a time: while one waits for the store another is encoded."""
BATCH = 250
"""Messages taken at once. The collector runs after 700 objects that it follows, as messages are and what is held of
them is not, and then goes over the lists of all that is held: so few at once keep it from running."""
POLL_S = 0.1
SHOW_S = 1.0
GROUP = "archiver"
Place = tuple[str, int]
"""A topic as it is named on the cluster, and a partition."""
log = getLogger("quorum.archiver")


class Archiver:
    """One worker in the group that archives some topics, as a part of a worker process."""

    def __init__(
        self,
        kafka: Kafka,
        store: Store,
        *,
        health: Health,
        topics: Sequence[str] = (),
        every_s: float = EVERY_S,
        worker: str = "",
    ) -> None:
        """`topics` are all of the table unless named; `worker` names the place that this one keeps over a restart."""
        self._kafka, self._store, self._health = kafka, store, health
        self._worker, self._every_s = worker, every_s
        self._topics = {kafka.name(name): name for name in topics or [topic.name for topic in TOPICS]}
        self._lanes: dict[Place, Lane] = {}
        self._held_bytes = 0
        self._meter = ArchiverMeter()
        self._shown = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Archive until `stopping` is set. What is not a segment by then the next archiver reads again.

        Raises KafkaException where the cluster fails. What is wrong with one partition, or with the store, stops no
        other partition: it is told, and tried again after a pause.
        """
        self._health.probe(GROUP, lambda: "" if self._lanes else "no partition is assigned")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=GROUP)
        self._consumer = Consumer(self._kafka.member(GROUP, self._worker, "error") | {"enable.partition.eof": True})
        self._consumer.subscribe(list(self._topics), on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)
        try:
            while not stopping.is_set():
                messages = self._consumer.consume(BATCH, POLL_S)
                now = time.monotonic()
                for place, run in groupby(messages, _place_of):
                    self._take(place, list(run), now)
                self._turn()
                while self._held_bytes > HELD_BYTES and self._jobs() and not stopping.is_set():
                    wait(self._jobs(), POLL_S, FIRST_COMPLETED)
                    self._turn()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._let_go(list(self._lanes))
            self._consumer.close()

    # What Kafka gives

    def _given(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Begin each partition where its chain ends; one whose chain cannot be followed waits."""
        lanes = [Lane(self._topics[each.topic], each.partition) for each in partitions]
        bounds = bounds_of(self._kafka, [(lane.topic, lane.partition) for lane in lanes])
        jobs = [self._pool.submit(locate, self._store, lane.topic, lane.partition, bounds) for lane in lanes]
        waiting = []
        for each, lane, job in zip(partitions, lanes, jobs, strict=True):
            self._lanes[each.topic, each.partition] = lane
            try:
                lane.position = job.result()
                each.offset = lane.position.first
            except StoreError as error:
                each.offset = bounds[lane.topic, lane.partition][1]  # nothing is taken from there
                waiting.append(each)
                self._trouble((each.topic, each.partition), error)
        consumer.incremental_assign(list(partitions))
        consumer.pause(waiting)

    def _taken(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Finish nothing: who has them now goes on from the chain, and from the plan if there is one."""
        self._let_go([(each.topic, each.partition) for each in partitions])
        consumer.incremental_unassign(list(partitions))

    def _let_go(self, places: Sequence[Place]) -> None:
        gone = [self._lanes.pop(place) for place in places if place in self._lanes]
        for lane in gone:
            self._held_bytes -= lane.held_bytes
            self._health.gone(lane.name)
        self._meter.forget({lane.topic for lane in gone} - {lane.topic for lane in self._lanes.values()})

    def _take(self, place: Place, messages: Sequence[Message], now: float) -> None:
        """Hold what came of a partition, in the order of its offsets."""
        records = [kept(message) for message in messages if message.error() is None]
        lane = self._lanes.get(place)
        if lane is not None and lane.position is not None:
            following = _following(records, max(lane.position.first, lane.reached))
            self._held_bytes += lane.take(following, now)
        if len(records) < len(messages):
            for message in messages:
                error = message.error()
                if error is not None:
                    self._met(place, error, cast("int", message.offset()))

    def _met(self, place: Place, error: Code, offset: int) -> None:
        """Take what is told of a partition instead of a record."""
        if error.code() == Code._PARTITION_EOF:  # noqa: SLF001 - the binding's own name for it
            if place in self._lanes:
                self._lanes[place].end = offset
        elif error.code() == Code._AUTO_OFFSET_RESET and place in self._lanes:  # noqa: SLF001
            self._trouble(place, KafkaError(f"{place[0]}/{place[1]}: {error.str()}"))
            self._consumer.pause([TopicPartition(*place)])
        else:
            raise KafkaException(error)

    # What becomes of it

    def _jobs(self) -> list[Future[Done]]:
        return [lane.job for lane in self._lanes.values() if lane.job is not None]

    def _turn(self) -> None:
        """Settle what is done, begin what is due."""
        now = time.monotonic()
        for place, lane in list(self._lanes.items()):
            if lane.job is not None and lane.job.done():
                self._settle(place, lane, lane.job)
                lane = self._lanes[place]  # noqa: PLW2901 - a failed job leaves a fresh one
            if lane.position is None and lane.job is None and now >= lane.retry_at:
                lane.job = self._pool.submit(self._locate_again, lane.topic, lane.partition)
            elif lane.is_due(now, self._every_s):
                self._begin(lane, now)
        if self._held_bytes > HELD_BYTES:
            free = [lane for lane in self._lanes.values() if not lane.job and lane.position and not lane.planned]
            for lane in sorted(free, key=lambda each: -each.held_bytes)[: max(0, THREADS - len(self._jobs()))]:
                if lane.records:
                    self._begin(lane, now)
        if now - self._shown >= SHOW_S:
            self._shown = now
            self._show()

    def _begin(self, lane: Lane, now: float) -> None:
        assert lane.position is not None  # noqa: S101 - a lane that is due has one
        end, records = lane.segment()
        lane.since = now
        lane.job = self._pool.submit(archive, lane.position, end, records)

    def _settle(self, place: Place, lane: Lane, job: Future[Done]) -> None:
        """Take a job's result; a job that failed leaves its partition to be read again from where its chain ends."""
        lane.job = None
        try:
            done = job.result()
        except QuorumError as error:
            self._trouble(place, error)
            self._consumer.pause([TopicPartition(*place)])
            return
        if isinstance(done, Position):
            lane.position = done
            self._consumer.seek(TopicPartition(*place, done.first))
            self._consumer.resume([TopicPartition(*place)])
        elif isinstance(done, int):
            lane.planned = done
        else:
            self._archived(lane, done)

    def _archived(self, lane: Lane, manifest: Manifest) -> None:
        assert lane.position is not None  # noqa: S101 - it was archived from there
        lane.position = Position(lane.position.chain, manifest.next)
        lane.planned = 0
        self._held_bytes -= lane.drop(lane.before(manifest.next))
        lane.oldest_ms = lane.records[0].timestamp_ms if lane.records else None
        if lane.in_trouble:
            lane.in_trouble = False
            self._health.gone(lane.name)
        self._meter.archived(lane.topic, manifest.rows, sum(file.bytes for file in manifest.files))

    def _trouble(self, place: Place, error: QuorumError) -> None:
        """Hold nothing of a partition, say what is wrong, and look it up again after a pause."""
        lane = self._lanes[place]
        self._held_bytes -= lane.held_bytes
        fresh = self._lanes[place] = Lane(lane.topic, lane.partition)
        fresh.oldest_ms, fresh.in_trouble = lane.oldest_ms, True
        fresh.retry_at = time.monotonic() + self._health.restarting(lane.name, str(error))
        log.warning("not archived", extra={"part": lane.name, "error": str(error)})

    def _locate_again(self, topic: str, partition: int) -> Position:
        return locate(self._store, topic, partition, bounds_of(self._kafka, [(topic, partition)]))

    def _show(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        ages: dict[str, int] = {}
        for lane in self._lanes.values():
            age_ms = 0 if lane.oldest_ms is None else max(0, now_ms - lane.oldest_ms)
            ages[lane.topic] = max(ages.get(lane.topic, 0), age_ms)
        self._meter.oldest(ages)


def _place_of(message: Message) -> Place:
    return cast("str", message.topic()), cast("int", message.partition())


def _following(records: Sequence[Kept], expected: int) -> list[Kept]:
    """Leave out what was on its way before the partition was looked up again: offsets only rise, from `expected`."""
    found = []
    for record in records:
        if record.offset >= expected:
            found.append(record)
            expected = record.offset + 1
    return found
