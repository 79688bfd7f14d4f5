"""Why a model voted as it did: the prompt as it read it, its calls, its words, what it was shown, what came of it.

verdict -> request -> calls; verdict -> vote -> outcome; request -> the events that its parts cite. What a place does
not hold is left empty, and told as such.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from agents.analysts import digest_of
from connectors.models.prompts import Rendered, render, sent_sha256
from connectors.models.provider import corrected
from replay.evidence import Answer, Signal
from replay.files import find_files
from replay.finding import Finder, Span, beginning, mark_of
from replay.sources import Archive
from schemas.accounting import OutcomeMeasured
from schemas.base import NS_PER_DAY, Event
from schemas.book import Book, Instrument
from schemas.codec import encode
from schemas.decisions import ConsensusFailed, ConsensusReached, Vote
from schemas.errors import ArchiveError
from schemas.execution import OrderRequested
from schemas.texts import NewsPublished, TweetPosted
from schemas.verdicts import (
    InstructionPart,
    ModelCallEnded,
    ModelCallStarted,
    PricePart,
    TextPart,
    VerdictFailed,
    VerdictGiven,
    VerdictRequested,
)

LISTED = 5
"""Ids that a message names at most."""
BEFORE_NS, AFTER_NS = NS_PER_DAY, 9 * NS_PER_DAY
"""A verdict's question lies within a day before it; its outcome is measured within about a week after it."""
E = TypeVar("E", bound=Event)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call to a model. One that has no end was cut off, and has cost its worst."""

    started: ModelCallStarted
    ended: ModelCallEnded | None = None
    sent_is_prompt: bool
    """Whether the digest of what was sent is that of the prompt as it is rendered now."""


class Cited(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the question, and the event that it reflects, where that was found."""

    part: PricePart | TextPart
    event: Event | None = None


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """What led to a verdict, and what came of it."""

    verdict: Answer
    request: VerdictRequested | None = None
    system: str = ""
    """The prompt as a model reads it, and the next."""
    user: str = ""
    prompt_is_recorded: bool = True
    """Whether the question has the digest that the request and the verdict say it has."""
    calls: tuple[Call, ...] = ()
    recorded: Answer | None = None
    """The verdict that this one repeats without a call."""
    cited: tuple[Cited, ...] = ()
    vote: Signal | None = None
    counted: Vote | None = None
    """What the vote made of it; None where it came too late, or there was no vote."""
    outcome: OutcomeMeasured | None = None

    @property
    def difference(self) -> str:
        """Say in a sentence where the record contradicts itself; empty where it does not."""
        if not self.prompt_is_recorded:
            return f"verdict {self.verdict.id}: its question is not the one whose digest was recorded"
        for call in self.calls:
            if not call.sent_is_prompt:
                return f"call {call.started.id}: what was sent is not the prompt as it is rendered now"
        return ""


def why_verdict(place: Finder, id: str, archives: Collection[Path | str]) -> Why:
    """Explain the verdict whose id begins so. Raises ArchiveError where the place has none, or several.

    `archives` are looked through for the events that the question cites.
    """
    begun: Iterator[Answer] = place.find([beginning(id)], None, VerdictGiven, VerdictFailed)
    verdict = _only(begun, place, id, "verdict")
    span = Span(verdict.observed_at - BEFORE_NS, verdict.observed_at + AFTER_NS)
    request = _by_id(place.find([mark_of(verdict.cause)], span, VerdictRequested), verdict.cause)
    recorded = _recorded(place, verdict)
    signal = _signal(place, verdict, span)
    prompt = render(request) if request else None
    return Why(
        verdict=verdict,
        request=request,
        system=prompt.system if prompt else "",
        user=prompt.user if prompt else "",
        prompt_is_recorded=request is None or _is_recorded(request, verdict),
        calls=_calls(place, (recorded or verdict).cause, prompt),
        recorded=recorded,
        cited=tuple(_cited(place, request, archives)) if request else (),
        vote=signal,
        counted=next((vote for vote in signal.votes if vote.verdict == verdict.id), None) if signal else None,
        outcome=_outcome(place, verdict, span),
    )


def order_id(place: Finder, id: str) -> str:
    """Give the whole id of the order whose id begins so. Raises ArchiveError where there is none, or several."""
    return _only(place.find([beginning(id)], None, OrderRequested), place, id, "order").id


