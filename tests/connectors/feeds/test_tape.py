"""Gaps of trades and bars over a venue that answers by script: what is fetched, what is told, what stays open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.feeds.exchange import Quotes
from connectors.feeds.protocol import Newest, Stream
from connectors.feeds.tape import Bars, Tape
from connectors.feeds.venue import Traits
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S, Event
from streams.feeding import HostSink
from streams.metrics import FeedMeter

KEY = "BTC/USDT@venue"
T0_MS = 1_704_189_600_000
MIN_MS = 60_000
BY_NUMBER = Traits(consecutive=True, by_number="byNumber", recent="recent", page=5)
BY_TIME = Traits(consecutive=True)
BACKWARDS = Traits(consecutive=True, newest_first=True, page=4)
UNNUMBERED = Traits()
STREAMS: list[Stream] = []


def trade(number: int, **fields: Any) -> dict[str, Any]:
    usual = {"id": str(number), "timestamp": T0_MS + 1_000 * number, "price": 100.0, "amount": 1.0, "side": "buy"}
    return usual | {"info": {"raw": number}} | fields


def candle(minute: int, close: float = 100.0) -> list[Any]:
    return [T0_MS + minute * MIN_MS, 100.0, 110.0, 90.0, close, 3.0]


class Venue:
    """Knows what has happened; answers as venues of each make do."""

    def __init__(self, traits: Traits, key: str = "a-key") -> None:
        self.traits, self.apiKey = traits, key
        self.trades: list[dict[str, Any]] = []
        self.candles: list[list[Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.newest = 6

    async def fetch_trades(
        self, _symbol: str, since: int | None, limit: int, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        params = params or {}
        self.asked.append({"since": since} | params)
        if "fromId" in params:
            return [each for each in self.trades if int(each["id"]) >= params["fromId"]][:limit]
        found = [each for each in self.trades if since is None or each["timestamp"] >= since]
        if self.traits.newest_first:
            return [each for each in found if each["timestamp"] <= params["until"]][-limit:]
        return found[-self.newest :] if since is None else found[:limit]

    async def fetch_ohlcv(self, _symbol: str, _timeframe: str, since: int | None, _limit: int) -> list[list[Any]]:
        self.asked.append({"since": since})
        return [each for each in self.candles if since is None or each[0] >= since]


class Heard:
    """The host's sink over a list."""

    def __init__(self, at_ms: int = T0_MS + MIN_MS) -> None:
        self.told: list[Event] = []
        self.at_ns = at_ms * NS_PER_MS
        self.sink = HostSink(self.told.append, FeedMeter("tape", STREAMS), lambda: self.at_ns)
        self.refused: list[str] = []
        self.sink.refuse = self._refuse  # type: ignore[method-assign]

    def _refuse(self, reason: str, message: str = "") -> None:
        self.refused.append(reason)

    @property
    def numbers(self) -> list[int]:
        return [int(event.id.rpartition("/")[2]) for event in self.told]


def tape_of(venue: Venue, heard: Heard, stands: int | None) -> Tape:
    tape = Tape(venue, "BTC/USDT", KEY, heard.sink, venue.traits)
    if stands is not None:
        at = (T0_MS + 1_000 * stands) * NS_PER_MS
        tape.resume(Newest(at, f"{KEY}/trade/{stands}"), 3_600 * NS_PER_S)
    return tape


@pytest.mark.parametrize("traits", [BY_NUMBER, BY_TIME, BACKWARDS], ids=["by number", "by time", "backwards"])
@pytest.mark.parametrize("missed", [1, 4, 5, 6, 7, 23])
def test_a_gap_of_any_length_is_told_before_what_came_behind_it(traits: Traits, missed: int) -> None:
    venue, heard = Venue(traits), Heard()
    venue.trades = [trade(n) for n in range(1, missed + 4)]
    tape = tape_of(venue, heard, 1)
    asyncio.run(tape.take([trade(missed + 2), trade(missed + 3)]))
    assert heard.numbers == list(range(2, missed + 4))
    assert heard.refused == []


def test_without_a_gap_nothing_is_fetched() -> None:
    venue, heard = Venue(BY_NUMBER), Heard()
    tape = tape_of(venue, heard, 1)
    asyncio.run(tape.take([trade(3), trade(2), trade(2)]))
    asyncio.run(tape.take([trade(1), trade(4)]))
    assert heard.numbers == [2, 3, 4]
    assert venue.asked == []


