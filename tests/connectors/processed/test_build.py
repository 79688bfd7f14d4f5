"""The processed layer of a small lake: what the rules say, day by day, and the same bytes each time."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from connectors.processed.bars import INTERVALS, LATENESS_NS
from connectors.processed.build import build
from connectors.processed.sentiment import SCHEMA
from replay.files import find_files, tables
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_S, Event, market_id
from schemas.errors import StoreError
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, SentimentMeasured, TweetPosted
from streams.windows import bar_windows, sentiment_windows
from tests.connectors.processed.lakes import write_lake
from tests.connectors.processed.trades import AT

KEYS = ("BTC/USDT@binance", "ETH/USDT@binance")
TEN_HOURS = 10 * 60 * NS_PER_MIN
MIDNIGHT = AT + 14 * 60 * NS_PER_MIN


def market(start: int, count: int, step_ns: int) -> list[Event]:
    """Trades on two instruments, each seen some seconds later, a few too late for its minute."""
    found: list[Event] = []
    for n in range(count):
        at = start + n * step_ns
        seen = at + (90 * NS_PER_S if n % 17 == 3 else (n % 6) * NS_PER_S)
        key = KEYS[n % 2]
        found.append(
            TradeTicked(
                id=market_id(key, "trade", n), key=key, occurred_at=at, observed_at=seen, price=100.0 + n % 29, size=0.1
            )
        )
    return sorted(found, key=lambda event: (event.observed_at, event.id))


def texts(start: int, count: int, step_ns: int) -> list[Event]:
    found: list[Event] = []
    for n in range(count):
        at = start + n * step_ns
        text = ("What a great, wonderful day", "A terrible crash", "Nothing new")[n % 3]
        found.append(TweetPosted(id=f"t{n}", key="BTC", occurred_at=at, observed_at=at, author=f"a{n % 4}", text=text))
        found.append(NewsPublished(id=f"n{n}", key="ETH", occurred_at=at, observed_at=at, source="wire", title=text))
    return found


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


EVENTS = [
    *market(MIDNIGHT - 30 * NS_PER_MIN, 400, 17 * NS_PER_S),
    *texts(MIDNIGHT - 150 * NS_PER_MIN, 40, 7 * NS_PER_MIN),
]


def test_batch_equals_live_over_midnight(tmp_path: Path) -> None:
    report = build(write_lake(tmp_path, EVENTS))
    live: dict[str, list[Event]] = {}
    for windows, kinds in ((bar_windows(), (TradeTicked,)), (sentiment_windows(), (TweetPosted, NewsPublished))):
        for offset, event in enumerate(each for each in EVENTS if isinstance(each, kinds)):
            for told in windows.tell(event.observed_at):
                live.setdefault(type(told).__name__, []).append(told)
            windows.take(event, ("t", 0), offset)
        assert windows.late == sum(report.late.values()) or TradeTicked not in kinds
    bars = [
        BarClosed(id=market_id(row["key"], f"bar{row['interval_ns'] // NS_PER_S}", row.pop("number")), **row)
        for path in sorted((tmp_path / "processed/bars").rglob("*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert sorted(bars, key=lambda event: event.id) == sorted(live["BarClosed"], key=lambda event: event.id)
    measured = [
        SentimentMeasured(**{**row, "sources": dict(row["sources"])})
        for path in sorted((tmp_path / "processed/sentiment").rglob("*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert sorted(measured, key=lambda event: event.id) == sorted(live["SentimentMeasured"], key=lambda event: event.id)
    assert report.late["1m"] > report.late["1h"] > 0
    assert report.rows["sentiment"] == len(measured) > 10


def test_a_second_build_writes_the_same_bytes_and_a_part_of_the_days_those_days(tmp_path: Path) -> None:
    store = write_lake(tmp_path / "one", EVENTS)
    build(store)
    first = contents(tmp_path / "one/processed")
    assert len(first) == 2 * (len(INTERVALS) + 1) - 1, "the first hour's bar is observed after midnight"
    build(store)
    assert contents(tmp_path / "one/processed") == first
    part = write_lake(tmp_path / "two", EVENTS)
    told: list[date] = []
    build(part, date(2024, 1, 3), date(2024, 1, 4), told.append)
    assert told == [date(2024, 1, 3)]
    later = {name: data for name, data in first.items() if "day=03" in name}
    assert contents(tmp_path / "two/processed") == later


def test_a_replay_reads_the_bars_as_an_archive(tmp_path: Path) -> None:
    build(write_lake(tmp_path, EVENTS))
    files = find_files(tmp_path / "processed", 0, 2**62)
    assert {file.kind for file in files} == {"bars"}
    for file in files:
        for table in tables(file):
            observed = table["observed_at"].to_numpy()
            assert (observed[:-1] <= observed[1:]).all()
            assert file.lo <= observed[0] <= observed[-1] < file.hi <= file.lo + NS_PER_DAY


def test_what_is_not_over_is_left_for_later(tmp_path: Path) -> None:
    trade = market(AT, 1, NS_PER_S)
    store = write_lake(tmp_path, trade)
    assert build(store).files == 0
    end = AT + NS_PER_MIN + LATENESS_NS
    quote = QuoteTicked(
        id="q", key=KEYS[0], occurred_at=end, observed_at=end, bid=1.0, ask=2.0, bid_size=0.0, ask_size=0.0
    )
    assert build(write_lake(tmp_path, [*trade, quote])).rows == {"bars of 1m": 1}


def test_a_lake_without_records_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no ticks, tweets or news of these days"):
        build(write_lake(tmp_path, []))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = write_lake(tmp_path, EVENTS)
    path = next(tmp_path.rglob("trades-*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"trades-.*\.parquet: is no file of a lake"):
        build(store)


def test_sentiment_is_in_the_columns_of_its_event() -> None:
    assert set(SCHEMA.names) == set(SentimentMeasured.__struct_fields__) - {"book", "seq", "cause", "v"}
