"""A local mirror of objects in a bucket: what is read twice is fetched once, and what is not read is not fetched.

An object is a sparse file of its full size. A sidecar says which ranges of it are there; it is gone once all are. A
range is written down only after its bytes lie on the disk, so neither a cut nor a kill leaves one that is not there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import msgspec

from connectors.ranges import Ranges, lacking, merged
from schemas.errors import StoreError

if TYPE_CHECKING:
    from connectors.s3 import S3Store
    from connectors.store import Listed

SMALL_BYTES = 1 << 20
"""An object up to this size is fetched whole when it is opened: to ask twice takes longer."""
PIECE_BYTES = 8 << 20
"""What one request fetches; several run at a time."""
THREADS = 16
BOUND_GB = 10.0
ROOM = 7 / 8
"""Share of the bound that one process fills, so that a few at once stay below it."""
LOOK = 1 / 32
"""Share of the bound after which a process looks again at how much there is."""
Asked = TypeVar("Asked")


class Opened(Protocol):
    """A file that is open for reading: `path` leads to it as long as it is open, whatever becomes of its name."""

    @property
    def path(self) -> Path:
        """Where it can be opened again."""

    def need(self, ranges: Ranges) -> None:
        """Return once the bytes of these ranges are there. Raises StoreError."""

    def need_soon(self, ranges: Ranges) -> None:
        """Begin to fetch what `need` will be asked for."""


class Local(NamedTuple):
    """A file that is no mirror: all of it is there. See `Opened`."""

    path: Path

    def need(self, ranges: Ranges) -> None:
        pass

    def need_soon(self, ranges: Ranges) -> None:
        pass


class _Sidecar(msgspec.Struct):
    inode: int
    """Of the file that it speaks of."""
    ranges: list[tuple[int, int]]
    sha256: str = ""
    """Of the whole object, as the store tells; empty where it was not asked or does not know."""


class Mirror:
    """The objects of one store below the user's cache folder, which all stores share.

    What was used least recently goes first once the bound is reached. Any number of processes may share the folder.
    """

    def __init__(self, store: S3Store, folder: Path | None = None, bound_bytes: int | None = None) -> None:
        """Without folder and bound, QUORUM_CACHE_DIR and QUORUM_CACHE_GB hold, else the user's own cache and 10 GiB."""
        self.store = store
        self.folder = folder or _folder()
        self._room = _Room(self.folder, bound_bytes or _bound_bytes())

    def object(self, listed: Listed) -> Mirrored:
        """Give the mirror of an object; nothing is read yet."""
        return Mirrored(self, listed)

    def fetch(self, listed: Listed, lo: int, hi: int) -> bytes:
        data = self.store.read(listed.key, lo, hi - lo, listed.tag)
        if len(data) != hi - lo:
            raise StoreError(f"{self.store.where}/{listed.key}: is shorter than its listing says; start again")
        return data

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Hold room for bytes that are to be written within."""
        with self._room.reserved(size):
            yield


class Mirrored:
    """An object and its mirror."""

    def __init__(self, mirror: Mirror, listed: Listed) -> None:
        self.size = listed.size
        self.place = f"{mirror.store.where}/{listed.key}"
        """As a user names it."""
        name = sha256(f"{mirror.store.endpoint}\0{self.place}\0{listed.tag}".encode()).hexdigest()[:40]
        self._mirror, self._listed = mirror, listed
        self._whole = mirror.folder / "objects" / name[:2] / name
        self._part = self._whole.with_suffix(".part")
        self._sidecar = self._whole.with_suffix(".ranges")

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there."""
        return self._whole.exists()

    @contextmanager
    def opened(self) -> Iterator[_Mirroring]:
        """Open the mirror, of which nothing need be there yet unless the object is small.

        Raises StoreError where that cannot be fetched, or the cache cannot be written.
        """
        try:
            opened = self._open()
        except OSError as error:
            raise self._failed(error) from None
        try:
            yield opened
        finally:
            opened.close()

    def sha256(self) -> str | None:
        """Give the digest that the store keeps of the object, asked for once; None where it keeps none."""
        with self._locked():
            known = self._known()
        if known is not None and known.sha256:
            return known.sha256
        found = self._mirror.store.sha256(self._listed.key, self._listed.tag)
        with self._locked():
            known = self._known()
            if found and known is not None:
                known.sha256 = found
                self._write_down(known)
        return found

    def fill(self, fd: int, ranges: Ranges, there: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Fetch what is missing into the open file, and give what is there now.

        `there` is what this reader knows to be in its file, which may have lost its name to make room for others.
        """
        try:
            with self._locked():
                inode = os.fstat(fd).st_ino
                with suppress(FileNotFoundError):
                    if self._whole.stat().st_ino == inode:  # another reader has made it so
                        return [(0, self.size)]
                known = self._known(inode)
                there = merged([*there, *(known.ranges if known else ())])
                if missing := lacking(ranges, there):
                    self._download(fd, missing)
                    there = merged([*there, *missing])
                    if known is not None:
                        known.ranges = there
                        self._write_down(known)
                return there
        except OSError as error:
            raise self._failed(error) from None

    def _download(self, fd: int, missing: Ranges) -> None:
        pieces = [piece for lo, hi in missing for piece in _cut(lo, hi)]

        def bring(piece: tuple[int, int]) -> None:
            self._put(fd, self._mirror.fetch(self._listed, *piece), piece[0])

        with self._mirror.reserved(sum(hi - lo for lo, hi in pieces)):
            if len(pieces) == 1:
                bring(pieces[0])
            else:
                list(_pool("piece").map(bring, pieces))
            os.fsync(fd)

    @staticmethod
    def _put(fd: int, data: bytes, at: int) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(fd, left, at)
            left, at = left[written:], at + written

    def _open(self) -> _Mirroring:
        with suppress(FileNotFoundError):
            return _Mirroring(self, self._whole, [(0, self.size)])
        with self._locked():
            with suppress(FileNotFoundError):
                return _Mirroring(self, self._whole, [(0, self.size)])
            if self.size <= SMALL_BYTES:
                self._bring()
                return _Mirroring(self, self._whole, [(0, self.size)])
            known = self._known()
            if known is None:
                self._begin()
            return _Mirroring(self, self._part, known.ranges if known else [])

    def _bring(self) -> None:
        """Fetch all of it at once, under the lock: what appears whole needs no sidecar on the way."""
        self._clear()
        with self._mirror.reserved(self.size):
            data = self._mirror.fetch(self._listed, 0, self.size) if self.size else b""
            with self._part.open("xb", buffering=0) as file:
                self._put(file.fileno(), data, 0)
                os.fsync(file.fileno())
            self._part.replace(self._whole)

    def _begin(self) -> None:
        """Make an empty file of the full size, and only then say that there is one."""
        self._clear()
        with self._part.open("xb") as file:
            file.truncate(self.size)
            self._write_down(_Sidecar(os.fstat(file.fileno()).st_ino, []))

    def _clear(self) -> None:
        self._sidecar.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)
        self._part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _known(self, inode: int = 0) -> _Sidecar | None:
        """Read the sidecar, under the lock; None where there is none for the file that is there, or for `inode`."""
        try:
            known = msgspec.json.decode(self._sidecar.read_bytes(), type=_Sidecar)
            state = self._part.stat()
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        fits = (known.inode, self.size) == (state.st_ino, state.st_size) and inode in {0, known.inode}
        return known if fits else None

    def _write_down(self, known: _Sidecar) -> None:
        """Say what is there, under the lock. All of it makes a whole file, which needs no sidecar."""
        if known.ranges == [(0, self.size)]:
            self._part.replace(self._whole)
            self._sidecar.unlink(missing_ok=True)
            return
        new = self._sidecar.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(known))
        new.replace(self._sidecar)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads and processes from the object. Some 256 files are locked, each for many objects."""
        path = self._mirror.folder / "locks" / self._whole.name[:2]
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _failed(self, error: OSError) -> StoreError:
        reason = error.strerror or error
        return StoreError(
            f"{self._mirror.folder}: the cache cannot be used: {reason}; mend it, or set QUORUM_CACHE_DIR"
        )


class _Mirroring:
    """See `Opened`."""

    def __init__(self, mirrored: Mirrored, path: Path, there: list[tuple[int, int]]) -> None:
        whole = there == [(0, mirrored.size)]
        self._fd = os.open(path, os.O_RDONLY if whole else os.O_RDWR)
        os.utime(self._fd)
        self.path = Path(f"/dev/fd/{self._fd}")
        self._mirrored, self._there = mirrored, there
        self._soon: list[Future[None]] = []

    def need(self, ranges: Ranges) -> None:
        if lacking(ranges, self._there):
            self._there = self._mirrored.fill(self._fd, ranges, self._there)

    def need_soon(self, ranges: Ranges) -> None:
        if lacking(ranges, self._there):
            self._soon.append(in_background(self.need, ranges))

    def close(self) -> None:
        """Close the file, once nothing is written to it any more."""
        for future in self._soon:
            if not future.cancel():
                future.exception()  # whoever needs the range asks for it again, and is told
        os.close(self._fd)


class _Room:
    """Keeps the cache below its bound."""

    def __init__(self, folder: Path, bound_bytes: int) -> None:
        self._folder, self._bound = folder, bound_bytes
        self._changed = Condition()
        self._coming = 0
        """Bytes that are being written now."""
        self._since = bound_bytes
        """Bytes written since the last look; at first, enough for one."""

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        limit = int(self._bound * ROOM)
        if size > limit:
            raise StoreError(
                f"{self._folder}: {size:,} bytes are needed at once and the cache may hold {self._bound:,};"
                " set QUORUM_CACHE_GB higher"
            )
        with self._changed:
            while self._coming and self._coming + size > limit:
                self._changed.wait()
            self._coming += size
            if self._since + self._coming > self._bound * LOOK:
                self._make(limit - self._coming)
                self._since = 0
        try:
            yield
        finally:
            with self._changed:
                self._coming -= size
                self._since += size
                self._changed.notify_all()

    def _make(self, limit: int) -> None:
        """Remove what was used least recently, until no more than `limit` bytes are there."""
        found = []
        for path in (self._folder / "objects").glob("??/*"):
            if path.suffix in {"", ".part"}:
                with suppress(FileNotFoundError):
                    state = path.stat()
                    found.append((state.st_mtime_ns, state.st_blocks * 512, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= limit:
                return
            if self._removed(path):
                total -= size

    def _removed(self, path: Path) -> bool:
        """Remove an object's files unless somebody is at work on them; readers keep what they have open."""
        with (self._folder / "locks" / path.name[:2]).open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            path.with_suffix(".ranges").unlink(missing_ok=True)  # first: a file without one counts as empty
            path.unlink(missing_ok=True)
        return True


def _cut(lo: int, hi: int) -> Iterator[tuple[int, int]]:
    for start in range(lo, hi, PIECE_BYTES):
        yield start, min(start + PIECE_BYTES, hi)


def in_background(call: Callable[[Asked], None], asked: Asked) -> Future[None]:
    """Have something fetched by the threads that fetch ahead of readers."""
    return _pool("ahead").submit(call, asked)


@lru_cache
def _pool(name: str) -> ThreadPoolExecutor:
    """Give threads that wait for the network: of pieces apart from what waits for pieces."""
    return ThreadPoolExecutor(THREADS, f"mirror-{name}")


def _folder() -> Path:
    if named := os.environ.get("QUORUM_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quorum"


def _bound_bytes() -> int:
    told = os.environ.get("QUORUM_CACHE_GB") or str(BOUND_GB)
    try:
        bound = float(told)
    except ValueError:
        bound = 0.0
    if not 0 < bound < float("inf"):
        raise StoreError(f"QUORUM_CACHE_GB is {told!r}: write the cache's bound in GiB, as 10")
    return int(bound * 2**30)
