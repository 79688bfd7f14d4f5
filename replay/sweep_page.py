"""What a sweep leaves: `sweep.csv`, a row a setting, and `sweep.html`, which shows the same at a look.

One place that varies is drawn as lines, two as a heat map, more as parallel axes. The page works offline.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from replay.metrics import CURVE_METRICS
from replay.report import write_page
from replay.sweep import Outcome, Setting
from schemas.book import Book

FIGURES = ("orders", "fills", "breakers", "fees", "end_equity")
HEAT_MAP_PLACES = 2


def write_table(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write one row a setting: its values, the figures, the measures; empty where a measure has no value."""
    places = list(outcomes[0].setting) if outcomes else []
    measures = [metric.name for metric in CURVE_METRICS]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*places, *FIGURES, *measures, "failure"])
        for outcome in outcomes:
            figures = [getattr(outcome, name) for name in FIGURES]
            table.writerow([*outcome.setting.values(), *figures, *map(outcome.metrics.get, measures), outcome.failure])


def write_sweep_page(book: Book, outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the settings against what they came to; those that failed are left out and counted."""
    done = [outcome for outcome in outcomes if not outcome.failure]
    context = {"book": book.name, "settings": len(outcomes), "failed": len(outcomes) - len(done)}
    write_page("sweep", path, figure(done), context)


def figure(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Give plotly's traces and layout."""
    places = list(outcomes[0].setting) if outcomes else []
    returns = [outcome.metrics.get("total_return_pct") for outcome in outcomes]
    if len(places) == 1:
        x = [outcome.setting[places[0]] for outcome in outcomes]
        falls = [outcome.metrics.get("max_drawdown_pct") for outcome in outcomes]
        lines = (("return %", returns), ("max drawdown %", falls))
        traces: list[dict[str, Any]] = [
            {"type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y} for name, y in lines
        ]
        return {
            "traces": traces,
            "layout": {"xaxis": {"title": {"text": places[0]}}, "yaxis": {"title": {"text": "%"}}},
        }
    if len(places) == HEAT_MAP_PLACES:
        return _heat_map(places, [outcome.setting for outcome in outcomes], returns)
    dimensions = [_axis(place, [outcome.setting[place] for outcome in outcomes]) for place in places]
    dimensions.append({"label": "return %", "values": returns})
    return {"traces": [{"type": "parcoords", "line": {"color": returns}, "dimensions": dimensions}], "layout": {}}


def _heat_map(places: Sequence[str], settings: Sequence[Setting], returns: Sequence[float | None]) -> dict[str, Any]:
    across, up = (list(dict.fromkeys(setting[place] for setting in settings)) for place in places)
    found = {tuple(setting.values()): value for setting, value in zip(settings, returns, strict=True)}
    cells = [[found.get((x, y)) for x in across] for y in up]
    trace = {"type": "heatmap", "x": across, "y": up, "z": cells, "colorbar": {"title": {"text": "return %"}}}
    axes = {axis: {"title": {"text": place}} for axis, place in zip(("xaxis", "yaxis"), places, strict=True)}
    return {"traces": [trace], "layout": axes}


def _axis(place: str, values: Sequence[object]) -> dict[str, Any]:
    """Lay out a place on an axis of numbers; words stand at whole numbers."""
    if all(isinstance(value, int | float) for value in values):
        return {"label": place, "values": values}
    words = list(dict.fromkeys(map(str, values)))
    at = [words.index(str(value)) for value in values]
    return {"label": place, "values": at, "tickvals": list(range(len(words))), "ticktext": words}
