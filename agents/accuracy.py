"""How often a model was right, and what its vote weighs and its confidence is worth by that. See docs/voting.md.

Few outcomes tell little, so every estimate is shrunk: a share by outcomes of which half are hits, which is the mean of
a beta distribution (Laplace's rule of succession, more generally), a confidence towards what the model stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from schemas.accounting import OutcomeMeasured

BINS = 10
"""Of equal width, by stated confidence; the last one holds 1."""
EQUAL = 1000
"""What a vote weighs where all weigh the same."""
WHOLE = 0
"""Where sums begin that must be whole numbers."""


def bin_of(confidence: float) -> int:
    """Give the bin, 0 to 9, of a confidence from 0 to 1."""
    return min(int(confidence * BINS), BINS - 1)


class Accuracy(msgspec.Struct):
    """Outcomes of one model's BUYs and SELLs, by bin of the confidence that it stated."""

    outcomes: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    hits: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    """Those after which the price moved that way."""

    def add(self, measured: OutcomeMeasured) -> None:
        """Count an outcome."""
        k = bin_of(measured.confidence)
        self.outcomes[k] += 1
        self.hits[k] += measured.correct


NO_OUTCOMES = Accuracy()


def weights_of(models: Sequence[str], known: Mapping[str, Accuracy], prior: int) -> dict[str, int]:
    """Give what each model's vote weighs, in thousandths of an equal vote; together as much as so many equal votes.

    Each has one thousandth, and of the rest a share in proportion to (hits + prior/2) / (outcomes + prior). What whole
    thousandths leave over goes to the largest fractions, of equal ones to the model named first.
    """
    records = [known.get(model, NO_OUTCOMES) for model in models]
    below = [2 * (sum(one.outcomes, WHOLE) + prior) for one in records]
    common = 1
    for part in below:
        common *= part
    shares = [(2 * sum(one.hits, WHOLE) + prior) * common // part for one, part in zip(records, below, strict=True)]
    rest, total = (EQUAL - 1) * len(models), sum(shares, WHOLE)
    whole = [rest * share // total for share in shares]
    by_fraction = sorted(range(len(models)), key=lambda i: (-(rest * shares[i] % total), i))
    for i in by_fraction[: rest - sum(whole, WHOLE)]:
        whole[i] += 1
    return {model: 1 + part for model, part in zip(models, whole, strict=True)}


def calibrated(confidence: float, known: Accuracy, prior: int) -> float:
    """Give what a stated confidence is worth: (hits + prior * confidence) / (outcomes + prior), of its bin."""
    k = bin_of(confidence)
    if not known.outcomes[k]:
        return confidence
    return (known.hits[k] + prior * confidence) / (known.outcomes[k] + prior)
