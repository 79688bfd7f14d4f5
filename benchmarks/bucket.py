"""What a replay costs from a bucket: with an empty cache, with a full one, and beside the same archive in a folder.

The bucket is that of an S3 server in this process; `--latency-ms` holds each request back, as a network does. Run it
from the repository's root: `python -m benchmarks.bucket`.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.peers.peer import Lap, Stopwatch
from benchmarks.quorum_ema import INSTRUMENT, ema_book
from connectors.archive import write
from connectors.cache import THREADS
from replay.files import Place
from replay.run import Run, Settings
from replay.synthetic.walk import START_NS, bars_table, walk, write_bars
from schemas.base import NS_PER_DAY
from tests.faultproxy import Fault, FaultProxy

BOOK = ema_book(400, 1000)
SEED = 1
DAY_BARS = 1440
TEN_YEARS = 3653
MONTH_NS = START_NS + 31 * NS_PER_DAY
WARM_BARS = 5_000
LAPS = 5
"""Of what is repeated, the one of least processor time counts."""
BUCKET = "bench"


class Row(NamedTuple):
    """One way to read an archive."""

    archive: str
    way: str
    lap: Lap
    log_sha256: str
    gets: int = 0
    fetched_mb: float = 0.0


def _replayed(archive: Place, end_ns: int | None, laps: int) -> tuple[Lap, str]:
    found = []
    for _ in range(laps):
        watch = Stopwatch()
        with TemporaryDirectory() as out:
            run = Run(BOOK, Settings(archive=archive, out=Path(out) / "run", end_ns=end_ns, report=False))
            log_sha256 = run.run(lambda _: None).log_sha256
        found.append(watch.lap())
    return min(found, key=lambda lap: lap.cpu_s), log_sha256


def _warmed(warm: Path, archive: Place, end_ns: int | None, laps: int) -> tuple[Lap, str]:
    """Replay a small archive first, so that kernels are compiled or read from numba's cache, and boto3 is there."""
    import connectors.s3  # noqa: F401, PLC0415 - imported once a process; what it takes is no part of a replay

    _replayed(warm, None, 1)
    return _replayed(archive, end_ns, laps)


def _alone(*arguments: object) -> tuple[Lap, str]:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_warmed, *arguments).result()  # type: ignore[arg-type]


def replayed_alone(warm: Path, archive: Path) -> tuple[Lap, str]:
    """Replay an archive in a process of its own: the lap of least processor time, and the log's digest."""
    return _alone(warm, archive, None, LAPS)


def _downloaded(where: str) -> tuple[Lap, str]:
    """Fetch every object, by as many threads as the mirror has, and keep none."""
    from connectors.s3 import S3Store  # noqa: PLC0415 - the server's address must be in the environment first

    store = S3Store(where)
    watch = Stopwatch()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda listed: len(store.get(listed.key) or b""), list(store.list(""))))
    return watch.lap(), ""


def _ticks(root: Path, days: int, hour_rows: int) -> None:
    """Write trades, a file an hour, at prices that walk."""
    chance = np.random.default_rng(SEED)
    price = 20_000.0
    for day in range(days):
        n = 24 * hour_rows
        at = START_NS + day * NS_PER_DAY + np.sort(chance.integers(0, NS_PER_DAY, n))
        prices = np.round(price + np.cumsum(chance.normal(0, 0.5, n)), 2)
        price = float(prices[-1])
        columns = {
            "key": pa.array([INSTRUMENT] * n),
            "number": np.arange(day * n, (day + 1) * n),
            "occurred_at": at,
            "observed_at": at,
            "price": prices,
            "size": np.round(chance.exponential(0.1, n), 3) + 0.001,
            "side": chance.choice(np.array([-1, 1], np.int8), n),
        }
        write(root, "trades", pa.table(columns), f"day {day}")


