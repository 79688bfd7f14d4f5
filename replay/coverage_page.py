"""Writes the page of what an archive covers, which works offline: a line an instrument, a cell an hour or a day."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectors.coverage import Cells, Covered, cells, rows_in, series_name, shares
from replay.report import write_page

MOST_CELLS = 4_000
"""Of a line: ten years of days."""
HOURS_WITHIN = 31 * 24
"""Up to which span a cell is an hour."""
LINE_PX, FRAME_PX = 34, 60


def write_coverage_page(archive: str, found: Sequence[Covered], path: Path) -> None:
    """Draw the map, with a table of the same below it. Raises OSError where the file cannot be written."""
    span = max(int(each.hours[-1]) for each in found) - min(int(each.hours[0]) for each in found) + 1
    grid = cells(found, MOST_CELLS, 1 if span <= HOURS_WITHIN else 24)
    context = {
        "archive": archive,
        "series": [_row(each, grid) for each in found],
        "cell": grid.length,
        "height": FRAME_PX + LINE_PX * len(found),
    }
    write_page("coverage", path, figure(found, grid), context)


def figure(found: Sequence[Covered], grid: Cells) -> dict[str, Any]:
    """Give plotly's heat map: percent full by cell, and rows to be told of each."""
    edges = grid._replace(size=grid.size + 1).starts()
    return {
        "x": [f"{each}:00" for each in edges.astype(str)],
        "time": "%Y-%m-%d %Hh" if grid.hours == 1 else "%Y-%m-%d",
        "y": [series_name(*each[:3]) for each in found],
        "z": [[None if not rows else round(100 * share, 2) for share, rows in _cells(each, grid)] for each in found],
        "rows": [[rows for _, rows in _cells(each, grid)] for each in found],
    }


def _cells(covered: Covered, grid: Cells) -> list[tuple[float, int]]:
    return list(zip(shares(covered, grid).tolist(), rows_in(covered, grid).tolist(), strict=True))


def _row(covered: Covered, grid: Cells) -> dict[str, Any]:
    share, rows = shares(covered, grid), rows_in(covered, grid)
    held = np.flatnonzero(rows)
    inside = rows[held[0] : held[-1] + 1]
    hours = covered.hours[[0, -1]].astype("datetime64[h]").astype(str).tolist()
    return {
        "name": series_name(*covered[:3]),
        "rows": int(covered.rows.sum()),
        "first": f"{hours[0].replace('T', ' ')}:00",
        "last": f"{hours[1].replace('T', ' ')}:59",
        "empty": int(np.count_nonzero(inside == 0)),
        "full_pct": 100 * float(share[held[0] : held[-1] + 1].mean()) if covered.interval_ns else None,
    }
