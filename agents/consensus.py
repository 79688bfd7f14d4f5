"""Turns the verdicts on one question into one signal once enough models agree, or time runs out.

The first verdict of a model counts, a late one does not. A failure is no vote, and neither is an abstention: they
never agree with anything. Where too few models take a side, the fallback model's vote counts alone, if it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Literal

import msgspec

from agents.agent import NEVER, Agent, Handler, State
from schemas.base import Event
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.decisions import ConsensusFailed, ConsensusReached, Vote
from schemas.verdicts import Action, VerdictFailed, VerdictGiven, VerdictRequested

ACTIONS: tuple[Action, ...] = ("BUY", "SELL", "HOLD")
SILENT = "no answer before the vote closed"


class OpenQuestion(msgspec.Struct, kw_only=True):
    """A question that waits for verdicts."""

    instrument: str
    deadline_at: int
    models: list[str]
    votes: dict[str, Vote]
    verdicts: dict[str, VerdictGiven]


class ConsensusState(State, kw_only=True):
    """Open questions by id, in the order in which they were put."""

    open: dict[str, OpenQuestion]


class Consensus(Agent[ConsensusState]):
    """Counts the votes."""

    name = "consensus"

    def __init__(self, book: Book) -> None:
        """Start with no question open."""
        super().__init__(book, ConsensusState(open={}))

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Questions, answers, and the clock for those that stay out."""
        return {
            VerdictRequested: self.on_verdict_requested,
            VerdictGiven: self.on_verdict_given,
            VerdictFailed: self.on_verdict_failed,
            ClockTicked: self.on_clock_ticked,
        }

    def on_verdict_requested(self, event: VerdictRequested) -> Iterable[Event]:
        """Open the question, or note one more model that was asked."""
        question = self.state.open.get(event.question)
        if question is None:
            question = OpenQuestion(
                instrument=event.instrument, deadline_at=event.deadline_at, models=[], votes={}, verdicts={}
            )
            self.state.open[event.question] = question
        question.models.append(event.model)
        self.state.due = min(self.state.due, event.deadline_at)
        return ()

    def on_verdict_given(self, event: VerdictGiven) -> Iterable[Event]:
        """Count a vote. A confidence below the book's minimum counts as HOLD."""
        question = self._waiting_for(event)
        if question is None:
            return ()
        sure = event.confidence >= self.book.consensus.min_confidence
        action: Action = event.action if sure else "HOLD"
        question.votes[event.model] = Vote(
            model=event.model, action=action, confidence=event.confidence, verdict=event.id
        )
        question.verdicts[event.model] = event
        return self._settle(event, event.question, question)

    def on_verdict_failed(self, event: VerdictFailed) -> Iterable[Event]:
        """Note that a model gave no usable answer."""
        question = self._waiting_for(event)
        if question is None:
            return ()
        failure = f"{event.reason}: {event.detail}" if event.detail else event.reason
        question.votes[event.model] = Vote(
            model=event.model, action="HOLD", confidence=0.0, verdict=event.id, failure=failure
        )
        return self._settle(event, event.question, question)

    def _waiting_for(self, event: VerdictGiven | VerdictFailed) -> OpenQuestion | None:
        """Give the question that waits for an answer; None where it is late, or uninvited, or the model's second."""
        question = self.state.open.get(event.question)
        if question is None or event.observed_at > question.deadline_at:
            return None
        if event.model not in question.models or event.model in question.votes:
            return None
        return question

    def on_clock_ticked(self, event: ClockTicked) -> Iterable[Event]:
        """Close every question whose time is up."""
        now = event.observed_at
        if now < self.state.due:
            return ()
        over = [(key, question) for key, question in self.state.open.items() if now >= question.deadline_at]
        return [said for key, question in over for said in self._settle(event, key, question, time_is_up=True)]

    def _settle(
        self, cause: Event, question_id: str, question: OpenQuestion, *, time_is_up: bool = False
    ) -> Sequence[Event]:
        """Say what came of the question as soon as it is sure."""
        sides = [vote.action for vote in question.votes.values() if takes_side(vote)]
        needed = self.book.consensus.agree
        waiting = 0 if time_is_up else len(question.models) - len(question.votes)
        for action in ACTIONS:
            if sides.count(action) >= needed:
                said = self._reached(cause, question_id, question, action)
                break
        else:
            fallback = self.book.consensus.fallback
            fallback_may_come = waiting > 0 and fallback in question.models and fallback not in question.votes
            if max(map(sides.count, ACTIONS)) + waiting >= needed or fallback_may_come:
                return ()
            said = self._without_agreement(cause, question_id, question, answered=len(sides))
        self._close(question_id, question)
        return (said,)

    def _close(self, question_id: str, question: OpenQuestion) -> None:
        state = self.state
        del state.open[question_id]
        if question.deadline_at <= state.due:
            state.due = min([q.deadline_at for q in state.open.values()], default=NEVER)

    def _without_agreement(self, cause: Event, question_id: str, question: OpenQuestion, answered: int) -> Event:
        fallback = question.votes.get(self.book.consensus.fallback)
        if answered < self.book.consensus.agree and fallback is not None and takes_side(fallback):
            return self._reached(cause, question_id, question, fallback.action, only=fallback.model)
        votes = _all_votes(question)
        failed = ConsensusFailed(
            id="",
            key=question.instrument,
            occurred_at=0,
            observed_at=0,
            instrument=question.instrument,
            question=question_id,
            reason=self._why(answered, votes),
            votes=votes,
        )
        return self.signed(failed, cause)

    def _why(self, answered: int, votes: tuple[Vote, ...]) -> Literal["disagreement", "no_quorum", "abstained"]:
        if answered >= self.book.consensus.agree:
            return "disagreement"
        return "no_quorum" if any(vote.failure for vote in votes) else "abstained"

    def _reached(self, cause: Event, question_id: str, question: OpenQuestion, action: Action, only: str = "") -> Event:
        """Agree on an action: mean confidence, and the most careful size, stop and target of those that agree."""
        agreeing = [v for v in question.votes.values() if v.action == action and takes_side(v)]
        if only:
            agreeing = [v for v in agreeing if v.model == only]
        directed = [question.verdicts[v.model] for v in agreeing] if action != "HOLD" else []
        hints = [v.size_hint for v in directed if v.size_hint is not None]
        stops = [v.stop_price for v in directed if v.stop_price is not None]
        targets = [v.target_price for v in directed if v.target_price is not None]
        nearest_stop, nearest_target = (max, min) if action == "BUY" else (min, max)
        reached = ConsensusReached(
            id="",
            key=question.instrument,
            occurred_at=0,
            observed_at=0,
            instrument=question.instrument,
            question=question_id,
            action=action,
            confidence=fsum([v.confidence for v in agreeing]) / len(agreeing),
            agree=len(agreeing),
            of=len(question.models),
            votes=_all_votes(question),
            fallback=bool(only),
            size_hint=min(hints) if hints else None,
            stop_price=nearest_stop(stops) if stops else None,
            target_price=nearest_target(targets) if targets else None,
        )
        return self.signed(reached, cause)


def takes_side(vote: Vote) -> bool:
    """Tell whether a vote counts: it is no failure, and no abstention."""
    return not vote.failure and (vote.action != "HOLD" or vote.confidence > 0.0)


def _all_votes(question: OpenQuestion) -> tuple[Vote, ...]:
    """Give the votes in the order in which the models were asked; who did not answer is named too."""
    votes = question.votes
    return tuple(
        [
            votes[m] if m in votes else Vote(model=m, action="HOLD", confidence=0.0, verdict="", failure=SILENT)
            for m in question.models
        ]
    )