def _only(begun: Iterable[E], place: Finder, id: str, what: str) -> E:
    found = {event.id: event for event in begun if event.id.startswith(id)}
    if id in found:
        return found[id]
    if not found:
        raise ArchiveError(f"{place.where}: holds no {what} whose id begins with {id!r}")
    if len(found) > 1:
        listed = ", ".join([*found][:LISTED]) + (", ..." if len(found) > LISTED else "")
        raise ArchiveError(
            f"{place.where}: {len(found):,} {what}s have an id that begins with {id!r}: {listed}; give more of it"
        )
    return next(iter(found.values()))


def _by_id(found: Iterable[E], id: str) -> E | None:
    return next((event for event in found if event.id == id), None)


def _recorded(place: Finder, verdict: Answer) -> Answer | None:
    if not verdict.repeats:
        return None
    found: Iterator[Answer] = place.find([mark_of(verdict.repeats)], None, VerdictGiven, VerdictFailed)
    return _by_id(found, verdict.repeats)


def _is_recorded(request: VerdictRequested, verdict: Answer) -> bool:
    digest = digest_of(encode(request.prompt[0]), request.prompt[1:])
    return digest == request.prompt_sha256 and verdict.prompt_sha256 in ("", digest)


def _calls(place: Finder, request: str, prompt: Rendered | None) -> tuple[Call, ...]:
    """Give the calls that a request took, in order; each is checked against what it must have sent."""
    found = list(place.find([mark_of(request)], None, ModelCallStarted, ModelCallEnded))
    ends = {event.cause: event for event in found if isinstance(event, ModelCallEnded)}
    starts = [event for event in found if isinstance(event, ModelCallStarted) and event.cause == request]
    calls: list[Call] = []
    for started in sorted(starts, key=lambda event: (event.observed_at, event.attempt)):
        before = calls[-1].ended if calls and started.attempt > 1 else None
        wrong = before.detail if before and before.outcome == "unparsable" else ""
        sent = prompt is None or started.sent_sha256 == sent_sha256(corrected(prompt, wrong))
        calls.append(Call(started=started, ended=ends.get(started.id), sent_is_prompt=sent))
    return tuple(calls)


def _signal(place: Finder, verdict: Answer, span: Span) -> Signal | None:
    signals: Iterator[Signal] = place.find([mark_of(verdict.question)], span, ConsensusReached, ConsensusFailed)
    return next((signal for signal in signals if signal.question == verdict.question), None)


def _outcome(place: Finder, verdict: Answer, span: Span) -> OutcomeMeasured | None:
    found = place.find([mark_of(verdict.id)], span, OutcomeMeasured)
    return next((outcome for outcome in found if outcome.prediction == verdict.id), None)


def _cited(place: Finder, request: VerdictRequested, archives: Collection[Path | str]) -> Iterator[Cited]:
    parts = [part for part in request.prompt if not isinstance(part, InstructionPart)]
    wanted = {part.cites for part in parts}
    marks = [mark_of(id) for id in sorted(wanted)]
    texts = (*place.find(marks, None, TweetPosted), *place.find(marks, None, NewsPublished))
    events: dict[str, Event] = {text.id: replace(text, book="", seq=0) for text in texts if text.id in wanted}
    wanted -= events.keys()
    for archive in archives:
        if wanted:
            found = {event.id: event for event in _held(archive, request, parts) if event.id in wanted}
            events |= found
            wanted -= found.keys()
    for part in parts:
        yield Cited(part=part, event=events.get(part.cites))


def _held(archive: Path | str, request: VerdictRequested, parts: Collection[PricePart | TextPart]) -> Iterator[Event]:
    """Give an archive's events of the times that the parts of a question name."""
    times = {part.observed_at for part in parts}
    book = Book(name="why", instruments=(Instrument(id=request.instrument),))
    lo, hi = min(times), max(times) + 1
    yield from Archive(archive, find_files(archive, lo, hi), book, lo, hi).texts()
    for at in sorted({part.observed_at for part in parts if isinstance(part, PricePart)}):
        for frame in Archive(archive, find_files(archive, at, at + 1), book, at, at + 1).frames():
            yield from (frame.event(row, "", 0) for row in range(len(frame)))
