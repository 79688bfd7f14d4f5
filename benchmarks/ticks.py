"""Ticks from a Parquet archive through the source alone, and through the whole replay, beside pyarrow's bare read.

Then what each way of storing such columns costs, in bytes a tick and in time to read. Every row of the first table ran
alone in a fresh process, in turns. Run it from the repository's root: `python -m benchmarks.ticks`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.peers.peer import Stopwatch, peak_rss_mb
from benchmarks.quorum_ema import INSTRUMENT, ema_book
from connectors.archive import NS_PER_HOUR, ROW_GROUP_ROWS, SCHEMAS, write
from replay.run import Run, Settings
from replay.sources import open_archive
from replay.synthetic.walk import START_NS, bell, compounded, generator, to_price
from schemas.base import NS_PER_MS, NS_PER_S

HOUR_TICKS = 200_000
"""56 a second, as a busy perpetual has them."""
BOOK = ema_book(400, 1000)
"""It hardly trades: over the minutes that the replay makes of the ticks, one average rarely crosses the other."""
COLUMNS = SCHEMAS["trades"].names
ENCODED_TICKS = 1_000_000
OUT = Console(width=130)


def hours(ticks: int, seed: int) -> Iterator[pa.Table]:
    """Give trades hour by hour: times of whole ms that come in bursts, seen 5 to 8 ms later; prices a step apart."""
    level = 60_000.0
    for hour in range(-(-ticks // HOUR_TICKS)):
        n = min(HOUR_TICKS, ticks - hour * HOUR_TICKS)
        rng = generator(seed, hour)
        drawn = rng.random(n)
        gaps = np.cumsum(drawn * drawn * drawn)
        at = gaps / gaps[-1] * (NS_PER_HOUR - 2 * NS_PER_S)
        occurred_at = START_NS + hour * NS_PER_HOUR + (at.astype(np.int64) // NS_PER_MS + 1) * NS_PER_MS
        delay = 5 * NS_PER_MS + (rng.random(n) * 3 * NS_PER_MS).astype(np.int64)
        levels = compounded(level, bell(rng, n) * 3e-6)
        level = float(levels[-1])
        size = rng.random(n)
        yield pa.table(
            {
                "key": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [INSTRUMENT]),
                "number": np.arange(n) + hour * HOUR_TICKS + 1,
                "occurred_at": occurred_at,
                "observed_at": np.maximum.accumulate(occurred_at + delay),
                "price": np.round(to_price(levels), 1),
                "size": np.round(0.001 + 2 * size * size * size * size * size, 3),
                "side": np.where(rng.random(n) < 0.5, 1, -1).astype(np.int8),  # noqa: PLR2004
            },
            schema=SCHEMAS["trades"],
        )


class Reading(NamedTuple):
    """One way to go through an archive of ticks once, from its first byte."""

    name: str
    run: Callable[[Path], int]
    """Takes the archive, returns the number of ticks."""


def _files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.parquet"))


def _pyarrow(root: Path) -> int:
    return sum(pq.read_table(path, columns=COLUMNS).num_rows for path in _files(root))


def _pyarrow_leanest(root: Path) -> int:
    """Read as the source does: names as codes, no dataset around the file, no threads of its own."""
    rows = 0
    for path in _files(root):
        with pq.ParquetFile(path, read_dictionary=["key"]) as file:
            rows += file.read(columns=COLUMNS, use_threads=False).num_rows
    return rows


def _source(root: Path) -> int:
    return sum(len(frame) for frame in open_archive(root, BOOK).frames())


def _replay(root: Path) -> int:
    with TemporaryDirectory() as out:
        run = Run(BOOK, Settings(archive=root, out=Path(out) / "run", report=False))
        run.run(lambda _: None)
    return 0 if run.engine is None else run.engine.rows


READINGS = (
    Reading("pyarrow, read_table", _pyarrow),
    Reading("pyarrow, leanest", _pyarrow_leanest),
    Reading("source alone", _source),
    Reading("whole replay", _replay),
)


class Measured(msgspec.Struct, frozen=True):
    """What one reading took, in a process of its own."""

    name: str
    ticks: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: int


def _measure(place: int, root: Path, warm: Path) -> Measured:
    """Read a small archive first, so that kernels are compiled or read from numba's cache."""
    reading = READINGS[place]
    reading.run(warm)
    watch = Stopwatch()
    ticks = reading.run(root)
    lap = watch.lap()
    return Measured(reading.name, ticks, lap.wall_s, lap.cpu_s, peak_rss_mb())


