"""The replay host: merges market data, texts, answers, fills and time into one journal and hosts the desk on it.

It moves events and keeps positions; it decides nothing. Everything is ordered by (observed_at, rank of the topic):
control, fills, verdicts, ticks, bars, tweets, news, and the clock last, so a deadline has passed only once all that
was observed by then is known. How frames are cut has no influence on the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from heapq import heapify, heappop, heappush
from typing import Protocol

import msgspec
from msgspec.structs import replace

from agents.agent import NEVER
from agents.frame import Frame
from agents.layout import MARKED, Watch
from agents.pipeline import Desk
from agents.scan import MAX_NOTES
from replay.log import Log
from replay.questions import Folded, Sheet
from schemas.base import Event, market_id
from schemas.codec import decode, encode
from schemas.control import ClockTicked
from schemas.execution import CancelRequested, OrderRequested
from schemas.topics import TOPIC_OF
from schemas.verdicts import NOTHING, VerdictRequested

RANKS = {"control": 0, "fills": 1, "verdicts": 2, "ticks": 3, "bars": 4, "tweets": 5, "news": 6}
"""What comes first at the same time."""
ARCHIVED = frozenset(kind for kind, topic in TOPIC_OF.items() if topic in ("control", "tweets", "news"))
"""Types of inputs that come from the archive, one at a time, and are not market data."""
RANK_OF = {kind: RANKS[topic] for kind, topic in TOPIC_OF.items() if topic in RANKS}
"""The same, by type."""
FILLS_RANK = RANKS["fills"]
MARKET_RANK = RANKS["ticks"]
CLOCK_RANK = 7
PAUSE_RANK = -1
"""A paced replay waits for wall time; nothing is journaled."""


class Gateway(Protocol):
    """Answers questions, from the record or by voters; an answer depends on its question alone."""

    def answer(self, request: VerdictRequested) -> Event:
        """Give the verdict, with the time at which it is observed."""


class Exchange(Protocol):
    """Executes orders against market data. See `replay.exchange`."""

    due: int
    watch: Watch
    """What could touch an order."""

    def submit(self, order: OrderRequested) -> list[Event]:
        """Take an order."""

    def cancel(self, request: CancelRequested) -> list[Event]:
        """Take a cancel."""

    def absorb(self, frame: Frame, lo: int, hi: int) -> None:
        """Take quiet rows."""

    def on_row(self, frame: Frame, row: int) -> list[Event]:
        """Take a row; give what it does to the orders."""

    def on_time(self, now: int) -> list[Event]:
        """Give what happens at `due`."""

    def snapshot(self) -> bytes:
        """Encode the state."""

    def restore(self, data: bytes) -> None:
        """Put back what `snapshot` gave."""


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a replay stands, whole: restored into a new engine, it goes on as if it had never stopped."""

    desk: bytes
    exchange: bytes
    pending: list[tuple[int, int, int, bytes]]
    pushed: int
    seq: int
    rows: int
    inputs: int
    started: bool


class Pacer(Protocol):
    """Holds a replay to wall time."""

    def horizon(self, now: int) -> int:
        """Wait as long as the time `now` of the replay asks for; give the time up to which it may run on."""


