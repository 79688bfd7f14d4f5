"""The files of a cassette: what models were asked, what each call cost and what was answered, entry by entry.

Entries are only ever added, each by a write that is out of the process before it goes on. Each line holds the digest
of its event and of all before it in its file, so damage is an error with its place, never a missing answer.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import msgspec

from schemas.base import Event
from schemas.checks import check
from schemas.codec import decode, encode
from schemas.errors import ArchiveError, RefusedError

SUFFIX = ".cassette"
SYNC_EVERY_S = 1.0
"""What a power cut may lose; a process that is killed loses nothing that it wrote."""


class RunMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The calls that follow in the file belong to this recording; or it has come to its end."""

    run: str
    ended: bool = False


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry: an event or a mark, as written, and the digest."""

    sum: str
    event: msgspec.Raw = msgspec.Raw()
    mark: msgspec.Raw = msgspec.Raw()


class Entry(NamedTuple):
    """One entry, read back."""

    place: str
    """File and line."""
    run: str
    """The recording that it belongs to."""
    what: Event | RunMark


_line = msgspec.json.Decoder(_Line)
_mark = msgspec.json.Decoder(RunMark)


def is_tape(root: Path) -> bool:
    """Tell a cassette's folder, by what is in it."""
    return any(root.glob(f"*{SUFFIX}"))


def read_tape(root: Path) -> Iterator[tuple[str, Event]]:
    """Give all events of a cassette, with their places, in the order in which they were written.

    Raises ArchiveError, with the place, for an entry that is not whole. A line that breaks off at the end of its file
    was being written as its process was killed: it is no entry, and nothing follows it.
    """
    for entry in read_entries(root):
        if isinstance(entry.what, Event):
            yield entry.place, entry.what


def read_entries(root: Path) -> Iterator[Entry]:
    """Give all entries of a cassette; none where there is no such folder yet."""
    for path in sorted(root.glob(f"*{SUFFIX}")):
        try:
            with path.open("rb") as file:
                yield from _entries(path, file)
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be read: {error.strerror or error}") from None


def _entries(path: Path, lines: BinaryIO) -> Iterator[Entry]:
    before, run = "", ""
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        if not line.endswith(b"\n") and _is_cut(line):
            return
        try:
            before, what = _entry(line, before)
        except (msgspec.MsgspecError, UnicodeDecodeError, RefusedError) as error:
            raise ArchiveError(f"{place}: not a whole entry: {error}; restore the file from a copy") from None
        if isinstance(what, RunMark):
            run = what.run
        yield Entry(place, run, what)


def _is_cut(line: bytes) -> bool:
    """Tell the beginning of an entry from an entry whose line end is damaged."""
    try:
        json.JSONDecoder().raw_decode(line.decode("utf-8", "replace"))
    except ValueError:
        return True
    return False


def _entry(line: bytes, before: str) -> tuple[str, Event | RunMark]:
    """Read a line behind one whose digest is `before`; give its own."""
    if line.endswith((b" ", b"\t", b"\r")):
        raise RefusedError("entry", "", "does not end with its line")
    read = _line.decode(line)
    event, mark = bytes(read.event), bytes(read.mark)
    if read.sum != _sum(before, event or mark):
        raise RefusedError("entry", "sum", "is not that of what stands there and before")
    return read.sum, decode(event) if event else _mark.decode(mark)


def _sum(before: str, payload: bytes) -> str:
    return blake2b(before.encode() + payload, digest_size=16).hexdigest()


class TapeWriter:
    """Adds to a cassette. One process at a time may: what others spend would escape its budget."""

    def __init__(self, root: Path, run: str) -> None:
        """Take the folder, made if need be; entries belong to recording `run`. A file is begun with the first entry.

        Raises ArchiveError where another process records into it, or it cannot be written.
        """
        self.root, self._run = root, run
        self._writing = threading.Lock()
        self._file: BinaryIO | None = None
        self._before = ""
        self._failed = ""
        self._synced = time.monotonic()
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._lock = (root / "lock").open("wb")
        except OSError as error:
            raise ArchiveError(f"{root}: cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ArchiveError(f"{root}: another process records into this cassette; wait until it has ended") from None

    def append(self, event: Event) -> None:
        """Write an event. Raises ArchiveError where that fails, and from then on: nothing is written behind a gap.

        Raises RefusedError for an event that could not be read back.
        """
        check(event)
        with self._writing:
            self._begin()
            self._write("event", encode(event))

    def end_run(self) -> None:
        """Say that the recording is complete: a later one of the same name starts with its whole budget."""
        with self._writing:
            self._begin()
            self._write("mark", msgspec.json.encode(RunMark(run=self._run, ended=True)))

    def close(self) -> None:
        """Bring all to disk and let others record."""
        with self._writing:
            if self._file is not None:
                os.fsync(self._file.fileno())
                self._file.close()
            self._lock.close()

    def __enter__(self) -> Self:
        """Give itself; it is closed at the end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _begin(self) -> None:
        """Begin a file of our own: one that another process left behind is not touched."""
        if self._file is not None or self._failed:
            return
        last = max((int(path.stem) for path in self.root.glob(f"*{SUFFIX}") if path.stem.isdecimal()), default=0)
        path = self.root / f"{last + 1:08d}{SUFFIX}"
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be written: {error.strerror or error}") from None
        self._write("mark", msgspec.json.encode(RunMark(run=self._run)))

    def _write(self, name: str, payload: bytes) -> None:
        if self._failed or self._file is None:
            raise ArchiveError(self._failed)
        digest = _sum(self._before, payload)
        left = memoryview(b'{"sum":"%b","%b":%b}\n' % (digest.encode(), name.encode(), payload))
        try:
            while left:
                left = left[self._file.write(left) :]
            if time.monotonic() >= self._synced + SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            self._failed = f"{self._file.name}: cannot be written: {error.strerror or error}"
            raise ArchiveError(self._failed) from None
        self._before = digest
