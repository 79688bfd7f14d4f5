"""The audit: rebuild every derived event of a run from its journal and demand the same bytes.

The journal's own entries (verdicts, fills, texts, commands, clock) are fed at their recorded positions, the market
data from the archive fills the positions between. No model is asked and nothing is executed. The first line that
differs is named.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing
from io import BufferedReader
from pathlib import Path

import msgspec
import numpy as np

from agents.frame import Frame
from agents.pipeline import Desk
from replay.log import DERIVED_TOPICS, JOURNAL, NOT_AUDITABLE
from replay.rundir import RunDir
from schemas.base import Event
from schemas.book import Book
from schemas.codec import decode, encode, encode_lines
from schemas.errors import ArchiveError, DivergedError, QuorumError, RefusedError
from schemas.topics import TOPIC_OF

BLOCK_EVENTS = 4096
"""Derived events that are compared at once."""
MAX_SHOWN = 400
"""Characters of a differing line that the error shows."""


class Audited(msgspec.Struct, frozen=True):
    """What was compared."""

    journal_entries: int
    market_events: int
    derived_events: int


class Recorded:
    """The derived topics of a recorded log, compared with what is made again by the block, or line by line."""

    def __init__(self, root: Path, opened: ExitStack) -> None:
        """Open every topic's file; they are closed with `opened`."""
        self._files: dict[str, BufferedReader] = {}
        for topic in DERIVED_TOPICS:
            path = root / f"{topic}.jsonl"
            if not path.is_file():
                raise ArchiveError(f"{path}: missing; a run's log holds every derived topic")
            self._files[topic] = opened.enter_context(path.open("rb"))
        self._rebuilt: list[Event] = []
        self.lines = 0

    def expect(self, rebuilt: list[Event]) -> None:
        """Take events that should be recorded next, each in its topic; DivergedError may wait for `settle`."""
        self._rebuilt += rebuilt
        if len(self._rebuilt) >= BLOCK_EVENTS:
            self.settle()

    def settle(self) -> None:
        """Raise DivergedError, with the first difference, unless all that was expected is recorded byte for byte."""
        rebuilt, self._rebuilt = self._rebuilt, []
        starts = {topic: file.tell() for topic, file in self._files.items()}
        said: dict[str, list[Event]] = {topic: [] for topic in self._files}
        for event in rebuilt:
            said[TOPIC_OF[type(event)]].append(event)
        if not all(self._holds(topic, encode_lines(events)) for topic, events in said.items()):
            for topic, file in self._files.items():
                file.seek(starts[topic])
            for event in rebuilt:
                self._expect_line(event)
        self.lines += len(rebuilt)

    def _holds(self, topic: str, block: bytes) -> bool:
        return self._files[topic].read(len(block)) == block

    def _expect_line(self, event: Event) -> None:
        topic = TOPIC_OF[type(event)]
        recorded = self._files[topic].readline().rstrip(b"\n")
        rebuilt = encode(event)
        if recorded != rebuilt:
            raise DivergedError(
                f"{topic}.jsonl differs at journal entry {event.seq}:"
                f" recorded {_shown(recorded) or 'nothing'}, rebuilt {_shown(rebuilt)}"
            )

    def is_left(self) -> bool:
        """Tell whether a topic holds a line that was not compared yet."""
        self.settle()
        return any(file.peek(1) for file in self._files.values())

    def end(self, last_seq: int) -> None:
        """Raise DivergedError where a topic holds more than was rebuilt up to `last_seq`."""
        self.settle()
        for topic, file in self._files.items():
            line = file.readline()
            if line:
                raise DivergedError(
                    f"{topic}.jsonl holds an event that the journal (to entry {last_seq}) does not lead to:"
                    f" {_shown(line)}"
                )


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def audit(run_dir: Path, frames: Iterable[Frame], book: Book) -> Audited:
    """Rebuild a run.

    Raises DivergedError at the first difference, ArchiveError where the log cannot be read or was not kept in full.
    """
    kept = RunDir(run_dir).kept()
    if kept != "full":
        raise ArchiveError(f"{run_dir}: {NOT_AUDITABLE[kept]}; replay the book with --log full")
    desk = Desk(book)
    with ExitStack() as opened:
        journal = opened.enter_context(closing(_journal(run_dir / "log" / f"{JOURNAL}.jsonl")))
        recorded = Recorded(run_dir / "log", opened)
        rebuild = _Rebuild(desk, recorded, frames)
        entries = 0
        try:
            for entry in journal:
                rebuild.rows_until(entry.seq)
                rebuild.seq = entry.seq
                recorded.expect(desk.apply(entry))
                entries += 1
            rebuild.rows_behind()
        except QuorumError:
            recorded.settle()  # what was rebuilt until then may differ already
            raise
        recorded.end(rebuild.seq)
        return Audited(entries, rebuild.rows, recorded.lines)


def _journal(path: Path) -> Generator[Event, None, None]:
    """Read the journal's own entries; their positions must rise."""
    try:
        with path.open("rb") as file:
            last = 0
            for number, line in enumerate(file, 1):
                try:
                    entry = decode(line.rstrip(b"\n"))
                except RefusedError as error:
                    raise ArchiveError(f"{path}:{number}: {error}") from None
                if entry.seq <= last:
                    raise DivergedError(f"{path}:{number}: journal entry {entry.seq} follows {last}")
                last = entry.seq
                yield entry
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error}") from None


class _Rebuild:
    """Feeds market data to a desk up to given journal positions."""

    def __init__(self, desk: Desk, recorded: Recorded, frames: Iterable[Frame]) -> None:
        self._desk, self._recorded = desk, recorded
        self._frames = iter(frames)
        self._frame: Frame | None = None
        self._at = 0
        self.seq = 0
        self.rows = 0

    def rows_until(self, seq: int) -> None:
        """Take the market events at the positions up to, and without, `seq`."""
        while self.seq + 1 < seq:
            if not self._advance(seq - 1 - self.seq):
                raise DivergedError(
                    f"the archive ends {seq - 1 - self.seq:,} market events before journal entry {seq}:"
                    " it is not the one that was replayed"
                )

    def rows_behind(self) -> None:
        """Take the market events that follow the last entry, up to the next deadline, while recorded lines are left.

        A run that an error ended wrote what they led to, and no entry after it.
        """
        while self._recorded.is_left():
            if self._frame is not None and self._at < len(self._frame):
                times = self._frame.observed_at[self._at :]
                most = int(np.searchsorted(times, self._desk.due, side="right"))
            else:
                most = 1
            if not most or not self._advance(most):
                return

    def _advance(self, most: int) -> bool:
        """Take up to `most` rows of the present frame; False where there is no further frame."""
        if self._frame is None or self._at == len(self._frame):
            self._frame = next(self._frames, None)
            if self._frame is None:
                return False
            self._at = 0
        frame, lo = self._frame, self._at
        end = min(len(frame), lo + most)
        stop = self._desk.scan(frame, lo, end)
        self._count(stop - lo)
        if stop < end:
            self._count(1)
            self._recorded.expect(self._desk.speak(frame, stop, self.seq))
        return True

    def _count(self, rows: int) -> None:
        self.seq += rows
        self.rows += rows
        self._at += rows