def test_the_newest_trades_are_asked_for_first_for_they_cost_least() -> None:
    venue, heard = Venue(BY_NUMBER), Heard()
    venue.trades = [trade(n) for n in range(1, 8)]
    asyncio.run(tape_of(venue, heard, 1).take([trade(7)]))
    assert [each.get("fetchTradesMethod") for each in venue.asked] == ["recent"]
    assert heard.numbers == [2, 3, 4, 5, 6, 7]


def test_without_a_key_an_old_gap_stays_open_and_says_so() -> None:
    venue, heard = Venue(BY_NUMBER, key=""), Heard()
    venue.trades = [trade(n) for n in range(1, 21)]
    asyncio.run(tape_of(venue, heard, 1).take([trade(20)]))
    assert heard.numbers == [15, 16, 17, 18, 19, 20]
    assert heard.refused == [f"{KEY}: the source does not give the trades 2 to 14; they are missing"]


def test_numbers_that_the_source_does_not_give_are_reported_once() -> None:
    venue, heard = Venue(BY_TIME), Heard()
    venue.trades = [trade(n) for n in (1, 2, 5, 6)]
    tape = tape_of(venue, heard, 1)
    asyncio.run(tape.take([trade(6)]))
    asyncio.run(tape.take([trade(7)]))
    assert heard.numbers == [2, 5, 6, 7]
    assert heard.refused == [f"{KEY}: the source does not give the trades 3 to 4; they are missing"]


def test_a_trade_that_cannot_be_read_is_fetched_in_its_whole_form() -> None:
    venue, heard = Venue(BY_TIME), Heard()
    venue.trades = [trade(n) for n in range(1, 5)]
    tape = tape_of(venue, heard, 1)
    asyncio.run(tape.take([trade(2), trade(3, price=None), trade(4), trade(5, id=None)]))
    assert heard.numbers == [2, 3, 4]
    assert heard.refused == [
        f"{KEY}: a trade without an id or a time",
        f"{KEY}: a trade cannot be read: no price",
    ]


def test_a_gap_longer_than_the_settings_allow_is_left_and_reported() -> None:
    venue, heard = Venue(BY_TIME), Heard(T0_MS + 2 * 3_600_000)
    tape = tape_of(venue, heard, 1)
    assert not tape.stands
    asyncio.run(tape.take([trade(900)]))
    assert heard.numbers == [900]
    assert venue.asked == []
    assert heard.refused == [f"{KEY}: the gap since the last trade is longer than backfill_s and stays open"]


def test_a_venue_that_does_not_number_is_asked_again_once_it_is_connected() -> None:
    venue, heard = Venue(UNNUMBERED), Heard()
    venue.trades = [trade(n, id=f"x{n}") for n in range(1, 4)]
    tape = tape_of(venue, heard, None)
    asyncio.run(tape.repair())
    venue.trades += [trade(n, id=f"x{n}") for n in range(4, 7)]
    asyncio.run(tape.take([trade(6, id="x6")]))
    asyncio.run(tape.take([trade(7, id="x7")]))
    assert [event.occurred_at for event in heard.told] == [(T0_MS + 1_000 * n) * NS_PER_MS for n in range(1, 8)]
    assert len(venue.asked) == 3


def test_numbers_that_begin_anew_are_followed() -> None:
    venue, heard = Venue(BY_TIME), Heard()
    tape = tape_of(venue, heard, 5_000)
    late = {"timestamp": T0_MS + 1_000 * 5_000 + 60_001}
    asyncio.run(tape.take([trade(4_999)]))
    asyncio.run(tape.take([trade(7, **late), trade(8, **late)]))
    assert heard.numbers == [7, 8]
    assert heard.refused == [f"{KEY}: the numbers of trades begin anew at 7"]


def test_an_id_of_another_make_is_no_place_to_go_on_from() -> None:
    heard = Heard()
    tape = Tape(Venue(BY_TIME), "BTC/USDT", KEY, heard.sink, BY_TIME)
    tape.resume(Newest(heard.at_ns, "a-trade"), NS_PER_S)
    assert not tape.stands
    assert len(heard.refused) == 1


