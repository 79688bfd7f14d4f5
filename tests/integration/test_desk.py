"""The desk on a real broker: killed at any point it loses no output, and doubles only those that it had not told of."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from schemas.base import Event
from schemas.codec import decode_own, encode
from schemas.operations import JournalProcessed
from schemas.topics import TOPIC_OF
from streams.bookhost import BookHost
from streams.desk import DeskPartition
from streams.kafka import Kafka, partition_of
from streams.progress import processed
from streams.publisher import Publisher
from streams.reading import read_back
from streams.wire import BY_BOOK, JOURNAL, PROGRESS, SNAPSHOTS, Position, frame_headers, headers_of, key_of, pack
from tests.streams.papers import History, replayed

ROOT = Path(__file__).parents[2]
HISTORY = replayed(3, 150)
PARTITION = partition_of(HISTORY.book.name)
CHILD = """
import json, os, signal, sys
from schemas.operations import JournalProcessed
from streams import desk
from streams.kafka import Kafka
from streams.progress import processed
from streams.publisher import Publisher
from streams.reading import read_back
from streams.wire import JOURNAL
from tests.replay.market import book_of

told = json.loads(sys.argv[1])
desk.SNAPSHOT_EVERY_NS = told["snapshot_every_ns"]

class Mortal(Publisher):
    # Dies around the progress that it is told to die at: all that it tells of is on the broker.
    def send(self, event, *headers):
        is_progress = isinstance(event, JournalProcessed)
        told["records"] -= is_progress
        if is_progress and not told["records"] and told["dies"] == "untold":
            os.kill(os.getpid(), signal.SIGKILL)
        super().send(event, *headers)
        if is_progress and not told["records"]:
            self.confirm()
            os.kill(os.getpid(), signal.SIGKILL)

kafka = Kafka(bootstrap=told["bootstrap"], namespace=told["namespace"])
mine = desk.DeskPartition(kafka, told["partition"], [book_of()], Mortal(kafka))
for message in read_back(kafka, JOURNAL, told["partition"], told["offset"]):
    mine.take(message.offset(), message.value())
"""


def publish(kafka: Kafka, history: History, seed: int) -> list[int]:
    """Publish a journal; give the last entry of each record, whose offset is its place in the list."""
    producer, rng, lo, last = Producer(kafka.producer()), Random(seed), 0, []
    while lo < len(history.journal):
        hi = min(len(history.journal), lo + rng.randint(1, 12))
        frame = [encode(entry) for entry in history.journal[lo:hi]]
        producer.produce(
            kafka.name(JOURNAL),
            partition=PARTITION,
            value=pack(frame),
            headers=frame_headers(Position({history.book.name: hi}, {}), len(frame)),
        )
        last.append(hi)
        lo = hi
    producer.flush()
    return last


def expected() -> list[Event]:
    return BookHost(HISTORY.book).feed([decode_own(encode(entry)) for entry in HISTORY.journal])


def outputs(kafka: Kafka) -> dict[str, list[bytes]]:
    """Give what stands in the book's partition of each topic that its desk writes to."""
    return {
        topic: [message.value() or b"" for message in read_back(kafka, topic, PARTITION, 0)]
        for topic in by_topic(expected())
    }


