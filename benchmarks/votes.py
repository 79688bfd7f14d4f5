"""What a vote waits for: `python -m benchmarks.votes [--bootstrap HOST:PORT]`.

Three voters that take 50, 100 and 5,000 ms, of which two must agree, through the sequencer, the desk and the gateway:
from the question's record to that of the consensus. Then 200 requests at once, to models that answer and models that
hang: how long after their deadline the failures were there. Without --bootstrap it starts a broker of its own.
"""

from __future__ import annotations

import argparse
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from confluent_kafka import Producer
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from connectors.voters import Answer, Opinion, Voter, computed
from deploy.kafka.broker import Broker
from schemas.base import NS_PER_MS, NS_PER_S, Event
from schemas.book import AnalystSettings, Book, ConsensusSettings, Instrument, ModelSettings, StrategySettings
from schemas.codec import decode, encode
from schemas.decisions import ConsensusReached
from schemas.market import BarClosed
from schemas.texts import NewsPublished
from schemas.topics import TOPIC_OF, TOPICS
from schemas.verdicts import InstructionPart, VerdictFailed, VerdictGiven, VerdictRequested
from streams.admin import create_topics, delete_topics
from streams.gateway import Gateway
from streams.health import Health
from streams.kafka import Kafka, partition_of
from streams.live import Worker
from streams.reading import read_back
from streams.wire import REQUESTS, headers_of, key_of

DELAYS_MS = {"quick": 50, "middle": 100, "slow": 5_000}
ROUNDS = 4
"""Of news, each of which makes a question about every instrument."""
VOTE_S = 6
"""Within which a vote must be there; news is asked about no more often."""
AT_ONCE = 200
DEADLINE_S = 3.0
"""Of the first of them; the last has twice as long."""
KEYS = tuple(f"A{n}/USD@bench" for n in range(5))
KEY = KEYS[0]
PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}
PATIENCE_S = 60.0


class Late:
    """Votes BUY after so many ms; without a number, never."""

    def __init__(self, delay_ms: int | None) -> None:
        self._delay_ms = delay_ms

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        threading.Event().wait(None if self._delay_ms is None else self._delay_ms / 1000)
        return computed(Opinion(action="BUY", confidence=0.9, reasoning="It rises."))


def book_of(names: Mapping[str, int | None]) -> Book:
    """Make a book that asks these models about every news, two of them to agree."""
    return Book(
        name="bench",
        instruments=tuple(Instrument(id=key) for key in KEYS),
        models=dict.fromkeys(names, ModelSettings(kind="trend")),
        analysts=AnalystSettings(models=tuple(names), every_min=1440, news_cooldown_s=1, deadline_s=VOTE_S),
        consensus=ConsensusSettings(agree=min(2, len(names))),
        strategy=StrategySettings(mode="consensus", fast_brain="none"),
    )


def send(kafka: Kafka, *events: Event) -> None:
    """Put events on their topics; requests where their book's lie."""
    producer = Producer(kafka.producer())
    for event in events:
        topic = TOPIC_OF[type(event)]
        producer.produce(
            kafka.name(topic),
            partition=partition_of(event.book) if topic == REQUESTS else -1,
            key=key_of(event),
            value=encode(event),
            headers=headers_of(event),
        )
    producer.flush()


def records(kafka: Kafka, topic: str) -> Iterator[tuple[Event, int]]:
    """Give what is on a topic, and when it was written, in ms."""
    for partition in range(PARTITIONS[topic]):
        for message in read_back(kafka, topic, partition, 0):
            yield decode(message.value() or b""), message.timestamp()[1]


@contextmanager
def answering(kafka: Kafka, book: Book, delays_ms: Mapping[str, int | None]) -> Iterator[Gateway]:
    """Run a gateway whose voters take these times."""
    voters: Mapping[str, Voter] = {name: Late(delay_ms) for name, delay_ms in delays_ms.items()}
    gateway, stopping = Gateway(kafka, [book], voters=lambda _: voters), threading.Event()
    thread = threading.Thread(target=gateway.run, args=(stopping,))
    thread.start()
    try:
        until(lambda: len(gateway.partitions) == PARTITIONS[REQUESTS])
        yield gateway
    finally:
        stopping.set()
        thread.join()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"votes: it did not come to pass in {PATIENCE_S:g} s")
        time.sleep(0.1)


# How long a vote takes


