"""`quorum sweep`: what it writes, and how it refuses what it cannot run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cli.sweep import parse_vary
from schemas.errors import BookError
from tests.cli.commands import EXAMPLES, quorum, refusal

DAY = ("--to", "2024-01-02")


def test_it_leaves_a_table_and_a_page_and_says_where(tmp_path: Path) -> None:
    varied = ("--vary", "risk.order_pct=5:15:5", "--vary", "strategy.mode=consensus,advisory")
    ended = quorum("sweep", EXAMPLES / "btc.yaml", *varied, *DAY, "--out", tmp_path, "--workers", "1")
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f"{tmp_path / 'sweep.html'}\n")
    with (tmp_path / "sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["risk.order_pct"], row["strategy.mode"]) for row in rows] == [
        (size, mode) for size in ("5", "10", "15") for mode in ("consensus", "advisory")
    ]
    assert all(float(row["end_equity"]) > 0 and not row["failure"] for row in rows)
    page = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert '"type":"heatmap"' in page
    assert "6 settings" in page


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=1:3:1", [1, 2, 3]),
        ("a=0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("a=3:1:-1", [3, 2, 1]),
        ("a=1:2:5", [1]),
        ("a=x,true,2,2.5", ["x", True, 2, 2.5]),
    ],
)
def test_ranges_take_both_ends_and_lists_their_words(text: str, values: list[object]) -> None:
    place, found = parse_vary(text)
    assert (place, list(found)) == (text.partition("=")[0], values)


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=1", "a=1:2", "a=1:2:0", "a=1:x:1", "a=1:2:nan", "a=2:1:1", "a=0:1:1e-9"]
)
def test_what_cannot_be_varied_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(BookError, match="--vary"):
        parse_vary(text)


def test_a_setting_that_the_book_cannot_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = refusal("sweep", EXAMPLES / "btc.yaml", "--vary", "risk.order_pct=-1:1:1", *DAY, "--out", out)
    assert "(with risk.order_pct -1)" in told
    assert not out.exists()
