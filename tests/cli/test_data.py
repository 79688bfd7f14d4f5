"""`quorum data check` and `quorum data show`: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.archive import write
from tests.cli.commands import EXAMPLES, quorum, refusal
from tests.replay.archives import BTC, archive, bar, table, tweet

HOSTILE = "<script>alert(1)</script>[red]@x"


def holed(root: Path, key: str = BTC) -> Path:
    return archive(root, bars=[bar(key, minute, close=100 + minute % 3) for minute in range(600) if minute != 70])


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_a_check_prints_a_table_and_fails_only_if_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    ended = quorum("data", "check", holed(tmp_path))
    assert ended.code == 0
    assert "gaps: 1 bars of 60 s missing in 1 holes" in words(ended.out)
    assert "Rousseeuw and Croux, 1993" in ended.out
    assert ended.out.endswith("Something is wrong.\n")
    assert quorum("data", "check", tmp_path, "--strict").code == 1


def test_a_clean_archive_passes_a_strict_check() -> None:
    ended = quorum("data", "check", EXAMPLES / "archive", "--strict")
    assert ended.code == 0
    assert ended.out.endswith("Nothing is wrong.\n")


def test_a_check_gives_json(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", [bar(minute=5, close=99.0)]), "other")
    found = json.loads(quorum("data", "check", holed(tmp_path), "--json").out)
    assert {series["rows"] for series in found["series"]} == {1, 599}
    assert found["overlaps"][0]["differing"] == 1


def test_names_in_an_archive_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    holed(tmp_path, HOSTILE)
    assert HOSTILE in quorum("data", "check", tmp_path).out
    assert HOSTILE in quorum("data", "show", tmp_path).out
    assert quorum("data", "show", tmp_path, "--html", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[red]@x bars 1m" in page


def test_the_map_shows_a_line_a_series_and_the_hole_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    archive(holed(tmp_path), tweets=[tweet("a"), tweet("b")])
    tweets, bars, axis, legend = quorum("data", "show", tmp_path).out.splitlines()
    assert bars == f"{BTC} bars 1m ████▓▓▓▓{'████' * 8} 599"
    assert tweets.split()[:2] == ["BTC", "tweets"]
    assert set(tweets.split()[2]) == {"█", "·"}
    assert axis.split()[:2] == ["07-14", "00h"]
    assert legend.startswith("a cell is 1 hour, UTC:")


@pytest.mark.parametrize(("width", "days"), [("60", "a cell is"), ("300", "a cell is")])
def test_no_line_is_longer_than_the_terminal(
    width: str, days: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    archive(tmp_path, bars=[bar(day=day) for day in range(400)])
    out = quorum("data", "show", tmp_path).out
    assert max(map(len, out.splitlines())) <= int(width)
    assert days in out


def test_a_page_works_offline_and_names_every_series(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ended = quorum("data", "show", EXAMPLES / "archive", "--html", page)
    assert ended.out == f"{page}: 6 series\n"
    text = page.read_text()
    assert "default-src &#39;none&#39;" in text
    assert all(f"{key}/USD@synthetic bars 1m" in text for key in ("BTC", "ETH"))
    assert "100.00 %" in text


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    assert "holds no file of an archive" in refusal("data", "check", tmp_path)
    assert "holds no file of an archive" in refusal("data", "show", tmp_path / "none")
    assert "cannot be written" in refusal("data", "show", EXAMPLES / "archive", "--html", tmp_path / "no" / "page.html")
