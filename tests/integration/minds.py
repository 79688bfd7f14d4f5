"""Models that cost money, for tests: they pay, tell and are called as a mind is, and answer what the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from connectors.models.prompts import render, sent_sha256
from connectors.models.provider import parameters_sha256
from connectors.models.purse import OverBudgetError, Purse
from connectors.voters import Answer, Failure, Opinion, Voter
from schemas.book import AnalystSettings, Book, BudgetSettings, Instrument, ModelSettings
from schemas.verdicts import ModelCallEnded, ModelCallStarted, VerdictRequested

WORST, COST = Decimal("0.5"), Decimal("0.2")
BUY = Opinion(action="BUY", confidence=0.9, reasoning="Because.")
Call = Callable[[VerdictRequested], Opinion | Failure]
Tell = Callable[[ModelCallStarted | ModelCallEnded], None]


def paid_book(name: str = "b", **caps: str) -> Book:
    """A book that asks two outside models, `a` and `c`, at one endpoint."""
    models = {model: ModelSettings(kind="openai", model_id=model, endpoint="http://models.test:1") for model in "ac"}
    return Book(
        name=name,
        instruments=(Instrument(id="A@x"),),
        analysts=AnalystSettings(models=("a", "c")),
        models=models,
        budget=BudgetSettings(**{cap: Decimal(usd) for cap, usd in caps.items()}),  # type: ignore[arg-type]
    )


class Paying:
    """Worth `WORST` at worst, and `COST` in truth."""

    def __init__(self, name: str, book: Book, purse: Purse, tell: Tell, clock: Callable[[], int], call: Call) -> None:
        self._name, self._book, self._purse, self._tell, self._clock = name, book, purse, tell, clock
        self._call = call
        self._parameters = parameters_sha256(book.models[name])

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        now, cost = self._clock(), Decimal(0)
        try:
            hold = self._purse.reserve(self._name, WORST, now)
        except OverBudgetError as error:
            return Answer(said=Failure(reason="over_budget", detail=str(error)))
        started = ModelCallStarted(
            id=f"{request.id}/call/1/{now}",
            key=request.book,
            occurred_at=now,
            observed_at=now,
            book=request.book,
            cause=request.id,
            model=self._name,
            provider="openai",
            model_id=self._name,
            attempt=1,
            prompt_sha256=request.prompt_sha256,
            parameters_sha256=self._parameters,
            sent_sha256=sent_sha256(render(request)),
            worst_cost_usd=WORST,
        )
        try:
            self._tell(started)
            cost = WORST
            said = self._call(request)
            cost = COST
            self._tell(
                ModelCallEnded(
                    id=f"{started.id}/end",
                    key=request.book,
                    occurred_at=now,
                    observed_at=now,
                    book=request.book,
                    cause=started.id,
                    model=self._name,
                    request=request.id,
                    outcome="answered" if isinstance(said, Opinion) else "unavailable",
                    prompt_tokens=100,
                    reply_tokens=10,
                    cost_usd=COST,
                )
            )
        finally:
            self._purse.settle(hold, cost)
        return Answer(said=said, parameters_sha256=self._parameters, prompt_tokens=100, reply_tokens=10, cost_usd=COST)


def paying(call: Call) -> Callable[[Book, Purse, Tell, Callable[[], int]], Mapping[str, Voter]]:
    """Make every outside model of a book one that is called so."""
    return lambda book, purse, tell, clock: {
        name: Paying(name, book, purse, tell, clock, call) for name, model in book.models.items() if model.is_outside
    }
