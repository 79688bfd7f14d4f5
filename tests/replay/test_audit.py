"""The audit names the first difference, whatever the blocks in which it compares, and before whatever ends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.portfolio import Portfolio
from cli.books import load_book
from replay import audit as audit_module
from replay.audit import audit
from replay.sources import open_archive
from schemas.base import Event
from schemas.errors import DivergedError, QuorumError
from schemas.execution import OrderFilled

SESSION = Path(__file__).parents[1] / "golden" / "session"
BOOK = load_book(SESSION / "book.yaml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden session, to be tampered with."""
    return Path(shutil.copytree(SESSION, tmp_path / "session"))


def lines_of(run: Path, topic: str) -> list[bytes]:
    return (run / "log" / f"{topic}.jsonl").read_bytes().splitlines(keepends=True)


def spoil(run: Path, topic: str, at: int) -> None:
    """Change a digit of a line's time."""
    lines = lines_of(run, topic)
    lines[at] = lines[at].replace(b'"seq":', b'"seq":1', 1)
    (run / "log" / f"{topic}.jsonl").write_bytes(b"".join(lines))


def said(run: Path) -> str:
    """Give how the audit ends."""
    with pytest.raises(QuorumError) as ended:
        audit(run, open_archive(run / "archive", BOOK).frames(), BOOK)
    return str(ended.value)


@pytest.mark.parametrize(
    "spoiled",
    [
        (("portfolio", 0),),
        (("signals", 17),),
        (("verdict-requests", -1),),
        (("orders", 3), ("proposals", 5)),
        (("proposals", 1), ("orders", 9)),
        (("portfolio", -1), ("signals", -1), ("risk-decisions", 4)),
    ],
    ids=str,
)
def test_the_first_difference_is_named_whatever_the_blocks(
    spoiled: tuple[tuple[str, int], ...], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic, at in spoiled:
        spoil(copy, topic, at)
    monkeypatch.setattr(audit_module, "BLOCK_EVENTS", 1)
    one_by_one = said(copy)
    assert one_by_one.startswith(tuple(f"{topic}.jsonl differs" for topic, _ in spoiled))
    for block_events in (2, 7, 4096):
        monkeypatch.setattr(audit_module, "BLOCK_EVENTS", block_events)
        assert said(copy) == one_by_one


def test_a_difference_in_an_early_block_is_named_though_later_blocks_are_equal(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "BLOCK_EVENTS", 16)
    (copy / "log" / "orders.jsonl").write_bytes(b"".join([*lines_of(copy, "orders"), b"{}\n"]))
    assert said(copy).startswith("orders.jsonl holds an event that the journal")


def test_a_last_line_without_its_end_is_equal(copy: Path) -> None:
    path = copy / "log" / "portfolio.jsonl"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    audited = audit(copy, open_archive(copy / "archive", BOOK).frames(), BOOK)
    assert audited.derived_events == 234


def test_a_difference_comes_before_the_agent_that_fails_after_it(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_order_filled(_: Portfolio, fill: OrderFilled) -> Iterator[Event]:
        raise ZeroDivisionError(fill.id)

    monkeypatch.setattr(Portfolio, "on_order_filled", on_order_filled)
    assert "agent portfolio failed" in said(copy)
    spoil(copy, "proposals", 0)
    assert said(copy).startswith("proposals.jsonl differs")


def test_a_difference_comes_before_the_archives_early_end(copy: Path) -> None:
    bars = copy / "archive" / "bars" / "bars.jsonl"
    bars.write_bytes(b"".join(bars.read_bytes().splitlines(keepends=True)[:-20]))
    assert "the archive ends" in said(copy)
    spoil(copy, "signals", 0)
    with pytest.raises(DivergedError, match=r"signals\.jsonl differs"):
        audit(copy, open_archive(copy / "archive", BOOK).frames(), BOOK)
