from __future__ import annotations

from math import isclose, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.frame import Floats, Ints
from replay.curves import buy_and_hold, daily_returns, deepest_drawdown, drawdowns, monthly_returns
from schemas.base import NS_PER_DAY, NS_PER_S

HOUR = 3600 * NS_PER_S
MONDAY = 17_168 * NS_PER_DAY  # 2017-01-02
NONE = np.empty(0, np.int64)


def at(*hours: float) -> Ints:
    return np.array([MONDAY + int(hour * HOUR) for hour in hours], np.int64)


def worth(*values: float) -> Floats:
    return np.array(values, np.float64)


def test_returns_run_from_midnight_to_midnight() -> None:
    returns = daily_returns(at(1, 12, 24, 36, 48), worth(100, 130, 110, 90, 121), 365, NONE)
    assert returns == pytest.approx((0.10, 0.10))


def test_a_mark_just_after_midnight_belongs_to_the_new_day() -> None:
    assert daily_returns(at(1, 24.001), worth(100, 110), 365, NONE) == pytest.approx((0.0, 0.1))


def test_a_start_at_midnight_adds_no_day() -> None:
    assert daily_returns(at(0, 24), worth(100, 110), 365, NONE) == pytest.approx((0.1,))


def test_days_without_a_mark_have_no_change_where_every_day_counts() -> None:
    assert daily_returns(at(1, 24 * 3), worth(100, 110), 365, NONE) == pytest.approx((0.0, 0.0, 0.1))


def test_of_252_days_only_priced_weekdays_count_and_lose_nothing() -> None:
    friday, saturday, monday = 4 * 24, 5 * 24, 7 * 24
    times = at(friday + 1, friday + 24, saturday + 20, monday + 24)
    values = worth(100, 110, 121, 133.1)
    priced = np.array([17_168 + 4, 17_168 + 5, 17_168 + 7])
    assert daily_returns(times, values, 252, priced) == pytest.approx((0.21, 0.1))


def test_equity_at_zero_has_no_returns() -> None:
    assert daily_returns(at(1, 24, 48), worth(100, 0, 50), 365, NONE) == ()
    assert daily_returns(at(1, 24, 48), worth(100, 50, 0), 365, NONE) == pytest.approx((-0.5, -1.0))


@given(st.lists(st.floats(1, 1e6), min_size=2, max_size=60), st.sampled_from((252, 365)))
def test_returns_compound_to_the_whole(values: list[float], periods: int) -> None:
    times = at(*(6 * i for i in range(len(values))))
    returns = daily_returns(times, worth(*values), periods, np.arange(17_168, 17_200))
    assert isclose(prod(1 + r for r in returns), values[-1] / values[0], rel_tol=1e-9)
    months = monthly_returns(times, worth(*values))
    assert isclose(prod(1 + m.change for m in months), values[-1] / values[0], rel_tol=1e-9)


def test_months_are_calendar_months_and_midnight_ends_one() -> None:
    last_of_january = 30 * 24
    months = monthly_returns(at(1, last_of_january, last_of_january + 1), worth(100, 110, 99))
    assert [(m.year, m.month, round(m.change, 6)) for m in months] == [(2017, 1, 0.1), (2017, 2, -0.1)]


def test_deepest_drawdown_runs_from_the_peak_to_the_recovery() -> None:
    deepest = deepest_drawdown(at(0, 24, 48, 72, 96), worth(100, 120, 90, 119, 120))
    assert deepest is not None
    assert (deepest.depth, deepest.days) == (0.25, 3.0)
    assert [deepest.peak_at, deepest.trough_at, deepest.recovered_at] == at(24, 48, 96).tolist()


def test_a_drawdown_that_lasts_to_the_end_is_not_recovered() -> None:
    deepest = deepest_drawdown(at(0, 24, 48), worth(100, 50, 60))
    assert deepest is not None
    assert deepest.recovered_at is None
    assert deepest.days == 2.0


def test_a_curve_that_never_falls_has_no_drawdown() -> None:
    assert deepest_drawdown(at(0, 24), worth(100, 100)) is None


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=50))
def test_drawdowns_lie_between_none_and_all(values: list[float]) -> None:
    falls = drawdowns(worth(*values))
    assert ((falls >= 0) & (falls < 1)).all()


def test_buy_and_hold_pays_one_fee_and_waits_in_cash() -> None:
    prices = {"A": (at(0, 24), worth(10, 20)), "B": (at(24), worth(5.0))}
    held = buy_and_hold(at(0, 24), prices, ("A", "B", "C"), 3000, 10)
    assert held == pytest.approx([1000 / 1.001 + 2000, 2000 / 1.001 + 1000 / 1.001 + 1000])
