"""Where objects lie: a folder, or a bucket on S3 or what speaks its protocol; one protocol for both.

An object appears whole or not at all. What a store answers is what was put, or a StoreError.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import NamedTuple, Protocol, TypeAlias

from schemas.errors import StoreError

S3_PREFIX = "s3://"


class Listed(NamedTuple):
    """An object that a store has."""

    key: str
    """Relative to the store, parts parted by `/`."""
    size: int
    """Bytes."""
    tag: str
    """Changes with the content: S3's ETag, a file's time of change and size."""


Names: TypeAlias = list[str]
Level: TypeAlias = tuple[Names, list[Listed]]
"""The names of folders, and the objects beside them, each sorted."""


class Store(Protocol):
    """Objects by key. Every method raises StoreError where the store cannot be reached or refuses."""

    where: str
    """As a user names it: a folder, or `s3://BUCKET/PREFIX`. Never holds a secret."""

    def get(self, key: str) -> bytes | None:
        """Give an object's content; None where there is none."""

    def read(self, key: str, start: int, size: int) -> bytes:
        """Give `size` bytes from `start`, less at the object's end. Raises StoreError where there is no such object."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of one that is there."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object where there is none; False, and nothing changed, where there is one."""

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Give the objects whose keys begin with `prefix` and come behind `after`, sorted by key as bytes."""

    def folders(self, prefix: str) -> Names:
        """Give the names, sorted, of what lies one level below `prefix`, which ends with `/`, and holds more."""

    def level(self, prefix: str) -> Level:
        """Give what lies one level below `prefix`, which ends with `/` or is empty: folders and objects."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""


def checked(where: str, key: str) -> str:
    """Give a key back. Raises StoreError where it could not be that of an object in every store."""
    if not key or key.startswith("/") or re.search(r"(^|/)(\.\.?)?(/|$)", key):
        raise StoreError(f"{where}: {key!r} is no key of an object")
    return key


def open_store(where: str) -> Store:
    """Give the store at a folder, or at `s3://BUCKET/PREFIX`. Nothing is read yet."""
    if where.startswith(S3_PREFIX):
        from connectors.s3 import S3Store  # noqa: PLC0415 - boto3 is slow to import, and a folder has no need of it

        return S3Store(where)
    return FolderStore(Path(where))


def put_all(store: Store, objects: Sequence[tuple[str, bytes]]) -> None:
    """Write several objects: into a folder all of them or, on an error or an interrupt, none; else one by one.

    In a folder it does not wait for the disk: after a loss of power files may be missing.
    """
    if isinstance(store, FolderStore):
        store.put_all(objects)
    else:
        for key, data in objects:
            store.put(key, bytes(data))


class FolderStore:
    """Objects as files below a folder, written beside their place and moved there."""

    def __init__(self, root: Path) -> None:
        """`root` is made with the first object."""
        self.where = str(root)
        self._root = root

    def get(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(key, "read", error) from None

    def read(self, key: str, start: int, size: int) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                return os.pread(file.fileno(), size, start)
        except OSError as error:
            raise self._failed(key, "read", error) from None

    def put(self, key: str, data: bytes) -> None:
        part = self._write(key, data)
        try:
            part.replace(self._path(key))
        except OSError as error:
            raise self._failed(key, "written", error) from None

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Write several objects, none of which appears before all are written."""
        staged: list[tuple[Path, str]] = []
        try:
            for key, data in objects:
                staged.append((self._part(key), key))
                self._fill(staged[-1][0], key, data, synced=False)
            for part, key in staged:
                part.replace(self._path(key))
        except OSError as error:
            raise self._failed(key, "written", error) from None
        finally:
            for part, _ in staged:
                with suppress(OSError):
                    part.unlink()

    def create(self, key: str, data: bytes) -> bool:
        part = self._write(key, data)
        try:
            self._path(key).hardlink_to(part)  # fails where there is one, as a rename does not
        except FileExistsError:
            return False
        except OSError as error:
            raise self._failed(key, "written", error) from None
        finally:
            part.unlink()
        return True

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        folder = PurePosixPath(prefix) if prefix.endswith("/") or not prefix else PurePosixPath(prefix).parent
        found = []
        for path in (self._root / folder).rglob("*"):
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix) and key > after and (listed := self._listed(path)):
                found.append(listed)
        yield from sorted(found, key=lambda each: each.key.encode())

    def folders(self, prefix: str) -> Names:
        return self.level(prefix)[0]

    def level(self, prefix: str) -> Level:
        folder = self._root / prefix
        below = sorted(folder.iterdir(), key=lambda path: path.name.encode()) if folder.is_dir() else []
        names = [path.name for path in below if path.is_dir()]
        return names, [listed for path in below if (listed := self._listed(path))]

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(key, "removed", error) from None

    def _path(self, key: str) -> Path:
        return self._root / checked(self.where, key)

    def _listed(self, path: Path) -> Listed | None:
        """Give an object; None for what is none, or has been removed since its folder was read."""
        try:
            state = path.stat()
        except FileNotFoundError:
            return None
        if path.name.startswith(".") or not S_ISREG(state.st_mode):
            return None
        return Listed(path.relative_to(self._root).as_posix(), state.st_size, f"{state.st_mtime_ns}-{state.st_size}")

    def _part(self, key: str) -> Path:
        path = self._path(key)
        return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")

    def _write(self, key: str, data: bytes) -> Path:
        part = self._part(key)
        self._fill(part, key, data, synced=True)
        return part

    def _fill(self, part: Path, key: str, data: bytes, *, synced: bool) -> None:
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                if synced:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise self._failed(key, "written", error) from None

    def _failed(self, key: str, what: str, error: OSError) -> StoreError:
        return StoreError(f"{self.where}/{key}: cannot be {what}: {error.strerror or error}")
