"""The files of an archive: which there are, between which times, and their contents as Arrow tables.

A source is an archive (`TOPIC/year=…/month=…/[day=…/[hour=…/]]*.parquet`), a lake, which holds one as `raw/`, or a
single file in archive columns: Parquet, CSV or JSON lines, the last two also gzipped; in a folder, or in a bucket, of
which a local mirror is read. Tables are read lazily, a bounded number of rows at a time.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from connectors.archive import EVENT_KINDS, SCHEMAS, TOPIC_FOLDERS
from connectors.cache import SMALL_BYTES, Local, Mirror, Mirrored, Opened
from connectors.store import S3_PREFIX, FolderStore, Store
from replay.listing import ALWAYS, Times, walk
from replay.rowgroups import FOOTER_BYTES, Part, Wanted, footer, groups, read, spans, zones
from schemas.codec import decode
from schemas.errors import ArchiveError, RefusedError

EVERYTHING = Wanted(frozenset(), *ALWAYS)
Content: TypeAlias = Path | pa.BufferReader
READ_ROWS = 131_072
WHOLE_BYTES = 8 << 20
"""A file up to this size is read at once; a larger one in batches, and a second time for its digest."""
Place: TypeAlias = Path | str
"""A folder or file, or what begins with `s3://`."""
LAKE = "raw"
"""The folder of a lake that is laid out as an archive."""
LISTERS = 8
_FORMATS = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv", ".jsonl": "jsonl", ".jsonl.gz": "jsonl"}
OPTIONAL = {"author": "", "followers": 0, "retweets": 0, "is_retweet": False, "url": ""}
"""Columns of texts that a file of one's own may leave out, and what they then hold."""


@dataclass(frozen=True)
class SourceFile:
    """One file; `lo <= observed_at < hi` holds for its rows, by its folder's name or by its own statement."""

    path: Path
    """Where it lies; of an object in a bucket, its name."""
    name: str
    """Relative to the archive."""
    kind: str
    form: str
    lo: int
    hi: int
    mirror: Mirrored | None = None
    """Of an object in a bucket."""

    @property
    def place(self) -> str:
        """The file as a user names it."""
        return str(self.path) if self.mirror is None else self.mirror.place

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size if self.mirror is None else self.mirror.size

    def opened(self) -> AbstractContextManager[Opened]:
        """Open it for reading: of an object, nothing but what is asked for is fetched."""
        return nullcontext(Local(self.path)) if self.mirror is None else self.mirror.opened()

    def content(self) -> bytes:
        """Read it whole. Raises ArchiveError."""
        try:
            with self.opened() as opened:
                opened.need([(0, self.size)])
                return opened.path.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{self.place}: cannot be read: {error.strerror}") from None

    def fetch(self, wanted: Wanted) -> None:
        """Bring what of an object will be read first into its mirror."""
        with self.opened() as opened:
            whole = [(0, self.size)]
            if self.form == "parquet" and self.size > SMALL_BYTES:
                found = spans(footer(opened, self.size), SCHEMAS[self.kind].names, wanted)
                whole = [] if not found else found[0] if self.size > WHOLE_BYTES else whole
            opened.need(whole)


def find_files(root: Place, start_ns: int, end_ns: int) -> list[SourceFile]:
    """List the files of an archive that may hold rows from start to before end, by time, then name.

    Of a bucket only the folders are listed that may hold such. Raises ArchiveError where there is no such archive, or
    where it holds something else, and StoreError where the bucket cannot be read.
    """
    wanted = (start_ns, end_ns)
    if str(root).startswith(S3_PREFIX):
        found = _of_bucket(str(root), wanted)
    elif (path := Path(root)).is_file():
        found = [_single(SourceFile(path, path.name, "", _form(str(path)), *ALWAYS))]
    elif not path.is_dir():
        raise ArchiveError(f"{root}: there is no such archive; `quorum import` makes one")
    else:
        found = _of_store(FolderStore(path), path, wanted)
    found = [file if (file.lo, file.hi) != ALWAYS else _measured(file) for file in found]
    found = [file for file in found if file.lo < end_ns and file.hi > start_ns]
    return sorted(found, key=lambda file: (file.lo, file.name))


def _of_bucket(where: str, wanted: Times) -> list[SourceFile]:
    from connectors.s3 import S3Store  # noqa: PLC0415 - boto3 is slow to import, and a folder has no need of it

    if where.endswith(tuple(_FORMATS)):
        folder, _, name = where.rpartition("/")
        store = S3Store(folder)
        for listed in store.list(name):
            if listed.key == name:
                file = SourceFile(Path(name), name, "", _form(name), *ALWAYS, Mirror(store).object(listed))
                return [_single(file)]
        raise ArchiveError(f"{where}: there is no such object; name one, or the prefix of an archive")
    store = S3Store(where)
    return _of_store(store, Mirror(store), wanted)


