"""How the `finance` voter scores a text: integer weights of its features, and three classes' probabilities from them.

The score is P(bullish) - P(bearish). The weights were learnt by `python -m benchmarks.train_finance` from headlines
under the MIT licence; adding integers and `Decimal.exp`, which is rounded correctly, give the same bits everywhere.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache, lru_cache
from importlib.resources import files

from connectors.voters.finance.features import features
from connectors.voters.lexicons import CACHED_TEXTS, LexiconVoter, steady

UNIT = 64
"""A weight of so many units multiplies the odds by e."""
BIAS = "=bias"
"""Names the weights that every text has."""
WEIGHTS = "weights.tsv"
"""A feature, its weight for bullish and its weight for bearish, each beside neutral, a line; `#!` begins a comment."""
_EXACT = Context(prec=20, rounding=ROUND_HALF_EVEN)


@cache
def weights() -> dict[str, tuple[int, int]]:
    """Read the weights."""
    lines = files(__package__).joinpath(WEIGHTS).read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#!"))
    return {feature: (int(bullish), int(bearish)) for feature, bullish, bearish in rows}


def probabilities(text: str) -> tuple[float, float]:
    """Give the probabilities that a text is bullish and that it is bearish; the rest is neutral. Four decimals."""
    known = weights()
    found = [known[feature] for feature in (BIAS, *features(text)) if feature in known]
    bullish, bearish = (_EXACT.exp(Decimal(sum(side)) / UNIT) for side in zip(*found, strict=True))
    whole = 1 + bullish + bearish
    return steady(float(bullish / whole)), steady(float(bearish / whole))


@lru_cache(CACHED_TEXTS)
def finance_score(text: str) -> float:
    """Give P(bullish) - P(bearish) of a text, -1 to 1."""
    bullish, bearish = probabilities(text)
    return steady(bullish - bearish)


FINANCE = LexiconVoter("finance", finance_score, threshold=0.15, certain=1.0)
