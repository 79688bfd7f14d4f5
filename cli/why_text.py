"""The reasons of a verdict or an order as lines for a terminal: whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from replay.evidence import Answer, Evidence, Signal
from replay.formats import moment
from replay.why import Call, Cited, Why
from schemas.decisions import ConsensusReached, Vote
from schemas.verdicts import ModelCallEnded, TextPart, VerdictGiven
from streams.logs import printable

INDENT = "  "
_ENVELOPE = ("key", "occurred_at", "seq", "book", "cause", "v")


def verdict_lines(why: Why) -> Iterator[str]:
    """Explain a verdict."""
    verdict = why.verdict
    yield from _block(f"verdict {verdict.id}", [*_said(verdict), *_origin(verdict)])
    yield from _prompt(why)
    for call in why.calls:
        yield from _block(f"call {call.started.attempt}", _call_lines(call))
    if not why.calls:
        yield from _block(
            "calls", ["none on record: a voter without a network, which reads the parts and not the words"]
        )
    for cited in why.cited:
        yield from _block(f"cited {cited.part.cites}", _cited_lines(cited))
    yield from _block("vote", _vote_lines(why))
    yield from _block("outcome", _outcome_lines(why))
    if why.difference:
        yield f"DIFFERENCE: {printable(why.difference)}"


def order_lines(evidence: Evidence) -> Iterator[str]:
    """Explain an order, from what led to it to what came of it."""
    for request in evidence.requests[:1]:
        cites = [f"{part.cites}" for part in request.prompt if hasattr(part, "cites")]
        yield from _block(f"question {request.question}", [f"prompt {request.prompt_version}", *cites])
    for answer in evidence.verdicts:
        yield from _block(f"verdict {answer.id}", _said(answer))
    if evidence.consensus:
        yield from _block(f"vote {evidence.consensus.id}", _signal_lines(evidence.consensus))
    for name in ("proposal", "approval", "order"):
        event = getattr(evidence, name)
        if event is not None:
            yield from _block(f"{name} {event.id}", _fields(event))
    for event in evidence.venue:
        yield from _block(f"{type(event).__name__} {event.id}", _fields(event))


def _block(title: str, lines: list[str]) -> Iterator[str]:
    yield printable(title)
    yield from (INDENT + printable(line) for line in lines)


def _said(verdict: Answer) -> list[str]:
    """Give what a model answered."""
    head = f"{verdict.model} on {verdict.instrument}, {moment(verdict.observed_at)} UTC"
    if not isinstance(verdict, VerdictGiven):
        return [head, f"failed: {verdict.reason}", *_lines(verdict.detail)]
    levels = (("size", verdict.size_hint), ("stop", verdict.stop_price), ("target", verdict.target_price))
    told = [f"{name} {value:g}" for name, value in levels if value is not None]
    if verdict.horizon_ms is not None:
        told.append(f"horizon {verdict.horizon_ms / 60_000:g} min")
    return [
        head,
        ", ".join([f"{verdict.action} with confidence {verdict.confidence:g}", *told]),
        *_lines(verdict.reasoning),
        *(f"factor: {factor}" for factor in verdict.key_factors),
        *(f"risk: {line}" for line in _lines(verdict.risk_note)),
    ]


def _origin(verdict: Answer) -> list[str]:
    """Give which model it was, and what the answer took."""
    version = verdict.model_version if isinstance(verdict, VerdictGiven) else ""
    return [
        f"model version {version or '-'}, parameters {verdict.parameters_sha256 or '-'}",
        _taken(verdict),
        *([f"repeats the recorded verdict {verdict.repeats}, without a call"] if verdict.repeats else []),
    ]


def _taken(what: Answer | ModelCallEnded) -> str:
    tokens = f"tokens {what.prompt_tokens:,} read, {what.reply_tokens:,} said"
    return f"{tokens}; cost {what.cost_usd:f} USD; latency {what.latency_ms:,} ms"


def _prompt(why: Why) -> Iterator[str]:
    if why.request is None:
        yield from _block("prompt", [f"the request {why.verdict.cause} is not here"])
        return
    yield from _block(
        f"prompt {why.request.prompt_version}",
        [f"request {why.request.id}, asked for {why.request.trigger}", f"sha256 {why.request.prompt_sha256}"],
    )
    for name, text in (("system", why.system), ("user", why.user)):
        yield from _block(f"{INDENT}{name}:", [f"{INDENT}{line}" for line in text.split("\n")])


def _call_lines(call: Call) -> list[str]:
    started, ended = call.started, call.ended
    same = "is the prompt above" if call.sent_is_prompt else "IS NOT the prompt above"
    head = [
        f"{started.provider} {started.model_id}, {moment(started.observed_at)} UTC",
        f"parameters {started.parameters_sha256}",
        f"sent sha256 {started.sent_sha256}: {same}",
    ]
    if ended is None:
        return [*head, f"no end on record: it was cut off, and is charged at its worst, {started.worst_cost_usd:f} USD"]
    return [
        *head,
        f"{ended.outcome}, model version {ended.model_version or '-'}",
        _taken(ended),
        *(f"detail: {line}" for line in _lines(ended.detail)),
        "reply, as said:",
        *(f"{INDENT}{line}" for line in _lines(ended.reply)),
    ]


def _cited_lines(cited: Cited) -> list[str]:
    at = f"observed {moment(cited.part.observed_at)} UTC"
    if cited.event is not None:
        return [f"{type(cited.event).__name__}, {at}", *_fields(cited.event)]
    shown = _lines(cited.part.text) if isinstance(cited.part, TextPart) else []
    return [f"{at}; the event is not in the archive: --archive names another", *(f"shown: {line}" for line in shown)]


def _vote_lines(why: Why) -> list[str]:
    if why.vote is None:
        return ["no vote on this question is on record"]
    counted = "this verdict was counted" if why.counted else "this verdict was not counted: it came too late"
    return [counted, *_signal_lines(why.vote)]


def _signal_lines(signal: Signal) -> list[str]:
    head = (
        f"{signal.action} by {signal.agree} of {signal.of}, confidence {signal.confidence:g}"
        if isinstance(signal, ConsensusReached)
        else f"no vote: {signal.reason}"
    )
    return [head, *map(_vote_in_words, signal.votes)]


def _vote_in_words(vote: Vote) -> str:
    if vote.failure or not vote.verdict:
        return f"{vote.model}: none ({vote.failure or 'no verdict before the deadline'})"
    return f"{vote.model}: {vote.action} {vote.confidence:g}"


def _outcome_lines(why: Why) -> list[str]:
    outcome = why.outcome
    if outcome is None:
        acts = isinstance(why.verdict, VerdictGiven) and why.verdict.action != "HOLD"
        return ["not measured: its horizon has not ended" if acts else "none: it predicted nothing"]
    right = "right" if outcome.correct else "wrong"
    return [f"{right}: the price moved {outcome.return_pct:+.4f} % in {outcome.horizon_ms / 60_000:g} min"]


def _fields(event: msgspec.Struct) -> list[str]:
    """Give an event's fields that are not at their defaults, a text over as many lines as it has."""
    left_out = {"id", "observed_at", *_ENVELOPE}
    lines = []
    for field in msgspec.structs.fields(event):
        value = getattr(event, field.name)
        if field.name not in left_out and (field.required or value != field.default):
            first, *rest = str(value).split("\n")
            lines += [f"{field.encode_name}: {first}", *(f"{INDENT}{line}" for line in rest)]
    return lines


def _lines(text: str) -> list[str]:
    return text.split("\n") if text else []
