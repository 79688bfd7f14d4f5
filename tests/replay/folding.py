"""One market replayed twice with recorded verdicts: every question put, and those folded that the record answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from agents.frame import Frame
from agents.pipeline import Desk
from connectors.voters import offline_voters
from replay.cassette import RecordedVerdicts
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.gateway import ReplayGateway
from replay.log import DECISIONS, FileLog
from replay.questions import Sheet, load_sheet
from replay.rundir import BOOK
from schemas.base import Event
from schemas.book import Book
from schemas.codec import encode
from tests.replay.market import Market


class Decisions:
    """A log in memory of what a log of decisions holds."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def journal(self, event: Event) -> None:
        self.derived(event)

    def derived(self, event: Event) -> None:
        if type(event) in DECISIONS:
            self.lines.append(encode(event))


class Came(NamedTuple):
    """What a replay came to."""

    lines: list[bytes]
    saved: list[bytes]
    """Checkpoints after each frame."""
    seq: int
    coverage: bytes
    folded: int


def record(root: Path, book: Book, frames: Iterable[Frame], inputs: Iterable[Event] = ()) -> Path:
    """Replay with the full log, as a run's folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / BOOK).write_bytes(encode(book))
    log = FileLog(root)
    engine = Engine(Desk(book), SimulatedExchange(book), _gateway(book, RecordedVerdicts()), log)
    for _ in engine.run(frames, inputs):
        pass
    log.close()
    return root


def _gateway(book: Book, recorded: RecordedVerdicts) -> ReplayGateway:
    return ReplayGateway(book, recorded, offline_voters(book))


def replayed(
    book: Book,
    run: Path,
    frames: Iterable[Frame],
    inputs: Sequence[Event] = (),
    *,
    fold: bool,
    resume: int | None = None,
) -> Came:
    """Replay with the verdicts of a run; go over to a new engine after `resume` frames."""
    recorded = RecordedVerdicts.load(run)
    sheet = load_sheet(run, book, recorded) if fold else None
    gateway, log = _gateway(book, recorded), Decisions()

    def engine_of() -> Engine:
        return Engine(Desk(book), SimulatedExchange(book), gateway, log, sheet)

    engine = engine_of()
    saved: list[bytes] = []
    frames = list(frames)
    folded, number = 0, 0
    running = engine.run(frames, inputs)
    while (frame := next(running, None)) is not None:
        del frame
        number += 1
        saved.append(engine.checkpoint())
        if number == resume:
            folded += engine.folded
            engine = engine_of()
            engine.restore(saved[-1])
            assert engine.checkpoint() == saved[-1]
            running = engine.run(frames[number:], inputs[engine.inputs_pulled :])
    saved.append(engine.checkpoint())
    folded += engine.folded
    gateway.count_folded(folded)
    return Came(log.lines, saved, engine.seq, msgspec.json.encode(gateway.coverage), folded)


def sheet_of(run: Path, book: Book) -> Sheet | None:
    """Read a run's questions."""
    return load_sheet(run, book, RecordedVerdicts.load(run))


def both(
    book: Book, run: Path, market: Market, batch_rows: int = 65_536, resume: int | None = None
) -> tuple[Came, Came]:
    """Replay a market both ways."""
    frames = list(market.frames(batch_rows))
    visible = replayed(book, run, frames, market.inputs, fold=False)
    return visible, replayed(book, run, frames, market.inputs, fold=True, resume=resume)


def assert_alike(visible: Came, folded: Came) -> None:
    """Demand the same of both but for what was folded."""
    assert folded.lines == visible.lines
    assert (folded.seq, folded.coverage) == (visible.seq, visible.coverage)
    assert folded.saved == visible.saved


def shuffled_gaps(market: Market, seed: int) -> Market:
    """Close the second instrument at times, and leave out minutes of both."""
    rng = np.random.default_rng(seed)
    hour = market.number // (3_600 * 10**9) % 4
    open_ = (market.instrument == 0) | (hour >= 2) | (rng.random(len(hour)) < 0.02)
    kept = np.flatnonzero(open_ & (rng.random(len(hour)) < 0.97))
    market._keep(kept)
    return market


def frames_cut(market: Market, cuts: Sequence[int]) -> Iterator[Frame]:
    """Cut a market at these rows."""
    [whole] = market.frames()
    for lo, hi in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if lo < hi:
            yield Frame(whole.instruments, *(column[lo:hi] for column in whole.columns))
