"""What a book decided besides its trades: which texts it kept out, how its questions ended, how each
model answered, what risk refused, which breakers tripped. Counts are complete, lists stop at LISTED.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import fsum
from typing import NamedTuple, TypeVar

import msgspec

from agents.money import plain, quantize
from replay.calibration import Calibration, calibrations
from replay.log import JOURNAL
from replay.rundir import RunDir
from schemas.accounting import VOTE_NAME, OutcomeMeasured
from schemas.control import (
    BookPaused,
    BookResumed,
    KillSwitchPulled,
    RulesChanged,
    TextAccepted,
    TextRejected,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.decisions import (
    BreakerReset,
    BreakerTripped,
    ConfirmationRequested,
    ConsensusFailed,
    ConsensusReached,
    NewsDiscarded,
    NewsFlagged,
    NewsVetted,
    QuestionScreened,
    TradeApproved,
    TradeRejected,
)
from schemas.operations import AlertRaised, ProcessingFailed
from schemas.verdicts import VerdictFailed, VerdictGiven

LISTED = 100
"""Longest list that is kept, of each kind; the first ones."""

CENTIMICRO_USD = Decimal("1E-8")
"""To which an estimate of money is rounded."""

Answer = VerdictGiven | VerdictFailed
COMMANDS = (
    BookPaused,
    BookResumed,
    TradeConfirmed,
    TradeDeclined,
    TextAccepted,
    TextRejected,
    KillSwitchPulled,
    RulesChanged,
)
Command = (
    BookPaused
    | BookResumed
    | TradeConfirmed
    | TradeDeclined
    | TextAccepted
    | TextRejected
    | KillSwitchPulled
    | RulesChanged
)
SignalEvent = NewsVetted | NewsDiscarded | NewsFlagged | ConsensusReached | ConsensusFailed | QuestionScreened
Ruling = TradeApproved | TradeRejected | BreakerTripped | BreakerReset | ConfirmationRequested
Alert = AlertRaised | ProcessingFailed
T = TypeVar("T")


class ModelRecord(msgspec.Struct, kw_only=True):
    """One model's answers over a run."""

    verdicts: int = 0
    actions: dict[str, int] = {}
    failed: dict[str, int] = {}
    """Questions without a usable answer, by reason."""
    mean_confidence: float | None = None
    mean_latency_ms: float | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    predictions: int = 0
    """BUY and SELL answers whose horizon has ended."""
    correct_pct: float | None = None
    """Share of those that the price bore out; null where there is none."""
    calibration: Calibration | None = None
    """Of the same; null where there is none."""


class TextRecord(msgspec.Struct, kw_only=True):
    """What became of tweets and news."""

    vetted: int = 0
    discarded: dict[str, int] = {}
    flagged: dict[str, int] = {}


class QuestionRecord(msgspec.Struct, kw_only=True):
    """How the questions to the models ended."""

    consensus: dict[str, int] = {}
    """Those that ended in a consensus, by action."""
    fallbacks: int = 0
    """Those of them in which the fallback model alone decided."""
    none: dict[str, int] = {}
    """Those that did not, by reason."""
    screened: int = 0
    """Those that the screen ended, before the others were asked; they are among neither."""
    calls_saved: dict[str, int] = {}
    """Questions that a model was spared by that, by model."""
    usd_saved: Decimal | None = None
    """Those calls at the mean cost of the model's own verdicts in this run, failures too; null where nothing was
    screened, or a model was always spared, so that its cost is not known. What the screen cost is not taken off: it
    stands with the models."""
    calibration: Calibration | None = None
    """Of the votes to BUY and SELL; null where none was measured."""


class RiskRecord(msgspec.Struct, kw_only=True):
    """What risk made of the proposals."""

    approved: int = 0
    clamped: int = 0
    """Approvals that some limit cut."""
    confirmations: int = 0
    rejected: dict[str, int] = {}
    """By reason, and the limit where one is named."""
    breakers: dict[str, int] = {}
    """Trips by rule."""


class Signals(NamedTuple):
    """Texts, questions, and the first texts that were kept out."""

    texts: TextRecord
    questions: QuestionRecord
    kept_out: list[NewsDiscarded | NewsFlagged]


class Rulings(NamedTuple):
    """Risk's record, the first refusals, and the first moves of breakers."""

    record: RiskRecord
    refusals: list[TradeRejected]
    breakers: list[BreakerTripped | BreakerReset]


class _Sums(msgspec.Struct):
    """What a model's means are made of."""

    confidence: list[float] = []
    latency_ms: int = 0


def read_calibrations(run: RunDir) -> dict[str, Calibration]:
    """Say how far each model's confidence could be trusted, and that of the vote."""
    return calibrations(run.events("portfolio", OutcomeMeasured))