def _of_store(store: Store, root: Path | Mirror, wanted: Times) -> list[SourceFile]:
    """Walk the topics of an archive, those of a bucket side by side."""
    names, _ = store.level("")
    base = f"{LAKE}/" if LAKE in names else ""
    topics = sorted(set(TOPIC_FOLDERS.values()))
    held = set(store.level(base)[0]) if base else set(names)
    there = [topic for topic in topics if topic in held]
    if not there:
        raise ArchiveError(f"{store.where}: holds none of the folders of an archive ({', '.join(topics)})")
    found = partial(_of_topic, store, root, base, wanted)
    if isinstance(root, Path):
        return [file for topic in there for file in found(topic)]
    with ThreadPoolExecutor(LISTERS) as pool:
        return [file for files in pool.map(found, there) for file in files]


def _of_topic(store: Store, root: Path | Mirror, base: str, wanted: Times, topic: str) -> list[SourceFile]:
    found = []
    for listed, bounds in walk(store, f"{base}{topic}/", ALWAYS, wanted):
        name, place = listed.key.removeprefix(base), f"{store.where}/{listed.key}"
        path, mirror = (root / listed.key, None) if isinstance(root, Path) else (Path(name), root.object(listed))
        found.append(SourceFile(path, name, _kind_by_name(place, name), _form(place), *bounds, mirror))
    return found


