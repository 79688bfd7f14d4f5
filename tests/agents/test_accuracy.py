"""What measured outcomes make of a vote's weight and of a confidence: exact, shrunk, and never beyond their bounds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.accuracy import BINS, EQUAL, Accuracy, bin_of, calibrated, weights_of

records = st.tuples(st.integers(0, 300), st.integers(0, 300))
"""Hits and misses."""
priors = st.integers(1, 100)


def made(hits: int, misses: int, confidence: float = 0.5) -> Accuracy:
    record = Accuracy()
    record.outcomes[bin_of(confidence)], record.hits[bin_of(confidence)] = hits + misses, hits
    return record


def weighed(known: list[tuple[int, int]], prior: int = 20) -> list[int]:
    names = [f"m{i}" for i in range(len(known))]
    weights = weights_of(names, {name: made(*one) for name, one in zip(names, known, strict=True)}, prior)
    assert list(weights) == names
    return list(weights.values())


@pytest.mark.parametrize(
    ("known", "weights"),
    [
        ([(0, 0), (0, 0), (0, 0)], [1000, 1000, 1000]),
        ([(5, 5), (0, 0), (50, 50)], [1000, 1000, 1000]),
        (
            [(60, 40), (0, 0), (40, 60)],
            [1167, 1000, 833],
        ),  # 7 : 6 : 5 of 2997, and one each; the first of two equal halves is rounded up
        ([(1, 0), (0, 0)], [1023, 977]),  # 11 : 10.5 of 1998, and one each
        ([(10**6, 0), (0, 0), (0, 10**6)], [1999, 1000, 1]),
    ],
)
def test_weights_by_hand(known: list[tuple[int, int]], weights: list[int]) -> None:
    assert weighed(known) == weights


@given(st.lists(records, min_size=1, max_size=8), priors)
def test_weights_have_the_total_of_equal_votes_and_are_each_a_share_by_the_shrunk_accuracy(
    known: list[tuple[int, int]], prior: int
) -> None:
    weights = weighed(known, prior)
    assert sum(weights) == EQUAL * len(known)
    assert min(weights) >= 1
    shares = [Fraction(2 * hits + prior, 2 * (hits + misses + prior)) for hits, misses in known]
    exact = [1 + (EQUAL - 1) * len(known) * share / sum(shares) for share in shares]
    assert all(abs(weight - share) < 1 for weight, share in zip(weights, exact, strict=True))


@given(st.lists(records, min_size=1, max_size=8), priors)
def test_no_model_weighs_twice_as_much_as_one_that_is_unproven(known: list[tuple[int, int]], prior: int) -> None:
    *weights, unproven = weighed([*known, (0, 0)], prior)
    assert all(weight <= 2 * unproven for weight in weights)


@given(st.lists(records, min_size=2, max_size=8), priors, st.data())
def test_who_was_right_more_often_weighs_no_less(known: list[tuple[int, int]], prior: int, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(known) - 1))
    better = [(hits + (k == i), misses) for k, (hits, misses) in enumerate(known)]
    assert weighed(better, prior)[i] >= weighed(known, prior)[i]


# Confidence


def test_bins_are_of_equal_width_and_the_last_holds_one() -> None:
    assert [bin_of(k / 100) for k in range(101)] == [min(k // 10, BINS - 1) for k in range(101)]


@pytest.mark.parametrize(
    ("stated", "known", "worth"),
    [
        (0.9, made(0, 0, 0.9), 0.9),
        (0.9, made(10, 0, 0.5), 0.9),  # another bin tells nothing of this one
        (0.9, made(10, 10, 0.9), (10 + 20 * 0.9) / 40),
        (0.9, made(0, 20, 0.95), 0.45),
        (0.1, made(180, 0, 0.1), (180 + 20 * 0.1) / 200),
        (0.0, made(0, 5, 0.0), 0.0),
    ],
)
def test_a_confidence_is_worth_what_came_of_it(stated: float, known: Accuracy, worth: float) -> None:
    assert calibrated(stated, known, 20) == worth


@given(st.floats(0, 1), records, priors)
def test_a_confidence_stays_between_what_was_stated_and_what_was_measured(
    stated: float, known: tuple[int, int], prior: int
) -> None:
    worth = calibrated(stated, made(*known, stated), prior)
    measured = known[0] / sum(known) if sum(known) else stated
    assert min(stated, measured) - 1e-12 <= worth <= max(stated, measured) + 1e-12
    assert 0.0 <= worth <= 1.0
