"""The golden session replays to the very bytes of its log, passes its audit, and fails it once touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from cli.books import load_book
from replay.audit import audit
from replay.run import Run, Settings
from replay.sources import open_archive
from schemas.errors import ArchiveError, DivergedError

SESSION = Path(__file__).parents[1] / "golden" / "session"
Lines = list[bytes]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden session, to be tampered with."""
    return Path(shutil.copytree(SESSION, tmp_path / "session"))


def test_the_golden_session_replays_to_its_bytes(tmp_path: Path) -> None:
    settings = Settings(archive=SESSION / "archive", out=tmp_path, report=False)
    summary = Run(load_book(SESSION / "book.yaml"), settings).run(lambda _: None)
    for recorded in sorted((SESSION / "log").iterdir()):
        assert (tmp_path / "log" / recorded.name).read_bytes() == recorded.read_bytes(), recorded.name
    assert summary.log_sha256 == sha256((SESSION / "log" / "SHA256SUMS").read_bytes()).hexdigest()


def test_the_golden_session_passes_its_audit() -> None:
    audited = _audit(SESSION)
    assert audited == (173, 228, 234)


def _audit(run: Path) -> tuple[int, int, int]:
    book = load_book(run / "book.json")
    audited = audit(run, open_archive(run / "archive", book).frames(), book)
    return audited.journal_entries, audited.market_events, audited.derived_events


def _replace(old: bytes, new: bytes) -> Callable[[Lines], None]:
    def tamper(lines: Lines) -> None:
        at = next(i for i, line in enumerate(lines) if old in line)
        lines[at] = lines[at].replace(old, new, 1)

    return tamper


def _drop_first(kind: bytes) -> Callable[[Lines], None]:
    return lambda lines: lines.remove(next(line for line in lines if b'"type":"%b"' % kind in line))


@pytest.mark.parametrize(
    ("file", "tamper", "says"),
    [
        ("log/journal.jsonl", _replace(b'"type":"OrderFilled"', b'"type":"OrderFilled"'), ""),
        ("log/journal.jsonl", _replace(b'"price":"', b'"price":"1'), "portfolio.jsonl differs at journal entry"),
        ("log/journal.jsonl", _replace(b'"action":"BUY"', b'"action":"SELL"'), "signals.jsonl differs"),
        ("log/journal.jsonl", _drop_first(b"OrderFilled"), "differs"),
        ("log/journal.jsonl", _drop_first(b"ClockTicked"), "differs"),
        ("log/journal.jsonl", lambda lines: lines.insert(3, lines.pop(9)), "follows"),
        ("log/orders.jsonl", _replace(b'"quantity":"', b'"quantity":"9'), "orders.jsonl differs"),
        ("log/risk-decisions.jsonl", lambda lines: lines.pop(), "rebuilt"),
        ("log/portfolio.jsonl", lambda lines: lines.append(lines[-1]), "does not lead to"),
        ("archive/bars/bars.jsonl", _replace(b'"high": 30', b'"high": 31'), "differs"),
        ("archive/bars/bars.jsonl", lambda lines: lines.pop(30), "differs"),
    ],
)
def test_a_touched_session_diverges_and_the_audit_says_where(
    copy: Path, file: str, tamper: Callable[[Lines], None], says: str
) -> None:
    path = copy / file
    lines = path.read_bytes().splitlines(keepends=True)
    tamper(lines)
    path.write_bytes(b"".join(lines))
    if not says:
        assert _audit(copy) == _audit(SESSION)
        return
    with pytest.raises(DivergedError, match=says):
        _audit(copy)


def test_a_journal_entry_that_cannot_be_true_is_refused(copy: Path) -> None:
    path = copy / "log" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"confidence":0', b'"confidence":7', 1))
    with pytest.raises(ArchiveError, match=r"journal\.jsonl:\d+: VerdictGiven\.confidence"):
        _audit(copy)
