"""How alike two texts are: the same answer everywhere, high for copies, low for other stories."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from agents.lexicon import words
from agents.similarity import DIMENSIONS, similar, sketch

HACK = "Binance hacked, $40M in bitcoin stolen from its hot wallet, users panic"
tokens = st.lists(st.text("abcdefgh", min_size=1, max_size=8), max_size=40)


def pct(one: str, other: str) -> int:
    """Give the most hundredths that two texts are alike by."""
    a, b = sketch(words(one)), sketch(words(other))
    return max((n for n in range(101) if similar(a, [b], n)[0]), default=0)


def test_a_sketch_has_the_same_bytes_everywhere() -> None:
    assert len(sketch([])) == DIMENSIONS
    assert sha256(sketch(words(HACK))).hexdigest()[:16] == "88926b3809b000e6"


def test_copies_are_near_and_other_stories_far() -> None:
    assert pct(HACK, HACK) == 100
    for copy in (
        f"BREAKING: {HACK}",
        f"{HACK} more soon",
        HACK.replace("users panic", "users in panic"),
        f"RT {HACK} wow",
    ):
        assert pct(HACK, copy) >= 75
    assert 25 <= pct(HACK, "Hackers steal bitcoin worth $40M from Binance hot wallet") < 75
    for other in ("Bitcoin rises to a new high", "SEC approves the first spot ETF", "Miners move to Texas"):
        assert pct(HACK, other) < 25


@given(tokens, st.lists(tokens, max_size=5), st.integers(1, 100))
def test_likeness_goes_both_ways_and_never_grows_with_the_demand(
    one: list[str], others: list[list[str]], at_least: int
) -> None:
    a, rest = sketch(one), [sketch(each) for each in others]
    found = similar(a, rest, at_least)
    assert found == [similar(b, [a], at_least)[0] for b in rest]
    assert all(found) or not all(similar(a, rest, 100))
    assert [x and not y for x, y in zip(similar(a, rest, 100), found, strict=True)] == [False] * len(rest)


@given(tokens.filter(bool))
def test_a_text_is_wholly_like_itself(one: list[str]) -> None:
    a = sketch(one)
    assert similar(a, [a], 100) == [any(a)]