def readings(root: Path, warm: Path, repeat: int) -> list[Measured]:
    """Measure each reading `repeat` times, in turns; give the one of least processor time, with the highest peak."""
    found: dict[str, list[Measured]] = {reading.name: [] for reading in READINGS}
    for _ in range(repeat):
        for place in range(len(READINGS)):
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                measured = process.submit(_measure, place, root, warm).result()
            found[measured.name].append(measured)
    least = [min(each, key=lambda one: one.cpu_s) for each in found.values()]
    peaks = [max(one.peak_rss_mb for one in each) for each in found.values()]
    return [msgspec.structs.replace(one, peak_rss_mb=peak) for one, peak in zip(least, peaks, strict=True)]


class Encoding(NamedTuple):
    """A way to store the columns of ticks; `shaped` makes what is stored of what the archive holds."""

    name: str
    options: dict[str, Any]
    shaped: Callable[[pa.Table], pa.Table] = lambda table: table


_INTEGERS = ("number", "occurred_at", "observed_at")
_DELTA = dict.fromkeys(_INTEGERS, "DELTA_BINARY_PACKED")
_FLOATS = ("price", "size")
_FEW = ["key", "side"]


def _compressed(*names: str) -> dict[str, str]:
    return {name: "zstd" if name in names else "none" for name in COLUMNS}


def _scaled(table: pa.Table) -> pa.Table:
    """Store prices and sizes as whole numbers of their steps: exact only where a file says the step."""
    for name, step in (("price", 10), ("size", 1000)):
        whole = np.round(table[name].to_numpy() * step).astype(np.int64)
        table = table.set_column(COLUMNS.index(name), name, pa.array(whole))
    return table


def _whole_ms(table: pa.Table) -> pa.Table:
    """Store times in ms: exact only where all are whole ones, as of a dump without times of receipt."""
    for name in ("occurred_at", "observed_at"):
        whole = table["occurred_at"].to_numpy() // NS_PER_MS
        table = table.set_column(COLUMNS.index(name), name, pa.array(whole))
    return table


ENCODINGS = (
    Encoding("pyarrow's defaults, zstd", {"compression": "zstd"}),
    Encoding(
        "delta; prices and sizes plain, zstd",
        {"compression": _compressed(*_FLOATS), "use_dictionary": _FEW, "column_encoding": _DELTA},
    ),
    Encoding(
        "delta; prices and sizes split by byte, zstd",
        {
            "compression": _compressed(*_FLOATS),
            "use_dictionary": _FEW,
            "column_encoding": _DELTA | dict.fromkeys(_FLOATS, "BYTE_STREAM_SPLIT"),
        },
    ),
    Encoding(
        "delta; prices and sizes in dictionaries, zstd",
        {"compression": _compressed(*_FLOATS), "use_dictionary": [*_FEW, *_FLOATS], "column_encoding": _DELTA},
    ),
    Encoding(
        "delta; prices and sizes in dictionaries",
        {"compression": "none", "use_dictionary": [*_FEW, *_FLOATS], "column_encoding": _DELTA},
    ),
    Encoding(
        "delta, zstd; prices and sizes in dictionaries",
        {
            "compression": _compressed(*_INTEGERS),
            "use_dictionary": [*_FEW, *_FLOATS],
            "column_encoding": _DELTA,
        },
    ),
    Encoding(
        "delta; prices and sizes scaled, delta",
        {
            "compression": "none",
            "use_dictionary": _FEW,
            "column_encoding": _DELTA | dict.fromkeys(_FLOATS, "DELTA_BINARY_PACKED"),
        },
        _scaled,
    ),
    Encoding(
        "delta, times in ms; prices and sizes in dictionaries",
        {"compression": "none", "use_dictionary": [*_FEW, *_FLOATS], "column_encoding": _DELTA},
        _whole_ms,
    ),
)


class Stored(msgspec.Struct, frozen=True):
    """What one encoding comes to."""

    name: str
    bytes_a_tick: float
    read_ns: float
    """Processor time a tick."""
    write_ns: float


