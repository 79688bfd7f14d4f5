"""The model gateway of a replay: a question is answered from the record, or by an offline voter, or not at all.

A recorded verdict costs nothing now, yet its event carries the recorded figures, so the log of a replay equals the
log that it replays, byte for byte. Each answer comes at its own latency after the question, even past the deadline.
Models that a provider runs are never called here: `replay.recording` asks them before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from connectors.voters import Answer, Failure, Voter
from replay.cassette import Key, RecordedVerdicts, Verdict
from schemas.base import NS_PER_MS, NS_PER_S, derived_id
from schemas.book import Book
from schemas.errors import BookError, QuorumError
from schemas.verdicts import NOTHING, FailReason, VerdictFailed, VerdictGiven, VerdictRequested


class NotRecordedError(QuorumError):
    """A question to a model that a provider runs has no recorded answer, and the book wants it asked."""


class Coverage(msgspec.Struct, kw_only=True):
    """How one model's questions were answered; the three ways add up to `requests`."""

    requests: int = 0
    recorded: int = 0
    asked: int = 0
    """Answered now: by an offline voter, or by a model that was asked for this run."""
    unanswered: int = 0
    over_budget: int = 0
    """Of those: for want of money."""
    calls: int = 0
    """Made for this run. A question may take two, and one call may answer questions that are alike."""
    cost_usd: Decimal = NOTHING
    """Paid for this run."""
    recorded_cost_usd: Decimal = NOTHING
    """What the recorded answers cost when they were asked for."""


class Asked:
    """What a recording has brought for a run, beside what was recorded before."""

    def __init__(self, recorded: RecordedVerdicts) -> None:
        """`recorded` are the cassette's verdicts; new ones are added to them."""
        self.recorded = recorded
        self.requests: set[str] = set()
        """Ids of those that were put for this run and answered."""
        self.failed: dict[Key, Failure] = {}
        """By model, parameters and prompt: what was to be put, and was not, or came to no answer that is kept."""
        self.calls: Counter[str] = Counter()
        self.cost_usd: dict[str, Decimal] = {}


class ReplayGateway:
    """Answers requests. What it answers depends on the request, the record and the book, never on earlier requests."""

    def __init__(
        self,
        book: Book,
        recorded: RecordedVerdicts,
        voters: Mapping[str, Voter],
        asked: Asked | None = None,
    ) -> None:
        """`voters` maps the book's names of models to who answers where the record does not, without a network.

        What `recorded` has not is looked for among what was `asked`.
        """
        self._book = book
        self._recorded = recorded
        self._asked = Asked(RecordedVerdicts()) if asked is None else asked
        self._voters = voters
        self._coverage: dict[str, Coverage] = {}
        self._parameters = parameters_of(book)

    @property
    def coverage(self) -> dict[str, Coverage]:
        """Counts by model, sorted by name, for `summary.json`."""
        for model, calls in self._asked.calls.items():
            count = self._count(model)
            count.calls, count.cost_usd = calls, self._asked.cost_usd.get(model, NOTHING)
        return dict(sorted(self._coverage.items()))

    def count_folded(self, questions: int, cost_usd: Mapping[str, Decimal]) -> None:
        """Count questions that the scan took with their recorded answers, and what those cost, by model."""
        for model in self._book.analysts.models if questions else ():
            count = self._count(model)
            count.requests += questions
            count.recorded += questions
            count.recorded_cost_usd += cost_usd.get(model, NOTHING)

    def _count(self, model: str) -> Coverage:
        count = self._coverage.get(model)
        if count is None:
            count = self._coverage[model] = Coverage()
        return count

    def answer(self, request: VerdictRequested) -> Verdict:
        """Give the verdict on a request, observed at the request's time plus its latency.

        Raises QuorumError where the record has none and the book says `on_unrecorded: fail`, NotRecordedError where it
        says `ask` and a provider would have to be called, and BookError where it names no voter of that name to ask.
        """
        count = self._count(request.model)
        count.requests += 1
        found = self._found(request)
        if found is None:
            return self._unrecorded(request, count)
        if request.id in self._asked.requests:
            count.asked += 1
        else:
            count.recorded += 1
            count.recorded_cost_usd += found.cost_usd
        return stamped(
            found,
            request=request.id,
            at=request.observed_at,
            book=request.book,
            question=request.question,
            instrument=request.instrument,
        )

    def key(self, request: VerdictRequested) -> Key:
        """Give the key of a request's answer."""
        return request.model, self._parameters.get(request.model, ""), request.prompt_sha256

    def _found(self, request: VerdictRequested) -> Verdict | None:
        parameters = self._parameters.get(request.model, "")
        return self._recorded.find(request, parameters) or self._asked.recorded.find(request, parameters)

    def _unrecorded(self, request: VerdictRequested, count: Coverage) -> Verdict:
        policy = self._book.on_unrecorded
        if policy == "fail":
            raise QuorumError(
                f"book {self._book.name}: no recorded verdict of model {request.model!r} for question"
                f" {request.question} on {request.instrument} (prompt {request.prompt_sha256[:12]}); record one, or set"
                " on_unrecorded to ask or hold"
            )
        latency_ms = self._latency_ms(request.model)
        voter = self._voters.get(request.model)
        if policy != "hold" and voter is not None:
            count.asked += 1
            answer = voter.answer(request, (request.deadline_at - request.observed_at) / NS_PER_S)
            return answered(request, answer, latency_ms)
        failure = self._failure(request, policy)
        count.unanswered += 1
        count.over_budget += failure.reason == "over_budget"
        return failed(request, failure.reason, latency_ms, failure.detail)

    def _failure(self, request: VerdictRequested, policy: str) -> Failure:
        """Say why a request has no answer. Raises NotRecordedError where it is still to be asked for."""
        if policy != "ask":
            return Failure(reason="not_recorded")
        if not self._book.models[request.model].is_outside:
            raise self._unknown(request.model)
        known = self._asked.failed.get(self.key(request))
        if known is None:
            raise NotRecordedError(
                f"book {self._book.name}: model {request.model!r} has no recorded answer to question"
                f" {request.question} on {request.instrument}; give --cassette DIR to ask it and keep what it answers,"
                " or set on_unrecorded to fallback or hold"
            )
        return known

    def _latency_ms(self, model: str) -> int:
        settings = self._book.models.get(model)
        if settings is None:
            raise self._unknown(model)
        return settings.latency_ms

    def _unknown(self, model: str) -> BookError:
        known = ", ".join(sorted(self._book.models)) or "none"
        return BookError(f"book {self._book.name}: analysts.models names {model!r}, but models holds {known}; add it")


