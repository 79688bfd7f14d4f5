"""Bars, trades and quotes of plain tables: columns found and mapped, times and sides read, impossible rows dropped."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.checks import check
from schemas.errors import ArchiveError
from schemas.market import BarClosed
from tests.connectors.importers.files import BARS, MINUTE, START, START_S, TICKS, bar_lines, imported, rows, text_file

HEADER = "ts,open,high,low,close,volume\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("nan,12,9,11,5", "open is not a price between 1e-18 and 1e12"),
        ("10,inf,9,11,5", "high is missing or cannot be read"),
        ("10,12,0,11,5", "low is not a price between 1e-18 and 1e12"),
        ("10,12,-9,11,5", "low is not a price between 1e-18 and 1e12"),
        ("10,9,12,11,5", "high is below low"),
        ("13,12,9,11,5", "open lies outside low to high"),
        ("10,12,9,8,5", "close lies outside low to high"),
        ("10,12,9,11,-1", "volume is not a size between 0 and 1e18"),
        ("10,12,9,,5", "close is missing or cannot be read"),
        ("10,12,9,up,5", "close is missing or cannot be read"),
    ],
)
def test_a_bar_that_cannot_be_is_dropped_under_its_reason_with_an_example(
    tmp_path: Path, bad: str, reason: str
) -> None:
    path = text_file(
        tmp_path / "b.csv", bar_lines(0, 1) + f"{START_S + 120},{bad}\n" + f"{START_S + 180},10,12,9,11,0\n"
    )
    (report,) = imported(path, BARS)
    assert list(report.dropped) == [reason]
    assert report.dropped[reason].example.startswith("row 3: ")
    assert len(rows(tmp_path / "archive", "bars")) == report.rows_kept == 3


def test_order_doubles_and_gaps_are_counted(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 2, 1, 1, 9) + f"{START_S},10,13,9,11,5\n")
    (report,) = imported(path, BARS)
    assert [row["number"] for row in rows(tmp_path / "archive", "bars")] == [START + at * MINUTE for at in (0, 1, 2, 9)]
    assert report.out_of_order == 3
    assert {reason: dropped.rows for reason, dropped in report.dropped.items()} == {
        "an exact double of an earlier row": 1,
        "the id of an earlier row with other values: the first is kept": 1,
    }
    assert report.gaps is not None
    assert (report.gaps.holes, report.gaps.missing, report.gaps.longest) == (1, 6, 6)


def test_outliers_are_counted_and_kept(tmp_path: Path) -> None:
    closes = [100 + 0.1 * (minute % 2) for minute in range(50)]
    closes[30] = 150
    lines = "".join(f"{START_S + 60 * m},{c},{c},{c},{c},1\n" for m, c in enumerate(closes))
    (report,) = imported(text_file(tmp_path / "b.csv", HEADER + lines), BARS)
    assert report.rows_kept == 50
    assert report.outliers is not None
    assert (report.outliers.rows, report.outliers.largest_pct) == (2, 49.85)


@given(
    st.lists(
        st.lists(st.sampled_from(["1", "2", "3", "nan", "", "x", "-1", "1e400"]), min_size=5, max_size=5), min_size=2
    )
)
def test_what_is_kept_passes_the_checks_and_the_rest_is_counted(
    tmp_path_factory: pytest.TempPathFactory, values: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    lines = "".join(f"{START_S + 60 * row},{','.join(each)}\n" for row, each in enumerate(values))
    (report,) = imported(text_file(folder / "b.csv", HEADER + lines), BARS)
    held = rows(folder / "archive", "bars")
    for row in held:
        del row["number"]
        check(msgspec.convert(row | {"id": "x"}, BarClosed))
    assert (report.rows_read, report.rows_kept) == (len(values), len(held))
    assert report.rows_dropped == len(values) - len(held)


def test_columns_of_other_names_are_mapped_and_a_bar_may_be_timed_by_its_close(tmp_path: Path) -> None:
    content = "Closed;O;H;L;Zu;Vol\n14.07.;1;1;1;1;1\n2017-07-14 04:40:00;10;12;9;11;5\n"
    settings = msgspec.structs.replace(
        BARS, mapping={"ts": "Closed", "close": "Zu"}, time_is="close", interval_ns=MINUTE, tz="Europe/Paris"
    )
    imported(text_file(tmp_path / "b.csv", content), settings)
    (bar,) = rows(tmp_path / "archive", "bars")
    assert (bar["number"], bar["occurred_at"], bar["close"]) == (START - MINUTE, START, 11.0)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", "ts,open,high,low,volume\n1,1,1,1,1\n")
    with pytest.raises(
        ArchiveError, match="no column of bars for close in ts, open, high, low, volume; name it with --map"
    ):
        imported(path, BARS)
    with pytest.raises(ArchiveError, match=r"no column .* \\x1b\[2J"):
        imported(text_file(tmp_path / "c.csv", "\x1b[2J\n1\n"), BARS)


def test_the_length_of_bars_must_show_or_be_said(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="one bar does not show how long it is; say --interval"):
        imported(text_file(tmp_path / "b.csv", bar_lines(0)), BARS)


def test_trades_take_side_and_number_from_the_file(tmp_path: Path) -> None:
    content = "trade_id,time,price,qty,is_buyer_maker\n7,1500000000000,10,1,true\n8,1500000000001,11,2,false\n"
    (report,) = imported(text_file(tmp_path / "t.csv", content), TICKS)
    assert [(row["number"], row["side"]) for row in rows(tmp_path / "archive", "trades")] == [(7, -1), (8, 1)]
    assert report.gaps is not None


def test_trades_without_ids_are_all_kept_and_numbered_by_time(tmp_path: Path) -> None:
    content = "ts,price,size,side\n" + "1500000000,10,1,buy\n" * 3 + "1500000001,10,1,up\n"
    (report,) = imported(text_file(tmp_path / "t.csv", content), TICKS)
    held = rows(tmp_path / "archive", "trades")
    assert [row["number"] - START for row in held] == [0, 1, 2, 10**9]
    assert "side: 1 rows say neither buy nor sell; it is unknown there" in report.notes


def test_quotes_are_told_by_their_columns_and_crossed_ones_dropped(tmp_path: Path) -> None:
    content = "ts,bid,ask,bid_size,ask_size\n1500000000,10,11,1,1\n1500000001,12,11,1,1\n1500000002,11,11,0,1\n"
    (report,) = imported(text_file(tmp_path / "q.csv", content), TICKS)
    assert len(rows(tmp_path / "archive", "quotes")) == 2
    assert report.dropped["bid is above ask: a crossed quote"].example == "row 2: bid 12.0"


def test_receive_times_are_kept_and_a_clock_behind_is_put_right(tmp_path: Path) -> None:
    lines = "".join(f"{START + at * 10**9},{START + at * 10**9 - 1_250_000_000},10,1\n" for at in range(20))
    path = text_file(tmp_path / "t.csv", "ts,recv_ns,price,size\n" + lines)
    (report,) = imported(path, TICKS)
    assert report.clock_skew_ms == 1_250
    assert all(row["observed_at"] == row["occurred_at"] for row in rows(tmp_path / "archive", "trades"))
    (report,) = imported(path, msgspec.structs.replace(TICKS, clock_skew_ms=0))
    assert report.dropped["observed_at lies more than 1 s before occurred_at"].rows == 20


def test_changes_of_depth_are_no_trades(tmp_path: Path) -> None:
    content = "recv_ns,event_ns,update_id,side,price,size\n1500000000000000000,1500000000000000000,1,bid,10,1\n"
    with pytest.raises(ArchiveError, match="changes of the depth of a book"):
        imported(text_file(tmp_path / "d.csv", content), TICKS)