def read_models(run: RunDir, measured: Mapping[str, Calibration]) -> dict[str, ModelRecord]:
    """Sum up each model's answers; models by name. `measured` says what came of its predictions."""
    records: dict[str, ModelRecord] = {}
    sums: dict[str, _Sums] = {}
    answers: Iterator[Answer] = run.events(JOURNAL, VerdictGiven, VerdictFailed)
    for answer in answers:
        if answer.model not in records:
            records[answer.model], sums[answer.model] = ModelRecord(), _Sums()
        _add_answer(records[answer.model], sums[answer.model], answer)
    for name, record in records.items():
        if record.verdicts:
            record.mean_confidence = round(fsum(sums[name].confidence) / record.verdicts, 6)
            record.mean_latency_ms = round(sums[name].latency_ms / record.verdicts, 3)
        found = record.calibration = measured.get(name)
        if found is not None:
            record.predictions, record.correct_pct = found.predictions, round(100 * found.hits / found.predictions, 6)
    return dict(sorted(records.items()))


def _add_answer(record: ModelRecord, sums: _Sums, answer: Answer) -> None:
    record.cost_usd += answer.cost_usd
    if isinstance(answer, VerdictFailed):
        _count(record.failed, answer.reason)
        return
    record.verdicts += 1
    _count(record.actions, answer.action)
    record.prompt_tokens += answer.prompt_tokens
    record.reply_tokens += answer.reply_tokens
    sums.confidence.append(answer.confidence)
    sums.latency_ms += answer.latency_ms


def read_signals(run: RunDir) -> Signals:
    """Count what became of texts and of questions."""
    texts, questions = TextRecord(), QuestionRecord()
    kept_out: list[NewsDiscarded | NewsFlagged] = []
    signals: Iterator[SignalEvent] = run.events(
        "signals", NewsVetted, NewsDiscarded, NewsFlagged, ConsensusReached, ConsensusFailed, QuestionScreened
    )
    for signal in signals:
        match signal:
            case NewsVetted():
                texts.vetted += 1
            case NewsDiscarded():
                _count(texts.discarded, signal.reason)
                _keep(kept_out, signal)
            case NewsFlagged():
                _count(texts.flagged, signal.reason)
                _keep(kept_out, signal)
            case ConsensusReached():
                _count(questions.consensus, signal.action)
                questions.fallbacks += signal.fallback
            case ConsensusFailed():
                _count(questions.none, signal.reason)
            case QuestionScreened():
                questions.screened += 1
                for model in signal.spared:
                    _count(questions.calls_saved, model)
    return Signals(texts, questions, kept_out)


def complete(
    questions: QuestionRecord, models: Mapping[str, ModelRecord], measured: Mapping[str, Calibration]
) -> QuestionRecord:
    """Add what the models tell of the questions: how far the vote could be trusted, and what a screen has saved."""
    questions.calibration = measured.get(VOTE_NAME)
    asked = {name: one.verdicts + sum(one.failed.values()) for name, one in models.items()}
    if questions.screened and all(asked.get(name) for name in questions.calls_saved):
        saved = [models[name].cost_usd * calls / asked[name] for name, calls in questions.calls_saved.items()]
        questions.usd_saved = plain(quantize(sum(saved, Decimal(0)), CENTIMICRO_USD))
    return questions


def read_rulings(run: RunDir) -> Rulings:
    """Count what risk allowed, cut and refused, and what the breakers did."""
    record = RiskRecord()
    refusals: list[TradeRejected] = []
    breakers: list[BreakerTripped | BreakerReset] = []
    rulings: Iterator[Ruling] = run.events(
        "risk-decisions", TradeApproved, TradeRejected, BreakerTripped, BreakerReset, ConfirmationRequested
    )
    for ruling in rulings:
        match ruling:
            case TradeApproved():
                record.approved += 1
                record.clamped += bool(ruling.clamps)
            case TradeRejected():
                _count(record.rejected, f"{ruling.reason}: {ruling.limit}" if ruling.limit else ruling.reason)
                _keep(refusals, ruling)
            case BreakerTripped():
                _count(record.breakers, ruling.rule)
                _keep(breakers, ruling)
            case BreakerReset():
                _keep(breakers, ruling)
            case ConfirmationRequested():
                record.confirmations += 1
    return Rulings(record, refusals, breakers)


def read_alerts(run: RunDir) -> list[Alert]:
    """Give the first alerts."""
    kept: list[Alert] = []
    alerts: Iterator[Alert] = run.events("alerts", AlertRaised, ProcessingFailed)
    for alert in alerts:
        _keep(kept, alert)
    return kept


def read_commands(run: RunDir) -> list[Command]:
    """Give the operators' first commands."""
    kept: list[Command] = []
    commands: Iterator[Command] = run.events(JOURNAL, *COMMANDS)
    for command in commands:
        _keep(kept, command)
    return kept


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _keep(kept: list[T], item: T) -> None:
    if len(kept) < LISTED:
        kept.append(item)