def by_topic(events: Sequence[Event]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for event in events:
        if TOPIC_OF[type(event)] in BY_BOOK:
            found.setdefault(TOPIC_OF[type(event)], []).append(encode(event))
    return found


def once(found: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    return {topic: list(dict.fromkeys(lines)) for topic, lines in found.items()}


def doubles(found: dict[str, list[bytes]]) -> int:
    return sum(count - 1 for lines in found.values() for count in Counter(lines).values())


def take_all(kafka: Kafka, start: int = 0, **changes: object) -> DeskPartition:
    """Let a new desk take the journal from a record on."""
    book = msgspec.structs.replace(HISTORY.book, **changes)
    publisher = Publisher(kafka)
    desk = DeskPartition(kafka, PARTITION, [book], publisher)
    for message in read_back(kafka, JOURNAL, PARTITION, start):
        desk.take(message.offset() or 0, message.value() or b"")
    publisher.confirm()
    return desk


@pytest.mark.parametrize("snapshot_every_ns", [0, 10**18])
def test_killed_at_any_point_it_doubles_what_it_had_not_told_of(kafka: Kafka, snapshot_every_ns: int) -> None:
    last, rng = publish(kafka, HISTORY, 1), Random(2)
    seqs = Counter(event.seq for event in expected() if TOPIC_OF[type(event)] in BY_BOOK)
    at = allowed = 0
    for dies in ("told", "untold", "untold", "told", "untold"):
        records = rng.randint(5, 15)
        told: dict[str, object] = {"bootstrap": kafka.bootstrap, "namespace": kafka.namespace, "partition": PARTITION}
        told |= {"dies": dies, "records": records, "snapshot_every_ns": snapshot_every_ns}
        told["offset"] = max(0, at - rng.randint(0, 4))  # the group's position lags behind what was taken
        child = subprocess.run([sys.executable, "-c", CHILD, json.dumps(told)], cwd=ROOT, check=False)
        assert child.returncode == -signal.SIGKILL
        at += records
        if dies == "untold":
            at -= 1
            first = last[at - 1] if at else 0
            allowed += sum(seqs[seq] for seq in range(first + 1, last[at] + 1))
    take_all(kafka, at - 3)
    found = outputs(kafka)
    assert once(found) == by_topic(expected())
    assert doubles(found) == allowed > 0


def test_it_sends_nothing_again_that_is_told_of(kafka: Kafka) -> None:
    last = publish(kafka, HISTORY, 3)
    take_all(kafka)
    before = outputs(kafka)
    assert before == by_topic(expected())
    desk = take_all(kafka, len(last) // 2)
    assert desk.hosts[HISTORY.book.name].seq == last[-1]
    assert outputs(kafka) == before


@pytest.mark.parametrize("other", ["another version", "an older version", "damaged", "another journal"])
def test_it_sends_all_again_where_what_was_told_is_not_what_it_would_tell(kafka: Kafka, other: str) -> None:
    publish(kafka, HISTORY, 4)
    take_all(kafka)
    (*_, newest) = read_back(kafka, PROGRESS, PARTITION, 0)
    progress = decode_own(newest.value() or b"")
    assert isinstance(progress, JournalProcessed)
    odd: dict[str, dict[str, Any]] = {
        "another version": {"orders": progress.orders + 1},
        "an older version": {"id": "the book and the entry alone"},
        "another journal": {"seq": progress.seq + 7},
    }
    value = encode(msgspec.structs.replace(progress, **odd[other])) if other in odd else b"{"
    producer = Producer(kafka.producer())
    producer.produce(kafka.name(PROGRESS), partition=PARTITION, key=newest.key(), value=value)
    producer.flush()
    take_all(kafka, 5)
    found = outputs(kafka)
    assert once(found) == by_topic(expected())
    again = sum(map(len, by_topic(expected()).values()))
    assert doubles(found) == (0 if other == "damaged" else again)


def test_the_executor_s_progress_is_not_taken_for_a_desk_s(kafka: Kafka) -> None:
    publish(kafka, HISTORY, 5)
    take_all(kafka)
    before = outputs(kafka)
    told = processed("t", HISTORY.book.name, 1, HISTORY.journal[0].observed_at, part="executor")
    producer = Producer(kafka.producer())
    producer.produce(
        kafka.name(PROGRESS), partition=PARTITION, key=key_of(told), value=encode(told), headers=headers_of(told)
    )
    producer.flush()
    take_all(kafka, 5)
    assert outputs(kafka) == before


def test_a_changed_book_decides_anew_and_its_outputs_are_sent(kafka: Kafka) -> None:
    publish(kafka, HISTORY, 6)
    take_all(kafka)
    before = outputs(kafka)
    take_all(kafka, 5, mark_every_min=HISTORY.book.mark_every_min * 2)
    after = outputs(kafka)
    assert {topic: lines[: len(before[topic])] for topic, lines in after.items()} == before
    assert sum(map(len, after.values())) > sum(map(len, before.values()))


def test_of_two_books_each_goes_on_from_its_own_newest_state(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    last = publish(kafka, HISTORY, 7)
    monkeypatch.setattr("streams.desk.SNAPSHOT_EVERY_NS", 0)
    take_all(kafka)
    time.sleep(0.5)  # states are not waited for
    saved = [message.value() for message in read_back(kafka, SNAPSHOTS, PARTITION, 0)]
    assert len(saved) > len(last) // 2
    reads: list[tuple[str, int]] = []

    def noted(kafka: Kafka, topic: str, partition: int, start: int, end: int | None = None) -> object:
        reads.append((topic, start))
        return read_back(kafka, topic, partition, start, end)

    monkeypatch.setattr("streams.desk.read_back", noted)
    take_all(kafka, len(last) - 2)
    assert [start for topic, start in reads if topic == JOURNAL] == [len(last) - 2]
