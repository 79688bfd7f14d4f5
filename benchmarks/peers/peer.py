"""What every peer program shares: its arguments, the book that it trades, and the report that it leaves.

A peer runs alone in a fresh process, so its peak memory is its own. It loads the bars first and times that apart
from the run of the engine.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

STARTING_CASH = 100_000_000  # no order of these benchmarks comes near it
TAKER_FEE = 0.001  # of the notional: 10 bps
QUANTITY = 1.0  # long or short; every order after the first is twice this and flips the position
COLUMNS = ["ts_ns", "open", "high", "low", "close", "volume"]
BYTES_PER_MB = 1_000_000


class Workload(NamedTuple):
    """What one run of a peer is asked to do."""

    bars: Path
    """Parquet in time order: `ts_ns` (int64, close of the bar, UTC), `open`, `high`, `low`, `close`, `volume`."""
    fast: int
    """The periods of the two averages, in bars; `fast` is the shorter."""
    slow: int
    out_json: Path


class Lap(NamedTuple):
    """How long a stretch of work took: by the clock on the wall, and in processor time of all threads."""

    wall_s: float
    cpu_s: float


class Stopwatch:
    """Measures one stretch of work after another, the first from its own creation."""

    def __init__(self) -> None:
        self._wall_s = time.perf_counter()
        self._cpu_s = time.process_time()

    def lap(self) -> Lap:
        """Return the time since the lap before, and start the next."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        lap = Lap(wall_s - self._wall_s, cpu_s - self._cpu_s)
        self._wall_s, self._cpu_s = wall_s, cpu_s
        return lap


def parse_workload(engine: str) -> Workload:
    """Read the workload from the command line; a bad one ends the program with one sentence and status 2."""
    parser = workload_parser(engine)
    return checked_workload(parser, parser.parse_args())


def workload_parser(engine: str) -> argparse.ArgumentParser:
    """Build the parser of the arguments that every program takes."""
    parser = argparse.ArgumentParser(description=f"Run the EMA-cross book through {engine} and report its speed.")
    parser.add_argument("--bars", type=Path, required=True, metavar="FILE", help="one-minute bars, Parquet")
    parser.add_argument("--fast", type=int, required=True, metavar="N", help="period of the fast average, bars")
    parser.add_argument("--slow", type=int, required=True, metavar="N", help="period of the slow average, bars")
    parser.add_argument("--out-json", type=Path, required=True, metavar="FILE", help="where to write the report")
    return parser


def checked_workload(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Workload:
    """Take the workload from what was parsed, or end the program as `parse_workload` does."""
    if not 0 < arguments.fast < arguments.slow:
        parser.error(f"--fast must lie between 1 and --slow, not {arguments.fast} with --slow {arguments.slow}")
    if not arguments.bars.is_file():
        parser.error(f"--bars: no file at {arguments.bars}; write one with `python -m benchmarks.market`")
    try:
        metadata = pq.read_metadata(arguments.bars)
    except pa.ArrowInvalid:
        parser.error(f"--bars: {arguments.bars} is not a Parquet file; write one with `python -m benchmarks.market`")
    if metadata.schema.names != COLUMNS or metadata.num_rows == 0:
        parser.error(f"--bars: {arguments.bars} must hold at least one row of the columns {', '.join(COLUMNS)}")
    return Workload(arguments.bars, arguments.fast, arguments.slow, arguments.out_json)


def read_bars(path: Path) -> pa.Table:
    """Read the whole file into memory."""
    return pq.read_table(path)


def write_report(
    out_json: Path,
    *,
    engine: str,
    version: str,
    fills_at: str,
    bars: int,
    orders: int,
    load: Lap,
    run: Lap,
    final_equity: float,
    peak_rss_mb: int,
    **more: object,
) -> None:
    """Write the report of one run as a JSON object and print it; benchmarks/README.md says what each field holds.

    `more` are the fields that only some programs have; they stand last.
    """
    report = {
        "engine": engine,
        "version": version,
        "fills_at": fills_at,
        "bars": bars,
        "orders": orders,
        "load_s": round(load.wall_s, 3),
        "run_s": round(run.wall_s, 3),
        "run_cpu_s": round(run.cpu_s, 3),
        "bars_per_s": round(bars / run.wall_s),
        "bars_per_cpu_s": round(bars / run.cpu_s),
        "final_equity": round(final_equity, 2),
        "peak_rss_mb": peak_rss_mb,
        **more,
    }
    text = json.dumps(report, indent=2)
    out_json.write_text(text + "\n")
    print(text)


def peak_rss_mb() -> int:
    """Read the process's high-water mark of resident memory, in 10^6 bytes, from Linux's /proc.

    Not `getrusage`: its `ru_maxrss` keeps the size of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / BYTES_PER_MB)
    raise RuntimeError("/proc/self/status has no VmHWM line; run the benchmark on Linux")
