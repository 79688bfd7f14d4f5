"""The run whose audit is timed is a whole one: every line of its log is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.audit import BOOKS, quickest
from benchmarks.market import write_market
from benchmarks.quorum_ema import archived, replayed
from replay.cassette import RecordedVerdicts
from replay.sources import open_archive
from schemas.errors import DivergedError

BARS = 3_000


def test_the_audit_that_is_timed_compares_every_line(tmp_path: Path) -> None:
    market = tmp_path / "market.parquet"
    write_market(market, BARS, seed=1)
    archive, book = archived(market), BOOKS["loud"]
    lines = replayed(book, open_archive(archive, book).frames(), tmp_path / "run", RecordedVerdicts()).log_events
    audited, lap = quickest(tmp_path / "run", archive, book, repeat=2)
    assert lap.cpu_s > 0
    assert (audited.market_events, audited.journal_entries + audited.derived_events) == (BARS, lines)
    orders = tmp_path / "run" / "log" / "orders.jsonl"
    orders.write_bytes(orders.read_bytes().replace(b'"buy"', b'"sell"', 1))
    with pytest.raises(DivergedError, match=r"orders\.jsonl differs"):
        quickest(tmp_path / "run", archive, book, repeat=1)
