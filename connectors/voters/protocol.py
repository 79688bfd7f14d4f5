"""What a voter is: a question in, an opinion out. It knows the prompt parts and nothing else: no clock, no memory."""

from __future__ import annotations

from typing import Protocol

from schemas.base import Record
from schemas.verdicts import Action, VerdictRequested


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


class Voter(Protocol):
    """Answers questions."""

    def opinion(self, request: VerdictRequested) -> Opinion:
        """Answer from the prompt parts of the request alone: the same parts give the same opinion, for ever."""
        ...


def abstention(reason: str) -> Opinion:
    """Give the opinion of a voter that has nothing to go by."""
    return Opinion(action="HOLD", confidence=0.0, reasoning=reason)
