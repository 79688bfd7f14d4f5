"""Runs a backfill through the real ccxt against a local exchange, without its pauses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from connectors.backfill.run import Outcome, Progress, backfill
from connectors.backfill.state import Wanted
from connectors.backfill.venue import Venue, connect
from connectors.store import FolderStore, Store
from schemas.base import NS_PER_MIN, NS_PER_MS
from tests.connectors.backfill.exchanges import MINUTE_MS, Market, serving

DAY_MS = 1440 * MINUTE_MS
START_MS = 1_705_276_800_000
"""A midnight, of 15 January 2024."""
SYMBOLS = {"binance": "BTC/USDT", "kraken": "BTC/USD"}


def candles(count: int, *without: int, start: int = START_MS) -> list[tuple[int, float]]:
    """Make minutes from the start on, without some."""
    return [(start + i * MINUTE_MS, 100.0 + i % 7) for i in range(count) if i not in without]


def wanted(exchange: str, kind: str, since_ms: int, until_ms: int) -> Wanted:
    return Wanted(
        exchange=exchange,
        symbol=SYMBOLS.get(exchange, "BTC/USD"),
        kind=kind,
        timeframe="1m" if kind == "bars" else "",
        interval_ns=NS_PER_MIN if kind == "bars" else 0,
        instrument=f"{SYMBOLS.get(exchange, 'BTC/USD')}@{exchange}",
        since_ns=since_ms * NS_PER_MS,
        until_ns=until_ms * NS_PER_MS,
    )


def unhurried(name: str, urls: dict[str, str]) -> Any:
    """Make ccxt's client of a local exchange, which has no limits of its own."""
    exchange = connect(name)
    exchange.urls["api"] |= urls
    exchange.rateLimit = 0.1
    exchange.tokenBucket = {}
    exchange.init_throttler()
    if name == "binance":
        exchange.options["fetchMarkets"] = {"types": ["spot"]}
    return exchange


def fetch(root: Path | Store, market: Market, want: Wanted, progress: Progress = lambda _: None) -> Outcome:
    """Serve a market and fetch what is wanted of it."""
    store = FolderStore(root) if isinstance(root, Path) else root

    async def run(urls: dict[str, str]) -> Outcome:
        async with Venue(unhurried(want.exchange, urls), want.symbol) as venue:
            return await backfill(venue, store, want, progress)

    with serving(want.exchange, market) as urls:
        return asyncio.run(run(urls))


def listing(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.*"))}
