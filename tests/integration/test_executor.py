"""The paper executor on a real broker: killed at any point it loses no fill and doubles none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import KafkaException, Producer
from msgspec import structs

from agents.agent import NEVER
from benchmarks.fault_kinds import limit_snapshots
from schemas.base import Event
from schemas.codec import decode, encode
from streams import metrics
from streams.executor import PaperExecutor
from streams.kafka import Kafka, partition_of
from streams.reading import read_back
from streams.wire import FILLS, JOURNAL, ORDERS, PROGRESS, SNAPSHOTS, Position, frame_headers, headers_of, key_of, pack
from tests.streams.papers import History, replayed

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
CHILD = """
import json, os, signal, sys, threading
from confluent_kafka import Producer
from msgspec import structs
from streams import executor
from streams.kafka import Kafka
from tests.replay.market import book_of

told = json.loads(sys.argv[1])

class Mortal(Producer):
    # Dies around the commit that it is told to die at, once all records of the transaction are on the broker.
    def commit_transaction(self, *args):
        told["commits"] -= 1
        if told["commits"] == 0 and told["dies"] == "before":
            self.flush(10)
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit_transaction(*args)
        if told["commits"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

executor.Producer = Mortal
kafka = Kafka(bootstrap=told["bootstrap"], namespace=told["namespace"])
books = [structs.replace(book_of(), name=name) for name in told["books"]]
executor.PaperExecutor(kafka, told["partition"], books, snapshot_every_s=0.2).run(threading.Event())
"""


def publish(kafka: Kafka, history: History, rng: Random, *, pause_s: float = 0.0) -> None:
    """Publish a history a span at a time, with the repetitions of a desk that crashes now and then."""
    producer = Producer(kafka.producer())
    partition, lo = partition_of(history.book.name), 0

    def send(topic: str, event: Event) -> None:
        producer.produce(
            kafka.name(topic), partition=partition, key=key_of(event), value=encode(event), headers=headers_of(event)
        )

    while lo < len(history.journal):
        hi = min(len(history.journal), lo + rng.randint(1, 160))
        frame = [encode(entry) for entry in history.journal[lo:hi]]
        producer.produce(
            kafka.name(JOURNAL),
            partition=partition,
            value=pack(frame),
            headers=frame_headers(Position({history.book.name: hi}, {}), len(frame)),
        )
        first = max(0, lo - rng.choice([0, 0, 100]))
        for order in history.orders:
            if first < order.seq <= hi:
                send(ORDERS, order)
        send(PROGRESS, history.progress[hi - 1])
        producer.flush()
        time.sleep(pause_s * rng.random())
        lo = hi


def fills(kafka: Kafka, partition: int) -> list[Event]:
    """Give what a reader of committed records sees."""
    return [decode(message.value() or b"") for message in read_back(kafka, FILLS, partition, 0)]


def await_fills(kafka: Kafka, partition: int, count: int) -> list[Event]:
    deadline = time.monotonic() + PATIENCE_S
    while len(found := fills(kafka, partition)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} fills"
        time.sleep(0.1)
    return found


def canonical(events: Sequence[Event]) -> list[bytes]:
    return sorted(map(encode, events))


@contextmanager
def running(executor: PaperExecutor) -> Iterator[list[BaseException]]:
    """Run an executor in a thread; what ends it lies in the list."""
    stop = threading.Event()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            executor.run(stop)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def history() -> History:
    return replayed(1)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_point_it_loses_no_fill_and_doubles_none(kafka: Kafka, seed: int) -> None:
    rng = Random(seed)
    names = _neighbours("test")
    histories = [replayed(number, name=name) for number, name in enumerate(names, seed)]
    partition = partition_of("test")
    feeds = [
        threading.Thread(target=publish, args=(kafka, history, Random(seed + n)), kwargs={"pause_s": 0.3})
        for n, history in enumerate(histories)
    ]
    for feed in feeds:
        feed.start()
    told = {"bootstrap": kafka.bootstrap, "namespace": kafka.namespace, "partition": partition, "books": names}
    for _ in range(7):
        told |= {"dies": rng.choice(["before", "after"]), "commits": rng.randint(1, 5)}
        child = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(told)], cwd=ROOT)
        try:
            child.wait(rng.uniform(2.0, 5.0))
        except subprocess.TimeoutExpired:
            child.kill()
        assert child.wait() == -signal.SIGKILL
    for feed in feeds:
        feed.join()
    expected = [answer for history in histories for answer in history.answers]
    with running(PaperExecutor(kafka, partition, [history.book for history in histories])) as ended:
        found = await_fills(kafka, partition, len(expected))
        time.sleep(0.5)
    assert not ended
    assert canonical(fills(kafka, partition)) == canonical(found) == canonical(expected)


def _neighbours(name: str) -> list[str]:
    """Name two books of one partition."""
    numbered = (f"{name}-{n}" for n in range(100))
    return [name, next(other for other in numbered if partition_of(other) == partition_of(name))]


def test_a_second_executor_shuts_out_the_first(kafka: Kafka, history: History) -> None:
    partition, now = partition_of(history.book.name), [0]
    old = PaperExecutor(kafka, partition, [history.book], clock=lambda: now[0])
    publish(kafka, history, Random(3))
    with running(old) as ended:
        _await(lambda: old.books["test"].seq == history.journal[-1].seq)
        assert fills(kafka, partition) == []
        with running(PaperExecutor(kafka, partition, [history.book])) as ended_too:
            await_fills(kafka, partition, len(history.answers))
            now[0] = NEVER - 1
            _await(lambda: bool(ended))
        assert not ended_too
    assert isinstance(ended[0], KafkaException)
    assert canonical(fills(kafka, partition)) == canonical(history.answers)


def test_a_fill_is_held_back_until_its_time_over_a_restart_too(kafka: Kafka, history: History) -> None:
    partition = partition_of(history.book.name)
    times = sorted(answer.observed_at for answer in history.answers)
    now = [times[len(times) // 2]]
    before = sum(at <= now[0] for at in times)
    publish(kafka, history, Random(4))
    first = PaperExecutor(kafka, partition, [history.book], clock=lambda: now[0])
    with running(first) as ended:
        _await(lambda: first.books["test"].seq == history.journal[-1].seq)
        assert len(await_fills(kafka, partition, before)) == before
    assert not ended
    second = PaperExecutor(kafka, partition, [history.book], clock=lambda: now[0])
    with running(second) as ended:
        _await(lambda: second.books["test"].seq == history.journal[-1].seq)
        time.sleep(0.5)
        assert len(fills(kafka, partition)) == before
        now[0] = times[-1]
        await_fills(kafka, partition, len(times))
    assert not ended
    assert canonical(fills(kafka, partition)) == canonical(history.answers)


def test_a_damaged_state_is_skipped_for_the_one_before_it(kafka: Kafka, history: History) -> None:
    partition = partition_of(history.book.name)
    publish(kafka, history, Random(5))
    with running(PaperExecutor(kafka, partition, [history.book])):
        await_fills(kafka, partition, len(history.answers))
    (*_, newest) = read_back(kafka, SNAPSHOTS, partition, 0)
    saved = decode(newest.value() or b"")
    torn = encode(structs.replace(saved, state=b"torn"))
    producer = Producer(kafka.producer())
    for value in (torn, b"no event at all", None):
        producer.produce(kafka.name(SNAPSHOTS), partition=partition, key=newest.key(), value=value)
    producer.flush()
    again = PaperExecutor(kafka, partition, [history.book])
    with running(again) as ended:
        _await(lambda: again.books["test"].seq == history.journal[-1].seq)
    assert not ended
    assert again.books["test"].offsets.journal > 0
    assert canonical(fills(kafka, partition)) == canonical(history.answers)


def test_a_state_that_one_taken_for_dead_saves_late_doubles_no_fill(kafka: Kafka, history: History) -> None:
    partition = partition_of(history.book.name)
    late = PaperExecutor(kafka, partition, [history.book], clock=lambda: 0)  # all its answers are held back
    publish(kafka, history, Random(6))
    with running(late) as ended_late:
        _await(lambda: late.books["test"].seq == history.journal[-1].seq)
        with running(PaperExecutor(kafka, partition, [history.book])) as ended:
            await_fills(kafka, partition, len(history.answers))
        assert not ended
        saved = len(list(read_back(kafka, SNAPSHOTS, partition, 0)))
    assert not ended_late
    assert len(list(read_back(kafka, SNAPSHOTS, partition, 0))) > saved, "its state is the newest"
    with running(PaperExecutor(kafka, partition, [history.book])) as ended:
        time.sleep(3)
    assert not ended
    assert canonical(fills(kafka, partition)) == canonical(history.answers)


def test_states_that_are_refused_are_told_and_stop_nothing(
    kafka: Kafka, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    partition = partition_of(history.book.name)
    limit_snapshots(kafka, 10)
    publish(kafka, history, Random(7))
    executor = PaperExecutor(kafka, partition, [history.book], snapshot_every_s=0.1)
    before = _unsaved("test")
    with running(executor) as ended:
        _await(lambda: _unsaved("test") > before)
        await_fills(kafka, partition, len(history.answers))
        refused = _unsaved("test")
        _await(lambda: _unsaved("test") > refused)
    assert not ended
    assert "state not saved" in caplog.text
    assert canonical(fills(kafka, partition)) == canonical(history.answers)
    again = PaperExecutor(kafka, partition, [history.book])
    with running(again) as ended:
        _await(lambda: again.books["test"].seq == history.journal[-1].seq)
        time.sleep(0.5)
    assert not ended
    assert canonical(fills(kafka, partition)) == canonical(history.answers)


def _unsaved(book: str) -> float:
    return metrics.REGISTRY.get_sample_value("quorum_snapshot_failures_total", {"book": book}) or 0.0


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
