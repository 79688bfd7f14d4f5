"""`quorum data check`: each thing that can be wrong is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.archive import SCHEMAS, write
from connectors.checking import Found, check_archive
from connectors.importers.settings import Settings
from connectors.store import FolderStore
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S
from schemas.errors import ArchiveError
from tests.connectors.importers.files import imported
from tests.replay.archives import BTC, DAY, ETH, Row, archive, bar, news, quote, table, trade, tweet

Data = Callable[[str], Path]
MINUTES = 50


def checked(root: Path) -> Found:
    return check_archive(FolderStore(root))


def clean_bars(key: str = BTC) -> list[Row]:
    return [bar(key, minute, close=100.0 + minute % 3) for minute in range(MINUTES)]


def test_a_clean_archive_has_nothing_wrong(tmp_path: Path) -> None:
    trades = [trade(number=i, at=DAY + i * NS_PER_S, price=100 + i % 3) for i in range(20)]
    quotes = [quote(number=7 * i, at=DAY + i * NS_PER_S) for i in range(20)]
    archive(
        tmp_path, bars=clean_bars(), trades=trades, quotes=quotes, tweets=[tweet("a"), tweet("b")], news=[news("a")]
    )
    found = checked(tmp_path)
    assert not found.wrong
    assert (found.files, found.overlaps) == ([], [])
    assert {(each.kind, each.rows) for each in found.series} == {
        ("bars", MINUTES),
        ("trades", 20),
        ("quotes", 20),
        ("tweets", 2),
        ("news", 1),
    }


def test_gaps_are_found_across_files(tmp_path: Path) -> None:
    rows = [bar(minute=minute, day=day) for day in (0, 1) for minute in range(1440)]
    archive(tmp_path, bars=rows[:1400] + rows[1450:2000] + rows[2001:])
    (series,) = checked(tmp_path).series
    assert series.gaps is not None
    assert (series.gaps.holes, series.gaps.missing, series.gaps.longest) == (2, 51, 50)
    assert checked(tmp_path).wrong


def test_missing_trade_ids_are_found(tmp_path: Path) -> None:
    archive(tmp_path, trades=[trade(number=i, at=DAY + i) for i in range(40) if i not in (7, 20, 21)])
    (series,) = checked(tmp_path).series
    assert series.gaps is not None
    assert (series.gaps.unit, series.gaps.holes, series.gaps.missing) == ("trade ids", 2, 3)


def test_doubles_are_found(tmp_path: Path) -> None:
    archive(tmp_path, bars=[*clean_bars(), bar(minute=3), bar(minute=4)], tweets=[tweet("a"), tweet("a")])
    assert {each.kind: each.doubles for each in checked(tmp_path).series} == {"bars": 2, "tweets": 1}
    assert checked(tmp_path).wrong


def test_outliers_are_shown_and_are_not_wrong(tmp_path: Path) -> None:
    rows = [bar(minute=minute, close=100.0 + minute % 3) for minute in range(MINUTES)]
    rows[30] = bar(minute=30, close=150.0)
    archive(tmp_path, bars=rows)
    found = checked(tmp_path)
    assert found.series[0].outliers is not None
    assert (found.series[0].outliers.rows, found.series[0].outliers.largest_pct) == (2, 47.06)  # from 102
    assert not found.wrong


def test_a_clock_that_was_behind_is_found(tmp_path: Path) -> None:
    rows = [trade(number=i, at=DAY + i * NS_PER_S, occurred_at=DAY + i * NS_PER_S + 900 * NS_PER_MS) for i in range(30)]
    archive(tmp_path, trades=rows)
    (series,) = checked(tmp_path).series
    assert (series.early, series.clock_skew_ms) == (30, 900)
    assert series.wrong


def test_a_clock_that_cannot_be_is_told_in_words(tmp_path: Path) -> None:
    archive(tmp_path, trades=[trade(number=i, at=DAY + i, occurred_at=DAY + 3600 * NS_PER_S) for i in range(20)])
    (series,) = checked(tmp_path).series
    assert "no clock is so far behind" in series.clock_note


def test_two_sources_that_agree_and_two_that_do_not(tmp_path: Path) -> None:
    for key, moved in ((BTC, 0.0), (ETH, 1.0)):
        write(tmp_path, "bars", table("bars", clean_bars(key)), f"{key} one")
        others = [
            bar(key, minute, close=100.0 + minute % 3 + (moved if minute == 40 else 0)) for minute in range(30, 60)
        ]
        write(tmp_path, "bars", table("bars", others), f"{key} other")
    found = checked(tmp_path)
    assert [(each.key, each.rows, each.differing) for each in found.overlaps] == [(BTC, 20, 0), (ETH, 20, 1)]
    assert found.overlaps[1].largest_pct in (0.9804, 0.9901)  # of 101 to 102, by which of them comes first
    assert found.wrong


def test_sources_of_different_instruments_or_lengths_are_not_compared(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", clean_bars(BTC)), "one")
    write(tmp_path, "bars", table("bars", clean_bars(ETH)), "other")
    hours = [
        bar(minute=60 * i, interval_ns=60 * NS_PER_MIN, observed_at=DAY + 60 * (i + 1) * NS_PER_MIN) for i in range(3)
    ]
    write(tmp_path, "bars", table("bars", hours), "hours")
    found = checked(tmp_path)
    assert found.overlaps == []
    assert len(found.series) == 3


def test_empty_unordered_and_broken_files_are_named(tmp_path: Path) -> None:
    archive(tmp_path, bars=clean_bars())
    folder = next((tmp_path / "bars").rglob("*.parquet")).parent
    rows = table("bars", clean_bars()).cast(pa.schema([SCHEMAS["bars"].field(name) for name in SCHEMAS["bars"].names]))
    pq.write_table(rows.slice(0, 0), folder / "bars-000000000001.parquet")
    pq.write_table(rows.take(np.arange(MINUTES)[::-1].copy()), folder / "bars-000000000002.parquet")
    (folder / "bars-000000000003.parquet").write_bytes(b"PAR1 not really")
    (folder / "_noted-000000000003.parquet").write_bytes(b"passed over")
    found = checked(tmp_path)
    told = {each.file.rpartition("/")[2]: each.fault for each in found.files}
    assert list(told) == [f"bars-00000000000{i}.parquet" for i in (1, 2, 3)]
    assert told["bars-000000000001.parquet"] == "is empty"
    assert told["bars-000000000002.parquet"].startswith("is not in order: 49 rows")
    assert told["bars-000000000003.parquet"].startswith("cannot be read")
    assert found.wrong


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no file of an archive"):
        checked(tmp_path)


def test_a_lake_is_read_as_well_and_its_own_columns_are_passed_over(tmp_path: Path) -> None:
    archive(tmp_path / "made", bars=clean_bars())
    (made,) = (tmp_path / "made").rglob("*.parquet")
    rows = pq.ParquetFile(made).read().append_column("offset", pa.array(range(MINUTES), pa.int64()))
    for first in (0, 20):
        folder = tmp_path / f"lake/raw/bars/year=2017/month=07/day=14/hour={first // 20:02}"
        folder.mkdir(parents=True)
        pq.write_table(rows.slice(first, 20 if not first else 30), folder / f"bars-0000-{first:020}.parquet")
    found = checked(tmp_path / "lake")
    assert [(each.source, each.rows) for each in found.series] == [("0000", MINUTES)]
    assert not found.wrong


def test_the_known_holes_of_2017_are_found(shared_data: Data, tmp_path: Path) -> None:
    settings = Settings(kind="bars", instrument="BTC/USD@bitfinex")
    imported(shared_data("bars/bitfinex_btcusd_1m_2017.parquet"), settings, tmp_path)
    (series,) = checked(tmp_path).series
    assert series.gaps is not None
    assert (series.gaps.holes, series.gaps.missing, series.gaps.longest) == (14_203, 20_391, 37)
    assert series.source == "bitfinex_btcusd_1m_2017.parquet"
    assert (series.doubles, series.early) == (0, 0)


@pytest.mark.parametrize("kind", ["trades", "quotes"])
def test_the_skew_of_the_recordings_of_2024_is_found(kind: str, shared_data: Data, tmp_path: Path) -> None:
    """The archive's writer takes what it is given, so the recording lies there with its times as they were."""
    name = {"trades": "trades", "quotes": "bookticker"}[kind]
    raw = pq.ParquetFile(shared_data(f"ticks/binance_usdm_btcusdt_20240808_{name}.parquet")).read()
    columns = {
        "key": pa.array([BTC] * raw.num_rows),
        "observed_at": raw["recv_ns"],
        "occurred_at": raw["trade_ns" if kind == "trades" else "event_ns"],
    }
    if kind == "trades":
        side = pa.array(np.where(np.array(raw["side"].to_pylist()) == "buy", 1, -1).astype(np.int8))
        columns |= {"number": raw["trade_id"], "price": raw["price"], "size": raw["size"], "side": side}
    else:
        columns |= {"number": raw["update_id"], "bid": raw["bid_px"], "ask": raw["ask_px"]}
        columns |= {"bid_size": raw["bid_sz"], "ask_size": raw["ask_sz"]}
    write(tmp_path, kind, pa.table(columns), "recording")
    (series,) = checked(tmp_path).series
    assert series.early == series.rows == raw.num_rows
    assert 1_200 <= series.clock_skew_ms <= 1_400
