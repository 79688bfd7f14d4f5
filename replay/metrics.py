"""What a run is worth, in the field's standard measures, each with formula, source and when it has no value.

Sums are exact before they are rounded (`math.fsum`) and results are rounded to 6 decimals, so every machine
prints the same figure. A measure without a value is None, in JSON null, never NaN or infinity.
`python -m replay.metrics` prints the tables of `docs/metrics.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from math import fsum, isfinite, sqrt
from typing import Any, Literal, NamedTuple

from replay.curves import Curve, deepest_drawdown
from replay.trades import Activity
from schemas.base import NS_PER_DAY, NS_PER_S

SHORTEST_CAGR_DAYS = 30
"""A growth over less time than this is not compounded to a year; GIPS would ask for a whole year."""
FEWEST_RETURNS = 5
"""Daily returns from which a ratio is annualised: a week of trading. Two give ratios of any size, which say nothing."""
NEGLIGIBLE = 1e-12
"""Deviations below this share of the largest return are the rounding of floats, not variance."""
CONVENTION = "the convention of trading platforms' reports"
NO_TRADES = "no round trip was closed"


Unit = Literal["%", "ratio", "days", "money", "count", "s", "x"]


class Metric(NamedTuple):
    """One measure as data: the report's tooltips and the reference page read it."""

    name: str
    label: str
    unit: Unit
    formula: str
    source: str
    null: str
    """When the measure has no value; empty where it always has one."""
    compute: Callable[[Any], float | None]


CURVE_METRICS: list[Metric] = []
"""Measures of a `Curve`: of the book's equity, and of buy and hold beside it."""
ACTIVITY_METRICS: list[Metric] = []
"""Measures of an `Activity`."""


def _metric(
    table: list[Metric], label: str, unit: Unit, formula: str, source: str, *, null: str = ""
) -> Callable[[Callable[[Any], float | None]], Callable[[Any], float | None]]:
    def add(compute: Callable[[Any], float | None]) -> Callable[[Any], float | None]:
        name = compute.__name__.removeprefix("_")
        table.append(Metric(name, label, unit, formula, source, null, compute))
        return compute

    return add


def measure(table: Sequence[Metric], sample: Curve | Activity) -> dict[str, float | None]:
    """Compute every measure of a table, rounded to 6 decimals; None where it has no value."""
    return {metric.name: _value(metric, sample) for metric in table}


def _value(metric: Metric, sample: Curve | Activity) -> float | None:
    try:
        value = metric.compute(sample)
    except OverflowError:  # beyond what a float can hold, as a ratio on an equity of 1e-200 is
        return None
    if value is None or not isfinite(value):
        return None
    return value if isinstance(value, int) else round(value, 6) + 0.0  # + 0.0 turns -0.0 into 0.0


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float | None:
    """Give the sample standard deviation; None for fewer than `FEWEST_RETURNS` values or where all are equal."""
    if len(values) < FEWEST_RETURNS:
        return None
    mean = _mean(values)
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return None if deviation <= NEGLIGIBLE * max(map(abs, values)) else deviation


@_metric(
    CURVE_METRICS,
    "Total return",
    "%",
    "last equity / first equity - 1",
    "Bacon, Practical Portfolio Performance Measurement and Attribution, 2nd ed. 2008",
)
def _total_return_pct(curve: Curve) -> float | None:
    return (float(curve.values[-1]) / float(curve.values[0]) - 1) * 100


@_metric(
    CURVE_METRICS,
    "CAGR",
    "%",
    "(last equity / first equity)^(365 / days) - 1, days from the first mark to the last",
    "Bacon 2008",
    null=f"the run is shorter than {SHORTEST_CAGR_DAYS} days, or equity ended at or below zero",
)
def _cagr_pct(curve: Curve) -> float | None:
    days = float(curve.times[-1] - curve.times[0]) / NS_PER_DAY
    growth = float(curve.values[-1]) / float(curve.values[0])
    if days < SHORTEST_CAGR_DAYS or growth <= 0:
        return None
    return float((growth ** (365 / days) - 1) * 100)


