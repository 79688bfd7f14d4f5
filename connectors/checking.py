"""What is wrong in an archive: gaps, doubles, disorder, clocks that differ, sources that contradict each other.

Rows are measured as an import measures them, and nothing is changed. Of one instrument and kind all rows are held at a
time: some 40 bytes each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.archive import MARKET_KINDS
from connectors.backfill.state import FOLDER as BACKFILLS
from connectors.held import HeldFile, held_files, read_columns
from connectors.importers.batch import clock_skew_ms
from connectors.importers.measures import PRICED, market_measures
from connectors.importers.report import Gaps, Outliers, printable, utc
from connectors.importers.run import REPORTS
from connectors.store import Store
from schemas.errors import ArchiveError

Ints = npt.NDArray[np.int64]
TIMES = ("occurred_at", "observed_at")
Progress = Callable[[int], None]
"""Takes how many bytes more are done."""


class Series(NamedTuple):
    """The rows of one source on one instrument or subject."""

    key: str
    kind: str
    interval_ns: int
    """Of bars; else 0."""
    source: str


class SeriesFound(msgspec.Struct, kw_only=True):
    """What was found in a series."""

    key: str
    kind: str
    source: str
    interval_ns: int = 0
    """Of bars."""
    rows: int
    first: str
    last: str
    gaps: Gaps | None = None
    outliers: Outliers | None = None
    """Shown, and nothing wrong by themselves: a crash is real."""
    doubles: int = 0
    """Rows with the id of an earlier one."""
    early: int = 0
    """Rows received before they occurred."""
    clock_skew_ms: int = 0
    """What the receive times lack, by the rule of `quorum import --clock-skew auto`."""
    clock_note: str = ""

    @property
    def wrong(self) -> bool:
        """Whether anything but outliers was found."""
        return bool((self.gaps and self.gaps.holes) or self.doubles or self.early)


class FileFound(msgspec.Struct):
    """A file that is not as a writer leaves it."""

    file: str
    fault: str


class Overlap(msgspec.Struct, kw_only=True):
    """Two sources that hold the same rows."""

    key: str
    kind: str
    sources: tuple[str, str]
    rows: int
    """Ids that both have."""
    differing: int
    """Of these, how many do not have the same price or time."""
    largest_pct: float = 0.0
    """Of the differences in price."""
    at: str = ""
    """Where the first difference is."""


@dataclass
class Found:
    """What a check found."""

    series: list[SeriesFound] = field(default_factory=list)
    files: list[FileFound] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether `--strict` should fail."""
        return bool(self.files) or any(s.wrong for s in self.series) or any(o.differing for o in self.overlaps)


def check_archive(store: Store, progress: Progress = lambda _: None) -> Found:
    """Check all files of an archive or a lake. Raises ArchiveError for what is none, StoreError where it fails."""
    found = Found()
    names = source_names(store)
    by_key: dict[tuple[str, str], list[HeldFile]] = defaultdict(list)
    shares: dict[str, int] = {}
    for file in held_files(store):
        keys = _keys(store, file, found)
        shares[file.key] = file.size // max(1, len(keys))
        progress(file.size - shares[file.key] * len(keys))
        for key in keys:
            by_key[file.kind, key].append(file)
    for (kind, key), files in sorted(by_key.items()):
        tables = dict(_series(store, kind, key, files))
        found.series += [_measured(series, table, names) for series, table in tables.items()]
        found.overlaps += _overlaps(tables, names)
        progress(sum(shares[file.key] for file in files))
    return found


def source_names(store: Store) -> dict[tuple[str, str], str]:
    """Tell the digests of sources by the names that imports and backfills left of them, by kind and digest."""
    names = {}
    for folder in (REPORTS, BACKFILLS):
        for listed in store.list(f"{folder}/"):
            kind, _, digest = listed.key.rpartition("/")[2].removesuffix(".json").partition("-")
            try:
                told = msgspec.json.decode(store.get(listed.key) or b"", type=dict[str, Any])
            except msgspec.MsgspecError:
                continue
            exchange = told.get("exchange")
            names[kind, digest] = printable(f"backfill of {exchange}" if exchange else str(told.get("source", digest)))
    return names