@given(
    said=st.lists(st.integers(1, 30), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    traits=st.sampled_from([BY_NUMBER, BY_TIME, BACKWARDS]),
)
def test_whatever_is_lost_doubled_or_swapped_is_told_once_and_in_order(
    said: list[int], cuts: list[int], traits: Traits
) -> None:
    venue, heard = Venue(traits), Heard()
    tape = tape_of(venue, heard, 0)

    async def scenario() -> None:
        start = 0
        for end in [*sorted(cuts), len(said)]:
            batch = said[start:end]
            known = max([0, *said[:end]])
            venue.trades = [trade(n) for n in range(1, known + 1)]
            await tape.take([trade(n) for n in batch])
            start = max(start, end)

    asyncio.run(scenario())
    assert heard.numbers == list(range(1, max([0, *said]) + 1))
    assert heard.refused == []


def bars_of(venue: Venue, heard: Heard, stands: int | None = None) -> Bars:
    bars = Bars(venue, "BTC/USDT", KEY, heard.sink, "1m", NS_PER_MIN)
    if stands is not None:
        opened = (T0_MS + stands * MIN_MS) * NS_PER_MS
        bars.resume(Newest(opened + NS_PER_MIN, f"{KEY}/bar60/{opened}"), 3_600 * NS_PER_S)
    return bars


def minutes(heard: Heard) -> list[float]:
    return [(number // NS_PER_MS - T0_MS) / MIN_MS for number in heard.numbers]


def test_only_closed_bars_are_told_and_as_they_closed() -> None:
    heard = Heard()
    bars = bars_of(Venue(UNNUMBERED), heard)
    asyncio.run(bars.take([candle(0, 100.0)]))
    asyncio.run(bars.take([candle(0, 101.0)]))
    assert heard.told == []
    asyncio.run(bars.take([candle(1, 102.0)]))
    asyncio.run(bars.take([candle(1, 103.0), candle(2, 104.0)]))
    asyncio.run(bars.take([candle(1, 999.0)]))
    assert minutes(heard) == [0, 1]
    assert [getattr(event, "close", None) for event in heard.told] == [101.0, 103.0]


def test_bars_that_were_missed_are_fetched_in_order() -> None:
    venue, heard = Venue(UNNUMBERED), Heard(T0_MS + 6 * MIN_MS)
    venue.candles = [candle(n, 100.0 + n) for n in range(7)]
    bars = bars_of(venue, heard, stands=1)
    asyncio.run(bars.take([candle(5, 105.0)]))
    asyncio.run(bars.take([candle(6, 106.0)]))
    assert minutes(heard) == [2, 3, 4, 5]
    assert venue.asked[0] == {"since": T0_MS + 2 * MIN_MS}


def test_the_last_bar_of_an_answer_is_told_once_its_end_is_past() -> None:
    venue, heard = Venue(UNNUMBERED), Heard(T0_MS + 3 * MIN_MS + 1_999)
    venue.candles = [candle(n) for n in range(3)]
    bars = bars_of(venue, heard, stands=-1)
    asyncio.run(bars.repair())
    assert minutes(heard) == [0, 1]
    heard.at_ns += NS_PER_MS
    asyncio.run(bars.repair())
    assert minutes(heard) == [0, 1, 2]


def test_a_bar_that_cannot_be_read_is_reported() -> None:
    heard = Heard()
    bars = bars_of(Venue(UNNUMBERED), heard)
    asyncio.run(bars.take([[T0_MS, 100.0, None, 90.0, 100.0, 1.0], candle(1)]))
    assert heard.told == []
    assert heard.refused == [f"{KEY}: a bar cannot be read: no high"]


def test_a_quote_without_a_number_is_told_when_it_differs() -> None:
    heard = Heard()
    quotes = Quotes({"BTC/USDT": KEY}, heard.sink, UNNUMBERED)
    top = {"symbol": "BTC/USDT", "bid": 99.0, "ask": 101.0, "bidVolume": 1.0, "askVolume": 2.0}
    for ticker in (top, top, top | {"bid": 98.0}, top | {"symbol": "ETH/USDT"}, top | {"ask": None}, top):
        quotes.take(ticker)
    assert [getattr(event, "bid", None) for event in heard.told] == [99.0, 98.0, 99.0]
    assert len({event.id for event in heard.told}) == 3
    assert heard.refused == [f"{KEY}: a quote cannot be read: no ask"]
