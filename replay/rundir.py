"""The folder that a run leaves behind, read back: its book, its log, its prices.

A pure reader that holds what it was asked for and nothing else: a log of a million lines is scanned as bytes,
and only lines of the wanted types or ids are decoded. The log is our own: values are not checked again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from replay.log import DECISION_INPUTS, JOURNAL, Kept
from schemas.base import Event
from schemas.book import Book
from schemas.errors import ArchiveError

E = TypeVar("E", bound=Event)
Prices = dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
"""Instrument to the times (ns, ascending) and values of its last prices."""

BOOK = "book.json"
"""The file by which a folder is known as a run's."""
WRITTEN = ("summary.json", "trades.csv", "equity.parquet", "prices.parquet", "report.html")
"""What a run is turned into."""

_TYPE = b'{"type":"'
_ID = b'","id":"'
_ESCAPED = re.compile(rb'(?:[^"\\]|\\.)*')
"""The inside of a JSON string."""


def clear(root: Path) -> None:
    """Make the folder of a new run; of an earlier run there, take away what would pass for the new one's.

    Raises ArchiveError, and changes nothing, where the folder holds anything but a run.
    """
    if root.is_dir() and not (root / BOOK).is_file() and any(root.iterdir()):
        raise ArchiveError(f"{root}: is not empty and no run wrote it (it holds no {BOOK}); choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    stale = [root / name for name in WRITTEN]
    for path in (*stale, root / "log" / "SHA256SUMS", *(root / "log").glob("*.jsonl")):
        path.unlink(missing_ok=True)


class RunDir:
    """The files of one run. Raises ArchiveError, with the path, where one is missing or cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def book(self) -> Book:
        """Give the book that the run traded."""
        path = self.root / BOOK
        try:
            return msgspec.json.decode(path.read_bytes(), type=Book)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArchiveError(f"{path}: not the book of a run: {error}") from None

    def kept(self) -> Kept:
        """Tell what the run's log holds, by its files; a log from which some were taken away is no smaller log."""
        names = {path.stem for path in (self.root / "log").glob("*.jsonl")}
        if not names:
            return "none"
        return "full" if JOURNAL in names or not names.issuperset(DECISION_INPUTS) else "decisions"

    def events(self, topic: str, *types: type[E]) -> Iterator[E]:
        """Give the events of these types in `log/TOPIC.jsonl`, in order; none where there is no such file.

        A log of decisions has no journal: the inputs that it keeps are read instead, those of one topic in order.
        """
        heads = _heads(types)
        yield from self._decoded(topic, types, (line for line in self._lines(topic) if line.startswith(heads)))

    def pick(self, topic: str, ids: Collection[str], *types: type[E]) -> dict[str, E]:
        """Give the events of these types whose id is among `ids`, by id."""
        if not ids:
            return {}
        heads = _heads(types)
        written = {msgspec.json.encode(id)[1:-1] for id in ids}
        lines = (line for line in self._lines(topic) if line.startswith(heads) and _written_id(line) in written)
        return {event.id: event for event in self._decoded(topic, types, lines)}

    def holding(self, topic: str, marks: Collection[bytes], *types: type[E]) -> Iterator[E]:
        """Give the events of these types whose line holds one of the marks, in order."""
        heads = _heads(types)
        lines = (line for line in self._lines(topic) if line.startswith(heads) and any(mark in line for mark in marks))
        return self._decoded(topic, types, lines)

    def counts(self, topic: str) -> dict[str, int]:
        """Count the events of a topic by type."""
        counts = Counter(line[len(_TYPE) : line.find(b'"', len(_TYPE))].decode() for line in self._lines(topic))
        return dict(sorted(counts.items()))

    def prices(self) -> Prices:
        """Give the last price of every instrument in every mark interval."""
        path = self.root / "prices.parquet"
        try:
            with pq.ParquetFile(path) as file:
                table = file.read(["instrument", "time", "price"])
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(f"{path}: not the prices of a run: {error}") from None
        names = table["instrument"].to_numpy()
        times = table["time"].to_numpy()
        values = table["price"].to_numpy()
        order = np.lexsort((times, names))
        names, times, values = names[order], times[order], values[order]
        unique, starts = np.unique(names, return_index=True)
        ends = [*starts[1:].tolist(), len(names)][: len(unique)]
        return {
            str(name): (times[lo:hi], values[lo:hi]) for name, lo, hi in zip(unique, starts.tolist(), ends, strict=True)
        }

    def _lines(self, topic: str) -> Iterator[bytes]:
        if not (self.root / "log").is_dir():
            raise ArchiveError(f"{self.root}: holds no log/ folder, so it is not the folder of a run")
        for name in DECISION_INPUTS if topic == JOURNAL and self.kept() == "decisions" else (topic,):
            path = self.root / "log" / f"{name}.jsonl"
            if path.exists():
                with path.open("rb") as file:
                    yield from file

    def _decoded(self, topic: str, types: tuple[type[E], ...], lines: Iterable[bytes]) -> Iterator[E]:
        decoder = cast("msgspec.json.Decoder[E]", msgspec.json.Decoder(cast("Any", reduce(or_, types))))
        try:
            for line in lines:
                yield decoder.decode(line)
        except msgspec.DecodeError as error:
            path = self.root / "log" / f"{topic}.jsonl"
            raise ArchiveError(f"{path}: a line is not a whole event ({error}); was it cut off?") from None


def _heads(types: tuple[type[Event], ...]) -> tuple[bytes, ...]:
    """Give how the lines of these types begin."""
    return tuple(_TYPE + cls.__name__.encode() + b'","id":"' for cls in types)


def _written_id(line: bytes) -> bytes:
    """Give the id of a canonical line as it is written, escapes and all."""
    start = line.index(_ID) + len(_ID)
    end = line.index(b'"', start)
    if line[end - 1 : end] != b"\\":
        return line[start:end]
    escaped = _ESCAPED.match(line, start)  # the quote may be a part of the id
    return escaped[0] if escaped else b""
