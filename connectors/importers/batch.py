"""What a reader hands to the checks: rows of one kind in archive columns, nulls where a value could not be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.importers.report import Report
from schemas.base import NS_PER_MS
from schemas.errors import ArchiveError

TIMES = ("occurred_at", "observed_at")
SKEW_WITNESSES = 10
GLITCH_NS = 10 * NS_PER_MS
MAX_FOUND_SKEW_MS = 60_000
"""No clock that anyone keeps is a minute off: more than that is a unit or a zone misread."""


@dataclass
class Batch:
    """One kind of rows of one source, unchecked. The table has the archive's columns and `#row`."""

    kind: str
    table: pa.Table
    report: Report
    received: bool
    """Whether the source tells when each row arrived."""
    timed: bool = True
    """Whether the source tells when each row occurred; if not, it is taken to be when it was received."""
    numbered: bool = True
    """Whether the source numbers its rows; if not, `number` is null and is made from the time."""


def set_column(table: pa.Table, name: str, column: object) -> pa.Table:
    """Replace a column, or add it at the end."""
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, column) if place >= 0 else table.append_column(name, column)


def latencies_ns(batch: Batch) -> np.ndarray:
    """Give observed_at - occurred_at of the rows that have both, which may be negative."""
    if not (batch.received and batch.timed):
        return np.empty(0, np.int64)
    both = pc.subtract(batch.table["observed_at"], batch.table["occurred_at"])
    known: np.ndarray = pc.drop_null(both).to_numpy()
    return known


def clock_skew_ms(latencies: list[np.ndarray]) -> int:
    """Tell how far the recorder's clock was behind: what makes the least latency zero, in whole ms, rounded up.

    A message cannot arrive before it was sent, so the least latency bounds the skew from below. One glitch must
    not set it: where the least lies more than 10 ms below the tenth least, the tenth counts. Raises ArchiveError
    where the skew would be over a minute.
    """
    known = np.concatenate(latencies) if latencies else np.empty(0, np.int64)
    if not len(known):
        return 0
    witnesses = np.sort(np.partition(known, min(SKEW_WITNESSES, len(known)) - 1)[:SKEW_WITNESSES])
    least = witnesses[0] if witnesses[-1] - witnesses[0] <= GLITCH_NS else witnesses[-1]
    skew_ms = max(0, -int(least // NS_PER_MS))
    if skew_ms > MAX_FOUND_SKEW_MS:
        raise ArchiveError(
            f"receive times lie {skew_ms / 1_000:,.0f} s before the events: no clock is so far behind; say"
            " --time-unit or --tz if they are misread, else --clock-skew"
        )
    return skew_ms


def shifted(batch: Batch, skew_ms: int) -> Batch:
    """Give the batch with receive times put right by `skew_ms`, and say so in its report.

    Where the source tells no time of its own, the event occurred when it was received, so both move.
    """
    if not batch.received or not skew_ms:
        return batch
    for name in TIMES[1:] if batch.timed else TIMES:
        batch.table = set_column(batch.table, name, pc.add(batch.table[name], skew_ms * NS_PER_MS))
    batch.report.clock_skew_ms = skew_ms
    return batch
