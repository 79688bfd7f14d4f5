"""`quorum audit`: a run is proved from its own log, and the first difference is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import EXAMPLES, SESSION, quorum, refusal


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden session, to be tampered with."""
    return Path(shutil.copytree(SESSION, tmp_path / "session"))


def test_the_golden_session_is_proved(copy: Path) -> None:
    ended = quorum("audit", copy, "--archive", copy / "archive")
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(
        rf"{copy}: \d+ derived events rebuilt from 228 market events and \d+ journal entries, every byte equal\n",
        ended.out,
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("orders.jsonl", '"quantity":"', '"quantity":"9', r"orders\.jsonl differs at journal entry \d+"),
        ("journal.jsonl", '"action":"BUY"', '"action":"SELL"', r"signals\.jsonl differs at journal entry \d+"),
        ("signals.jsonl", '{"type"', '{ "type"', r"signals\.jsonl differs at journal entry \d+"),
    ],
)
def test_a_tampered_log_exits_1_and_names_the_first_difference(
    file: str, old: str, new: str, says: str, copy: Path
) -> None:
    path = copy / "log" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    ended = quorum("audit", copy, "--archive", copy / "archive")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert re.match(f"quorum: {says}", ended.err)


def test_another_archive_than_the_one_replayed_exits_1(tmp_path: Path) -> None:
    book = EXAMPLES / "btc.yaml"
    assert quorum("replay", book, "--to", "2024-01-03", "--out", tmp_path / "run", "--no-report").code == 0
    shorter = tmp_path / "archive"
    for day in ("01",):
        part = Path("bars/year=2024/month=01") / f"day={day}"
        shutil.copytree(EXAMPLES / "archive" / part, shorter / part)
    ended = quorum("audit", tmp_path / "run", "--archive", shorter)
    assert ended.code == 1
    assert "it is not the one that was replayed" in ended.err


def test_what_is_no_run_or_no_archive_is_refused(copy: Path, tmp_path: Path) -> None:
    archive = copy / "archive"
    assert "none: is not the folder of a run" in refusal("audit", tmp_path / "none", "--archive", archive)
    assert "archive: is not the folder of a run" in refusal("audit", archive, "--archive", archive)
    assert "none: there is no such archive" in refusal("audit", copy, "--archive", tmp_path / "none")


def test_a_log_that_lacks_a_file_or_holds_what_cannot_be_read_is_refused(copy: Path) -> None:
    args = ("audit", copy, "--archive", copy / "archive")
    journal = copy / "log" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    assert refusal(*args).startswith(f"{journal}:{len(whole.splitlines())}: ")
    journal.write_bytes(whole)
    (copy / "log" / "orders.jsonl").unlink()
    assert "orders.jsonl: missing" in refusal(*args)
    (copy / "log" / "orders.jsonl").touch()
    journal.unlink()
    assert "journal.jsonl: cannot be read" in refusal(*args)
    (copy / "book.json").write_text("{")
    assert refusal(*args).startswith(f"{copy / 'book.json'}: not YAML")
