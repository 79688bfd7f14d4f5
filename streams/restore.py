"""Topics made again from a lake: each record at its own offset, with its own key, headers, value and timestamp.

Positions that stand in journals and snapshots so stay true. Offsets that hold no record are made again as they came to
be: one by the mark of a committed transaction, several by a transaction that is taken back. Nothing is written unless
the lake's chain is whole, and nothing behind records that are not the lake's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka import KafkaError as ClientError
from msgspec.structs import replace

from connectors.lake.chains import Partition, partitions_of, read_partition, segment_of
from connectors.lake.kept import Kept, content_sha256, packed, unpacked
from connectors.lake.links import Manifest
from connectors.lake.records import records_of
from connectors.lake.verify import threads, verify
from connectors.store import Store
from schemas.errors import KafkaError, StoreError
from schemas.topics import TOPICS
from streams.admin import create_topics, keep_all, trim
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.reading import read_back
from streams.wire import JOURNAL, SNAPSHOTS, Headers

THREADS = 4
TIMEOUT_S = 60.0
HOLE_OFFSETS = 50_000
"""Of one transaction that is taken back; a longer hole is made of several."""
HOLE_KEY = b"hole"
"""Compacted topics take no record without a key."""
POLL_S = 0.001
COMPRESSED = frozenset({JOURNAL, SNAPSHOTS})
"""As their writers do: the workers alone read them."""
_WRITTEN = 1
"""The type of a timestamp that a producer gave: the only one that can be given again."""


class Restored(NamedTuple):
    """A partition that is on Kafka again."""

    topic: str
    partition: int
    records: int
    """That were written now."""
    there: int
    """That a restore before this one had written."""
    next: int
    retimed: int
    """Records whose timestamp could not be given again: it was the broker's own, or none."""


def restore(
    kafka: Kafka,
    store: Store,
    topics: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Restored]:
    """Write a lake's topics, or those of `topics`, to Kafka, and give what was written of each partition.

    The topics are made if they are not there, and keep everything from now on. What an interrupted restore wrote is
    kept. `progress` is told offsets done and in all. Raises StoreError where the lake is not whole, and KafkaError
    where a topic holds anything else than the lake's first records; then nothing was written.
    """
    _refuse_damaged(store, topics)
    chains = [read_partition(store, *place) for place in partitions_of(store, topics)]
    known = {topic.name: topic.partitions for topic in TOPICS}
    for chain in chains:
        if chain.partition >= known.get(chain.topic, 0):
            raise StoreError(f"{store.where}: {chain.name} is no partition of a topic that this version knows")
    create_topics(kafka)
    keep_all(kafka, sorted({chain.topic for chain in chains}))
    bounds = bounds_of(kafka, [(chain.topic, chain.partition) for chain in chains])
    starts = [_Start(kafka, store, chain, *bounds[chain.topic, chain.partition]) for chain in chains]
    reached = [start.high for start in starts]
    total = sum(chain.links[-1].manifest.next for chain in chains if chain.links)
    stopping = threading.Event()

    def write(place: int) -> Restored:
        def tell(offset: int) -> None:
            reached[place] = offset
            progress(sum(reached), total)

        return _write(kafka, store, chains[place], starts[place].high, there[place], tell, stopping)

    with threads(THREADS) as pool:
        there = list(pool.map(_Start.records_there, starts))
        try:
            return list(pool.map(write, range(len(chains))))
        except BaseException:  # an interrupt, too: what was written is whole, and is gone on from
            stopping.set()
            raise


def _refuse_damaged(store: Store, topics: Sequence[str]) -> None:
    faults = verify(store, topics=topics).faults
    if faults:
        more = f", and {len(faults) - 1:,} more" if len(faults) > 1 else ""
        raise StoreError(f"{store.where}: is not whole: {faults[0]}{more}; nothing was restored")


