"""CSV, JSON lines and Parquet files as tables of whatever columns they have, each row with its place in the file.

Rows that cannot be taken apart (a wrong number of fields, no JSON) are counted in the report, never passed over.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from connectors.importers.report import Report, printable
from schemas.errors import ArchiveError

ROW = "#row"
"""Column of a table that says where the row stood in its file, counted from 1 without the header."""
UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file may raise: absent, cut off, not gzipped, damaged."""
Progress = Callable[[int], None]
"""Is told how many more bytes of the file were read."""
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SEPARATORS = ",;\t|"
_MAX_HEADER_BYTES = 1 << 20
_LINE_END = re.compile(r"[\r\n]")
_QUOTED = re.compile(r'"[^"]*"')


def read_raw(path: Path, columns: tuple[str, ...], report: Report, progress: Progress) -> pa.Table:
    """Read a file whole. `columns` names those of a CSV or of JSON arrays without names. Raises ArchiveError."""
    form = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if form == "parquet":
            return _parquet(path, progress)
        if form in ("csv", "tsv", "txt"):
            return _csv(path, columns, report, progress)
        if form in ("jsonl", "ndjson", "json"):
            return _json(path, columns, report, progress)
    except (*UNREADABLE, pa.ArrowException, csv.Error) as error:
        raise ArchiveError(f"{path}: cannot be read: {printable(str(error))}") from None
    raise ArchiveError(f"{path}: is neither CSV, JSON lines nor Parquet, by its name; say --format if it is another")


@contextmanager
def open_bytes(path: Path, progress: Progress) -> Iterator[BinaryIO]:
    """Open a file, unpacked if it is gzipped, and tell how much of it on disk was read."""
    with _Counting(path, progress) as raw:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield raw


class _Counting(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path.open("rb", buffering=0), 1 << 20)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._progress(len(data))
        return data

    def readline(self, size: int | None = -1, /) -> bytes:
        data = super().readline(size)
        self._progress(len(data))
        return data


def _parquet(path: Path, progress: Progress) -> pa.Table:
    with open_bytes(path, progress) as file:
        table = pq.ParquetFile(pa.BufferReader(file.read())).read()
    _require_distinct(path, [*table.column_names, ROW])
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table[place].cast(field.type.value_type))
        elif pa.types.is_string_view(field.type):
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
    return table.append_column(ROW, pa.array(np.arange(1, table.num_rows + 1)))


def _csv(path: Path, columns: tuple[str, ...], report: Report, progress: Progress) -> pa.Table:
    """Read every column as text: which are numbers and times is for the mapping to say."""
    with open_bytes(path, lambda _: None) as file:
        header = file.readline(_MAX_HEADER_BYTES).decode("utf-8-sig", "replace")
    header = _LINE_END.split(header)[0]
    if not header:
        raise ArchiveError(f"{path}: is empty, or its first line is")
    separator = max(_SEPARATORS, key=_QUOTED.sub("", header).count)
    names = list(columns) or [name.strip() for name in next(csv.reader([header], delimiter=separator))]
    _require_distinct(path, [*names, ROW])
    skipped: list[int] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        number = (row.number or 0) - (0 if columns else 1)
        skipped.append(number)
        reason = f"a row of another number of fields than the {row.expected_columns} of the header"
        report.drop(reason, 1, f"row {number}: {row.text}")
        return "skip"

    with open_bytes(path, progress) as file:
        table = pa_csv.read_csv(
            pa.PythonFile(file, "r"),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=0 if columns else 1, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    places = np.delete(np.arange(1, table.num_rows + len(skipped) + 1), np.array(skipped, np.int64) - 1)
    return table.append_column(ROW, pa.array(places))


def _require_distinct(path: Path, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ArchiveError(f"{path}: has {count} columns of the name {name!r}; rename all but one")


def _json(path: Path, columns: tuple[str, ...], report: Report, progress: Progress) -> pa.Table:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    for row, record in _records(path, report, progress):
        named = dict(zip(columns, record, strict=False)) if columns and isinstance(record, list) else record
        if isinstance(named, dict):
            records.append(named)
            rows.append(row)
        else:
            report.drop("a line that is no JSON object", 1, f"row {row}: {record}")
    if not records:
        raise ArchiveError(f"{path}: holds no JSON object; it is empty, or --columns must name what its arrays hold")
    return record_table(records, rows)


def record_table(records: Sequence[dict[str, Any]], rows: Sequence[int]) -> pa.Table:
    """Make the table of records that stood in the rows of a file."""
    names = list(dict.fromkeys(name for record in records for name in record if name != ROW))
    arrays = [_array([record.get(name) for record in records]) for name in names]
    return pa.table([*arrays, pa.array(rows, pa.int64())], names=[*names, ROW])


def _records(path: Path, report: Report, progress: Progress) -> Iterator[tuple[int, Any]]:
    """Give the values of a file of lines, or of one JSON array."""
    decode = msgspec.json.Decoder().decode
    with open_bytes(path, progress) as file:
        for row, line in enumerate(file, 1):
            text = line.removeprefix(b"\xef\xbb\xbf") if row == 1 else line
            try:
                value = decode(text) if text.strip() else None
            except _NO_JSON:
                if row == 1 and text.lstrip().startswith(b"["):
                    yield from enumerate(_whole(path, text + file.read()), 1)
                    return
                report.drop("a line that is no JSON", 1, f"row {row}: {line.decode('utf-8', 'replace')}")
                continue
            if row == 1 and isinstance(value, list) and all(isinstance(each, dict | list) for each in value):
                yield from enumerate(value, 1)
            elif text.strip():
                yield row, value


def _whole(path: Path, data: bytes) -> list[Any]:
    try:
        values = msgspec.json.decode(data)
    except _NO_JSON as error:
        raise ArchiveError(f"{path}: is neither JSON lines nor one JSON array: {printable(str(error))}") from None
    return list(values)


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # of mixed types: text says what each was
        return pa.array([None if value is None else str(value) for value in values])
