"""What the learnt voters share: integer weights to three classes' probabilities, and a confidence that was measured.

A text scores P(bullish) - P(bearish). Adding integers and `Decimal.exp`, which is rounded correctly, give the same
bits on every machine. The weights are learnt by `python -m benchmarks.train_voters`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise

from connectors.voters.lexicons import TextVoter, steady

UNIT = 64
"""A weight of so many units multiplies the odds by e."""
BIAS = "=bias"
"""Names the weights that every text has."""
_EXACT = Context(prec=20, rounding=ROUND_HALF_EVEN)

Feature = str | int
Weights = Mapping[Feature, tuple[int, int]]
"""A feature to its weight for bullish and its weight for bearish, each beside neutral."""


def probabilities(known: Weights, features: Iterable[Feature]) -> tuple[float, float]:
    """Give the probabilities that a text with these features is bullish and that it is bearish; the rest is neutral.

    Four decimals. Features without a weight count nothing.
    """
    found = [known[feature] for feature in (BIAS, *features) if feature in known]
    bullish, bearish = (_EXACT.exp(Decimal(sum(side)) / UNIT) for side in zip(*found, strict=True))
    whole = 1 + bullish + bearish
    return steady(float(bullish / whole)), steady(float(bearish / whole))


def score_by(known: Weights, features: Iterable[Feature]) -> float:
    """Give P(bullish) - P(bearish) of a text with these features."""
    bullish, bearish = probabilities(known, features)
    return steady(bullish - bearish)


Curve = tuple[tuple[float, float], ...]
"""Size of a score to the share of texts of that score of which the vote was right; between two, on a straight line."""


@dataclass(frozen=True)
class CalibratedVoter(TextVoter):
    """A voter whose confidence in a vote on one text is how often such a vote was right."""

    held: Curve
    """Of HOLD, from 0 to the threshold."""
    sided: Curve
    """Of BUY and SELL, from the threshold to 1."""

    def confidence(self, strength: float) -> float:
        curve = self.sided if strength >= self.threshold else self.held
        for (a, low), (b, high) in pairwise(curve):
            if strength <= b:
                return low + (high - low) * max(0.0, strength - a) / (b - a)
        return curve[-1][1]
