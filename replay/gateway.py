"""The model gateway of a replay: a question is answered from the record, or by an offline voter, or not at all.

A recorded verdict costs nothing now, yet its event carries the recorded figures, so the log of a replay equals the
log that it replays, byte for byte. Each answer comes at its own latency after the question, even past the deadline.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from connectors.voters import Answer, Failure, Voter
from replay.cassette import RecordedVerdicts, Verdict
from schemas.base import NS_PER_MS, NS_PER_S, derived_id
from schemas.book import Book
from schemas.errors import BookError, QuorumError
from schemas.verdicts import FailReason, VerdictFailed, VerdictGiven, VerdictRequested


class Coverage(msgspec.Struct, kw_only=True):
    """How one model's questions were answered; the three ways add up to `requests`."""

    requests: int = 0
    recorded: int = 0
    asked: int = 0
    """Answered by an offline voter, now."""
    unanswered: int = 0


class ReplayGateway:
    """Answers requests. What it answers depends on the request, the record and the book, never on earlier requests."""

    def __init__(self, book: Book, recorded: RecordedVerdicts, voters: Mapping[str, Voter]) -> None:
        """`voters` maps the book's names of models to who answers where the record does not."""
        self._book = book
        self._recorded = recorded
        self._voters = voters
        self._coverage: dict[str, Coverage] = {}

    @property
    def coverage(self) -> dict[str, Coverage]:
        """Counts by model, sorted by name, for `summary.json`."""
        return dict(sorted(self._coverage.items()))

    def count_folded(self, questions: int) -> None:
        """Count questions that the scan took with their recorded answers."""
        for model in self._book.analysts.models if questions else ():
            count = self._count(model)
            count.requests += questions
            count.recorded += questions

    def _count(self, model: str) -> Coverage:
        count = self._coverage.get(model)
        if count is None:
            count = self._coverage[model] = Coverage()
        return count

    def answer(self, request: VerdictRequested) -> Verdict:
        """Give the verdict on a request, observed at the request's time plus its latency.

        Raises QuorumError where the record has none and the book says `on_unrecorded: fail`, and BookError where
        the book names no voter of that name to ask.
        """
        count = self._count(request.model)
        count.requests += 1
        found = self._recorded.find(request)
        if found is not None:
            count.recorded += 1
            return stamped(
                found,
                request=request.id,
                at=request.observed_at,
                book=request.book,
                question=request.question,
                instrument=request.instrument,
            )
        if self._book.on_unrecorded == "ask":
            count.asked += 1
            return self._ask(request)
        if self._book.on_unrecorded == "hold":
            count.unanswered += 1
            return failed(request, "not_recorded", self._latency_ms(request.model))
        raise QuorumError(
            f"book {self._book.name}: no recorded verdict of model {request.model!r} for question {request.question}"
            f" on {request.instrument} (prompt {request.prompt_sha256[:12]}); record one, or set on_unrecorded to"
            " ask or hold"
        )

    def _ask(self, request: VerdictRequested) -> Verdict:
        voter = self._voters.get(request.model)
        if voter is None:
            raise self._unknown(request.model)
        answer = voter.answer(request, (request.deadline_at - request.observed_at) / NS_PER_S)
        return answered(request, answer, self._latency_ms(request.model))

    def _latency_ms(self, model: str) -> int:
        settings = self._book.models.get(model)
        if settings is None:
            raise self._unknown(model)
        return settings.latency_ms

    def _unknown(self, model: str) -> BookError:
        known = ", ".join(sorted(self._book.models)) or "none"
        return BookError(f"book {self._book.name}: analysts.models names {model!r}, but models holds {known}; add it")


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
