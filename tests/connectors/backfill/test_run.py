"""Backfills through the real ccxt from a server that speaks Binance's and Kraken's REST formats."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from connectors.backfill import venue as venue_module
from connectors.backfill.run import CALLS
from connectors.checking import check_archive
from connectors.coverage import coverage
from connectors.importers.settings import Settings
from connectors.store import FolderStore, open_store
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_MS
from schemas.errors import ArchiveError, VenueError
from tests.connectors.backfill.exchanges import CUT, MINUTE_MS, Fault, Market
from tests.connectors.backfill.fetching import DAY_MS, START_MS, candles, fetch, listing, wanted
from tests.connectors.importers.files import imported, rows, text_file

HOUR_MS = 60 * MINUTE_MS
HOLES = (7, 8, 9, 1_000, 2_500, 2_501)
"""Minutes without a candle: those of the first hour lie before what is asked for."""
FROM_MS = START_MS + 8 * DAY_MS
MONTH = wanted("binance", "bars", FROM_MS, FROM_MS + 11 * DAY_MS)
"""From 23 January to 3 February: a file of a month, and files of two days."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(venue_module, "LONGEST_WAIT_S", 0.005)


def bars_of_month() -> Market:
    return Market(candles=candles(11 * 1440 + 90, *HOLES, start=FROM_MS - HOUR_MS))


def dense(count: int, start: int = START_MS) -> list[tuple[int, int, float, float, bool]]:
    """Make trades of which many were made in one ms: 1,500, 400 and 100 of them in turn."""
    times = [start + i * 700 for i in range(count) for _ in range((1_500, 400, 100)[i % 3])]
    return [(i, at, 100.0 + i % 13 / 10, 0.5 + i % 5, i % 2 == 0) for i, at in enumerate(times)]


def test_bars_are_what_an_import_of_the_same_candles_gives(tmp_path: Path) -> None:
    market = Market(candles=candles(3_000, *HOLES))
    outcome = fetch(tmp_path / "fetched", market, wanted("binance", "bars", START_MS, START_MS + DAY_MS))
    lines = [
        f"{at},{price},{price + 1},{price - 1},{price},2.5"
        for at, price in market.candles
        if at < START_MS + DAY_MS - MINUTE_MS
    ]
    file = text_file(tmp_path / "b.csv", "\n".join(["ts,open,high,low,close,volume", *lines]))
    imported(file, Settings(kind="bars", instrument="BTC/USDT@binance"), tmp_path / "imported")
    held = rows(tmp_path / "fetched", "bars")
    assert held == rows(tmp_path / "imported", "bars")
    assert outcome.rows == len(held) == 1_435


def test_holes_are_counted_and_stay(tmp_path: Path) -> None:
    outcome = fetch(tmp_path, bars_of_month(), MONTH)
    assert outcome.gaps is not None
    assert (outcome.gaps.holes, outcome.gaps.missing, outcome.gaps.longest) == (2, 3, 2)
    assert outcome.rows == 11 * 1440 - 3
    assert [name.rpartition("/")[0] for name in listing(tmp_path)] == [
        "_backfill",
        "bars/year=2024/month=01",
        "bars/year=2024/month=02/day=01",
        "bars/year=2024/month=02/day=02",
    ]


def test_holes_at_both_ends_count(tmp_path: Path) -> None:
    market = Market(candles=candles(1440, *range(10), *range(1430, 1440), start=START_MS - MINUTE_MS))
    market.candles.insert(0, (START_MS - DAY_MS, 100.0))
    outcome = fetch(tmp_path, market, wanted("binance", "bars", START_MS, START_MS + DAY_MS))
    assert outcome.gaps is not None
    assert (outcome.gaps.holes, outcome.gaps.missing, outcome.rows) == (2, 20, 1420)


