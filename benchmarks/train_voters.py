"""Learns the weights of `finance` and `letters` from the training split of the headlines in `benchmarks/labelled.py`.

A multinomial logistic regression with an L2 penalty, solved by L-BFGS (Liu and Nocedal 1989) far beyond the precision
at which the weights are kept, so that every machine writes the same file. Run it from the repository's root:
`python -m benchmarks.train_voters finance` (or `letters`); it writes `connectors/voters/finance/weights.tsv` (or
`letters/weights.bin`).
"""

from __future__ import annotations

import argparse
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from struct import pack
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.labelled import (
    CLASSES,
    FOLDS,
    Labelled,
    fold,
    headlines,
    is_held_out,
    leaning,
)
from connectors.voters.finance import features as signs
from connectors.voters.finance import model as finance
from connectors.voters.letters import model as letters
from connectors.voters.linear import BIAS, UNIT, CalibratedVoter, Curve, Feature, Weights, score_by

LEAST_TEXTS = 3
"""Features of fewer texts are left out."""
PENALTY = 4.0
SIGN_SCALE = 4.0
"""How much more freely the signs (`=good~up`) may weigh than single words: they carry over to other kinds of text."""
SLOPE = 1e-6
"""Solved where no partial derivative is larger."""
MEMORY = 12
LIMIT = 3000
HEADER = """\
#! Learnt by `python -m benchmarks.train_voters finance` from the training split of twitter-financial-news-sentiment
#! (MIT). A feature, its weight for bullish, and for bearish, each beside neutral, in units of 1/64; see ../linear.py.
"""

Vector = NDArray[np.float64]
Ints = NDArray[np.int64]


class Learner(NamedTuple):
    """A voter whose weights are learnt here."""

    voter: CalibratedVoter
    features: Callable[[str], Sequence[Feature]]
    file: Path
    written: Callable[[Weights], bytes]
    """The bytes of the file of weights."""


class Design(NamedTuple):
    """The features of texts: entry i says that text `rows[i]` has feature `columns[i]`, at `values[i]`."""

    names: list[Feature]
    rows: Ints
    columns: Ints
    values: Vector
    scale: Vector
    """float64[names]: the value of each feature, in a text that has it."""
    is_label: Vector
    """float64[texts, 3], in the order of `CLASSES`."""


def design(learner: Learner, texts: Sequence[Labelled]) -> Design:
    """Find the features that are worth a weight, and which texts have them."""
    found = [learner.features(each.text) for each in texts]
    counts = Counter(feature for each in found for feature in each)
    names = sorted(name for name, count in counts.items() if count >= LEAST_TEXTS)
    number = {name: i for i, name in enumerate(names)}
    entries = [(row, number[name]) for row, each in enumerate(found) for name in each if name in number]
    rows, columns = np.array(entries, np.int64).T
    scale = np.array([SIGN_SCALE if str(name).startswith("=") else 1.0 for name in names])
    is_label = np.array([[float(each.label == of) for of in CLASSES] for each in texts])
    return Design(names, rows, columns, scale[columns], scale, is_label)


def objective(of: Design) -> Callable[[Vector], tuple[float, Vector]]:
    """Give the penalised negative log-likelihood and its gradient; three weights a feature, and three biases last."""
    width = len(of.names)
    by_text = _sums(of.rows, of.columns, of.values, len(of.is_label))
    by_feature = _sums(of.columns, of.rows, of.values, width)

    def at(x: Vector) -> tuple[float, Vector]:
        weights, bias = x[:-3].reshape(3, width), x[-3:]
        logits = np.stack([by_text(side) for side in weights], 1) + bias
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        shares = odds / odds.sum(1, keepdims=True)
        loss = 0.5 * PENALTY * (weights * weights).sum() - np.log((shares * of.is_label).sum(1)).sum()
        off = shares - of.is_label
        slopes = np.stack([by_feature(side) for side in off.T])
        return float(loss), np.concatenate([*(slopes + PENALTY * weights), off.sum(0)])

    return at


def _sums(places: Ints, others: Ints, values: Vector, size: int) -> Callable[[Vector], Vector]:
    """Give the sum of `values` times a vector's elements at `others`, for each place; entries are sorted just once."""
    order = np.argsort(places, kind="stable")
    present, starts = np.unique(places[order], return_index=True)
    at, times = others[order], values[order]

    def summed(vector: Vector) -> Vector:
        sums = np.zeros(size)
        sums[present] = np.add.reduceat(np.ascontiguousarray(vector)[at] * times, starts)
        return sums

    return summed


