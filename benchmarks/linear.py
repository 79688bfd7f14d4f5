"""What a replay costs by the number of its events, and by the size of an archive of which it needs one month.

Every row ran alone in a fresh process, the whole replay with its log. Prints both tables, and with `--plot` draws them
as SVG. Run it from the repository's root: `python -m benchmarks.linear --plot docs/img/linear.svg`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.peers.peer import Stopwatch, peak_rss_mb
from benchmarks.quorum_ema import INSTRUMENT, ema_book
from connectors.archive import write
from replay.rowgroups import Wanted, groups
from replay.run import Run, Settings
from replay.sources import Archive, open_archive
from replay.synthetic.walk import START_NS, bars_table, walk, write_bars
from schemas.base import NS_PER_DAY

SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
FULL_SIZES = (*SIZES, 40_000_000)
"""More minutes than these would end after 2100, where no event may lie."""
MONTH_NS = START_NS + 31 * NS_PER_DAY
"""The end of the month that is asked for: the first of every archive."""
DAY_BARS = 1440
ARCHIVES = {"a month": 31, "a year": 366, "ten years": 3653}
"""Archives by their days: in files of a month, as the importers write them."""
MONTH_RUNS = 3
"""A month is over in a blink: the quickest of these counts."""
BOOK = ema_book(400, 1000)
SEED = 1
WARM_BARS = 5_000
OUT = Console(width=130)


class Cost(msgspec.Struct, frozen=True):
    """What one replay took, from the archive's first byte to its figures."""

    events: int
    cpu_s: float
    wall_s: float
    replay_mb: int
    """Peak resident memory when the last event was through."""
    figures_mb: int
    """When the figures were made as well, which hold every mark of the equity and every sample of the prices."""


class Month(msgspec.Struct, frozen=True):
    """One month out of an archive: what of the archive was read, and what it took."""

    archive: str
    files: int
    files_read: int
    groups: int
    groups_read: int
    source_cpu_s: float
    """The market rows alone."""
    cost: Cost


def _replayed(archive: Path, end_ns: int | None) -> Cost:
    peaks: list[int] = []
    watch = Stopwatch()
    with TemporaryDirectory() as out:
        run = Run(BOOK, Settings(archive=archive, out=Path(out) / "run", end_ns=end_ns, report=False))
        run.run(lambda _: peaks.append(peak_rss_mb()))
    lap = watch.lap()
    return Cost(0 if run.engine is None else run.engine.rows, lap.cpu_s, lap.wall_s, max(peaks), peak_rss_mb())


def _cost(archive: Path, warm: Path, end_ns: int | None) -> Cost:
    """Replay a small archive first, so that kernels are compiled or read from numba's cache."""
    _replayed(warm, None)
    return _replayed(archive, end_ns)


def _month(name: str, archive: Path, warm: Path) -> Month:
    first = _cost(archive, warm, MONTH_NS)
    cost = min(first, *(_replayed(archive, MONTH_NS) for _ in range(MONTH_RUNS - 1)), key=lambda each: each.cpu_s)
    watch = Stopwatch()
    read = open_archive(archive, BOOK, end_ns=MONTH_NS)
    for _ in read.frames():
        pass
    source_cpu_s = watch.lap().cpu_s
    found = open_archive(archive, BOOK)
    all_groups, groups_read = _groups(found, None), _groups(read, MONTH_NS)
    return Month(name, len(found.files), len(read.files), all_groups, groups_read, source_cpu_s, cost)


def _groups(archive: Archive, end_ns: int | None) -> int:
    """Count the row groups that a reader decodes."""
    wanted = Wanted(frozenset(archive.instruments), 0, 2**63 - 1 if end_ns is None else end_ns)
    return sum(len(groups(pq.read_metadata(file.path), wanted)) for file in archive.files)


def _alone(task: Callable[..., Cost | Month], *arguments: object) -> Cost | Month:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(task, *arguments).result()


def costs(sizes: Sequence[int], scratch: Path, warm: Path) -> Iterator[Cost]:
    """Replay a walk of each size."""
    for size in sizes:
        path = scratch / "bars" / "walk.parquet"
        write_bars(path, size, SEED, INSTRUMENT)
        cost = _alone(_cost, path, warm, None)
        path.unlink()
        if isinstance(cost, Cost):
            yield cost


def months(scratch: Path, warm: Path) -> Iterator[Month]:
    """Replay the first month of ever larger archives, last of ten years in one file."""
    archives = {}
    for name, days in ARCHIVES.items():
        archives[name] = scratch / name
        for block in walk(days * DAY_BARS, SEED):
            write(archives[name], "bars", bars_table(block, INSTRUMENT), f"walk from {block.closed_at[0]}")
    archives["ten years, one file"] = scratch / "walk.parquet"
    write_bars(archives["ten years, one file"], ARCHIVES["ten years"] * DAY_BARS, SEED, INSTRUMENT)
    for name, archive in archives.items():
        month = _alone(_month, name, archive, warm)
        if isinstance(month, Month):
            yield month


