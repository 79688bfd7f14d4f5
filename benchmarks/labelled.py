"""Sentences that people have labelled bullish, neutral or bearish, and how well a score tells which.

The sets lie in `../shared/data/sentiment`. Only the headlines of `twitter_financial_news_train.jsonl` (MIT) may be
learnt from, less those that `is_held_out` names; the two others are for non-commercial use and only ever tested on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from connectors.voters.finance.features import tokens

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "sentiment"
CLASSES = (1, 0, -1)
NAMES = {1: "bullish", 0: "neutral", -1: "bearish"}
LABELS = {"positive": 1, "bullish": 1, "neutral": 0, "negative": -1, "bearish": -1}
FOLDS = 5
"""Of the headlines, the texts of one fold are held out; the others are the training split, and its folds."""


class Labelled(NamedTuple):
    """A text and its class: 1 bullish, 0 neutral, -1 bearish."""

    text: str
    label: int


def fold(text: str, byte: int = 0) -> int:
    """Give the fold that a text falls in, 0 to 4, by a digest of its words (so links do not matter)."""
    words = " ".join(token.word for token in tokens(text))
    return blake2b(words.encode(), digest_size=4).digest()[byte] % FOLDS


def is_held_out(text: str) -> bool:
    """Tell whether a headline is never learnt from."""
    return fold(text) == 0


def headlines(folder: Path = FOLDER) -> list[Labelled]:
    """Read the headlines of both splits."""
    return [Labelled(row["text"], LABELS[row["label"]]) for row in _rows(folder / "twitter_financial_news_train.jsonl")]


def phrasebank(least_agreement_pct: int, folder: Path = FOLDER) -> list[Labelled]:
    """Read the sentences of Financial PhraseBank on which at least so many percent of the annotators agree."""
    rows = _rows(folder / "financial_phrasebank.jsonl")
    return [
        Labelled(row["text"], LABELS[row["label"]]) for row in rows if row["min_agreement_pct"] >= least_agreement_pct
    ]


def fiqa(threshold: float, folder: Path = FOLDER) -> list[Labelled]:
    """Read the posts of FiQA; a score from `threshold` on is bullish, one from its negative down bearish."""
    return [Labelled(row["text"], leaning(row["score"], threshold)) for row in _rows(folder / "fiqa_posts.jsonl")]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def leaning(score: float, threshold: float) -> int:
    """Give the class of a score."""
    return 1 if score >= threshold else -1 if score <= -threshold else 0


Confusion = dict[tuple[int, int], int]
"""Label and answer to the number of texts."""


def confusion(labels: Iterable[int], answers: Iterable[int]) -> Confusion:
    """Count the answers by what was right."""
    found = Counter(zip(labels, answers, strict=True))
    return {(label, answer): found[label, answer] for label in CLASSES for answer in CLASSES}


def f1(found: Confusion, of: int) -> float:
    """Give the harmonic mean of precision and recall of a class; 0 where it is neither right nor given."""
    marked = sum(count for (label, _), count in found.items() if label == of)
    given = sum(count for (_, answer), count in found.items() if answer == of)
    return 2.0 * found[of, of] / (marked + given) if marked + given else 0.0


def macro_f1(found: Confusion) -> float:
    """Give the mean of the three classes' F1, each class alike."""
    return sum(f1(found, of) for of in CLASSES) / len(CLASSES)


def accuracy(found: Confusion) -> float:
    """Give the share of right answers."""
    return sum(found[of, of] for of in CLASSES) / max(1, sum(found.values()))


def cut(scores: Sequence[float], threshold: float) -> list[int]:
    """Give the classes of scores."""
    return [leaning(score, threshold) for score in scores]
