"""Bars of trades: the one rule, over columns, that the worker and the batch builder share.

A trade counts in the bar of its `occurred_at`, once, if it was observed before the bar is told: `LATENESS_NS` behind
its end. So what a bar holds follows from the trades alone, whoever builds it and when, and looks into no future.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import fsum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.archive import NS_PER_HOUR, SCHEMAS
from schemas.base import NS_PER_MIN, NS_PER_S, market_id
from schemas.market import BarClosed

INTERVALS: dict[str, int] = {"1m": NS_PER_MIN, "5m": 5 * NS_PER_MIN, "1h": NS_PER_HOUR}
"""Name to length in ns."""
LATENESS_NS = 5 * NS_PER_S
"""How long after its end a bar waits for trades; it is observed then, and a trade observed later is not in it."""
TRADE_COLUMNS = ("key", "number", "occurred_at", "observed_at", "price", "size")
"""What the rule reads of trades in archive columns."""


class Built(NamedTuple):
    """Bars, and what is not in them."""

    bars: pa.Table
    """In the columns of `SCHEMAS["bars"]`, sorted by time, then instrument."""
    late: int
    """Trades that came too late for their bar."""


def bars_of(trades: pa.Table, interval_ns: int) -> Built:
    """Make the bars of trades given in `TRADE_COLUMNS`, in any order; an interval without a trade has none.

    Of trades with one key and number the one observed first counts. A bar opens and closes with its first and last
    trade by (`occurred_at`, `number`); its volume is the exactly rounded sum of the sizes.
    """
    names = pc.unique(trades["key"].cast(pa.string())).sort()
    key = pc.index_in(trades["key"].cast(pa.string()), names).to_numpy()
    columns = {name: trades[name].to_numpy() for name in TRADE_COLUMNS[1:]}
    number, occurred, observed = columns["number"], columns["occurred_at"], columns["observed_at"]
    first = np.lexsort((occurred, observed, number, key))
    once = np.ones(len(first), bool)
    once[1:] = (np.diff(key[first]) != 0) | (np.diff(number[first]) != 0)
    kept = first[once]
    late = is_late(occurred[kept], observed[kept], interval_ns)
    kept = kept[~late]
    opened = occurred - occurred % interval_ns
    kept = kept[np.lexsort((number[kept], occurred[kept], key[kept], opened[kept]))]
    if not len(kept):
        return Built(SCHEMAS["bars"].empty_table(), int(late.sum()))
    starts = np.flatnonzero(np.diff(opened[kept], prepend=-1) | np.diff(key[kept], prepend=-1))
    ends = np.append(starts[1:], len(kept))
    price, size = columns["price"][kept], columns["size"][kept].tolist()
    closed = opened[kept][starts] + interval_ns
    bars = {
        "key": names.take(pa.array(key[kept][starts])).dictionary_encode(),
        "number": opened[kept][starts],
        "occurred_at": closed,
        "observed_at": closed + LATENESS_NS,
        "open": price[starts],
        "high": np.maximum.reduceat(price, starts),
        "low": np.minimum.reduceat(price, starts),
        "close": price[ends - 1],
        "volume": [fsum(size[lo:hi]) for lo, hi in zip(starts.tolist(), ends.tolist(), strict=True)],
        "interval_ns": np.full(len(starts), interval_ns),
    }
    return Built(pa.table(bars, schema=SCHEMAS["bars"]), int(late.sum()))


def is_late(
    occurred_at: npt.NDArray[np.int64], observed_at: npt.NDArray[np.int64], interval_ns: int
) -> npt.NDArray[np.bool_]:
    """Tell of trades which were observed too late for their bar."""
    waits_until = occurred_at - occurred_at % interval_ns + interval_ns + LATENESS_NS
    return observed_at >= waits_until


def bar_events(bars: pa.Table) -> Iterator[BarClosed]:
    """Give bars in archive columns as events, with the ids that a feed's bars of the instrument have too."""
    for row in bars.to_pylist():
        number, interval_ns = row.pop("number"), row["interval_ns"]
        yield BarClosed(id=market_id(row["key"], f"bar{interval_ns // NS_PER_S}", number), **row)
