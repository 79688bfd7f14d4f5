"""The log of a run: one file of canonical JSON lines a topic, and the digest of all of them.

`log_sha256` is the SHA-256 of `log/SHA256SUMS`, which lists the files as the `sha256sum` command does: anybody can
check a run with `sha256sum -c`. What is kept is a choice of class: all of it, the decisions alone, or nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from schemas.accounting import OutcomeMeasured
from schemas.base import Event
from schemas.codec import encode, encode_lines
from schemas.topics import TOPIC_OF, TOPICS

JOURNAL = "journal"
BLOCK_LINES = 1024
"""Lines of a topic that are encoded and written at once."""
MAX_BLOCKS = 8
"""Blocks that may wait for the writer; then the run waits for it."""

DERIVED_TOPICS: tuple[str, ...] = tuple(
    t.name
    for t in TOPICS
    if not t.is_input and t.name not in ("sentiment", "model-calls", "journal", "snapshots", "progress", "dead-letters")
)
"""Topics that a desk writes."""
DECISION_INPUTS = ("control", "fills")
"""Inputs that a log of decisions keeps, each in its topic's own file: a part of a journal is no journal."""
DECISION_TOPICS = (*DECISION_INPUTS, "proposals", "risk-decisions", "orders", "portfolio", "alerts")
"""What was decided and what became of it."""
DECISIONS = frozenset(
    kind for kind, topic in TOPIC_OF.items() if topic in DECISION_TOPICS and kind is not OutcomeMeasured
)
"""Types that a log of decisions keeps. How well a model predicted is about its answer, and left out."""

Kept = Literal["full", "decisions", "none"]
"""What a run's log holds."""
NOT_AUDITABLE = {
    "decisions": "the log holds decisions alone, so this run cannot be audited",
    "none": "no log was kept, so this run cannot be audited",
}
"""What to say of a run without a full log."""


class Log(Protocol):
    """Where a host puts what was said."""

    def journal(self, event: Event) -> None:
        """Take an input that is not market data, as it was journaled."""

    def derived(self, event: Event) -> None:
        """Take a derived event."""


class MemoryLog:
    """A log in memory: canonical lines by topic. For tests and for programs that want no files."""

    def __init__(self) -> None:
        """Start empty."""
        self.lines: dict[str, list[bytes]] = {}

    def journal(self, event: Event) -> None:
        """Keep an input."""
        self.lines.setdefault(JOURNAL, []).append(encode(event))

    def derived(self, event: Event) -> None:
        """Keep a derived event."""
        self.lines.setdefault(TOPIC_OF[type(event)], []).append(encode(event))

    def sha256(self) -> str:
        """Give the digest that the same lines have in files."""
        blocks = dict.fromkeys(FileLog.topics, b"")
        blocks |= {topic: b"".join(line + b"\n" for line in lines) for topic, lines in self.lines.items()}
        return _digest({topic: sha256(block).hexdigest() for topic, block in blocks.items()})


class FileLog:
    """The whole log in `DIR/log/`; every derived topic has its file, be it empty. Close it to get the digest.

    Lines are encoded by the caller, a block at a time, and written and hashed behind its back by one thread. Raises
    OSError, from whichever call comes next, where a file cannot be written; nothing is written behind a gap.
    """

    topics: ClassVar[tuple[str, ...]] = (JOURNAL, *DERIVED_TOPICS)

    def __init__(self, run_dir: Path) -> None:
        """Begin a new log; `replay.rundir.clear` has taken away an old one."""
        self.root = run_dir / "log"
        self.root.mkdir(parents=True, exist_ok=True)
        self._files = {topic: (self.root / f"{topic}.jsonl").open("wb", buffering=0) for topic in self.topics}
        self._events: dict[str, list[Event]] = {topic: [] for topic in self.topics}
        self._sums = {topic: sha256() for topic in self.topics}
        self._writer = ThreadPoolExecutor(1, "log")
        self._waiting: deque[Future[None]] = deque()
        self._error: OSError | None = None

    def journal(self, event: Event) -> None:
        """Write an input."""
        events = self._events[JOURNAL]
        events.append(event)
        if len(events) >= BLOCK_LINES:
            self._hand_over(JOURNAL)

    def derived(self, event: Event) -> None:
        """Write a derived event."""
        topic = TOPIC_OF[type(event)]
        events = self._events[topic]
        events.append(event)
        if len(events) >= BLOCK_LINES:
            self._hand_over(topic)

    def _hand_over(self, topic: str) -> None:
        """Give a topic's events to the writer, as lines. Raises what it failed on before."""
        waiting = self._waiting
        while waiting and (len(waiting) >= MAX_BLOCKS or waiting[0].done()):
            waiting.popleft().result()
        waiting.append(self._writer.submit(self._put, topic, encode_lines(self._events[topic])))
        self._events[topic].clear()

    def _put(self, topic: str, block: bytes) -> None:
        if self._error is not None:
            raise self._error
        try:
            left = memoryview(block)
            while left:
                left = left[self._files[topic].write(left) :]
        except OSError as error:
            self._error = OSError(error.errno, error.strerror, str(self.root / f"{topic}.jsonl"))
            raise self._error from None
        self._sums[topic].update(block)

    def close(self) -> str:
        """Write what is left, and the sums; give `log_sha256`."""
        try:
            for topic in self.topics:
                self._hand_over(topic)
            for written in self._waiting:
                written.result()
        finally:
            self._writer.shutdown()
            for file in self._files.values():
                file.close()
        sums = {topic: total.hexdigest() for topic, total in self._sums.items()}
        (self.root / "SHA256SUMS").write_text(_sums_text(sums))
        return _digest(sums)


class DecisionLog(FileLog):
    """What was decided and what became of it, in `DIR/log/`: not what was asked, answered, concluded or measured."""

    topics: ClassVar[tuple[str, ...]] = DECISION_TOPICS

    def __init__(self, run_dir: Path) -> None:
        """Begin a new log."""
        super().__init__(run_dir)
        self.started_at: int | None = None
        """When the first input was observed, in ns."""

    def journal(self, event: Event) -> None:
        """Write an input that is a command or a fill."""
        if self.started_at is None:
            self.started_at = event.observed_at
        self.derived(event)

    def derived(self, event: Event) -> None:
        """Write an event that is a decision or an account."""
        if type(event) in DECISIONS:
            super().derived(event)


class NoLog:
    """No log: events are counted, and nothing is written."""

    def __init__(self) -> None:
        """Start empty."""
        self.counts: Counter[type[Event]] = Counter()
        self.started_at: int | None = None
        """When the first input was observed, in ns."""

    def journal(self, event: Event) -> None:
        """Count an input."""
        if self.started_at is None:
            self.started_at = event.observed_at
        self.counts[type(event)] += 1

    def derived(self, event: Event) -> None:
        """Count a derived event."""
        self.counts[type(event)] += 1

    def close(self) -> str:
        """Give no digest."""
        return ""


def open_log(run_dir: Path, kept: Kept) -> FileLog | DecisionLog | NoLog:
    """Begin the log of a run."""
    if kept == "none":
        return NoLog()
    return DecisionLog(run_dir) if kept == "decisions" else FileLog(run_dir)


def _sums_text(sums: dict[str, str]) -> str:
    return "".join(f"{sums[topic]}  {topic}.jsonl\n" for topic in sorted(sums))


def _digest(sums: dict[str, str]) -> str:
    return sha256(_sums_text(sums).encode()).hexdigest()
