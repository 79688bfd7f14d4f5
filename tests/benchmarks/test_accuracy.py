"""The accuracy benchmark: its measures, its splits, and that the learnt voters read better than plain VADER."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy import SETS, Found, agreed, drawn, readers, together
from benchmarks.labelled import FOLDS, accuracy, confusion, cut, f1, fold, headlines, is_held_out, macro_f1


def test_macro_f1_is_the_mean_of_the_three_classes() -> None:
    found = confusion([1, 1, 1, 0, 0, -1], [1, 1, 0, 0, -1, 0])
    assert (f1(found, 1), f1(found, 0), f1(found, -1)) == (2 * 2 / (3 + 2), 2 * 1 / (2 + 3), 0.0)
    assert macro_f1(found) == pytest.approx((0.8 + 0.4 + 0.0) / 3)
    assert accuracy(found) == 0.5


@pytest.mark.parametrize("votes", list(product((1, 0, -1), repeat=3)))
def test_two_of_three_agree_or_the_vote_holds(votes: tuple[int, ...]) -> None:
    sides = [side for side in (1, -1) if votes.count(side) >= 2]
    assert agreed(votes) == (sides[0] if sides else 0)


def test_a_score_at_the_threshold_takes_a_side() -> None:
    assert cut([0.2, 0.1999, -0.2, 0.0], 0.2) == [1, 0, -1, 0]
    assert together([[0.2], [0.1], [-0.9]], [0.2, 0.1, 0.2]) == [1]


@given(st.text(max_size=80), st.sampled_from(["https://t.co/a", "@somebody"]))
def test_a_link_does_not_move_a_text_to_another_fold(text: str, link: str) -> None:
    assert fold(f"{text} {link}") == fold(f"{text} {link}1") < FOLDS


def test_about_a_fifth_of_the_headlines_is_held_out(shared_data: Callable[[str], Path]) -> None:
    texts = headlines(shared_data("sentiment/twitter_financial_news_train.jsonl").parent)
    held = sum(is_held_out(each.text) for each in texts)
    assert 0.15 < held / len(texts) < 0.25


@pytest.mark.parametrize("name", SETS)
def test_the_learnt_voters_read_better_than_plain_vader(name: str, shared_data: Callable[[str], Path]) -> None:
    shared_data("sentiment")
    texts = SETS[name]()
    labels = [each.label for each in texts]
    by = {reader: macro_f1(confusion(labels, answers)) for reader, answers in readers(texts)}
    assert by["finance"] > by["plain VADER"] + 0.1
    assert by["2 of 3: v, f, l"] > by["plain VADER"] + 0.1
    assert by["2 of 3: v, f, l"] > by["letters"]


def test_the_plot_shows_every_figure() -> None:
    found = [Found("a set", reader, 3, 0.123, 0.5, {}, []) for reader in ("plain VADER", "finance")]
    plot = drawn(found)
    assert plot.count("0.123") == 2
    assert "a set" in plot
    assert "finance" in plot
