"""Bars, trades and quotes of a plain table (CSV, JSON lines, Parquet) as a batch in archive columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.importers.batch import Batch
from connectors.importers.mapping import Picked, kind_of, pick
from connectors.importers.raw import ROW
from connectors.importers.report import Report
from connectors.importers.settings import Settings, check_instrument
from connectors.importers.values import booleans, floats, integers, sides, strings, times
from schemas.base import NS_PER_MS, NS_PER_S
from schemas.errors import ArchiveError

_VALUES = {
    "bars": ("open", "high", "low", "close", "volume"),
    "trades": ("price", "size"),
    "quotes": ("bid", "ask", "bid_size", "ask_size"),
}


def market_batch(path: Path, table: pa.Table, settings: Settings, report: Report) -> Batch:
    """Map a table; a value that cannot be read becomes null. Raises ArchiveError where a column is missing."""
    kind = kind_of(path, table.column_names, settings.kind, settings.mapping)
    report.kind = kind
    report.rows_read = table.num_rows + report.rows_dropped
    instrument = check_instrument(settings.instrument)
    picked = pick(path, table, kind, settings.mapping)
    rows = table.num_rows
    columns = {"key": pa.array([instrument] * rows, pa.string())}
    columns |= {name: floats(picked[name]) for name in _VALUES[kind]}
    columns |= _bar_times(path, picked, settings, report) if kind == "bars" else _times(picked, settings, report)
    if kind == "trades":
        columns["side"] = _side(picked, rows, report)
    numbered = kind == "bars" or "number" in picked
    if kind != "bars":
        columns["number"] = integers(picked["number"]) if numbered else pa.nulls(rows, pa.int64())
    if not numbered:
        report.notes.append("no id in the source: rows are numbered by their time, and no double can be told")
    batch = Batch(kind, pa.table(columns | {ROW: picked[ROW]}), report, "observed_at" in picked)
    batch.timed = "ts" in picked
    batch.numbered = numbered
    return batch


def _times(picked: Picked, settings: Settings, report: Report) -> dict[str, pa.ChunkedArray]:
    received = _received(picked, settings)
    if "ts" not in picked:
        report.notes.append("no time of the event in the source: occurred_at is taken to be the receive time")
        return {"occurred_at": received, "observed_at": received}
    occurred = times(picked["ts"], settings.time_unit, settings.tz)
    return {"occurred_at": occurred, "observed_at": _observed(occurred, received, settings, report)}


def _bar_times(path: Path, picked: Picked, settings: Settings, report: Report) -> dict[str, pa.ChunkedArray]:
    """Give the times of bars: they occurred when they closed, and their number is when they opened."""
    if "ts" not in picked:
        raise ArchiveError(f"{path}: bars need their own time; name its column with --map ts=COLUMN")
    ts = times(picked["ts"], settings.time_unit, settings.tz)
    interval_ns = settings.interval_ns or _commonest_step(path, ts)
    if not settings.interval_ns:
        report.notes.append(f"bars of {interval_ns / NS_PER_S:g} s, the commonest step between their times")
    opened = ts if settings.time_is == "open" else pc.subtract(ts, interval_ns)
    closed = pc.add(opened, interval_ns)
    return {
        "number": opened,
        "occurred_at": closed,
        "observed_at": _observed(closed, _received(picked, settings), settings, report),
        "interval_ns": pa.chunked_array([pa.array(np.full(len(ts), interval_ns))]),
    }


def _commonest_step(path: Path, ts: pa.ChunkedArray) -> int:
    steps = np.diff(np.unique(pc.drop_null(ts).to_numpy()))
    if not len(steps):
        raise ArchiveError(f"{path}: one bar does not show how long it is; say --interval")
    lengths, counts = np.unique(steps, return_counts=True)
    length = int(lengths[np.argmax(counts)])
    if length % NS_PER_S:
        raise ArchiveError(f"{path}: the bars are {length / NS_PER_S:g} s apart; say --interval, or --time-unit")
    return length


def _received(picked: Picked, settings: Settings) -> pa.ChunkedArray | None:
    if "observed_at" not in picked:
        return None
    return times(picked["observed_at"], settings.time_unit, settings.tz)


def _observed(
    occurred: pa.ChunkedArray, received: pa.ChunkedArray | None, settings: Settings, report: Report
) -> pa.ChunkedArray:
    if received is not None:
        return received
    report.notes.append(
        f"no receive time in the source: observed_at is occurred_at plus {settings.delay_ms} ms (--delay-ms)"
    )
    return pc.add(occurred, settings.delay_ms * NS_PER_MS)


def _side(picked: Picked, rows: int, report: Report) -> pa.ChunkedArray:
    """Give the aggressor's side; a buyer who was the maker was hit by a seller."""
    if "side" in picked:
        found = sides(strings(picked["side"]))
        if unknown := pc.sum(pc.equal(found, 0)).as_py():
            report.notes.append(f"side: {unknown:,} rows say neither buy nor sell; it is unknown there")
        return found
    if "is_buyer_maker" in picked:
        seller = booleans(picked["is_buyer_maker"])
        return pc.cast(pc.if_else(seller, -1, 1), pa.int8())
    return pa.array(np.zeros(rows, np.int8))
