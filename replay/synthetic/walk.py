"""A geometric random walk of one-minute bars, as long as one wants, in memory that does not grow with its length.

Only sums, products and square roots make the numbers: they round alike everywhere, where the logarithm behind a true
normal draw does not. A longer walk begins with the shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.archive import ROW_GROUP_ROWS, SCHEMAS
from schemas.base import NS_PER_MIN

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

START_NS = 1_577_836_800_000_000_000
"""2020-01-01: opening time of the first bar."""
FIRST_PRICE = 10_000.0
VOLATILITY = 0.0005
"""Standard deviation of a bar's return; 0.36 a year."""
PRICE_DECIMALS = 2
VOLUME_DECIMALS = 3
VOLUME_MIN, VOLUME_RANGE = 50.0, 200.0
"""Wide enough for any order of a benchmark: no engine should have to split a fill."""
BLOCK_BARS = 250_000
"""A block is drawn whole from a generator of its own, so its size is part of the walk's definition."""


class Bars(NamedTuple):
    """Consecutive one-minute bars as columns of equal length."""

    closed_at: Ints
    """Time in ns, UTC: the first moment at which the bar can be known."""
    open: Floats
    """The close of the bar before it: the walk itself has no gaps."""
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def generator(*key: int) -> np.random.Generator:
    """Give the generator that belongs to a key of seed and whatever is drawn."""
    return np.random.Generator(np.random.PCG64(list(key)))


def bell(rng: np.random.Generator, n: int) -> Floats:
    """Draw n numbers of mean 0 and variance 1: four uniform ones summed (Irwin and Hall), over their spread of 1/3."""
    uniform = rng.random((4, n))
    drawn: Floats = (uniform[0] + uniform[1] + uniform[2] + uniform[3] - 2.0) * math.sqrt(3.0)
    return drawn


def compounded(level: float, returns: Floats) -> Floats:
    """Give the level after each of the returns, which are fractions."""
    growth = np.cumprod(1.0 + returns, dtype=np.float64)
    return level * growth


def to_price(values: Floats) -> Floats:
    """Round to the price step; a price is at least one step."""
    return np.maximum(np.round(values, PRICE_DECIMALS), 10.0**-PRICE_DECIMALS)


def bars_through(
    levels: Floats, open_price: float, closed_at: Ints, rng: np.random.Generator, reach: float = VOLATILITY
) -> Bars:
    """Make the bars whose closes are `levels`; highs and lows reach up to the fraction `reach` beyond the body."""
    n = len(levels)
    close = to_price(levels)
    open_ = np.concatenate(([open_price], close[:-1]))
    up, down, size = 1.0 + reach * rng.random(n), 1.0 - reach * rng.random(n), rng.random(n)
    return Bars(
        closed_at=closed_at,
        open=open_,
        high=to_price(np.maximum(open_, close) * up),
        low=to_price(np.minimum(open_, close) * down),
        close=close,
        volume=np.round(VOLUME_MIN + VOLUME_RANGE * size, VOLUME_DECIMALS),
    )


def walk(bars: int, seed: int) -> Iterator[Bars]:
    """Draw a walk of `bars` bars, in blocks of at most `BLOCK_BARS`. Raises ValueError where `bars` is not positive.

    Prices are multiples of 0.01 and at least 0.01, volumes multiples of 0.001.
    """
    if bars <= 0:
        raise ValueError(f"a market needs at least one bar, not {bars}")
    level = open_price = FIRST_PRICE
    for start in range(0, bars, BLOCK_BARS):
        rng = generator(seed, start // BLOCK_BARS)
        levels = compounded(level, VOLATILITY * bell(rng, BLOCK_BARS))
        closed_at = START_NS + NS_PER_MIN * np.arange(start + 1, start + BLOCK_BARS + 1, dtype=np.int64)
        block = bars_through(levels, open_price, closed_at, rng)
        yield rows_of(block, slice(bars - start))
        level, open_price = float(levels[-1]), float(block.close[-1])


def rows_of(bars: Bars, rows: slice | Mask) -> Bars:
    """Give some of the bars."""
    return Bars(
        closed_at=bars.closed_at[rows],
        open=bars.open[rows],
        high=bars.high[rows],
        low=bars.low[rows],
        close=bars.close[rows],
        volume=bars.volume[rows],
    )


def bars_table(bars: Bars, key: str) -> pa.Table:
    """Give bars the columns of an archive."""
    n = len(bars.closed_at)
    columns = {
        "key": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([key])),
        "number": bars.closed_at - NS_PER_MIN,
        "occurred_at": bars.closed_at,
        "observed_at": bars.closed_at,
        "open": bars.open,
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "volume": bars.volume,
        "interval_ns": np.full(n, NS_PER_MIN),
    }
    return pa.table(columns, schema=SCHEMAS["bars"])


def write_bars(path: Path, rows: int, seed: int, key: str = "WALK/USD@synthetic") -> None:
    """Write a walk as one Parquet file in archive columns; in a folder `bars/`, its parent is an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = dict.fromkeys(("number", "occurred_at", "observed_at"), "DELTA_BINARY_PACKED")
    with pq.ParquetWriter(
        path,
        SCHEMAS["bars"],
        compression="zstd",
        use_dictionary=["key", "interval_ns"],
        column_encoding=times,
    ) as file:
        for block in walk(rows, seed):
            file.write_table(bars_table(block, key), ROW_GROUP_ROWS)
