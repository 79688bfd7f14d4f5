"""Faults, counted: `python -m benchmarks.faults --runs 104 --seed 1 --lanes 2 [--faults kill-desk,…] [--json FILE]`.

Real brokers, real workers, one fault a run at seeded points, each run with a book and a market of its own. Afterwards
each book's log is held against what was told and against a pure fold of its journal. The table says how many inputs
and orders were lost or doubled, and how many books came out otherwise than without a fault. Leaves with status 1 if
there is any.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import msgspec
import yaml
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.fault_count import differing, journal_of, records_of, wrong_positions
from benchmarks.fault_kinds import FAULTS, ROLES, disturbed
from cli.books import load_book
from deploy.kafka.broker import Broker
from replay.audit import audit
from schemas.base import Event
from schemas.book import Book
from schemas.codec import decode_own
from schemas.control import ClockTicked
from schemas.errors import QuorumError
from schemas.execution import OrderAccepted, OrderRejected, OrderRequested
from schemas.market import BarClosed
from schemas.operations import JournalProcessed
from streams.admin import create_topics
from streams.export import export
from streams.kafka import Kafka, partition_of
from streams.wire import JOURNAL, ORDERS, PROGRESS, unpack
from tests.integration.session import Session, sample_events, write_live_book

EVENTS = 300
"""Market events told in a run."""
PAUSE_S = 0.012
BARS_TO_A_TEXT = 15
SAMPLE = 1_400
QUIET_S = 1.5
"""A run has settled when nothing new came for so long."""
FOLLOWED = (JOURNAL, ORDERS, PROGRESS)
BOOKS = 8
"""Runs of a session: its workers go on from one to the next."""
PATIENCE_S = 60.0
"""So long after its last event a run may take until everything is answered."""
SNAPSHOTS_EACH_SECOND = "import streams.desk; streams.desk.SNAPSHOT_EVERY_NS = 10**9"
"""A worker's usual 30 s are longer than a run."""


class Result(msgspec.Struct, frozen=True):
    """What one run came to."""

    fault: str
    seed: int
    told: int
    orders: int
    settled_s: float
    """From the last event told until everything was answered."""
    lost: int
    doubled: int
    diverged: bool
    complaints: list[str]


class Tail:
    """Reads on along a book's partition of the journal, its orders and what its desk has processed."""

    def __init__(self, kafka: Kafka, book: Book) -> None:
        self._book = book
        self._journal = kafka.name(JOURNAL)
        self._consumer = Consumer(kafka.consumer("reader") | {"auto.offset.reset": "earliest"})
        partition = partition_of(book.name)
        self._consumer.assign([TopicPartition(kafka.name(topic), partition, 0) for topic in FOLLOWED])
        self.inputs: set[str] = set()
        self.seq = self.processed = 0
        """The last entry but for the clock's, and the last that the desk has taken."""
        self.ordered: set[str] = set()
        self.answered: set[str] = set()

    def read(self) -> None:
        for message in self._consumer.consume(10_000, 0.2):
            if message.error() is not None:
                continue  # the broker is away; the consumer goes on by itself
            value = message.value() or b""
            for line in unpack(value) if message.topic() == self._journal else [value]:
                self._take(decode_own(line))

    def _take(self, event: Event) -> None:
        if event.book != self._book.name:
            return
        if isinstance(event, OrderRequested):
            self.ordered.add(event.id)
        elif isinstance(event, OrderAccepted | OrderRejected):
            self.answered.add(event.order)
        elif isinstance(event, JournalProcessed):
            self.processed = max(self.processed, event.seq)
        if event.seq > self.seq and not isinstance(event, ClockTicked | JournalProcessed):
            self.seq = event.seq
        self.inputs.add(event.id)

    def close(self) -> None:
        self._consumer.close()


