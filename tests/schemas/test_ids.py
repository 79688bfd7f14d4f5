"""Ids are the same on every machine and for ever, and different events have different ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import base_of, derived_id, market_id


@pytest.mark.parametrize(
    ("cause", "agent", "index", "expected"),
    [
        ("BTC/USDT@binance/bar60/1699999940000000000", "risk", 0, "35042e54910e0aff41cf37c8e7308e2e"),
        ("BTC/USDT@binance/bar60/1699999940000000000", "risk", 1, "a2534c403ab566f87d1641a892a1f460"),
        ("tweet-815", "analysts", 0, "9bd3cb800d97710bfefaa3ec72f77799"),
        ("Größe", "orders", 7, "c1060027a4f129fb580a4449f5002347"),
    ],
)
def test_derived_ids_never_change(cause: str, agent: str, index: int, expected: str) -> None:
    assert derived_id(cause, agent, index) == expected


def test_many_derived_ids_are_all_different() -> None:
    def ids() -> Iterator[str]:
        for cause in range(2_000):
            for agent in ("features", "analysts", "consensus", "risk", "orders"):
                for index in range(10):
                    yield derived_id(f"BTC/USDT@binance/trade/{cause}", agent, index)

    assert len(set(ids())) == 2_000 * 5 * 10


NAMES = st.from_regex(r"[a-z]{1,12}", fullmatch=True)
CALLS = st.tuples(st.text(max_size=20), NAMES, st.integers(0, 10**6))


@given(CALLS, CALLS)
def test_ids_differ_wherever_cause_agent_or_index_does(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    """A cause may hold the separator itself, for agents are plain words and indices are numbers."""
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


@given(st.tuples(NAMES, st.integers(0, 10**6)), st.text(alphabet="a|1", max_size=8), st.text(alphabet="a|1"))
def test_a_cause_cannot_borrow_from_what_follows_it(call: tuple[str, int], one: str, other: str) -> None:
    agent, index = call
    assert (derived_id(one, agent, index) == derived_id(other, agent, index)) == (one == other)


@pytest.mark.parametrize(
    ("key", "kind", "number", "expected"),
    [
        ("BTC/USDT@binance", "trade", 3_746_523_112, "BTC/USDT@binance/trade/3746523112"),
        ("SPY@nyse", "bar60", 1_381_152_600 * 10**9, "SPY@nyse/bar60/1381152600000000000"),
        ("BTC/USDT@binance", "quote", 0, "BTC/USDT@binance/quote/0"),
    ],
)
def test_market_ids_say_what_they_identify(key: str, kind: str, number: int, expected: str) -> None:
    assert market_id(key, kind, number) == expected


@pytest.mark.parametrize(
    ("instrument", "base"),
    [("BTC/USD@binance", "BTC"), ("SPY@lean", "SPY"), ("BTC/USD:USD@a/b", "BTC"), ("ES@x/y", "ES"), ("SPY", "SPY")],
)
def test_texts_are_keyed_by_the_symbol_without_quote_and_venue(instrument: str, base: str) -> None:
    assert base_of(instrument) == base
