"""A long run: `python -m benchmarks.soak --minutes 30 --events 1000000`.

One `quorum live` process on a broker of its own, fed at an even pace. Each half minute the process's resident memory,
the entries that the desk is behind, and the warnings in its log are noted; at the end they are held to their bounds,
and the live log is exported and audited. Exits 1 where memory grew, lag did, or the log holds an error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.live import namespace, worker_environment
from benchmarks.live_load import FLIPS, LOAD, book_file, flip, tick
from cli.books import load_book
from deploy.kafka.broker import Broker
from replay.audit import audit
from schemas.codec import decode_own
from schemas.operations import JournalProcessed
from streams.export import export
from streams.kafka import Kafka, partition_of
from streams.reading import newest_first
from streams.wire import JOURNAL, PROGRESS, position_of

ROOT = Path(__file__).parents[1]
SAMPLE_S = 30.0
MAX_GROWTH = 1.15
"""Memory at the end over memory after the first quarter."""
MAX_BEHIND_S = 5.0
"""The desk may be behind by what is sent in this time."""
FLIP_EVERY = 200
"""One event in so many turns an average round, and so makes orders."""


class Sample(NamedTuple):
    """What was seen at one time."""

    minute: float
    sent: int
    rss_mb: float
    behind: int


def rss_mb(pid: int) -> float:
    """Give a process's resident memory, in 10^6 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def behind(kafka: Kafka, book: str) -> int:
    """Give the entries that are journaled and not yet processed."""
    partition = partition_of(book)
    sequenced = processed = 0
    for block in newest_first(kafka, JOURNAL, partition):
        if block:
            sequenced = position_of(dict(block[-1].headers() or ()).items()).seqs[book]
            break
    for block in newest_first(kafka, PROGRESS, partition):
        events = [decode_own(message.value() or b"") for message in block if message.key() == book.encode()]
        if events and isinstance(events[-1], JournalProcessed):
            processed = events[-1].seq
            break
    return max(0, sequenced - processed)  # the journal was looked at first


def feed(kafka: Kafka, book: str, pid: int, events: int, seconds: float, console: Console) -> list[Sample]:
    """Send events at an even pace; give the samples."""
    producer = Producer(kafka.producer())
    samples: list[Sample] = []
    began, sent = time.monotonic(), 0
    while sent < events:
        passed = time.monotonic() - began
        while sent < min(events, passed / seconds * events):
            now = time.time_ns()
            if sent % FLIP_EVERY:
                producer.produce(kafka.name("ticks"), key=LOAD, value=tick(sent, now))
            else:
                number = sent // FLIP_EVERY
                instrument = FLIPS[number % len(FLIPS)]
                value = flip(instrument, number // len(FLIPS), now)
                producer.produce(kafka.name("bars"), key=instrument, value=value)
            sent += 1
        producer.poll(0)
        if passed > len(samples) * SAMPLE_S + SAMPLE_S:
            samples.append(Sample(passed / 60, sent, rss_mb(pid), behind(kafka, book)))
            console.print(samples[-1])
        time.sleep(0.02)
    producer.flush()
    return samples


def judge(samples: list[Sample], errors: list[str], events_per_s: float) -> list[str]:
    """Say what broke its bound."""
    broken = [f"the log holds an error: {line[:300]}" for line in errors[:3]]
    later = samples[len(samples) // 4 :]
    growth = float(np.mean([each.rss_mb for each in later[-4:]])) / later[0].rss_mb
    if growth > MAX_GROWTH:
        broken.append(f"memory grew by {growth - 1:.0%} after the first quarter")
    worst = max(each.behind for each in later)
    if worst > MAX_BEHIND_S * events_per_s:
        broken.append(f"the desk was {worst:,} entries behind")
    return broken


def main() -> None:
    """Run, print a table, and exit 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    console = Console(stderr=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="quorum-soak-")))
        book = load_book(book_file(folder / "bench.yaml"))
        kafka = stack.enter_context(namespace(stack.enter_context(Broker(folder / "kafka", brief=False)).bootstrap))
        log = folder / "live.log"
        command = [sys.executable, "-m", "cli", "live", str(folder / "bench.yaml"), "--from", "earliest"]
        with log.open("wb") as out:
            live = subprocess.Popen(command, cwd=ROOT, env=worker_environment(kafka), stdout=out, stderr=out)  # noqa: S603 - ours
        stack.callback(live.wait)
        stack.callback(live.kill)
        time.sleep(10)
        samples = feed(kafka, book.name, live.pid, given.events, given.minutes * 60, console)
        time.sleep(10)
        lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
        errors = [line for line in lines if json.loads(line)["level"] in ("error", "critical")]
        broken = judge(samples, errors, given.events / given.minutes / 60)
        exported = export(kafka, book, folder / "run")
        audited = audit(folder / "run", (), book)
    table = Table(title=f"{given.events:,} events in {given.minutes:g} minutes")
    for column in Sample._fields:
        table.add_column(column, justify="right")
    for each in samples[:: max(1, len(samples) // 15)]:
        table.add_row(f"{each.minute:.1f}", f"{each.sent:,}", f"{each.rss_mb:.0f}", f"{each.behind:,}")
    Console(width=100).print(table)
    sys.stdout.write(
        f"{exported.journal_entries:,} journal entries, {audited.derived_events:,} derived events rebuilt,"
        f" {len(errors)} errors and {len(lines)} lines in the log\n"
    )
    if given.json is not None:
        given.json.write_text(json.dumps([each._asdict() for each in samples], indent=2))
    for sentence in broken:
        sys.stderr.write(f"soak: {sentence}\n")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
