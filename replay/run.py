"""One run, whole: an archive and a book in, a folder out with log, prices, figures and report.

Whatever ends a run, its log is closed and can be checked and audited; a run that was stopped says that it is partial.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from heapq import merge
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from agents.frame import BAR, TRADE, Frame
from agents.pipeline import Desk
from connectors.voters import offline_voters
from replay.cassette import RecordedVerdicts, verdicts_of
from replay.collector import collector_paused
from replay.engine import RANKS, Engine
from replay.exchange import SimulatedExchange
from replay.files import Place
from replay.gateway import Asked, NotRecordedError, ReplayGateway, parameters_of
from replay.log import DecisionLog, Kept, NoLog, open_log
from replay.outputs import finish, write_summary
from replay.pace import WallPacer
from replay.prices import PriceSampler
from replay.questions import load_sheet
from replay.results import NO_EVENT, Summary, Unlogged, days
from replay.rundir import BOOK, clear
from replay.sources import Archive, open_archive
from replay.tape import read_tape
from replay.trades import iso
from schemas.base import NS_PER_S, Event, derived_id
from schemas.book import Book
from schemas.codec import encode
from schemas.errors import ArchiveError, StoppedError
from schemas.execution import OrderFilled, OrderRequested
from schemas.operations import ProcessingFailed
from schemas.topics import TOPIC_OF


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is told beside its book."""

    archive: Place
    out: Path
    start_ns: int | None = None
    end_ns: int | None = None
    verdicts: Place | None = None
    """A run's folder, a cassette or an archive with recorded verdicts; None asks the voters."""
    cassette: Path | None = None
    """Folder of what models have answered; where the book says `ask`, they are asked what it has not, and it grows."""
    speed: float | None = None
    """Times real time; None is as fast as the machine can."""
    report: bool = True
    """Write `report.html`; a run that keeps no log has none."""
    log: Kept = "full"


class Reached(msgspec.Struct, frozen=True):
    """How far the asking has come."""

    done: int
    whole: int
    cost_usd: Decimal
    """Paid so far, calls under way at their worst."""
    worst_left_usd: Decimal
    """What the questions that are left may cost at most, each answered at its first call."""


class Progress(msgspec.Struct, frozen=True):
    """How far a run has come. Times in ns."""

    first: int
    last: int
    now: int
    events: int