@_metric(
    CURVE_METRICS,
    "Volatility, annualised",
    "%",
    "sd(r) · √P; r the daily returns, sd with n - 1, P the book's trading days a year",
    "Bacon 2008",
    null=f"fewer than {FEWEST_RETURNS} daily returns, or no variance",
)
def _volatility_pct(curve: Curve) -> float | None:
    deviation = _deviation(curve.daily)
    return None if deviation is None else deviation * sqrt(curve.periods_per_year) * 100


@_metric(
    CURVE_METRICS,
    "Sharpe ratio",
    "ratio",
    "mean(r) / sd(r) · √P; the risk-free rate is taken as zero",
    "Sharpe, The Sharpe Ratio, J. of Portfolio Management 21(1), 1994",
    null=f"fewer than {FEWEST_RETURNS} daily returns, or no variance",
)
def _sharpe(curve: Curve) -> float | None:
    deviation = _deviation(curve.daily)
    return None if deviation is None else _mean(curve.daily) / deviation * sqrt(curve.periods_per_year)


@_metric(
    CURVE_METRICS,
    "Sharpe ratio, standard error",
    "ratio",
    "√((1 + S²/2) / n) · √P; S the daily Sharpe ratio, n the number of daily returns, taken as independent",
    "Lo, The Statistics of Sharpe Ratios, Financial Analysts Journal 58(4), 2002",
    null=f"fewer than {FEWEST_RETURNS} daily returns, or no variance",
)
def _sharpe_standard_error(curve: Curve) -> float | None:
    deviation = _deviation(curve.daily)
    if deviation is None:
        return None
    daily = _mean(curve.daily) / deviation
    return sqrt((1 + daily**2 / 2) / len(curve.daily)) * sqrt(curve.periods_per_year)


@_metric(
    CURVE_METRICS,
    "Sortino ratio",
    "ratio",
    "mean(r) / √mean(min(r, 0)²) · √P; the target is zero, the mean is over all days",
    "Sortino and Price, Performance Measurement in a Downside Risk Framework, J. of Investing 3(3), 1994",
    null=f"fewer than {FEWEST_RETURNS} daily returns, or no losing day",
)
def _sortino(curve: Curve) -> float | None:
    if len(curve.daily) < FEWEST_RETURNS:
        return None
    downside = sqrt(_mean([min(r, 0.0) ** 2 for r in curve.daily]))
    return None if downside == 0 else _mean(curve.daily) / downside * sqrt(curve.periods_per_year)


@_metric(
    CURVE_METRICS,
    "Max drawdown",
    "%",
    "largest 1 - equity / highest equity before it, over the equity marks",
    "Magdon-Ismail and Atiya, Maximum Drawdown, Risk 17(10), 2004",
)
def _max_drawdown_pct(curve: Curve) -> float | None:
    deepest = deepest_drawdown(curve.times, curve.values)
    return 0.0 if deepest is None else deepest.depth * 100


@_metric(
    CURVE_METRICS,
    "Max drawdown, length",
    "days",
    "days from the peak to the recovery of that equity, or to the end of the run where it did not recover",
    "Bacon 2008 (drawdown duration)",
)
def _max_drawdown_days(curve: Curve) -> float | None:
    deepest = deepest_drawdown(curve.times, curve.values)
    return 0.0 if deepest is None else deepest.days


@_metric(
    CURVE_METRICS,
    "Calmar ratio",
    "ratio",
    "CAGR / max drawdown, over the whole run",
    "Young, Calmar Ratio: A Smoother Tool, Futures, October 1991 (there over 36 months)",
    null="there is no CAGR, or equity never fell",
)
def _calmar(curve: Curve) -> float | None:
    growth, depth = _cagr_pct(curve), _max_drawdown_pct(curve)
    return None if growth is None or not depth else growth / depth


@_metric(ACTIVITY_METRICS, "Orders", "count", "OrderRequested events", "the log")
def _orders(activity: Activity) -> float | None:
    return activity.orders


@_metric(ACTIVITY_METRICS, "Fills", "count", "OrderFilled events that changed a position", "the log")
def _fills(activity: Activity) -> float | None:
    return activity.fills


@_metric(
    ACTIVITY_METRICS,
    "Trades",
    "count",
    "closed round trips, flat to flat in one instrument; a fill that turns a position ends one, starts one",
    "the log",
)
def _trades(activity: Activity) -> float | None:
    return len(activity.nets)


