"""The whole flow on one page: which agents a book has, in which order they hear an event, and how answers travel.

    features ─▶ factcheck ─▶ analysts ─▶ consensus ─▶ strategy ─▶ breakers ─▶ risk ─▶ orders ─▶ portfolio ─▶ outcomes

A journal event goes to every agent that listens to its type, in that order; each answer goes the same way, with all
that follows from it, before the next, until nothing is left to say. Market data comes as rows of a frame: the desk
finds how far all agents stay quiet, lets them absorb that span, and has the next row spoken to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from agents.agent import NEVER, Agent, Handler, MarketAgent, State
from agents.analysts import Analysts
from agents.breakers import Breakers
from agents.consensus import Consensus
from agents.factcheck import Factcheck
from agents.features import Features
from agents.frame import Frame
from agents.orders import Orders
from agents.outcomes import Outcomes
from agents.portfolio import Portfolio
from agents.risk import Risk
from agents.strategy import Strategy
from schemas.base import Event
from schemas.book import Book
from schemas.errors import StoppedError
from schemas.market import BarClosed, QuoteTicked, TradeTicked

MARKET_EVENTS: tuple[type[Event], ...] = (BarClosed, TradeTicked, QuoteTicked)
FIRST_LOOK = 256
"""Rows that are looked at first for a quiet span; each quiet look quadruples it, so looking costs what is absorbed."""
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
        self.market_agents: tuple[MarketAgent[State], ...] = tuple(
            agent for agent in self.agents if isinstance(agent, MarketAgent)
        )
        self._routes: dict[type[Event], list[tuple[str, Handler]]] = {}
        for agent in self.agents:
            for kind, handler in agent.handlers().items():
                self._routes.setdefault(kind, []).append((agent.name, handler))
        self._seen: OrderedDict[str, None] = OrderedDict()  # a dict forgets its oldest key slowly
        self.due = NEVER
        """The next time, in ns, at which an agent wants to see the clock."""

    # Market data, by the frame

    def begin(self, frame: Frame) -> None:
        """Make a frame ready; due before its first row is taken, once the frame before it is done."""
        self.features.prepare(frame)

    def quiet_until(self, frame: Frame, lo: int, hi: int) -> int:
        """Give the first row in [lo, hi) that any agent would answer, or `hi`. Changes nothing."""
        look = FIRST_LOOK
        while True:
            stop = min(hi, lo + look)
            end = stop
            for agent in self.market_agents:
                end = agent.quiet_until(frame, lo, end)
            if end < stop or stop == hi:
                return end
            look *= 4

    def absorb(self, frame: Frame, lo: int, hi: int) -> None:
        """Take the quiet rows [lo, hi) into the state."""
        if lo < hi:
            for agent in self.market_agents:
                agent.absorb(frame, lo, hi)

    def speak(self, frame: Frame, row: int, seq: int) -> list[Event]:
        """Take one row into the state and give all that follows from it. The row is journal entry `seq`."""
        return self._row(frame, row, frame.event(row, self.book.name, seq))

    def take(self, frame: Frame, seq: int) -> Iterator[Event]:
        """Take a whole frame, whose first row is journal entry `seq`, and give all that follows from it, row by row."""
        self.begin(frame)
        lo, hi = 0, len(frame)
        while lo < hi:
            stop = self.quiet_until(frame, lo, hi)
            self.absorb(frame, lo, stop)
            seq += stop - lo
            if stop < hi:
                yield from self.speak(frame, stop, seq)
                stop, seq = stop + 1, seq + 1
            lo = stop

    def _row(self, frame: Frame, row: int, event: Event) -> list[Event]:
        answers: list[Event] = []
        for agent in self.market_agents:
            try:
                answers.extend(agent.speak(frame, row, event))
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
            self.begin(frame)
            return self._row(frame, 0, event)
        if event.id in self._seen:
            return []
        self._seen[event.id] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return self._follow(self._heard(event))

    def _heard(self, event: Event) -> list[Event]:
        answers: list[Event] = []
        for name, handler in self._routes.get(type(event), ()):
            try:
                answers.extend(handler(event))
            except Exception as error:
                raise _stopped(name, event, error) from error
        return answers

    def _follow(self, answers: list[Event]) -> list[Event]:
        """Let every answer be heard, and what follows from it to its end, before the next of the same event.

        So an approval that two instruments ask for at once is given to the first, and the second finds it given.
        """
        said: list[Event] = []
        unheard = answers[::-1]
        while unheard:
            said.append(unheard.pop())
            unheard.extend(reversed(self._heard(said[-1])))
            if len(said) > MAX_ANSWERS:
                loop = f"over {MAX_ANSWERS:,} answers to one journal entry: agents answer each other for ever"
                raise StoppedError("desk", said[0].cause, said[0].seq, loop)
        self._look_ahead()
        return said

    def _look_ahead(self) -> None:
        self.due = min([agent.state.due for agent in self.agents])

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
        self._seen = OrderedDict.fromkeys(saved.seen)
        self._look_ahead()


def _stopped(agent: str, event: Event, error: Exception) -> StoppedError:
    return StoppedError(agent, f"{type(event).__name__} {event.id}", event.seq, f"{type(error).__name__}: {error}")