def test_short_answers_are_asked_on_from(tmp_path: Path) -> None:
    fetch(tmp_path / "whole", bars_of_month(), MONTH)
    market = bars_of_month()
    market.page = 170
    fetch(tmp_path / "cut", market, MONTH)
    assert listing(tmp_path / "cut") == listing(tmp_path / "whole")


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    fetch(tmp_path, bars_of_month(), MONTH)
    before, market = listing(tmp_path), bars_of_month()
    outcome = fetch(tmp_path, market, MONTH)
    assert (outcome.fetched, outcome.rows, market.asked["/klines"]) == ([], 0, 0)
    assert listing(tmp_path) == before
    assert outcome.gaps is not None
    assert outcome.gaps.missing == 3


@pytest.mark.parametrize("days", [[1], [3, 4, 9], [7, 8, 10]])
def test_time_that_is_fetched_bit_by_bit_gives_the_same_bytes(days: list[int], tmp_path: Path) -> None:
    fetch(tmp_path / "whole", bars_of_month(), MONTH)
    for day in days:
        bit = wanted("binance", "bars", FROM_MS, FROM_MS + day * DAY_MS + 90_000)
        fetch(tmp_path / "bits", bars_of_month(), bit)
    market = bars_of_month()
    fetch(tmp_path / "bits", market, MONTH)
    assert listing(tmp_path / "bits") == listing(tmp_path / "whole")
    assert market.asked["/klines"] <= 4 + (11 - max(days)) * 1440 // 1000


def test_trades_of_an_hour_that_is_under_way_are_completed(tmp_path: Path) -> None:
    trades = [(i, START_MS + i * 1_500, 100.0 + i % 9, 1.0, False) for i in range(12_000)]
    for name, runs in (("whole", (250,)), ("rising", (95, 97, 250)), ("again", (250, 95, 97))):
        for minutes in runs:
            want = wanted("binance", "trades", START_MS, START_MS + minutes * MINUTE_MS)
            fetch(tmp_path / name, Market(trades=trades), want)
    assert len(rows(tmp_path / "whole", "trades")) == 10_000
    assert listing(tmp_path / "again") == listing(tmp_path / "whole") == listing(tmp_path / "rising")


def test_several_calls_are_in_flight_and_no_more_than_is_said(tmp_path: Path) -> None:
    market = bars_of_month()
    market.slow_s = 0.05
    fetch(tmp_path, market, MONTH)
    assert 3 <= market.most_at_once <= CALLS


def test_the_limits_of_an_exchange_are_kept_by_default() -> None:
    exchange = venue_module.connect("binance")
    assert exchange.enableRateLimit
    assert exchange.rateLimit > 0


def refusing_from(number: int) -> Fault:
    return lambda asked: (503, b"", {}) if asked >= number else None


