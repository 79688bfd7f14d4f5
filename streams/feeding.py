"""The host of a feed: it publishes what the feed tells, once, and calls it again when its source fails.

Where a feed stands is read from its topics, from Kafka alone: no other cursor is kept. Time and randomness are here.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Any
from zlib import crc32

from connectors.feeds.protocol import Feed, Newest, Stream
from schemas.base import NS_PER_S, Event
from schemas.checks import check
from schemas.errors import FeedError, KafkaError, RefusedError
from schemas.topics import TOPIC_OF, TOPICS
from streams.health import Health
from streams.kafka import Kafka
from streams.metrics import FeedMeter
from streams.publisher import Publisher
from streams.reading import newest_first, read_own

REMEMBERED_IDS = 100_000
"""So many events back, at least, a repeated one is known."""
LOOKED_BACK = 20_000
"""Records of a partition that are looked at for where a stream stands."""
TURN_S = 0.2
"""How often the host looks at the clock, the broker's answers and the wish to stop."""
QUEUE_FULL_S = 5.0
SHOWN_CHARS = 200
SAID_EVERY_NS = 10 * NS_PER_S
"""The same reason of a refusal is logged so often at most; each is counted."""
MAX_REASONS = 1_000
log = getLogger("quorum.feed")


class RecentIds:
    """The ids of at least the last `kept` events, in bounded memory."""

    def __init__(self, kept: int = REMEMBERED_IDS) -> None:
        self._kept = kept
        self._ids: set[str] = set()
        self._older: set[str] = set()

    def add(self, id_: str) -> bool:
        """Remember an id; tell whether it is new."""
        if id_ in self._ids or id_ in self._older:
            return False
        self._ids.add(id_)
        if len(self._ids) >= self._kept:
            self._older, self._ids = self._ids, set()
        return True


class HostSink:
    """The sink of one feed: checks, drops what was told lately, hands on, counts. The feed's loop alone calls it."""

    def __init__(self, send: Callable[[Event], None], meter: FeedMeter, now: Callable[[], int] = time.time_ns) -> None:
        """`send` publishes an event; `now` gives ns."""
        self._send, self._meter, self._now = send, meter, now
        self._told = RecentIds()
        self.since: dict[Stream, Newest] = {}
        """Where each stream stands."""
        self.heard_at = now()
        """When the source was last heard of, in ns."""
        self._logged: dict[str, int] = {}

    def resume(self, since: Mapping[Stream, Newest], ids: Sequence[str]) -> None:
        """Go on from what the topics hold: the newest of each stream, and ids that stand there."""
        self.since.update(since)
        for id_ in ids:
            self._told.add(id_)

    def now(self) -> int:
        return self._now()

    def heard(self) -> None:
        self.heard_at = self._now()

    def put(self, event: Event) -> None:
        self.heard()
        try:
            check(event)
        except RefusedError as error:
            self.refuse(str(error))
            return
        stream = (type(event), event.key)
        if not self._told.add(event.id):
            self._meter.skipped("told before")
            return
        self._send(event)
        self.since[stream] = Newest(event.occurred_at, event.id)
        self._meter.told(event)

    def skip(self, why: str) -> None:
        self.heard()
        self._meter.skipped(why)

    def refuse(self, reason: str, message: str = "") -> None:
        self._meter.refused()
        now = self._now()
        if now - self._logged.get(reason, -SAID_EVERY_NS) < SAID_EVERY_NS:
            return
        if len(self._logged) >= MAX_REASONS:
            self._logged.clear()
        self._logged[reason] = now
        log.warning("refused", extra={"reason": reason, "said": message[:SHOWN_CHARS]})