class Line(NamedTuple):
    """One panel of the plot: what grows against what, both on scales of powers of ten."""

    title: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str]
    """Of each point."""


WIDTH, HEIGHT, LEFT, TOP = 380, 260, 20, 50
LOW_S = 0.05
"""Seconds at the foot of both panels."""


def drawn(lines: Sequence[Line]) -> str:
    """Draw panels side by side as an SVG document."""
    high = max(seconds for line in lines for _, seconds in line.points) * 2
    parts = [_panel(line, LEFT + i * (WIDTH + LEFT), high) for i, line in enumerate(lines)]
    width, height = LEFT + len(lines) * (WIDTH + LEFT), TOP + HEIGHT + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        f' font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _panel(line: Line, left: int, high: float) -> str:
    least, most = line.points[0][0], line.points[-1][0]

    def at(x: float, seconds: float) -> tuple[float, float]:
        across = math.log(x / least) / math.log(most / least)
        up = math.log(max(seconds, LOW_S) / LOW_S) / math.log(high / LOW_S)
        return left + 130 + across * (WIDTH - 160), TOP + HEIGHT - 30 - up * (HEIGHT - 40)

    places = [at(*point) for point in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#1f6f8b"/>'
        f'<text x="{x - 7:.1f}" y="{y - 8:.1f}" text-anchor="end">{label}</text>'
        for (x, y), label in zip(places, line.labels, strict=True)
    )
    return (
        f'<text x="{left}" y="{TOP - 25}" font-size="14" font-weight="bold">{line.title}</text>'
        f'<text x="{left + 8}" y="{TOP + HEIGHT - 22}" fill="#777">both ways in powers of ten</text>'
        f'<rect x="{left}" y="{TOP - 12}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
        f'<polyline points="{path}" fill="none" stroke="#1f6f8b" stroke-width="1.5"/>{marks}'
    )


def _plot(found: Sequence[Cost], flat: Sequence[Month]) -> str:
    by_events = Line(
        "Processor time of a replay by its events",
        [(cost.events, cost.cpu_s) for cost in found],
        [f"{cost.events:,}: {cost.cpu_s:.2f} s" for cost in found],
    )
    folders = [month for month in flat if month.archive in ARCHIVES]
    by_archive = Line(
        "Of one month, by the days of the archive",
        [(ARCHIVES[month.archive], month.cost.cpu_s) for month in folders],
        [f"{month.archive}: {month.cost.cpu_s:.2f} s" for month in folders],
    )
    return drawn([by_events, by_archive])


def _print(found: Sequence[Cost], flat: Sequence[Month]) -> None:
    table = Table(caption="bars of one minute, the whole replay: archive in, log and figures out")
    for name in ("events", "cpu s", "wall s", "ns an event, cpu", "peak MB", "with figures"):
        table.add_column(name, justify="right")
    for cost in found:
        ns = f"{cost.cpu_s / cost.events * 1e9:,.0f}"
        memory = f"{cost.replay_mb:,}", f"{cost.figures_mb:,}"
        table.add_row(f"{cost.events:,}", f"{cost.cpu_s:.2f}", f"{cost.wall_s:.2f}", ns, *memory)
    OUT.print(table)
    table = Table(caption="one month of bars out of each archive; source: its rows alone")
    for name in ("archive", "files", "read", "row groups", "read", "source cpu s", "replay cpu s", "peak MB"):
        table.add_column(name, justify="left" if name == "archive" else "right")
    for month in flat:
        table.add_row(
            month.archive,
            f"{month.files:,}",
            f"{month.files_read:,}",
            f"{month.groups:,}",
            f"{month.groups_read:,}",
            f"{month.source_cpu_s:.3f}",
            f"{month.cost.cpu_s:.2f}",
            f"{month.cost.figures_mb:,}",
        )
    OUT.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print both tables, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Measure what a replay costs by its events and by its archive.")
    parser.add_argument("--full", action="store_true", help="up to 40,000,000 events: minutes, and 1 GB of disk")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the tables here, as SVG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    arguments = parser.parse_args(argv)
    with TemporaryDirectory(prefix="quorum-benchmark-") as folder:
        scratch, warm = Path(folder), Path(folder) / "warm.parquet"
        write_bars(warm, WARM_BARS, SEED, INSTRUMENT)
        flat = list(months(scratch, warm))
        found = list(costs(FULL_SIZES if arguments.full else SIZES, scratch, warm))
    _print(found, flat)
    if arguments.plot:
        arguments.plot.write_text(_plot(found, flat))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode({"costs": found, "months": flat})) + b"\n")


if __name__ == "__main__":
    main()