def records_in(store: Store, chain: Partition) -> Iterator[tuple[Manifest, list[Kept]]]:
    """Give a partition's segments with their records. Raises StoreError where they are not those that were archived."""
    for link in chain.links:
        found = list(records_of(store, link.manifest, chain.moved))
        if content_sha256(found) != link.manifest.content_sha256:
            raise StoreError(
                f"{store.where}: {segment_of(link.manifest)}: its records are not those that were archived"
            )
        yield link.manifest, found


class _Start:
    """What a partition on Kafka holds already."""

    def __init__(self, kafka: Kafka, store: Store, chain: Partition, low: int, high: int) -> None:
        self._kafka, self._store, self._chain, self.low, self.high = kafka, store, chain, low, high

    def records_there(self) -> int:
        """Count the records, each of which must be the lake's. Raises KafkaError otherwise."""
        if not self.high:
            return 0
        found, count = read_back(self._kafka, self._chain.topic, self._chain.partition, self.low, self.high), 0
        for _, records in records_in(self._store, self._chain):
            for record in records:
                if record.offset >= self.high:
                    return count + self._end(found)
                message = next(found, None)
                if message is None or not _same(record, kept(message)):
                    raise self._refused()
                count += 1
        return count + self._end(found)

    def _end(self, found: Iterator[Message]) -> int:
        if next(found, None) is not None:
            raise self._refused()
        return 0

    def _refused(self) -> KafkaError:
        name = f"{self._kafka.name(self._chain.topic)}/{self._chain.partition}"
        return KafkaError(
            f"{name} is not empty, and holds other records than the lake's first; delete the topic, or restore into "
            "another --namespace"
        )


def kept(message: Message) -> Kept:
    """Give a record as the lake keeps it."""
    stamped, timestamp_ms = message.timestamp()
    headers = packed(cast("Headers", message.headers() or []))
    return Kept(message.offset() or 0, timestamp_ms, stamped, message.key(), headers, message.value())


def _same(record: Kept, other: Kept) -> bool:
    if _restorable(record):
        return record == other
    unstamped = {"timestamp_ms": 0, "timestamp_type": 0}
    return replace(record, **unstamped) == replace(other, **unstamped)


def _restorable(record: Kept) -> bool:
    """Tell whether a producer can give the record its timestamp: 0 stands for the present."""
    return record.timestamp_type == _WRITTEN and record.timestamp_ms > 0


def _write(
    kafka: Kafka,
    store: Store,
    chain: Partition,
    high: int,
    there: int,
    tell: Callable[[int], None],
    stopping: threading.Event,
) -> Restored:
    writer = _Writer(kafka, chain.topic, chain.partition, high)
    try:
        for manifest, records in records_in(store, chain):
            for record in records:
                if stopping.is_set():
                    raise KafkaError("the restore was stopped")
                if record.offset >= high:
                    writer.put(record)
            writer.reach(manifest.next)
            tell(manifest.next)
        writer.finish()
    finally:
        writer.close()
    first = chain.links[0].manifest.first if chain.links else 0
    if trimmed := max(first, writer.trimmed):
        trim(kafka, chain.topic, chain.partition, trimmed)
    return Restored(chain.topic, chain.partition, writer.written, there, max(writer.at, high), writer.retimed)