@pytest.mark.parametrize("number", [3, 5, 12, 17, 20, 60])
@pytest.mark.parametrize("kind", ["bars", "trades"])
def test_a_run_that_was_cut_and_goes_on_makes_the_bytes_of_one_that_was_not(
    number: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = MONTH if kind == "bars" else wanted("binance", "trades", START_MS, START_MS + 6 * HOUR_MS)
    trades = [(i, START_MS + i * 1_500, 100.0 + i % 9, 1.0, False) for i in range(16_000)]
    whole, cut = (Market(candles=bars_of_month().candles, trades=trades) for _ in range(2))
    fetch(tmp_path / "whole", whole, want)
    monkeypatch.setattr(venue_module, "TRIES", 2)
    cut.fault = refusing_from(number)
    try:
        fetch(tmp_path / "cut", cut, want)
    except VenueError as error:
        assert "after 2 tries" in str(error)  # noqa: PT017 - the last of the numbers lies behind the end
    cut.fault = lambda _: None
    fetch(tmp_path / "cut", cut, want)
    assert listing(tmp_path / "cut") == listing(tmp_path / "whole")


def sometimes(answer: tuple[int, bytes, dict[str, str]]) -> Fault:
    return lambda asked: answer if asked % 3 == 0 else None


@pytest.mark.parametrize(
    "answer",
    [
        (429, b'{"code":-1003,"msg":"Too much request weight used"}', {"Retry-After": "0"}),
        (418, b'{"code":-1003,"msg":"Way too much request weight used; IP banned"}', {}),
        (503, b"unavailable", {}),
        (500, b"", {}),
        (200, b'[[1705276800000,"1' + CUT, {}),
        (502, b"<html>bad gateway</html>", {}),
    ],
)
def test_refusals_and_breaks_lose_nothing(answer: tuple[int, bytes, dict[str, str]], tmp_path: Path) -> None:
    fetch(tmp_path / "whole", bars_of_month(), MONTH)
    market = bars_of_month()
    market.fault = sometimes(answer)
    fetch(tmp_path / "faulty", market, MONTH)
    assert listing(tmp_path / "faulty") == listing(tmp_path / "whole")


def test_a_refusal_holds_back_as_long_as_it_says(tmp_path: Path) -> None:
    market = Market(candles=candles(1440))
    market.fault = lambda asked: (429, b"{}", {"Retry-After": "1"}) if asked == 3 else None
    waited: list[float] = []

    async def counted(self: venue_module.Venue) -> None:
        waited.append(self._not_before - time.monotonic())
        self._not_before = 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(venue_module.Venue, "_wait", counted)
        fetch(tmp_path, market, wanted("binance", "bars", START_MS, START_MS + DAY_MS))
    assert 0.9 < max(waited) < 1.5


def test_what_an_exchange_refuses_for_good_is_said_at_once(tmp_path: Path) -> None:
    market = Market(candles=candles(1440))
    market.fault = lambda asked: (400, b'{"code":-1121,"msg":"Invalid symbol."}', {}) if asked > 2 else None
    with pytest.raises(VenueError, match=r"binance: BadSymbol: .*Invalid symbol"):
        fetch(tmp_path, market, wanted("binance", "bars", START_MS, START_MS + DAY_MS))
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("exchange", ["binance", "kraken"])
def test_no_trade_is_lost_or_doubled_where_many_fall_into_one_moment(exchange: str, tmp_path: Path) -> None:
    trades = dense(60)
    unit = 1
    if exchange == "kraken":  # in ns, and at most 400 in one: more than a page of one moment cannot be told
        unit = NS_PER_MS
        trades = [(i, START_MS * unit + i // 400 * 1_000_000_000, 100.0, 1.0, i % 2 == 0) for i in range(40_000)]
    outcome = fetch(tmp_path, Market(trades=trades), wanted(exchange, "trades", START_MS, START_MS + HOUR_MS))
    held = rows(tmp_path, "trades")
    assert [row["number"] for row in held] == list(range(len(trades)))
    assert [row["occurred_at"] for row in held] == [at * NS_PER_MS // unit for _, at, *_ in trades]
    assert [(row["price"], row["size"], row["side"]) for row in held] == [
        (price, size, -1 if seller else 1) for *_, price, size, seller in trades
    ]
    assert outcome.gaps is not None
    assert (outcome.rows, outcome.gaps.missing) == (len(trades), 0)


def test_an_answer_that_is_no_json_is_not_taken_for_the_end(tmp_path: Path) -> None:
    trades = [(i, (START_MS + i * 1_000) * NS_PER_MS, 100.0, 1.0, True) for i in range(900)]
    market = Market(trades=trades, page=90)
    market.fault = lambda asked: (200, b"<html>back soon</html>", {}) if asked in {6, 7} else None
    fetch(tmp_path, market, wanted("kraken", "trades", START_MS, START_MS + HOUR_MS))
    assert [row["number"] for row in rows(tmp_path, "trades")] == list(range(900))


def test_more_trades_in_one_moment_than_an_answer_holds_are_refused_not_lost(tmp_path: Path) -> None:
    trades = [(i, START_MS * NS_PER_MS, 100.0, 1.0, True) for i in range(1_500)]
    with pytest.raises(VenueError, match="more trades in one moment"):
        fetch(tmp_path, Market(trades=trades), wanted("kraken", "trades", START_MS, START_MS + HOUR_MS))


def test_trade_ids_that_the_exchange_lacks_are_counted(tmp_path: Path) -> None:
    trades = [trade for trade in dense(9) if not 100 <= trade[0] < 1_200]
    outcome = fetch(tmp_path, Market(trades=trades), wanted("binance", "trades", START_MS, START_MS + HOUR_MS))
    assert outcome.gaps is not None
    assert (outcome.gaps.holes, outcome.gaps.missing, outcome.gaps.unit) == (1, 1_100, "trade ids")


def test_recorded_trades_of_kraken_come_back(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    answer = json.loads(shared_data("api/nautilus/kraken/http_trades.json").read_bytes())["result"]["XBTUSDT"]
    trades = [(row[6], round(row[2] * 1e9), float(row[0]), float(row[1]), row[3] == "s") for row in answer]
    lo, hi = trades[0][1] // NS_PER_MS, trades[-1][1] // NS_PER_MS + 1
    market = Market(trades=trades, page=90)
    fetch(tmp_path, market, wanted("kraken", "trades", lo // 1000 * 1000, (hi // 1000 + 1) * 1000))
    assert [(row["number"], row["price"], row["size"]) for row in rows(tmp_path, "trades")] == [
        (number, price, size) for number, _, price, size, _ in trades
    ]


def test_years_before_an_exchange_has_anything_are_not_asked_for_piece_by_piece(tmp_path: Path) -> None:
    market = Market(candles=candles(1440), trades=dense(3))
    bars = fetch(tmp_path, market, wanted("binance", "bars", START_MS - 900 * DAY_MS, START_MS + DAY_MS))
    assert (bars.begins_ns, bars.rows) == (START_MS * NS_PER_MS + NS_PER_MIN, 1439)
    trades = fetch(tmp_path, market, wanted("binance", "trades", START_MS - 900 * DAY_MS, START_MS + HOUR_MS))
    assert (trades.begins_ns, trades.rows) == (START_MS * NS_PER_MS, 2_000)
    assert market.asked.total() < 20
    assert "2021" not in "".join(path.read_text() for path in tmp_path.glob("_backfill/*.json"))


def test_kraken_keeps_720_candles_and_the_rest_is_said_not_to_be_had(tmp_path: Path) -> None:
    want = wanted("kraken", "bars", START_MS, START_MS + 2 * DAY_MS)
    outcome = fetch(tmp_path, Market(candles=candles(2 * 1440)), want)
    assert outcome.begins_ns == START_MS * NS_PER_MS + 2 * NS_PER_DAY - 719 * NS_PER_MIN
    assert outcome.rows == 719


def test_progress_adds_up_to_what_was_asked_for(tmp_path: Path) -> None:
    for want in (MONTH, MONTH, wanted("binance", "trades", START_MS - DAY_MS, START_MS + HOUR_MS)):
        told: list[int] = []
        fetch(tmp_path, Market(candles=bars_of_month().candles, trades=dense(9)), want, told.append)
        assert sum(told) == want.until_ns - want.since_ns or not told
        assert min(told, default=0) >= 0


def test_a_bucket_holds_what_a_folder_holds_and_a_run_goes_on_there(s3_lake: str, tmp_path: Path) -> None:
    bucket = open_store(s3_lake)
    fetch(tmp_path, bars_of_month(), MONTH)
    fetch(bucket, bars_of_month(), wanted("binance", "bars", FROM_MS, FROM_MS + 3 * DAY_MS))
    fetch(bucket, bars_of_month(), MONTH)
    assert {each.key: bucket.get(each.key) for each in bucket.list("")} == listing(tmp_path)
    assert check_archive(bucket) == check_archive(FolderStore(tmp_path))
    assert [each.rows.sum() for each in coverage(bucket)] == [11 * 1440 - 3]


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    fetch(tmp_path, bars_of_month(), MONTH)
    (state,) = tmp_path.glob("_backfill/*.json")
    state.write_text('{"whole": [["soon", "later"]]}')
    with pytest.raises(ArchiveError, match=r"is no state of a backfill .*remove it"):
        fetch(tmp_path, bars_of_month(), MONTH)


def test_an_unknown_symbol_is_refused_with_what_may_be_meant(tmp_path: Path) -> None:
    with pytest.raises(VenueError, match="binance has no such market; did you mean BTC/USDT"):
        fetch(tmp_path, Market(), replace(MONTH, symbol="BTC/USD"))


def test_an_unknown_exchange_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(VenueError, match="ccxt knows no such exchange; did you mean binance"):
        venue_module.connect("binanse")