def _keys(store: Store, file: HeldFile, found: Found) -> list[str]:
    """Give the keys of a file, and note what is wrong with it as a whole."""
    try:
        table = read_columns(store, file, ("key", "observed_at"))
    except ArchiveError as error:
        found.files.append(FileFound(file.key, str(error).partition(": ")[2]))
        return []
    at = table["observed_at"].to_numpy()
    late = int(np.count_nonzero(np.diff(at) < 0))
    if not len(at):
        found.files.append(FileFound(file.key, "is empty"))
    elif late:
        found.files.append(FileFound(file.key, f"is not in order: {late:,} rows lie before the one ahead of them"))
    return sorted(pc.unique(table["key"]).to_pylist())


def _series(store: Store, kind: str, key: str, files: Iterable[HeldFile]) -> Iterator[tuple[Series, pa.Table]]:
    """Give the rows of an instrument by source and, of bars, by their length; sorted by when they were observed."""
    names = ("key", *TIMES, *(PRICED[kind] if kind in MARKET_KINDS else ("id",)))
    parts: dict[Series, list[pa.Table]] = defaultdict(list)
    for file in files:
        table = read_columns(store, file, names)
        table = table.filter(pc.equal(table["key"], key)).drop_columns("key")
        for interval_ns in pc.unique(table["interval_ns"]).to_pylist() if kind == "bars" else [0]:
            rows = table.filter(pc.equal(table["interval_ns"], interval_ns)) if interval_ns else table
            parts[Series(key, kind, interval_ns, file.source)].append(rows)
    for series, tables in parts.items():
        yield series, pa.concat_tables(tables).sort_by("observed_at")


def _measured(series: Series, table: pa.Table, names: Mapping[tuple[str, str], str]) -> SeriesFound:
    occurred, at = (table[name].to_numpy() for name in TIMES)
    found = SeriesFound(
        key=printable(series.key),
        kind=series.kind,
        source=names.get((series.kind, series.source), series.source),
        interval_ns=series.interval_ns,
        rows=len(at),
        first=utc(at[0]),
        last=utc(at[-1]),
    )
    found.doubles = len(at) - pc.count_distinct(table[_id(series.kind)]).as_py()
    found.early = int(np.count_nonzero(at < occurred))
    try:
        found.clock_skew_ms = clock_skew_ms([at - occurred])
    except ArchiveError as error:
        found.clock_note = str(error).partition(";")[0]
    if series.kind in MARKET_KINDS:
        columns = {name: table[name].to_numpy() for name in PRICED[series.kind]}
        found.gaps, found.outliers = market_measures(series.kind, columns, at)
    return found


def _id(kind: str) -> str:
    return "number" if kind in MARKET_KINDS else "id"


def _overlaps(tables: Mapping[Series, pa.Table], names: Mapping[tuple[str, str], str]) -> Iterator[Overlap]:
    for one, other in combinations(tables, 2):
        if one[:3] == other[:3] and (found := _overlap(tables[one], tables[other], one)):
            a, b = (names.get((each.kind, each.source), each.source) for each in (one, other))
            found.sources = (a, b)
            yield found


def _overlap(one: pa.Table, other: pa.Table, series: Series) -> Overlap | None:
    """Compare the rows whose ids both have: their price and when they occurred, of texts the latter alone."""
    ids = [table[_id(series.kind)].to_numpy(zero_copy_only=False) for table in (one, other)]
    _, mine, theirs = np.intersect1d(*ids, return_indices=True)
    if not len(mine):
        return None
    at: tuple[Ints, Ints] = (one["occurred_at"].to_numpy()[mine], other["occurred_at"].to_numpy()[theirs])
    moved = np.zeros(len(mine))
    for name in ("close", "price", "bid", "ask"):
        if name in one.column_names:
            ours, others = one[name].to_numpy()[mine], other[name].to_numpy()[theirs]
            moved = np.maximum(moved, np.abs(ours - others) / np.abs(others))
    differ = (moved > 0) | (at[0] != at[1])
    first = int(np.argmax(differ))
    return Overlap(
        key=printable(series.key),
        kind=series.kind,
        sources=("", ""),
        rows=len(mine),
        differing=int(np.count_nonzero(differ)),
        largest_pct=float(f"{100 * moved.max():.4g}"),
        at=utc(at[0][first]) if differ.any() else "",
    )
