"""From a batch as it was read to rows that an archive can hold: checked, sorted, without doubles, and measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.archive import MARKET_KINDS, SCHEMAS
from connectors.columns import Columns, Mask, faults
from connectors.importers.batch import Batch, set_column
from connectors.importers.measures import measure
from connectors.importers.raw import ROW
from connectors.importers.report import Report, utc
from connectors.importers.settings import Settings
from schemas.checks import MAX_CLOCK_SKEW_NS
from schemas.fields import EARLIEST_NS, LATEST_NS

_NAMED = {"tweets": ("id", "key", "text"), "news": ("id", "key", "title")}


def examine(batch: Batch, settings: Settings) -> pa.Table:
    """Give the rows that can be true, in the archive's order, and complete the batch's report.

    Left out and counted: rows with a missing or impossible value, exact doubles, and of rows with the same id that
    differ all but the first. Sorted and counted: rows out of order. Kept and counted: gaps, outliers.
    """
    table = _within(_without_nulls(batch), settings, batch.report)
    table = _sorted(table, batch.report)
    if batch.kind in MARKET_KINDS and not batch.numbered:
        table = set_column(table, "number", _numbers(table))
    check = _without_faults if batch.kind in MARKET_KINDS else _without_bad_texts
    table = check(batch, table)
    table = _without_doubles(batch, table)
    batch.report.rows_kept = table.num_rows
    if table.num_rows:
        measure(batch, table)
    return table.select(SCHEMAS[batch.kind].names)


def _keep(report: Report, table: pa.Table, bad: Mask, name: str, reason: str) -> pa.Table:
    """Leave out the rows of a mask, for what is wrong with one column; the first is the example."""
    if not bad.any():
        return table
    first = int(np.argmax(bad))
    example = f"row {table[ROW][first].as_py()}: {name} {table[name][first].as_py()!r}"
    report.drop(f"{name} {reason}", int(bad.sum()), example)
    return table.filter(pa.array(~bad))


def _without_nulls(batch: Batch) -> pa.Table:
    table = batch.table
    for name in SCHEMAS[batch.kind].names:
        if name != "number" or batch.numbered:
            missing = table[name].is_null().to_numpy()
            table = _keep(batch.report, table, missing, name, "is missing or cannot be read")
    return table


def _within(table: pa.Table, settings: Settings, report: Report) -> pa.Table:
    """Leave aside what was observed before or after the time asked for."""
    at = table["observed_at"].to_numpy()
    inside = np.ones(len(at), np.bool_)
    if settings.start_ns is not None:
        inside &= at >= settings.start_ns
    if settings.end_ns is not None:
        inside &= at < settings.end_ns
    report.rows_outside = int(np.count_nonzero(~inside))
    return table.filter(pa.array(inside)) if report.rows_outside else table


def _sorted(table: pa.Table, report: Report) -> pa.Table:
    """Sort by `observed_at`, rows of equal time as they came; count those that came after a later one."""
    at = table["observed_at"].to_numpy()
    late = at < np.maximum.accumulate(at) if len(at) else at
    report.out_of_order = int(np.count_nonzero(late))
    return table.take(np.argsort(at, kind="stable")) if report.out_of_order else table


def _numbers(table: pa.Table) -> pa.Array:
    """Number rows by their time in ns; of rows of one time, the next gets the next ns. They rise, and never repeat.

    So the same file gives the same numbers, and files of different days do not collide.
    """
    at = table["observed_at"].to_numpy()
    place = np.arange(len(at))
    return pa.array(np.maximum.accumulate(at - place) + place if len(at) else at)


def _without_faults(batch: Batch, table: pa.Table) -> pa.Table:
    """Leave out what breaks a rule; a row that breaks several counts under the first."""
    columns: Columns = {name: table[name].to_numpy() for name in SCHEMAS[batch.kind].names if name != "key"}
    bad = np.zeros(table.num_rows, np.bool_)
    rows = table[ROW].to_numpy()
    for rule, broken in faults(batch.kind, columns):
        new = broken & ~bad
        if new.any():
            first = int(np.argmax(new))
            value = f"{rule.field} {columns[rule.field][first]}"
            batch.report.drop(f"{rule.field} {rule.reason}", int(new.sum()), f"row {rows[first]}: {value}")
        bad |= broken
    return table.filter(pa.array(~bad)) if bad.any() else table


def _without_bad_texts(batch: Batch, table: pa.Table) -> pa.Table:
    for name in _NAMED[batch.kind]:
        blank = pc.equal(pc.utf8_trim_whitespace(table[name]), "").to_numpy()
        table = _keep(batch.report, table, blank, name, "is empty")
    for name in ("occurred_at", "observed_at"):
        at = table[name].to_numpy()
        outside = (at <= EARLIEST_NS) | (at >= LATEST_NS)
        table = _keep(batch.report, table, outside, name, "is not a time between 1971 and 2100")
    early = table["observed_at"].to_numpy() < table["occurred_at"].to_numpy() - MAX_CLOCK_SKEW_NS
    return _keep(batch.report, table, early, "observed_at", "lies more than 1 s before occurred_at")


def _identity(batch: Batch, table: pa.Table) -> list[npt.NDArray[Any]]:
    """Give the columns that make a row's id."""
    if batch.kind not in MARKET_KINDS:
        return [table["id"].combine_chunks().dictionary_encode().indices.to_numpy()]
    key = table["key"].combine_chunks().dictionary_encode().indices.to_numpy()
    own = [key, table["number"].to_numpy()]
    return [*own, table["interval_ns"].to_numpy()] if batch.kind == "bars" else own


def _without_doubles(batch: Batch, table: pa.Table) -> pa.Table:
    """Leave out all but the first row of an id, told apart by whether the others say the same."""
    if table.num_rows < 2:  # noqa: PLR2004
        return table
    identity = _identity(batch, table)
    order = np.lexsort(identity[::-1])
    same = np.logical_and.reduce([column[order][1:] == column[order][:-1] for column in identity])
    if not same.any():
        return table
    starts = np.flatnonzero(~np.concatenate(([False], same)))
    first = np.repeat(order[starts], np.diff([*starts, len(order)]))  # the earliest row of each row's id
    again = np.concatenate(([False], same))
    double, original = order[again], first[again]
    alike = _alike(table, double, original)
    rows = table[ROW].to_numpy()
    for chosen, reason in (
        (alike, "an exact double of an earlier row"),
        (~alike, "the id of an earlier row with other values: the first is kept"),
    ):
        if chosen.any():
            at = int(np.argmin(np.where(chosen, double, table.num_rows)))
            example = f"row {rows[double[at]]}: {_id(batch, table, int(double[at]))}"
            batch.report.drop(reason, int(chosen.sum()), f"{example}, as row {rows[original[at]]}")
    kept = np.ones(table.num_rows, np.bool_)
    kept[double] = False
    return table.filter(pa.array(kept))


def _alike(table: pa.Table, rows: npt.NDArray[np.intp], others: npt.NDArray[np.intp]) -> Mask:
    """Tell of each row whether it says what its other says; when each was received does not matter."""
    one, other = table.take(rows), table.take(others)
    alike = np.ones(len(rows), np.bool_)
    for name in table.column_names:
        if name not in (ROW, "observed_at"):
            alike &= pc.equal(one[name], other[name]).to_numpy()
    return alike


def _id(batch: Batch, table: pa.Table, row: int) -> str:
    if batch.kind not in MARKET_KINDS:
        return str(table["id"][row].as_py())
    number = table["number"][row].as_py()
    return f"the bar of {utc(number)}" if batch.kind == "bars" else f"number {number}"
