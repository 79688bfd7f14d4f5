"""What the learnt voters share: steady scores, curves of confidence, and weights that the script learns again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.labelled import headlines, is_held_out
from benchmarks.train_voters import LEARNERS, Learner, learnt
from connectors.voters import VOTERS
from connectors.voters.linear import BIAS, Weights, probabilities
from tests.connectors.test_finance import SCORES, SIGNS

EACH = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)


def test_features_without_a_weight_count_nothing() -> None:
    known: Weights = {BIAS: (0, 0), "up": (64, 0), 7: (0, 64)}
    assert probabilities(known, ["up"]) == (0.5761, 0.2119)
    assert probabilities(known, [7]) == (0.2119, 0.5761)
    assert probabilities(known, ["down", 8]) == (0.3333, 0.3333)


def test_each_hash_seed_gives_the_same_scores() -> None:
    code = (
        "import json, sys\n"
        "from benchmarks.train_voters import LEARNERS\n"
        "texts = json.load(sys.stdin)\n"
        "print(json.dumps([[each.voter.score(text), each.features(text)] for each in LEARNERS.values()"
        " for text in texts]))\n"
    )
    texts = [*SCORES, *SIGNS]
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "01"
    }
    assert len(said) == 1
    here = [[each.voter.score(text), each.features(text)] for each in LEARNERS.values() for text in texts]
    assert json.loads(said.pop()) == here


@EACH
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_clearer_score_is_no_less_sure(learner: Learner, a: float, b: float) -> None:
    voter = learner.voter
    low, high = sorted((a, b))
    if low >= voter.threshold:
        assert voter.confidence(low) <= voter.confidence(high) + 1e-12
    if high < voter.threshold:
        assert voter.confidence(low) >= voter.confidence(high) - 1e-12


@EACH
def test_the_curves_cover_all_scores(learner: Learner) -> None:
    voter = learner.voter
    assert voter.held[0][0] == 0.0
    assert voter.held[-1][0] == voter.sided[0][0] == voter.threshold
    assert voter.sided[-1][0] == 1.0
    for curve in (voter.held, voter.sided):
        assert all(a < b for (a, _), (b, _) in pairwise(curve))
        assert all(0.0 <= share <= 1.0 for _, share in curve)


def test_a_book_may_name_each() -> None:
    assert [VOTERS[name] for name in LEARNERS] == [learner.voter for learner in LEARNERS.values()]


@EACH
def test_the_weights_are_learnt_again_from_the_headlines(learner: Learner, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("sentiment/twitter_financial_news_train.jsonl").parent
    texts = [each for each in headlines(folder) if not is_held_out(each.text)]
    assert learner.file.stat().st_size < 200_000
    assert learner.written(learnt(learner, texts)) == learner.file.read_bytes()
