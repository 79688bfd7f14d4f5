"""The whole flow on one page: which agents a book has, in which order they hear an event, and how answers travel.

    features ─▶ factcheck ─▶ analysts ─▶ consensus ─▶ strategy ─▶ breakers ─▶ risk ─▶ orders ─▶ portfolio ─▶ outcomes

A book that asks a cheap model first has a screen between analysts and consensus.

A journal event goes to every agent that listens to its type, in that order; each answer goes the same way, with all
that follows from it, before the next, until nothing is left to say. Market data comes as rows of a frame: the desk
takes them by one pass, `agents.scan`, as long as all agents stay quiet, and has the next row spoken to.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from agents.agent import NEVER, Agent, Handler
from agents.analysts import Analysts
from agents.breakers import Breakers
from agents.consensus import Consensus
from agents.factcheck import Factcheck
from agents.features import RETURN, Features
from agents.frame import Frame
from agents.layout import ASKED, NEW_TARGET, UNBOUNDED, Answers, Ask, Note, Notes, Shown, Watch
from agents.orders import Orders
from agents.outcomes import Outcomes, Told
from agents.portfolio import Portfolio
from agents.risk import Risk
from agents.scan import MAX_NOTES, scan, take_row
from agents.screen import Screen
from agents.strategy import Strategy
from schemas.accounting import EquityMarked
from schemas.base import Event
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.decisions import ConsensusReached
from schemas.errors import StoppedError
from schemas.market import BarClosed, QuoteTicked, TradeTicked

MARKET_EVENTS: tuple[type[Event], ...] = (BarClosed, TradeTicked, QuoteTicked)
MAX_SEEN = 8192
"""Ids of events that are remembered, so that one delivered twice counts once."""
MAX_ANSWERS = 10_000
"""More answers to one event than this is a loop between agents."""


class Saved(msgspec.Struct, frozen=True):
    """A desk's snapshot: each agent's state by name, and the ids seen last."""

    agents: dict[str, bytes]
    seen: list[str]


class Stretch(Protocol):
    """The ticks of a scan that put questions, and the recorded answers, none of which was told to anybody."""

    entries: int
    """Of the journal."""

    def __iter__(self) -> Iterator[Told]:
        """Spell out the entries, and the votes that followed from them."""


class Desk:
    """All agents of one book, as one deterministic state machine."""

    def __init__(self, book: Book) -> None:
        """Build the agents; each is given the ones it reads."""
        self.book = book
        self.features = Features(book)
        self.portfolio = Portfolio(book, self.features)
        self.orders = Orders(book, self.portfolio)
        self.breakers = Breakers(book, self.portfolio)
        self.strategy = Strategy(book, self.features, self.portfolio, self.orders)
        self.analysts = Analysts(book, self.features)
        self.outcomes = Outcomes(book, self.features)
        self.agents: tuple[Agent[Any], ...] = (
            self.features,
            Factcheck(book, self.features),
            self.analysts,
            *([Screen(book)] if book.analysts.screen else []),
            Consensus(book),
            self.strategy,
            self.breakers,
            Risk(book, self.features, self.portfolio, self.breakers, self.orders),
            self.orders,
            self.portfolio,
            self.outcomes,
        )
        self._routes: dict[type[Event], list[Handler]] = {}
        self._owners: dict[Handler, str] = {}
        for agent in self.agents:
            for kind, handler in agent.handlers().items():
                self._routes.setdefault(kind, []).append(handler)
                self._owners[handler] = agent.name
        self._timed = tuple(
            agent
            for agent in self.agents
            if ClockTicked in agent.handlers() and agent not in (self.portfolio, self.breakers)
        )
        self._folds = False
        """Whether there are recorded questions; the scan then looks after the ticks of those who ask and go by it."""
        self._seen: OrderedDict[str, int] = OrderedDict()  # a dict forgets its oldest key slowly
        """Ids of entries, with their place among all of them."""
        self._entries = 0
        self._stretches: deque[tuple[int, Stretch]] = deque()
        """Entries that the scan took, after the place of the first."""
        self.due = NEVER
        """The next time, in ns, at which an agent wants to see the clock."""
        self.loud_due = NEVER
        """The same, without those ticks that a scan may take."""
        self.tick_is_due = False
        """Whether the last scan ended at a tick that it could not take, before the row."""
        self.asked = 0
        """How many of the recorded questions lie behind."""
        self._ask_at = NEVER
        self._may_fold = False
        self._answers = Answers(np.full((1, len(Ask._fields)), NEVER), np.zeros((1, len(Shown._fields))))
        count = len(book.instruments)
        notes = np.zeros((MAX_NOTES, len(Note._fields)), np.int64)
        self._room = notes, np.zeros((MAX_NOTES, count)), np.zeros((MAX_NOTES, count), np.int64)
        self.notes = self._noted(0)
        """Ticks that the last scan took between rows; the next one writes over the arrays."""
        self.has_asked = False
        """Whether some of them put questions."""
        self._no_venue = Watch(np.full(count, NEVER), np.full((count, 4), UNBOUNDED))
        self._gather()

    def _gather(self) -> None:
        """Lay out the arrays of all agents in the order in which the kernels take them."""
        features, strategy, breakers = self.features, self.strategy, self.breakers
        self._arrays = (
            *(features.state.rows, features.state.seen, features.settings),
            *(strategy.state.signals, self.orders.busy, strategy.rules),
            *(breakers.state.prices, breakers.state.marks, breakers.limits, breakers.tripped, breakers.halted),
            self.portfolio.exposures,
        )
        asked = self.analysts.state
        self._record = *self._answers, asked.asked_at, asked.asked_price, strategy.state.until
        self._timed_states = tuple(agent.state for agent in self._timed)

    # Market data, by the frame

    def scan(self, frame: Frame, lo: int, hi: int) -> int:
        """Take rows from `lo` on into the state as long as they are quiet; give the first row that is not, or `hi`.

        Quiet is a row that no agent answers. Such rows leave the state that speaking to each of them would leave, bit
        for bit; nothing is taken of the row given.
        """
        return self._scan(frame, lo, hi, NEVER, self._no_venue, NEVER, NEVER, NEVER)

    def scan_and_note(self, frame: Frame, lo: int, hi: int, until: int, watch: Watch) -> int:
        """As `scan`, for a host that has a venue and writes the clock's entries itself.

        A row is also not quiet if it is observed at `until` or later, or if the venue may have to do with it. A tick
        that would do no more than mark the book's worth, begin a day with that, or put questions whose answers are
        known, does not end the scan: it is noted in `notes`, and the host hands those that mark to `mark`, and all of
        them to `folded` if one asked, before it does anything else. Any other tick ends it: then `tick_is_due`. A scan
        that has noted MAX_NOTES may end before a quiet row.
        """
        return self._scan(frame, lo, hi, until, watch, self.portfolio.state.due, self.breakers.day_at, self._ask_at)

    def _scan(
        self, frame: Frame, lo: int, hi: int, until: int, watch: Watch, mark_at: int, day_at: int, ask_at: int
    ) -> int:
        answers = self._answers
        if answers.asks.item(self.asked, 0) < ask_at < NEVER:
            self.asked = int(np.searchsorted(answers.asks[:, 0], ask_at))
        times = lo, hi, until, mark_at, self.portfolio.every, day_at, ask_at, self.analysts.every
        record = self.asked, *self._record, self.strategy.bias_ttl
        arguments = (*self._state_and(frame), *watch, *times, *record, *self._room)
        stop, noted, self.tick_is_due = scan(*arguments)
        self.features.name_last(frame, lo, stop)
        if noted or self.notes.ticks:
            self.notes = self._noted(noted)
            if noted and self.notes.ticks[-1].at >= day_at:
                self.breakers.begin_day(self.notes.ticks[-1].at)
            self.has_asked = self._folds and any(tick.bits & ASKED for tick in self.notes.ticks)
        return stop

    def _noted(self, count: int) -> Notes:
        """Read the first notes."""
        ticks, prices, seen_at = self._room
        return Notes(list(map(Note._make, ticks[:count].tolist())), prices[:count], seen_at[:count])

    def mark(self, entries: Sequence[ClockTicked], prices: Sequence[Sequence[float]]) -> list[EquityMarked]:
        """Take the ticks of the last scan that mark, as entries of the journal; give what the book is worth at each.

        `prices` are those noted by then.
        """
        if not self.has_asked:
            for entry in entries:
                self._remember(entry.id)
        marked = self.portfolio.mark(entries, prices)
        self._look_ahead()
        return marked

    # Recorded questions

    def fold_from(self, answers: Answers) -> None:
        """Let `scan_and_note` take the questions that a record answers, from here on, and measure no outcomes of them.

        The answers are of a book with the same questions and the same rules for the vote.
        """
        self._answers, self._folds = answers, True
        self._timed = tuple(
            agent for agent in self._timed if agent not in (self.analysts, self.strategy, self.outcomes)
        )
        self._gather()

    def look_into(self, frame: Frame) -> None:
        """Say which frame is scanned next: a question cannot be folded if it cites an event by a producer's own id."""
        self._may_fold = self._folds and not frame.ids and not any(self.features.state.ids)
        self._look_ahead()

    def folded(self, stretch: Stretch, votes: Mapping[int, ConsensusReached]) -> None:
        """Keep what came of the questions that the last scan took: the last vote on each instrument, by its index."""
        ticks = self.notes.ticks
        if ticks[-1].asked > self.asked:
            self.breakers.state.failed_votes = 0
            self.asked = ticks[-1].asked
        self.analysts.state.due = max(tick.at for tick in ticks if tick.bits & ASKED) + self.analysts.every
        for k, vote in votes.items():
            self.strategy.state.votes[k] = vote
        self.strategy.state.due = min(self.strategy.state.until.tolist())
        self.outcomes.owe(stretch)
        self._stretches.append((self._entries, stretch))
        self._entries += stretch.entries
        self._forget_old()
        self._look_ahead()

    def speak(self, frame: Frame, row: int, seq: int) -> list[Event]:
        """Take one row into the state and give all that follows from it. The row is journal entry `seq`."""
        bits = self._take_row(frame, row)
        return self._answered(frame, row, bits, frame.event(row, self.book.name, seq)) if bits else []

    def take(self, frame: Frame, seq: int) -> Iterator[Event]:
        """Take a whole frame, whose first row is journal entry `seq`, and give all that follows from it, row by row."""
        lo, hi = 0, len(frame)
        while lo < hi:
            stop = self.scan(frame, lo, hi)
            if stop < hi:
                yield from self.speak(frame, stop, seq + stop)
            lo = stop + 1

    def _take_row(self, frame: Frame, row: int) -> int:
        """Take one row into the state; give the bits of what it leads to."""
        self.features.name_last(frame, row, row + 1)
        arguments = (*self._state_and(frame), row)
        return take_row(*arguments)

    def _state_and(self, frame: Frame) -> tuple[Any, ...]:
        """Give a frame and the agents' state as the kernels take them."""
        return *frame.columns, *self._arrays, self.portfolio.cash_float

    def _answered(self, frame: Frame, row: int, bits: int, event: Event) -> list[Event]:
        """Let those speak whom a row's bits call, and give all that follows."""
        k = frame.instrument.item(row)
        answers: list[Event] = []
        agent: Agent[Any] = self.strategy
        try:
            if bits & NEW_TARGET:
                answers.extend(self.strategy.speak(k, event))
            agent = self.breakers
            if bits & ~NEW_TARGET:
                answers.extend(self.breakers.speak(k, event, bits, float(self.features.state.rows[k, RETURN])))
        except Exception as error:
            raise _stopped(agent.name, event, error) from error
        return self._follow(answers)

    # Everything else, by the event

    def apply(self, event: Event) -> list[Event]:
        """Take a journal event into the state and give all that follows from it, in the order in which it was said.

        An event whose id was seen before counts once and answers nothing. Raises StoppedError, with the state
        unusable, if an agent fails: the host stops the book and skips nothing.
        """
        if type(event) in MARKET_EVENTS:
            frame = Frame.of_events([event], self.features.instruments)
            bits = self._take_row(frame, 0)
            return self._answered(frame, 0, bits, event) if bits else []
        if event.id in self._seen:
            return []
        self._remember(event.id)
        return self._follow(self._heard(event))

    def _remember(self, event_id: str) -> None:
        self._seen[event_id] = self._entries
        self._entries += 1
        if self._stretches:
            self._forget_old()
        elif len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    def _forget_old(self) -> None:
        oldest = self._entries - MAX_SEEN
        while self._seen and next(iter(self._seen.values())) < oldest:
            self._seen.popitem(last=False)
        while self._stretches and self._stretches[0][0] + self._stretches[0][1].entries <= oldest:
            self._stretches.popleft()

    def _ids(self) -> list[str]:
        """Give the ids of the last entries, in their order."""
        placed = [(place, event_id) for event_id, place in self._seen.items()]
        for first, stretch in self._stretches:
            entries = (told.event.id for told in stretch if type(told.event) is not ConsensusReached)
            placed += enumerate(entries, first)
        return [event_id for _, event_id in sorted(placed)[-MAX_SEEN:]]

    def _heard(self, event: Event) -> list[Event]:
        answers: list[Event] = []
        for handler in self._routes.get(type(event), ()):
            try:
                said = handler(event)
                if said:
                    answers += said
            except Exception as error:
                raise _stopped(self._owners[handler], event, error) from error
        return answers

    def _follow(self, answers: list[Event]) -> list[Event]:
        """Let every answer be heard, and what follows from it to its end, before the next of the same event.

        So an approval that two instruments ask for at once is given to the first, and the second finds it given.
        """
        said: list[Event] = []
        unheard = answers[::-1]
        while unheard:
            event = unheard.pop()
            said.append(event)
            answers = self._heard(event)
            if answers:
                unheard.extend(reversed(answers))
            if len(said) > MAX_ANSWERS:
                loop = f"over {MAX_ANSWERS:,} answers to one journal entry: agents answer each other for ever"
                raise StoppedError("desk", said[0].cause, said[0].seq, loop)
        self._look_ahead()
        return said

    def _look_ahead(self) -> None:
        due, self._ask_at = NEVER, NEVER
        for state in self._timed_states:
            if state.due < due:  # noqa: PLR1730 # `min` would cost more than all the rest
                due = state.due
        loud, mark = due, self.portfolio.state.due
        breakers = self.breakers
        if breakers.state.due < due:
            due = breakers.state.due
            loud = due if breakers.day_at == NEVER else loud
        if self._folds:
            due = min(due, self.analysts.state.due, self.strategy.state.due)
            if self._may_fold and self.analysts.state.due > self.analysts.texts_until():
                self._ask_at = self.analysts.state.due
            else:
                loud = min(loud, self.analysts.state.due, self.strategy.state.due)
        self.loud_due = loud
        self.due = due if due < mark else mark  # noqa: FURB136 # see above

    # Snapshots

    def snapshot(self) -> bytes:
        """Encode the whole state; the same state gives the same bytes."""
        saved = Saved({agent.name: agent.snapshot() for agent in self.agents}, self._ids())
        return msgspec.msgpack.encode(saved)

    def restore(self, data: bytes) -> None:
        """Put back what `snapshot` gave."""
        saved = msgspec.msgpack.decode(data, type=Saved)
        for agent in self.agents:
            agent.restore(saved.agents[agent.name])
        self._gather()
        self._seen = OrderedDict(zip(saved.seen, range(len(saved.seen)), strict=True))
        self._entries, self.asked = len(saved.seen), 0
        self._stretches.clear()
        self._look_ahead()


def _stopped(agent: str, event: Event, error: Exception) -> StoppedError:
    return StoppedError(agent, f"{type(event).__name__} {event.id}", event.seq, f"{type(error).__name__}: {error}")
