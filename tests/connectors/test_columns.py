from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.columns import faults
from schemas.base import NS_PER_MIN, NS_PER_S, Event
from schemas.checks import LATEST_NS, check
from schemas.errors import RefusedError
from schemas.market import BarClosed, QuoteTicked, TradeTicked

NOW = 1_700_000_000 * NS_PER_S
VALUES = st.sampled_from((1.0, 1.5, 2.0, 0.0, -1.0, math.nan, math.inf, -math.inf))
TIMES = st.sampled_from((NOW, NOW + NS_PER_S, NOW + NS_PER_S + 1, NOW + 3 * NS_PER_S, 0, -5, LATEST_NS))
Envelope = st.fixed_dictionaries({"occurred_at": TIMES, "observed_at": TIMES})


def refused(event: Event) -> bool:
    try:
        check(event)
    except RefusedError:
        return True
    return False


def broken(kind: str, row: dict[str, float | int]) -> bool:
    columns = {name: np.array([value]) for name, value in row.items()}
    return any(mask[0] for _, mask in faults(kind, columns))


@given(Envelope, st.fixed_dictionaries(dict.fromkeys(("open", "high", "low", "close", "volume"), VALUES)))
def test_bars_are_refused_alike_in_columns_and_as_events(times: dict[str, int], values: dict[str, float]) -> None:
    for interval_ns in (NS_PER_MIN, 0):
        event = BarClosed(id="i", key="k", **times, **values, interval_ns=interval_ns)
        assert broken("bars", {**times, **values, "interval_ns": interval_ns}) == refused(event)


@given(Envelope, st.fixed_dictionaries(dict.fromkeys(("price", "size"), VALUES)))
def test_trades_are_refused_alike_in_columns_and_as_events(times: dict[str, int], values: dict[str, float]) -> None:
    event = TradeTicked(id="i", key="k", **times, **values)
    assert broken("trades", {**times, **values, "side": 1}) == refused(event)


@given(Envelope, st.fixed_dictionaries(dict.fromkeys(("bid", "ask", "bid_size", "ask_size"), VALUES)))
def test_quotes_are_refused_alike_in_columns_and_as_events(times: dict[str, int], values: dict[str, float]) -> None:
    event = QuoteTicked(id="i", key="k", **times, **values)
    assert broken("quotes", {**times, **values}) == refused(event)
