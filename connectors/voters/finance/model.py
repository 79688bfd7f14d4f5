"""How the `finance` voter scores a text: integer weights of its features, and three classes' probabilities from them.

The score is P(bullish) - P(bearish). The weights were learnt by `python -m benchmarks.train_finance` from headlines
under the MIT licence; adding integers and `Decimal.exp`, which is rounded correctly, give the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise

from connectors.voters.finance.features import features
from connectors.voters.lexicons import CACHED_TEXTS, TextVoter, steady

UNIT = 64
"""A weight of so many units multiplies the odds by e."""
BIAS = "=bias"
"""Names the weights that every text has."""
WEIGHTS = "weights.tsv"
"""A feature, its weight for bullish and its weight for bearish, each beside neutral, a line; `#!` begins a comment."""
_EXACT = Context(prec=20, rounding=ROUND_HALF_EVEN)


Weights = Mapping[str, tuple[int, int]]


@cache
def weights() -> Weights:
    """Read the weights."""
    lines = files(__package__).joinpath(WEIGHTS).read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#!"))
    return {feature: (int(bullish), int(bearish)) for feature, bullish, bearish in rows}


def probabilities(known: Weights, text: str) -> tuple[float, float]:
    """Give the probabilities that a text is bullish and that it is bearish; the rest is neutral. Four decimals."""
    found = [known[feature] for feature in (BIAS, *features(text)) if feature in known]
    bullish, bearish = (_EXACT.exp(Decimal(sum(side)) / UNIT) for side in zip(*found, strict=True))
    whole = 1 + bullish + bearish
    return steady(float(bullish / whole)), steady(float(bearish / whole))


def score_by(known: Weights, text: str) -> float:
    """Give P(bullish) - P(bearish) by some weights."""
    bullish, bearish = probabilities(known, text)
    return steady(bullish - bearish)


@lru_cache(CACHED_TEXTS)
def finance_score(text: str) -> float:
    """Give P(bullish) - P(bearish) of a text, -1 to 1."""
    return score_by(weights(), text)


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


FINANCE = CalibratedVoter(
    "finance",
    finance_score,
    threshold=0.2,
    held=((0.0, 0.93), (0.025, 0.93), (0.075, 0.8), (0.125, 0.7), (0.175, 0.66), (0.2, 0.66)),
    sided=((0.2, 0.39), (0.28, 0.39), (0.44, 0.48), (0.6, 0.67), (0.76, 0.8), (0.92, 0.94), (1.0, 0.94)),
)
"""The threshold is the one with which two of three vote best on the training split (`python -m benchmarks.accuracy
--tune`); the curves are measured there as well, on texts that the weights had not seen (`python -m
benchmarks.train_finance --calibrate`)."""
