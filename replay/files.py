"""The files of an archive: which there are, between which times, and their contents as Arrow tables.

A source is an archive folder (`TOPIC/year=…/month=…/[day=…/[hour=…/]]*.parquet`), or a single file in archive columns:
Parquet, CSV or JSON lines, the last two also gzipped. Tables are read lazily, a bounded number of rows at a time.
"""

from __future__ import annotations

import calendar
import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from connectors.archive import EVENT_KINDS, NS_PER_HOUR, SCHEMAS, TOPIC_FOLDERS
from replay.rowgroups import Part, Wanted, groups, read, zones
from schemas.base import NS_PER_DAY, NS_PER_S
from schemas.codec import decode
from schemas.errors import ArchiveError, RefusedError

ALWAYS = (0, 2**63 - 1)
"""The bounds of a file that has not told its own."""
EVERYTHING = Wanted(frozenset(), *ALWAYS)
Content: TypeAlias = Path | pa.BufferReader
READ_ROWS = 131_072
FOOTER_BYTES = 65_536
"""What Arrow reads to see a file's footer: a file no larger is read whole by looking at it."""
_FORMATS = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv", ".jsonl": "jsonl", ".jsonl.gz": "jsonl"}
_PART = re.compile(r"(year|month|day|hour)=(\d+)")
OPTIONAL = {"author": "", "followers": 0, "retweets": 0, "is_retweet": False, "url": ""}
"""Columns of texts that a file of one's own may leave out, and what they then hold."""


@dataclass(frozen=True)
class SourceFile:
    """One file; `lo <= observed_at < hi` holds for its rows, by its folder's name or by its own statement."""

    path: Path
    name: str
    """Relative to the archive."""
    kind: str
    form: str
    lo: int
    hi: int


def find_files(root: Path, start_ns: int, end_ns: int) -> list[SourceFile]:
    """List the files of an archive that may hold rows from start to before end, by time, then name.

    Raises ArchiveError where there is no such archive, or where it holds something else.
    """
    if root.is_file():
        found = [_single(root)]
    elif not root.is_dir():
        raise ArchiveError(f"{root}: there is no such archive; `quorum import` makes one")
    else:
        topics = sorted(set(TOPIC_FOLDERS.values()))
        folders = [root / topic for topic in topics if (root / topic).is_dir()]
        if not folders:
            raise ArchiveError(f"{root}: holds none of the folders of an archive ({', '.join(topics)})")
        found = [file for folder in folders for file in _walk(root, folder, ALWAYS, (start_ns, end_ns))]
    found = [file if (file.lo, file.hi) != ALWAYS else _measured(file) for file in found]
    found = [file for file in found if file.lo < end_ns and file.hi > start_ns]
    return sorted(found, key=lambda file: (file.lo, file.name))