class Lane:
    """A broker, and on it one session after the other."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder, self.broker = folder, broker
        self._sessions = 0

    def run(self, plans: Sequence[tuple[str, int]], report: Callable[[list[Result]], None]) -> None:
        """Carry out plans, and report what each session came to."""
        for lo in range(0, len(plans), BOOKS):
            report(self._session(plans[lo : lo + BOOKS]))

    def _session(self, plans: Sequence[tuple[str, int]]) -> list[Result]:
        self._sessions += 1
        folder = self.folder / f"session-{self._sessions}"
        folder.mkdir()
        kafka = Kafka(bootstrap=self.broker.bootstrap, namespace=f"s{self._sessions}.")
        create_topics(kafka)
        books = [write_book(folder / f"book{n}.yaml", n) for n in range(len(plans))]
        house = House(self, kafka, folder, [folder / f"{book.name}.yaml" for book in books])
        try:
            house.session.await_("every book is on", lambda: all(map(house.session.processed, books)), PATIENCE_S)
            runs = [Run(house, book, fault, seed).go() for book, (fault, seed) in zip(books, plans, strict=True)]
            time.sleep(2)
        finally:
            house.session.close()
        return [run.verdict(kafka, folder / f"log-{run.book.name}") for run in runs]


class House:
    """The workers of a session, one of each role, kept running as a supervisor would."""

    def __init__(self, lane: Lane, kafka: Kafka, folder: Path, books: list[Path]) -> None:
        self.lane, self.kafka = lane, kafka
        self.session = Session(kafka, folder, prelude=SNAPSHOTS_EACH_SECOND)
        self.session.books = books
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        for role in ROLES:
            self.start(role)
        self.restarts = 0

    def start(self, role: str) -> None:
        """Start the role's worker, which keeps its place."""
        self._workers[role] = self.session.start("worker", role, "--worker", f"{role}-0")

    def join(self, role: str) -> subprocess.Popen[bytes]:
        """Start one more worker of a role, which leaves for good when it ends."""
        return self.session.start("worker", role)

    def kill(self, *roles: str) -> None:
        for role in roles:
            self._workers[role].kill()
        for role in roles:
            self._workers[role].wait()

    def signal(self, role: str, number: int) -> None:
        self._workers[role].send_signal(number)

    def supervise(self) -> None:
        """Start anew what has ended by itself."""
        for role, worker in self._workers.items():
            if worker.poll() is not None:
                self.restarts += 1
                self.start(role)


