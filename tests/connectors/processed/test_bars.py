"""A bar is what its trades say: against a plain loop, in any order, sent twice, and late."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.archive import SCHEMAS
from connectors.columns import faults
from connectors.processed.bars import INTERVALS, LATENESS_NS, bar_events, bars_of
from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.checks import check
from tests.connectors.processed.trades import AT, COLUMNS, Trade, table, trade

SPANS = st.integers(0, 3 * 60 * NS_PER_MIN)
TRADES = st.lists(
    st.builds(
        trade,
        st.sampled_from(["BTC/USDT@binance", "ETH/USDT@binance"]),
        st.integers(0, 40),
        SPANS,
        delay=st.sampled_from([0, NS_PER_S, LATENESS_NS - 1, LATENESS_NS, 2 * NS_PER_MIN]),
        price=st.floats(1e-6, 1e6),
        size=st.floats(1e-9, 1e9),
    ),
    max_size=60,
)


def by_hand(trades: list[Trade], interval_ns: int) -> tuple[list[dict[str, Any]], int]:
    first: dict[tuple[str, int], Trade] = {}
    for each in sorted(trades, key=lambda t: (t.observed_at, t.occurred_at)):
        first.setdefault((each.key, each.number), each)
    groups: dict[tuple[int, str], list[Trade]] = {}
    late = 0
    for each in first.values():
        opened = each.occurred_at // interval_ns * interval_ns
        if each.observed_at >= opened + interval_ns + LATENESS_NS:
            late += 1
        else:
            groups.setdefault((opened, each.key), []).append(each)
    bars = []
    for (opened, key), found in sorted(groups.items()):
        found.sort(key=lambda t: (t.occurred_at, t.number))
        bars.append(
            {
                "key": key,
                "number": opened,
                "occurred_at": opened + interval_ns,
                "observed_at": opened + interval_ns + LATENESS_NS,
                "open": found[0].price,
                "high": max(t.price for t in found),
                "low": min(t.price for t in found),
                "close": found[-1].price,
                "volume": float(sum(Fraction(t.size) for t in found)),
                "interval_ns": interval_ns,
            }
        )
    return bars, late


@pytest.mark.parametrize("interval", INTERVALS)
@given(trades=TRADES, seed=st.integers(0, 99))
def test_bars_are_those_of_a_plain_loop_in_any_order(interval: str, trades: list[Trade], seed: int) -> None:
    trades = list({(t.key, t.number, t.observed_at): t for t in trades}.values())
    shuffled = random.Random(seed).sample(trades, len(trades))
    built = bars_of(table(shuffled), INTERVALS[interval])
    bars, late = by_hand(trades, INTERVALS[interval])
    assert built.bars.to_pylist() == bars
    assert built.late == late
    assert built.bars.schema == SCHEMAS["bars"]
    numbers = {name: built.bars[name].to_numpy() for name in built.bars.column_names if name != "key"}
    assert not list(faults("bars", numbers))


def test_a_bar_as_an_event_is_one_that_a_feed_would_tell() -> None:
    trades = [trade("BTC/USDT@binance", 1, 0, price=10.0, size=2.0), trade("BTC/USDT@binance", 2, 1, price=11.0)]
    (event,) = bar_events(bars_of(table(trades), NS_PER_MIN).bars)
    check(event)
    assert event.id == f"BTC/USDT@binance/bar60/{AT}"
    assert (event.open, event.high, event.low, event.close, event.volume) == (10.0, 11.0, 10.0, 11.0, 3.0)
    assert event.occurred_at == AT + NS_PER_MIN


def test_a_trade_sent_twice_counts_once_and_one_that_is_late_not_at_all() -> None:
    twice = trade("BTC/USDT@binance", 1, 0, size=2.0)
    late = trade("BTC/USDT@binance", 2, 0, delay=NS_PER_MIN + LATENESS_NS, size=9.0)
    in_time = trade("BTC/USDT@binance", 3, 0, delay=NS_PER_MIN + LATENESS_NS - 1)
    built = bars_of(table([twice, late, in_time, twice]), NS_PER_MIN)
    assert built.bars["volume"].to_pylist() == [3.0]
    assert built.late == 1


def test_no_trades_make_no_bar() -> None:
    built = bars_of(pa.table({name: pa.array([], kind) for name, kind in COLUMNS.items()}), NS_PER_MIN)
    assert built.bars.num_rows == 0
    assert built.bars.schema == SCHEMAS["bars"]
