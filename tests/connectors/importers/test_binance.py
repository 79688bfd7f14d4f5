"""Recordings of Binance's streams: trades and quotes of one symbol, the rest counted, damage survived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.errors import ArchiveError
from tests.connectors.importers.files import TICKS, imported, rows, text_file

MS = 1_723_161_256_361


def line(stream: str, received_ms: int = MS, **data: Any) -> str:
    return f"{received_ms * 10**6} {json.dumps({'stream': stream, 'data': data})}\n"


def trade(number: int, *, symbol: str = "BTCUSDT", received_ms: int = MS, **other: Any) -> str:
    data: dict[str, Any] = {"s": symbol, "t": number, "p": "60000.5", "q": "0.25", "m": True, "T": MS} | other
    return line("btcusdt@trade", received_ms, **data)


def quote(number: int, **other: Any) -> str:
    data: dict[str, Any] = {"s": "BTCUSDT", "u": number, "b": "60000", "B": "1", "a": "60001", "A": "2"} | other
    return line("btcusdt@bookTicker", **data)


def test_trades_and_quotes_of_a_recording(tmp_path: Path) -> None:
    content = trade(1) + quote(7, T=MS) + line("btcusdt@depth@0ms") + trade(2, m=False)
    reports = imported(text_file(tmp_path / "r.raw.gz", content), TICKS)
    assert [(report.kind, report.rows_read, report.rows_kept) for report in reports] == [
        ("trades", 2, 2),
        ("quotes", 1, 1),
    ]
    sold, bought = rows(tmp_path / "archive", "trades")
    assert (sold["number"], sold["price"], sold["size"], sold["side"]) == (1, 60000.5, 0.25, -1)
    assert (bought["side"], bought["occurred_at"]) == (1, MS * 10**6)
    (book,) = rows(tmp_path / "archive", "quotes")
    assert (book["bid"], book["ask"], book["bid_size"], book["ask_size"]) == (60000.0, 60001.0, 1.0, 2.0)
    assert "1 messages of another stream left aside: btcusdt@depth@0ms" in reports[0].notes


def test_spot_quotes_occur_when_they_are_received(tmp_path: Path) -> None:
    _, report = imported(text_file(tmp_path / "r.raw", trade(1, received_ms=MS - 100) + quote(7)), TICKS)
    (book,) = rows(tmp_path / "archive", "quotes")
    assert book["occurred_at"] == book["observed_at"] == (MS + 100) * 10**6  # moved by the skew that the trade shows
    assert report.clock_skew_ms == 100


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    bad = [
        "1723161256361000000 {cut off",
        "soon {}",
        f"{'9' * 30} {trade(3).split(' ', 1)[1].strip()}",
        trade(2**70).strip(),
        trade(4, T=2**62).strip(),
        trade(5, T=-1).strip(),
    ]
    reports = imported(text_file(tmp_path / "r.raw", trade(1) + "\n".join(bad) + "\n\x1b\xff\n" + trade(6)), TICKS)
    assert [row["number"] for row in rows(tmp_path / "archive", "trades")] == [1, 6]
    (dropped,) = reports[0].dropped.values()
    assert (dropped.rows, reports[0].rows_read, reports[0].rows_kept) == (7, 9, 2)


def test_prices_that_cannot_be_are_dropped(tmp_path: Path) -> None:
    content = trade(1) + trade(2, p="NaN") + trade(3, q="-1") + trade(4, p="x") + quote(1, T=MS, b="60002")
    content += quote(2, T=MS)
    trades, quotes = imported(text_file(tmp_path / "r.raw", content), TICKS)
    assert (trades.rows_kept, trades.rows_dropped) == (1, 3)
    assert [dropped.example for dropped in quotes.dropped.values()] == ["row 5: bid 60002.0"]


def test_of_several_symbols_one_must_be_named(tmp_path: Path) -> None:
    path = text_file(tmp_path / "r.raw", trade(1) + trade(9, symbol="ETHUSDT"))
    with pytest.raises(ArchiveError, match="holds BTCUSDT, ETHUSDT; say which with --symbol"):
        imported(path, TICKS)
    imported(path, msgspec.structs.replace(TICKS, symbol="ETHUSDT"))
    assert [row["number"] for row in rows(tmp_path / "archive", "trades")] == [9]


def test_a_cut_off_recording_is_refused(tmp_path: Path) -> None:
    path = text_file(tmp_path / "r.raw.gz", "".join(trade(number) for number in range(1_000)))
    text_file(tmp_path / "cut.raw", path.read_bytes()[:-20]).rename(tmp_path / "cut.raw.gz")
    with pytest.raises(ArchiveError, match="cannot be read"):
        imported(tmp_path / "cut.raw.gz", TICKS)
    assert not (tmp_path / "archive").exists()
