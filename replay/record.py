"""What a replay would ask models, found and asked before it runs.

A question holds no word of the portfolio and, unless one model decides whether others are asked, none of an answer. So
passes over the archive find all of them, and they are asked at once instead of one after another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from agents.pipeline import Desk
from connectors.models import minds
from connectors.models.answers import ANSWER_SCHEMA
from connectors.models.prices import price_of, worst_cost, worst_tokens
from connectors.models.prompts import render
from connectors.voters import computed, offline_voters
from connectors.voters.protocol import abstention
from replay.cassette import Key, RecordedVerdicts, Verdict
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.files import Place
from replay.gateway import Asked, NotRecordedError, ReplayGateway, answered, failed
from replay.log import NoLog
from replay.recording import InterruptedRecordingError, Minds, Recording, recorded_run
from replay.run import Progress, Reached, Settings, archived_inputs, load_asked
from replay.sources import open_archive
from schemas.book import Book
from schemas.errors import QuorumError
from schemas.verdicts import NOTHING, VerdictRequested

BYTES_A_TOKEN = 4
"""Of English prose and JSON, roughly."""
LIKELY_REPLY_TOKENS = 250
"""Of an answer, where none of the model's is on record."""


class Span(NamedTuple):
    """What of an archive is replayed."""

    archive: Place
    start_ns: int | None
    end_ns: int | None


class Collector:
    """Answers what the record can, and notes what is still to be asked; each question once."""

    def __init__(self, gateway: ReplayGateway, screen: str) -> None:
        """`screen` names the model that decides whether others are asked; empty where all are."""
        self._gateway, self._screen = gateway, screen
        self.missing: dict[Key, VerdictRequested] = {}

    def answer(self, request: VerdictRequested) -> Verdict:
        """Give the verdict on a request; a failure where it is still to be asked.

        A screen that fails has the others asked. One that is still to be asked abstains, until its answer is there.
        """
        try:
            return self._gateway.answer(request)
        except NotRecordedError:
            self.missing.setdefault(self._gateway.key(request), request)
            if request.model == self._screen:
                return answered(request, computed(abstention("It is still to be asked.")), 0)
            return failed(request, "not_recorded", 0)


def missing(
    book: Book,
    span: Span,
    recorded: RecordedVerdicts,
    asked: Asked,
    on_progress: Callable[[Progress], None],
    stopping: threading.Event,
) -> list[VerdictRequested]:
    """Give the questions to outside models that have no answer and were not tried, in the order of time."""
    wants = replace(book, on_unrecorded="ask")
    source = open_archive(span.archive, wants, span.start_ns, span.end_ns)
    collector = Collector(ReplayGateway(wants, recorded, offline_voters(wants), asked), book.analysts.screen)
    engine = Engine(Desk(wants), SimulatedExchange(wants), collector, NoLog())
    for _ in engine.run(source.frames(), archived_inputs(source)):
        on_progress(Progress(*source.span, engine.now, engine.seq))
        engine.stop = stopping.is_set()
    return list(collector.missing.values())


def record(
    book: Book,
    settings: Settings,
    recorded: RecordedVerdicts,
    on_progress: Callable[[Progress], None],
    on_asked: Callable[[Reached], None],
    stopping: threading.Event,
    make: Minds = minds,
) -> Asked:
    """Ask all that a replay of `settings` would find without an answer, into its cassette; give what came of it.

    What `recorded` answers is not asked. Raises QuorumError where a model cannot be reached, ArchiveError where the
    cassette cannot be used, BookError where a price or a key is missing, InterruptedRecordingError where `stopping` was
    set meanwhile. Whatever was answered is kept.
    """
    if settings.cassette is None:
        raise ValueError("a recording needs a cassette")
    return record_span(
        book,
        Span(settings.archive, settings.start_ns, settings.end_ns),
        settings.cassette,
        recorded,
        on_progress,
        on_asked,
        stopping,
        make,
    )


