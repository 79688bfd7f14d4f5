"""Trades and quotes that a bar could have been made of: they keep its open, close and range."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from connectors.archive import SCHEMAS
from replay.synthetic.walk import PRICE_DECIMALS, VOLUME_DECIMALS, Bars, Floats, to_price
from schemas.base import NS_PER_MIN, NS_PER_MS

TRADES_PER_BAR = 8
SPREAD_STEPS = 3
"""The widest distance of a quote from the last trade, in price steps."""


def trades_and_quotes(bars: Bars, key: str, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """Give `TRADES_PER_BAR` trades for each bar, and a quote a millisecond after each, in archive columns."""
    n = len(bars.closed_at)
    shape = (n, TRADES_PER_BAR)
    steps = np.arange(TRADES_PER_BAR)
    opened = bars.closed_at - NS_PER_MIN
    at = opened[:, None] + ((steps + rng.random(shape)) * (NS_PER_MIN // TRADES_PER_BAR)).astype(np.int64)
    numbers = (opened[:, None] // NS_PER_MIN) * TRADES_PER_BAR + steps
    prices = _path(bars, rng.random(shape))
    sizes = np.maximum(
        np.round(bars.volume[:, None] / TRADES_PER_BAR * (0.5 + rng.random(shape)), VOLUME_DECIMALS), 0.001
    )
    moves = np.diff(prices.ravel(), prepend=prices[:1, 0])
    trades = {
        "price": prices.ravel(),
        "size": sizes.ravel(),
        "side": np.where(moves < 0.0, -1, 1).astype(np.int8),
    }
    step = 10.0**-PRICE_DECIMALS
    width = np.floor(1.0 + SPREAD_STEPS * rng.random(shape)) * step
    quotes = {
        "bid": to_price(prices - width).ravel(),
        "ask": to_price(prices + width).ravel(),
        "bid_size": np.round(1.0 + 20.0 * rng.random(n * TRADES_PER_BAR), VOLUME_DECIMALS),
        "ask_size": np.round(1.0 + 20.0 * rng.random(n * TRADES_PER_BAR), VOLUME_DECIMALS),
    }
    return (
        _table("trades", key, numbers.ravel(), at.ravel(), trades),
        _table("quotes", key, numbers.ravel(), at.ravel() + NS_PER_MS, quotes),
    )


def _path(bars: Bars, noise: Floats) -> Floats:
    """Lead from open to close, straying within the bar's range; the outermost prices are low and high or inside."""
    way = np.arange(TRADES_PER_BAR) / (TRADES_PER_BAR - 1)
    line = bars.open[:, None] + (bars.close - bars.open)[:, None] * way
    stray = (bars.high - bars.low)[:, None] * (noise - 0.5)
    stray[:, 0] = stray[:, -1] = 0.0
    return to_price(np.clip(line + stray, bars.low[:, None], bars.high[:, None]))


def _table(kind: str, key: str, numbers: np.ndarray, at: np.ndarray, values: dict[str, np.ndarray]) -> pa.Table:
    keys = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(at), np.int32)), pa.array([key]))
    columns = {"key": keys, "number": numbers, "occurred_at": at, "observed_at": at, **values}
    return pa.table(columns, schema=SCHEMAS[kind])