class Engine:
    """One replay of one book."""

    def __init__(self, desk: Desk, exchange: Exchange, gateway: Gateway, log: Log, sheet: Sheet | None = None) -> None:
        """Join the parts; nothing runs yet.

        `sheet` holds recorded questions for a log that keeps none, nor what came of them: those that would be put
        again just so are not told to anybody. All else is as it would be.
        """
        self.desk, self.exchange, self.gateway, self.log = desk, exchange, gateway, log
        self.seq = 0
        """Position in the journal: every input counts, market data too."""
        self.rows = 0
        """Market events taken."""
        self.inputs_pulled = 0
        """Texts and commands pulled from the archive; the last of them may still be pending."""
        self.folded = 0
        """Questions that were not put, for the sheet tells what comes of them."""
        self.folded_cost_usd: dict[str, Decimal] = {}
        """What their answers cost when they were recorded, by model."""
        self.now = 0
        self.stop = False
        """Set it to end the replay between two events."""
        self.pacer: Pacer | None = None
        self._sheet = sheet
        if sheet is not None:
            desk.fold_from(sheet.answers)
        self._pending: list[tuple[int, int, int, Event]] = []
        self._pushed = 0
        self._inputs: Iterator[Event] = iter(())
        self._started = False
        self._horizon = NEVER

    # Running

    def run(self, frames: Iterable[Frame], inputs: Iterable[Event] = ()) -> Iterator[Frame]:
        """Replay market data, and texts and commands (in the order of their `observed_at`), to the end.

        Yields each frame once it is done, so that the caller can show progress; the generator must be run dry.
        """
        self._inputs = iter(inputs)
        if not self.inputs_pulled:
            self._next_input()
        for frame in frames:
            self._start(int(frame.observed_at[0]))
            self._run_frame(frame)
            yield frame
            if self.stop:
                self._tick(self.now)
                return
        self._finish()

    def _start(self, first: int) -> None:
        """Let the agents know the time before anything happens."""
        if not self._started:
            self._started = True
            first = min(first, self._pending[0][0]) if self._pending else first
            self._horizon = NEVER if self.pacer is None else first
            self._tick(first)

    def _run_frame(self, frame: Frame) -> None:
        """Alternate between quiet spans, rows that are answered, and whatever else is due in between."""
        self.desk.look_into(frame)
        times = frame.observed_at
        lo, n, met = 0, len(frame), -1
        while lo < n and (not self.stop or lo == met):
            due, rank = self._next_due(self.desk.loud_due)
            until = due if rank < MARKET_RANK or due == NEVER else due + 1
            if times.item(lo) >= until:
                if lo == met:  # what is due since the venue has met the row comes after it
                    lo = self._speak(frame, lo)
                    continue
                mark = self.desk.due
                self._serve(*((mark, CLOCK_RANK) if mark < due else (due, rank)))
                continue
            stop = self.desk.scan_and_note(frame, lo, n, until, self.exchange.watch)
            noted = self.desk.notes.ticks
            self._count(frame, self._take_notes(frame, lo) if noted else lo, stop)
            if stop > lo:
                self.exchange.absorb(frame, lo, stop)
            if self.desk.tick_is_due:
                self._tick(self.desk.due)
            elif stop < n and times.item(stop) < until and len(noted) < MAX_NOTES:
                if stop != met and self._meet(frame, stop):
                    met = stop
                else:
                    stop = self._speak(frame, stop)
            lo = stop

    def _take_notes(self, frame: Frame, lo: int) -> int:
        """Count the rows from `lo` on and the ticks between them, up to the last; give the row after it."""
        desk, ticks, asked = self.desk, self.desk.notes.ticks, self.desk.asked
        before, behind, per_ask = self.seq - lo + 1, asked, self._sheet.models if self._sheet is not None else 0
        seqs = []
        for row, _, _, end in ticks:
            seqs.append(before + row)
            before += 1 + per_ask * (end - behind)
            behind = end
        self._mark(seqs)
        last = ticks[-1].row
        self._count(frame, lo, last)
        self.seq, self.now = before + last - 1, ticks[-1].at
        if self._sheet is not None and desk.has_asked:
            folded = Folded(self._sheet, desk.notes, asked)
            self._pushed += folded.entries - len(ticks)
            self.folded += behind - asked
            for model, cost in self._sheet.cost_usd(asked, behind).items():
                self.folded_cost_usd[model] = self.folded_cost_usd.get(model, NOTHING) + cost
            self.now = max(self.now, folded.last_at)
            desk.folded(folded, folded.votes(seqs))
        return last

    def _mark(self, seqs: list[int]) -> None:
        """Journal the ticks of the last scan that mark; `seqs` are the places of all of them."""
        notes = self.desk.notes
        ticks, prices = [], []
        for (_, at, bits, _), seq, known in zip(notes.ticks, seqs, notes.prices.tolist(), strict=True):
            if bits & MARKED:
                ticks.append(self._clock(at, seq))
                prices.append(known)
        if ticks:
            for tick, marked in zip(ticks, self.desk.mark(ticks, prices), strict=True):
                self.log.journal(tick)
                self.log.derived(marked)

    def _meet(self, frame: Frame, row: int) -> bool:
        """Let the venue meet a row, before the desk: a fill known at the same time comes first, as ranks say.

        Tells whether anything came of it; then the desk may have nothing to say to the row any more.
        """
        events = self.exchange.on_row(frame, row)
        if not events:
            return False
        self._push_all(events)
        before, pending = (frame.observed_at.item(row), MARKET_RANK), self._pending
        while pending and pending[0][:2] < before:
            self._take(heappop(pending)[3])
        return True

    def _speak(self, frame: Frame, row: int) -> int:
        """Let the desk answer a row; give the next."""
        self._count(frame, row, row + 1)
        answers = self.desk.speak(frame, row, self.seq)
        if answers:
            self._route(answers)
        return row + 1

    def _count(self, frame: Frame, lo: int, hi: int) -> None:
        if lo < hi:
            self.seq += hi - lo
            self.rows += hi - lo
            self.now = frame.observed_at.item(hi - 1)

    def _next_due(self, clock: int) -> tuple[int, int]:
        """Give time and rank of the next thing that is not market data, where the clock is due at `clock`."""
        due, rank = clock, CLOCK_RANK
        if self.exchange.due <= due:
            due, rank = self.exchange.due, FILLS_RANK
        if self._pending and self._pending[0][0] <= due and self._pending[0][:2] < (due, rank):
            due, rank = self._pending[0][:2]
        if self._horizon < due:
            due, rank = self._horizon, PAUSE_RANK
        return due, rank

    def _serve(self, due: int, rank: int) -> None:
        """Take the next thing that is not market data, due at this time and of this rank."""
        if rank == PAUSE_RANK:
            self._horizon = self.pacer.horizon(due) if self.pacer is not None else NEVER
        elif rank == FILLS_RANK and self.exchange.due == due:
            self._push_all(self.exchange.on_time(due))
        elif rank == CLOCK_RANK:
            self._tick(due)
        else:
            self._take(heappop(self._pending)[3])

    def _finish(self) -> None:
        """Let what is under way come to its end: the next mark of the book's worth, and every answer still out."""
        if self._pending:
            self._start(self._pending[0][0])
        self._horizon = NEVER
        last = self.desk.portfolio.state.due
        while self._started and not self.stop:
            due, rank = self._next_due(self.desk.due)
            if due > last:
                break
            self._serve(due, rank)
        self._pending = [entry for entry in self._pending if type(entry[3]) not in ARCHIVED]
        heapify(self._pending)
        while self._pending and not self.stop:
            self._take(heappop(self._pending)[3])

    # Events

    def _tick(self, now: int) -> None:
        """Journal a clock event."""
        self._take(self._clock(now))
        if self.desk.due <= now:
            raise RuntimeError(f"a deadline at {self.desk.due} is not moved by the clock at {now}")

    def _clock(self, now: int, seq: int = 0) -> ClockTicked:
        book = self.desk.book.name
        return ClockTicked(
            id=market_id(book, "clock", now), key=book, occurred_at=now, observed_at=now, book=book, seq=seq
        )

    def _take(self, event: Event) -> None:
        """Journal an input and let the desk answer it."""
        self.seq += 1
        if event.observed_at > self.now:  # noqa: PLR1730 # `max` costs five times as much
            self.now = event.observed_at
        if type(event) in ARCHIVED:
            self._next_input()
        entry = replace(event, book=self.desk.book.name, seq=self.seq)
        self.log.journal(entry)
        answers = self.desk.apply(entry)
        if answers:
            self._route(answers)

    def _route(self, answers: list[Event]) -> None:
        """Write what was said, whole, and then hand questions and orders to those who answer them, or fail to."""
        keep = self.log.derived
        for event in answers:
            keep(event)
        for event in answers:
            kind = type(event)
            if kind is OrderRequested:
                self._push_all(self.exchange.submit(event))  # type: ignore[arg-type]
            elif kind is VerdictRequested:
                self._push(self.gateway.answer(event))  # type: ignore[arg-type]
            elif kind is CancelRequested:
                self._push_all(self.exchange.cancel(event))  # type: ignore[arg-type]

    def _push_all(self, events: list[Event]) -> None:
        for event in events:
            self._push(event)

    def _push(self, event: Event) -> None:
        """Put an event that will be observed at its time among the pending ones."""
        self._pushed += 1
        heappush(self._pending, (event.observed_at, RANK_OF[type(event)], self._pushed, event))

    def _next_input(self) -> None:
        """Keep one text or command of the archive among the pending events."""
        event = next(self._inputs, None)
        if event is not None:
            self.inputs_pulled += 1
            self._push(event)

    # Checkpoints

    def checkpoint(self) -> bytes:
        """Encode where the replay stands, between two events."""
        saved = Checkpoint(
            desk=self.desk.snapshot(),
            exchange=self.exchange.snapshot(),
            pending=[(at, rank, n, encode(event)) for at, rank, n, event in sorted(self._pending, key=_place)],
            pushed=self._pushed,
            seq=self.seq,
            rows=self.rows,
            inputs=self.inputs_pulled,
            started=self._started,
        )
        return msgspec.msgpack.encode(saved)

    def restore(self, data: bytes) -> None:
        """Go back to a checkpoint. Then `run` wants the frames from row `rows` on, and the inputs not yet pushed."""
        saved = msgspec.msgpack.decode(data, type=Checkpoint)
        self.desk.restore(saved.desk)
        self.exchange.restore(saved.exchange)
        self._pending = [(at, rank, n, decode(line)) for at, rank, n, line in saved.pending]
        self._pushed, self.seq, self.rows = saved.pushed, saved.seq, saved.rows
        self.inputs_pulled, self._started = saved.inputs, saved.started


def _place(pending: tuple[int, int, int, Event]) -> tuple[int, int, int]:
    return pending[:3]
