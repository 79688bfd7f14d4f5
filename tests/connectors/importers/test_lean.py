"""LEAN zips: New York time, prices in 1/10,000, what the source flags, and zips that are something else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from connectors.importers.settings import Settings
from schemas.errors import ArchiveError
from tests.connectors.importers.files import BARS, TICKS, imported, rows, text_file, zip_file

DAY = Path("equity/usa/tick/spy/20131007_trade.zip")
FUTURES = Path("future/cme/minute/es/20131007_trade.zip")


def test_trades_are_in_new_york_time_and_unscaled(tmp_path: Path) -> None:
    path = zip_file(tmp_path / DAY, spy="34200000,1674100,100,P,20002000,0\n34200000,1674200,7,Q,,0\n")
    (report,) = imported(path, TICKS, tmp_path / "a")
    first, second = rows(tmp_path / "a", "trades")
    assert first["occurred_at"] == first["observed_at"] == 1_381_152_600 * 10**9  # 13:30 UTC is 9:30 in summer time
    assert (first["price"], first["size"], first["side"]) == (167.41, 100.0, 0)
    assert second["number"] == first["number"] + 1
    assert report.keys == ["BTC/USD@test"]


def test_what_the_source_flags_is_dropped_and_counted_unless_asked_for(tmp_path: Path) -> None:
    path = zip_file(tmp_path / DAY, spy="1,1674100,100,P,0,0\n2,9674100,1,P,0,1\n3,1674100,1,P,0,0\n")
    (report,) = imported(path, TICKS, tmp_path / "a")
    (dropped,) = report.dropped.items()
    assert dropped[0].startswith("flagged as suspicious")
    assert (dropped[1].rows, dropped[1].example, report.rows_read, report.rows_kept) == (1, "row 2", 3, 2)
    (report,) = imported(path, msgspec.structs.replace(TICKS, keep_suspicious=True), tmp_path / "a")
    assert (report.rows_kept, len(rows(tmp_path / "a", "trades"))) == (3, 3)


def test_a_time_outside_the_day_or_missing_is_dropped(tmp_path: Path) -> None:
    path = zip_file(tmp_path / DAY, spy="1,1,1,P,0,0\n86400000,1,1,P,0,0\n-1,1,1,P,0,0\n,1,1,P,0,0\n")
    (report,) = imported(path, TICKS, tmp_path / "a")
    assert (report.rows_kept, report.rows_dropped) == (1, 3)


def test_each_contract_of_a_future_is_an_instrument(tmp_path: Path) -> None:
    path = zip_file(
        tmp_path / FUTURES,
        es_minute_trade_201312="0,1,2,1,2,9\n60000,2,2,2,2,1\n",
        es_minute_trade_201403="0,3,3,3,3,1\n",
    )
    settings = Settings(kind="bars", instrument="ES-{expiry}/USD@cme")
    reports = imported(path, settings, tmp_path / "a")
    assert [report.keys for report in reports] == [["ES-201312/USD@cme"], ["ES-201403/USD@cme"]]
    assert len(rows(tmp_path / "a", "bars")) == 3
    with pytest.raises(ArchiveError, match=r"holds the contracts 201312, 201403; name them with \{expiry\}"):
        imported(path, BARS, tmp_path / "a")


def test_of_bars_of_quotes_the_last_quote_counts_when_the_minute_is_over(tmp_path: Path) -> None:
    path = zip_file(
        tmp_path / "equity/usa/minute/spy/20131007_quote.zip",
        spy="34200000,1672700,1672700,1671500,1672500,300,1680000,1680000,1672600,1672700,200\n",
    )
    imported(path, TICKS, tmp_path / "a")
    (quote,) = rows(tmp_path / "a", "quotes")
    assert (quote["bid"], quote["ask"], quote["bid_size"], quote["ask_size"]) == (167.25, 167.27, 300.0, 200.0)
    assert quote["observed_at"] == quote["number"] + 60 * 10**9


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        (DAY, "34200000,1674100\n", "is not of the form ms,price,size"),
        (DAY, "x,1,1,P,0,0\n", "is not of the form"),
        (Path("elsewhere/20131007_trade.zip"), "1,1,1,P,0,0\n", "not a LEAN path"),
        (Path("equity/usa/hour/spy/20131007_trade.zip"), "1,1,1,P,0,0\n", "not a LEAN path"),
        (DAY.with_name("20131399_trade.zip"), "1,1,1,P,0,0\n", "20131399 is no day"),
        (DAY, None, "holds no CSV"),
        (FUTURES, "0,1,2,1,2,9\n", "holds bars, not ticks; import them as bars"),
    ],
)
def test_another_zip_is_refused_and_nothing_is_written(
    tmp_path: Path, path: Path, content: str | None, told: str
) -> None:
    members = {} if content is None else {"spy": content}
    with pytest.raises(ArchiveError, match=told):
        imported(zip_file(tmp_path / path, **members), TICKS, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_second_contract_that_cannot_be_read_keeps_the_first_out_too(tmp_path: Path) -> None:
    path = zip_file(tmp_path / FUTURES, a_201312="0,1,2,1,2,9\n", b_201403="0,what\n")
    with pytest.raises(ArchiveError, match="is not of the form"):
        imported(path, Settings(kind="bars", instrument="ES-{expiry}/USD@cme"), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_cut_off_zip_is_refused(tmp_path: Path) -> None:
    path = zip_file(tmp_path / DAY, spy="1,1,1,P,0,0\n" * 1_000)
    text_file(path, path.read_bytes()[:-40])
    with pytest.raises(ArchiveError, match="cannot be read as a zip"):
        imported(path, TICKS, tmp_path / "a")
