"""Writes `report.html`: one file that works offline and explains every trade that it lists down to the cited events.

Tweets, news and model answers are hostile text: the templates escape all of them, data for scripts cannot end its
element, and the page's policy lets only its own two scripts run and loads nothing from anywhere.
"""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from pkgutil import get_data
from typing import Any, NamedTuple

import msgspec
from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from replay import formats
from replay.curves import monthly_returns
from replay.decisions import LISTED, read_alerts, read_commands
from replay.evidence import Evidence, gather
from replay.figures import Listed, figure, reliability_figure
from replay.log import JOURNAL
from replay.metrics import ACTIVITY_METRICS, CURVE_METRICS
from replay.results import Results, Summary
from replay.trades import RoundTrip
from schemas.decisions import TradeProposed
from schemas.texts import NewsPublished, TweetPosted
from schemas.verdicts import InstructionPart, PricePart, TextPart

TEMPLATES = Path(__file__).parent / "templates"
PLOTLY_PLACE = Markup("<plotly.js>")
"""Stands for megabytes of script until the page is bytes; text from outside is escaped, so it cannot hold this."""
TRADES_LISTED = 75
"""First, last and largest round trips that a report lists, of each."""
TRADES_MARKED = 1_000
"""Most round trips that the chart marks; of more it marks the listed ones."""
FILLS_LISTED = 10
"""Of one order."""
FEW_DAYS = 30
"""Daily returns below which a ratio per year says little."""
CONFIDENT = 1.96
"""Standard errors on each side of a 95 % interval."""

Text = TweetPosted | NewsPublished


class Explained(NamedTuple):
    """A listed round trip with the evidence of its orders."""

    listed: Listed
    entries: list[Evidence]
    exits: list[Evidence]


def write_report(results: Results, path: Path) -> None:
    """Write the report of a run."""
    trades = numbered_trades(results)
    listed = [trades[i] for i in chosen([trade.trip for trade in trades])]
    marked = trades if len(trades) <= TRADES_MARKED else listed
    context = {
        **_context(results),
        "trades": _explained(results, listed),
        "trades_total": len(trades),
        "trades_marked": len(marked),
    }
    drawn = figure(results, marked) | {"reliability": reliability_figure(context["measured"])}
    write_page("report", path, drawn, context)


