"""Real recordings: what their keepers say of them is what an import finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from connectors.importers.run import import_files
from connectors.importers.settings import Settings
from schemas.errors import ArchiveError
from tests.connectors.importers.files import imported, rows

Data = Callable[[str], Path]
FUTURES = Settings(kind="ticks", instrument="BTC/USDT@binance-perp")


def test_a_year_of_bars_with_its_holes_and_its_crash(shared_data: Data, tmp_path: Path) -> None:
    path = shared_data("bars/bitfinex_btcusd_1m_2017.parquet")
    (report,) = imported(path, Settings(kind="bars", instrument="BTC/USD@bitfinex"), tmp_path, dry=True)
    assert (report.rows_read, report.rows_kept, report.dropped, report.out_of_order) == (505_209, 505_209, {}, 0)
    assert report.gaps is not None
    assert (report.gaps.missing, report.gaps.longest) == (365 * 1_440 - 505_209, 37)
    assert report.outliers is not None
    assert report.outliers.largest_at == "2017-03-10T13:29:00Z"


def test_a_recording_and_its_flattened_files_give_the_same_rows(shared_data: Data, tmp_path: Path) -> None:
    flat = [shared_data(f"ticks/binance_usdm_btcusdt_20240808_{kind}.parquet") for kind in ("trades", "bookticker")]
    reports = list(import_files(flat, tmp_path / "flat", FUTURES))
    raw = imported(shared_data("ticks/binance_usdm_btcusdt_20240808.raw.gz"), FUTURES, tmp_path / "raw")
    for kind, count in (("trades", 21_313), ("quotes", 66_089)):
        held = rows(tmp_path / "flat", kind)
        assert len(held) == count
        assert held == rows(tmp_path / "raw", kind)
    assert {report.clock_skew_ms for report in [*reports, *raw]} == {reports[0].clock_skew_ms}
    assert 1_200 <= reports[0].clock_skew_ms <= 1_400
    assert reports[0].gaps is not None
    assert reports[0].gaps.missing == 0


def test_spot_quotes_move_with_the_trades_of_their_recorder(shared_data: Data, tmp_path: Path) -> None:
    paths = [shared_data(f"ticks/binance_spot_btcusdt_20240808_{kind}.parquet") for kind in ("trades", "bookticker")]
    trades, quotes = import_files(paths, tmp_path, msgspec.structs.replace(FUTURES, instrument="BTC/USDT@binance-spot"))
    assert (trades.rows_kept, quotes.rows_kept) == (9_757, 28_040)
    assert 1_200 <= trades.clock_skew_ms == quotes.clock_skew_ms <= 1_400


def test_depth_is_refused(shared_data: Data, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="changes of the depth of a book"):
        imported(shared_data("ticks/binance_usdm_btcusdt_20240808_depth.parquet"), FUTURES, tmp_path, dry=True)


def test_a_day_of_spy_trades(shared_data: Data, tmp_path: Path) -> None:
    path = shared_data("lean/equity/usa/tick/spy/20131007_trade.zip")
    (report,) = imported(path, Settings(kind="ticks", instrument="SPY/USD@us"), tmp_path, dry=True)
    assert (report.rows_kept, report.first, report.last) == (
        250_601,
        "2013-10-07T08:00:00.464Z",
        "2013-10-07T23:59:59.536Z",
    )


def test_front_month_futures_and_coins_of_lean(shared_data: Data, tmp_path: Path) -> None:
    path = shared_data("lean/future/cme/minute/es/20131007_trade.zip")
    reports = imported(path, Settings(kind="bars", instrument="ES-{expiry}/USD@cme"), tmp_path, dry=True)
    assert reports[0].keys == ["ES-201312/USD@cme"]
    path = shared_data("lean/crypto/coinbase/minute/btcusd/20180404_trade.zip")
    (report,) = imported(path, Settings(kind="bars", instrument="BTC/USD@coinbase"), tmp_path)
    assert report.first == "2018-04-04T00:01:00Z"
    assert rows(tmp_path, "bars")[0]["open"] == 7424.91


def test_every_tweet_of_an_account_and_the_news_without_a_title(shared_data: Data, tmp_path: Path) -> None:
    path = shared_data("text/tweets_account_bitcoin.jsonl.gz")
    (tweets,) = imported(path, Settings(kind="tweets", key="BTC", source="account_bitcoin"), tmp_path, dry=True)
    assert (tweets.rows_kept, tweets.dropped) == (3_233, {})
    path = shared_data("text/cryptonews_2021_10_to_2022_04.jsonl.gz")
    (news,) = imported(path, Settings(kind="news", key="BTC"), tmp_path, dry=True)
    assert (news.rows_read, news.rows_kept, news.dropped["title is empty"].rows) == (4_766, 4_748, 18)


def test_a_tweet_about_two_shares_is_there_for_both(shared_data: Data, tmp_path: Path) -> None:
    path = shared_data("text/stocknet/tweets.jsonl.gz")
    (report,) = imported(path, Settings(kind="tweets", source="x"), tmp_path, dry=True)
    assert report.rows_kept == report.rows_read == 43_886
    assert len(report.keys) == 10
