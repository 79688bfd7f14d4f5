"""The report's chart as plain data for plotly.js: worth, drawdown, and price with entries and exits, on one time axis.

Colours are names (`line: "book"`) that the page resolves in its light or dark theme. Times are ms since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal, NamedTuple

import numpy as np

from agents.frame import Floats, Ints
from replay.calibration import Calibration
from replay.curves import drawdowns
from replay.formats import percent, price, short_id, signed, span
from replay.results import Results
from replay.trades import RoundTrip
from schemas.base import NS_PER_MS

MAX_POINTS = 5_000
"""Of a curve; more cannot be told apart on a screen."""
MAX_PRICE_POINTS = 20_000
"""Of all price curves together."""
LOG_FROM = 4
"""Times from lowest to highest worth at which a linear scale would hide the smaller curve."""
HOVER_CHARS = 60
"""Of a line in a hover box."""

Trace = dict[str, Any]


class Listed(NamedTuple):
    """A round trip that the report shows, with its number and its reasons in words."""

    number: int
    trip: RoundTrip
    why_entered: str
    why_exited: str


def downsample(times: Ints, values: Floats, limit: int) -> tuple[Ints, Floats]:
    """Thin a curve to at most `limit` points, and keep each stretch's lowest and highest, the first and the last."""
    if len(times) <= limit:
        return times, values
    edges = np.linspace(1, len(times) - 1, limit // 2).astype(int)
    kept = {0, len(times) - 1}
    for lo, hi in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        stretch = values[lo:hi]
        kept.update((lo + int(stretch.argmin()), lo + int(stretch.argmax())))
    index = np.array(sorted(kept))
    return times[index], values[index]


def figure(results: Results, trades: Sequence[Listed]) -> dict[str, Any]:
    """Give traces, layout, and whether a log scale shows more. Only the given round trips are marked on the price."""
    marks, instruments = results.marks, results.summary.instruments
    traces = [
        _line("Buy and hold", marks.times, results.held, "hold", "y", "%{y:,.2f}"),
        _line("Book", marks.times, marks.equity, "book", "y", "%{y:,.2f}"),
        _line("Drawdown", marks.times, -drawdowns(marks.equity) * 100, "loss", "y2", "%{y:.2f} %")
        | {"fill": "tozeroy", "showlegend": False},
    ]
    for index, instrument in enumerate(instruments):
        times, values = results.prices.get(instrument, (np.empty(0, np.int64), np.empty(0)))
        limit = min(MAX_POINTS, MAX_PRICE_POINTS // len(instruments))
        thin = downsample(times, values, max(limit, 100))
        mine = [trade for trade in trades if trade.trip.instrument == instrument]
        curve = _line("Price", *thin, "price", "y3", "%{y:,.6~f}") | {"showlegend": False}
        shown = {"visible": index == 0, "meta": {"instrument": instrument}}
        traces += [trace | shown for trace in (curve, *_held_lines(mine), *_markers(mine))]
    worth = np.concatenate((marks.equity, results.held))
    log = bool(worth.min() > 0 and worth.max() > LOG_FROM * worth.min())
    return {"traces": traces, "layout": _layout(results), "log": log}


def reliability_figure(measured: Mapping[str, Calibration]) -> dict[str, Any]:
    """Give traces and layout of the reliability curves: hit rate over mean confidence, by bin, beside the diagonal."""
    even: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": "calibrated",
        "x": [0, 1],
        "y": [0, 1],
        "hoverinfo": "skip",
    }
    traces = [even | {"line": {"color": "hold", "width": 1, "dash": "dot"}}]
    for name, calibration in measured.items():
        bins = [one for one in calibration.bins if one.predictions]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "cliponaxis": False,
                "name": escape(name),
                "x": [one.mean_confidence for one in bins],
                "y": [one.hit_rate for one in bins],
                "text": [f"{one.predictions:,}" for one in bins],
                "hovertemplate": "%{y:.0%} right at %{x:.0%} confidence, %{text} predictions",
            }
        )
    axis = {"range": [0, 1], "tickformat": ".0%", "fixedrange": True, "automargin": True, "zeroline": False}
    layout = {
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": axis | {"title": {"text": "Mean confidence of the bin"}},
        "yaxis": axis | {"title": {"text": "Right"}},
    }
    return {"traces": traces, "layout": layout}


def _line(name: str, times: Ints, values: Floats, colour: str, axis: str, form: str) -> Trace:
    times, values = downsample(times, values, MAX_POINTS)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": (times // NS_PER_MS).tolist(),
        "y": [float(f"{value:.8g}") for value in values.tolist()],
        "yaxis": axis,
        "line": {"color": colour, "width": 2 if colour == "book" else 1.25},
        "hovertemplate": f"{name} {form}<br>%{{x|%Y-%m-%d %H:%M}}<extra></extra>",
    }


