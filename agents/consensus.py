"""Turns the verdicts on one question into one signal once enough models agree, or time runs out.

The first verdict of a model counts, a late one does not. A failure is no vote, and neither is an abstention: they
never agree with anything. Where too few models take a side, the fallback model's vote counts alone, if it has one.

Votes may weigh by measured accuracy: then what agrees must outweigh all that `agree` less a half of equal votes would,
and never be one model alone. See docs/voting.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Literal

import msgspec

from agents.accuracy import EQUAL, NO_OUTCOMES, WHOLE, Accuracy, calibrated, weights_of
from agents.agent import NEVER, Agent, Handler, State
from schemas.accounting import OutcomeMeasured
from schemas.base import NS_PER_MIN, Event
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.decisions import ConsensusFailed, ConsensusReached, QuestionScreened, Vote
from schemas.operations import AlertRaised
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
    weights: dict[str, int] = {}
    """Of each model's vote, as known when the question was put; empty where all weigh the same."""


class ConsensusState(State, kw_only=True):
    """Open questions by id, in the order in which they were put."""

    open: dict[str, OpenQuestion]
    accuracy: dict[str, Accuracy] = msgspec.field(default_factory=dict)
    """Of the models, where the vote goes by it."""
    screening: dict[str, VerdictGiven | VerdictFailed | None] = msgspec.field(default_factory=dict)
    """Questions that only the screen was asked, which has a vote of its own, with its answer once it is there."""
    alerted_at: dict[str, int] = msgspec.field(default_factory=dict)
    """Time of the last alert on an instrument."""