def lanes(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Put files, given by time, one behind the other where their times allow: as few lanes as can be.

    A lane holds one kind, and the files of one source where it can, so that its rows are mostly in order.
    """
    found: list[list[SourceFile]] = []
    for file in files:
        free = [lane for lane in found if lane[-1].kind == file.kind and lane[-1].hi <= file.lo]
        same = [lane for lane in free if lane[-1].path.name == file.path.name]
        lane = next(iter(same or free), None)
        if lane is None:
            lane = []
            found.append(lane)
        lane.append(file)
    return found


def extent(file: SourceFile) -> tuple[int, int] | None:
    """Give the first and last `observed_at` in the file, None where it has no rows."""
    told = zones(_metadata(file), "observed_at") if file.form == "parquet" else [None]
    times = [pair for pair in told if pair is not None]
    if len(times) < len(told):
        found = [table["observed_at"].to_numpy() for table in tables(file) if table.num_rows]
        times = [(int(column.min()), int(column.max())) for column in found]
    return (min(low for low, _ in times), max(high for _, high in times)) if times else None


def keys(file: SourceFile) -> set[str]:
    """Give the instruments, or other keys, that the file has rows of."""
    told = zones(_metadata(file), "key") if file.form == "parquet" else [None]
    if all(pair is not None and pair[0] == pair[1] for pair in told):
        return {str(pair[0]) for pair in told if pair is not None}
    return {key for table in tables(file) for key in table["key"].unique().to_pylist()}


def passed_over(file: SourceFile, wanted: Wanted) -> bool:
    """Tell whether a file that is not small says itself that it holds nothing of what is wanted."""
    if file.form != "parquet" or file.path.stat().st_size <= FOOTER_BYTES:
        return False
    return not groups(_metadata(file), wanted)


def tables(file: SourceFile) -> Iterator[pa.Table]:
    """Give all rows as `parts` does, without their places."""
    for part in parts(file):
        yield part.table


def parts(file: SourceFile, data: bytes | None = None, wanted: Wanted = EVERYTHING) -> Iterator[Part]:
    """Give the file's rows in its own order, in tables of a bounded number of rows, with the columns of its kind.

    `data` is the file's content where it was read already. Row groups of a Parquet file that say themselves that
    they hold nothing of what is `wanted` are passed over. Raises ArchiveError where the file cannot be read, its
    columns are not those of the archive, or a value is missing.
    """
    content = file.path if data is None else pa.BufferReader(data)
    try:
        for part in _rows(file, content, wanted):
            yield Part(part.row, _conforming(file, part.table, part.row))
    except (OSError, pa.ArrowException, EOFError) as error:
        raise _unreadable(file.path, f"{file.form} of {file.kind}", error) from None


def _walk(root: Path, folder: Path, bounds: tuple[int, int], wanted: tuple[int, int]) -> Iterator[SourceFile]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            inner = _narrowed(root, path, bounds)
            if inner[0] < wanted[1] and inner[1] > wanted[0]:
                yield from _walk(root, path, inner, wanted)
        else:
            name = path.relative_to(root).as_posix()
            yield SourceFile(path, name, _kind_by_name(path, name), _form(path), *bounds)


def _narrowed(root: Path, folder: Path, bounds: tuple[int, int]) -> tuple[int, int]:
    """Give the times that a folder stands for; a name that is no part of a time narrows nothing."""
    if not _PART.fullmatch(folder.name):
        return bounds
    matches = [_PART.fullmatch(name) for name in folder.relative_to(root).parts]
    parts = {match[1]: int(match[2]) for match in matches if match}
    try:
        at = datetime(parts["year"], parts.get("month", 1), parts.get("day", 1), parts.get("hour", 0), tzinfo=UTC)
    except (KeyError, ValueError):
        raise ArchiveError(f"{folder}: is not a folder of a year, month, day or hour") from None
    lo = int(at.timestamp()) * NS_PER_S
    if "hour" in parts:
        return lo, lo + NS_PER_HOUR
    if "day" in parts:
        return lo, lo + NS_PER_DAY
    days = calendar.monthrange(at.year, at.month)[1] if "month" in parts else 365 + calendar.isleap(at.year)
    return lo, lo + days * NS_PER_DAY


def _form(path: Path) -> str:
    for suffix, form in _FORMATS.items():
        if path.name.endswith(suffix):
            return form
    raise ArchiveError(f"{path}: an archive holds Parquet, CSV or JSON lines (.gz too); move this file elsewhere")


def _kind_by_name(path: Path, name: str) -> str:
    topic = name.split("/", 1)[0]
    kind = re.split(r"[-.]", path.name)[0] if topic == "ticks" else topic
    if kind in SCHEMAS:
        return kind
    raise ArchiveError(f"{path}: a file of ticks is named trades-… or quotes-…, so that its columns are known")


def _single(path: Path) -> SourceFile:
    """Know the kind of a lone file by its columns."""
    form = _form(path)
    try:
        names = _column_names(path, form)
    except (OSError, pa.ArrowException, EOFError) as error:
        raise _unreadable(path, form, error) from None
    for kind, schema in SCHEMAS.items():
        if set(schema.names) - set(OPTIONAL) <= set(names):
            return SourceFile(path, path.name, kind, form, *ALWAYS)
    raise ArchiveError(
        f"{path}: has the columns {', '.join(names) or '(none)'}, which are not those of an archive;"
        " bring it in with `quorum import`"
    )


def _column_names(path: Path, form: str) -> list[str]:
    if form == "parquet":
        return list(pq.read_schema(path).names)
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        line = file.readline()
    if form == "csv":
        return [name.strip().strip('"') for name in line.decode("utf-8", "replace").split(",")]
    return list(pa_json.read_json(pa.BufferReader(line)).column_names) if line.strip() else []


def _measured(file: SourceFile) -> SourceFile:
    """Learn the bounds of a file from its rows, where no folder tells them."""
    found = extent(file)
    return replace(file, lo=found[0], hi=found[1] + 1) if found else replace(file, lo=0, hi=0)


def _metadata(file: SourceFile) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file.path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file.path, "parquet", error) from None


def _unreadable(path: Path, form: str, error: Exception) -> ArchiveError:
    """Say in one sentence what Arrow says in several."""
    reason = " ".join(str(error).split()).rstrip(".")
    return ArchiveError(f"{path}: cannot be read as {form}: {reason}; put a whole copy there, or import it again")


def _parquet(file: SourceFile, content: Content, wanted: Wanted) -> Iterator[Part]:
    try:
        # Buffered ahead, a file's bytes would stay in memory until its last row is read.
        source = pq.ParquetFile(content, read_dictionary=["key"], pre_buffer=False)
    except KeyError:
        raise ArchiveError(f"{file.path}: column key is missing") from None
    with source:
        yield from read(source, SCHEMAS[file.kind].names, wanted, READ_ROWS)


def _placed(found: Iterable[pa.Table]) -> Iterator[Part]:
    row = 0
    for table in found:
        yield Part(row, table)
        row += table.num_rows


def _csv(file: SourceFile, content: Content) -> Iterator[pa.Table]:
    schema = SCHEMAS[file.kind]
    options = pa_csv.ConvertOptions(
        column_types={field.name: _plain(field.type) for field in schema},
        include_columns=schema.names,
        include_missing_columns=True,
    )
    with _unpacked(file, content) as stream:
        for batch in pa_csv.open_csv(stream, convert_options=options):
            yield pa.Table.from_batches([batch])


def _json_lines(file: SourceFile, content: Content) -> Iterator[pa.Table]:
    if file.kind in EVENT_KINDS:
        yield _event_lines(file, content)
        return
    schema = pa.schema([(field.name, _plain(field.type)) for field in SCHEMAS[file.kind]])
    options = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    with _unpacked(file, content) as stream:
        for batch in pa_json.open_json(stream, parse_options=options):
            yield pa.Table.from_batches([batch])


def _event_lines(file: SourceFile, content: Content) -> pa.Table:
    """Read whole events in canonical JSON, one a line, as the log of a run holds them."""
    rows = []
    with _unpacked(file, content) as stream:
        for row, line in enumerate(stream.read().splitlines(), 1):
            try:
                event = decode(line)
            except RefusedError as error:
                raise ArchiveError(f"{file.path}: line {row:,}: {error}") from None
            rows.append((event.id, event.key, event.occurred_at, event.observed_at, line))
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMAS[file.kind])
    fields = [(field.name, _plain(field.type)) for field in SCHEMAS[file.kind]]
    return pa.table(
        [pa.array(values, kind) for values, (_, kind) in zip(columns, fields, strict=True)],
        names=[name for name, _ in fields],
    )


def _rows(file: SourceFile, content: Content, wanted: Wanted) -> Iterator[Part]:
    if file.form == "parquet":
        return _parquet(file, content, wanted)
    return _placed(_csv(file, content) if file.form == "csv" else _json_lines(file, content))


def _unpacked(file: SourceFile, content: Content) -> pa.NativeFile:
    return pa.input_stream(content, compression="gzip" if file.name.endswith(".gz") else None)


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(kind) else kind


def _conforming(file: SourceFile, table: pa.Table, row: int) -> pa.Table:
    """Check names, types and missing values against the schema; fill in what may be left out."""
    schema = SCHEMAS[file.kind]
    if table.schema.equals(schema) and not any(column.null_count for column in table.columns):
        return table
    columns = [_column(file, table, field, row) for field in schema]
    return pa.table(columns, names=schema.names)


def _column(file: SourceFile, table: pa.Table, field: pa.Field, row: int) -> pa.ChunkedArray | pa.Array:
    name, kind = field.name, _plain(field.type)
    if name not in table.column_names:
        if name in OPTIONAL:
            return pa.array([OPTIONAL[name]] * table.num_rows, kind)
        raise ArchiveError(f"{file.path}: column {name} is missing")
    column = table[name]
    if _plain(column.type) != kind:
        raise ArchiveError(
            f"{file.path}: column {name} is {column.type}, where an archive holds {kind};"
            " bring the file in with `quorum import`"
        )
    if column.null_count:
        if name in OPTIONAL:
            return column.fill_null(OPTIONAL[name])
        at = row + int(np.argmax(column.is_null().to_numpy())) + 1
        raise ArchiveError(f"{file.path}: row {at:,}: {name} is missing")
    return column
