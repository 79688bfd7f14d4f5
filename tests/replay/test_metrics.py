from __future__ import annotations

import re
from itertools import pairwise
from math import inf, isfinite, nan, sqrt
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay import metrics
from replay.curves import Curve, daily_returns
from replay.metrics import ACTIVITY_METRICS, CURVE_METRICS, Metric, measure
from replay.trades import Activity
from schemas.base import NS_PER_DAY, NS_PER_S

START = 17_168 * NS_PER_DAY  # a Monday


def curve(*values: float, periods: int = 365) -> Curve:
    """A curve with one value a day."""
    times = np.array([START + i * NS_PER_DAY for i in range(len(values))], np.int64)
    worth = np.array(values)
    return Curve(times, worth, daily_returns(times, worth, periods, np.arange(17_000, 18_000)), periods)


def activity(*nets: float, **changes: object) -> Activity:
    plain = Activity(
        nets=nets,
        holding_ns=tuple(3600 * NS_PER_S for _ in nets),
        traded_notional=30_000.0,
        fees=30.0,
        equity=np.array([1000.0, 2000.0]),
        gross_exposure=np.array([500.0, 0.0]),
        in_market_ns=NS_PER_DAY,
        span_ns=4 * NS_PER_DAY,
        orders=5,
        fills=6,
    )
    return plain._replace(**changes)  # type: ignore[arg-type] # each test names fields that exist


def of_curve(*values: float, periods: int = 365) -> dict[str, float | None]:
    return measure(CURVE_METRICS, curve(*values, periods=periods))


def test_ratios_follow_their_formulas() -> None:
    values = (100, 102, 101, 104, 103, 103.5)
    returns = [b / a - 1 for a, b in pairwise(values)]
    daily = mean(returns) / stdev(returns)
    downside = sqrt(mean([min(r, 0) ** 2 for r in returns]))
    got = of_curve(*values)
    assert got["total_return_pct"] == pytest.approx(3.5)
    assert got["volatility_pct"] == pytest.approx(stdev(returns) * sqrt(365) * 100, abs=1e-6)
    assert got["sharpe"] == pytest.approx(daily * sqrt(365), abs=1e-6)
    assert got["sharpe_standard_error"] == pytest.approx(sqrt((1 + daily**2 / 2) / 5) * sqrt(365), abs=1e-6)
    assert got["sortino"] == pytest.approx(mean(returns) / downside * sqrt(365), abs=1e-6)
    assert got["max_drawdown_pct"] == pytest.approx(100 / 102, abs=1e-6)
    assert got["max_drawdown_days"] == 2.0


def test_trading_days_a_year_scale_the_ratios() -> None:
    values = (100, 102, 101, 103, 102, 105)
    crypto, stocks = of_curve(*values), of_curve(*values, periods=252)
    assert crypto["sharpe"] is not None
    assert stocks["sharpe"] is not None
    assert crypto["sharpe"] / stocks["sharpe"] == pytest.approx(sqrt(365 / 252), rel=1e-6)


def test_a_year_compounds_to_itself() -> None:
    year = [100 * 1.21 ** (day / 365) for day in range(366)]
    year[100] *= 0.9
    got = of_curve(*year)
    assert got["cagr_pct"] == pytest.approx(21.0, abs=1e-6)
    assert got["calmar"] == pytest.approx(21.0 / float(got["max_drawdown_pct"] or 0), abs=1e-5)


def test_half_a_year_is_compounded_twice() -> None:
    got = of_curve(*np.linspace(100, 110, 183).tolist())
    assert got["cagr_pct"] == pytest.approx((1.1 ** (365 / 182) - 1) * 100, abs=1e-6)


def test_a_short_run_is_not_compounded() -> None:
    got = of_curve(*range(100, 129))
    assert (got["cagr_pct"], got["calmar"]) == (None, None)
    assert got["sharpe"] is not None


