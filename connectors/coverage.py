"""How much of the time an archive covers: rows an hour of each instrument and kind, and shares of longer cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.archive import NS_PER_HOUR
from connectors.held import HeldFile, held_files, read_columns
from connectors.importers.report import printable
from connectors.store import Store
from schemas.base import NS_PER_S

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Progress = Callable[[int], None]
"""Takes how many bytes more are done."""
CELL_HOURS = (1, 2, 4, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688)
"""Lengths that a cell of a map may have."""


class Covered(NamedTuple):
    """The rows of one instrument and kind; of bars, of one length."""

    key: str
    kind: str
    interval_ns: int
    """Of bars; else 0."""
    hours: Ints
    """Hours since 1970 that hold rows, rising; a bar counts where it opens, all else where it was observed."""
    rows: Ints
    """In each of these hours. Where several sources have the same hour, of the one that has most."""


class Cells(NamedTuple):
    """Time cut into cells of one length."""

    first: int
    """Hour, since 1970, in which the first begins."""
    hours: int
    """Length of each."""
    size: int
    """How many."""

    @property
    def length(self) -> str:
        """How long each is, in words: `1 hour`, `2 days`."""
        amount, unit = (self.hours // 24, "day") if self.hours % 24 == 0 else (self.hours, "hour")
        return f"{amount} {unit}{'s' * (amount > 1)}"

    def starts(self) -> npt.NDArray[np.datetime64]:
        """Give when each begins."""
        return (self.first + self.hours * np.arange(self.size)).astype("datetime64[h]")


def series_name(key: str, kind: str, interval_ns: int) -> str:
    """Name a series as a table does: `BTC/USDT@binance bars 1m`."""
    seconds = interval_ns // NS_PER_S
    units = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    length = next((f" {seconds // each}{unit}" for each, unit in units if seconds and seconds % each == 0), "")
    return f"{printable(key)} {kind}{length}"


def coverage(store: Store, progress: Progress = lambda _: None) -> list[Covered]:
    """Count the rows of all files. Raises ArchiveError where there is no archive, or a file cannot be read."""
    counts: dict[tuple[str, str, int], dict[int, int]] = defaultdict(dict)
    for source in _by_source(held_files(store)):
        own: dict[tuple[str, str, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for file in source:
            for series, hours in _hours(store, file):
                for hour, rows in zip(*np.unique(hours, return_counts=True), strict=True):
                    own[series][int(hour)] += int(rows)
            progress(file.size)
        for series, found in own.items():
            for hour, rows in found.items():
                counts[series][hour] = max(rows, counts[series].get(hour, 0))
    return [
        Covered(*series, *(np.array(column, np.int64) for column in zip(*sorted(found.items()), strict=True)))
        for series, found in sorted(counts.items())
    ]


def _by_source(files: Sequence[HeldFile]) -> Iterator[list[HeldFile]]:
    groups: dict[tuple[str, str], list[HeldFile]] = defaultdict(list)
    for file in files:
        groups[file.kind, file.source].append(file)
    yield from groups.values()


def _hours(store: Store, file: HeldFile) -> Iterator[tuple[tuple[str, str, int], Ints]]:
    is_bars = file.kind == "bars"
    table = read_columns(store, file, ("key", "number", "interval_ns") if is_bars else ("key", "observed_at"))
    time = "number" if is_bars else "observed_at"
    interval = table["interval_ns"] if is_bars else pa.chunked_array([pa.array(np.zeros(table.num_rows, np.int64))])
    for key in pc.unique(table["key"]).to_pylist():
        for interval_ns in pc.unique(interval.filter(pc.equal(table["key"], key))).to_pylist():
            mask = pc.and_(pc.equal(table["key"], key), pc.equal(interval, interval_ns))
            yield (key, file.kind, interval_ns), table[time].filter(mask).to_numpy() // NS_PER_HOUR


def cells(found: Sequence[Covered], most: int, least_hours: int = 1) -> Cells:
    """Cut the time that is covered into at most so many cells, as short as they can be; no bar is longer than one."""
    first = min(int(each.hours[0]) for each in found)
    last = max(int(each.hours[-1]) for each in found)
    longest_bar = max(each.interval_ns for each in found) // NS_PER_HOUR
    for hours in CELL_HOURS:
        start = first // hours * hours
        if hours >= max(least_hours, longest_bar) and (last - start) // hours + 1 <= most:
            return Cells(start, hours, (last - start) // hours + 1)
    hours = -(-(last - first + 1) // most)
    return Cells(first, hours, (last - first) // hours + 1)


def rows_in(covered: Covered, into: Cells) -> Ints:
    """Give how many rows lie in each cell."""
    return np.bincount((covered.hours - into.first) // into.hours, covered.rows, into.size).astype(np.int64)


def shares(covered: Covered, into: Cells) -> Floats:
    """Tell how full each cell is, 0 to 1: of bars by how many it should hold, of all else by its usual cell.

    The usual cell is the median of those that are not empty. Empty is exactly 0, and full exactly 1.
    """
    rows = rows_in(covered, into)
    if covered.interval_ns:
        whole = max(1.0, into.hours * NS_PER_HOUR / covered.interval_ns)
    else:
        whole = float(np.median(rows[rows > 0]))
    return np.minimum(1.0, rows / whole)
