"""How far a stated confidence can be trusted: Brier score and reliability curve, of each model and of the vote.

Brier 1950, Verification of forecasts expressed in terms of probability; Murphy 1973, A new vector partition of the
probability score. A forecast here is a BUY or SELL, its probability the confidence, its event that the price moved
that way within the horizon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum

import msgspec

from agents.accuracy import BINS, bin_of
from schemas.accounting import VOTE_NAME, OutcomeMeasured

DIGITS = 6


class Bin(msgspec.Struct, kw_only=True):
    """Predictions whose confidence lies in one tenth of the scale."""

    confidence_from: float
    """The bin holds this confidence and less than a tenth more; the last one holds 1, too."""
    predictions: int
    mean_confidence: float | None
    """None where there are no predictions, as is the next."""
    hit_rate: float | None
    """Share of them that came true. A model that knows how sure it may be has it equal to its mean confidence."""


class Calibration(msgspec.Struct, kw_only=True):
    """What became of predictions, against how sure they were.

    brier = reliability - resolution + uncertainty, up to how confidences differ within a bin.
    """

    predictions: int
    hits: int
    mean_confidence: float
    brier: float
    """Mean of (confidence - outcome)^2, with an outcome of 1 or 0: 0 is best, always saying 0.5 gets 0.25."""
    reliability: float
    """Mean squared distance of a bin's hit rate from its mean confidence: 0 is calibrated."""
    resolution: float
    """Mean squared distance of a bin's hit rate from that of all: the larger, the more a confidence tells apart."""
    uncertainty: float
    """Hit rate times miss rate: the Brier score of who always states the hit rate of all."""
    bins: list[Bin]
    """The reliability curve, all ten."""


def calibrations(outcomes: Iterable[OutcomeMeasured]) -> dict[str, Calibration]:
    """Measure the BUYs and SELLs of each model, by name; the vote's stands under `VOTE_NAME`, last."""
    told: dict[str, list[tuple[float, bool]]] = {}
    for outcome in outcomes:
        if outcome.action != "HOLD":
            told.setdefault(outcome.model, []).append((outcome.confidence, outcome.correct))
    names = sorted(told, key=lambda name: (name == VOTE_NAME, name))
    return {name: calibration_of(told[name]) for name in names}


def calibration_of(told: Sequence[tuple[float, bool]]) -> Calibration:
    """Measure predictions, at least one: how sure each was, and whether it came true."""
    total, hits = len(told), sum(correct for _, correct in told)
    base = hits / total
    binned: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, correct in told:
        binned[bin_of(confidence)].append((confidence, correct))
    bins = [_bin(k, members) for k, members in enumerate(binned)]
    means = [(one.predictions, one.mean_confidence, one.hit_rate) for one in bins]
    off = [n * (mean - rate) ** 2 for n, mean, rate in means if mean is not None and rate is not None]
    apart = [n * (rate - base) ** 2 for n, _, rate in means if rate is not None]
    for one in bins:
        one.mean_confidence, one.hit_rate = _rounded(one.mean_confidence), _rounded(one.hit_rate)
    return Calibration(
        predictions=total,
        hits=hits,
        mean_confidence=round(fsum(confidence for confidence, _ in told) / total, DIGITS),
        brier=round(fsum((confidence - correct) ** 2 for confidence, correct in told) / total, DIGITS),
        reliability=round(fsum(off) / total, DIGITS),
        resolution=round(fsum(apart) / total, DIGITS),
        uncertainty=round(base * (1.0 - base), DIGITS),
        bins=bins,
    )


def _bin(k: int, members: Sequence[tuple[float, bool]]) -> Bin:
    count = len(members)
    return Bin(
        confidence_from=k / BINS,
        predictions=count,
        mean_confidence=fsum(confidence for confidence, _ in members) / count if count else None,
        hit_rate=sum(correct for _, correct in members) / count if count else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
