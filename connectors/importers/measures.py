"""What an import tells of the rows it kept: their span, the gaps between them, the moves that stand out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.archive import MARKET_KINDS
from connectors.importers.batch import Batch
from connectors.importers.report import Gaps, Outliers, utc
from schemas.base import NS_PER_S

OUTLIER_SIGMAS = 10
MAD_TO_SIGMA = 1.4826
"""Of a normal distribution: standard deviation over median absolute deviation (Rousseeuw and Croux, 1993)."""
PRICED = {
    "bars": ("number", "interval_ns", "close"),
    "trades": ("number", "price"),
    "quotes": ("number", "bid", "ask"),
}
"""Kind to the columns that its gaps and outliers show in."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def measure(batch: Batch, table: pa.Table) -> None:
    """Complete the report of a batch with what its rows show; there must be rows, of one instrument if any."""
    report = batch.report
    report.keys = sorted(pc.unique(table["key"]).to_pylist())
    at: Ints = table["observed_at"].to_numpy()
    report.first, report.last = utc(at[0]), utc(at[-1])
    if len(at) > 1:
        pause = int(np.argmax(np.diff(at)))
        report.longest_pause_s = round(float(at[pause + 1] - at[pause]) / NS_PER_S, 3)
        report.longest_pause_at = utc(at[pause])
    if batch.kind not in MARKET_KINDS:
        return
    names = PRICED[batch.kind]
    columns = {name: table[name].to_numpy() for name in names}
    report.gaps, report.outliers = market_measures(batch.kind, columns, at)
    if not batch.numbered:
        report.gaps = None


def market_measures(kind: str, columns: Mapping[str, Any], at_ns: Ints) -> tuple[Gaps | None, Outliers | None]:
    """Measure market rows of one instrument, sorted by `at_ns`; `columns` has those that `PRICED` names.

    Gaps are counted among bars, and among trades whose numbers mostly rise by one.
    """
    number = columns.get("number", np.empty(0, np.int64))
    if kind == "bars":
        interval_ns = int(columns["interval_ns"][0])
        found = gaps(number // interval_ns, at_ns, f"bars of {interval_ns / NS_PER_S:g} s")
        return found, outliers(columns["close"], at_ns, np.diff(number) == interval_ns)
    if kind == "trades":
        counted = len(number) > 1 and np.median(np.diff(number)) == 1
        found_ids = gaps(number, at_ns, "trade ids") if counted else None
        return found_ids, outliers(columns["price"], at_ns, None)
    return None, outliers((columns["bid"] + columns["ask"]) / 2, at_ns, None)


class GapCounter:
    """Counts what is missing between numbers that should rise by one, given part by part."""

    def __init__(self, unit: str) -> None:
        """`unit` names what is counted."""
        self._unit = unit
        self._holes = self._missing = self._longest = 0
        self._longest_at = 0
        self._last: tuple[int, int] | None = None

    def expect(self, first: int, at_ns: int) -> None:
        """Say which number should come first; what is missing before the first that does is a hole, seen at `at_ns`."""
        self._last = (first - 1, at_ns)

    def add(self, numbers: Ints, at_ns: Ints) -> None:
        """Take the next numbers in any order, and when each was seen, ns."""
        order = np.argsort(numbers, kind="stable")
        if self._last:
            order = order[numbers[order] > self._last[0]]
        numbers, at_ns = numbers[order], at_ns[order]
        if not len(numbers):
            return
        if self._last:
            numbers = np.concatenate(([self._last[0]], numbers))
            at_ns = np.concatenate(([self._last[1]], at_ns))
        missing = np.maximum(np.diff(numbers) - 1, 0)
        self._last = int(numbers[-1]), int(at_ns[-1])
        if not missing.any():
            return
        self._holes += int(np.count_nonzero(missing))
        self._missing += int(missing.sum())
        longest = int(np.argmax(missing))
        if missing[longest] > self._longest:
            self._longest, self._longest_at = int(missing[longest]), int(at_ns[longest])

    def end(self, next_: int) -> None:
        """Say which number would come next; what is missing before it is a hole."""
        self.add(np.array([next_]), np.zeros(1, np.int64))

    def gaps(self) -> Gaps:
        """Sum up."""
        at = utc(self._longest_at) if self._holes else ""
        return Gaps(self._unit, self._holes, self._missing, self._longest, at)


def gaps(numbers: Ints, at_ns: Ints, unit: str) -> Gaps:
    """Count what is missing among numbers that are all at hand."""
    counter = GapCounter(unit)
    counter.add(numbers, at_ns)
    return counter.gaps()


def outliers(price: Floats, at: Ints, adjacent: npt.NDArray[np.bool_] | None) -> Outliers | None:
    """Count the moves from one price to the next that stand out; of `adjacent`, if given, only those that are."""
    moves = np.diff(price) / price[:-1]
    if adjacent is not None:
        moves = np.where(adjacent, moves, 0.0)
    sizes = np.abs(moves)
    if not sizes.any():
        return None
    sigma = MAD_TO_SIGMA * float(np.median(sizes[sizes > 0]))
    largest = int(np.argmax(sizes))
    return Outliers(
        rows=int(np.count_nonzero(sizes > OUTLIER_SIGMAS * sigma)),
        sigma_pct=float(f"{100 * sigma:.4g}"),
        largest_pct=float(f"{100 * moves[largest]:.4g}"),
        largest_at=utc(at[largest + 1]),
    )
