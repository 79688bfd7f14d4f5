"""Prices of a run for its report: the last price of each instrument in each interval of the book's marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.frame import BAR, TRADE, Floats, Frame, Ints
from agents.kernels import inlined, kernel
from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.book import Book

SCHEMA = pa.schema([("instrument", pa.string()), ("time", pa.int64()), ("price", pa.float64())])


class PriceSampler:
    """Collects samples frame by frame; a few bytes an interval, whatever the number of events."""

    def __init__(self, book: Book) -> None:
        """Sample every `mark_every_min` of the book."""
        self._instruments = [instrument.id for instrument in book.instruments]
        self._every = book.mark_every_min * NS_PER_MIN
        self._bar_ns = book.features.bar_s * NS_PER_S
        self._samples: list[list[tuple[int, float]]] = [[] for _ in self._instruments]
        count = len(self._instruments)
        self._ends, self._times, self._bars = np.zeros(count, np.int64), np.zeros(count, np.int64), np.full(count, -1)
        self._prices = np.zeros(count)

    def take(self, frame: Frame, until: int) -> None:
        """Take a frame that the desk has gone through, up to the time `until`."""
        rows = int(np.searchsorted(frame.observed_at, until, side="right"))
        instruments, times, prices = np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows)
        found = sample(
            *(frame.kind, frame.instrument, frame.number, frame.observed_at, frame.values, rows),
            *(self._every, self._bar_ns, self._ends, self._times, self._prices, self._bars),
            *(instruments, times, prices),
        )
        columns = (instruments[:found], times[:found], prices[:found])
        for k, time, price in zip(*(column.tolist() for column in columns), strict=True):
            self._samples[k].append((time, price))

    def write(self, path: Path) -> None:
        """Write them as Parquet: instrument, time (ns), price."""
        names, times, prices = [], [], []
        open_ones = zip(self._ends.tolist(), self._times.tolist(), self._prices.tolist(), strict=True)
        for instrument, samples, (end, *last) in zip(self._instruments, self._samples, open_ones, strict=True):
            for time, price in [*samples, last] if end else samples:
                names.append(instrument)
                times.append(time)
                prices.append(price)
        arrays = [pa.array(column, field.type) for column, field in zip((names, times, prices), SCHEMA, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path, compression="zstd")


@inlined
def price_in(kind: int, values: Floats, row: int) -> float:
    """Give the price that a row shows."""
    if kind == BAR:
        return values[row, 3]  # type: ignore[no-any-return]
    return values[row, 0] if kind == TRADE else 0.5 * (values[row, 0] + values[row, 1])  # type: ignore[no-any-return]


@kernel
def sample(
    kind: Ints,
    instrument: Ints,
    number: Ints,
    observed_at: Ints,
    values: Floats,
    rows: int,
    every: int,
    bar_ns: int,
    ends: Ints,
    times: Ints,
    prices: Floats,
    bars: Ints,
    sampled: Ints,
    sampled_times: Ints,
    sampled_prices: Floats,
) -> int:
    """Take the first `rows` rows; note the last time and price of each interval that they end, and give their number.

    Of each instrument are kept the end of the interval under way (0 before the first row), its last time and price,
    and its newest bar. As to the agents, a late bar shows no price.
    """
    found = i = 0
    while i < rows:
        k, first, shown = instrument[i], i, -1
        end, price, bar = ends[k], prices[k], bars[k]
        while i < rows and instrument[i] == k:
            if observed_at[i] >= end:
                if end > 0:
                    price = price if shown < 0 else price_in(kind[shown], values, shown)
                    sampled[found], sampled_prices[found] = k, price
                    sampled_times[found] = observed_at[i - 1] if i > first else times[k]
                    found += 1
                end = (observed_at[i] // every + 1) * every
            if kind[i] != BAR or values[i, 5] != bar_ns:
                shown = i
            elif number[i] // bar_ns > bar:
                bar, shown = number[i] // bar_ns, i
            i += 1
        ends[k], times[k], bars[k] = end, observed_at[i - 1], bar
        prices[k] = price if shown < 0 else price_in(kind[shown], values, shown)
    return found