def minimised(at: Callable[[Vector], tuple[float, Vector]], x: Vector) -> Vector:
    """Find the minimum of a convex function, from `x` on."""
    past: deque[tuple[Vector, Vector, float]] = deque(maxlen=MEMORY)
    loss, slope = at(x)
    for _ in range(LIMIT):
        if np.abs(slope).max() <= SLOPE:
            return x
        way = _direction(slope, past)
        length = 1.0 if past else 1.0 / float(np.abs(slope).sum())
        next_loss, next_slope = at(x - length * way)
        while next_loss > loss - 1e-4 * length * (slope * way).sum() + 1e-9 * abs(loss) * (length < 1e-3):  # noqa: PLR2004
            length /= 2.0
            next_loss, next_slope = at(x - length * way)
        moved, turned = -length * way, next_slope - slope
        past.append((moved, turned, float((moved * turned).sum())))
        x, loss, slope = x + moved, next_loss, next_slope
    raise SystemExit(f"no minimum after {LIMIT} steps; the steepest slope is {np.abs(slope).max():.1e}")


def _direction(slope: Vector, past: Sequence[tuple[Vector, Vector, float]]) -> Vector:
    """Give the slope times the inverse of the curvature that the last steps have shown."""
    way = slope.copy()
    shares = []
    for moved, turned, curve in reversed(past):
        shares.append((moved * way).sum() / curve)
        way -= shares[-1] * turned
    if past:
        _, turned, curve = past[-1]
        way *= curve / (turned * turned).sum()
    for (moved, turned, curve), share in zip(past, reversed(shares), strict=True):
        way += (share - (turned * way).sum() / curve) * moved
    return way


def learnt(learner: Learner, texts: Sequence[Labelled]) -> Weights:
    """Give the weights of the features for bullish and for bearish, in units of the model."""
    of = design(learner, texts)
    x = minimised(objective(of), np.zeros(3 * len(of.names) + 3))
    weights = np.column_stack([x[:-3].reshape(3, -1) * of.scale, x[-3:]]) * UNIT
    sides = np.rint(weights[[0, 2]] - weights[1]).astype(int)
    names = [*of.names, BIAS]
    return {name: (up, down) for name, up, down in zip(names, *sides.tolist(), strict=True) if up or down}


def out_of_fold(learner: Learner, texts: Sequence[Labelled]) -> list[float]:
    """Give the score of each text by the weights that are learnt from the other folds."""
    scores: dict[str, float] = {}
    for part in range(FOLDS):
        weights = learnt(learner, [each for each in texts if fold(each.text, 1) != part])
        mine = [each.text for each in texts if fold(each.text, 1) == part]
        scores |= {text: score_by(weights, learner.features(text)) for text in mine}
    return [scores[each.text] for each in texts]


def curve(labels: Sequence[int], scores: Sequence[float], threshold: float, edges: Sequence[float]) -> Curve:
    """Give how often a vote was right, by the size of its score.

    The share of each bin stands at the bin's middle, and at the ends of the range as well.
    """
    right = [(abs(score), leaning(score, threshold) == label) for label, score in zip(labels, scores, strict=True)]
    points = []
    for low, high in pairwise(edges):
        hits = [hit for size, hit in right if low <= size < high]
        points.append(((low + high) / 2, sum(hits) / len(hits)))
    return (
        (edges[0], round(points[0][1], 2)),
        *((round(middle, 3), round(share, 2)) for middle, share in points),
        (edges[-1], round(points[-1][1], 2)),
    )


def calibrate(learner: Learner, texts: Sequence[Labelled]) -> None:
    """Print the curves that the voter ought to have."""
    labels, scores = [each.label for each in texts], out_of_fold(learner, texts)
    least = learner.voter.threshold
    print("held ", curve(labels, scores, least, [least * part / 4 for part in range(5)]))
    print("sided", curve(labels, scores, least, [least + (1 - least) * part / 5 for part in range(6)]))


def as_lines(weights: Weights) -> bytes:
    """Give the weights of `finance`, a feature a line."""
    rows = sorted((str(name), *sides) for name, sides in weights.items())
    return (HEADER + "".join(f"{name}\t{up}\t{down}\n" for name, up, down in rows)).encode()


def as_table(weights: Weights) -> bytes:
    """Give the weights of `letters`, by row; a row that no text has, or that weighs nothing, is zero."""
    return b"".join(pack(letters.ROW, *weights.get(row, (0, 0))) for row in (*range(letters.ROWS), BIAS))


LEARNERS: Mapping[str, Learner] = {
    "finance": Learner(finance.FINANCE, signs.features, Path(finance.__file__).with_name(finance.WEIGHTS), as_lines),
    "letters": Learner(letters.LETTERS, letters.features, Path(letters.__file__).with_name(letters.WEIGHTS), as_table),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Learn, and write the file."""
    parser = argparse.ArgumentParser(description="Learn the weights of a voter.")
    parser.add_argument("voter", choices=LEARNERS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file of weights, where not the voter's own")
    parser.add_argument("--calibrate", action="store_true", help="print the curves of confidence instead: a minute")
    arguments = parser.parse_args(argv)
    learner = LEARNERS[arguments.voter]
    texts = [each for each in headlines() if not is_held_out(each.text)]
    if arguments.calibrate:
        calibrate(learner, texts)
        return
    weights, path = learnt(learner, texts), arguments.out or learner.file
    path.write_bytes(learner.written(weights))
    print(f"{len(texts):,} headlines, {len(weights):,} weights, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