class Run:
    """One book, one market, one fault."""

    def __init__(self, house: House, book: Book, fault: str, seed: int) -> None:
        self.house, self.book, self.fault, self.seed = house, book, fault, seed
        self.rng = Random(seed)  # noqa: S311 - it is to repeat
        self.told: list[Event] = []
        self.pending: list[threading.Thread] = []
        """What must have ended before the run has."""
        self.after: list[Callable[[], None]] = []
        """What is to be put right when the last event has been told."""
        self._settled_s = 0.0

    def go(self) -> Run:
        """Tell the market, with the fault in between, and wait until everything is answered."""
        events = list(islice(market_of(self.book, self.seed), EVENTS))
        at = sorted(self.rng.sample(range(len(events) // 10, len(events) * 9 // 10), 3))
        steps = dict(zip(at, FAULTS[self.fault](self), strict=False))
        for n, event in enumerate(disturbed(self.rng, events) if self.fault == "producer" else events):
            if n in steps:
                steps[n]()
            self.house.session.tell([event], pause_s=PAUSE_S, flush=False)
            if n % 50 == 0:
                self.house.supervise()
        self.told = events
        for thread in self.pending:
            thread.join()
        for repair in self.after:
            repair()
        self.house.session.confirm()
        self._settle()
        return self

    def _settle(self) -> None:
        start = quiet_since = time.monotonic()
        tail, seen = Tail(self.house.kafka, self.book), (0, 0, 0)
        told = {event.id for event in self.told}
        try:
            while time.monotonic() - start < PATIENCE_S:
                self.house.supervise()
                tail.read()
                now = len(tail.inputs & told), len(tail.answered), tail.seq
                if now != seen:
                    seen, quiet_since = now, time.monotonic()
                whole = told <= tail.inputs and tail.ordered <= tail.answered and tail.seq <= tail.processed
                if whole and time.monotonic() - quiet_since > QUIET_S:
                    break
        finally:
            tail.close()
        self._settled_s = quiet_since - start

    def verdict(self, kafka: Kafka, folder: Path) -> Result:
        """Hold the book's log against what was told, and against a pure fold of its journal."""
        records = list(records_of(kafka, self.book))
        processed = max((event.seq for topic, event, _ in records if topic == PROGRESS), default=0)
        entries = [entry for entry in journal_of(kafka, self.book) if entry.seq <= processed]
        times = Counter(entry.id for entry in entries)
        answers = Counter(entry.order for entry in entries if isinstance(entry, OrderAccepted | OrderRejected))
        orders = {event.id for topic, event, _ in records if topic == ORDERS and isinstance(event, OrderRequested)}
        lost = [f"{event.id} was not journaled and processed" for event in self.told if event.id not in times]
        lost += [f"order {order} was not answered" for order in sorted(orders) if order not in answers]
        doubled = [f"{each} is in the journal {count} times" for each, count in times.items() if count > 1]
        doubled += [f"order {order} was answered {count} times" for order, count in answers.items() if count > 1]
        diverged = [*differing(records), *wrong_positions(self.book, entries, records)]
        try:
            export(kafka, self.book, folder)
            audit(folder, (), self.book)
        except QuorumError as error:
            diverged.append(str(error))
        return Result(
            fault=self.fault,
            seed=self.seed,
            told=len(self.told),
            orders=len(orders),
            settled_s=round(self._settled_s, 1),
            lost=len(lost),
            doubled=len(doubled),
            diverged=bool(diverged),
            complaints=[*lost, *doubled, *diverged][:20],
        )


# What is told


def write_book(path: Path, n: int) -> Book:
    """Write a book with an instrument and texts of its own."""
    write_live_book(path, f"book{n}", (f"C{n}/USD@synthetic",))
    settings = yaml.safe_load(path.read_text("utf-8"))
    settings["text"]["keys"] = [f"C{n}"]
    # So that it changes its mind every few bars and asks every second, and no vote forbids it to trade.
    settings["features"] = {"ema_fast": 1, "ema_slow": 2}
    settings["analysts"]["deadline_s"] = 1
    settings["consensus"]["agree"] = 3
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_book(path)


def market_of(book: Book, seed: int) -> Iterator[Event]:
    """Give the sample's market as if it were the book's, with a text every so often; the seed says where it begins."""
    sample = list(sample_events(write_live_book(Path(mkdtemp()) / "sample.yaml", "sample"), SAMPLE))
    bars = [event for event in sample if isinstance(event, BarClosed)]
    texts = [event for event in sample if not isinstance(event, BarClosed)]
    (instrument,) = book.instruments
    for n, event in enumerate(bars[Random(seed).randrange(SAMPLE - EVENTS) :]):  # noqa: S311 - it is to repeat
        yield msgspec.structs.replace(event, id=event.id.replace(event.key, instrument.id), key=instrument.id)
        if n % BARS_TO_A_TEXT == 0:
            text = texts[n // BARS_TO_A_TEXT % len(texts)]
            yield msgspec.structs.replace(text, id=f"{book.name}/{n}/{text.id}", key=book.text.keys[0])


# The table


def show(results: Sequence[Result]) -> None:
    """Print one line a fault, and every complaint."""
    table = Table(title="Faults, counted")
    for name in ("fault", "runs", "inputs", "orders", "lost", "doubled", "diverged", "settled (max, s)"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for fault in (*FAULTS, "all"):
        mine = [result for result in results if fault in {result.fault, "all"}]
        if mine:
            sums = [sum(getattr(result, name) for result in mine) for name in ("told", "orders", "lost", "doubled")]
            longest = max(result.settled_s for result in mine)
            diverged = sum(result.diverged for result in mine)
            table.add_row(fault, *(f"{each:,}" for each in (len(mine), *sums, diverged)), f"{longest:.1f}")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    for result in results:
        for complaint in result.complaints:
            print(f"{result.fault}, seed {result.seed}: {complaint}")


def measure(plans: Sequence[tuple[str, int]], lanes: int, folder: Path, report: Callable[[list[Result]], None]) -> None:
    """Carry out plans, fault and seed each, on so many brokers at a time."""
    with ExitStack() as stack:
        brokers = [stack.enter_context(Broker(folder / f"lane-{n}" / "kafka")) for n in range(lanes)]
        pool = stack.enter_context(ThreadPoolExecutor(lanes))
        work = [
            pool.submit(Lane(folder / f"lane-{n}", broker).run, plans[n::lanes], report)
            for n, broker in enumerate(brokers)
        ]
        for each in work:
            each.result()


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=len(FAULTS), help="in turns over the faults")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has the next")
    parser.add_argument("--faults", default=",".join(FAULTS), help="some of the faults, by comma")
    parser.add_argument("--lanes", type=int, default=2, help="runs at a time, each on a broker of its own")
    parser.add_argument("--json", type=Path, help="file to write with every run")
    given = parser.parse_args()
    names = given.faults.split(",")
    if unknown := sorted(set(names) - FAULTS.keys()):
        parser.error(f"no such fault: {unknown[0]}; there are {', '.join(FAULTS)}")
    plans = [(names[n % len(names)], given.seed + n) for n in range(given.runs)]
    folder = Path(mkdtemp(prefix="quorum-faults-"))
    results: list[Result] = []

    def report(more: list[Result]) -> None:
        results.extend(more)
        if given.json:
            given.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))

    try:
        measure(plans, given.lanes, folder, report)
    finally:
        show(results)
    bad = any(result.lost or result.doubled or result.diverged for result in results)
    print(f"logs in {folder}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
