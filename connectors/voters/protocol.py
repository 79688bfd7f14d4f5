"""What a voter is: a question in, an answer out. It knows the prompt parts and nothing else of the book."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Protocol

from schemas.base import Record
from schemas.codec import encode
from schemas.verdicts import NOTHING, Action, FailReason, VerdictRequested


class Opinion(Record, frozen=True, kw_only=True):
    """What a voter thinks; the fields mean what they mean in `VerdictGiven`."""

    action: Action
    confidence: float
    """0 to 1; 0 is an abstention."""
    reasoning: str
    key_factors: tuple[str, ...] = ()
    risk_note: str = ""
    size_hint: float | None = None
    stop_price: float | None = None
    target_price: float | None = None
    horizon_ms: int | None = None


class Failure(Record, frozen=True, kw_only=True):
    """Why a voter has no opinion."""

    reason: FailReason
    detail: str = ""
    """What a person should know of it; no secret, and no more of a model's words than it takes."""


class Answer(Record, frozen=True, kw_only=True):
    """An opinion or a failure, and what it took to come by it."""

    said: Opinion | Failure
    reply_sha256: str = ""
    """Of the words that the opinion was read from; of a voter without a network, of the opinion."""
    parameters_sha256: str = ""
    model_version: str = ""
    prompt_tokens: int = 0
    """Of all calls that the answer took, as are the next two."""
    reply_tokens: int = 0
    cost_usd: Decimal = NOTHING


class Voter(Protocol):
    """Answers questions."""

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        """Answer from the prompt parts of the request, in so many seconds at most.

        An offline voter gives the same answer to the same parts for ever. Raises nothing that is the provider's or the
        model's fault: that is a `Failure`.
        """
        ...


def computed(opinion: Opinion) -> Answer:
    """Give the answer of a voter without a network."""
    return Answer(said=opinion, reply_sha256=sha256(encode(opinion)).hexdigest())


def abstention(reason: str) -> Opinion:
    """Give the opinion of a voter that has nothing to go by."""
    return Opinion(action="HOLD", confidence=0.0, reasoning=reason)