class _Writer:
    """Writes the records of one partition, each at its own offset."""

    def __init__(self, kafka: Kafka, topic: str, partition: int, at: int) -> None:
        self._kafka, self._topic, self._partition = kafka, topic, partition
        self._settings = {"delivery_report_only_error": True, "on_delivery": self._met}
        self._settings |= {"compression_type": "lz4"} if topic in COMPRESSED else {"linger_ms": 20}
        self._plain = Producer(kafka.producer(queue_buffering_max_messages=1_000_000) | self._named())
        self._marking: Producer | None = None
        self._ends = Consumer(kafka.consumer("restore"))
        self._place = TopicPartition(kafka.name(topic), partition)
        self._errors: list[ClientError] = []
        self._held: Kept | None = None
        """The newest record. It is sent when it is known whether a mark follows it."""
        self.at = at
        """The next offset, the held record counted."""
        self.written = self.retimed = self.trimmed = 0

    def put(self, record: Kept) -> None:
        """Take the next record."""
        self.reach(record.offset)
        self._send_held()
        self._held, self.at = record, record.offset + 1

    def reach(self, offset: int) -> None:
        """Make the offsets before `offset` that hold no record."""
        hole = offset - self.at
        if hole <= 0:
            return
        if hole == 1:
            self._mark()
        else:
            self._send_held()
            self._skip(hole)
        self.at = offset

    def finish(self) -> None:
        """Send what is held, and see that all stands where it should."""
        self._send_held()
        self._await(self.at)

    def close(self) -> None:
        """End the connections."""
        self._ends.close()

    def _send_held(self) -> None:
        if self._held is not None:
            self._send(self._plain, self._held)
            self._held = None

    def _mark(self) -> None:
        """Leave one offset to the mark of a transaction; at a partition's start, to a record that is deleted."""
        held, self._held = self._held, None
        if held is not None:
            self._flush(self._plain)
            self._await(held.offset)
            producer = self._transactional()
            producer.begin_transaction()
            self._send(producer, held)
            producer.commit_transaction(TIMEOUT_S)
            self._await(held.offset + 2)
        elif self.at == 0:
            self._plain.produce(self._kafka.name(self._topic), key=HOLE_KEY, partition=self._partition)
            self._flush(self._plain)
            self.trimmed = 1
        else:
            raise KafkaError(
                f"{self._kafka.name(self._topic)}/{self._partition}: a restore was cut off at offset {self.at:,}, "
                "where it cannot go on; delete the topic and restore it anew"
            )

    def _skip(self, hole: int) -> None:
        """Leave offsets to records that are taken back, and to the marks that say so."""
        self._flush(self._plain)
        self._await(self.at)
        producer, at = self._transactional(), self.at
        while hole:
            some = hole if hole <= HOLE_OFFSETS + 1 else HOLE_OFFSETS  # never one alone is left
            producer.begin_transaction()
            for _ in range(some - 1):
                producer.produce(self._kafka.name(self._topic), key=HOLE_KEY, partition=self._partition)
            self._flush(producer)
            producer.abort_transaction(TIMEOUT_S)
            hole, at = hole - some, at + some
            self._await(at)

    def _send(self, producer: Producer, record: Kept) -> None:
        exact = _restorable(record)
        while True:
            try:
                producer.produce(
                    self._kafka.name(self._topic),
                    partition=self._partition,
                    key=record.key,
                    value=record.value,
                    headers=unpacked(record.headers),
                    timestamp=max(0, record.timestamp_ms),
                )
                break
            except BufferError:
                producer.poll(0.05)
        self.written += 1
        self.retimed += not exact

    def _transactional(self) -> Producer:
        if self._marking is None:
            name = self._kafka.name(f"restore-{self._topic}-{self._partition}")
            self._marking = Producer(self._kafka.producer(transactional_id=name) | self._named())
            self._marking.init_transactions(TIMEOUT_S)
        return self._marking

    def _named(self) -> dict[str, object]:
        return {
            name.replace("_", ".") if name != "on_delivery" else name: each for name, each in self._settings.items()
        }

    def _met(self, error: ClientError | None, _message: Message) -> None:
        if error is not None:
            self._errors.append(error)

    def _flush(self, producer: Producer) -> None:
        left = producer.flush(TIMEOUT_S)
        if self._errors:
            raise KafkaException(self._errors[0])
        if left:
            raise KafkaError(f"{self._kafka.name(self._topic)}/{self._partition}: {left:,} records were not taken")

    def _await(self, offset: int) -> None:
        """Wait until the partition ends at `offset`. Raises KafkaError where it comes to end elsewhere."""
        self._flush(self._plain)
        until = time.monotonic() + TIMEOUT_S
        while True:
            end = self._ends.get_watermark_offsets(self._place, TIMEOUT_S)[1]
            if end == offset:
                return
            if end > offset or time.monotonic() > until:
                name = f"{self._kafka.name(self._topic)}/{self._partition}"
                raise KafkaError(f"{name} ends at {end:,}, not at {offset:,}: another program writes there; stop it")
            time.sleep(POLL_S)
