from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.columns import faults
from schemas.base import NS_PER_MIN, NS_PER_S, Event
from schemas.checks import LATEST_NS, check
from schemas.errors import RefusedError
from schemas.market import BarClosed, QuoteTicked, TradeTicked

NUMBERLESS = (math.nan, math.inf, -math.inf)
NOW = 1_700_000_000 * NS_PER_S
VALUES = st.sampled_from((1.0, 1.5, 2.0, 0.0, -1.0, 1e-18, 9e-19, 1e-300, 1e12, 1.1e12, 1e18, 2e18, 1e300, *NUMBERLESS))
TIMES = st.sampled_from((NOW, NOW + NS_PER_S, NOW + NS_PER_S + 1, NOW + 3 * NS_PER_S, 0, -5, LATEST_NS))


def rows(*fields: str) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({"occurred_at": TIMES, "observed_at": TIMES} | dict.fromkeys(fields, VALUES))


def agree(kind: str, cls: type[Event], row: dict[str, float], **fixed: int) -> bool:
    columns = {name: np.array([value]) for name, value in (row | {"side": 1} | fixed).items()}
    broken = any(mask[0] for _, mask in faults(kind, columns))
    fields: dict[str, Any] = {**row, **fixed}
    event = cls(id="i", key="k", **fields)
    try:
        check(event)
    except RefusedError:
        return broken
    return not broken


@given(rows("open", "high", "low", "close", "volume"))
def test_bars_are_refused_alike_in_columns_and_as_events(row: dict[str, float]) -> None:
    assert agree("bars", BarClosed, row, interval_ns=NS_PER_MIN)
    assert agree("bars", BarClosed, row, interval_ns=0)


@given(rows("price", "size"))
def test_trades_are_refused_alike_in_columns_and_as_events(row: dict[str, float]) -> None:
    assert agree("trades", TradeTicked, row)


@given(st.integers(-128, 127))
def test_a_side_is_bought_sold_or_unknown(side: int) -> None:
    columns = {name: np.array([NOW]) for name in ("occurred_at", "observed_at")} | {
        "price": np.ones(1),
        "size": np.ones(1),
        "side": np.array([side], np.int8),
    }
    assert [rule.field for rule, _ in faults("trades", columns)] == ([] if side in (-1, 0, 1) else ["side"])


@given(rows("bid", "ask", "bid_size", "ask_size"))
def test_quotes_are_refused_alike_in_columns_and_as_events(row: dict[str, float]) -> None:
    assert agree("quotes", QuoteTicked, row)
