"""The log of a run: one file of canonical JSON lines a topic, and the digest of all of them.

`log_sha256` is the SHA-256 of `log/SHA256SUMS`, which lists the files as the `sha256sum` command does: anybody can
check a run with `sha256sum -c`.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import IO, Protocol

from schemas.base import Event
from schemas.codec import encode
from schemas.topics import TOPIC_OF, TOPICS

JOURNAL = "journal"
BUFFER_LINES = 4096

DERIVED_TOPICS: tuple[str, ...] = tuple(
    t.name for t in TOPICS if not t.is_input and t.name not in ("journal", "snapshots", "progress", "dead-letters")
)
"""Topics that a desk writes."""


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
        return _digest({topic: sha256(_joined(lines)).hexdigest() for topic, lines in self.lines.items()})


class FileLog:
    """A log in `DIR/log/`; every derived topic has its file, be it empty. Close it to get the digest."""

    def __init__(self, run_dir: Path) -> None:
        """Begin a new log; `replay.rundir.clear` has taken away an old one."""
        self.root = run_dir / "log"
        self.root.mkdir(parents=True, exist_ok=True)
        topics = (JOURNAL, *DERIVED_TOPICS)
        self._files: dict[str, IO[bytes]] = {topic: (self.root / f"{topic}.jsonl").open("wb") for topic in topics}
        self._lines: dict[str, list[bytes]] = {topic: [] for topic in topics}
        self._sums = {topic: sha256() for topic in topics}

    def journal(self, event: Event) -> None:
        """Write an input."""
        self._write(JOURNAL, event)

    def derived(self, event: Event) -> None:
        """Write a derived event."""
        self._write(TOPIC_OF[type(event)], event)

    def _write(self, topic: str, event: Event) -> None:
        lines = self._lines[topic]
        lines.append(encode(event))
        if len(lines) >= BUFFER_LINES:
            self._flush(topic)

    def _flush(self, topic: str) -> None:
        block = _joined(self._lines[topic])
        self._lines[topic].clear()
        self._files[topic].write(block)
        self._sums[topic].update(block)

    def close(self) -> str:
        """Write what is left, and the sums; give `log_sha256`."""
        for topic, file in self._files.items():
            self._flush(topic)
            file.close()
        sums = {topic: total.hexdigest() for topic, total in self._sums.items()}
        (self.root / "SHA256SUMS").write_text(_sums_text(sums))
        return _digest(sums)


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n" if lines else b""


def _sums_text(sums: dict[str, str]) -> str:
    return "".join(f"{sums[topic]}  {topic}.jsonl\n" for topic in sorted(sums))


def _digest(sums: dict[str, str]) -> str:
    empty = sha256().hexdigest()
    every = {topic: sums.get(topic, empty) for topic in (JOURNAL, *DERIVED_TOPICS)}
    return sha256(_sums_text(every).encode()).hexdigest()
