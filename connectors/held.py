"""What lies in an archive: its files by kind and source, and columns of them, in a folder or a bucket alike."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.archive import SCHEMAS, TOPIC_FOLDERS
from connectors.store import Store
from schemas.errors import ArchiveError

WHOLE_BYTES = 1 << 20
"""A larger file is read by ranges, of which the wanted columns are a part."""
LAKE = "raw/"
_NAME = re.compile(r"([a-z]+)-([0-9a-z]+(?:-\d+)?)\.parquet")


class HeldFile(NamedTuple):
    """A file of rows."""

    key: str
    kind: str
    source: str
    """The digest that its name carries; of a lake's file, its partition."""
    size: int


def held_files(store: Store) -> list[HeldFile]:
    """List the Parquet files of an archive or a lake, by kind, source and time. Raises ArchiveError for neither."""
    root = LAKE if next(iter(store.list(LAKE)), None) else ""
    found = [file for topic in sorted(set(TOPIC_FOLDERS.values())) for file in _topic(store, root, topic)]
    if not found:
        raise ArchiveError(
            f"{store.where}: holds no file of an archive; `quorum import` and `quorum backfill` make one"
        )
    return sorted(found, key=lambda file: (file.kind, file.source, file.key))


def _topic(store: Store, root: str, topic: str) -> Iterator[HeldFile]:
    for listed in store.list(f"{root}{topic}/"):
        match = _NAME.fullmatch(listed.key.rpartition("/")[2])
        if match and match[1] in SCHEMAS and TOPIC_FOLDERS[match[1]] == topic:
            source = match[2].partition("-")[0] if root else match[2]
            yield HeldFile(listed.key, match[1], source, listed.size)


def read_columns(store: Store, file: HeldFile, columns: Sequence[str]) -> pa.Table:
    """Read columns of a file, with keys as plain text. Raises ArchiveError, naming it."""
    try:
        table = pq.ParquetFile(_opened(store, file), pre_buffer=True).read(columns=list(columns))
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise ArchiveError(f"{store.where}/{file.key}: column {', '.join(missing)} is missing")
        plain = [(name, pa.string() if name == "key" else SCHEMAS[file.kind].field(name).type) for name in columns]
        return table.select(list(columns)).cast(pa.schema(plain))
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(f"{store.where}/{file.key}: cannot be read: {error}") from None


def _opened(store: Store, file: HeldFile) -> pa.NativeFile:
    if file.size > WHOLE_BYTES:
        return pa.PythonFile(_Ranges(store, file), mode="r")
    data = store.get(file.key)
    if data is None:
        raise ArchiveError(f"{store.where}/{file.key}: was removed while it was read")
    return pa.BufferReader(data)


class _Ranges(io.RawIOBase):
    """A file whose bytes are read from a store when they are asked for."""

    def __init__(self, store: Store, file: HeldFile) -> None:
        self._store, self._file, self._at = store, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._file.size - self._at
        data = self._store.read(self._file.key, self._at, left if size < 0 else min(size, left)) if left > 0 else b""
        self._at += len(data)
        return data
