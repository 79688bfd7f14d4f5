"""A synthetic market with a press: news runs minutes ahead of the price, so text holds information.

Every day of every instrument is drawn from generators of its own. So a market takes the memory of a day, a longer
one begins with the shorter one, and another instrument leaves the first as it was. (The flash crash and the attack
are placed by the market's length.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors import archive
from replay.synthetic import press
from replay.synthetic.scenario import (
    COMMON,
    GAPS,
    MINUTES,
    OWN,
    REGIME,
    TAPE,
    Scenario,
    day_start_ns,
)
from replay.synthetic.tape import trades_and_quotes
from replay.synthetic.walk import (
    VOLUME_DECIMALS,
    Bars,
    Floats,
    Mask,
    bars_table,
    bars_through,
    bell,
    compounded,
    rows_of,
)
from schemas.base import NS_PER_MIN, base_of

KINDS = ("bars", "trades", "quotes", "tweets", "news")
FIRST_PRICES = {"BTC": 40_000.0, "ETH": 2_400.0}
OTHER_FIRST_PRICE = 100.0
VOLATILITY = 0.0004
"""Standard deviation of a minute's return; half of the variance is common to all instruments."""
REGIME_DAYS = 2
REGIMES = ((0.01, 0.8), (-0.01, 1.3), (0.0, 0.7), (0.0, 1.5))
"""Drift a day and factor of the volatility; one of them holds for `REGIME_DAYS`."""
NEWS_VOLUME, CRASH_VOLUME = 3.0, 20.0
CRASH_AT_MIN, CRASH_MIN, REBOUND_MIN = 847, 4, 20
CRASH_PER_MIN = -0.03
REBOUND_PER_MIN = 0.0055
GAP_SHARE = 0.004
OUTAGE_AT_MIN, OUTAGE_MIN, OUTAGE_EVERY_DAYS = 190, 90, 7


def write_archive(root: Path, scenario: Scenario) -> int:
    """Write the market into the archive at `root`, in place of an earlier synthetic one; return its rows.

    Raises ValueError where there can be no such market, and ArchiveError where the folder cannot be written.
    """
    scenario.check()
    rows = 0
    for index, instrument in enumerate(scenario.instruments):
        source = f"synthetic {instrument}"
        kept: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for kind, table in _by_day_seen(scenario, index):
            kept[kind] += archive.write(root, kind, table, source)
            rows += table.num_rows
        for kind, keys in kept.items():
            archive.discard(root, kind, source, keys)
    return rows


def _by_day_seen(scenario: Scenario, index: int) -> Iterator[tuple[str, pa.Table]]:
    """Give all rows seen on a day in one table, for the archive holds one file a day: midnight's come a day later."""
    late: dict[str, pa.Table] = {}
    for day, bars in enumerate(daily_bars(scenario, index)):
        last = day == scenario.days - 1
        for kind, made in _tables(scenario, index, day, bars):
            table = pa.concat_tables([late[kind], made]) if kind in late else made
            today = pc.less(table["observed_at"], day_start_ns(day + 1))
            late[kind] = table.filter(pc.invert(today))
            seen = table if last else table.filter(today)
            if seen.num_rows:
                yield kind, seen


def _tables(scenario: Scenario, index: int, day: int, bars: Bars) -> Iterator[tuple[str, pa.Table]]:
    instrument = scenario.instruments[index]
    if scenario.ticks:
        trades, quotes = trades_and_quotes(bars, instrument, scenario.rng(TAPE, index, day))
        yield "trades", trades
        yield "quotes", quotes
    else:
        yield "bars", bars_table(bars, instrument)
    yield "news", press.news(scenario, index, day)
    yield "tweets", press.tweets(scenario, index, day)


def daily_bars(scenario: Scenario, index: int) -> Iterator[Bars]:
    """Draw the one-minute bars of an instrument, a day at a time."""
    level = open_price = FIRST_PRICES.get(base_of(scenario.instruments[index]), OTHER_FIRST_PRICE)
    for day in range(scenario.days):
        returns, activity = _returns(scenario, index, day)
        levels = compounded(level, returns)
        closed_at = day_start_ns(day) + NS_PER_MIN * np.arange(1, MINUTES + 1, dtype=np.int64)
        bars = bars_through(levels, open_price, closed_at, scenario.rng(OWN, index, day, 1), VOLATILITY)
        bars = bars._replace(volume=np.round(bars.volume * activity, VOLUME_DECIMALS))
        level, open_price = float(levels[-1]), float(bars.close[-1])
        if scenario.gaps:
            bars = rows_of(bars, _traded(scenario, index, day))
        yield bars


def _returns(scenario: Scenario, index: int, day: int) -> tuple[Floats, Floats]:
    """Give the return of each minute, and the factor of its volume."""
    common = bell(scenario.rng(COMMON, day), MINUTES)
    own = bell(scenario.rng(OWN, index, day, 0), MINUTES)
    drift, factor = 0.0, 1.0
    if scenario.trends:
        drift, factor = REGIMES[int(scenario.rng(REGIME, index, day // REGIME_DAYS).random() * len(REGIMES))]
    pushed = press.impulses(scenario, index, day)
    returns = VOLATILITY * factor * math.sqrt(0.5) * (common + own) + drift / MINUTES + pushed
    activity = np.where(pushed != 0.0, NEWS_VOLUME, 1.0)
    if scenario.flash_crash and day == scenario.crash_day:
        bottom, end = CRASH_AT_MIN + CRASH_MIN, CRASH_AT_MIN + CRASH_MIN + REBOUND_MIN
        returns[CRASH_AT_MIN:bottom] = CRASH_PER_MIN
        returns[bottom:end] = REBOUND_PER_MIN
        activity[CRASH_AT_MIN:end] = CRASH_VOLUME
    return returns, activity


def _traded(scenario: Scenario, index: int, day: int) -> Mask:
    """Tell which minutes saw a trade."""
    traded: Mask = scenario.rng(GAPS, index, day).random(MINUTES) >= GAP_SHARE
    if day % OUTAGE_EVERY_DAYS == OUTAGE_EVERY_DAYS - 1:
        traded[OUTAGE_AT_MIN : OUTAGE_AT_MIN + OUTAGE_MIN] = False
    return traded
