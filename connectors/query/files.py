"""A lake's files as datasets that DuckDB can scan: folders, row groups and columns that a query does not ask for are
not read, and DuckDB itself opens no file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

from connectors.archive import NS_PER_HOUR
from connectors.lake.layout import kind_of_file
from connectors.query.tables import DAILY, FOLDER_TYPES, HOURLY, Table
from connectors.store import FolderStore, Listed, Store
from schemas.base import NS_PER_DAY, NS_PER_S
from schemas.errors import StoreError


def dataset(store: Store, table: Table) -> ds.Dataset:
    """Give a table's files as they are listed now."""
    listed = [each for each in store.list(table.folder) if _is_of(table, each.key)]
    schema = scanned_schema(table)
    if not listed:
        return ds.dataset(schema.empty_table())
    return ds.FileSystemDataset.from_paths(
        [each.key for each in listed],
        schema=schema,
        format=ds.ParquetFileFormat(),
        filesystem=_filesystem(store, listed),
        partitions=[_partition(store, table, each.key) for each in listed],
    )


def nothing(table: Table) -> ds.Dataset:
    """Give a table without rows."""
    return ds.dataset(scanned_schema(table).empty_table())


def scanned_schema(table: Table) -> pa.Schema:
    """Give the columns of a table's files and folders. Events and names are texts."""
    fields = [pa.field(field.name, _scanned(field)) for field in table.schema]
    return pa.schema([*fields, *(pa.field(name, FOLDER_TYPES[name]) for name in table.folders)])


def _scanned(field: pa.Field) -> pa.DataType:
    if pa.types.is_dictionary(field.type):
        return field.type.value_type
    return pa.string() if field.name in ("event", "value") else field.type


def _is_of(table: Table, key: str) -> bool:
    name = key.rpartition("/")[2]
    kind = name.removesuffix(".parquet") if key.startswith("processed/") else kind_of_file(key)
    return name.endswith(".parquet") and kind == table.kind


def _partition(store: Store, table: Table, key: str) -> pc.Expression:
    """Say what a file's folders say of its rows: their columns, and of an hour the times of observation."""
    parts = key.removeprefix(table.folder).split("/")[:-1]
    try:
        found = {name: part.removeprefix(f"{name}=") for name, part in zip(table.folders, parts, strict=True)}
        values = {name: int(value) if FOLDER_TYPES[name] == pa.int32() else value for name, value in found.items()}
        year, month, day = (int(found[name]) for name in DAILY)
        at = datetime(year, month, day, int(found.get("hour", 0)), tzinfo=UTC)
    except ValueError:
        raise StoreError(f"{store.where}/{key}: lies in no folder of {'/'.join(table.folders)}") from None
    said = [pc.field(name) == pa.scalar(value, FOLDER_TYPES[name]) for name, value in values.items()]
    if "observed_at" in table.schema.names:
        lo = int(at.timestamp()) * NS_PER_S
        hi = lo + (NS_PER_HOUR if table.folders[-4:] == HOURLY else NS_PER_DAY)
        said += [pc.field("observed_at") >= lo, pc.field("observed_at") < hi]
    return reduce(and_, said)


def _filesystem(store: Store, listed: Sequence[Listed]) -> fs.FileSystem:
    if isinstance(store, FolderStore):
        return fs.SubTreeFileSystem(str(Path(store.where).resolve()), fs.LocalFileSystem())
    return fs.PyFileSystem(_StoreFiles(store, {each.key: each.size for each in listed}))


class _Ranged(io.RawIOBase):
    """An object of a store as a file that is read in ranges."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def size(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        wanted = max(0, self._size - self._at) if size < 0 else min(size, max(0, self._size - self._at))
        data = self._store.read(self._key, self._at, wanted) if wanted else b""
        self._at += len(data)
        return data


class _StoreFiles(fs.FileSystemHandler):  # type: ignore[misc]
    """A store as pyarrow asks a file system: files are read, and nothing is written."""

    def __init__(self, store: Store, sizes: dict[str, int]) -> None:
        self._store, self._sizes = store, sizes

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    __hash__ = object.__hash__

    def get_type_name(self) -> str:
        return "quorum-store"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [
            fs.FileInfo(path, fs.FileType.File, size=self._sizes[path])
            if path in self._sizes
            else fs.FileInfo(path, fs.FileType.NotFound)
            for path in paths
        ]

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(_Ranged(self._store, path, self._sizes[path]), mode="r")

    open_input_stream = open_input_file

    def _refused(self, *_: object, **__: object) -> NoReturn:
        raise PermissionError("a query changes nothing in a lake")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refused
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refused
