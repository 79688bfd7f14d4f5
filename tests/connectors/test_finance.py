"""The finance voter: fixed features and scores, the same everywhere, and weights that the script learns again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.labelled import headlines, is_held_out
from benchmarks.train_finance import learnt, written
from connectors.voters.finance.features import MAX_CHARS, features, tokens
from connectors.voters.finance.model import BIAS, FINANCE, WEIGHTS, finance_score, probabilities, weights
from connectors.voters.finance.words import BAD, BETTER, DENY, DOWN, GOOD, UP, WORSE

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


def test_each_hash_seed_gives_the_same_scores() -> None:
    code = (
        "import json, sys\n"
        "from connectors.voters.finance.model import finance_score\n"
        "from connectors.voters.finance.features import features\n"
        "texts = json.load(sys.stdin)\n"
        "print(json.dumps([[finance_score(text), features(text)] for text in texts]))\n"
    )
    texts = json.dumps([*SCORES, *SIGNS])
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            input=texts,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "01"
    }
    assert len(said) == 1
    assert json.loads(said.pop()) == [[finance_score(text), features(text)] for text in (*SCORES, *SIGNS)]


@given(st.text(max_size=200) | st.lists(st.sampled_from([*SCORES, *SIGNS, "down", "$5 bn", "not"])).map(" ".join))
def test_any_text_has_probabilities_and_each_feature_once(text: str) -> None:
    found = features(text)
    assert len(set(found)) == len(found)
    assert not any("\t" in each or "\n" in each for each in found)
    bullish, bearish = probabilities(weights(), text)
    assert bullish >= 0.0
    assert bearish >= 0.0
    assert bullish + bearish <= 1.0001  # each is rounded
    assert finance_score(text) == round(bullish - bearish, 4)


def test_what_stands_far_behind_is_not_read() -> None:
    padding = "x" * (MAX_CHARS - 1)
    assert features(f"{padding} profit rose") == features(padding)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_clearer_score_is_no_less_sure(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if low >= FINANCE.threshold:
        assert FINANCE.confidence(low) <= FINANCE.confidence(high) + 1e-12
    if high < FINANCE.threshold:
        assert FINANCE.confidence(low) >= FINANCE.confidence(high) - 1e-12


def test_the_curves_cover_all_scores() -> None:
    assert FINANCE.held[0][0] == 0.0
    assert FINANCE.held[-1][0] == FINANCE.sided[0][0] == FINANCE.threshold
    assert FINANCE.sided[-1][0] == 1.0
    for curve in (FINANCE.held, FINANCE.sided):
        assert all(a < b for (a, _), (b, _) in pairwise(curve))
        assert all(0.0 <= share <= 1.0 for _, share in curve)


def test_no_word_is_on_two_sides() -> None:
    for one, other in ((UP, DOWN), (GOOD, BAD), (BETTER, WORSE), (DENY, UP | DOWN)):
        assert one & other == set()


def test_the_weights_are_a_small_file() -> None:
    path = _weights_file()
    assert path.stat().st_size < 300_000
    assert BIAS in weights()


def _weights_file() -> Path:
    spec = find_spec("connectors.voters.finance")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name(WEIGHTS)


def test_the_weights_are_learnt_again_from_the_headlines(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("sentiment/twitter_financial_news_train.jsonl").parent
    texts = [each for each in headlines(folder) if not is_held_out(each.text)]
    assert written(learnt(texts)) == _weights_file().read_text("utf-8")
