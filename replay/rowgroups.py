"""Parquet files by row groups: what each group may hold, as its statistics tell, and the rows of those that are wanted.

A group's least and greatest `observed_at` and `key` are its zone map: what lies outside the span asked for, or has
none of the instruments, is never decoded. A file that tells nothing is read whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.cache import Opened

FOOTER_BYTES = 65_536
"""What Arrow reads to see a file's footer: a file no larger is read whole by looking at it."""
SPAN_BYTES = 16 << 20
"""Of row groups that are fetched at once, while those before them are read."""
_TAIL_BYTES = 8
"""A file ends with its footer's length and four letters."""
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


def footer(opened: Opened, size: int) -> pq.FileMetaData:
    """Read a file's footer; what lies elsewhere is not fetched."""
    start = max(0, size - FOOTER_BYTES)
    opened.need([(start, size)])
    with opened.path.open("rb", buffering=0) as file:
        file.seek(start)
        tail = file.read()
        length = int.from_bytes(tail[-_TAIL_BYTES:-4], "little") + _TAIL_BYTES
        if len(tail) < length <= size:
            opened.need([(size - length, size)])
            file.seek(size - length)
            tail = file.read()
    return pq.read_metadata(pa.BufferReader(tail))


def spans(metadata: pq.FileMetaData, names: Sequence[str], wanted: Wanted) -> list[list[tuple[int, int]]]:
    """Give the byte ranges of the columns `names` of each group that may hold what is wanted."""
    found = []
    for group in groups(metadata, wanted):
        told = metadata.row_group(group.place)
        columns = [told.column(place) for place in range(told.num_columns)]
        found.append([_range(column) for column in columns if column.path_in_schema in names])
    return found


def _range(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


def read(
    source: pq.ParquetFile, names: Sequence[str], wanted: Wanted, rows: int, opened: Opened | None = None
) -> Iterator[Part]:
    """Give the columns `names` of the groups that may hold what is wanted, at most `rows` rows at a time.

    Of what is `opened`, the bytes are asked for as the reading comes to them, and those that follow.
    """
    found = groups(source.metadata, wanted)
    runs = list(_runs(found))
    if opened is not None:
        sizes = dict(zip(found, spans(source.metadata, names, wanted), strict=True))
        runs = [part for run in runs for part in _parted(run, sizes)]
        fetched = [[piece for group in run for piece in sizes[group]] for run in runs]
        fetched.append([])
        for run, (now, after) in zip(runs, pairwise(fetched), strict=True):
            opened.need_soon(after)
            opened.need(now)
            yield from _run(source, run, names, rows)
        return
    for run in runs:
        yield from _run(source, run, names, rows)


def _parted(run: Sequence[Group], sizes: dict[Group, list[tuple[int, int]]]) -> Iterator[list[Group]]:
    """Cut a run where what is to be fetched for it grows large."""
    part: list[Group] = []
    size = 0
    for group in run:
        part.append(group)
        size += sum(hi - lo for lo, hi in sizes[group])
        if size >= SPAN_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _run(source: pq.ParquetFile, run: Sequence[Group], names: Sequence[str], rows: int) -> Iterator[Part]:
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
