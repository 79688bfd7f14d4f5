"""Asks a cheap model first, and the others only where it sees something to do.

A question that the screen holds on, or abstains from, ends there: `QuestionScreened`. Whatever else becomes of the
screen, be it a failure, silence or doubt, the others are asked. So it can save calls and never make a signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from agents.agent import NEVER, Agent, Handler, State
from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.decisions import QuestionScreened
from schemas.verdicts import VerdictFailed, VerdictGiven, VerdictRequested


class ScreenState(State, kw_only=True):
    """`due` is when the next screen is waited for no more."""

    asked: dict[str, VerdictRequested]
    """What the screen was asked and has not answered, by question."""


class Screen(Agent[ScreenState]):
    """Stands before the models of a book that names one."""

    name = "screen"

    def __init__(self, book: Book) -> None:
        """Start with nothing asked."""
        super().__init__(book, ScreenState(asked={}))
        settings = book.analysts
        self._screen = settings.screen
        self._others = tuple([model for model in settings.models if model != settings.screen])
        self._deadline = settings.deadline_s * NS_PER_S

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Questions to the screen, its answers, and the clock."""
        return {
            VerdictRequested: self.on_verdict_requested,
            VerdictGiven: self.on_verdict_given,
            VerdictFailed: self.on_verdict_failed,
            ClockTicked: self.on_clock_ticked,
        }

    def on_verdict_requested(self, event: VerdictRequested) -> Iterable[Event]:
        """Keep what the screen is asked."""
        if event.model == self._screen:
            self.state.asked[event.question] = event
            self.state.due = min(self.state.due, event.deadline_at)
        return ()

    def on_verdict_given(self, event: VerdictGiven) -> Iterable[Event]:
        """End the question if there is nothing to do, and ask the others if there may be, or the answer is late."""
        request = self._answered(event)
        if request is None:
            return ()
        is_sure = not event.confidence or event.confidence >= self.book.analysts.screen_confidence
        if event.action != "HOLD" or not is_sure or event.observed_at > request.deadline_at:
            return self._ask_others(event, request)
        screened = QuestionScreened(
            id="",
            key=event.instrument,
            occurred_at=0,
            observed_at=0,
            instrument=event.instrument,
            question=event.question,
            model=event.model,
            confidence=event.confidence,
            spared=self._others,
        )
        return (self.signed(screened, event),)

    def on_verdict_failed(self, event: VerdictFailed) -> Iterable[Event]:
        """Ask the others: what fails has seen nothing."""
        request = self._answered(event)
        return () if request is None else self._ask_others(event, request)

    def on_clock_ticked(self, event: ClockTicked) -> Iterable[Event]:
        """Ask the others where the screen is silent."""
        now = event.observed_at
        if now < self.state.due:
            return ()
        silent = [request for request in self.state.asked.values() if request.deadline_at <= now]
        for request in silent:
            self._forget(request.question)
        return [asked for request in silent for asked in self._ask_others(event, request)]

    def _answered(self, event: VerdictGiven | VerdictFailed) -> VerdictRequested | None:
        """Give what the screen was asked, once; None of another model's answer, and of one not waited for."""
        request = self.state.asked.get(event.question) if event.model == self._screen else None
        if request is not None:
            self._forget(event.question)
        return request

    def _forget(self, question: str) -> None:
        state = self.state
        del state.asked[question]
        state.due = min([request.deadline_at for request in state.asked.values()], default=NEVER)

    def _ask_others(self, cause: Event, request: VerdictRequested) -> list[Event]:
        """Put the very question to the others, to be answered within what is left of its time."""
        deadline_at = request.observed_at + self._deadline
        drafts = [replace(request, model=model, deadline_at=deadline_at) for model in self._others]
        return [self.signed(draft, cause) for draft in drafts]
