"""What outside models have answered of late: a question that is put again is answered from here, without a call.

The key is what steers the answer: the model, its parameters, and the prompt as it was sent. Bounded in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from connectors.models.prompts import render, sent_sha256
from connectors.models.provider import parameters_sha256
from replay.gateway import verdict_id
from schemas.base import NS_PER_MS
from schemas.book import Book
from schemas.verdicts import NOTHING, VerdictGiven, VerdictRequested

KEPT = 20_000
"""Answers; the one that was used longest ago makes room."""


class Key(NamedTuple):
    """What an answer belongs to."""

    model: str
    parameters_sha256: str
    sent_sha256: str


class Recall:
    """Answers by what was asked. A failure is no answer, and is asked again."""

    def __init__(self, books: Sequence[Book], kept: int = KEPT) -> None:
        """Nothing is known yet."""
        self._kept = kept
        self._parameters: Mapping[tuple[str, str], str] = {
            (book.name, name): parameters_sha256(model)
            for book in books
            for name, model in book.models.items()
            if model.is_outside
        }
        self._answers: OrderedDict[Key, VerdictGiven] = OrderedDict()

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._answers)

    def key(self, request: VerdictRequested) -> Key | None:
        """Give the key of a request to an outside model; None where the prompt cannot be shown to one."""
        try:
            sent = sent_sha256(render(request))
        except Exception:  # noqa: BLE001 - a request that cannot be rendered fails as its model is asked, alone
            return None
        return Key(request.model, self._parameters[request.book, request.model], sent)

    def learn(self, key: Key, verdict: VerdictGiven) -> None:
        """Keep an answer. One that repeats another is not kept: the other is."""
        if verdict.repeats:
            return
        self._answers[key] = verdict
        self._answers.move_to_end(key)
        if len(self._answers) > self._kept:
            self._answers.popitem(last=False)

    def find(self, key: Key) -> VerdictGiven | None:
        """Give the last answer to a question; None where there is none."""
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found


def repeated(recorded: VerdictGiven, request: VerdictRequested, latency_ms: int) -> VerdictGiven:
    """Make a recorded answer the verdict on a request, observed `latency_ms` after it: it has cost nothing now."""
    at = request.observed_at + latency_ms * NS_PER_MS
    return replace(
        recorded,
        id=verdict_id(request.id, request.model),
        key=request.instrument,
        occurred_at=at,
        observed_at=at,
        book=request.book,
        seq=0,
        cause=request.id,
        question=request.question,
        instrument=request.instrument,
        prompt_sha256=request.prompt_sha256,
        repeats=recorded.id,
        prompt_tokens=0,
        reply_tokens=0,
        cost_usd=NOTHING,
        latency_ms=latency_ms,
    )
