"""A sweep: one book over one archive under many settings, each a whole replay, with what they share done once.

The archive is decoded once a worker process. A question that two settings both put is answered once: it holds no word
of the portfolio, so the answer is the same; where a run recorded it, it need not even be put. Each outcome is what
`quorum replay` of that very book comes to.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.frame import Frame, Ints
from agents.pipeline import Desk
from connectors.voters import offline_voters
from replay.cassette import RecordedVerdicts, Verdict
from replay.collector import collector_paused
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.files import Place
from replay.gateway import ReplayGateway, parameters_of
from replay.metrics import CURVE_METRICS, measure
from replay.questions import Sheet, load_sheet
from replay.results import curve_of, marks_of
from replay.run import Progress, Reached, archived_inputs, load_asked
from replay.sources import open_archive
from schemas.accounting import EquityMarked
from schemas.base import NS_PER_DAY, Event
from schemas.book import Book, parse_book
from schemas.codec import encode
from schemas.control import ClockTicked
from schemas.decisions import BreakerTripped
from schemas.errors import BookError, QuorumError
from schemas.execution import OrderFilled, OrderRequested
from schemas.verdicts import VerdictRequested

MOST_SETTINGS = 100_000
Scalar = int | float | str | bool
Setting = dict[str, Scalar]
"""Places in the book, as `risk.order_pct`, and the value that stands there."""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What every run of a sweep is fed with."""

    archive: Place
    start_ns: int | None = None
    end_ns: int | None = None
    verdicts: Place | None = None
    """A run's folder, a cassette or an archive with recorded verdicts; None asks the voters."""
    cassette: Path | None = None
    """Folder of what models have answered; `ask_for_all` asks them what it has not."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one setting came to. Measures are those of docs/metrics.md; None where one has no value."""

    setting: Setting
    orders: int = 0
    fills: int = 0
    breakers: int = 0
    """Breakers that tripped."""
    fees: float = 0.0
    end_equity: float = 0.0
    metrics: dict[str, float | None] = {}
    failure: str = ""
    """Why the run could not be brought to its end; its figures are then not to be used."""


def settings_of(varied: Mapping[str, Sequence[Scalar]]) -> list[Setting]:
    """Give every combination, the last place changing fastest. Raises BookError where there are too many."""
    count = int(np.prod([len(values) for values in varied.values()], dtype=np.int64))
    if count > MOST_SETTINGS:
        raise BookError(f"{count:,} combinations are more than a sweep takes ({MOST_SETTINGS:,}); vary in larger steps")
    return [dict(zip(varied, values, strict=True)) for values in product(*varied.values())]


def book_with(data: dict[str, Any], setting: Setting) -> Book:
    """Make the book of a setting from what a book's file holds. Raises BookError, which names the setting."""
    changed = deepcopy(data)
    for place, value in setting.items():
        *sections, name = place.split(".")
        section: Any = changed
        try:
            for step in sections:
                section = section[int(step)] if isinstance(section, list) else section.setdefault(step, {})
            section[int(name) if isinstance(section, list) else name] = value
        except (AttributeError, IndexError, TypeError, ValueError):
            raise BookError(f"{place} names no setting of the book; write risk.order_pct or instruments.0.id") from None
    try:
        return parse_book(changed)
    except BookError as error:
        told = ", ".join(f"{place} {value}" for place, value in setting.items())
        raise BookError(f"{error} (with {told})") from None


def sweep(
    data: dict[str, Any], settings: Sequence[Setting], sources: Sources, workers: int
) -> Generator[Outcome, None, None]:
    """Run every setting, on `workers` processes; give the outcomes as they come, in the settings' order.

    `data` is what the book's file holds. Every book is made, and the archive opened, before anything runs: raises
    BookError and ArchiveError for what is wrong with them. Closed early, it lets nothing run on.
    """
    books = [book_with(data, setting) for setting in settings]
    if any(_what_is_read(book) != _what_is_read(books[0]) for book in books):
        raise BookError("a sweep cannot vary what the archive is read for: instruments' ids, texts' keys")
    if workers == 1:
        ground = Ground(sources, books[0])
        for book, setting in zip(books, settings, strict=True):
            yield ground.outcome(book, setting)
        return
    open_archive(sources.archive, books[0], sources.start_ns, sources.end_ns)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (sources, encode(books[0])))
    try:
        yield from pool.map(_outcome, map(encode, books), settings)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ask_for_all(
    data: dict[str, Any],
    settings: Sequence[Setting],
    sources: Sources,
    on_progress: Callable[[Progress], None],
    on_asked: Callable[[Reached], None],
    stopping: threading.Event,
) -> None:
    """Ask into the cassette what any run of a sweep would find without an answer; settings that ask alike ask once.

    Raises as `replay.record.record_span` does, and QuorumError where a question is left without an answer: runs that
    miss some cannot be compared.
    """
    from replay.record import Span, check_answered, record_span  # noqa: PLC0415 - it brings along what calls models

    books = [book_with(data, setting) for setting in settings]
    asking = [book for book in books if book.on_unrecorded == "ask" and parameters_of(book)]
    if sources.cassette is None or not asking:
        return
    recorded = RecordedVerdicts.load(sources.verdicts) if sources.verdicts else RecordedVerdicts()
    span = Span(sources.archive, sources.start_ns, sources.end_ns)
    for book in {_what_is_asked(book): book for book in asking}.values():
        check_answered(book, record_span(book, span, sources.cassette, recorded, on_progress, on_asked, stopping))


