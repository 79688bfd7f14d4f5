"""What archiving is tested on: records of every sort on real topics, archivers to end at will, and both sides read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from confluent_kafka import Producer

from connectors.lake.layout import chain_folder
from connectors.lake.links import Manifest, read_link
from connectors.lake.records import Kept, records_of
from connectors.lake.verify import verify
from connectors.store import Store, open_store
from schemas.base import NS_PER_MS, Event, market_id
from schemas.codec import encode
from schemas.market import TradeTicked
from schemas.topics import TOPIC_OF, TOPICS
from streams.archiver import Archiver
from streams.health import Health
from streams.kafka import ENVIRONMENT, Kafka
from streams.lag import bounds_of
from streams.reading import bounds, read_back
from streams.restore import kept
from streams.wire import headers_of, key_of

ROOT = Path(__file__).parents[2]
PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}
PLACES = [(topic.name, n) for topic in TOPICS for n in range(topic.partitions)]
T0 = 1_700_000_000_000_000_000


def tick(number: int, key: str = "BTC/USDT@binance") -> TradeTicked:
    at = T0 + number * 7 * NS_PER_MS
    price = 40_000 + number % 997 / 10
    return TradeTicked(
        id=market_id(key, "trade", number), key=key, occurred_at=at, observed_at=at, price=price, size=0.25, side="buy"
    )


Odd = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]
ODD: list[Odd] = [
    (b"", b"", []),
    (b"\xff\x00", b"\xff{", [("", None), ("a", b""), ("a", b"\xff")]),
    (b"k", encode(tick(1)).replace(b'"size":0.25', b'"size":2.5e-1'), [("type", b"TradeTicked")]),
    (b"k", None, [("id", b"x")]),
]
WITHOUT_KEY: list[Odd] = [(None, None, []), (None, b"x", [])]
COMPACTED = frozenset(topic.name for topic in TOPICS if topic.compacted)


class Teller:
    """Writes to the topics of a namespace: events as they should be, and records that nobody should write."""

    def __init__(self, kafka: Kafka, rng: Random) -> None:
        self._kafka, self._rng = kafka, rng
        self._plain = Producer(kafka.producer())
        self._number = 0

    def ticks(self, count: int, partition: int | None = None) -> None:
        for _ in range(count):
            self._number += 1
            event = tick(self._number)
            self._send(self._plain, "ticks", partition, event)
        self._plain.flush()

    def oddities(self, topic: str = "ticks") -> None:
        """Write what Kafka takes and we would not: nulls, empty bytes, bad JSON, headers of others, other orders."""
        name, partition = self._kafka.name(topic), self._rng.randrange(PARTITIONS[topic])
        records = ODD + ([] if topic in COMPACTED else WITHOUT_KEY)
        for key, value, headers in records:
            at_ms = self._rng.randrange(1, 10**12)
            self._plain.produce(name, value, key, partition, headers=headers, timestamp=at_ms)
        self._plain.flush()

    def transactions(self, topic: str = "ticks", count: int = 3) -> None:
        """Write some records in transactions, every other of which is given up: holes among the offsets."""
        name = self._kafka.name(f"teller-{self._rng.random()}")
        producer = Producer(self._kafka.producer(transactional_id=name))
        producer.init_transactions(30)
        for n in range(count):
            producer.begin_transaction()
            for _ in range(self._rng.randrange(1, 5)):
                self._number += 1
                self._send(producer, topic, self._rng.randrange(PARTITIONS[topic]), tick(self._number))
            producer.flush()
            if n % 2:
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)

    def tell(self, events: Iterable[Event]) -> None:
        """Write events as they are, each to the partition of its key."""
        for event in events:
            self._send(self._plain, TOPIC_OF[type(event)], -1, event)
        self._plain.flush()

    def _send(self, producer: Producer, topic: str, partition: int | None, event: Event) -> None:
        where = self._rng.randrange(PARTITIONS[topic]) if partition is None else partition
        producer.produce(self._kafka.name(topic), encode(event), key_of(event), where, headers=headers_of(event))
        producer.poll(0)


def on_kafka(kafka: Kafka, topic: str, partition: int) -> list[Kept]:
    return [kept(each) for each in read_back(kafka, topic, partition, bounds(kafka, topic, partition)[0])]


def everything(kafka: Kafka) -> dict[tuple[str, int], list[Kept]]:
    """Give the records of all topics."""
    return {
        place: list(map(kept, read_back(kafka, *place, low, high))) if high > low else []
        for place, (low, high) in bounds_of(kafka, PLACES).items()
    }


def manifests_of(store: Store, topic: str, partition: int) -> list[Manifest]:
    keys = [each.key for each in store.list(chain_folder(topic, partition)) if each.key.endswith(".json")]
    return [read_link(store, key, store.get(key) or b"", Manifest) for key in keys]


def in_lake(store: Store, topic: str, partition: int) -> list[Kept]:
    """Give a partition's records, and see that its segments join and hold what they say."""
    found: list[Kept] = []
    end = None
    for manifest in manifests_of(store, topic, partition):
        assert end in (None, manifest.first), "segments join"
        end = manifest.next
        records = list(records_of(store, manifest))
        assert len(records) == manifest.rows
        assert all(manifest.first <= each.offset < manifest.next for each in records)
        found += records
    return found


def behind(kafka: Kafka, where: str) -> list[str]:
    """Name the partitions whose newest record is not in the lake."""
    store, late = open_store(where), []
    for (topic, partition), (low, high) in bounds_of(kafka, PLACES).items():
        ends = [manifest.next for manifest in manifests_of(store, topic, partition)] or [low]
        if high > ends[-1] and any(True for _ in read_back(kafka, topic, partition, ends[-1], high)):
            late.append(f"{topic}/{partition}")
    return late


def await_(what: str, done: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.1)


def assert_same(kafka: Kafka, where: str) -> int:
    """See that the lake is whole, and holds each record of every topic once and as it stands; give how many."""
    store, count = open_store(where), 0
    faults = verify(store, deep=True).faults
    assert not faults, "; ".join(map(str, faults[:5]))
    for place, source in everything(kafka).items():
        assert in_lake(store, *place) == source, place
        count += len(source)
    return count


@contextmanager
def archiving(kafka: Kafka, store: Store, every_s: float = 0.2, topics: tuple[str, ...] = ()) -> Iterator[Health]:
    """Run an archiver in this process."""
    health, stopping, failed = Health("test"), threading.Event(), []
    health.running("archiver")

    def run() -> None:
        try:
            Archiver(kafka, store, health=health, topics=topics, every_s=every_s).run(stopping)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield health
    finally:
        stopping.set()
        thread.join(60)
    assert not failed, failed


def start_archiver(kafka: Kafka, where: str, log: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start `quorum worker archiver` as a process of its own."""
    mine = {ENVIRONMENT + "BOOTSTRAP": kafka.bootstrap, ENVIRONMENT + "NAMESPACE": kafka.namespace}
    command = [sys.executable, "-m", "cli", "worker", "archiver", "--lake", where, *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **mine, **environment}, stdout=output, stderr=output
        )