class Run:
    """A replay that can be watched and stopped."""

    def __init__(self, book: Book, settings: Settings) -> None:
        """Open the archive and the record. Raises ArchiveError where one cannot be used; nothing is written yet."""
        self.book = book
        self.settings = settings
        self._source = self._opened()
        recorded = RecordedVerdicts.load(settings.verdicts) if settings.verdicts else RecordedVerdicts()
        self._recorded, self._asked = recorded, None if settings.cassette is None else load_asked(settings.cassette)
        self._sheet = None
        if settings.verdicts is not None and settings.log != "full":
            self._sheet = load_sheet(settings.verdicts, book, recorded)
        self.engine: Engine | None = None
        self.unanswered: tuple[str, ...] = ()
        """What the models were to be asked and were not, or did not answer, in sentences."""
        self._stopped = threading.Event()

    def _opened(self) -> Archive:
        return open_archive(self.settings.archive, self.book, self.settings.start_ns, self.settings.end_ns)

    def stop(self) -> None:
        """End the run between two events; what was done so far is kept and reported as partial."""
        self._stopped.set()
        if self.engine is not None:
            self.engine.stop = True

    def run(
        self, on_progress: Callable[[Progress], None], on_asked: Callable[[Reached], None] = lambda _: None
    ) -> Summary | Unlogged:
        """Replay to the end, or to `stop`, and write the folder.

        Where the cassette lacks answers that are to be asked for, all of them are asked for before, and `on_asked` told
        how that goes. An earlier run in that folder is replaced. Raises ArchiveError where the folder holds anything
        else, or cannot be written, or the archive cannot be read on; QuorumError where a verdict is missing and the
        book says `fail`, or cannot be asked for; StoppedError where an agent fails. The log then holds all up to there,
        of a failure the alert too, and the folder holds no figures.
        """
        try:
            with collector_paused():
                if self.settings.speed is not None and self.settings.cassette is not None:
                    self._ask(on_progress, on_asked)  # wall time waits for nobody
                try:
                    return self._run(on_progress)
                except NotRecordedError:
                    if self.settings.cassette is None:
                        raise
                    self._ask(on_progress, on_asked)
                    return self._run(on_progress)
        except OSError as error:
            path, reason = error.filename or self.settings.out, error.strerror or error
            raise ArchiveError(f"{path}: cannot be written: {reason}") from None

    def _ask(self, on_progress: Callable[[Progress], None], on_asked: Callable[[Reached], None]) -> None:
        """Ask what the cassette has not."""
        if self.book.on_unrecorded == "ask" and any(parameters_of(self.book)):
            from replay.record import record, unanswered  # noqa: PLC0415 - it brings along what calls models

            self._asked = record(self.book, self.settings, self._recorded, on_progress, on_asked, self._stopped)
            self.unanswered = tuple(unanswered(self._asked))
            self._source = self._opened()

    def _run(self, on_progress: Callable[[Progress], None]) -> Summary | Unlogged:
        began = time.perf_counter()
        settings, source = self.settings, self._source
        clear(settings.out)
        (settings.out / BOOK).write_bytes(msgspec.json.format(encode(self.book), indent=2) + b"\n")
        log, prices = open_log(settings.out, settings.log), PriceSampler(self.book)
        gateway = ReplayGateway(self.book, self._recorded, offline_voters(self.book), self._asked)
        engine = self.engine = Engine(Desk(self.book), SimulatedExchange(self.book), gateway, log, self._sheet)
        engine.stop = self._stopped.is_set()

        def show() -> None:
            on_progress(Progress(*source.span, engine.now, engine.seq))

        if settings.speed is not None:
            engine.pacer = WallPacer(settings.speed, show)
        try:
            for frame in engine.run(self._frames(), archived_inputs(source)):
                if settings.log != "none":
                    prices.take(frame, engine.now)
                show()
        except StoppedError as error:
            log.derived(_failure(self.book, engine, error))
            raise
        finally:
            log_sha256 = log.close()
        if isinstance(log, NoLog):
            summary = self._unlogged(engine, gateway, log, time.perf_counter() - began)
            write_summary(summary, settings.out)
            return summary
        prices.write(settings.out / "prices.parquet")
        timing = _timing(engine, time.perf_counter() - began)
        facts = {"interrupted": engine.stop, "log_sha256": log_sha256, **self._facts(engine, gateway), "timing": timing}
        if isinstance(log, DecisionLog):
            facts["started_at"] = log.started_at
        return finish(settings.out, facts, report=settings.report)

    def _frames(self) -> Iterator[Frame]:
        """Give the archive's frames. Raises ArchiveError where its bars are not of the book's length."""
        for n, frame in enumerate(self._source.frames()):
            if n == 0:
                self._check_bars(frame)
            yield frame

    def _check_bars(self, frame: Frame) -> None:
        lengths_s = frame.values[frame.kind == BAR, 5] / NS_PER_S
        wanted_s = self.book.features.bar_s
        if len(lengths_s) and wanted_s not in lengths_s and TRADE not in frame.kind:
            there = ", ".join(f"{length:g} s" for length in np.unique(lengths_s))
            raise ArchiveError(
                f"{self.settings.archive}: holds bars of {there}, and the book's features.bar_s is {wanted_s}, so no"
                " average would ever move; set it to the length of the bars"
            )

    def _facts(self, engine: Engine, gateway: ReplayGateway) -> dict[str, object]:
        """Say what went in. To be asked once."""
        gateway.count_folded(engine.folded, engine.folded_cost_usd)
        return {
            "market_events": engine.rows,
            "journal_entries": engine.seq,
            "coverage": gateway.coverage,
            "archive": self._source.inputs(),
            "doubles_dropped": self._source.dropped,
        }

    def _unlogged(self, engine: Engine, gateway: ReplayGateway, log: NoLog, replayed_s: float) -> Unlogged:
        """Sum up what is known without a log."""
        if log.started_at is None:
            raise ArchiveError(f"{self.settings.out}: {NO_EVENT}")
        return Unlogged(
            book=self.book.name,
            currency=self.book.currency,
            instruments=tuple(instrument.id for instrument in self.book.instruments),
            start=iso(log.started_at),
            end=iso(engine.now),
            days=days(log.started_at, engine.now),
            interrupted=engine.stop,
            log="none",
            log_sha256="",
            start_equity=float(self.book.cash),
            end_equity=float(engine.desk.portfolio.equity()),
            orders=log.counts[OrderRequested],
            fills=log.counts[OrderFilled],
            run=self._facts(engine, gateway),
            timing=_timing(engine, replayed_s),
        )


def load_asked(cassette: Path) -> Asked:
    """Read a cassette, which need not be there yet. Raises ArchiveError for damage, with its place."""
    return Asked(RecordedVerdicts(verdicts_of(read_tape(cassette))))


def archived_inputs(source: Archive) -> Iterator[Event]:
    """Merge an archive's texts and commands into the order of the journal."""
    return merge(source.control(), source.texts(), key=lambda event: (event.observed_at, RANKS[TOPIC_OF[type(event)]]))


def _timing(engine: Engine, replayed_s: float) -> dict[str, object]:
    return {
        "replayed_s": round(replayed_s, 3),
        "events_per_s": round(engine.seq / replayed_s),
        "peak_rss_mb": round(_peak_rss_mb()),
        "python": sys.version.split()[0],
        "quorum": version("quorum"),
    }


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _failure(book: Book, engine: Engine, error: StoppedError) -> ProcessingFailed:
    return ProcessingFailed(
        id=derived_id(error.event, f"{book.name}/{error.agent}", 0),
        key=book.name,
        occurred_at=engine.now,
        observed_at=engine.now,
        book=book.name,
        seq=error.seq,
        cause=error.event,
        agent=error.agent,
        error=error.reason,
    )