def _uploaded(root: Path, name: str) -> str:
    from connectors.s3 import S3Store  # noqa: PLC0415 - the server's address must be in the environment first

    store = S3Store(f"s3://{BUCKET}/{name}")
    with ThreadPoolExecutor(THREADS) as pool:
        paths = list(root.rglob("*.parquet"))
        list(pool.map(lambda path: store.put(path.relative_to(root).as_posix(), path.read_bytes()), paths))
    return store.where


def _rows(name: str, root: Path, end_ns: int | None, scratch: Path, proxy: FaultProxy) -> Iterator[Row]:
    warm = scratch / "warm.parquet"
    where = _uploaded(root, name)
    yield Row(name, "folder", *_alone(warm, root, end_ns, LAPS))
    os.environ["QUORUM_CACHE_DIR"] = str(scratch / f"cache {name}")
    for way, laps in (("bucket, cache empty", 1), ("bucket, cache full", LAPS)):
        proxy.requests.clear()
        taken = _alone(warm, where, end_ns, laps)
        gets = sum(each.method == "GET" and "list-type" not in each.path for each in proxy.requests)
        cache = sum(path.stat().st_blocks * 512 for path in (scratch / f"cache {name}").rglob("objects/*/*"))
        yield Row(name, way, *taken, gets, cache / 1e6 if gets else 0.0)
    size = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    yield Row(
        name, "all objects downloaded, no replay", *_downloaded(where), len(list(root.rglob("*.parquet"))), size / 1e6
    )


def _late(latency_ms: float) -> Fault:
    time.sleep(latency_ms / 1e3)
    return ""


def _serve(scratch: Path, days: int, hour_rows: int, latency_ms: float) -> Iterator[Row]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - a tool of the tests, slow to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with FaultProxy(f"http://{host}:{port}", lambda _method, _path: _late(latency_ms)) as proxy:
        os.environ |= {"AWS_ENDPOINT_URL_S3": proxy.url, "AWS_ACCESS_KEY_ID": "bench"}
        os.environ |= {"AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}
        from boto3.session import Session  # noqa: PLC0415 - as above

        Session().client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        write_bars(scratch / "warm.parquet", WARM_BARS, SEED, INSTRUMENT)
        _ticks(scratch / "ticks", days, hour_rows)
        yield from _rows(f"trades, {days} days", scratch / "ticks", None, scratch, proxy)
        for block in walk(TEN_YEARS * DAY_BARS, SEED):
            write(scratch / "months", "bars", bars_table(block, INSTRUMENT), f"from {block.closed_at[0]}")
        yield from _rows("a month of ten years, in months", scratch / "months", MONTH_NS, scratch, proxy)
        write_bars(scratch / "one" / "bars" / "walk.parquet", TEN_YEARS * DAY_BARS, SEED, INSTRUMENT)
        yield from _rows("a month of ten years, one file", scratch / "one", MONTH_NS, scratch, proxy)
    server.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=5, help="of trades")
    parser.add_argument("--hour-rows", type=int, default=20_000, help="trades an hour")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of each request")
    told = parser.parse_args()
    shown = Table()
    for name in ("archive", "read from", "CPU s", "wall s", "requests of data", "in the cache, MB"):
        shown.add_column(name, justify="left" if name in {"archive", "read from"} else "right")
    logs: dict[str, set[str]] = {}
    with TemporaryDirectory() as scratch:
        for row in _serve(Path(scratch), told.days, told.hour_rows, told.latency_ms):
            logs.setdefault(row.archive, set()).add(row.log_sha256)
            lap = row.lap
            shown.add_row(
                row.archive, row.way, f"{lap.cpu_s:.2f}", f"{lap.wall_s:.2f}", f"{row.gets:,}", f"{row.fetched_mb:.1f}"
            )
    Console(width=130).print(shown)
    unlike = [name for name, found in logs.items() if len(found - {""}) != 1]
    print(f"logs differ: {', '.join(unlike)}" if unlike else "the log of each archive is the same from everywhere")
    if unlike:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
