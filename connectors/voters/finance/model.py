"""The `finance` voter: how it scores a text by the integer weights of its features (see `connectors/voters/linear`)."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

from connectors.voters.finance.features import features
from connectors.voters.lexicons import CACHED_TEXTS
from connectors.voters.linear import CalibratedVoter, Weights, score_by

WEIGHTS = "weights.tsv"
"""A feature, its weight for bullish and its weight for bearish, each beside neutral, a line; `#!` begins a comment."""


@cache
def weights() -> Weights:
    """Read the weights."""
    lines = files(__package__).joinpath(WEIGHTS).read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#!"))
    return {feature: (int(bullish), int(bearish)) for feature, bullish, bearish in rows}


@lru_cache(CACHED_TEXTS)
def finance_score(text: str) -> float:
    """Give P(bullish) - P(bearish) of a text, -1 to 1."""
    return score_by(weights(), features(text))


FINANCE = CalibratedVoter(
    "finance",
    finance_score,
    threshold=0.2,
    held=((0.0, 0.93), (0.025, 0.93), (0.075, 0.8), (0.125, 0.7), (0.175, 0.66), (0.2, 0.66)),
    sided=((0.2, 0.39), (0.28, 0.39), (0.44, 0.48), (0.6, 0.67), (0.76, 0.8), (0.92, 0.94), (1.0, 0.94)),
)
"""The threshold is the one with which two of three (with VADER and TextBlob) vote best on the training split (`python
-m benchmarks.accuracy --tune`); the curves are measured there as well, on texts that the weights had not seen (`python
-m benchmarks.train_voters finance --calibrate`)."""
