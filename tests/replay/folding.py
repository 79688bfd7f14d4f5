"""One market replayed twice with recorded verdicts: every question put, and those folded that the record answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from agents.frame import BAR, QUOTE, TRADE, Floats, Frame
from agents.pipeline import Desk
from connectors.voters import offline_voters
from connectors.voters.protocol import Voter
from replay.cassette import RecordedVerdicts
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.gateway import Coverage, ReplayGateway
from replay.log import DECISIONS, FileLog
from replay.questions import Sheet, load_sheet
from replay.rundir import BOOK
from schemas.base import Event
from schemas.book import Book
from schemas.codec import encode
from tests.replay.market import Market

WHOLE = 65_536


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
    """Checkpoints after each frame, and at the end."""
    seq: int
    coverage: dict[str, Coverage]
    folded: int


def record(root: Path, book: Book, market: Market, voters: Mapping[str, Voter] | None = None) -> Path:
    """Replay with the full log, as a run's folder."""
    (root / BOOK).write_bytes(encode(book))
    log = FileLog(root)
    gateway = ReplayGateway(book, RecordedVerdicts(), voters or offline_voters(book))
    for _ in Engine(Desk(book), SimulatedExchange(book), gateway, log).run(market.frames(), market.inputs):
        pass
    log.close()
    return root


def replayed(
    book: Book, run: Path, frames: Sequence[Frame], inputs: Sequence[Event], sheet: Sheet | None, resume: int = 0
) -> Came:
    """Replay with the verdicts of a run; a new engine takes over after `resume` frames."""
    gateway = ReplayGateway(book, RecordedVerdicts.load(run), offline_voters(book))
    log, saved, folded = Decisions(), list[bytes](), 0
    engine = Engine(Desk(book), SimulatedExchange(book), gateway, log, sheet)
    running = engine.run(frames, inputs)
    for number, _ in enumerate(frames, 1):
        next(running)
        saved.append(engine.checkpoint())
        if number == resume:
            folded += engine.folded
            engine = Engine(Desk(book), SimulatedExchange(book), gateway, log, sheet)
            engine.restore(saved[-1])
            assert engine.checkpoint() == saved[-1]
            running = engine.run(frames[number:], inputs[engine.inputs_pulled :])
    assert next(running, None) is None
    saved.append(engine.checkpoint())
    gateway.count_folded(folded + engine.folded, engine.folded_cost_usd)
    return Came(log.lines, saved, engine.seq, gateway.coverage, folded + engine.folded)


def sheet_of(run: Path, book: Book) -> Sheet | None:
    """Read a run's questions."""
    return load_sheet(run, book, RecordedVerdicts.load(run))


def folds(
    book: Book, run: Path, market: Market, sheet: Sheet | None = None, batch_rows: int = WHOLE, resume: int = 0
) -> Came:
    """Replay a market both ways, demand the same of both but for what was folded, and give that of the second."""
    frames = list(market.frames(batch_rows))
    visible = replayed(book, run, frames, market.inputs, None)
    folded = replayed(book, run, frames, market.inputs, sheet or sheet_of(run, book), resume)
    assert visible.folded == 0
    assert folded.lines == visible.lines
    assert (folded.seq, folded.coverage) == (visible.seq, visible.coverage)
    assert folded.saved == visible.saved
    return folded


def edit(path: Path, head: bytes, number: int, **changes: object) -> dict[str, object]:
    """Change the `number`-th line that holds `head`, and give what it held; without changes the line is taken out."""
    lines = path.read_bytes().splitlines(keepends=True)
    place = [i for i, line in enumerate(lines) if head in line][number]
    held: dict[str, object] = msgspec.json.decode(lines[place])
    lines[place] = msgspec.json.encode(held | changes) + b"\n" if changes else b""
    path.write_bytes(b"".join(lines))
    return held


def with_gaps(market: Market, seed: int) -> Market:
    """Close the second instrument at times, leave out rows of both, and send some twice."""
    rng = np.random.default_rng(seed)
    hour = market.number // (3_600 * 10**9) % 4
    is_open = (market.instrument == 0) | (hour >= 2) | (rng.random(len(hour)) < 0.02)
    kept = np.flatnonzero(is_open & (rng.random(len(hour)) < 0.97))
    market._keep(np.sort(np.append(kept, rng.choice(kept, 20))))
    return market


def of_kind(market: Market, kind: int) -> Market:
    """Make trades or quotes of a market's bars."""
    closes, n = market.values[:, 3], len(market.number)
    values: Floats = np.zeros((n, 6))
    if kind == BAR:
        return market
    if kind == TRADE:
        values[:, 0], values[:, 1], values[:, 2] = closes, 1.0, 1.0
    if kind == QUOTE:
        values[:, 0], values[:, 1], values[:, 2], values[:, 3] = closes * 0.9999, closes * 1.0001, 2.0, 2.0
    market.kind, market.values = np.full(n, kind), values
    return market


def lines_of(events: Iterable[bytes], kind: str) -> list[bytes]:
    """Give the lines of a type."""
    return [line for line in events if line.startswith(b'{"type":"%b"' % kind.encode())]
