"""A voter behind a provider: it pays, tells and bounds every call, and makes an opinion or a failure of what comes.

A question costs two calls at most: one answer that does not fit is asked for again with what was wrong with it, or one
call is made again that was not taken on. Nothing is ever made of an answer that does not fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple

from connectors.models.answers import UnfitError, parse
from connectors.models.deadline import Calls
from connectors.models.prices import price_of, worst_cost
from connectors.models.prompts import Rendered, render, sent_sha256
from connectors.models.provider import CallError, Outcome, Provider, Reply, corrected, parameters_sha256
from connectors.models.purse import OverBudgetError, Purse
from connectors.tidy import tidied
from connectors.voters.protocol import Answer, Failure, Opinion
from schemas.book import ModelSettings
from schemas.verdicts import NOTHING, FailReason, ModelCallEnded, ModelCallStarted, VerdictRequested

SPARE_S = 0.05
"""Kept of the time, so that what a mind says of a timeout is there before whoever asked gives it up."""
MIN_CALL_S = 0.5
"""With less time left no call is made: it would be paid for and not be heard."""
WAIT_S = 0.5
"""Before a call is made again, where the provider does not say how long."""
_REASONS: dict[Outcome, FailReason] = {
    "refused": "refused",
    "throttled": "unavailable",
    "timeout": "timeout",
    "unavailable": "unavailable",
    "unparsable": "unparsable",
}
Tell = Callable[[ModelCallStarted | ModelCallEnded], None]


class _Call(NamedTuple):
    """One call, and what came of it."""

    said: Opinion | CallError
    text: str
    """All that the model said."""
    reply_sha256: str
    """Of the words that the opinion was read from."""
    model_version: str
    prompt_tokens: int
    reply_tokens: int
    cost_usd: Decimal


class Mind:
    """Asks one model of a provider. Threads may share it."""

    def __init__(
        self, name: str, settings: ModelSettings, provider: Provider, purse: Purse, tell: Tell, clock: Callable[[], int]
    ) -> None:
        """`tell` keeps what it is told before it returns; `clock`, in ns, dates it.

        Raises BookError where the model's price is not known.
        """
        self._name, self._settings, self._provider = name, settings, provider
        self._purse, self._tell, self._clock = purse, tell, clock
        self._price = price_of(settings)
        self._parameters = parameters_sha256(settings)
        self._calls: Calls[Reply] = Calls()

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        """Answer in so many seconds. Raises only what `tell` or the purse raise that cannot keep what they are told."""
        until = time.monotonic() + within_s - SPARE_S
        rendered = render(request)
        calls: list[_Call] = []
        correction = ""
        for attempt in (1, 2):
            if until - time.monotonic() < MIN_CALL_S:
                return self._answer(calls, "timeout", "no time is left for a call")
            try:
                call = self._call(request, rendered, correction, attempt, until)
            except OverBudgetError as error:
                return self._answer(calls, "over_budget", str(error))
            calls.append(call)
            if isinstance(call.said, Opinion) or not call.said.may_retry:
                break
            correction = call.said.detail if call.said.outcome == "unparsable" else ""
            if attempt == 1 and not _waited(call.said, until):
                break
        return self._answer(calls)

    def _answer(self, calls: list[_Call], reason: FailReason = "unavailable", detail: str = "") -> Answer:
        """Sum the calls up. The last one's word counts; `reason` says why there was none at all."""
        last = calls[-1] if calls else None
        said: Opinion | Failure = Failure(reason=reason, detail=detail)
        if last is not None:
            said = last.said if isinstance(last.said, Opinion) else _failure(last.said)
        return Answer(
            said=said,
            reply_sha256=last.reply_sha256 if last else "",
            parameters_sha256=self._parameters,
            model_version=last.model_version if last else "",
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            reply_tokens=sum(call.reply_tokens for call in calls),
            cost_usd=sum((call.cost_usd for call in calls), NOTHING),
        )

    def _call(
        self, request: VerdictRequested, rendered: Rendered, correction: str, attempt: int, until: float
    ) -> _Call:
        """Pay for a call, tell of it, make it, tell of its end. Raises OverBudgetError before anything is sent."""
        sent = corrected(rendered, correction)
        size = sum(len(part.encode("utf-8", "surrogatepass")) for part in sent)
        started_at = self._clock()
        worst = worst_cost(self._price, size, self._settings.max_reply_tokens)
        hold = self._purse.reserve(self._name, worst, started_at)
        cost = NOTHING  # of a call that was not made
        try:
            started = self._started(request, sent_sha256(sent), attempt, worst, started_at)
            self._tell(started)
            cost = worst
            begun = time.monotonic()
            call = self._made(rendered, correction, until - begun, worst)
            cost = call.cost_usd
            self._tell(self._ended(request, started, call, round((time.monotonic() - begun) * 1000)))
        finally:
            self._purse.settle(hold, cost)
        return call

    def _made(self, rendered: Rendered, correction: str, within_s: float, worst: Decimal) -> _Call:
        """Make a call and read its answer; of a call of which nobody knows what it took, the worst is charged."""
        try:
            reply = self._calls.run(lambda: self._provider.call(rendered, correction, within_s), within_s)
        except CallError as error:
            return self._call_of(error, error, error.text, worst)
        except Exception as error:  # noqa: BLE001 - its message may quote a header or an address with a secret
            unknown = CallError("unavailable", f"the call failed by a {type(error).__name__}")
            return self._call_of(unknown, unknown, "", worst)
        try:
            said: Opinion | CallError = parse(reply.arguments)
        except UnfitError as unfit:
            said = CallError("unparsable", str(unfit), may_retry=True)
        return self._call_of(said, reply, reply.text, worst, reply.arguments)

    def _call_of(
        self, said: Opinion | CallError, told: Reply | CallError, text: str, worst: Decimal, arguments: str = ""
    ) -> _Call:
        known = told.prompt_tokens >= 0 and told.reply_tokens >= 0
        return _Call(
            said=said,
            text=text,
            reply_sha256=_digest(arguments),
            model_version=told.model_version,
            prompt_tokens=max(told.prompt_tokens, 0),
            reply_tokens=max(told.reply_tokens, 0),
            cost_usd=self._price.cost(told.prompt_tokens, told.reply_tokens) if known else worst,
        )

    def _started(self, request: VerdictRequested, sent: str, attempt: int, worst: Decimal, at: int) -> ModelCallStarted:
        return ModelCallStarted(
            id=f"{request.id}/call/{attempt}/{at}",
            key=request.book,
            occurred_at=at,
            observed_at=at,
            book=request.book,
            cause=request.id,
            model=self._name,
            provider=self._provider.name,
            model_id=self._settings.model_id,
            attempt=attempt,
            prompt_sha256=request.prompt_sha256,
            parameters_sha256=self._parameters,
            sent_sha256=sent,
            worst_cost_usd=worst,
        )

    def _ended(
        self, request: VerdictRequested, started: ModelCallStarted, call: _Call, latency_ms: int
    ) -> ModelCallEnded:
        at = max(self._clock(), started.observed_at)
        error = call.said if isinstance(call.said, CallError) else None
        return ModelCallEnded(
            id=f"{started.id}/end",
            key=request.book,
            occurred_at=at,
            observed_at=at,
            book=request.book,
            cause=started.id,
            model=self._name,
            request=request.id,
            outcome=error.outcome if error else "answered",
            detail=tidied("title", error.detail) if error else "",
            reply=tidied("text", call.text),
            reply_sha256=_digest(call.text),
            model_version=call.model_version,
            prompt_tokens=call.prompt_tokens,
            reply_tokens=call.reply_tokens,
            cost_usd=call.cost_usd,
            latency_ms=latency_ms,
        )


def _failure(error: CallError) -> Failure:
    return Failure(reason=_REASONS[error.outcome], detail=tidied("title", error.detail))


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if text else ""


def _waited(error: CallError, until: float) -> bool:
    """Wait until a call may be made again; tell whether there is time for that."""
    if error.outcome == "unparsable":
        return True
    wait_s = error.retry_after_s or WAIT_S
    if until - time.monotonic() - wait_s < MIN_CALL_S:
        return False
    time.sleep(wait_s)
    return True