def record_span(
    book: Book,
    span: Span,
    cassette: Path,
    recorded: RecordedVerdicts,
    on_progress: Callable[[Progress], None],
    on_asked: Callable[[Reached], None],
    stopping: threading.Event,
    make: Minds = minds,
) -> Asked:
    """Do as `record` does, for a span of an archive."""
    with Recording(book, cassette, recorded_run(book, *span), make) as recording:
        while requests := missing(book, span, recorded, recording.asked, on_progress, stopping):
            if not stopping.is_set():
                recording.ask(requests, on_asked, stopping)
            if stopping.is_set():
                raise InterruptedRecordingError(
                    f"interrupted: {len(recording.asked.requests):,} questions were answered and are kept in"
                    f" {cassette}; the same command goes on from there"
                )
        if not recording.asked.failed:
            recording.complete()
        return recording.asked


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What asking one model all that has no answer yet would take."""

    model: str
    questions: int
    prompt_tokens: int
    """At worst, as is the next; see `connectors.models.prices`."""
    reply_tokens: int
    worst_usd: Decimal
    """Each answered at its first call."""
    worst_retried_usd: Decimal
    """Each asked a second time."""
    likely_prompt_tokens: int
    likely_reply_tokens: int
    likely_usd: Decimal


def estimate(book: Book, span: Span, cassette: Path, on_progress: Callable[[Progress], None]) -> list[Estimate]:
    """Say what a recording would take, by model. Nobody is asked. Raises as `record` does.

    Behind a screen that is still to be asked, what the others will be asked is not known, and not counted.
    """
    asked = load_asked(cassette)
    left = missing(book, span, RecordedVerdicts(), asked, on_progress, threading.Event())
    return [
        _estimate(book, model, [one for one in left if one.model == model], asked.recorded)
        for model in asked_outside(book)
    ]


def asked_outside(book: Book) -> list[str]:
    """Give the models that a provider runs and that the book asks, its screen first."""
    return [name for name in book.asked if book.models[name].is_outside]


def _estimate(book: Book, model: str, left: Iterable[VerdictRequested], recorded: RecordedVerdicts) -> Estimate:
    settings = book.models[model]
    price = price_of(settings)
    sizes = [sum(len(part.encode("utf-8", "surrogatepass")) for part in render(one)) for one in left]
    form = len(msgspec.json.encode(ANSWER_SCHEMA))
    prompt = sum((size + form) // BYTES_A_TOKEN for size in sizes)
    reply = recorded.mean_reply_tokens(model) or LIKELY_REPLY_TOKENS
    worst = sum((worst_cost(price, size, settings.max_reply_tokens) for size in sizes), NOTHING)
    return Estimate(
        model=model,
        questions=len(sizes),
        prompt_tokens=sum(map(worst_tokens, sizes)),
        reply_tokens=len(sizes) * settings.max_reply_tokens,
        worst_usd=worst,
        worst_retried_usd=2 * worst,
        likely_prompt_tokens=prompt,
        likely_reply_tokens=len(sizes) * reply,
        likely_usd=price.cost(prompt, len(sizes) * reply),
    )


def check_answered(book: Book, asked: Asked) -> None:
    """Raise QuorumError, which says how many and why, where questions were left without an answer."""
    told = unanswered(asked)
    if told:
        raise QuorumError(f"book {book.name}: {'; '.join(told)}")


def unanswered(asked: Asked) -> list[str]:
    """Say by model how many questions were left without an answer, and why the first of them was."""
    first: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], int] = {}
    for (model, _, _), failure in asked.failed.items():
        group = model, failure.reason
        counts[group] = counts.get(group, 0) + 1
        first.setdefault(group, failure.detail)
    return [
        f"{count:,} questions to model {model!r} have no answer, {reason.replace('_', ' ')}"
        f"{f' ({first[model, reason]})' if first[model, reason] else ''}"
        for (model, reason), count in sorted(counts.items())
    ]
