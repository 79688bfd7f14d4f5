"""Parquet files by row groups: what each group may hold, as its statistics tell, and the rows of those that are wanted.

A group's least and greatest `observed_at` and `key` are its zone map: what lies outside the span asked for, or has
none of the instruments, is never decoded. A file that tells nothing is read whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_TYPES = {"key": str, "observed_at": int}


class Wanted(NamedTuple):
    """What a reader asks for. It may be given more, and leaves that out itself."""

    keys: frozenset[str]
    """All where empty."""
    start_ns: int
    end_ns: int
    """Observed before this time."""


class Part(NamedTuple):
    """Rows of a file that follow each other."""

    row: int
    """Where the first of them stands in the file, from 0."""
    table: pa.Table


class Group(NamedTuple):
    """A row group."""

    place: int
    row: int
    rows: int
    key: str | None
    """The key that all its rows have; None where it does not tell of such a one."""


def zones(metadata: pq.FileMetaData, column: str) -> list[tuple[Any, Any] | None]:
    """Give the least and greatest value of a column in each row group.

    None where the group does not tell, or where it has nulls or values of another type than an archive's.
    """
    names = metadata.schema.names
    if column not in names:
        return [None] * metadata.num_row_groups
    place = names.index(column)
    found: list[tuple[Any, Any] | None] = []
    for group in range(metadata.num_row_groups):
        told = metadata.row_group(group).column(place).statistics
        whole = told is not None and told.has_min_max and told.has_null_count and not told.null_count
        found.append((told.min, told.max) if whole and isinstance(told.min, _TYPES[column]) else None)
    return found


def groups(metadata: pq.FileMetaData, wanted: Wanted) -> list[Group]:
    """Give the row groups that may hold what is wanted, in the file's order."""
    counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    bounds = zip(counts, zones(metadata, "key"), zones(metadata, "observed_at"), strict=True)
    found = []
    after = 0
    for place, (rows, keys, times) in enumerate(bounds):
        row, after = after, after + rows
        if keys and wanted.keys and not any(keys[0] <= key <= keys[1] for key in wanted.keys):
            continue
        if times and (times[1] < wanted.start_ns or times[0] >= wanted.end_ns):
            continue
        found.append(Group(place, row, rows, str(keys[0]) if keys and keys[0] == keys[1] else None))
    return found


def read(source: pq.ParquetFile, names: Sequence[str], wanted: Wanted, rows: int) -> Iterator[Part]:
    """Give the columns `names` of the groups that may hold what is wanted, at most `rows` rows at a time."""
    for run in _runs(groups(source.metadata, wanted)):
        key, row = run[0].key, run[0].row
        columns = [name for name in names if key is None or name != "key"]
        for table in _tables(source, run, columns, rows):
            yield Part(row, table if key is None else _named(table, key, rows))
            row += table.num_rows


def _tables(source: pq.ParquetFile, run: Sequence[Group], columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    places = [group.place for group in run]
    if sum(group.rows for group in run) <= rows:
        yield source.read_row_groups(places, columns=columns, use_threads=False)
        return
    for batch in source.iter_batches(rows, row_groups=places, columns=columns, use_threads=False):
        yield pa.Table.from_batches([batch])


def _runs(found: Sequence[Group]) -> Iterator[list[Group]]:
    """Cut groups where one is passed over, or the key changes."""
    run: list[Group] = []
    for group in found:
        if run and (group.place != run[-1].place + 1 or group.key != run[-1].key):
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def _named(table: pa.Table, key: str, rows: int) -> pa.Table:
    return table.add_column(0, "key", _repeated(key, rows)[: table.num_rows])


@lru_cache
def _repeated(key: str, rows: int) -> pa.DictionaryArray:
    """Give a column of one key, to be cut to length: it is quicker made than read."""
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [key])
