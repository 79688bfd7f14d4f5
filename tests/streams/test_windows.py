"""An interval is told once, when it is over, as the batch rule has it; and a successor tells the same again."""

from __future__ import annotations

import msgspec
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.processed.bars import INTERVALS, LATENESS_NS, bar_events, bars_of
from connectors.processed.sentiment import LEXICONS
from schemas.base import NS_PER_MIN, NS_PER_S, Event, market_id
from schemas.market import QuoteTicked, TradeTicked
from schemas.texts import TweetPosted
from streams.windows import Mark, Windows, bar_windows, sentiment_windows
from tests.connectors.processed.trades import AT, Trade, table, trade

PLACE = ("ticks", 0)
KEY = "BTC/USDT@binance"
STREAMS = st.lists(
    st.tuples(st.sampled_from([KEY, "ETH/USDT@binance"]), st.integers(1, 90), st.integers(0, 30), st.floats(1.0, 2.0)),
    max_size=80,
)
"""Instrument, seconds since the one before, seconds until it was seen, price."""


def tick(each: Trade) -> TradeTicked:
    return TradeTicked(
        id=market_id(each.key, "trade", each.number),
        key=each.key,
        occurred_at=each.occurred_at,
        observed_at=each.observed_at,
        price=each.price,
        size=each.size,
    )


def quote(at: int) -> QuoteTicked:
    return QuoteTicked(
        id=market_id(KEY, "quote", at), key=KEY, occurred_at=at, observed_at=at, bid=1.0, ask=2.0, bid_size=1.0,
        ask_size=1.0,
    )  # fmt: skip


def fed(windows: Windows, events: list[Event], first: int = 0) -> list[Event]:
    told: list[Event] = []
    for offset, event in enumerate(events, first):
        told += windows.tell(event.observed_at)
        windows.take(event, PLACE, offset)
    return told


def stream(drawn: list[tuple[str, int, int, float]]) -> list[Trade]:
    at, trades = 0, []
    for number, (key, after_s, delay_s, price) in enumerate(drawn):
        at += after_s * NS_PER_S
        trades.append(trade(key, number, at - delay_s * NS_PER_S, delay=delay_s * NS_PER_S, price=price))
    return trades


@given(STREAMS)
def test_live_and_batch_tell_the_same_bars(drawn: list[tuple[str, int, int, float]]) -> None:
    trades = stream(drawn)
    end = quote(AT + 10**15)
    windows = bar_windows()
    told = fed(windows, [*map(tick, trades), end])
    batch = [bars_of(table(trades), interval_ns) for interval_ns in INTERVALS.values()]
    wanted = [event for built in batch for event in bar_events(built.bars)]
    assert sorted(told, key=lambda event: event.id) == sorted(wanted, key=lambda event: event.id)
    assert windows.late == sum(built.late for built in batch)
    assert len({event.id for event in told}) == len(told)


@given(STREAMS, st.data())
def test_who_goes_on_from_any_position_tells_the_rest_and_nothing_else(
    drawn: list[tuple[str, int, int, float]], data: st.DataObject
) -> None:
    events: list[Event] = [*map(tick, stream(drawn)), quote(AT + 10**15)]
    whole = fed(bar_windows(), events)
    cut = data.draw(st.integers(0, len(events)))
    first = bar_windows()
    told = fed(first, events[:cut])
    position, mark = first.since(PLACE, cut), msgspec.json.decode(msgspec.json.encode(first.mark), type=Mark)
    crashed = data.draw(st.integers(cut, len(events)))
    again = fed(first, events[cut:crashed], cut)  # told, but not in the position: told again
    successor = bar_windows()
    successor.mark = mark
    rest = fed(successor, events[position:], position)
    assert told + rest == whole
    assert rest[: len(again)] == again


def test_what_was_not_seen_from_its_beginning_is_not_told() -> None:
    windows = bar_windows()
    windows.mark = Mark(whole=AT + 30 * NS_PER_S)
    told = fed(windows, [tick(trade(KEY, 1, 40 * NS_PER_S)), tick(trade(KEY, 2, 70 * NS_PER_S)), quote(AT + 10**13)])
    assert [(event.id, event.observed_at) for event in told] == [
        (f"{KEY}/bar60/{AT + NS_PER_MIN}", AT + 2 * NS_PER_MIN + LATENESS_NS)
    ]


def test_a_text_counts_in_the_hour_in_which_it_was_seen() -> None:
    windows = sentiment_windows()
    old = TweetPosted(id="t", key="BTC", occurred_at=AT - 10**15, observed_at=AT, author="ann", text="a great win")
    told = fed(windows, [old, quote(AT + 10**13)])
    assert [event.key for event in told] == ["BTC"] * len(LEXICONS)
    assert windows.late == 0


def test_a_trade_of_a_foreign_id_counts_once() -> None:
    foreign = msgspec.structs.replace(tick(trade(KEY, 1, 0, size=2.0)), id="no number")
    (bar, *_) = fed(bar_windows(), [foreign, foreign, quote(AT + 10**14)])
    assert pa.scalar(bar.volume).as_py() == 2.0  # type: ignore[attr-defined]
