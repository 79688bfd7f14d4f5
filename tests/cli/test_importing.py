"""`quorum import`: what it prints, what it writes and how it ends."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from cli import importing
from connectors.importers.report import Report
from schemas.errors import ArchiveError, BookError
from tests.connectors.importers.files import bar_lines, contents, rows, text_file

LATER = 1_500_000_600
GUIDE = (Path(__file__).parents[2] / "docs" / "importing.md").read_text().replace("\\\n", "")
COMMANDS = [line.strip() for line in GUIDE.splitlines() if line.startswith("    quorum import ") and "$DATA" in line]


def run(*args: str | Path) -> Result:
    app = typer.Typer(rich_markup_mode=None)
    importing.register(app)
    return CliRunner().invoke(app, [str(arg) for arg in args])


def bars(path: Path, *options: str) -> Result:
    return run("bars", path, "--into", path.parent / "archive", "--instrument", "BTC/USD@test", *options)


def shown(result: Result) -> str:
    """Give what was printed, without the table's lines and breaks."""
    return " ".join(result.stdout.replace("│", " ").split())


def test_a_good_file_is_reported_and_lies_in_the_archive(tmp_path: Path) -> None:
    result = bars(text_file(tmp_path / "b.csv", bar_lines(0, 1, 5)))
    assert result.exit_code == 0
    assert "3 read, 3 kept, 0 dropped" in shown(result)
    assert "3 bars of 60 s missing in 1 holes" in shown(result)
    assert len(rows(tmp_path / "archive", "bars")) == 3


def test_twice_the_same_command_is_once(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv.gz", bar_lines(0, 1, 5))
    bars(path)
    once = contents(tmp_path / "archive")
    assert bars(path).exit_code == 0
    assert contents(tmp_path / "archive") == once


def test_json_is_one_report_a_line(tmp_path: Path) -> None:
    result = bars(text_file(tmp_path / "b.csv", bar_lines(0, 1) + f"{LATER},nan,1,1,1,1\n"), "--json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    report = msgspec.json.decode(line, type=Report)
    assert (report.rows_read, report.rows_kept, report.rows_dropped) == (3, 2, 1)
    assert json.loads(line)["dropped"]["open is not a price between 1e-18 and 1e12"]["example"] == "row 3: open nan"


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    result = bars(text_file(tmp_path / "b.csv", bar_lines(0, 1)), "--check")
    assert (result.exit_code, (tmp_path / "archive").exists()) == (0, False)
    assert "checked only: nothing was written" in shown(result)


def test_strict_fails_where_a_row_was_dropped_and_writes_nothing(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1) + f"{LATER},nan,1,1,1,1\n")
    result = bars(path, "--strict")
    assert (result.exit_code, (tmp_path / "archive").exists()) == (1, False)
    assert "1: open is not a price between 1e-18 and 1e12 (row 3: open nan)" in shown(result)
    assert bars(path).exit_code == 0


def test_a_window_without_rows_is_no_error_but_a_file_without_good_ones_is(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1))
    outside = bars(path, "--from", "2018-01-01")
    assert outside.exit_code == 0
    assert "0 dropped, 2 outside the time asked for" in shown(outside)
    assert "nothing of this source was written" in shown(outside)
    bad = bars(text_file(tmp_path / "c.csv", f"{bar_lines()}{LATER},nan,1,1,1,1\n"), "--interval", "1m")
    assert isinstance(bad.exception, ArchiveError)
    assert "no row that could be kept" in str(bad.exception)
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--map", "close"], "--map close: write OURS=THEIRS"),
        (["--clock-skew", "fast"], "--clock-skew fast: write auto, none or whole milliseconds"),
        (["--interval", "minute"], "--interval minute: write a number and s, m, h or d"),
        (["--interval", "99999999d"], "a bar is no longer than 366 days"),
        (["--from", "yesterday"], "'yesterday' is not a day or time"),
        (["--tz", "Mars/Olympus", "--time-unit", "iso"], "no such zone"),
        (["--key", "BTC"], "--key means nothing for bars"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path, options: list[str], told: str) -> None:
    lines = bar_lines(0, 1).replace("1500000000", "2017-07-14T02:40").replace("1500000060", "2017-07-14T02:41")
    result = bars(text_file(tmp_path / "b.csv", lines), *options)
    assert isinstance(result.exception, ArchiveError | BookError)
    assert result.exception.exit_code == 2
    assert told in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "archive").exists()


def test_the_command_itself_ends_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from cli.main import run; run()", "import", "bars", "no.csv", "--into", "a"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "quorum: no.csv: there is no such file\n"


def test_text_of_a_file_neither_styles_nor_steers_the_terminal(tmp_path: Path) -> None:
    lines = '{"ts":"2017-03-01","id":"1","text":"good"}\n[bold]\x1b[2J\u202e\n'
    path = text_file(tmp_path / "t.jsonl", lines)
    result = run("tweets", path, "--into", tmp_path / "archive", "--key", "BTC", "--source", "s")
    assert result.exit_code == 0
    assert "row 2: [bold]\\x1b[2J\\u202e" in shown(result)


def test_several_files_of_texts_go_in_at_once_and_one_that_fails_leaves_those_before(tmp_path: Path) -> None:
    good = text_file(tmp_path / "a.jsonl", '{"ts":"2017-03-01","id":"1","text":"good"}\n')
    bad = text_file(tmp_path / "b.jsonl", "")
    result = run("tweets", good, bad, "--into", tmp_path / "archive", "--key", "BTC", "--source", "s")
    assert isinstance(result.exception, ArchiveError)
    assert [row["text"] for row in rows(tmp_path / "archive", "tweets")] == ["good"]


def test_help_shows_commands_to_copy() -> None:
    result = run("--help")
    for command in ("quorum import bars", "quorum import ticks", "quorum import tweets", "quorum import news"):
        assert f"    {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_guide_do_what_they_say(
    shared_data: Callable[[str], Path], tmp_path: Path, command: str
) -> None:
    words = shlex.split(command)[2:]
    named = [str(shared_data(word.removeprefix("$DATA/"))) if word.startswith("$DATA/") else word for word in words]
    named[named.index("--into") + 1] = str(tmp_path / "archive")
    result = run(*named, "--json", "--check")
    assert result.exit_code == 0, result.exception
    reports = [msgspec.json.decode(line, type=Report) for line in result.stdout.splitlines()]
    assert all(report.rows_kept + report.rows_outside + report.rows_dropped == report.rows_read for report in reports)
    assert all(report.rows_kept > 0.99 * (report.rows_read - report.rows_outside) for report in reports)


def test_the_guide_shows_every_kind() -> None:
    assert {command.split()[2] for command in COMMANDS} == {"bars", "ticks", "tweets", "news"}
