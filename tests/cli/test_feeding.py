from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import refusal

TWO = """feeds:
  a: {kind: exchange, exchange: kraken, symbols: [BTC/USD]}
  b: {kind: exchange, exchange: nowhere, symbols: [X]}
"""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("worker", "feed", "a"), "name one feed and the file that says what it is"),
        (("worker", "feed", "a", "b", "--feeds", "{}"), "name one feed and the file that says what it is"),
        (("worker", "feed", "c", "--feeds", "{}"), "has no feed c; there are a, b"),
        (("worker", "feed", "b", "--feeds", "{}"), "exchange nowhere: ccxt knows none of this id"),
        (("worker", "feed", "a", "--feeds", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("worker", "desk", "examples/btc.yaml", "--feeds", "{}"), "--feeds is for a feed: "),
    ],
)
def test_a_feed_that_cannot_be_run_is_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    path = tmp_path / "feeds.yaml"
    path.write_text(TWO, encoding="utf-8")
    assert sentence in refusal(*(each.format(path) for each in arguments))
