"""CSV, JSON lines and Parquet files as tables of whatever columns they have, each row with its place in the file.

Rows that cannot be taken apart (a wrong number of fields, no JSON) are counted in the report, never passed over.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from connectors.importers.report import Report
from schemas.errors import ArchiveError

ROW = "#row"
"""Column of a table that says where the row stood in its file, counted from 1 without the header."""
Progress = Callable[[int], None]
"""Is told how many more bytes of the file were read."""
_SEPARATORS = ",;\t|"
_EXAMPLE_CHARS = 80


def read_raw(path: Path, columns: tuple[str, ...], report: Report, progress: Progress) -> pa.Table:
    """Read a file whole. `columns` names those of a CSV or of JSON arrays without names. Raises ArchiveError."""
    suffixes = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if suffixes == "parquet":
            progress(path.stat().st_size)
            return _numbered(pq.ParquetFile(path).read())
        if suffixes in ("csv", "tsv", "txt"):
            return _csv(path, columns, report, progress)
        if suffixes in ("jsonl", "ndjson", "json"):
            return _json(path, columns, report, progress)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise ArchiveError(f"{path}: cannot be read: {_brief(str(error))}") from None
    raise ArchiveError(f"{path}: is neither CSV, JSON lines nor Parquet, by its name; say --format if it is another")


def open_bytes(path: Path, progress: Progress) -> BinaryIO:
    """Open a file, unpacked if it is gzipped, and tell how much of it on disk was read."""
    raw = _Counting(path, progress)
    return gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw  # type: ignore[return-value]


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


def _numbered(table: pa.Table) -> pa.Table:
    return table.append_column(ROW, pa.array(np.arange(1, table.num_rows + 1)))


def _csv(path: Path, columns: tuple[str, ...], report: Report, progress: Progress) -> pa.Table:
    """Read every column as text: which are numbers and times is for the mapping to say."""
    with open_bytes(path, lambda _: None) as file:
        header = file.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
    if not header:
        raise ArchiveError(f"{path}: is empty")
    separator = max(_SEPARATORS, key=header.count)
    skipped: list[int] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        skipped.append(row.number or 0)
        reason = f"a row of another number of fields than the {row.expected_columns} of the header"
        report.drop(reason, 1, f"row {row.number}: {_brief(row.text)}")
        return "skip"

    names = list(columns) or [name.strip().strip('"') for name in header.split(separator)]
    with open_bytes(path, progress) as file:
        table = pa_csv.read_csv(
            pa.PythonFile(file, "r"),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=0 if columns else 1, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=["", "null", "None"],
                strings_can_be_null=True,
            ),
        )
    return table.append_column(ROW, pa.array(_places(table.num_rows, skipped)))


def _places(count: int, skipped: list[int]) -> np.ndarray:
    """Number the rows that are left after some were skipped."""
    places = np.arange(1, count + len(skipped) + 1)
    return np.delete(places, [number - 2 for number in skipped]) if skipped else places


def _json(path: Path, columns: tuple[str, ...], report: Report, progress: Progress) -> pa.Table:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    for row, record in _records(path, report, progress):
        named = dict(zip(columns, record, strict=False)) if columns and isinstance(record, list) else record
        if isinstance(named, dict):
            records.append(named)
            rows.append(row)
        else:
            report.drop("a line that is no JSON object", 1, f"row {row}: {_brief(str(record))}")
    names = list(dict.fromkeys(name for record in records for name in record))
    arrays = [_array([record.get(name) for record in records]) for name in names]
    return pa.table([*arrays, pa.array(rows, pa.int64())], names=[*names, ROW])


def _records(path: Path, report: Report, progress: Progress) -> Iterator[tuple[int, Any]]:
    """Give the values of a file of lines, or of one JSON array."""
    decode = msgspec.json.Decoder().decode
    with open_bytes(path, progress) as file:
        for row, line in enumerate(file, 1):
            if row == 1 and line.lstrip().startswith(b"[") and not line.rstrip().endswith((b"]", b"],")):
                yield from enumerate(_whole(path, line + file.read()), 1)
                return
            try:
                if line.strip():
                    yield row, decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                report.drop("a line that is no JSON", 1, f"row {row}: {_brief(line.decode('utf-8', 'replace'))}")


def _whole(path: Path, data: bytes) -> list[Any]:
    try:
        values = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path}: is neither JSON lines nor one JSON array: {error}") from None
    return list(values)


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # of mixed types: text says what each was
        return pa.array([None if value is None else str(value) for value in values])


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXAMPLE_CHARS else line[: _EXAMPLE_CHARS - 1] + "…"
