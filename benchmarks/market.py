"""The bare walk of `replay.synthetic` as one plain Parquet file that every peer reads: columns of numbers, no names.

Run it from the repository's root, as `python -m benchmarks.market`: by its path it would take this folder's
replay.py for the package.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from replay.synthetic import walk

COLUMNS = ("ts_ns", "open", "high", "low", "close", "volume")
"""`ts_ns` is the bar's close, the first moment at which it can be known: nanoseconds UTC."""
SCHEMA = pa.schema([(name, pa.int64() if name == "ts_ns" else pa.float64()) for name in COLUMNS])


def write_market(path: Path, bars: int, seed: int) -> None:
    """Write a walk to one file, a row group a block, in memory that does not grow with `bars`."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for block in walk(bars, seed):
            writer.write_table(pa.table(dict(zip(COLUMNS, block, strict=True)), schema=SCHEMA))


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