def _held_lines(trades: Sequence[Listed]) -> list[Trace]:
    """Join entry and exit of each round trip, winners and losers apart."""
    traces = []
    for colour, won in (("profit", True), ("loss", False)):
        x: list[float | None] = []
        y: list[float | None] = []
        for trip in (trade.trip for trade in trades):
            if trip.closed_at is not None and trip.exit_price is not None and (trip.net > 0) == won:
                x += [trip.opened_at // NS_PER_MS, trip.closed_at // NS_PER_MS, None]
                y += [float(trip.entry_price), float(trip.exit_price), None]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "yaxis": "y3",
                "line": {"color": colour, "width": 1.5, "dash": "dot"},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return traces


def _markers(trades: Sequence[Listed]) -> list[Trace]:
    longs = [trade for trade in trades if trade.trip.side == "long"]
    shorts = [trade for trade in trades if trade.trip.side == "short"]
    won = [trade for trade in trades if trade.trip.closed_at and trade.trip.net > 0]
    lost = [trade for trade in trades if trade.trip.closed_at and trade.trip.net <= 0]
    return [
        _marked("Long entry", longs, "entry", "triangle-up", "long"),
        _marked("Short entry", shorts, "entry", "triangle-down", "short"),
        _marked("Exit with profit", won, "exit", "circle-open", "profit"),
        _marked("Exit with loss", lost, "exit", "x-thin-open", "loss"),
    ]


def _marked(name: str, trades: Sequence[Listed], end: Literal["entry", "exit"], symbol: str, colour: str) -> Trace:
    entry = end == "entry"
    trips = [trade.trip for trade in trades]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [((trip.opened_at if entry else trip.closed_at) or 0) // NS_PER_MS for trip in trips],
        "y": [float((trip.entry_price if entry else trip.exit_price) or 0) for trip in trips],
        "yaxis": "y3",
        "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 1 if entry else 2}},
        "text": [_hover(trade, end) for trade in trades],
        "customdata": [trade.number for trade in trades],
        "hovertemplate": "%{text}<extra></extra>",
        "showlegend": bool(trades),
    }


def _hover(trade: Listed, end: Literal["entry", "exit"]) -> str:
    """Say what and why, in the few tags that plotly.js reads; everything from outside is escaped."""
    trip = trade.trip
    if end == "entry":
        head = f"#{trade.number} {trip.side} {price(trip.quantity)} at {price(trip.entry_price)}"
        lines, orders = _wrapped(trade.why_entered), trip.entry_orders
    else:
        held = span((trip.closed_at or trip.opened_at) - trip.opened_at)
        head = f"#{trade.number} closed at {price(trip.exit_price)} after {held}"
        earned = trip.net / trip.entry_notional * 100 if trip.entry_notional else None
        result = f"{signed(trip.net)} after fees ({percent(earned)})"
        lines, orders = [result, *_wrapped(trade.why_exited)], trip.exit_orders
    tail = [f"order {short_id(orders[0])}"] if orders else []
    return "<br>".join([f"<b>{escape(head)}</b>", *map(escape, [*lines, *tail])])


def _wrapped(text: str) -> list[str]:
    lines, words = [""], text.split()
    for word in words:
        if len(lines[-1]) + len(word) >= HOVER_CHARS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word[:HOVER_CHARS]}".strip()
    return [*lines[:4], "…"] if len(lines) > 5 else lines  # noqa: PLR2004 - what a phone can show


def _layout(results: Results) -> dict[str, Any]:
    times, currency = results.marks.times, results.summary.currency
    edge = int(times[-1] - times[0]) // 100  # room for the markers at both ends
    axis = {"automargin": True, "zeroline": False, "fixedrange": True, "showspikes": False}
    return {
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {
            "type": "date",
            "range": [int(times[0] - edge) // NS_PER_MS, int(times[-1] + edge) // NS_PER_MS],
            "anchor": "y3",
            "automargin": True,
            "showspikes": True,
            "spikemode": "across",
        },
        "yaxis": axis | {"domain": [0.60, 1.0], "title": {"text": f"Equity, {currency}"}, "tickformat": ",~r"},
        "yaxis2": axis | {"domain": [0.43, 0.56], "title": {"text": "Drawdown"}, "ticksuffix": " %", "nticks": 4},
        "yaxis3": axis | {"domain": [0.0, 0.39], "title": {"text": "Price"}, "tickformat": ",~r"},
    }
