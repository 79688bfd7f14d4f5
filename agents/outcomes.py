"""What came of predictions: every BUY and SELL, of a model or of the vote as a whole, against the price later on.

A prediction is measured once its horizon is over, at the next boundary of the asking cadence, when the book looks at
the clock anyway. HOLD predicts nothing. No agent decides by these numbers; they tell how far to trust whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush, heapreplace
from itertools import chain
from typing import NamedTuple

import msgspec

from agents import features as f
from agents.agent import NEVER, Agent, Handler, State
from agents.features import Features
from agents.frame import Floats, Ints
from schemas.accounting import OutcomeMeasured
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_MS, Event
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.decisions import ConsensusReached
from schemas.verdicts import Action, VerdictGiven

MAX_HORIZON_NS = 7 * NS_PER_DAY
"""A prediction for longer is measured after this time."""
MAX_OWED = 65_536
"""What is told is kept so many times before it is taken into the state."""


class Prediction(msgspec.Struct, kw_only=True, order=True):
    """A BUY or SELL that waits for its horizon to end; in order of that end, of equal ones the older first."""

    until: int
    number: int
    """How many were noted before it."""
    id: str
    index: int
    model: str
    action: Action
    confidence: float
    made_at: int
    price: float
    """Of the instrument when the prediction became known."""


class Told(NamedTuple):
    """An entry of the journal or a vote, with what the market was then, by instrument."""

    event: Event
    prices: Floats
    seen_at: Ints
    """When the last market event was observed."""


class OutcomesState(State, kw_only=True):
    """`due` is the next measure."""

    open: list[Prediction]
    """Predictions under way, as a heap: the next to be measured stands first."""
    noted: int = 0
    """Predictions so far."""


class Outcomes(Agent[OutcomesState]):
    """Measures."""

    name = "outcomes"

    def __init__(self, book: Book, features: Features) -> None:
        """`features` gives the prices at both ends."""
        super().__init__(book, OutcomesState(open=[]))
        self._features = features
        self._owed: list[Iterable[Told]] = []
        self._every = book.analysts.every_min * NS_PER_MIN
        self._bias_ns = book.strategy.bias_ttl_min * NS_PER_MIN

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Predictions, and the clock that ends their horizons."""
        return {
            VerdictGiven: self.on_verdict_given,
            ConsensusReached: self.on_consensus_reached,
            ClockTicked: self.on_clock_ticked,
        }

    def on_verdict_given(self, event: VerdictGiven) -> Iterable[Event]:
        """Note what a model predicts, late or not; without a horizon of its own it has that of the vote."""
        return self._hear(event) if event.action != "HOLD" else ()

    def on_consensus_reached(self, event: ConsensusReached) -> Iterable[Event]:
        """Note what the vote predicts for as long as it is the bias."""
        return self._hear(event) if event.action != "HOLD" else ()

    def on_clock_ticked(self, event: ClockTicked) -> Iterable[Event]:
        """Measure what is over; where the instrument has not traded since, wait for the next boundary."""
        return self._hear(event) if self._owed or event.observed_at >= self.state.due else ()

    def owe(self, told: Iterable[Told]) -> None:
        """Keep what would have been told, until the state is asked for; nothing is measured meanwhile.

        For a host that keeps no outcomes: nobody else goes by them.
        """
        self._owed.append(told)
        if len(self._owed) > MAX_OWED:
            self._catch_up()

    def _catch_up(self) -> None:
        owed, self._owed = self._owed, []
        for told in chain.from_iterable(owed):
            self._take(told)

    def snapshot(self) -> bytes:
        """Encode the state; predictions stand in the order in which they will be measured."""
        self._catch_up()
        self.state.open.sort()  # a heap, too, and one that tells nothing of how it came about
        return super().snapshot()

    def restore(self, data: bytes) -> None:
        """Put back what `snapshot` gave."""
        super().restore(data)
        self._owed.clear()

    def _hear(self, event: Event) -> Iterable[Event]:
        market = self._features.state
        told = Told(event, market.rows[:, f.PRICE], market.seen[:, f.SEEN_AT])
        if not self._owed:
            return self._take(told)
        self.owe((Told(event, told.prices.copy(), told.seen_at.copy()),))
        return ()

    def _take(self, told: Told) -> list[Event]:
        """Take what is told into the state; give what it measures."""
        event = told.event
        if type(event) is ClockTicked:
            return [self._measure(event, prediction, told.prices) for prediction in self._over(event.observed_at, told)]
        if type(event) is ConsensusReached:
            self._note(event, "consensus", self._bias_ns, told)
        elif type(event) is VerdictGiven:
            horizon_ns = event.horizon_ms * NS_PER_MS if event.horizon_ms is not None else self._bias_ns
            self._note(event, event.model, horizon_ns, told)
        return []

    def _note(self, event: VerdictGiven | ConsensusReached, model: str, horizon_ns: int, told: Told) -> None:
        state = self.state
        index = self.index_of.get(event.instrument)
        if event.action == "HOLD" or index is None or not told.seen_at.item(index):
            return
        prediction = Prediction(
            until=self._boundary(event.observed_at + min(horizon_ns, MAX_HORIZON_NS)),
            number=state.noted,
            id=event.id,
            index=index,
            model=model,
            action=event.action,
            confidence=event.confidence,
            made_at=event.observed_at,
            price=told.prices.item(index),
        )
        heappush(state.open, prediction)
        state.noted += 1
        state.due = state.open[0].until

    def _over(self, now: int, told: Told) -> list[Prediction]:
        """Take out what is over, the oldest prediction first."""
        state = self.state
        over: list[Prediction] = []
        while state.open and state.open[0].until <= now:
            prediction = state.open[0]
            if told.seen_at.item(prediction.index) > prediction.made_at:
                over.append(heappop(state.open))
            else:
                prediction.until = self._boundary(now + 1)
                heapreplace(state.open, prediction)
        state.due = state.open[0].until if state.open else NEVER
        over.sort(key=lambda prediction: prediction.number)
        return over

    def _measure(self, cause: ClockTicked, prediction: Prediction, prices: Floats) -> OutcomeMeasured:
        key = self.book.instruments[prediction.index].id
        now = prices.item(prediction.index)
        measured = OutcomeMeasured(
            id="",
            key=key,
            occurred_at=0,
            observed_at=0,
            instrument=key,
            prediction=prediction.id,
            model=prediction.model,
            action=prediction.action,
            confidence=prediction.confidence,
            horizon_ms=(cause.observed_at - prediction.made_at) // NS_PER_MS,
            return_pct=100.0 * (now / prediction.price - 1.0),
            correct=now > prediction.price if prediction.action == "BUY" else now < prediction.price,
        )
        return self.signed(measured, cause)

    def _boundary(self, time: int) -> int:
        """Give the first boundary of the cadence at or after a time."""
        return -(-time // self._every) * self._every
