"""The finance voter: fixed features and scores."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.voters.finance.features import MAX_CHARS, features, tokens
from connectors.voters.finance.model import finance_score, weights
from connectors.voters.finance.words import BAD, BETTER, DENY, DOWN, GOOD, UP, WORSE
from connectors.voters.linear import probabilities

SCORES = {
    "Operating profit rose to EUR 13.1 mn from EUR 8.7 mn": 0.9976,
    "Operating profit fell to EUR 8.7 mn from EUR 13.1 mn": -0.9771,
    "Goldman downgrades the airline to sell": -0.6079,
    "$ABC: Evercore raises target to $210 from $180": 0.9983,
    "Shares are not weak": -0.0617,
    "The annual general meeting will be held on 4 May": -0.0084,
    "": -0.0054,
}
"""Fixed, to the last digit."""
SIGNS = {
    "profit rose to EUR 13.1 mn from EUR 8.7 mn": {"=good~up", "=good#up"},
    "sales of 8.7 mln euro, compared with 13.1 mln": {"=good#down"},
    "cut its forecast from 5% to 3%": {"=good~down", "=good#down"},
    "the loss narrowed to EUR 1.2 m from EUR 1,500 thousand": {"=bad~down", "=bad#down"},
    "costs went up by 4 pct": {"=bad~up"},
    "demand did not grow": {"=!good~up"},
    "moved from 3 offices in 2007 to Rome": set(),
    "$ABC -4.5% after hours": {"=-%"},
    "not a good quarter": {"=!good"},
    "bulls at $ABC. Costs are down": {"=good", "=bad~down"},
}
"""Of each text, what it is found to say, but for the balance."""


BALANCE = {"=p0", "=p1", "=p2", "=n0", "=n1", "=n2", "=more+", "=more-", "=even", "=only+", "=only-"}


def signs(text: str) -> set[str]:
    return {each for each in features(text) if each.startswith("=")} - BALANCE


@pytest.mark.parametrize("text", SCORES)
def test_scores_do_not_drift(text: str) -> None:
    assert finance_score(text) == SCORES[text]


@pytest.mark.parametrize("text", SIGNS)
def test_what_moves_which_way_is_found(text: str) -> None:
    assert signs(text) == SIGNS[text]


def test_numbers_have_a_shape_and_a_value() -> None:
    said = tokens("Up +3.5% to EUR193 .3 mn (2,000 shares) in 2019, https://t.co/x @abc $ABC didn’t")  # noqa: RUF001
    numbers = [(token.word, token.value) for token in said if token.value is not None]
    assert numbers == [("+#%", Fraction(7, 2)), ("$#", Fraction(193_300_000)), ("#", Fraction(2000))]
    assert [token.word for token in said if token.value is None] == "up to shares in #year , $t did not".split()


@given(st.text(max_size=200) | st.lists(st.sampled_from([*SCORES, *SIGNS, "down", "$5 bn", "not"])).map(" ".join))
def test_any_text_has_probabilities_and_each_feature_once(text: str) -> None:
    found = features(text)
    assert len(set(found)) == len(found)
    assert not any("\t" in each or "\n" in each for each in found)
    bullish, bearish = probabilities(weights(), features(text))
    assert bullish >= 0.0
    assert bearish >= 0.0
    assert bullish + bearish <= 1.0001  # each is rounded
    assert finance_score(text) == round(bullish - bearish, 4)


def test_what_stands_far_behind_is_not_read() -> None:
    padding = "x" * (MAX_CHARS - 1)
    assert features(f"{padding} profit rose") == features(padding)


def test_no_word_is_on_two_sides() -> None:
    for one, other in ((UP, DOWN), (GOOD, BAD), (BETTER, WORSE), (DENY, UP | DOWN)):
        assert one & other == set()
