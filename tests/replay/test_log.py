"""The log: the same bytes and digest in whatever blocks, nothing behind a gap, and errors that reach the caller."""

from __future__ import annotations

import errno
from hashlib import sha256
from pathlib import Path

import pytest

from replay import log as log_module
from replay.log import DECISION_TOPICS, JOURNAL, DecisionLog, FileLog, Log, MemoryLog, NoLog, open_log
from replay.rundir import RunDir
from schemas.base import Event
from schemas.codec import decode_own
from schemas.control import ClockTicked
from schemas.execution import OrderFilled, OrderRequested
from schemas.topics import TOPIC_OF

GOLDEN = Path(__file__).parents[1] / "golden" / "session" / "log"
EVENTS = sorted(
    (
        (path.stem, decode_own(line))
        for path in sorted(GOLDEN.glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ),
    key=lambda said: (said[1].seq, said[0] != JOURNAL),
)


def feed(log: Log, events: list[tuple[str, Event]] = EVENTS) -> None:
    for file, event in events:
        (log.journal if file == JOURNAL else log.derived)(event)


@pytest.mark.parametrize("block_lines", [1, 7, 4096])
def test_blocks_have_no_influence_on_bytes_and_digest(
    block_lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "BLOCK_LINES", block_lines)
    log, memory = FileLog(tmp_path), MemoryLog()
    feed(log)
    feed(memory)
    assert log.close() == memory.sha256() == sha256((GOLDEN / "SHA256SUMS").read_bytes()).hexdigest()
    assert {p.name: p.read_bytes() for p in log.root.iterdir()} == {p.name: p.read_bytes() for p in GOLDEN.iterdir()}


def test_a_full_disk_reaches_the_caller_and_nothing_is_written_behind_the_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "BLOCK_LINES", 1)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "journal.jsonl").symlink_to("/dev/full")
    log = FileLog(tmp_path)
    with pytest.raises(OSError, match="No space left on device") as ended:
        feed(log, EVENTS * 50)
    assert (ended.value.errno, ended.value.filename) == (errno.ENOSPC, str(tmp_path / "log" / "journal.jsonl"))
    written = {path: path.read_bytes() for path in (tmp_path / "log").glob("[!j]*.jsonl")}
    with pytest.raises(OSError, match="No space left on device"):
        feed(log, EVENTS * 50)
    with pytest.raises(OSError, match="No space left on device"):
        log.close()
    assert {path: path.read_bytes() for path in written} == written
    assert not (tmp_path / "log" / "SHA256SUMS").exists()


def test_a_full_disk_at_the_end_reaches_the_caller_too(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "orders.jsonl").symlink_to("/dev/full")
    log = FileLog(tmp_path)
    feed(log)
    with pytest.raises(OSError, match="No space left on device"):
        log.close()


def test_a_log_of_decisions_is_the_full_logs_lines_of_its_topics(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    feed(log)
    log.close()
    full = [line for path in sorted(GOLDEN.glob("*.jsonl")) for line in path.read_bytes().splitlines(keepends=True)]
    assert {path.stem for path in log.root.glob("*.jsonl")} == set(DECISION_TOPICS)
    for topic in DECISION_TOPICS:
        of_topic = [line for line in full if TOPIC_OF[type(decode_own(line))] == topic]
        kept = [line for line in of_topic if not line.startswith(b'{"type":"OutcomeMeasured"')]
        assert (log.root / f"{topic}.jsonl").read_bytes() == b"".join(kept)
    assert log.started_at == EVENTS[0][1].observed_at


def test_the_fills_of_a_log_of_decisions_are_read_where_a_journals_are(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    feed(log)
    log.close()
    fills = [event for _, event in EVENTS if isinstance(event, OrderFilled)]
    assert fills
    assert list(RunDir(tmp_path).events(JOURNAL, OrderFilled)) == fills
    assert list(RunDir(tmp_path).events(JOURNAL, ClockTicked)) == []


def test_no_log_counts_and_leaves_no_file(tmp_path: Path) -> None:
    log = NoLog()
    feed(log)
    assert log.close() == ""
    assert log.counts[OrderRequested] == (GOLDEN / "orders.jsonl").read_bytes().count(b'"type":"OrderRequested"')
    assert log.counts.total() == len(EVENTS)
    assert log.started_at == EVENTS[0][1].observed_at


def test_a_folder_tells_what_its_log_holds(tmp_path: Path) -> None:
    for kept in ("full", "decisions", "none"):
        log = open_log(tmp_path / kept, kept)
        log.close()
        assert RunDir(tmp_path / kept).kept() == kept
    (tmp_path / "full" / "log" / "journal.jsonl").unlink()
    assert RunDir(tmp_path / "full").kept() == "full", "a journal that was lost is not one that was left out"
