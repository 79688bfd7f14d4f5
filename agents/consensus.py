"""Turns the verdicts on one question into one signal once enough models agree, or time runs out.

The first verdict of a model counts, a late one does not. A failure is no vote, and neither is an abstention: they
never agree with anything. Where too few models take a side, the fallback model's vote counts alone, if it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    def on_verdict_requested(self, event: VerdictRequested) -> Iterator[Event]:
        """Open the question, or note one more model that was asked."""
        question = self.state.open.get(event.question)
        if question is None:
            question = OpenQuestion(
                instrument=event.instrument, deadline_at=event.deadline_at, models=[], votes={}, verdicts={}
            )
            self.state.open[event.question] = question
        question.models.append(event.model)
        self.state.due = min(self.state.due, event.deadline_at)
        yield from ()

    def on_verdict_given(self, event: VerdictGiven) -> Iterator[Event]:
        """Count a vote. A confidence below the book's minimum counts as HOLD."""
        sure = event.confidence >= self.book.consensus.min_confidence
        action: Action = event.action if sure else "HOLD"
        vote = Vote(model=event.model, action=action, confidence=event.confidence, verdict=event.id)
        question = self._take(event, vote)
        if question is not None:
            question.verdicts[event.model] = event
            yield from self._settle(event, event.question, question)

    def on_verdict_failed(self, event: VerdictFailed) -> Iterator[Event]:
        """Note that a model gave no usable answer."""
        failure = f"{event.reason}: {event.detail}" if event.detail else event.reason
        vote = Vote(model=event.model, action="HOLD", confidence=0.0, verdict=event.id, failure=failure)
        question = self._take(event, vote)
        if question is not None:
            yield from self._settle(event, event.question, question)

    def _take(self, event: VerdictGiven | VerdictFailed, vote: Vote) -> OpenQuestion | None:
        """Note a vote; None where it is late, or the model was not asked or has voted already."""
        question = self.state.open.get(event.question)
        if question is None or event.observed_at > question.deadline_at:
            return None
        if vote.model not in question.models or vote.model in question.votes:
            return None
        question.votes[vote.model] = vote
        return question

    def on_clock_ticked(self, event: ClockTicked) -> Iterator[Event]:
        """Close every question whose time is up."""
        if event.observed_at >= self.state.due:
            for question_id, question in list(self.state.open.items()):
                if event.observed_at >= question.deadline_at:
                    yield from self._settle(event, question_id, question, time_is_up=True)
            self.state.due = min((q.deadline_at for q in self.state.open.values()), default=NEVER)

    def _settle(
        self, cause: Event, question_id: str, question: OpenQuestion, *, time_is_up: bool = False
    ) -> Iterator[Event]:
        """Say what came of the question as soon as it is sure."""
        votes = [vote for vote in question.votes.values() if takes_side(vote)]
        needed = self.book.consensus.agree
        waiting = 0 if time_is_up else len(question.models) - len(question.votes)
        counts = {action: sum(vote.action == action for vote in votes) for action in ACTIONS}
        for action in ACTIONS:
            if counts[action] >= needed:
                yield self._reached(cause, question_id, question, action)
                break
        else:
            fallback = self.book.consensus.fallback
            fallback_may_come = waiting > 0 and fallback in question.models and fallback not in question.votes
            if max(counts.values()) + waiting >= needed or fallback_may_come:
                return
            yield self._without_agreement(cause, question_id, question, answered=len(votes))
        del self.state.open[question_id]
        self.state.due = min((q.deadline_at for q in self.state.open.values()), default=NEVER)

    def _without_agreement(self, cause: Event, question_id: str, question: OpenQuestion, answered: int) -> Event:
        fallback = question.votes.get(self.book.consensus.fallback)
        if answered < self.book.consensus.agree and fallback is not None and takes_side(fallback):
            return self._reached(cause, question_id, question, fallback.action, only=fallback.model)
        votes = _all_votes(question)
        return self.emit(
            ConsensusFailed,
            cause,
            question.instrument,
            instrument=question.instrument,
            question=question_id,
            reason=self._why(answered, votes),
            votes=votes,
        )

    def _why(self, answered: int, votes: tuple[Vote, ...]) -> Literal["disagreement", "no_quorum", "abstained"]:
        if answered >= self.book.consensus.agree:
            return "disagreement"
        return "no_quorum" if any(vote.failure for vote in votes) else "abstained"

    def _reached(self, cause: Event, question_id: str, question: OpenQuestion, action: Action, only: str = "") -> Event:
        """Agree on an action: mean confidence, and the most careful size, stop and target of those that agree."""
        agreeing = [v for v in question.votes.values() if v.action == action and takes_side(v)]
        if only:
            agreeing = [v for v in agreeing if v.model == only]
        verdicts = [question.verdicts[v.model] for v in agreeing]
        hints = [v.size_hint for v in verdicts if v.size_hint is not None]
        stops = [v.stop_price for v in verdicts if v.stop_price is not None]
        targets = [v.target_price for v in verdicts if v.target_price is not None]
        nearest_stop, nearest_target = (max, min) if action == "BUY" else (min, max)
        directed = action != "HOLD"
        return self.emit(
            ConsensusReached,
            cause,
            question.instrument,
            instrument=question.instrument,
            question=question_id,
            action=action,
            confidence=fsum(v.confidence for v in agreeing) / len(agreeing),
            agree=len(agreeing),
            of=len(question.models),
            votes=_all_votes(question),
            fallback=bool(only),
            size_hint=min(hints) if hints and directed else None,
            stop_price=nearest_stop(stops) if stops and directed else None,
            target_price=nearest_target(targets) if targets and directed else None,
        )


def takes_side(vote: Vote) -> bool:
    """Tell whether a vote counts: it is no failure, and no abstention."""
    return not vote.failure and (vote.action != "HOLD" or vote.confidence > 0.0)


def _all_votes(question: OpenQuestion) -> tuple[Vote, ...]:
    """Give the votes in the order in which the models were asked; who did not answer is named too."""
    silent = "no answer before the vote closed"
    return tuple(
        question.votes.get(m) or Vote(model=m, action="HOLD", confidence=0.0, verdict="", failure=silent)
        for m in question.models
    )