class Consensus(Agent[ConsensusState]):
    """Counts the votes."""

    name = "consensus"

    def __init__(self, book: Book) -> None:
        """Start with no question open."""
        super().__init__(book, ConsensusState(open={}))
        settings = book.consensus
        self._is_weighted = settings.weights == "accuracy"
        self._equal = EQUAL if self._is_weighted else 1
        self._least = min(2, settings.agree)
        """Models that must agree, however heavy they are."""
        screen = book.analysts.screen
        self._screen = screen
        self._screen_votes = screen in book.analysts.models
        self._measured = {*book.analysts.models, screen}

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Questions, answers, and the clock for those that stay out; outcomes where the vote goes by them."""
        handlers: dict[type[Event], Handler] = {
            VerdictRequested: self.on_verdict_requested,
            VerdictGiven: self.on_verdict_given,
            VerdictFailed: self.on_verdict_failed,
            ClockTicked: self.on_clock_ticked,
        }
        if self.book.consensus.learns:
            handlers[OutcomeMeasured] = self.on_outcome_measured
        if self._screen_votes:
            handlers[QuestionScreened] = self.on_question_screened
        return handlers

    def on_outcome_measured(self, event: OutcomeMeasured) -> Iterable[Event]:
        """Learn how a model's prediction turned out; questions that are open keep their weights."""
        if event.model in self._measured:
            self.state.accuracy.setdefault(event.model, Accuracy()).add(event)
        return ()

    def on_verdict_requested(self, event: VerdictRequested) -> Iterable[Event]:
        """Open the question, or note one more model that was asked. What only the screen is asked waits."""
        if event.model == self._screen:
            if self._screen_votes:
                self.state.screening[event.question] = None
            return ()
        question = self.state.open.get(event.question) or self._opened(event)
        question.models.append(event.model)
        return ()

    def _opened(self, event: VerdictRequested) -> OpenQuestion:
        """Open a question, with the answer of a screen that has a vote."""
        state, models = self.state, self.book.analysts.models
        question = OpenQuestion(
            instrument=event.instrument, deadline_at=event.deadline_at, models=[], votes={}, verdicts={}
        )
        if self._is_weighted:
            question.weights = weights_of(models, state.accuracy, self.book.consensus.prior_outcomes)
        state.open[event.question] = question
        state.due = min(state.due, event.deadline_at)
        if self._screen_votes:
            question.models.append(self._screen)
            answer = state.screening.pop(event.question, None)
            if answer is not None and self._waiting_for(answer) is question:
                self._count(answer, question)
        return question

    def on_question_screened(self, event: QuestionScreened) -> Iterable[Event]:
        """Forget the answer: there is no vote."""
        self.state.screening.pop(event.question, None)
        return ()

    def on_verdict_given(self, event: VerdictGiven) -> Iterable[Event]:
        """Count a vote."""
        return self._on_answer(event)

    def on_verdict_failed(self, event: VerdictFailed) -> Iterable[Event]:
        """Note that a model gave no usable answer."""
        return self._on_answer(event)

    def _on_answer(self, event: VerdictGiven | VerdictFailed) -> Iterable[Event]:
        if event.model == self._screen and event.question in self.state.screening:
            self.state.screening[event.question] = event
            return ()
        question = self._waiting_for(event)
        if question is None:
            return ()
        self._count(event, question)
        return self._settle(event, event.question, question)

    def _count(self, event: VerdictGiven | VerdictFailed, question: OpenQuestion) -> None:
        """Make an answer a vote. A confidence below the book's minimum counts as HOLD."""
        weight = question.weights.get(event.model)
        if type(event) is VerdictFailed:
            failure = f"{event.reason}: {event.detail}" if event.detail else event.reason
            question.votes[event.model] = Vote(
                model=event.model, action="HOLD", confidence=0.0, verdict=event.id, failure=failure, weight=weight
            )
        elif type(event) is VerdictGiven:
            confidence = self._confidence(event)
            action: Action = event.action if confidence >= self.book.consensus.min_confidence else "HOLD"
            question.votes[event.model] = Vote(
                model=event.model, action=action, confidence=confidence, verdict=event.id, weight=weight
            )
            question.verdicts[event.model] = event

    def _confidence(self, event: VerdictGiven) -> float:
        """Give how sure a model is, or how sure it should be; a HOLD predicts nothing that could be measured."""
        settings = self.book.consensus
        if not settings.calibrate or event.action == "HOLD":
            return event.confidence
        known = self.state.accuracy.get(event.model, NO_OUTCOMES)
        return calibrated(event.confidence, known, settings.prior_outcomes)

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
        sides = [vote for vote in question.votes.values() if takes_side(vote)]
        waiting = [] if time_is_up else [model for model in question.models if model not in question.votes]
        said: Sequence[Event]
        agreeing = [[vote.model for vote in sides if vote.action == action] for action in ACTIONS]
        for action, models in zip(ACTIONS, agreeing, strict=True):
            if self._suffice(question, models):
                said = (self._reached(cause, question_id, question, action),)
                break
        else:
            fallback_may_come = self.book.consensus.fallback in waiting
            if fallback_may_come or any(self._suffice(question, models + waiting) for models in agreeing):
                return ()
            answered = self._suffice(question, [vote.model for vote in sides])
            said = self._without_agreement(cause, question_id, question, answered=answered)
        self._close(question_id, question)
        return said

    def _suffice(self, question: OpenQuestion, models: Sequence[str]) -> bool:
        """Tell whether these models carry a vote if they agree: `agree` of them, or as heavy as that."""
        needed = self.book.consensus.agree
        if not self._is_weighted:
            return len(models) >= needed
        weight = sum([question.weights.get(model, 0) for model in models], WHOLE)
        return len(models) >= self._least and 2 * weight > (2 * needed - 1) * self._equal

    def _close(self, question_id: str, question: OpenQuestion) -> None:
        state = self.state
        del state.open[question_id]
        if question.deadline_at <= state.due:
            state.due = min([q.deadline_at for q in state.open.values()], default=NEVER)

    def _without_agreement(
        self, cause: Event, question_id: str, question: OpenQuestion, *, answered: bool
    ) -> Sequence[Event]:
        """Let the fallback decide where too few took a side, if it did; else say that there is no signal."""
        fallback = question.votes.get(self.book.consensus.fallback)
        if not answered and fallback is not None and takes_side(fallback):
            return (self._reached(cause, question_id, question, fallback.action, only=fallback.model),)
        votes = _all_votes(question)
        reason = _why(votes, answered=answered)
        failed = ConsensusFailed(
            id="",
            key=question.instrument,
            occurred_at=0,
            observed_at=0,
            instrument=question.instrument,
            question=question_id,
            reason=reason,
            votes=votes,
        )
        said = self.signed(failed, cause)
        if reason != "disagreement" or not self._may_alert(said):
            return (said,)
        text = f"{said.instrument}: the models disagree ({', '.join(map(_in_words, votes))})"
        return said, self.emit(AlertRaised, cause, said.instrument, severity="warning", text=text)

    def _may_alert(self, failed: ConsensusFailed) -> bool:
        """Tell whether the book wants an alert, and the last one is long enough ago."""
        every = self.book.consensus.disagreement_alert_min
        now, last = failed.observed_at, self.state.alerted_at.get(failed.instrument)
        if every is None or (last is not None and now - last < every * NS_PER_MIN):
            return False
        self.state.alerted_at[failed.instrument] = now
        return True

    def _reached(self, cause: Event, question_id: str, question: OpenQuestion, action: Action, only: str = "") -> Event:
        """Agree on an action: mean confidence by weight, and the most careful size, stop and target of who agrees."""
        agreeing = [v for v in question.votes.values() if v.action == action and takes_side(v)]
        if only:
            agreeing = [v for v in agreeing if v.model == only]
        directed = [question.verdicts[v.model] for v in agreeing] if action != "HOLD" else []
        hints = [v.size_hint for v in directed if v.size_hint is not None]
        stops = [v.stop_price for v in directed if v.stop_price is not None]
        targets = [v.target_price for v in directed if v.target_price is not None]
        weights = [v.weight or 1 for v in agreeing]
        nearest_stop, nearest_target = (max, min) if action == "BUY" else (min, max)
        reached = ConsensusReached(
            id="",
            key=question.instrument,
            occurred_at=0,
            observed_at=0,
            instrument=question.instrument,
            question=question_id,
            action=action,
            confidence=fsum([v.confidence * w for v, w in zip(agreeing, weights, strict=True)]) / sum(weights, WHOLE),
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


def _why(votes: tuple[Vote, ...], *, answered: bool) -> Literal["disagreement", "no_quorum", "abstained"]:
    if answered:
        return "disagreement"
    return "no_quorum" if any(vote.failure for vote in votes) else "abstained"


def _in_words(vote: Vote) -> str:
    """Say a vote in words of ours alone."""
    if not takes_side(vote):
        return f"{vote.model} none"
    return f"{vote.model} {vote.action} {vote.confidence:.2f}"


def _all_votes(question: OpenQuestion) -> tuple[Vote, ...]:
    """Give the votes in the order in which the models were asked; who did not answer is named too."""
    votes, weights = question.votes, question.weights
    return tuple(
        [
            votes[m]
            if m in votes
            else Vote(model=m, action="HOLD", confidence=0.0, verdict="", failure=SILENT, weight=weights.get(m))
            for m in question.models
        ]
    )
