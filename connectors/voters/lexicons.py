"""Two voters that read the texts of a question by word lists: VADER (made for posts) and TextBlob's pattern lexicon.

Each text scores from -1 to 1; the newest weigh most; the mean decides. The lexicons come with their packages, so
nothing is downloaded.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from math import fsum

from connectors.voters.protocol import Answer, Opinion, abstention, computed
from schemas.base import NS_PER_MIN
from schemas.verdicts import Action, InstructionPart, TextPart, VerdictRequested

HALF_WEIGHT_AGE_NS = 15 * NS_PER_MIN
"""A text this much older than the newest part of the question weighs half as much as it would if it were new."""
CACHED_TEXTS = 8192
"""Scores kept per lexicon: the texts of an hour come back in every question of that hour."""
QUOTE_CHARS = 80
HORIZON_MS = 3_600_000
"""What news says is in the price within about an hour."""


@dataclass(frozen=True)
class TextVoter(ABC):
    """Votes BUY or SELL where the weighted mean score of the texts reaches `threshold`."""

    lexicon: str
    score: Callable[[str], float]
    """Tone of one text, -1 to 1."""
    threshold: float

    @abstractmethod
    def confidence(self, strength: float) -> float:
        """Give the confidence, 0 to 1, in the vote that a mean of this size, whatever its sign, comes to."""

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        return computed(self._opinion(request))

    def _opinion(self, request: VerdictRequested) -> Opinion:
        texts = [part for part in request.prompt if type(part) is TextPart]
        if not texts:
            return abstention("No text to read, so no opinion.")
        newest = max(part.observed_at for part in request.prompt if not isinstance(part, InstructionPart))
        scores = [self.score(part.text) for part in texts]
        weights = [HALF_WEIGHT_AGE_NS / (HALF_WEIGHT_AGE_NS + newest - part.observed_at) for part in texts]
        mean = fsum(w * s for w, s in zip(weights, scores, strict=True)) / fsum(weights)
        return self._vote(steady(mean), texts, scores)

    def _vote(self, mean: float, texts: Sequence[TextPart], scores: Sequence[float]) -> Opinion:
        strength = abs(mean)
        action: Action = "HOLD" if strength < self.threshold else "BUY" if mean > 0.0 else "SELL"
        directed = action != "HOLD"
        strongest = max(range(len(texts)), key=lambda i: abs(scores[i]))
        text, score = texts[strongest], scores[strongest]
        count = "1 text scores" if len(texts) == 1 else f"{len(texts)} texts score"
        return Opinion(
            action=action,
            confidence=steady(self.confidence(strength)),
            reasoning=f"{count} {mean:+.2f} by the {self.lexicon} lexicon, newest first in weight; strongest is"
            f" {text.source} with {score:+.2f}: “{_cut(text.text)}”.",
            key_factors=(f"tone {mean:+.2f}", f"{len(texts)} texts"),
            risk_note="A word list misses irony, context and what the price knows already." if directed else "",
            horizon_ms=HORIZON_MS if directed else None,
        )


@dataclass(frozen=True)
class LexiconVoter(TextVoter):
    """A voter whose confidence grows with the distance from its threshold, in equal steps."""

    certain: float
    """The mean at which confidence is 1."""

    def confidence(self, strength: float) -> float:
        if strength >= self.threshold:
            return min(1.0, strength / self.certain)
        return 1.0 - strength / self.threshold


def steady(value: float) -> float:
    """Round to four decimals, alike on every Python.

    `sum` rounds otherwise from 3.12 on, so the packages' means may differ in the last bit; the first rounding takes
    that noise away before the second can see it.
    """
    return round(round(value, 12), 4)


def _cut(text: str) -> str:
    """One line of a text, short enough to quote."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTE_CHARS else f"{line[: QUOTE_CHARS - 1]}…"


@cache
def _vader() -> Callable[[str], dict[str, float]]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # noqa: PLC0415 - reads its lexicon

    scores: Callable[[str], dict[str, float]] = SentimentIntensityAnalyzer().polarity_scores
    return scores


@cache
def _pattern() -> Callable[[str], tuple[float, float]]:
    """Load the lexicon from under its package, which is put back unread: it would bring NLTK along, 0.15 s, unused."""
    spec = None if "textblob" in sys.modules else find_spec("textblob")
    if spec is not None:
        sys.modules["textblob"] = module_from_spec(spec)
    try:
        scores: Callable[[str], tuple[float, float]] = import_module("textblob.en").sentiment
    finally:
        if spec is not None:
            del sys.modules["textblob"]
    return scores


@lru_cache(CACHED_TEXTS)
def vader_score(text: str) -> float:
    """Give VADER's compound score of a text (Hutto and Gilbert 2014), -1 to 1."""
    return steady(_vader()(text)["compound"])


@lru_cache(CACHED_TEXTS)
def textblob_score(text: str) -> float:
    """Give the polarity of a text by TextBlob's pattern lexicon (De Smedt and Daelemans 2012), -1 to 1."""
    return steady(_pattern()(text)[0])


VADER = LexiconVoter("VADER", vader_score, threshold=0.15, certain=0.8)
TEXTBLOB = LexiconVoter("TextBlob", textblob_score, threshold=0.10, certain=0.5)
"""The thresholds differ because the scales do: on headlines, a clear tone is 0.5 to 0.9 by VADER, 0.2 to 0.5 here."""
