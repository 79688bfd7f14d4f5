"""Prices of a run for its report: the last price of each instrument in each interval of the book's marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.frame import BAR, TRADE, Floats, Frame, Ints
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
        self._samples: list[dict[int, tuple[int, float]]] = [{} for _ in self._instruments]
        self._last_bar = [-1] * len(self._instruments)
        self._last_price = [0.0] * len(self._instruments)

    def take(self, frame: Frame, until: int) -> None:
        """Take a frame that the desk has gone through, up to the time `until`."""
        rows = int(np.searchsorted(frame.observed_at, until, side="right"))
        for k, samples in enumerate(self._samples):
            at = np.nonzero(frame.instrument[:rows] == k)[0]
            if not len(at):
                continue
            buckets = frame.observed_at[at] // self._every
            last = np.append(np.nonzero(np.diff(buckets))[0], len(at) - 1)
            prices = self._prices(frame, k, at)[last].tolist()
            times = frame.observed_at[at[last]].tolist()
            samples.update((time // self._every, (time, price)) for time, price in zip(times, prices, strict=True))

    def _prices(self, frame: Frame, k: int, at: Ints) -> Floats:
        """Give the last price after each of an instrument's rows; as to the agents, a late bar shows none."""
        values, kind = frame.values[at], frame.kind[at]
        traded = np.where(kind == TRADE, values[:, 0], 0.5 * (values[:, 0] + values[:, 1]))
        prices = np.concatenate([[self._last_price[k]], np.where(kind == BAR, values[:, 3], traded)])
        bars = np.nonzero((kind == BAR) & (values[:, 5] == self._bar_ns))[0]
        newest = np.maximum.accumulate(np.concatenate([[self._last_bar[k]], frame.number[at[bars]] // self._bar_ns]))
        shown = np.arange(len(prices))
        shown[bars[newest[1:] == newest[:-1]] + 1] = 0
        prices = prices[np.maximum.accumulate(shown)]
        self._last_bar[k], self._last_price[k] = int(newest[-1]), float(prices[-1])
        return prices[1:]

    def write(self, path: Path) -> None:
        """Write them as Parquet: instrument, time (ns), price."""
        names, times, prices = [], [], []
        for instrument, samples in zip(self._instruments, self._samples, strict=True):
            for time, price in samples.values():
                names.append(instrument)
                times.append(time)
                prices.append(price)
        arrays = [pa.array(column, field.type) for column, field in zip((names, times, prices), SCHEMA, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path, compression="zstd")
