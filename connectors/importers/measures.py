"""What an import tells of the rows it kept: their span, the gaps between them, the moves that stand out."""

from __future__ import annotations

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
    number: Ints = table["number"].to_numpy()
    if batch.kind == "bars":
        interval_ns = int(table["interval_ns"][0].as_py())
        report.gaps = _gaps(number // interval_ns, at, f"bars of {interval_ns / NS_PER_S:g} s")
        report.outliers = _outliers(table["close"].to_numpy(), at, np.diff(number) == interval_ns)
    elif batch.kind == "trades":
        if batch.numbered and len(number) > 1 and np.median(np.diff(number)) == 1:
            report.gaps = _gaps(number, at, "trade ids")
        report.outliers = _outliers(table["price"].to_numpy(), at, None)
    else:
        middle: Any = (table["bid"].to_numpy() + table["ask"].to_numpy()) / 2
        report.outliers = _outliers(middle, at, None)


def _gaps(counted: Ints, at: Ints, unit: str) -> Gaps:
    """Count what is missing between neighbours that should differ by one."""
    missing = np.maximum(np.diff(counted) - 1, 0)
    holes = int(np.count_nonzero(missing))
    if not holes:
        return Gaps(unit, 0, 0, 0, "")
    longest = int(np.argmax(missing))
    return Gaps(unit, holes, int(missing.sum()), int(missing[longest]), utc(at[longest]))


def _outliers(price: Floats, at: Ints, adjacent: npt.NDArray[np.bool_] | None) -> Outliers | None:
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
