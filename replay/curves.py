"""Curves of worth over time: the book's equity, buy and hold beside it, their daily returns and drawdowns.

Pure functions of arrays. Times are ns since 1970, UTC, ascending; values are in the book's currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from agents.frame import Floats, Ints
from schemas.base import NS_PER_DAY


class Curve(NamedTuple):
    """Worth over time: the first point is the start. Times in ns ascending, values in the book's currency."""

    times: Ints
    values: Floats
    daily: tuple[float, ...]
    """Returns from one UTC midnight to the next, as fractions; see `daily_returns`."""
    periods_per_year: int


def _ending(times: Ints) -> Ints:
    """Count midnight to the day that it ends, but for the start, which begins its day."""
    return np.append(times[:1], times[1:] - 1)


def daily_returns(times: Ints, values: Floats, periods_per_year: int, priced_days: Ints) -> tuple[float, ...]:
    """Resample a curve at UTC midnight and give the returns between, as fractions.

    With 365 periods a year every calendar day counts. With 252 the weekdays on which a price was seen do
    (`priced_days`, days since 1970), and what happens in between counts for the one before. Empty where
    equity was at or below zero at some midnight: no return is defined from there.
    """
    if len(times) == 0:
        return ()
    days = _ending(times) // NS_PER_DAY
    counted = np.arange(days[0], days[-1] + 1)
    if periods_per_year != 365:  # noqa: PLR2004 - the book's own constant
        weekday = (counted + 3) % 7 < 5  # noqa: PLR2004 - day 0 was a Thursday
        counted = counted[weekday & np.isin(counted, priced_days)]
    if len(counted) == 0:
        return ()
    last = np.append(np.searchsorted(days, counted[1:], side="left"), len(times)) - 1
    closes = [float(values[0]), *values[np.maximum(last, 0)].tolist()]
    if min(closes[:-1]) <= 0:
        return ()
    return tuple(after / before - 1 for before, after in pairwise(closes))


def buy_and_hold(
    times: Ints,
    prices: dict[str, tuple[Ints, Floats]],
    instruments: Sequence[str],
    cash: float,
    taker_bps: float,
) -> Floats:
    """Give the worth, at each of `times`, of cash spread equally over the instruments and left alone.

    Each is bought at its first price, pays the taker fee once, and is worth its share of the cash until then:
    cash/n / (1 + fee) · price / first price.
    """
    share = cash / len(instruments)
    worth = np.zeros(len(times))
    for instrument in instruments:
        at, price = prices.get(instrument, (np.empty(0, np.int64), np.empty(0)))
        if len(at) == 0:
            worth += share
            continue
        index = np.searchsorted(at, times, side="right") - 1
        held = share / (1 + taker_bps / 1e4) * price[np.maximum(index, 0)] / price[0]
        worth += np.where(index >= 0, held, share)
    return worth


class Drawdown(NamedTuple):
    """The deepest fall from a peak. Times in ns; `recovered_at` is None where the run ended below it."""

    depth: float
    """Share of the peak, 0 to 1 (above 1 where equity fell below zero)."""
    peak_at: int
    trough_at: int
    recovered_at: int | None
    days: float
    """From the peak to the recovery, or to the end."""


def drawdowns(values: Floats) -> Floats:
    """Give each point's distance below the highest point so far, as a share of it: 0 or more."""
    return 1 - values / np.maximum.accumulate(values)


def deepest_drawdown(times: Ints, values: Floats) -> Drawdown | None:
    """Find the deepest fall; None where the curve never fell."""
    if len(values) == 0 or values[0] <= 0:
        return None
    falls = drawdowns(values)
    trough = int(np.argmax(falls))
    if falls[trough] <= 0:
        return None
    peak = int(np.argmax(values[: trough + 1]))
    above = np.flatnonzero(values[trough:] >= values[peak])
    back = trough + int(above[0]) if len(above) else None
    end = times[-1] if back is None else times[back]
    days = float(end - times[peak]) / NS_PER_DAY
    recovered_at = None if back is None else int(times[back])
    return Drawdown(float(falls[trough]), int(times[peak]), int(times[trough]), recovered_at, days)


class Month(NamedTuple):
    """The return of one calendar month, as a fraction; of the part that ran."""

    year: int
    month: int
    change: float


def monthly_returns(times: Ints, values: Floats) -> list[Month]:
    """Give the returns by calendar month, UTC. Empty where worth was at or below zero at some month's end."""
    months = _ending(times).astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    last = np.append(np.flatnonzero(np.diff(months)), len(times) - 1)
    closes = [float(values[0]), *values[last].tolist()]
    if min(closes[:-1]) <= 0:
        return []
    return [
        Month(1970 + month // 12, month % 12 + 1, after / before - 1)
        for month, (before, after) in zip(months[last].tolist(), pairwise(closes), strict=True)
    ]
