"""The lake's files beside the JSON lines that they hold, of ticks that an exchange sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.lake.kept import Kept
from connectors.lake.manifests import Chain
from connectors.lake.records import records_of
from connectors.store import FolderStore
from schemas.base import NS_PER_MS, Event, market_id
from schemas.codec import encode
from schemas.market import QuoteTicked, TradeTicked
from schemas.wire import key_of
from tests.connectors.lake.lakes import ours

KEY = "BTC/USDT@binance-perp"
SKEW_NS = 1_300 * NS_PER_MS
"""How far the recorder's clock was behind, about."""


def recorded(shared_data: Callable[[str], Path]) -> list[Event]:
    """Give the recorded ticks by the time at which they were received."""
    found: list[Event] = []
    for row in pq.read_table(shared_data("ticks/binance_usdm_btcusdt_20240808_trades.parquet")).to_pylist():
        at, number = row["trade_ns"], row["trade_id"]
        name: dict[str, Any] = {"id": market_id(KEY, "trade", number), "key": KEY}
        times = {"occurred_at": at, "observed_at": max(at, row["recv_ns"] + SKEW_NS)}
        found.append(TradeTicked(**name, **times, price=row["price"], size=row["size"], side=row["side"]))
    for row in pq.read_table(shared_data("ticks/binance_usdm_btcusdt_20240808_bookticker.parquet")).to_pylist():
        at, number = row["event_ns"], row["update_id"]
        name = {"id": market_id(KEY, "quote", number), "key": KEY}
        times = {"occurred_at": at, "observed_at": max(at, row["recv_ns"] + SKEW_NS)}
        prices = {"bid": row["bid_px"], "ask": row["ask_px"]}
        found.append(QuoteTicked(**name, **times, **prices, bid_size=row["bid_sz"], ask_size=row["ask_sz"]))
    return sorted(found, key=lambda event: event.observed_at)


def test_real_ticks_take_a_tenth_of_their_json_lines(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    events = recorded(shared_data)
    records = [
        Kept(place, event.observed_at // NS_PER_MS, 1, key_of(event), ours(event), encode(event))
        for place, event in enumerate(events)
    ]
    store = FolderStore(tmp_path)
    manifest = Chain(store, "ticks", 0).commit(0, len(records), records)
    lines = sum(len(record.value or b"") + 1 for record in records)
    lake = sum(file.bytes for file in manifest.files)
    plain = sum(as_pyarrow_would(tmp_path / file.name) for file in manifest.files)
    shown = f"{len(events):,} ticks: JSON lines {lines:,} bytes, lake {lake:,} ({lines / lake:.1f} times smaller), "
    print(f"{shown}plain pyarrow {plain:,} ({lines / plain:.1f})")  # noqa: T201 - docs/lake.md quotes it
    assert lines > 10 * lake
    assert plain > lake
    assert list(records_of(store, manifest)) == records


def as_pyarrow_would(path: Path) -> int:
    """Give the size of the same columns written by pyarrow's defaults."""
    out = io.BytesIO()
    table: pa.Table = pq.read_table(path)
    pq.write_table(table, out)
    return len(out.getvalue())
