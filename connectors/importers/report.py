"""What an import found: counted, with an example each. It is printed, and kept as JSON beside the archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from schemas.base import NS_PER_S

EXAMPLE_CHARS = 160


class Dropped(msgspec.Struct):
    """Rows left out for one reason."""

    rows: int
    example: str


class Gaps(msgspec.Struct, frozen=True):
    """Holes in what should be continuous: minutes without a bar, trade ids that are missing."""

    unit: str
    holes: int
    missing: int
    """Units missing in all holes together."""
    longest: int
    """Units missing in the longest one."""
    longest_at: str


class Outliers(msgspec.Struct, frozen=True):
    """Moves from one row to the next beyond ten robust standard deviations; they are kept."""

    rows: int
    sigma_pct: float
    """1.4826 times the median of the absolute moves that are not zero: sigma, if moves were normal."""
    largest_pct: float
    largest_at: str


class Report(msgspec.Struct, kw_only=True):
    """One kind of rows of one source."""

    source: str
    path: str
    """Relative to the archive: an import of the same path replaces this one."""
    source_sha256: str
    kind: str
    keys: list[str] = []
    rows_read: int = 0
    rows_outside: int = 0
    """Before or after the time that was asked for."""
    rows_kept: int = 0
    dropped: dict[str, Dropped] = {}
    out_of_order: int = 0
    """Rows that came after a later one; they are sorted."""
    gaps: Gaps | None = None
    longest_pause_s: float = 0.0
    longest_pause_at: str = ""
    outliers: Outliers | None = None
    clock_skew_ms: int = 0
    """Added to the receive times."""
    first: str = ""
    last: str = ""
    notes: list[str] = []
    """What was assumed, cut or left aside."""
    files: int = 0

    def drop(self, reason: str, rows: int, example: str) -> None:
        """Count rows as left out; the first example of each reason is kept, cut short and made printable."""
        if rows:
            known = self.dropped.setdefault(reason, Dropped(0, printable(example)))
            known.rows += rows

    @property
    def rows_dropped(self) -> int:
        """Over all reasons."""
        return sum(each.rows for each in self.dropped.values())


def printable(text: str) -> str:
    """Cut what a file says short, and write out whatever would steer a terminal or turn the writing round."""
    line = " ".join(text[: 2 * EXAMPLE_CHARS].split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)
    return shown if len(shown) <= EXAMPLE_CHARS else shown[: EXAMPLE_CHARS - 1] + "…"


def utc(at_ns: int) -> str:
    """Write a time in ns as ISO 8601, UTC, with as many decimals as it has."""
    seconds, ns = divmod(int(at_ns), NS_PER_S)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}{f'.{ns:09}'.rstrip('0').rstrip('.')}Z"