def stored(encoding: Encoding, table: pa.Table) -> Stored:
    """Write a table in one encoding to memory and read it back, the best of five."""
    shaped = encoding.shaped(table)
    written = io.BytesIO()
    began = time.process_time()
    pq.write_table(shaped, written, row_group_size=ROW_GROUP_ROWS, **encoding.options)
    write_s = time.process_time() - began
    data = pa.py_buffer(written.getvalue())
    laps = []
    for _ in range(5):
        watch = Stopwatch()
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=["key"]) as file:
            file.read(use_threads=False)
        laps.append(watch.lap().cpu_s)
    rows = table.num_rows
    return Stored(encoding.name, data.size / rows, min(laps) / rows * 1e9, write_s / rows * 1e9)


def as_imported(table: pa.Table, folder: Path) -> Stored:
    """Measure a table as `connectors.archive` writes it: file by file, as the importers do."""
    began = time.process_time()
    keys = write(folder, "trades", table, "ticks")
    write_s = time.process_time() - began
    laps = []
    for _ in range(5):
        watch = Stopwatch()
        _pyarrow_leanest(folder)
        laps.append(watch.lap().cpu_s)
    rows = table.num_rows
    size = sum((folder / key).stat().st_size for key in keys)
    return Stored("as the importers write it", size / rows, min(laps) / rows * 1e9, write_s / rows * 1e9)


def _print_readings(found: Sequence[Measured]) -> None:
    table = Table(caption="speed: ticks a second over those of pyarrow's read_table, and of its leanest read")
    for name in ("reading", "ticks", "ns cpu", "ns wall", "speed cpu", "speed wall", "of leanest", "peak MB"):
        table.add_column(name, justify="left" if name == "reading" else "right", no_wrap=True)
    plain, leanest = found[0], found[1]
    for one in found:
        table.add_row(
            one.name,
            f"{one.ticks:,}",
            f"{one.cpu_s / one.ticks * 1e9:.1f}",
            f"{one.wall_s / one.ticks * 1e9:.1f}",
            f"{plain.cpu_s / one.cpu_s:.2f}",
            f"{plain.wall_s / one.wall_s:.2f}",
            f"{leanest.cpu_s / one.cpu_s:.2f}",
            f"{one.peak_rss_mb:,}",
        )
    OUT.print(table)


def _print_stored(found: Sequence[Stored]) -> None:
    table = Table(caption="processor time; read: by pyarrow, one thread, from memory")
    for name in ("encoding", "bytes a tick", "read, M ticks/s", "read ns", "write ns"):
        table.add_column(name, justify="left" if name == "encoding" else "right", no_wrap=True)
    for one in found:
        ticks_per_us = 1000 / one.read_ns
        table.add_row(
            one.name, f"{one.bytes_a_tick:.2f}", f"{ticks_per_us:.0f}", f"{one.read_ns:.1f}", f"{one.write_ns:.0f}"
        )
    OUT.print(table)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure ticks from Parquet beside pyarrow's bare read of them.")
    parser.add_argument("--ticks", type=int, default=10_000_000, metavar="N", help="trades in the archive")
    parser.add_argument("--seed", type=int, default=1, help="which market (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs each; of each the quickest is printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    arguments = parser.parse_args(argv)
    if arguments.ticks < 1 or arguments.repeat < 1:
        parser.error("--ticks and --repeat must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Write an archive, measure, print both tables."""
    arguments = _arguments(argv)
    with TemporaryDirectory(prefix="quorum-benchmark-") as scratch:
        root, warm = Path(scratch) / "ticks", Path(scratch) / "warm"
        for hour in hours(arguments.ticks, arguments.seed):
            write(root, "trades", hour, "ticks")
        write(warm, "trades", next(hours(1_000, arguments.seed)), "ticks")
        sample = pa.concat_tables(hours(min(arguments.ticks, ENCODED_TICKS), arguments.seed))
        encoded = [stored(encoding, sample) for encoding in ENCODINGS]
        encoded.append(as_imported(sample, Path(scratch) / "sample"))
        found = readings(root, warm, arguments.repeat)
    _print_readings(found)
    _print_stored(encoded)
    if arguments.json:
        told = {"readings": found, "encodings": encoded}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")


if __name__ == "__main__":
    main()