class Ground:
    """What the runs of one process share: the market in memory, the texts, the answers."""

    def __init__(self, sources: Sources, book: Book) -> None:
        """Read the archive for the instruments of `book`, which all runs have."""
        source = open_archive(sources.archive, book, sources.start_ns, sources.end_ns)
        self._frames: list[Frame] = list(source.frames())
        self._inputs: list[Event] = list(archived_inputs(source))
        recorded = RecordedVerdicts.load(sources.verdicts) if sources.verdicts else RecordedVerdicts()
        self._recorded = recorded
        self._asked = None if sources.cassette is None else load_asked(sources.cassette)
        self._run = sources.verdicts
        self._sheets: dict[bytes, Sheet | None] = {}
        self._answers: dict[bytes, dict[tuple[str, str], Verdict]] = {}
        days = [np.unique((frame.observed_at - 1) // NS_PER_DAY) for frame in self._frames]
        self._priced_days: Ints = np.unique(np.concatenate(days)) if days else np.empty(0, np.int64)
        self._first_price = int(self._frames[0].observed_at[0]) if self._frames else 0

    def outcome(self, book: Book, setting: Setting) -> Outcome:
        """Replay a book to its end."""
        answers = self._answers.setdefault(msgspec.json.encode((book.models, book.on_unrecorded)), {})
        gateway = SharedGateway(ReplayGateway(book, self._recorded, offline_voters(book), self._asked), answers)
        tally = Tally()
        engine = Engine(Desk(book), SimulatedExchange(book), gateway, tally, self._sheet(book))
        try:
            with collector_paused():
                for _ in engine.run(self._frames, self._inputs):
                    pass
        except QuorumError as error:
            return Outcome(setting=setting, failure=str(error))
        return tally.outcome(setting, book, self._priced_days, self._first_price)

    def _sheet(self, book: Book) -> Sheet | None:
        """Give the recorded questions, read once for all books that they are alike for."""
        if self._run is None:
            return None
        alike = book.name, book.analysts, book.consensus, book.strategy.override_confidence
        key = msgspec.json.encode(alike)
        if key not in self._sheets:
            self._sheets[key] = load_sheet(self._run, book, self._recorded)
        return self._sheets[key]


class SharedGateway:
    """Gives an answer that an earlier run was given to the same question; else has it answered."""

    def __init__(self, gateway: ReplayGateway, answers: dict[tuple[str, str], Verdict]) -> None:
        """`answers` are of books with the same models."""
        self._gateway, self._answers = gateway, answers

    def answer(self, request: VerdictRequested) -> Verdict:
        """Give the verdict on a request."""
        place = request.id, request.prompt_sha256
        answer = self._answers.get(place)
        if answer is None:
            answer = self._answers[place] = self._gateway.answer(request)
        return answer


class Tally:
    """A log that keeps the equity marks and counts the rest."""

    def __init__(self) -> None:
        """Start empty."""
        self._marks: list[EquityMarked] = []
        self._counts = Counter[type[Event]]()
        self._first_clock = 0

    def journal(self, event: Event) -> None:
        """Count an input."""
        if type(event) is ClockTicked and not self._first_clock:
            self._first_clock = event.observed_at
        self._counts[type(event)] += 1

    def derived(self, event: Event) -> None:
        """Count a derived event, or keep it."""
        if type(event) is EquityMarked:
            self._marks.append(event)
        else:
            self._counts[type(event)] += 1

    def outcome(self, setting: Setting, book: Book, priced_days: Ints, first_price: int) -> Outcome:
        """Measure."""
        counts = self._counts
        marks = marks_of(self._marks, book, self._first_clock, first_price)
        return Outcome(
            setting=setting,
            orders=counts[OrderRequested],
            fills=counts[OrderFilled],
            breakers=counts[BreakerTripped],
            fees=float(marks.fees[-1]),
            end_equity=float(marks.equity[-1]),
            metrics=measure(CURVE_METRICS, curve_of(book, priced_days, marks.times, marks.equity)),
        )


def _what_is_read(book: Book) -> tuple[object, ...]:
    """Give what decides which events an archive gives."""
    return tuple(instrument.id for instrument in book.instruments), book.text.keys


def _what_is_asked(book: Book) -> bytes:
    """Give what decides which questions are put: limits, stops, fees and the count of votes do not."""
    return msgspec.json.encode((book.name, book.features, book.text, book.analysts, book.models, book.consensus))


_grounds: list[Ground] = []
"""This worker's."""


def _begin(sources: Sources, book: bytes) -> None:
    """Prepare a worker process. Ctrl-C is for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _grounds.append(Ground(sources, _book(book)))


def _outcome(book: bytes, setting: Setting) -> Outcome:
    return _grounds[0].outcome(_book(book), setting)


def _book(data: bytes) -> Book:
    return msgspec.json.decode(data, type=Book)
