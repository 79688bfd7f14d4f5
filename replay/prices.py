"""Prices of a run for its report: the last price of each instrument in each interval of the book's marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents import features as f
from agents.frame import Frame
from schemas.base import NS_PER_MIN
from schemas.book import Book

SCHEMA = pa.schema([("instrument", pa.string()), ("time", pa.int64()), ("price", pa.float64())])


class PriceSampler:
    """Collects samples frame by frame; a few bytes an interval, whatever the number of events."""

    def __init__(self, book: Book) -> None:
        """Sample every `mark_every_min` of the book."""
        self._instruments = [instrument.id for instrument in book.instruments]
        self._every = book.mark_every_min * NS_PER_MIN
        self._samples: list[dict[int, tuple[int, float]]] = [{} for _ in self._instruments]

    def take(self, frame: Frame, until: int) -> None:
        """Take a frame that the desk has gone through, up to the time `until`."""
        rows = int(np.searchsorted(frame.observed_at, until, side="right"))
        for k, samples in enumerate(self._samples):
            at = np.nonzero(frame.instrument[:rows] == k)[0]
            if not len(at):
                continue
            buckets = frame.observed_at[at] // self._every
            last = at[np.append(np.nonzero(np.diff(buckets))[0], len(at) - 1)]
            prices = frame.features[last, f.PRICE].tolist()
            times = frame.observed_at[last].tolist()
            samples.update((time // self._every, (time, price)) for time, price in zip(times, prices, strict=True))

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