def vote_times(kafka: Kafka) -> np.ndarray:
    """Ask about one news after the other; give the ms from each question to its consensus."""
    book = book_of(DELAYS_MS)
    stopping, health = threading.Event(), Health("bench")
    failures: list[BaseException] = []

    def feed() -> None:
        try:
            with answering(kafka, book, DELAYS_MS):
                until(lambda: health.readyz()[0])
                send(kafka, *map(_bar, KEYS))
                time.sleep(2.0)
                for number in range(ROUNDS):
                    send(kafka, _news(number))
                    until(lambda n=number: _reached(kafka) >= (n + 1) * len(KEYS))  # type: ignore[misc]
                    time.sleep(VOTE_S + 1)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)
        finally:
            stopping.set()

    thread = threading.Thread(target=feed)
    thread.start()
    Worker(kafka, [book], ("sequencer", "desk"), health, start="earliest").run(stopping)
    thread.join()
    if failures:
        raise failures[0]
    asked: dict[str, int] = {}
    for event, at in records(kafka, REQUESTS):
        if isinstance(event, VerdictRequested):
            asked[event.question] = min(at, asked.get(event.question, at))
    reached = {event.question: at for event, at in records(kafka, "signals") if isinstance(event, ConsensusReached)}
    return np.array([at - asked[question] for question, at in reached.items()])


def _reached(kafka: Kafka) -> int:
    return sum(isinstance(event, ConsensusReached) for event, _ in records(kafka, "signals"))


def _bar(key: str) -> BarClosed:
    now = time.time_ns()
    return BarClosed(
        id=f"bar-{key}",
        key=key,
        occurred_at=now,
        observed_at=now,
        open=100.0,
        high=100.0,
        low=100.0,
        close=100.0,
        volume=1e6,
        interval_ns=60 * NS_PER_S,
    )


def _news(number: int) -> NewsPublished:
    now = time.time_ns()
    word = sha256(str(number).encode()).hexdigest()  # no two alike, or it would be left out as told before
    return NewsPublished(
        id=f"news-{number}",
        key="A",
        occurred_at=now,
        observed_at=now,
        source="wire",
        title=f"{word} opens plant {word[:9]}",
    )


# How late a failure is


def overruns(kafka: Kafka) -> tuple[np.ndarray, np.ndarray, int]:
    """Put `AT_ONCE` requests at once, half of them to models that hang.

    Gives of those the ms from the deadline to the failure, as it says itself and as its record was written, and how
    many of the others were answered.
    """
    delays: dict[str, int | None] = {"hang1": None, "hang2": None, "works1": 100, "works2": 100}
    book = replace(book_of(delays), name="late")
    with answering(kafka, book, delays) as gateway:
        send(kafka, *(_request(number, list(delays)[number % 4], book.name) for number in range(AT_ONCE)))
        until(lambda: gateway.answered >= AT_ONCE)
    said: list[float] = []
    written: list[float] = []
    answered = 0
    deadlines = {
        event.id: event.deadline_at for event, _ in records(kafka, REQUESTS) if isinstance(event, VerdictRequested)
    }
    for event, at in records(kafka, "verdicts"):
        if isinstance(event, VerdictFailed) and event.book == book.name:
            said.append((event.observed_at - deadlines[event.cause]) / NS_PER_MS)
            written.append(at - deadlines[event.cause] / NS_PER_MS)
        elif isinstance(event, VerdictGiven) and event.book == book.name:
            answered += 1
    return np.array(said), np.array(written), answered


def _request(number: int, model: str, book: str) -> VerdictRequested:
    now = time.time_ns()
    return VerdictRequested(
        id=f"request-{number}",
        key=KEY,
        occurred_at=now,
        observed_at=now,
        book=book,
        question=f"question-{number}",
        instrument=KEY,
        model=model,
        prompt=(InstructionPart(text="Vote."),),
        prompt_version="v1",
        prompt_sha256=sha256(b"Vote.").hexdigest(),
        deadline_at=now + round(DEADLINE_S * (1 + number / AT_ONCE) * NS_PER_S),
        trigger="cadence",
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="a broker; without it one is started")
    bootstrap = parser.parse_args().bootstrap
    with ExitStack() as stack:
        if bootstrap is None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            bootstrap = stack.enter_context(Broker(folder)).bootstrap
        kafka = Kafka(bootstrap=bootstrap, namespace=f"votes-{secrets.token_hex(4)}.")
        create_topics(kafka)
        stack.callback(delete_topics, kafka)
        votes = vote_times(kafka)
        said, written, answered = overruns(kafka)
    table = Table("what", "count", "p50, ms", "p99", "max")
    slowest, total = max(DELAYS_MS.values()), sum(DELAYS_MS.values())
    rows = {
        f"question to consensus, 2 of 3 (the slowest takes {slowest:,} ms, all {total:,})": votes,
        f"failure after its deadline, {AT_ONCE} requests at once": said,
        "its record after the deadline": written,
    }
    for what, ms in rows.items():
        table.add_row(what, f"{len(ms)}", *(f"{np.percentile(ms, share):,.1f}" for share in (50, 99, 100)))
    console = Console()
    console.print(table)
    console.print(f"{answered} of {AT_ONCE // 2} requests to models that answer were answered meanwhile")


if __name__ == "__main__":
    main()
