"""The live path beside what it stands on: `python -m benchmarks.live [--bootstrap HOST:PORT]`.

Sustained events a second, from the times that the broker's records carry, between a tenth and nine tenths of the way:
a bare aiokafka loop in batches, a Faust agent that passes each event on, the same with a table, and Quorum's sequencer
and desk in a process each. Then the latency from a tick to its order, with the paper executor beside, at shares of
what Quorum sustained. Without --bootstrap it starts a broker of its own on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.live_load import FLIPS, LOAD, WARM_FLIPS, book_file, flip, tick
from cli.books import load_book
from deploy.kafka.broker import Broker
from schemas.base import NS_PER_S
from schemas.codec import decode_own
from schemas.operations import JournalProcessed
from streams.admin import create_topics, delete_topics
from streams.kafka import ENVIRONMENT, Kafka, partition_of

ROOT = Path(__file__).parents[1]
PATIENCE_S = 240.0
SILENCE_S = 3.0
"""After this without an order all have come."""


def fill(kafka: Kafka, events: int) -> None:
    """Put the load on its topic, as one producer does."""
    producer = Producer(kafka.producer() | {"linger.ms": 20, "queue.buffering.max.messages": 2_000_000})
    for number in range(events):
        producer.produce(kafka.name("ticks"), key=LOAD, value=tick(number, time.time_ns()))
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def worker_environment(kafka: Kafka) -> dict[str, str]:
    """Tell a program of this project where its Kafka is."""
    return {
        **os.environ,
        f"{ENVIRONMENT}BOOTSTRAP": kafka.bootstrap,
        f"{ENVIRONMENT}NAMESPACE": kafka.namespace,
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def running(kafka: Kafka, *commands: list[str]) -> Iterator[None]:
    """Run programs of this project against a namespace, and end them."""
    environment = worker_environment(kafka)
    with ExitStack() as stack:
        for command in commands:
            worker = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, *command], env=environment, cwd=ROOT, stderr=subprocess.DEVNULL
            )
            stack.callback(worker.wait)
            stack.callback(worker.kill)
        yield


def rate(points: list[tuple[int, int]], events: int) -> float:
    """Give events a second between a tenth and nine tenths of `events`; points are (events so far, time in ms)."""
    low = next(point for point in points if point[0] >= events / 10)
    high = next(point for point in points if point[0] >= events * 9 / 10)
    return (high[0] - low[0]) / max(high[1] - low[1], 1) * 1000


def peer_rate(kafka: Kafka, events: int, program: str) -> float:
    """Let a peer pass `events` on to topic `signals`; give its rate."""
    with running(kafka, ["-m", "benchmarks.live_peers", program]):
        places = [TopicPartition(kafka.name("signals"), n, 0) for n in range(8)]
        points = _points(kafka, places, events, lambda count, _message: count)
    return rate(points, events)


def quorum_rate(kafka: Kafka, events: int, book: Path) -> float:
    """Let sequencer and desk take `events`; give their rate."""
    worker = ["-m", "cli", "worker"]
    name = load_book(book).name
    with running(
        kafka,
        [*worker, "sequencer", str(book), "--from", "earliest"],
        [*worker, "desk", str(book), "--from", "earliest"],
    ):
        places = [TopicPartition(kafka.name("progress"), partition_of(name), 0)]
        points = _points(kafka, places, events, lambda _count, message: _seq(message.value()))
    return rate(points, events)


def _seq(value: bytes) -> int:
    progress = decode_own(value)
    return progress.seq if isinstance(progress, JournalProcessed) else 0


def _points(
    kafka: Kafka, places: list[TopicPartition], events: int, reached: Callable[[int, Any], int]
) -> list[tuple[int, int]]:
    """Follow a topic until `events` are reached."""
    consumer = Consumer(kafka.consumer("bench") | {"auto.offset.reset": "earliest"})
    consumer.assign(places)
    points: list[tuple[int, int]] = []
    count, end = 0, time.monotonic() + PATIENCE_S
    try:
        while not points or points[-1][0] < events:
            if time.monotonic() > end:
                raise SystemExit(f"live: {points[-1] if points else 0} of {events:,} events in {PATIENCE_S:g} s")
            for message in consumer.consume(1000, 0.2):
                count += 1
                points.append((reached(count, message), message.timestamp()[1]))
    finally:
        consumer.close()
    return points


def latencies(kafka: Kafka, book: Path, events_per_s: float, seconds: float) -> tuple[np.ndarray, float]:
    """Let load be sent at a pace with flips in between.

    Gives each order's ms from the time at which its bar was due to be sent to its arrival here, the first fifth left
    out, and the events a second that could be sent.
    """
    worker = ["-m", "cli", "worker"]
    start = ["--from", "earliest"]
    with running(kafka, *([*worker, role, str(book), *start] for role in ("sequencer", "desk", "executor"))):
        _warm_up(kafka, book)
        place = TopicPartition(kafka.name("orders"), partition_of(load_book(book).name), OFFSET_END)
        consumer = Consumer(kafka.consumer("bench"))
        consumer.assign([place])
        consumer.poll(1.0)
        sender = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "benchmarks.live_sender", str(events_per_s), str(seconds)],
            env=worker_environment(kafka),
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        found: list[tuple[int, int]] = []
        while (message := consumer.poll(SILENCE_S)) is not None or sender.poll() is None:
            if message is not None:
                found.append((decode_own(message.value() or b"").observed_at, time.time_ns()))
        consumer.close()
        sent = int(sender.communicate()[0])
    began = found[0][0] + seconds / 5 * NS_PER_S
    return np.array([(arrived - due) / 1e6 for due, arrived in found if due > began]), sent / seconds


def _warm_up(kafka: Kafka, book: Path) -> None:
    """Send some of everything, and wait until the desk has taken it."""
    producer = Producer(kafka.producer())
    for number in range(WARM_FLIPS):
        for instrument in FLIPS:
            producer.produce(kafka.name("bars"), key=instrument, value=flip(instrument, number, time.time_ns()))
        producer.flush()
        time.sleep(0.3)
    places = [TopicPartition(kafka.name("progress"), partition_of(load_book(book).name), 0)]
    _points(kafka, places, WARM_FLIPS * len(FLIPS), lambda _count, message: _seq(message.value()))
    time.sleep(3)


@contextmanager
def namespace(bootstrap: str) -> Iterator[Kafka]:
    """Give a namespace with its topics, and take it away."""
    kafka = Kafka(bootstrap=bootstrap, namespace=f"bench-{secrets.token_hex(3)}.")
    create_topics(kafka)
    try:
        yield kafka
    finally:
        delete_topics(kafka)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="a broker that runs; else one is started")
    parser.add_argument("--events", type=int, default=500_000, help="for the fast ones; Faust gets a tenth")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each latency run")
    parser.add_argument(
        "--paces", type=float, nargs="*", default=[25_000, 50_000], help="events/s to measure latency at, besides"
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    console = Console(stderr=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="quorum-live-")))
        bootstrap = given.bootstrap or stack.enter_context(Broker(folder / "kafka", brief=False)).bootstrap
        book = book_file(folder / "bench.yaml")
        rates: dict[str, float] = {}
        for name, events, program in (
            ("aiokafka, batches", given.events, "aiokafka"),
            ("Faust agent", given.events // 10, "faust"),
            ("Faust agent with a table", given.events // 20, "faust-table"),
            ("Quorum, sequencer and desk", given.events, ""),
        ):
            console.print(f"{name}: {events:,} events")
            with namespace(bootstrap) as kafka:
                fill(kafka, events)
                rates[name] = peer_rate(kafka, events, program) if program else quorum_rate(kafka, events, book)
        sustained = rates["Quorum, sequencer and desk"]
        paces = {f"{pace:,.0f}/s": pace for pace in given.paces}
        paces |= {f"{share:.0%}": share * sustained for share in (0.1, 0.5, 0.9)}
        shares: dict[str, tuple[np.ndarray, float]] = {}
        for load, pace in paces.items():
            console.print(f"latency at {load}")
            with namespace(bootstrap) as kafka:
                shares[load] = latencies(kafka, book, pace, given.seconds)
    _show(rates, shares, given.json)


def _show(rates: dict[str, float], shares: dict[str, tuple[np.ndarray, float]], path: Path | None) -> None:
    table = Table(title="sustained")
    for column in ("", "events/s", "ratio to the Faust agent"):
        table.add_column(column, justify="right" if column else "left")
    for name, per_s in rates.items():
        table.add_row(name, f"{per_s:,.0f}", f"{per_s / rates['Faust agent']:.1f}")
    delays = Table(title="tick to order, ms")
    for column in ("load", "events/s sent", "orders", "p50", "p99", "p99.9"):
        delays.add_column(column, justify="right")
    figures = {}
    for share, (found, sent) in shares.items():
        quantiles = [float(np.quantile(found, q)) if len(found) else float("nan") for q in (0.5, 0.99, 0.999)]
        figures[share] = {
            "events_per_s": sent,
            "orders": len(found),
            "p50": quantiles[0],
            "p99": quantiles[1],
            "p99.9": quantiles[2],
        }
        delays.add_row(share, f"{sent:,.0f}", f"{len(found):,}", *(f"{value:.1f}" for value in quantiles))
    Console(width=100).print(table, delays)
    if path is not None:
        path.write_text(json.dumps({"events_per_s": rates, "tick_to_order_ms": figures}, indent=2))


if __name__ == "__main__":
    main()