def lanes(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Put files, given by time, one behind the other where their times allow: as few lanes as can be.

    A lane holds one kind, and the files of one source where it can, so that its rows are mostly in order.
    """
    found: list[list[SourceFile]] = []
    for file in files:
        own = "/" + file.name.rpartition("/")[2]
        free = [lane for lane in found if lane[-1].kind == file.kind and lane[-1].hi <= file.lo]
        same = [lane for lane in free if lane[-1].name.endswith(own)]
        if not free:
            found.append([file])
        else:
            (same or free)[0].append(file)
    return found


def extent(file: SourceFile) -> tuple[int, int] | None:
    """Give the first and last `observed_at` in the file, None where it has no rows."""
    told = zones(metadata(file), "observed_at") if file.form == "parquet" else [None]
    times = [pair for pair in told if pair is not None]
    if len(times) < len(told):
        found = [table["observed_at"].to_numpy() for table in tables(file) if table.num_rows]
        times = [(int(column.min()), int(column.max())) for column in found]
    return (min(low for low, _ in times), max(high for _, high in times)) if times else None


def keys(file: SourceFile) -> set[str]:
    """Give the instruments, or other keys, that the file has rows of."""
    told = zones(metadata(file), "key") if file.form == "parquet" else [None]
    if all(pair is not None and pair[0] == pair[1] for pair in told):
        return {str(pair[0]) for pair in told if pair is not None}
    return {key for table in tables(file) for key in table["key"].unique().to_pylist()}


def passed_over(file: SourceFile, wanted: Wanted, known: pq.FileMetaData | None = None) -> bool:
    """Tell whether a file that is not small says itself, in `known`, that it holds nothing of what is wanted."""
    if file.form != "parquet" or file.size <= FOOTER_BYTES:
        return False
    return not groups(known or metadata(file), wanted)


def tables(file: SourceFile) -> Iterator[pa.Table]:
    """Give all rows as `parts` does, without their places."""
    for part in parts(file):
        yield part.table


def parts(
    file: SourceFile, data: bytes | None = None, wanted: Wanted = EVERYTHING, known: pq.FileMetaData | None = None
) -> Iterator[Part]:
    """Give the file's rows in its own order, in tables of a bounded number of rows, with the columns of its kind.

    `data` is the file's content, and `known` what that says of itself, where they were read already. Row groups of a
    Parquet file that say themselves that they hold nothing of what is `wanted` are passed over. Raises ArchiveError
    where the file cannot be read, its columns are not those of the archive, or a value is missing.
    """
    try:
        for part in _rows(file, data, wanted, known):
            yield Part(part.row, _conforming(file, part.table, part.row))
    except (OSError, pa.ArrowException, EOFError) as error:
        raise _unreadable(file, f"{file.form} of {file.kind}", error) from None


def _form(place: str) -> str:
    for suffix, form in _FORMATS.items():
        if place.endswith(suffix):
            return form
    raise ArchiveError(f"{place}: an archive holds Parquet, CSV or JSON lines (.gz too); move this file elsewhere")


def _kind_by_name(place: str, name: str) -> str:
    topic = name.split("/", 1)[0]
    kind = re.split(r"[-.]", name.rpartition("/")[2])[0] if topic == "ticks" else topic
    if kind in SCHEMAS:
        return kind
    raise ArchiveError(f"{place}: a file of ticks is named trades-… or quotes-…, so that its columns are known")


def _single(file: SourceFile) -> SourceFile:
    """Know the kind of a lone file by its columns."""
    try:
        names = _column_names(file)
    except (OSError, pa.ArrowException, EOFError) as error:
        raise _unreadable(file, file.form, error) from None
    for kind, schema in SCHEMAS.items():
        if set(schema.names) - set(OPTIONAL) <= set(names):
            return replace(file, kind=kind)
    raise ArchiveError(
        f"{file.place}: has the columns {', '.join(names) or '(none)'}, which are not those of an archive;"
        " bring it in with `quorum import`"
    )


def _column_names(file: SourceFile) -> list[str]:
    with file.opened() as opened:
        if file.form == "parquet":
            return list(footer(opened, file.size).schema.to_arrow_schema().names)
        opened.need([(0, file.size)])
        with gzip.open(opened.path) if file.name.endswith(".gz") else opened.path.open("rb") as lines:
            line = lines.readline()
    if file.form == "csv":
        return [name.strip().strip('"') for name in line.decode("utf-8", "replace").split(",")]
    return list(pa_json.read_json(pa.BufferReader(line)).column_names) if line.strip() else []


def _measured(file: SourceFile) -> SourceFile:
    """Learn the bounds of a file from its rows, where no folder tells them."""
    found = extent(file)
    return replace(file, lo=found[0], hi=found[1] + 1) if found else replace(file, lo=0, hi=0)


def metadata(file: SourceFile, data: bytes | None = None) -> pq.FileMetaData:
    """Give what a Parquet file says of itself; `data` is its content where it was read already. Raises ArchiveError."""
    try:
        if data is not None:
            return pq.read_metadata(pa.BufferReader(data))
        with file.opened() as opened:
            return footer(opened, file.size)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, f"parquet of {file.kind}", error) from None


def _unreadable(file: SourceFile, form: str, error: Exception) -> ArchiveError:
    """Say in one sentence what Arrow says in several."""
    reason = " ".join(str(error).split()).rstrip(".")
    return ArchiveError(f"{file.place}: cannot be read as {form}: {reason}; put a whole copy there, or import it again")


def _rows(file: SourceFile, data: bytes | None, wanted: Wanted, known: pq.FileMetaData | None) -> Iterator[Part]:
    if data is not None:
        yield from _decoded(file, pa.BufferReader(data), wanted, None, known)
        return
    with file.opened() as opened:
        if file.form != "parquet":
            opened.need([(0, file.size)])
        yield from _decoded(file, opened.path, wanted, opened if file.mirror else None, known)


def _decoded(
    file: SourceFile, content: Content, wanted: Wanted, opened: Opened | None, known: pq.FileMetaData | None
) -> Iterator[Part]:
    if file.form == "parquet":
        known = footer(opened, file.size) if known is None and opened is not None else known
        return _parquet(file, content, wanted, opened, known)
    return _placed(_csv(file, content) if file.form == "csv" else _json_lines(file, content))


def _parquet(
    file: SourceFile, content: Content, wanted: Wanted, opened: Opened | None, known: pq.FileMetaData | None
) -> Iterator[Part]:
    try:
        # Buffered ahead, a file's bytes would stay in memory until its last row is read.
        source = pq.ParquetFile(content, metadata=known, read_dictionary=["key"], pre_buffer=False)
    except KeyError:
        raise ArchiveError(f"{file.place}: column key is missing") from None
    with source:
        yield from read(source, SCHEMAS[file.kind].names, wanted, READ_ROWS, opened)


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
                raise ArchiveError(f"{file.place}: line {row:,}: {error}") from None
            rows.append((event.id, event.key, event.occurred_at, event.observed_at, line))
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMAS[file.kind])
    fields = [(field.name, _plain(field.type)) for field in SCHEMAS[file.kind]]
    return pa.table(
        [pa.array(values, kind) for values, (_, kind) in zip(columns, fields, strict=True)],
        names=[name for name, _ in fields],
    )


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
        raise ArchiveError(f"{file.place}: column {name} is missing")
    column = table[name]
    if _plain(column.type) != kind:
        raise ArchiveError(
            f"{file.place}: column {name} is {column.type}, where an archive holds {kind};"
            " bring the file in with `quorum import`"
        )
    if column.null_count:
        if name in OPTIONAL:
            return column.fill_null(OPTIONAL[name])
        at = row + int(np.argmax(column.is_null().to_numpy())) + 1
        raise ArchiveError(f"{file.place}: row {at:,}: {name} is missing")
    return column