@_metric(
    ACTIVITY_METRICS,
    "Win rate",
    "%",
    "round trips with a result above zero after fees / all closed round trips",
    CONVENTION,
    null=NO_TRADES,
)
def _win_rate_pct(activity: Activity) -> float | None:
    nets = activity.nets
    return sum(net > 0 for net in nets) / len(nets) * 100 if nets else None


@_metric(
    ACTIVITY_METRICS,
    "Profit factor",
    "ratio",
    "sum of the results above zero / -sum of those below, after fees",
    CONVENTION,
    null="no round trip lost",
)
def _profit_factor(activity: Activity) -> float | None:
    lost = -fsum(net for net in activity.nets if net < 0)
    return fsum(net for net in activity.nets if net > 0) / lost if lost else None


@_metric(
    ACTIVITY_METRICS,
    "Expectancy",
    "money",
    "mean result of a round trip after fees",
    "Vince, Portfolio Management Formulas, 1990 (mathematical expectation)",
    null=NO_TRADES,
)
def _expectancy(activity: Activity) -> float | None:
    return _mean(activity.nets) if activity.nets else None


@_metric(
    ACTIVITY_METRICS,
    "Average win",
    "money",
    "mean of the results above zero",
    CONVENTION,
    null="no round trip won",
)
def _average_win(activity: Activity) -> float | None:
    wins = [net for net in activity.nets if net > 0]
    return _mean(wins) if wins else None


@_metric(
    ACTIVITY_METRICS,
    "Average loss",
    "money",
    "mean of the results below zero",
    CONVENTION,
    null="no round trip lost",
)
def _average_loss(activity: Activity) -> float | None:
    losses = [net for net in activity.nets if net < 0]
    return _mean(losses) if losses else None


@_metric(
    ACTIVITY_METRICS,
    "Longest losing streak",
    "count",
    "most round trips in a row, in order of closing, with a result below zero",
    CONVENTION,
)
def _longest_losing_streak(activity: Activity) -> float | None:
    longest = streak = 0
    for net in activity.nets:
        streak = streak + 1 if net < 0 else 0
        longest = max(longest, streak)
    return longest


@_metric(
    ACTIVITY_METRICS,
    "Average holding time",
    "s",
    "mean time from the first fill to the last",
    CONVENTION,
    null=NO_TRADES,
)
def _average_holding_s(activity: Activity) -> float | None:
    return _mean(activity.holding_ns) / NS_PER_S if activity.holding_ns else None


@_metric(
    ACTIVITY_METRICS,
    "Turnover",
    "x",
    "(notional bought + notional sold) / 2 / mean equity, over the run, not annualised",
    "Grinold and Kahn, Active Portfolio Management, 2nd ed. 2000, ch. 16",
    null="mean equity is not above zero",
)
def _turnover(activity: Activity) -> float | None:
    mean = _mean(activity.equity.tolist())
    return activity.traded_notional / 2 / mean if mean > 0 else None


@_metric(
    ACTIVITY_METRICS,
    "Time in market",
    "%",
    "time with any position open / time from the first mark to the last",
    CONVENTION,
    null="the run has no length",
)
def _time_in_market_pct(activity: Activity) -> float | None:
    return activity.in_market_ns / activity.span_ns * 100 if activity.span_ns else None


@_metric(
    ACTIVITY_METRICS,
    "Average gross exposure",
    "%",
    "mean over the equity marks of the positions' absolute notional / equity",
    CONVENTION,
    null="equity fell to zero",
)
def _gross_exposure_pct(activity: Activity) -> float | None:
    if not (activity.equity > 0).all():
        return None
    return _mean((activity.gross_exposure / activity.equity).tolist()) * 100


@_metric(ACTIVITY_METRICS, "Fees paid", "money", "sum of the fills' fees, rebates deducted", "the log")
def _fees_paid(activity: Activity) -> float | None:
    return activity.fees


def tables() -> str:
    """Give the measures as Markdown tables, for `docs/metrics.md`."""
    lines = []
    for title, table in (("Of the equity curve", CURVE_METRICS), ("Of the trading", ACTIVITY_METRICS)):
        lines += [f"### {title}", "", "| name | unit | formula | source | null when |", "|---|---|---|---|---|"]
        lines += [f"| `{m.name}` | {m.unit} | {m.formula} | {m.source} | {m.null or 'never'} |" for m in table]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(tables())
