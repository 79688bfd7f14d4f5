"""What a replay of a lake costs before it is compacted, and after: `python -m benchmarks.uncompacted [--hours 24]`.

Ticks of one instrument at a steady pace, archived in segments of `--every` seconds: so many small files an hour. The
same lake is replayed as it is, compacted, and replayed again. Leaves with status 1 unless both leave the same log.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bucket import replayed_alone
from benchmarks.quorum_ema import INSTRUMENT
from connectors.lake.compact import compact
from connectors.lake.kept import Kept, packed
from connectors.lake.links import Manifest
from connectors.lake.manifests import Chain
from connectors.store import FolderStore
from replay.synthetic.walk import START_NS, write_bars
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S, market_id
from schemas.codec import encode
from schemas.market import TradeTicked
from schemas.wire import headers_of, key_of

NS_PER_HOUR = 60 * NS_PER_MIN
PLACE = ("ticks", 3)
WARM_BARS = 5_000
SEED = 1


def ticks(hours: int, hour_rows: int) -> Iterator[Kept]:
    """Give trades at prices that walk, as records in the order of their time."""
    chance = np.random.default_rng(SEED)
    count = hours * hour_rows
    at = START_NS + np.sort(chance.integers(0, hours * NS_PER_HOUR, count))
    prices = np.round(20_000 + np.cumsum(chance.normal(0, 0.5, count)), 2)
    for number, (then, price) in enumerate(zip(at.tolist(), prices.tolist(), strict=True)):
        event = TradeTicked(
            id=market_id(INSTRUMENT, "trade", number),
            key=INSTRUMENT,
            occurred_at=then,
            observed_at=then,
            price=price,
            size=0.25,
            side="buy",
        )
        yield Kept(number, then // NS_PER_MS, 1, key_of(event), packed(headers_of(event)), encode(event))


def archived(store: FolderStore, records: Iterator[Kept], every_s: float) -> list[Manifest]:
    """Put records into a lake, a segment for each `every_s` seconds."""
    chain, made, segment, turn = Chain(store, *PLACE), [], list[Kept](), 0
    for record in records:
        now = int(record.timestamp_ms * NS_PER_MS // (every_s * NS_PER_S))
        if segment and now != turn:
            made.append(chain.commit(segment[0].offset, record.offset, segment))
            segment = []
        segment.append(record)
        turn = now
    made.append(chain.commit(segment[0].offset, segment[-1].offset + 1, segment))
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--hour-rows", type=int, default=20_000, help="trades an hour")
    parser.add_argument("--every", type=float, default=60.0, help="seconds of a segment")
    told = parser.parse_args()
    table, logs = Table("", "files", "MB", "replay, CPU s", "wall s"), set()
    with TemporaryDirectory() as scratch:
        warm, root = Path(scratch) / "warm.parquet", Path(scratch) / "lake"
        write_bars(warm, WARM_BARS, SEED, INSTRUMENT)
        store = FolderStore(root)
        made = archived(store, ticks(told.hours, told.hour_rows), told.every)
        for way in ("as archived", "compacted"):
            lap, log_sha256 = replayed_alone(warm, root)
            logs.add(log_sha256)
            sizes = [path.stat().st_size for path in (root / "raw").rglob("*.parquet")]
            table.add_row(way, f"{len(sizes):,}", f"{sum(sizes) / 1e6:.1f}", f"{lap.cpu_s:.2f}", f"{lap.wall_s:.2f}")
            compact(store, *PLACE, made, START_NS + told.hours * NS_PER_HOUR)
    out = Console(width=130)
    out.print(f"{told.hours * told.hour_rows:,} trades")
    out.print(table)
    if len(logs) != 1:
        out.print("logs differ")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