class FeedHost:
    """A feed as a part of a worker."""

    def __init__(
        self,
        kafka: Kafka,
        name: str,
        feed: Feed,
        health: Health,
        *,
        stale_s: float = 0.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`stale_s` is the silence after which the source is called anew, 0 never; `jitter` gives 0 to 1."""
        self._kafka, self._name, self._feed, self._health = kafka, name, feed, health
        self._stale_s, self._jitter = stale_s, jitter
        self._meter = FeedMeter(name, feed.streams)
        self._publisher = Publisher(kafka)
        self._sink = HostSink(self._send, self._meter)
        health.probe(f"feed {name} is heard", self._silence)

    def run(self, stopping: threading.Event) -> None:
        """Tell what the source says until `stopping` is set. Raises KafkaError where the broker does not take it."""
        self._sink.resume(*stands(self._kafka, self._feed.streams))
        try:
            asyncio.run(self._run(stopping))
        finally:
            self._meter.forget()
        self._publisher.confirm()

    async def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._sink.heard()
            call = asyncio.create_task(self._feed.run(self._sink, dict(self._sink.since)))
            try:
                await self._attend(call, stopping)
            except (FeedError, OSError) as error:
                pause_s = self._pause_s(error)
                log.warning("source failed", extra={"feed": self._name, "error": str(error), "pause_s": pause_s})
                await self._rest(pause_s, stopping)
                self._health.running(self._part)
            finally:
                await _ended(call)

    @property
    def _part(self) -> str:
        return f"feed {self._name}"

    async def _attend(self, call: asyncio.Task[None], stopping: threading.Event) -> None:
        """Wait for the feed's failure, its silence or the wish to stop; take in the broker's answers meanwhile."""
        while not stopping.is_set():
            done, _ = await asyncio.wait([call], timeout=TURN_S)
            self._publisher.poll()
            self._meter.look(self._sink.now())
            if done:
                call.result()
                raise FeedError(f"{self._name}: the feed has ended, which no feed should")
            if reason := self._silence():
                raise FeedError(reason)

    async def _rest(self, pause_s: float, stopping: threading.Event) -> None:
        until = time.monotonic() + pause_s
        while not stopping.is_set() and time.monotonic() < until:
            await asyncio.sleep(min(TURN_S, pause_s))
            self._publisher.poll()
            self._meter.look(self._sink.now())

    def _pause_s(self, error: Exception) -> float:
        """Give how long to wait: longer each time, spread by chance, and never less than the source asks for."""
        self._meter.failed()
        usual_s = self._health.restarting(self._part, str(error))
        return max(usual_s * (0.5 + 0.5 * self._jitter()), getattr(error, "retry_after_s", 0.0))

    def _silence(self) -> str:
        """Say that the source is silent; empty where it is not."""
        silent_s = (self._sink.now() - self._sink.heard_at) / NS_PER_S
        return f"{self._name}: silent for {silent_s:,.0f} s" if 0 < self._stale_s < silent_s else ""

    def _send(self, event: Event) -> None:
        try:
            self._publisher.send(event)
        except BufferError:  # the broker is slower than the source: let the source wait
            self._publisher.poll(QUEUE_FULL_S)
            try:
                self._publisher.send(event)
            except BufferError:
                raise KafkaError(f"{self._name}: the broker takes nothing for {QUEUE_FULL_S:g} s") from None


async def _ended(call: asyncio.Task[Any]) -> None:
    call.cancel()
    await asyncio.wait([call])
    if not call.cancelled() and (error := call.exception()) is not None and not isinstance(error, FeedError | OSError):
        raise error


def stands(kafka: Kafka, streams: Sequence[Stream]) -> tuple[dict[Stream, Newest], list[str]]:
    """Read from the topics where each stream stands, and the ids of the newest records that were read for it.

    A stream that is not among the last `LOOKED_BACK` records of its partition is taken for new.
    """
    found: dict[Stream, Newest] = {}
    ids: list[str] = []
    for topic in TOPICS:
        wanted = {stream for stream in streams if TOPIC_OF[stream[0]] == topic.name}
        usual = {crc32(key.encode()) % topic.partitions for _, key in wanted}  # where librdkafka puts a key
        for partition in sorted(range(topic.partitions), key=lambda n: n not in usual) if wanted else ():
            _look_back(kafka, topic.name, partition, wanted, found, ids)
            if wanted <= found.keys():
                break
    ids.reverse()
    return found, ids


def _look_back(
    kafka: Kafka, topic: str, partition: int, wanted: set[Stream], found: dict[Stream, Newest], ids: list[str]
) -> None:
    looked = 0
    for block in newest_first(kafka, topic, partition):
        for message in reversed(block):
            event = read_own(message.value(), Event)
            if event is None or (type(event), event.key) not in wanted:
                continue
            ids.append(event.id)
            found.setdefault((type(event), event.key), Newest(event.occurred_at, event.id))
        looked += len(block)
        if wanted <= found.keys() or looked >= LOOKED_BACK:
            return
