"""A live session for tests: workers as processes of their own, and the sample's market, told as if it were now."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path

import msgspec
import yaml
from confluent_kafka import Producer

from agents.pipeline import MARKET_EVENTS
from cli.books import load_book
from replay.run import archived_inputs
from replay.sources import open_archive
from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.codec import decode_own, encode
from schemas.topics import TOPIC_OF, TOPICS
from streams.kafka import ENVIRONMENT, Kafka, partition_of
from streams.reading import bounds, read_back
from streams.wire import key_of

ANSWERS = {topic.name: topic.partitions for topic in TOPICS if topic.name in ("verdicts", "fills", "orders")}
DELIVERY_S = 60.0
ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / "examples" / "archive"


def write_live_book(path: Path, name: str, instruments: Sequence[str] = ("BTC/USD@synthetic",)) -> Book:
    """Write a book that has something to do within seconds, and give it."""
    book = {
        "name": name,
        "instruments": [{"id": each} for each in instruments],
        "features": {"ema_fast": 5, "ema_slow": 15},
        "text": {"keys": ["BTC", "ETH"], "max_age_s": 100_000_000},
        "models": {kind: {"kind": kind, "latency_ms": 5} for kind in ("vader", "textblob", "trend")},
        "analysts": {"models": ["vader", "textblob", "trend"], "every_min": 1, "news_cooldown_s": 1, "deadline_s": 5},
        "consensus": {"agree": 3},  # so a vote is asked for, and seldom in the way
        "strategy": {"mode": "advisory", "stop_atr": 3.0, "target_atr": 6.0},
        "risk": {"order_pct": 10.0},
        "venue": {"latency_ms": 5},
        "mark_every_min": 1,
    }
    path.write_text(yaml.safe_dump(book), encoding="utf-8")
    return load_book(path)


def archived_events(archive: Path, book: Book) -> Iterator[Event]:
    """Give an archive's inputs for a book in the order of their time."""
    source = open_archive(archive, book)
    market = (frame.event(row, "", 0) for frame in source.frames() for row in range(len(frame)))
    return merge(archived_inputs(source), market, key=attrgetter("observed_at"))


def sample_events(book: Book, market_events: int) -> Iterator[Event]:
    """Give the first market events of the sample for a book, with the texts in between."""
    for event in archived_events(ARCHIVE, book):
        yield event
        market_events -= type(event) in MARKET_EVENTS
        if not market_events:
            return


class Session:
    """Workers of one namespace. Everything that was started ends with it."""

    def __init__(self, kafka: Kafka, folder: Path, prelude: str = "") -> None:
        """`folder` takes the workers' logs; `prelude` is Python that each runs first."""
        self.kafka, self.folder, self._prelude = kafka, folder, prelude
        self.books: list[Path] = []
        # Roomy, for a broker may be away while events are told.
        self._producer = Producer(kafka.producer(queue_buffering_max_messages=1_000_000))
        self._workers: list[subprocess.Popen[bytes]] = []

    def environment(self) -> dict[str, str]:
        """Say where Kafka is."""
        mine = {"BOOTSTRAP": self.kafka.bootstrap, "NAMESPACE": self.kafka.namespace}
        return {**os.environ, **{ENVIRONMENT + name: value for name, value in mine.items()}}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `quorum ARGUMENTS BOOKS --from earliest`."""
        command = [
            sys.executable,
            "-c",
            f"{self._prelude}\nfrom cli.main import run; run()",
            *arguments,
            *map(str, self.books),
            "--from",
            "earliest",
        ]
        path = self.folder / f"{'-'.join(arguments[:2]).strip('-')}-{len(self._workers)}.log"
        with path.open("wb") as log:
            worker = subprocess.Popen(command, cwd=ROOT, env=self.environment(), stdout=log, stderr=log)
        self._workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker as a power cut would."""
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def stop(self, *workers: subprocess.Popen[bytes]) -> None:
        """Ask workers to end, and see that they do so in good order."""
        for worker in workers:
            worker.terminate()
        for worker in workers:
            assert worker.wait(30) == 0

    def close(self) -> None:
        """End what still runs."""
        for worker in self._workers:
            if worker.poll() is None:
                self.kill(worker)

    def tell(
        self, events: Iterable[Event], pause_s: float = 0.0, most: int | None = None, *, flush: bool = True
    ) -> int:
        """Send events, `most` of them, as observed now, their delay kept; give how many.

        Kafka has them by then, unless not `flush`.
        """
        count = 0
        for event in islice(events, most):
            now = time.time_ns()
            occurred_at = event.occurred_at + now - event.observed_at
            told = msgspec.structs.replace(event, occurred_at=occurred_at, observed_at=now)
            self.send(TOPIC_OF[type(told)], encode(told), key_of(told))
            count += 1
            if pause_s:
                time.sleep(pause_s)
        if flush:
            self._producer.flush()
        return count

    def confirm(self) -> None:
        """Wait until Kafka has all that was told: what it was never given says nothing of the workers."""
        left = self._producer.flush(DELIVERY_S)
        assert not left, f"{left} events were not taken by the broker within {DELIVERY_S:g} s"

    def tell_as_it_is(self, *events: Event) -> None:
        """Send events unchanged, and wait until Kafka has them."""
        for event in events:
            self.send(TOPIC_OF[type(event)], encode(event), key_of(event))
        self._producer.flush()

    def send(self, topic: str, value: bytes | None, key: bytes = b"") -> None:
        """Send a record as it is."""
        self._producer.produce(self.kafka.name(topic), key=key, value=value)
        self._producer.poll(0)

    def await_(self, what: str, done: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until something holds; fail with the workers' logs where it does not."""
        end = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > end:
                logs = "\n".join(
                    f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log"))
                )
                raise AssertionError(f"{what}: not within {timeout_s:g} s\n{logs}")
            time.sleep(0.2)

    def processed(self, book: Book) -> int:
        """Give the position that the book's desk has reached, 0 before the first."""
        return self._furthest(book)[0]

    def processed_at(self, book: Book) -> float:
        """Give the time, in s, of the last entry that the book's desk has taken, 0 before the first."""
        return self._furthest(book)[1] / NS_PER_S

    def _furthest(self, book: Book) -> tuple[int, int]:
        told = [
            decode_own(message.value() or b"")
            for message in read_back(self.kafka, "progress", partition_of(book.name), 0)
            if message.key() == book.name.encode()
        ]
        return max(((progress.seq, progress.observed_at) for progress in told), default=(0, 0))

    def settle(self, book: Book, quiet_s: float = 4.0) -> None:
        """Wait until the book's inputs are the clock alone: nothing is under way any more."""
        last, since = -1, time.monotonic()

        def is_quiet() -> bool:
            nonlocal last, since
            count = sum(bounds(self.kafka, topic, n)[1] for topic, parts in ANSWERS.items() for n in range(parts))
            if count != last:
                last, since = count, time.monotonic()
            return time.monotonic() - since > quiet_s

        self.await_("the answers come to an end", is_quiet)

    @staticmethod
    def types(run: Path) -> Counter[str]:
        """Count the events of a run's log by their types."""
        lines = (line for path in (run / "log").glob("*.jsonl") for line in path.read_bytes().splitlines())
        return Counter(json.loads(line)["type"] for line in lines)