def write_page(name: str, path: Path, chart: dict[str, Any], context: dict[str, Any]) -> None:
    """Write a page of template `name`.html with its script `name`.js; it works offline, and draws `chart`."""
    environment = Environment(
        loader=PackageLoader("replay", "templates"),
        bytecode_cache=CompiledTemplates(TEMPLATES / "__pycache__"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {filter_: getattr(formats, filter_) for filter_ in _FILTERS}
    environment.tests |= {test: _is_part(part) for test, part in _PARTS.items()}
    plotly, script = _plotly(), _asset(f"{name}.js")
    page = environment.get_template(f"{name}.html").render(
        **context,
        policy=_policy(plotly, script.encode()),
        css=Markup(_asset("report.css")),  # noqa: S704 - ours
        plotly=PLOTLY_PLACE,
        script=Markup(script),  # noqa: S704 - ours
        chart=script_json(chart),
    )
    before, after = page.encode().split(PLOTLY_PLACE.encode())
    with path.open("wb") as file:
        file.writelines((before, plotly, after))


_FILTERS = ("number", "signed", "percent", "price", "span", "days", "moment", "day", "measured")
_PARTS: dict[str, type[msgspec.Struct]] = {
    "instruction": InstructionPart,
    "price_part": PricePart,
    "text_part": TextPart,
}


def _is_part(part: type[msgspec.Struct]) -> Any:  # noqa: ANN401 - jinja's own type of a test
    return lambda value: isinstance(value, part)


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


class CompiledTemplates(BytecodeCache):
    """Keeps compiled templates as Python keeps compiled modules: beside them, if it may write there.

    Compiling them takes longer than all else in a small report. They are compiled again where they, or this file with
    the environment's options, have changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, bucket: Bucket) -> Path:
        return self.folder / f"{bucket.key}.{sys.implementation.cache_tag}.jinja"

    def get_source_checksum(self, source: str) -> str:
        """Give the digest of all that a compiled template is made from."""
        return sha256(Path(__file__).read_bytes() + source.encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read a compiled template; where there is none of this very source, the bucket stays empty."""
        with suppress(OSError, EOFError, UnpicklingError), self._path(bucket).open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a compiled template, whole or not at all."""
        if sys.dont_write_bytecode:
            return
        part = self._path(bucket).with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            self.folder.mkdir(exist_ok=True)
            part.write_bytes(bucket.bytecode_to_string())
            part.replace(self._path(bucket))


def script_json(value: object) -> Markup:
    """Encode data for a `<script type="application/json">` so that nothing in it can end or open an element."""
    text = msgspec.json.encode(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made harmless above


def _plotly() -> bytes:
    """Give plotly.js, with the line ends that a browser hashes."""
    script = get_data("plotly", "package_data/plotly.min.js")
    if script is None:
        raise FileNotFoundError("plotly.min.js")
    return script.replace(b"\r\n", b"\n")


def _policy(*scripts: bytes) -> str:
    hashes = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def numbered_trades(results: Results) -> list[Listed]:
    """Give all round trips in order of opening, numbered from 1, with their reasons."""
    trips = sorted([*results.ledger.closed, *results.ledger.open()], key=lambda t: (t.opened_at, t.instrument))
    why = results.reasons.why
    return [
        Listed(n, trip, why(trip.entry_orders[0]), why(trip.exit_orders[0]) if trip.exit_orders else "")
        for n, trip in enumerate(trips, start=1)
    ]


def _explained(results: Results, trades: Sequence[Listed]) -> list[Explained]:
    orders = [id for trade in trades for id in (*trade.trip.entry_orders, *trade.trip.exit_orders)]
    evidence = gather(results.run, results.reasons, orders)

    def of(ids: Sequence[str]) -> list[Evidence]:
        return [evidence[id] for id in ids if id in evidence]

    return [Explained(t, of(t.trip.entry_orders), of(t.trip.exit_orders)) for t in trades]


def chosen(trips: Sequence[RoundTrip]) -> list[int]:
    """Give the indices of the first, the last and the largest round trips, in order; all where they are few."""
    count = len(trips)
    if count <= 3 * TRADES_LISTED:
        return list(range(count))
    largest = sorted(range(count), key=lambda i: (-abs(trips[i].net), i))[:TRADES_LISTED]
    return sorted({*range(TRADES_LISTED), *range(count - TRADES_LISTED, count), *largest})


def _context(results: Results) -> dict[str, Any]:
    summary, run = results.summary, results.run
    texts: dict[str, Text] = run.pick(
        JOURNAL, {event.cause for event in results.signals.kept_out}, TweetPosted, NewsPublished
    )
    return {
        "s": summary,
        "book": results.book,
        "start_ns": int(results.marks.times[0]),
        "end_ns": int(results.marks.times[-1]),
        "notes": _notes(results),
        "curve_metrics": CURVE_METRICS,
        "activity_metrics": ACTIVITY_METRICS,
        "months": monthly_returns(results.marks.times, results.marks.equity),
        "trades_each": TRADES_LISTED,
        "listed": LISTED,
        "fills_listed": FILLS_LISTED,
        "refusals": results.rulings.refusals,
        "proposals": run.pick("proposals", {r.proposal for r in results.rulings.refusals}, TradeProposed),
        "breakers": results.rulings.breakers,
        "kept_out": results.signals.kept_out,
        "texts": texts,
        "alerts": read_alerts(run),
        "commands": read_commands(run),
        **_models(summary),
    }


def _models(summary: Summary) -> dict[str, Any]:
    """Sum up what was asked, where the log tells."""
    if summary.models is None or summary.questions is None:
        return {"measured": {}}
    models = summary.models.values()
    measured = {name: one.calibration for name, one in summary.models.items()} | {
        "the vote": summary.questions.calibration
    }
    return {
        "measured": {name: one for name, one in measured.items() if one is not None},
        "verdicts": sum(model.verdicts for model in models),
        "failures": sum(sum(model.failed.values()) for model in models),
        "cost_usd": sum(model.cost_usd for model in models),
    }


def _notes(results: Results) -> list[str]:
    """Say what a careful reader should know before quoting a figure."""
    summary, venue, notes = results.summary, results.book.venue, []
    count, ratio, error = (
        len(results.curve.daily),
        summary.metrics["sharpe"],
        summary.metrics["sharpe_standard_error"],
    )
    if ratio is not None and error is not None:
        low, high = ratio - CONFIDENT * error, ratio + CONFIDENT * error
        interval = f"{formats.number(low)} to {formats.number(high)}"
        told = "includes zero: luck alone could have made this result" if low < 0 < high else "leaves out zero"
        notes.append(f"The Sharpe ratio's 95 % interval, {interval} from {count} daily returns, {told}.")
    if count < FEW_DAYS:
        returns = "one daily return" if count == 1 else f"{count} daily returns"
        notes.append(f"With {returns}, figures per year say little.")
    if summary.open_trades:
        still = "One round trip is" if summary.open_trades == 1 else f"{summary.open_trades} round trips are"
        notes.append(f"{still} still open: in equity at the last price, in no measure of trades.")
    share = "without a bound" if venue.max_volume_pct is None else f"up to {venue.max_volume_pct:g} % of volume"
    notes.append(
        f"Simulated fills: {venue.taker_bps:g} bps taker fee, {venue.maker_bps:g} bps maker fee, "
        f"{venue.slippage_bps:g} bps slippage, {venue.latency_ms} ms latency each way, {share}."
    )
    return notes
