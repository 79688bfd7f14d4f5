"""The letters voter: fixed pieces of words, and fixed scores."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.voters.finance.features import MAX_CHARS
from connectors.voters.letters.model import ROWS, features, letters_score, pieces, weights, words
from connectors.voters.linear import BIAS, probabilities

SCORES = {
    "Operating profit rose to EUR 13.1 mn from EUR 8.7 mn": 0.2192,
    "Operating profit fell to EUR 8.7 mn from EUR 13.1 mn": -0.4968,
    "Goldman downgrades the airline to sell": -0.9658,
    "$ABC: Evercore raises target to $210 from $180": 0.9149,
    "Shares are not weak": -0.8752,
    "The annual general meeting will be held on 4 May": 0.0082,
    "": -0.0085,
}
"""Fixed, to the last digit."""


@pytest.mark.parametrize("text", SCORES)
def test_scores_do_not_drift(text: str) -> None:
    assert letters_score(text) == SCORES[text]


def test_words_are_plain() -> None:
    said = words("$ABC.L UP 3.5% to £1,200.50; didn\u2019t see https://t.co/x @abc COVID-19 caf\u00e9! \u212aey")
    assert said == ["$t", "up", "0%", "to", "0", "didn't", "see", "covid-0", "caf", "!", "key"]


def test_the_pieces_of_a_word_know_where_it_begins_and_ends() -> None:
    assert pieces("up") == tuple(crc32(piece) % ROWS for piece in (b"<up", b"up>", b"<up>"))
    assert pieces("!") == (crc32(b"<!>") % ROWS,)
    assert len(pieces("rises")) == 5 + 4 + 3


def test_a_word_that_is_said_twice_counts_once() -> None:
    assert features("up up UP") == list(pieces("up"))


def test_an_unknown_form_of_a_known_word_counts() -> None:
    assert letters_score("profits skyrocketed") > letters_score("profits")
    assert letters_score("shares nosediveplunge") < letters_score("shares")


@given(st.text(max_size=200) | st.lists(st.sampled_from([*SCORES, "down", "$5 bn", "not"])).map(" ".join))
def test_any_text_has_probabilities_and_each_piece_once(text: str) -> None:
    found = features(text)
    assert len(set(found)) == len(found)
    assert all(0 <= row < ROWS for row in found)
    bullish, bearish = probabilities(weights(), features(text))
    assert min(bullish, bearish) >= 0.0
    assert bullish + bearish <= 1.0001  # each is rounded
    assert letters_score(text) == round(bullish - bearish, 4)


def test_what_stands_far_behind_is_not_read() -> None:
    padding = "x" * (MAX_CHARS - 1)
    assert features(f"{padding} profit rose") == features(padding)


def test_every_row_has_a_weight() -> None:
    assert len(weights()) == ROWS + 1
    assert weights()[BIAS] < (0, 0)
