"""A finished run, read and measured: what `summary.json` says, and all that the report is made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agents.frame import Floats, Ints
from replay.curves import Curve, buy_and_hold, daily_returns, deepest_drawdown
from replay.decisions import (
    ModelRecord,
    QuestionRecord,
    RiskRecord,
    Rulings,
    Signals,
    TextRecord,
    complete,
    read_calibrations,
    read_models,
    read_rulings,
    read_signals,
)
from replay.evidence import Reasons
from replay.log import JOURNAL, Kept
from replay.metrics import ACTIVITY_METRICS, CURVE_METRICS, measure
from replay.rundir import Prices, RunDir
from replay.trades import Ledger, TradesCsv, iso, read_fills
from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import NS_PER_DAY, NS_PER_MIN
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.errors import ArchiveError

Values = dict[str, float | None]
NO_EVENT = "the run saw no event, so there is nothing to report"


class DrawdownSpan(msgspec.Struct, kw_only=True):
    """When the deepest drawdown was. `recovered_at` is null where the run ended below its peak."""

    peak_at: str
    trough_at: str
    recovered_at: str | None


class Ended(msgspec.Struct, kw_only=True):
    """How a run ended."""

    book: str
    currency: str
    instruments: tuple[str, ...]
    start: str
    end: str
    days: float
    interrupted: bool
    """True where the run was stopped before its end: all figures are of the part that ran."""
    log: Kept
    """What of the log was kept; only a full one can be audited."""
    log_sha256: str
    """Empty where no log was kept."""
    start_equity: float
    end_equity: float


class Unlogged(Ended, kw_only=True):
    """What `summary.json` holds of a run that kept no log: what the host knew at its end."""

    orders: int
    fills: int
    run: dict[str, object]
    timing: dict[str, object]


class Summary(Ended, kw_only=True):
    """What `summary.json` holds. All of it follows from the log and the archive, except `timing`.

    What a log of decisions cannot tell is null: `models`, `questions` and `texts`.
    """

    open_trades: int
    """Round trips that no fill has closed; the measures of trades leave them out."""
    metrics: Values
    buy_and_hold: Values
    max_drawdown: DrawdownSpan | None
    models: dict[str, ModelRecord] | None
    questions: QuestionRecord | None
    texts: TextRecord | None
    risk: RiskRecord
    run: dict[str, object]
    """What the host says of the run: inputs, events, versions."""
    timing: dict[str, object]
    """What depends on the machine and the hour."""


class Marks(NamedTuple):
    """The equity marks as columns, the first at the start of the run."""

    times: Ints
    equity: Floats
    cash: Floats
    unrealised_pnl: Floats
    realised_pnl: Floats
    fees: Floats
    gross_exposure: Floats


class Results(NamedTuple):
    """All that the report is made from."""

    run: RunDir
    book: Book
    prices: Prices
    marks: Marks
    held: Floats
    """Worth of buy and hold at the marks."""
    curve: Curve
    ledger: Ledger
    reasons: Reasons
    """Of every order that was filled."""
    signals: Signals
    rulings: Rulings
    summary: Summary


def read_results(run: RunDir, facts: dict[str, object]) -> Results:
    """Read a run, write its `trades.csv` on the way, and measure it.

    Of a run that kept its decisions alone, the host's `facts` tell `started_at`, in ns.
    """
    book, prices, facts, kept = run.book(), run.prices(), dict(facts), run.kept()
    marks = _read_marks(run, book, prices, facts.pop("started_at", None))
    reasons = Reasons.read(run, {position.order for position in run.events("portfolio", PositionChanged)})
    ledger = _read_ledger(run, book, prices, reasons)
    instruments = tuple(instrument.id for instrument in book.instruments)
    held = buy_and_hold(marks.times, prices, instruments, float(book.cash), book.venue.taker_bps)
    curve = _curve(book, prices, marks.times, marks.equity)
    signals, rulings = read_signals(run), read_rulings(run)
    measured = read_calibrations(run) if kept == "full" else {}
    models = read_models(run, measured) if kept == "full" else None
    start, end = int(marks.times[0]), int(marks.times[-1])
    orders = run.counts("orders").get("OrderRequested", 0)
    activity = ledger.activity(marks.equity, marks.gross_exposure, orders, start, end)
    deepest = deepest_drawdown(marks.times, marks.equity)
    summary = Summary(
        book=book.name,
        currency=book.currency,
        instruments=instruments,
        start=iso(start),
        end=iso(end),
        days=days(start, end),
        interrupted=bool(facts.pop("interrupted", False)),
        log=kept,
        log_sha256=str(facts.pop("log_sha256", "")),
        start_equity=float(marks.equity[0]),
        end_equity=float(marks.equity[-1]),
        open_trades=len(ledger.open()),
        metrics=measure(CURVE_METRICS, curve) | measure(ACTIVITY_METRICS, activity),
        buy_and_hold=measure(CURVE_METRICS, _curve(book, prices, marks.times, held)),
        max_drawdown=deepest
        and DrawdownSpan(
            peak_at=iso(deepest.peak_at),
            trough_at=iso(deepest.trough_at),
            recovered_at=None if deepest.recovered_at is None else iso(deepest.recovered_at),
        ),
        models=models,
        questions=None if models is None else complete(signals.questions, models, measured),
        texts=signals.texts if kept == "full" else None,
        risk=rulings.record,
        timing=dict(facts.pop("timing", {})),  # type: ignore[call-overload] # the host gives a dict
        run=facts,
    )
    return Results(run, book, prices, marks, held, curve, ledger, reasons, signals, rulings, summary)


def days(start: int, end: int) -> float:
    """Give the time between two times in ns, in days."""
    return round((end - start) / NS_PER_DAY, 6)


def _curve(book: Book, prices: Prices, times: Ints, values: Floats) -> Curve:
    seen = [np.unique((at - 1) // NS_PER_DAY) for at, _ in prices.values()]
    priced_days = np.unique(np.concatenate(seen)) if seen else np.empty(0, np.int64)
    return curve_of(book, priced_days, times, values)


def curve_of(book: Book, priced_days: Ints, times: Ints, values: Floats) -> Curve:
    """Make the curve that measures are taken of; see `daily_returns` for `priced_days`."""
    periods = book.periods_per_year
    return Curve(times, values, daily_returns(times, values, periods, priced_days), periods)


def _read_marks(run: RunDir, book: Book, prices: Prices, started_at: object) -> Marks:
    """Read the marks since the first price."""
    first = next((clock.observed_at for clock in run.events(JOURNAL, ClockTicked)), started_at)
    if not isinstance(first, int):
        raise ArchiveError(f"{run.root}: {NO_EVENT}")
    first_price = min((int(at[0]) for at, _ in prices.values()), default=0)
    return marks_of(run.events("portfolio", EquityMarked), book, first, first_price)


def marks_of(marks: Iterable[EquityMarked], book: Book, first_clock: int, first_price: int) -> Marks:
    """Lay out the marks since the first price, with the book's cash before them; of two at one time the last counts."""
    interval = book.mark_every_min * NS_PER_MIN
    start = max(first_clock, first_price // interval * interval)
    rows: list[tuple[Any, ...]] = [(start, book.cash, book.cash, 0, 0, 0, 0)]
    rows += [
        (m.observed_at, m.equity, m.cash, m.unrealised_pnl, m.realised_pnl, m.fees, m.gross_exposure)
        for m in marks
        if m.observed_at > start
    ]
    times = np.array([row[0] for row in rows], np.int64)
    kept = np.append(np.diff(times) > 0, True)
    columns = [np.array([float(row[i]) for row in rows])[kept] for i in range(1, 7)]
    return Marks(times[kept], *columns)


def _read_ledger(run: RunDir, book: Book, prices: Prices, reasons: Reasons) -> Ledger:
    """Add up the fills, and write each to `trades.csv`."""
    ledger = Ledger(book)
    with TradesCsv(run.root / "trades.csv") as table:
        for fill in read_fills(run, book, prices):
            ledger.add(fill)
            table.write(fill, *reasons.in_words(fill.event.order))
    return ledger
