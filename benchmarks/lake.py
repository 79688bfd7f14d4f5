"""The lake beside what it stands on: `python -m benchmarks.lake [--events 10000000] [--folder DIR]`.

A broker and a server that speaks S3's protocol (moto's, a process of its own) are started on this machine. Ticks, the
recorded ones of `../shared/data/ticks` over and over with times and ids moved on, are told to Kafka; a bare consumer
reads and discards them; an archiver takes them into a folder, two that share them into another, one into a bucket. The
topics are deleted, restored from the bucket and compared, and a replay from each lake must leave the same log. Leaves
with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from connectors.lake.kept import content_sha256
from connectors.lake.layout import chain_folder
from connectors.lake.links import Head, Manifest, read_link
from connectors.lake.verify import verify
from connectors.store import Store, open_store
from deploy.kafka.broker import Broker, free_port
from schemas.base import NS_PER_MIN, market_id
from schemas.codec import encode
from schemas.market import QuoteTicked, TradeTicked
from schemas.topics import TOPICS
from streams.admin import create_topics, delete_topics
from streams.kafka import Kafka
from streams.lag import bounds_of
from streams.reading import read_back
from streams.restore import kept, restore
from streams.wire import headers_of, key_of
from tests.integration.lakes import PLACES, start_archiver

TICKS = Path(__file__).parents[2] / "shared" / "data" / "ticks"
COPY_NS = 12 * NS_PER_MIN
"""A copy of the recording comes so long after the one before it."""
COPY_NUMBERS = 1_000_000_000
OF_TRADE = ("price", "size", "side")
OF_QUOTE = ("bid", "ask", "bid_size", "ask_size")
KEYS = 4
"""Copies go by turns to so many instruments of each market."""
PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}["ticks"]
ANSWER_S = 30.0
EVERY_S = 5.0
"""So long the last segments wait, which do not fill."""
BOOK = {"name": "bench", "instruments": [{"id": "BTC0/SPOT@binance"}], "strategy": {"mode": "advisory"}}
OUT = Console(width=130)


class Tick(NamedTuple):
    """A recorded tick: of a trade price, size and side; of a quote bid, ask and their sizes."""

    observed_at: int
    occurred_at: int
    market: str
    number: int
    values: tuple[float | str, ...]


def recorded() -> list[Tick]:
    """Give the recorded trades and best bids and offers of both markets in the order of their time."""
    found = []
    for path in sorted(TICKS.glob("binance_*.parquet")):
        if "depth" in path.name:
            continue
        market = "perp" if "usdm" in path.name else "spot"
        of_trade = "trade_id" in pq.read_schema(path).names
        names = OF_TRADE if of_trade else ("bid_px", "ask_px", "bid_sz", "ask_sz")
        for row in pq.read_table(path).to_pylist():
            at = row.get("trade_ns") or row.get("event_ns") or row["recv_ns"]
            number = row["trade_id" if of_trade else "update_id"]
            values = tuple(row[name] for name in names)
            found.append(Tick(max(row["recv_ns"], at), at, market, number, values))
    return sorted(found)


def events(count: int) -> Iterator[TradeTicked | QuoteTicked]:
    """Give so many ticks, the recording over and over, each with an id of its own."""
    base = recorded()
    for n in range(count):
        copy, place = divmod(n, len(base))
        at, then, market, number, values = base[place]
        later, number = copy * COPY_NS, number + copy * COPY_NUMBERS
        key = f"BTC{copy % KEYS}/{market.upper()}@binance"
        kind: type[TradeTicked | QuoteTicked]
        if len(values) == len(OF_TRADE):
            kind, fields = TradeTicked, dict(zip(OF_TRADE, values, strict=True))
        else:
            kind, fields = QuoteTicked, dict(zip(OF_QUOTE, values, strict=True))
        name = market_id(key, "trade" if kind is TradeTicked else "quote", number)
        yield kind(id=name, key=key, occurred_at=then + later, observed_at=at + later, **fields)  # type: ignore[arg-type]


def tell(kafka: Kafka, count: int) -> int:
    """Put the events on their topic, and give what they take as JSON lines, in bytes."""
    producer = Producer(
        kafka.producer(compression_type="lz4", queue_buffering_max_messages=500_000) | {"linger.ms": 50}
    )
    size = 0
    for n, event in enumerate(events(count)):
        value = encode(event)
        size += len(value) + 1
        while True:
            try:
                producer.produce(kafka.name("ticks"), value, key_of(event), headers=headers_of(event))
                break
            except BufferError:
                producer.poll(0.1)
        if n % 5_000 == 0:
            producer.poll(0)
    left = producer.flush(ANSWER_S)
    if left:
        raise SystemExit(f"{left:,} events were not taken by the broker within {ANSWER_S:g} s")
    return size


class Took(NamedTuple):
    """What a reader needed."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0


