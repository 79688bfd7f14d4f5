"""A seeded market of one-minute bars, as long as a benchmark wants it.

The prices are a geometric random walk with no meaning beyond their statistics. The same seed gives the same
bits on every machine, and a longer market begins with the shorter one: bars 0 to N-1 do not depend on N.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST_CLOSE_NS = 1_577_836_860_000_000_000  # 2020-01-01T00:01:00Z, the close of the first bar
BAR_NS = 60_000_000_000
FIRST_PRICE = 10_000.0
VOLATILITY_PER_BAR = 0.0005
PRICE_DECIMALS = 2
VOLUME_DECIMALS = 3
# Wide enough for any order of these benchmarks: no engine should have to split a fill.
VOLUME_MIN = 50.0
VOLUME_RANGE = 200.0
CHUNK_BARS = 250_000  # a chunk is drawn whole from its own generator, so its size is part of the market's definition


class Bars(NamedTuple):
    """Consecutive bars as columns of equal length, prices and volumes float64."""

    ts_ns: NDArray[np.int64]
    """The bar's close, the first moment at which it can be known: nanoseconds UTC."""
    open: NDArray[np.float64]
    """The close of the bar before it: the walk has no gaps."""
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


def market(bars: int, seed: int) -> Iterator[Bars]:
    """Draw a market of `bars` bars, in chunks of at most `CHUNK_BARS`.

    Prices are multiples of 0.01 and at least 0.01, volumes multiples of 0.001. Each bar's range holds its open
    and its close. Raises `ValueError` where `bars` is not positive.
    """
    if bars <= 0:
        raise ValueError(f"a market needs at least one bar, not {bars}")
    level = FIRST_PRICE
    previous_close = FIRST_PRICE
    for start in range(0, bars, CHUNK_BARS):
        rng = np.random.default_rng([seed, start // CHUNK_BARS])
        levels = level * np.cumprod(1.0 + VOLATILITY_PER_BAR * _bell(rng))
        close = _price(levels)
        open_ = np.concatenate(([previous_close], close[:-1]))
        reach_up = 1.0 + VOLATILITY_PER_BAR * rng.random(CHUNK_BARS)
        reach_down = 1.0 - VOLATILITY_PER_BAR * rng.random(CHUNK_BARS)
        chunk = Bars(
            ts_ns=FIRST_CLOSE_NS + BAR_NS * np.arange(start, start + CHUNK_BARS, dtype=np.int64),
            open=open_,
            high=_price(np.maximum(open_, close) * reach_up),
            low=_price(np.minimum(open_, close) * reach_down),
            close=close,
            volume=np.round(VOLUME_MIN + VOLUME_RANGE * rng.random(CHUNK_BARS), VOLUME_DECIMALS),
        )
        yield Bars._make(column[: bars - start] for column in chunk)
        level = float(levels[-1])
        previous_close = float(close[-1])


def write_market(path: Path, bars: int, seed: int) -> None:
    """Write `market(bars, seed)` to one Parquet file, a row group a chunk, in memory that does not grow with `bars`."""
    import pyarrow as pa  # noqa: PLC0415 - drawing a market needs numpy alone
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(name, pa.int64() if name == "ts_ns" else pa.float64()) for name in Bars._fields])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in market(bars, seed):
            writer.write_table(pa.table(chunk._asdict(), schema=schema))


def _bell(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw numbers of mean 0 and variance 1: four uniform ones summed (Irwin-Hall), scaled from their variance 1/3.

    Sums and products round alike everywhere; the logarithm behind a true normal draw does not.
    """
    uniform = rng.random((4, CHUNK_BARS))
    bell: NDArray[np.float64] = (uniform[0] + uniform[1] + uniform[2] + uniform[3] - 2.0) * math.sqrt(3.0)
    return bell


def _price(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.maximum(np.round(values, PRICE_DECIMALS), 0.01)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write a seeded market of one-minute bars to a Parquet file.")
    parser.add_argument("--bars", type=int, required=True, metavar="N", help="how many bars")
    parser.add_argument("--seed", type=int, default=1, help="which market (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Parquet file to write")
    arguments = parser.parse_args()
    if arguments.bars <= 0:
        parser.error(f"--bars must be positive, not {arguments.bars}")
    write_market(arguments.out, arguments.bars, arguments.seed)


if __name__ == "__main__":
    _main()