@pytest.mark.parametrize("values", [(100.0,), (100.0, 101.0), (100.0,) * 7, tuple(100 * 1.1**n for n in range(7))])
def test_without_variance_there_is_no_ratio(values: tuple[float, ...]) -> None:
    got = of_curve(*values)
    assert (got["sharpe"], got["volatility_pct"], got["sharpe_standard_error"]) == (None, None, None)
    assert (got["sortino"], got["max_drawdown_pct"], got["max_drawdown_days"]) == (None, 0.0, 0.0)


def test_a_few_days_are_not_annualised() -> None:
    got = of_curve(100, 102, 101, 103, 102)
    assert (got["sharpe"], got["sortino"], got["volatility_pct"]) == (None, None, None)
    assert of_curve(100, 102, 101, 103, 102, 105)["sharpe"] is not None


def test_equity_below_zero_leaves_the_ratios_without_value() -> None:
    got = of_curve(*([100.0] * 20), -10.0, *([50.0] * 20), -20.0)
    assert (got["sharpe"], got["sortino"], got["cagr_pct"]) == (None, None, None)
    assert got["total_return_pct"] == -120.0
    assert got["max_drawdown_pct"] == 120.0


def test_trading_follows_its_formulas() -> None:
    got = measure(ACTIVITY_METRICS, activity(100.0, -50.0, 20.0, 0.0, -10.0, -10.0))
    assert got == {
        "orders": 5,
        "fills": 6,
        "trades": 6,
        "win_rate_pct": 33.333333,
        "profit_factor": 1.714286,
        "expectancy": 8.333333,
        "average_win": 60.0,
        "average_loss": -23.333333,
        "longest_losing_streak": 2,
        "average_holding_s": 3600.0,
        "turnover": 10.0,
        "time_in_market_pct": 25.0,
        "gross_exposure_pct": 25.0,
        "fees_paid": 30.0,
    }


def test_without_trades_there_is_nothing_to_average() -> None:
    got = measure(ACTIVITY_METRICS, activity(span_ns=0))
    empty = ("win_rate_pct", "profit_factor", "expectancy", "average_win", "average_loss", "average_holding_s")
    assert [got[name] for name in (*empty, "time_in_market_pct")] == [None] * 7
    assert (got["trades"], got["longest_losing_streak"]) == (0, 0)


def test_winners_alone_have_no_profit_factor() -> None:
    got = measure(ACTIVITY_METRICS, activity(1.0, 2.0))
    assert (got["profit_factor"], got["average_loss"], got["win_rate_pct"]) == (None, None, 100.0)


def test_lost_equity_has_no_exposure() -> None:
    got = measure(ACTIVITY_METRICS, activity(equity=np.array([100.0, -100.0])))
    assert (got["gross_exposure_pct"], got["turnover"]) == (None, None)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80), st.lists(st.floats(-1e9, 1e9), max_size=30))
def test_no_measure_is_ever_nan_or_infinite(values: list[float], nets: list[float]) -> None:
    values[0] = abs(values[0]) + 1
    equity = np.array(values)
    both = measure(CURVE_METRICS, curve(*values)) | measure(
        ACTIVITY_METRICS, activity(*nets, equity=equity, gross_exposure=np.abs(equity))
    )
    assert all(value is None or isfinite(value) for value in both.values())


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_measure_that_is_not_finite_has_no_value(value: float) -> None:
    broken = Metric("m", "M", "ratio", "f", "s", "", lambda _: value)
    assert measure([broken], curve(1.0)) == {"m": None}


def test_measures_that_may_lack_a_value_say_when() -> None:
    nothing = measure(CURVE_METRICS, curve(1.0)) | measure(ACTIVITY_METRICS, activity(span_ns=0))
    silent = {m.name for m in (*CURVE_METRICS, *ACTIVITY_METRICS) if not m.null}
    assert all(nothing[name] is not None for name in silent)


def test_the_page_holds_the_tables() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert metrics.tables().rstrip() in page, "run `python -m replay.metrics` and put its tables into the page"
    assert not re.search(r"\bTODO\b", page)
