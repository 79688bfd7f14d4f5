"""`quorum status` against a real broker: what the sequencer and the desk wrote is what it shows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from confluent_kafka import Producer

from schemas.book import Book
from schemas.control import BookPaused
from schemas.decisions import ConfirmationRequested
from schemas.operations import AlertRaised
from schemas.topics import TOPICS
from streams.desk import DeskPartition
from streams.kafka import Kafka, partition_of
from streams.lag import JournalLag, bounds_of
from streams.metrics import REGISTRY
from streams.overview import NEWEST, Watcher
from streams.publisher import Publisher
from streams.reading import read_back
from streams.sequencer import Sequencer
from streams.wire import JOURNAL
from tests.agents.builders import make_book
from tests.cli.commands import quorum
from tests.schemas.samples import full

BOOK = make_book(name="btc")
PARTITION = partition_of(BOOK.name)


def await_leaders(kafka: Kafka) -> None:
    """Wait until every partition of the topics just made can be read."""
    bounds_of(kafka, [(topic.name, n) for topic in TOPICS for n in range(topic.partitions)])


@contextmanager
def sequencing(kafka: Kafka, book: Book = BOOK) -> Iterator[Sequencer]:
    """Run the book's sequencer in a thread."""
    stopping = threading.Event()
    sequencer = Sequencer(kafka, partition_of(book.name), [book], [book])
    thread = threading.Thread(target=sequencer.run, args=(stopping,))
    thread.start()
    try:
        wait_for(lambda: sequencer.entries > 0 or not thread.is_alive())
        yield sequencer
    finally:
        stopping.set()
        thread.join(30)
        assert not thread.is_alive()


def wait_for(done: Callable[[], bool], seconds: float = 30.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        pause.wait(0.05)
    raise AssertionError("not in time")


def decide(kafka: Kafka) -> DeskPartition:
    """Take the whole journal of the book, as its desk does."""
    desk = DeskPartition(kafka, PARTITION, [BOOK], Publisher(kafka))
    for message in read_back(kafka, JOURNAL, PARTITION, 0):
        desk.take(message.offset() or 0, message.value() or b"")
    return desk


@pytest.fixture(autouse=True)
def _environment(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORUM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("QUORUM_KAFKA_NAMESPACE", kafka.namespace)
    await_leaders(kafka)


def pause(number: int) -> BookPaused:
    now = time.time_ns()
    return BookPaused(id=f"p{number}", key=BOOK.name, occurred_at=now, observed_at=now, operator="ann")


def test_an_empty_namespace_is_said_in_a_sentence() -> None:
    ended = quorum("status", "--once")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("No book has a journal here yet")


def test_a_cluster_without_topics_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORUM_KAFKA_NAMESPACE", "nobody.")
    ended = quorum("status", "--once")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("quorum: Kafka at ")
    assert "nobody." in ended.err


def test_the_desk_is_behind_until_it_has_taken_the_journal(kafka: Kafka) -> None:
    with sequencing(kafka):
        pass
    (book,) = json.loads(quorum("status", "--json").out)["books"]
    assert (book["book"], book["seq"], book["lag"]) == ("btc", None, None)
    desk = decide(kafka)
    (book,) = json.loads(quorum("status", "--json").out)["books"]
    assert book["seq"] == book["journal_seq"] == desk.hosts["btc"].seq > 0
    assert (book["lag"], book["state"], book["partial"]) == (0, "running", False)
    table = quorum("status").out
    assert "btc" in table
    assert "running" in table


def test_it_follows_what_comes(kafka: Kafka) -> None:
    with sequencing(kafka):
        pass
    decide(kafka)
    with Watcher(kafka) as watcher:
        before = watcher.overview.books["btc"]
        assert (before.state, before.alert, before.lag) == ("running", None, 0)
        with sequencing(kafka):
            publisher = Publisher(kafka)
            publisher.send(pause(1))
            publisher.send(msgspec.structs.replace(full(AlertRaised), book="btc", key="btc", text="look"))
            publisher.send(msgspec.structs.replace(full(ConfirmationRequested), id="c1", book="btc", key="btc"))
            publisher.confirm()
        for _ in range(40):
            watcher.follow(0.25)
            view = watcher.overview.books["btc"]
            if view.state == "paused" and view.alert and view.confirmations and view.lag:
                break
        assert (view.state, list(view.confirmations)) == ("paused", ["c1"])
        assert isinstance(view.alert, AlertRaised)
        assert view.alert.text == "look"
        assert view.lag is not None
        assert view.lag > 0


def test_only_the_newest_records_are_read_and_that_is_said(kafka: Kafka) -> None:
    with sequencing(kafka):
        pass
    decide(kafka)
    publisher = Publisher(kafka)
    for number in range(6):
        asked = msgspec.structs.replace(full(ConfirmationRequested), id=f"c{number}", book="btc", key="btc")
        publisher.send(asked)
    publisher.confirm()
    with Watcher(kafka, {**NEWEST, "risk-decisions": 4}) as watcher:
        assert set(watcher.overview.books["btc"].confirmations) == {"c2", "c3", "c4", "c5"}
        assert watcher.overview.partial_of("btc")
    with Watcher(kafka) as watcher:
        assert len(watcher.overview.books["btc"].confirmations) == 6
        assert not watcher.overview.partial_of("btc")


def test_an_outsiders_rubbish_on_an_input_topic_hides_nothing(kafka: Kafka) -> None:
    producer = Producer(kafka.producer())
    for topic in ("control", "fills"):
        producer.produce(kafka.name(topic), value=b'{"type":"OrderFilled"', headers=[("type", b"OrderFilled")])
        producer.produce(kafka.name(topic), value=None)
    assert producer.flush(10) == 0
    with sequencing(kafka):
        pass
    assert [book["book"] for book in json.loads(quorum("status", "--json").out)["books"]] == ["btc"]


def test_the_lag_of_a_worker_says_when_it_is_ready(kafka: Kafka) -> None:
    taken: dict[int, int | None] = {}
    lag = JournalLag(kafka, [BOOK], lambda: taken)
    assert lag.reason() == "the journal's ends are not known"
    lag.measure()
    assert lag.reason() == "no journal partition is assigned"
    with sequencing(kafka):
        pass
    publisher = Publisher(kafka)
    with sequencing(kafka) as sequencer:
        for number in range(12):
            entries = sequencer.entries
            publisher.send(pause(number))
            publisher.confirm()
            wait_for(lambda: sequencer.entries > entries)  # noqa: B023 - it is asked at once
    taken[PARTITION] = None
    lag.measure()
    assert lag.reason().startswith(f"journal partition {PARTITION} is ")
    taken[PARTITION] = decide(kafka).offset
    lag.measure()
    assert lag.reason() == ""
    assert REGISTRY.get_sample_value("quorum_desk_seq", {"book": BOOK.name}) is not None
    taken.clear()
    lag.measure()
    assert REGISTRY.get_sample_value("quorum_desk_seq", {"book": BOOK.name}) is None


def test_ends_are_those_of_committed_records(kafka: Kafka) -> None:
    with sequencing(kafka) as sequencer:
        low, high = bounds_of(kafka, [(JOURNAL, PARTITION)])[JOURNAL, PARTITION]
        assert low == 0
        assert 0 < high <= 2 * sequencer.entries + 2
    assert bounds_of(kafka, [("ticks", 0), ("ticks", 7)]) == {("ticks", 0): (0, 0), ("ticks", 7): (0, 0)}
