"""The whole flow on one page: which agents a book has, in which order they hear an event, and how answers travel.

    features ─▶ factcheck ─▶ analysts ─▶ consensus ─▶ strategy ─▶ breakers ─▶ risk ─▶ orders ─▶ portfolio ─▶ outcomes

A journal event goes to every agent that listens to its type, in that order; each answer goes the same way, with all
that follows from it, before the next, until nothing is left to say. Market data comes as rows of a frame: the desk
takes them by one pass, `agents.scan`, as long as all agents stay quiet, and has the next row spoken to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.agent import NEVER, Agent, Handler, State
from agents.analysts import Analysts
from agents.breakers import Breakers
from agents.consensus import Consensus
from agents.factcheck import Factcheck
from agents.features import RETURN, Features
from agents.frame import Frame
from agents.layout import NEW_TARGET, UNBOUNDED, Watch
from agents.orders import Orders
from agents.outcomes import Outcomes
from agents.portfolio import Portfolio
from agents.risk import Risk
from agents.scan import MAX_MARKS, scan, take_row
from agents.strategy import Strategy
from schemas.accounting import EquityMarked
from schemas.base import Event
from schemas.book import Book
from schemas.control import ClockTicked
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
        self.agents: tuple[Agent[State], ...] = (  # type: ignore[assignment]
            self.features,
            Factcheck(book, self.features),
            Analysts(book, self.features),
            Consensus(book),
            self.strategy,
            self.breakers,
            Risk(book, self.features, self.portfolio, self.breakers, self.orders),
            self.orders,
            self.portfolio,
            Outcomes(book, self.features),
        )
        self._routes: dict[type[Event], list[Handler]] = {}
        self._owners: dict[Handler, str] = {}
        for agent in self.agents:
            for kind, handler in agent.handlers().items():
                self._routes.setdefault(kind, []).append(handler)
                self._owners[handler] = agent.name
        self._timed = tuple(
            agent for agent in self.agents if ClockTicked in agent.handlers() and agent is not self.portfolio
        )
        self._seen: OrderedDict[str, None] = OrderedDict()  # a dict forgets its oldest key slowly
        self.due = NEVER
        """The next time, in ns, at which an agent wants to see the clock."""
        self.loud_due = NEVER
        """The same, without those ticks that only mark the book's worth."""
        self.noted: list[tuple[int, int, list[float]]] = []
        """Marks between the rows of the last scan: the row that each comes before, its time, and the last prices."""
        count = len(book.instruments)
        self._marked_rows, self._marked_prices = np.zeros(MAX_MARKS, np.int64), np.zeros((MAX_MARKS, count))
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
        self._timed_states = tuple(agent.state for agent in self._timed)

    # Market data, by the frame

    def scan(self, frame: Frame, lo: int, hi: int) -> int:
        """Take rows from `lo` on into the state as long as they are quiet; give the first row that is not, or `hi`.

        Quiet is a row that no agent answers. Such rows leave the state that speaking to each of them would leave, bit
        for bit; nothing is taken of the row given.
        """
        return self._scan(frame, lo, hi, NEVER, self._no_venue, NEVER)

    def scan_and_note(self, frame: Frame, lo: int, hi: int, until: int, watch: Watch) -> int:
        """As `scan`, for a host that has a venue and writes the clock's entries itself.

        A row is also not quiet if it is observed at `until` or later, or if the venue may have to do with it. A tick
        that would do no more than mark the book's worth does not end the scan: it is noted in `noted`, and the host
        journals an entry for each and hands them to `mark` before it does anything else. A scan that has noted
        MAX_MARKS may end before a quiet row.
        """
        return self._scan(frame, lo, hi, until, watch, self.portfolio.state.due)

    def _scan(self, frame: Frame, lo: int, hi: int, until: int, watch: Watch, mark_at: int) -> int:
        every = self.portfolio.every
        notes = self._marked_rows, self._marked_prices
        arguments = (*self._state_and(frame), *watch, lo, hi, until, mark_at, every, *notes)
        stop, marks = scan(*arguments)
        self.features.name_last(frame, lo, stop)
        if marks:
            rows, prices = self._marked_rows[:marks].tolist(), self._marked_prices[:marks].tolist()
            self.noted = list(zip(rows, range(mark_at, mark_at + marks * every, every), prices, strict=True))
        elif self.noted:
            self.noted = []
        return stop

    def mark(self, entries: Sequence[ClockTicked]) -> list[EquityMarked]:
        """Take the ticks that the last scan noted, as entries of the journal; give what follows from each."""
        seen = self._seen
        for entry in entries:
            seen[entry.id] = None
        while len(seen) > MAX_SEEN:
            seen.popitem(last=False)
        marked = self.portfolio.mark(entries, [prices for _, _, prices in self.noted])
        self.due = min(self.loud_due, self.portfolio.state.due)
        return marked

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
        seen = self._seen
        seen[event_id] = None
        if len(seen) > MAX_SEEN:
            seen.popitem(last=False)

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
        due, mark = NEVER, self.portfolio.state.due
        for state in self._timed_states:
            if state.due < due:  # noqa: PLR1730 # `min` would cost more than all the rest
                due = state.due
        self.loud_due = due
        self.due = due if due < mark else mark  # noqa: FURB136 # see above

    # Snapshots

    def snapshot(self) -> bytes:
        """Encode the whole state; the same state gives the same bytes."""
        saved = Saved({agent.name: agent.snapshot() for agent in self.agents}, list(self._seen))
        return msgspec.msgpack.encode(saved)

    def restore(self, data: bytes) -> None:
        """Put back what `snapshot` gave."""
        saved = msgspec.msgpack.decode(data, type=Saved)
        for agent in self.agents:
            agent.restore(saved.agents[agent.name])
        self._gather()
        self._seen = OrderedDict.fromkeys(saved.seen)
        self._look_ahead()


def _stopped(agent: str, event: Event, error: Exception) -> StoppedError:
    return StoppedError(agent, f"{type(event).__name__} {event.id}", event.seq, f"{type(error).__name__}: {error}")
