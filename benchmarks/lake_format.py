"""What the lake's files cost, without Kafka or S3: bytes beside JSON lines and plain pyarrow, and time on one core.

The ticks are those of `../shared/data/ticks`, told again and again with later times and higher numbers. Run it from the
repository's root: `python -m benchmarks.lake_format [--segments 8]`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from connectors.lake.kept import Kept, packed
from connectors.lake.manifests import Chain
from connectors.lake.records import records_of
from connectors.lake.verify import verify
from connectors.store import FolderStore
from schemas.base import NS_PER_MIN, NS_PER_MS, market_id
from schemas.codec import encode
from schemas.market import QuoteTicked, TradeTicked
from schemas.wire import headers_of, key_of

DATA = Path(__file__).parents[2] / "shared" / "data" / "ticks"
KEY = "BTC/USDT@binance-perp"
SKEW_NS = 1_300 * NS_PER_MS
"""How far the recorder's clock was behind, about."""
ROUND_NS = 20 * NS_PER_MIN
ROUND_NUMBERS = 100_000_000
SEGMENT_ROWS = 131_072
T = TypeVar("T")


def recorded() -> list[TradeTicked | QuoteTicked]:
    """Give the recorded trades and quotes of the perpetual, by the time at which they were received."""
    found: list[TradeTicked | QuoteTicked] = []
    for row in pq.read_table(DATA / "binance_usdm_btcusdt_20240808_trades.parquet").to_pylist():
        at = row["trade_ns"]
        found.append(
            TradeTicked(
                id=market_id(KEY, "trade", row["trade_id"]),
                key=KEY,
                occurred_at=at,
                observed_at=max(at, row["recv_ns"] + SKEW_NS),
                price=row["price"],
                size=row["size"],
                side=row["side"],
            )
        )
    for row in pq.read_table(DATA / "binance_usdm_btcusdt_20240808_bookticker.parquet").to_pylist():
        at = row["event_ns"]
        found.append(
            QuoteTicked(
                id=market_id(KEY, "quote", row["update_id"]),
                key=KEY,
                occurred_at=at,
                observed_at=max(at, row["recv_ns"] + SKEW_NS),
                bid=row["bid_px"],
                ask=row["ask_px"],
                bid_size=row["bid_sz"],
                ask_size=row["ask_sz"],
            )
        )
    return sorted(found, key=lambda event: event.observed_at)


def records(*, headers: bool) -> Iterator[Kept]:
    """Give records without end: the recording, over and over."""
    ticks = recorded()
    offsets = count()
    for turn in count():
        for tick in ticks:
            kind, number = tick.id.rsplit("/", 2)[1:]
            event = msgspec.structs.replace(
                tick,
                id=market_id(KEY, kind, int(number) + turn * ROUND_NUMBERS),
                occurred_at=tick.occurred_at + turn * ROUND_NS,
                observed_at=tick.observed_at + turn * ROUND_NS,
            )
            told = packed(headers_of(event)) if headers else b""
            yield Kept(next(offsets), event.observed_at // NS_PER_MS, 1, key_of(event), told, encode(event))


def plain_bytes(path: Path) -> int:
    """Give the size of a file's columns as pyarrow's defaults write them."""
    out = io.BytesIO()
    table: pa.Table = pq.read_table(path)
    pq.write_table(table, out)
    return len(out.getvalue())


def timed(took: dict[str, float], name: str, run: Callable[[], T]) -> T:
    """Run something, and add its processor time."""
    start = time.process_time()
    result = run()
    took[name] = took.get(name, 0.0) + time.process_time() - start
    return result


def measure(segments: int, *, headers: bool) -> list[str]:
    """Give a row of the table."""
    took: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        chain = Chain(store, "ticks", 0)
        source = records(headers=headers)
        lines = files = 0
        for place in range(segments):
            some = list(islice(source, SEGMENT_ROWS))
            lines += sum(len(record.value or b"") + 1 for record in some)
            first = place * SEGMENT_ROWS
            manifest = timed(took, "write", lambda: chain.commit(first, first + SEGMENT_ROWS, some))  # noqa: B023
            again = timed(took, "read", lambda: list(records_of(store, manifest, {})))  # noqa: B023
            if again != some:
                raise SystemExit("the records that were read are not those that were written")
        timed(took, "verify", lambda: verify(store))
        files = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        plain = sum(map(plain_bytes, Path(folder).rglob("*.parquet")))
    rows = segments * SEGMENT_ROWS
    return [
        "ours" if headers else "none",
        f"{rows:,}",
        f"{lines / rows:.1f}",
        f"{files / rows:.1f} ({lines / files:.1f}x)",
        f"{plain / rows:.1f} ({lines / plain:.1f}x)",
        *(f"{rows / took[name]:,.0f}" for name in ("write", "read", "verify")),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=8)
    segments = parser.parse_args().segments
    columns = ("headers", "ticks", "JSON lines, B", "lake, B", "plain pyarrow, B", "written/s", "read/s", "verified/s")
    table = Table(*columns, title="bytes and ticks a second of processor time", title_justify="left")
    for headers in (False, True):
        table.add_row(*measure(segments, headers=headers))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