def parameters_of(book: Book) -> dict[str, str]:
    """Give the digest of the parameters of each model that a provider runs, by its name in the book."""
    outside = {name: model for name, model in book.models.items() if model.is_outside}
    if not outside:
        return {}
    from connectors.models.provider import parameters_sha256  # noqa: PLC0415 - most books need none of it

    return {name: parameters_sha256(model) for name, model in outside.items()}


def answered(request: VerdictRequested, answer: Answer, latency_ms: int) -> Verdict:
    """Make an answer the verdict on a request, observed `latency_ms` after it."""
    said = answer.said
    if isinstance(said, Failure):
        return replace(
            failed(request, said.reason, latency_ms, said.detail),
            parameters_sha256=answer.parameters_sha256,
            prompt_tokens=answer.prompt_tokens,
            reply_tokens=answer.reply_tokens,
            cost_usd=answer.cost_usd,
        )
    at = request.observed_at + latency_ms * NS_PER_MS
    return VerdictGiven(
        id=verdict_id(request.id, request.model),
        key=request.instrument,
        occurred_at=at,
        observed_at=at,
        book=request.book,
        cause=request.id,
        question=request.question,
        instrument=request.instrument,
        model=request.model,
        action=said.action,
        confidence=said.confidence,
        size_hint=said.size_hint,
        stop_price=said.stop_price,
        target_price=said.target_price,
        horizon_ms=said.horizon_ms,
        reasoning=said.reasoning,
        key_factors=said.key_factors,
        risk_note=said.risk_note,
        prompt_sha256=request.prompt_sha256,
        reply_sha256=answer.reply_sha256,
        parameters_sha256=answer.parameters_sha256,
        model_version=answer.model_version,
        prompt_tokens=answer.prompt_tokens,
        reply_tokens=answer.reply_tokens,
        cost_usd=answer.cost_usd,
        latency_ms=latency_ms,
    )


def failed(request: VerdictRequested, reason: FailReason, latency_ms: int, detail: str = "") -> VerdictFailed:
    """Say that a request has no usable answer, observed `latency_ms` after it."""
    at = request.observed_at + latency_ms * NS_PER_MS
    return VerdictFailed(
        id=verdict_id(request.id, request.model),
        key=request.instrument,
        occurred_at=at,
        observed_at=at,
        book=request.book,
        cause=request.id,
        question=request.question,
        instrument=request.instrument,
        model=request.model,
        reason=reason,
        detail=detail,
        prompt_sha256=request.prompt_sha256,
        latency_ms=latency_ms,
    )


def stamped(recorded: Verdict, *, request: str, at: int, book: str, question: str, instrument: str) -> Verdict:
    """Make the recorded verdict the answer to a request put at `at`: its content stays, its envelope is new."""
    answered_at = at + recorded.latency_ms * NS_PER_MS
    return replace(
        recorded,
        id=verdict_id(request, recorded.model),
        key=instrument,
        occurred_at=answered_at,
        observed_at=answered_at,
        book=book,
        seq=0,
        cause=request,
        question=question,
        instrument=instrument,
    )


def verdict_id(request: str, model: str) -> str:
    """Give the id of a model's answer to a request."""
    return derived_id(request, f"gateway:{model}", 0)
