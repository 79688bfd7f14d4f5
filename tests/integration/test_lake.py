"""Topics archived and restored: on a real Kafka each record stands again where it stood."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from msgspec import structs

from connectors.lake.kept import Kept, unpacked
from connectors.lake.manifests import Chain
from connectors.store import FolderStore
from schemas.base import NS_PER_MS
from schemas.codec import encode
from schemas.errors import KafkaError, StoreError
from schemas.wire import Headers, headers_of, key_of
from streams.admin import create_topics, delete_topics, trim
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.reading import read_back
from streams.restore import kept, restore
from tests.connectors.lake.lakes import frame, tick

SEGMENT = 25
PLACES = [("ticks", 3), ("journal", 1), ("control", 0)]


@pytest.fixture
def target(kafka: Kafka) -> Iterator[Kafka]:
    """Another namespace on the same broker."""
    other = structs.replace(kafka, namespace=f"test-{secrets.token_hex(4)}.")
    yield other
    delete_topics(other)


def produce_ticks(kafka: Kafka) -> None:
    """Write ticks of ours, and records of every odd sort, to ticks/3."""
    producer = Producer(kafka.producer())
    name = kafka.name("ticks")
    for number in range(60):
        event = tick(number)
        at = event.observed_at // NS_PER_MS
        headers = headers_of(event) if number % 2 else []
        producer.produce(name, partition=3, key=key_of(event), value=encode(event), headers=list(headers), timestamp=at)
    odds: list[Headers] = [[], [("a", None), ("a", b""), ("b", b"\xff")]]
    for key in (None, b"", b"k"):
        for value in (None, b"", b"no event", b"\xff\x00"):
            for odd in odds:
                producer.produce(name, partition=3, key=key, value=value, headers=odd, timestamp=1_700_000_000_000)
    assert not producer.flush(30)


def produce_journal(kafka: Kafka) -> None:
    """Write the journal as a sequencer does: a frame or several a transaction, one taken back now and then."""
    producer = Producer(kafka.producer(transactional_id=kafka.name("journal-of-test")))
    producer.init_transactions(30)
    offset = 0
    for turn in range(24):
        producer.begin_transaction()
        for _ in range(1 + turn % 3):
            record = frame(offset, offset)
            producer.produce(
                kafka.name("journal"),
                partition=1,
                value=record.value,
                headers=unpacked(record.headers),
                timestamp=record.timestamp_ms,
            )
            offset += 1
        producer.flush(30)
        if turn % 5 == 4:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)


def held(kafka: Kafka, topic: str, partition: int) -> list[Kept]:
    return [
        kept(message)
        for message in read_back(kafka, topic, partition, bounds_of(kafka, [(topic, partition)])[topic, partition][0])
    ]


def archive(kafka: Kafka, store: FolderStore) -> dict[tuple[str, int], list[Kept]]:
    """Archive what the places hold, as one does that looks once; give the records."""
    found = {}
    for (topic, partition), (low, high) in bounds_of(kafka, PLACES).items():
        records = found[topic, partition] = held(kafka, topic, partition)
        chain = Chain(store, topic, partition)
        for first in range(low, high, SEGMENT):
            next_ = chain.plan(first, min(high, first + SEGMENT))
            chain.commit(first, next_, [record for record in records if first <= record.offset < next_])
    return found


@pytest.fixture
def told(kafka: Kafka, tmp_path: Path) -> tuple[Kafka, FolderStore, dict[tuple[str, int], list[Kept]]]:
    produce_ticks(kafka)
    produce_journal(kafka)
    store = FolderStore(tmp_path / "lake")
    return kafka, store, archive(kafka, store)


def test_topics_are_restored_byte_for_byte_at_their_own_offsets(
    told: tuple[Kafka, FolderStore, dict[tuple[str, int], list[Kept]]], target: Kafka
) -> None:
    kafka, store, records = told
    assert len(records["ticks", 3]) == 84
    assert len(records["journal", 1]) < bounds_of(kafka, [("journal", 1)])["journal", 1][1] - 20
    done = restore(target, store)
    assert {(each.topic, each.partition): each.records for each in done} == {
        place: len(found) for place, found in records.items() if found
    }
    for place, found in records.items():
        assert held(target, *place) == found
    assert bounds_of(target, PLACES) == bounds_of(kafka, PLACES)
    again = restore(target, store)
    assert [(each.records, each.there) for each in again] == [(0, each.records) for each in done]
    for place, found in records.items():
        assert held(target, *place) == found


def test_a_restore_that_was_cut_off_goes_on(
    told: tuple[Kafka, FolderStore, dict[tuple[str, int], list[Kept]]], target: Kafka
) -> None:
    _, store, records = told
    create_topics(target)
    producer = Producer(target.producer())
    for record in records["ticks", 3][:31]:
        producer.produce(
            target.name("ticks"),
            partition=3,
            key=record.key,
            value=record.value,
            headers=unpacked(record.headers),
            timestamp=record.timestamp_ms,
        )
    assert not producer.flush(30)
    done = {each.topic: each for each in restore(target, store)}
    assert (done["ticks"].there, done["ticks"].records) == (31, 53)
    assert held(target, "ticks", 3) == records["ticks", 3]


def test_an_interrupt_leaves_what_can_be_gone_on_from(
    told: tuple[Kafka, FolderStore, dict[tuple[str, int], list[Kept]]], target: Kafka
) -> None:
    _, store, records = told
    calls = 0

    def interrupt(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(target, store, progress=interrupt)
    written = sum(len(held(target, *place)) for place in PLACES)
    done = restore(target, store)
    assert sum(each.there for each in done) == written > 0
    assert sum(each.records for each in done) > 0
    for place, found in records.items():
        assert held(target, *place) == found


def test_a_topic_that_holds_something_else_is_refused_and_left(
    told: tuple[Kafka, FolderStore, dict[tuple[str, int], list[Kept]]], target: Kafka
) -> None:
    _, store, _ = told
    create_topics(target)
    producer = Producer(target.producer())
    producer.produce(target.name("ticks"), partition=3, value=b"mine")
    assert not producer.flush(30)
    with pytest.raises(KafkaError, match=r"ticks/3 is not empty, and holds other records"):
        restore(target, store)
    assert [record.value for record in held(target, "ticks", 3)] == [b"mine"]
    assert held(target, "journal", 1) == []


def test_a_lake_that_begins_late_is_restored_at_its_offsets(kafka: Kafka, target: Kafka, tmp_path: Path) -> None:
    produce_ticks(kafka)
    produce_journal(kafka)
    trim(kafka, "ticks", 3, 7)
    trim(kafka, "journal", 1, 1)
    store = FolderStore(tmp_path / "lake")
    records = archive(kafka, store)
    assert records["ticks", 3][0].offset == 7
    restore(target, store)
    for place, found in records.items():
        assert held(target, *place) == found
    assert bounds_of(target, PLACES) == bounds_of(kafka, PLACES)


def test_a_lake_that_is_not_whole_is_refused(
    told: tuple[Kafka, FolderStore, dict[tuple[str, int], list[Kept]]], target: Kafka
) -> None:
    _, store, _ = told
    store.delete("manifests/ticks/0003/00000000000000000025.json")
    with pytest.raises(StoreError, match=r"is not whole: ticks/3 \[25, 50\): is missing.*nothing was restored"):
        restore(target, store)
