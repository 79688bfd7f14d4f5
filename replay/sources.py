"""An archive as a replay sees it: market rows as frames, texts and commands as events, each in the total order.

Everything is read lazily, in memory that does not grow with the archive, and checked on the way by the rules of
`schemas.checks`. A file that breaks one stops the replay with the file, the row, the field and the value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from hashlib import file_digest, sha256

import msgspec

from agents.frame import Frame
from connectors.archive import MARKET_KINDS, TEXT_KINDS
from replay.ahead import ahead
from replay.files import READ_ROWS, WHOLE_BYTES, Place, SourceFile, extent, find_files, keys, lanes, passed_over
from replay.listing import ALWAYS
from replay.merge import Doubles, Stream, merge
from replay.reading import RowReader
from replay.records import read_events
from replay.rowgroups import Wanted
from replay.rows import Rows
from schemas.base import Event
from schemas.book import Book
from schemas.errors import ArchiveError

GROUP_BYTES = 1 << 20
"""Small files are read in groups of about this size, so that what is done a call is done once for many."""
AHEAD = 3
"""Groups of a lane that are read before they are needed, by threads of which each waits for no other."""
LANES_ROWS = 2 * READ_ROWS
"""Rows that all lanes together read at a time."""


class Input(msgspec.Struct, frozen=True):
    """What a replay read: all files of one kind."""

    path: str
    kind: str
    files: int
    bytes: int
    sha256: str
    """Of the lines `SHA-256  NAME` of the files, sorted by name."""


def open_archive(path: Place, book: Book, start_ns: int | None = None, end_ns: int | None = None) -> Archive:
    """Open an archive, or a single file in archive columns, for what a book listens to.

    Takes what was observed from `start_ns` to before `end_ns`. Raises ArchiveError where there is no archive, or no
    row of the book's instruments in it.
    """
    start, end = start_ns or ALWAYS[0], ALWAYS[1] if end_ns is None else end_ns
    archive = Archive(path, find_files(path, start, end), book, start, end)
    archive.require_instruments()
    return archive


class Archive:
    """See `open_archive`. Each call of `frames`, `texts`, `control` or `verdicts` reads anew from the start."""

    def __init__(self, root: Place, files: Sequence[SourceFile], book: Book, start_ns: int, end_ns: int) -> None:
        self.root = root
        self.files = tuple(files)
        self.instruments = tuple(instrument.id for instrument in book.instruments)
        self.dropped = 0
        """Market rows that the last reading left out as exact doubles of a row just before."""
        self._book = book
        self._wanted = Wanted(frozenset(self.instruments), start_ns, end_ns)
        self._reader = RowReader(self.instruments, self._wanted, self._took)
        self._digests: dict[str, str] = {}

    def frames(self, batch_rows: int = READ_ROWS, skip_rows: int = 0) -> Iterator[Frame]:
        """Give the market rows in the total order, in frames of at most `batch_rows`, without the first `skip_rows`.

        The sequence of rows is the same for every `batch_rows`. Raises ArchiveError at a row that cannot be true.
        """
        doubles = Doubles(self.instruments)
        with ThreadPoolExecutor(2, "archive") as pool:
            for merged in merge(self._streams(pool)):
                rows = doubles.distinct(merged)
                self.dropped = doubles.dropped
                passed = min(skip_rows, len(rows))
                skip_rows -= passed
                for lo in range(passed, len(rows), batch_rows):
                    yield rows.at(slice(lo, lo + batch_rows)).frame(self.instruments)

    def texts(self) -> Iterator[Event]:
        """Give tweets and news in the total order: those of the book's text keys, all where it names none."""
        return self._events(TEXT_KINDS, frozenset(self._book.text.keys) or None)

    def control(self) -> Iterator[Event]:
        """Give the commands to this book in the total order."""
        return self._events(("control",), frozenset((self._book.name,)))

    def verdicts(self) -> Iterator[Event]:
        """Give the recorded verdicts in the total order, whichever book they were asked for."""
        return self._events(("verdicts",), None)

    @cached_property
    def span(self) -> tuple[int, int]:
        """The first and the last `observed_at` of the market rows, to measure progress by."""
        files = self._market_files()
        lo, hi = min(file.lo for file in files), max(file.hi for file in files)
        edges = [extent(file) for file in files if file.lo == lo or file.hi == hi]
        times = [time for edge in edges if edge for time in edge]
        return max(self._wanted.start_ns, min(times)), min(self._wanted.end_ns, max(times))

    def inputs(self) -> list[Input]:
        """Describe what the archive holds between the two times, kind by kind, with digests of the bytes.

        Market data that tells by itself that it is of other instruments or times is left out, as it is not read.
        """
        files = [
            file
            for file in self.files
            if file.name in self._digests or file.kind not in MARKET_KINDS or not passed_over(file, self._wanted)
        ]
        kinds = sorted({file.kind for file in files})
        return [self._input(kind, [file for file in files if file.kind == kind]) for kind in kinds]

    def require_instruments(self) -> None:
        """Raise ArchiveError unless there is a row of one of the book's instruments."""
        found: set[str] = set()
        for file in self._market_files():
            found |= keys(file)
            if not found.isdisjoint(self.instruments):
                return
        held = f"it holds {', '.join(sorted(found))}" if found else "it holds no market data then"
        raise ArchiveError(f"{self.root}: has no row of {', '.join(self.instruments)} in the time asked for: {held}")

    def _market_files(self) -> list[SourceFile]:
        return [file for file in self.files if file.kind in MARKET_KINDS]

    def _streams(self, pool: ThreadPoolExecutor) -> list[Stream]:
        found = lanes(self._market_files())
        read_rows = min(READ_ROWS, LANES_ROWS // max(1, len(found)) + 1)
        return [Stream(lane[0].lo, self._read_ahead(lane, read_rows, pool)) for lane in found]

    def _read_ahead(self, lane: Sequence[SourceFile], read_rows: int, pool: ThreadPoolExecutor) -> Iterator[Rows]:
        """Give the rows of files that follow each other, while threads read the next ones."""
        waiting: deque[tuple[Iterator[Rows], Future[Rows | None]]] = deque()
        groups = _groups(ahead(lane, self._wanted))
        while True:
            while len(waiting) < AHEAD and (group := next(groups, None)):
                source = self._reader.rows(group, read_rows)
                waiting.append((source, pool.submit(next, source, None)))
            if not waiting:
                return
            source, future = waiting.popleft()
            rows = future.result()
            if rows is not None:
                waiting.appendleft((source, pool.submit(next, source, None)))
                yield rows

    def _took(self, file: SourceFile, data: bytes) -> None:
        self._digests[file.name] = sha256(data).hexdigest()

    def _events(self, kinds: tuple[str, ...], wanted: frozenset[str] | None) -> Iterator[Event]:
        files = [file for file in self.files if file.kind in kinds]
        return read_events(lanes(files), wanted, self._wanted.start_ns, self._wanted.end_ns)

    def _input(self, kind: str, files: Sequence[SourceFile]) -> Input:
        named = ahead(sorted(files, key=lambda file: file.name), self._wanted)
        lines = [f"{self._digest(file)}  {file.name}\n" for file in named]
        size = sum(file.size for file in files)
        return Input(
            path=str(self.root),
            kind=kind,
            files=len(files),
            bytes=size,
            sha256=sha256("".join(lines).encode()).hexdigest(),
        )

    def _digest(self, file: SourceFile) -> str:
        """Give the SHA-256 of a file: of a large object that is not all here, as its store knows it, if it does.

        An object's tag is no digest. One that its store has none of is fetched whole.
        """
        known = self._digests.get(file.name)
        if known is None and file.mirror is not None and file.size > WHOLE_BYTES and not file.mirror.is_whole:
            known = file.mirror.sha256()
        if known is None:
            with file.opened() as opened:
                opened.need([(0, file.size)])
                with opened.path.open("rb") as stream:
                    known = file_digest(stream, "sha256").hexdigest()
        self._digests[file.name] = known
        return known


def _groups(lane: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    group: list[SourceFile] = []
    size = 0
    for file in lane:
        group.append(file)
        size += file.size
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
