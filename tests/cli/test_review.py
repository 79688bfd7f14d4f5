"""Which flagged texts a person is shown, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

from cli.review import described
from schemas.codec import encode
from schemas.decisions import NewsDiscarded, NewsFlagged, NewsVetted
from tests.agents.builders import at
from tests.cli.commands import quorum, refusal
from tests.streams.test_overview import event


def flagged(text: str, **fields: object) -> NewsFlagged:
    given = {"cause": text, "source": "wire", "reason": "injection", "claim": "override", "excerpt": "Ignore all"}
    made = event(NewsFlagged, 5, **(given | {"expires_at": at(60)} | fields))
    assert isinstance(made, NewsFlagged)
    return made


def test_a_text_is_described_by_what_a_person_must_know_and_steers_no_terminal() -> None:
    line = described(flagged("t1", excerpt="Ignore \x1b[2J all", source="wi\u200bre"))
    assert line == "t1  2024-01-01 00:05:00  wi\\u200bre  injection (override)  Ignore \\x1b[2J all"


def test_what_a_replay_left_undecided_is_listed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    events = [
        flagged("t1"),
        flagged("t2"),
        flagged("t3"),
        event(NewsVetted, 6, text="t1"),
        event(NewsDiscarded, 7, text="t2"),
        flagged("t4", expires_at=0),
    ]
    (log / "signals.jsonl").write_bytes(b"".join(encode(each) + b"\n" for each in events))
    listed = quorum("review", "list", "--run", tmp_path)
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["t3"]
    (log / "signals.jsonl").write_bytes(b"")
    assert "no text of" in quorum("review", "list", "--run", tmp_path).out


def test_a_book_or_a_run_must_be_named(tmp_path: Path) -> None:
    assert refusal("review", "list").startswith("which book?")
    assert "holds no log/ folder" in refusal("review", "list", "--run", tmp_path)
