"""Bars from foreign files into archive columns: Parquet and CSV with named columns, one row a bar.

Nothing is dropped in silence: every row that cannot be true is counted under the rule that it breaks, and doubles,
gaps and rows out of order are counted too.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from connectors.columns import faults
from schemas.base import NS_PER_S
from schemas.errors import ArchiveError

Ints = npt.NDArray[np.int64]
NS_OF_UNIT = {"s": NS_PER_S, "ms": 1_000_000, "us": 1_000, "ns": 1}
TIME_NAMES = ("ts", "timestamp", "time", "date", "open_time")
VALUES = ("open", "high", "low", "close", "volume")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an import saw and did."""

    rows: int
    kept: int
    dropped: dict[str, int]
    """Rows left out, by the reason."""
    out_of_order: int
    gaps: int
    """Places where bars are missing."""
    missing_bars: int
    longest_gap_s: int
    first_ns: int
    last_ns: int


def read_bars(path: Path, instrument: str, interval_s: int, unit: str) -> tuple[pa.Table, Found]:
    """Read the bars of one file whose time column is each bar's opening. Raises ArchiveError where it cannot be read.

    `unit` is that of a whole-number time: s, ms, us or ns; a column of timestamps brings its own.
    """
    table = _table(path)
    names = {name.lower(): name for name in table.column_names}
    time = next((names[name] for name in TIME_NAMES if name in names), None)
    missing = [name for name in VALUES if name not in names]
    if time is None or missing:
        wanted = ", ".join(missing) or f"a time ({', '.join(TIME_NAMES)})"
        raise ArchiveError(f"{path}: has no column {wanted}; it has {', '.join(table.column_names)}")
    try:
        opened = _times(table[time], unit)
        columns = {name: table[names[name]].cast(pa.float64()).to_numpy() for name in VALUES}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ArchiveError(f"{path}: a column is no number or time: {error}") from None
    return _conformed(opened, columns, instrument, interval_s * NS_PER_S)


def _table(path: Path) -> pa.Table:
    try:
        return pyarrow.csv.read_csv(path) if ".csv" in path.suffixes else pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArchiveError(f"{path}: cannot be read as CSV or Parquet: {error}") from None


def _times(column: pa.ChunkedArray, unit: str) -> Ints:
    factor = 1
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz))
    elif pa.types.is_string(column.type):
        column = pc.strptime(column, "%Y-%m-%d %H:%M:%S", "ns")
    else:
        factor = NS_OF_UNIT[unit]
    times: Ints = column.cast(pa.int64()).to_numpy() * factor
    return times


def _conformed(
    opened: Ints, columns: dict[str, npt.NDArray[np.float64]], instrument: str, interval_ns: int
) -> tuple[pa.Table, Found]:
    rows = len(opened)
    closed = opened + interval_ns
    whole = {
        "number": opened,
        "occurred_at": closed,
        "observed_at": closed,
        **columns,
        "interval_ns": np.full(rows, interval_ns),
    }
    kept, dropped = np.ones(rows, np.bool_), {}
    for rule, broken in faults("bars", whole):
        dropped[f"{rule.field} {rule.reason}"] = int((kept & broken).sum())
        kept &= ~broken
    first = np.zeros(rows, np.bool_)
    first[np.unique(opened, return_index=True)[1]] = True
    if (kept & ~first).any():
        dropped["a bar of the same time stood before"] = int((kept & ~first).sum())
    kept &= first
    times = np.sort(opened[kept])
    steps = np.diff(times) // interval_ns
    found = Found(
        rows=rows,
        kept=int(kept.sum()),
        dropped=dropped,
        out_of_order=int((np.diff(opened) < 0).sum()),
        gaps=int((steps > 1).sum()),
        missing_bars=int((steps[steps > 1] - 1).sum()),
        longest_gap_s=int((steps.max(initial=1) - 1) * interval_ns // NS_PER_S),
        first_ns=int(times[0]) if len(times) else 0,
        last_ns=int(times[-1]) if len(times) else 0,
    )
    key = pa.array([instrument] * found.kept).dictionary_encode()
    return pa.table({"key": key, **{name: values[kept] for name, values in whole.items()}}), found