def discard(kafka: Kafka) -> Took:
    """Read all ticks and do nothing with them."""
    consumer = Consumer(kafka.consumer("bare"))
    bounds = bounds_of(kafka, [("ticks", n) for n in range(PARTITIONS)])
    left = sum(high - low for low, high in bounds.values())
    consumer.assign([TopicPartition(kafka.name("ticks"), n, low) for (_, n), (low, _) in bounds.items()])
    began, cpu = time.monotonic(), time.process_time()
    while left:
        left -= len(consumer.consume(5_000, 1.0))
    took = Took(time.monotonic() - began, time.process_time() - cpu)
    consumer.close()
    return took


def end_of(store: Store, partition: int) -> int:
    """Give where the lake's ticks of a partition end, as its head says: their number, for no offset is without one."""
    key = f"{chain_folder('ticks', partition)}head"
    data = store.get(key)
    if data is None:
        return 0
    name = read_link(store, key, data, Head).manifest
    return read_link(store, name, store.get(name) or b"", Manifest).next


def archive(kafka: Kafka, lake: str, log: Path, rows: int, archivers: int = 1) -> Took:
    """Archive the ticks by so many archivers, and end them when all are in the lake. Their start is part of it."""
    store, began = open_store(lake), time.monotonic()
    arguments = ("--topics", "ticks", "--every", str(EVERY_S))
    workers = [start_archiver(kafka, lake, log, *arguments) for _ in range(archivers)]
    try:
        while sum(end_of(store, n) for n in range(PARTITIONS)) < rows:
            if any(worker.poll() is not None for worker in workers):
                raise SystemExit(f"an archiver has ended:\n{log.read_text()[-3000:]}")
            time.sleep(1.0)
        wall_s = time.monotonic() - began
    finally:
        for worker in workers:
            worker.terminate()
        usages = [os.wait4(worker.pid, 0)[2] for worker in workers]
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Took(wall_s, cpu_s, sum(usage.ru_maxrss for usage in usages) / 1024)


def digests(kafka: Kafka) -> dict[tuple[str, int], str]:
    """Give a digest of every partition: offsets, times, keys, headers, values."""
    return {
        place: content_sha256(map(kept, read_back(kafka, *place, low, high)))
        for place, (low, high) in bounds_of(kafka, PLACES).items()
        if high > low
    }


def sizes(store: Store) -> tuple[int, int]:
    """Give the bytes of a lake's files, and of the same columns as pyarrow writes them unasked."""
    lake = plain = 0
    for listed in store.list("raw/"):
        data = store.get(listed.key) or b""
        lake += len(data)
        out = io.BytesIO()
        pq.write_table(pq.read_table(pa.BufferReader(data)), out)
        plain += out.tell()
    return lake, plain


def replay(lake: str, folder: Path) -> str:
    """Replay a lake's ticks of one instrument, and give the digest of the log."""
    path, out = folder / "book.yaml", folder / "run"
    path.write_text(yaml.safe_dump(BOOK), encoding="utf-8")
    command = [sys.executable, "-m", "cli", "replay", str(path), "--archive", lake, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        raise SystemExit(f"the replay of {lake} failed: {done.stderr[-2000:]}")
    return str(msgspec.json.decode((out / "summary.json").read_bytes())["log_sha256"])


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Run moto's server, tell boto3 of it, and give a lake in a new bucket."""
    from boto3.session import Session  # noqa: PLC0415 - it reads the environment that is set here

    port = free_port()
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - our own environment's
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    os.environ |= {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "QUORUM_CACHE_DIR": str(folder / "cache"),
    }
    try:
        client = Session().client("s3")
        for _ in range(100):
            try:
                client.create_bucket(Bucket="lake")
                break
            except OSError:
                time.sleep(0.2)
            except Exception:  # noqa: BLE001 - boto3 wraps what the socket says
                time.sleep(0.2)
        yield "s3://lake/bench"
    finally:
        server.kill()
        server.wait()


def rows_of(events_told: int, took: dict[str, Took]) -> Iterator[tuple[str, ...]]:
    """Lay the rates out, each beside the bare consumer's."""
    bare = took["a bare consumer that discards"]
    for name, each in took.items():
        yield (
            name,
            f"{each.wall_s:,.1f}",
            f"{events_told / each.wall_s:,.0f}",
            f"{bare.wall_s / each.wall_s:.2f}",
            f"{each.cpu_s:,.1f}" if each.cpu_s else "",
            f"{events_told / each.cpu_s:,.0f}" if each.cpu_s else "",
            f"{each.peak_mb:,.0f}" if each.peak_mb else "",
        )


def measured(kafka: Kafka, bucket: str, folder: Path, count: int) -> bool:
    """Do it all, print what came of it, and tell whether everything was equal."""
    local = str(folder / "lake")
    create_topics(kafka)
    began = time.monotonic()
    json_bytes = tell(kafka, count)
    OUT.print(f"{count:,} ticks told in {time.monotonic() - began:,.0f} s")
    took = {"a bare consumer that discards": discard(kafka)}
    took["the archiver, into a folder"] = archive(kafka, local, folder / "local.log", count)
    shared = str(folder / "shared")
    took["two archivers, into a folder"] = archive(kafka, shared, folder / "shared.log", count, 2)
    took["the archiver, into a bucket"] = archive(kafka, bucket, folder / "s3.log", count)
    lake_bytes, plain_bytes = sizes(open_store(local))
    OUT.print("archived three times")
    before = digests(kafka)
    delete_topics(kafka)
    began = time.monotonic()
    restore(kafka, open_store(bucket), ["ticks"])
    took["restored from the bucket"] = Took(time.monotonic() - began, 0.0)
    OUT.print("restored")
    checks = {
        "restored topic equals the archived one": digests(kafka) == before,
        "verify --deep of the folder": not verify(open_store(local), deep=True).faults,
        "verify --deep of the folder that two wrote": not verify(open_store(shared), deep=True).faults,
        "verify --deep of the bucket": not verify(open_store(bucket), deep=True).faults,
        "replays from all three leave one log": len({replay(lake, folder) for lake in (bucket, local, shared)}) == 1,
    }
    table = Table("", "s", "events/s", "to bare", "CPU s", "events/CPU s", "peak MB", title=f"{count:,} ticks")
    for row in rows_of(count, took):
        table.add_row(*row)
    OUT.print(table)
    sizes_table = Table("", "bytes", "a tick", "times the lake's")
    for name, size in {"JSON lines": json_bytes, "pyarrow unasked": plain_bytes, "the lake": lake_bytes}.items():
        sizes_table.add_row(name, f"{size:,}", f"{size / count:.1f}", f"{size / lake_bytes:.1f}")
    OUT.print(sizes_table)
    for name, holds in checks.items():
        OUT.print(f"{name}: {'yes' if holds else 'NO'}")
    return all(checks.values())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="for all that is written, about 500 bytes an event; removed after")
    given = parser.parse_args()
    if not TICKS.is_dir():
        raise SystemExit(f"{TICKS} is not there: this benchmark needs the recorded ticks")
    folder = Path(mkdtemp(prefix="quorum-lake-", dir=given.folder))
    try:
        with Broker(folder / "kafka", brief=False) as broker, s3(folder) as bucket:
            if not measured(Kafka(bootstrap=broker.bootstrap, namespace="lake."), bucket, folder, given.events):
                raise SystemExit(1)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
