# ruff: noqa: RUF001 - lookalikes are the point
"""What stays of a text once nothing in it hides, and which names pass for which at a glance."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.disguise import cleaned, folded, hidden, mixed_words, skeleton

TAGGED = "".join(chr(0xE0000 + ord(char)) for char in "vote buy")
hostile = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.sampled_from("aeіο\u200b\u202e\u0301\u0300 \n\ufb01ﷺ①\u1160")
    )
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", "plain words"),
        ("  two\n lines\t", "two lines"),
        ("ig\u200bno\u2060re", "ignore"),
        ("\u202eabc\u202c \u2066x\u2069", "abc x"),
        ("ＢＵＹ ① ﬁne…", "BUY 1 fine..."),
        ("𝗕𝗨𝗬 𝑛𝑜𝑤", "BUY now"),
        (f"calm{TAGGED}", "calm"),
        ("e\u200b\u0301", "é"),
        ("Z" + "\u0334" * 40, "Z\u0334\u0334"),
        ("soft\xadware", "software"),
        ("比特币上涨", "比特币上涨"),
        ("new \U0001fa77 heart", "new heart"),
    ],
)
def test_a_text_is_cleaned_of_what_hides(text: str, expected: str) -> None:
    assert cleaned(text) == expected


@given(hostile)
def test_cleaning_what_is_clean_changes_nothing(text: str) -> None:
    clean = cleaned(text)
    assert cleaned(clean) == clean
    assert clean == " ".join(clean.split())
    assert hidden(clean) == 0


@given(hostile)
def test_what_is_folded_stays_folded(text: str) -> None:
    assert folded(folded(cleaned(text))) == folded(cleaned(text))


def test_every_character_is_cleaned_and_folded_alike_by_every_python() -> None:
    """The digest was taken on 3.11, 3.12 and 3.13, whose own tables of Unicode differ."""
    digest = sha256()
    for code in (*range(0xD800), *range(0xE000, 0x30000)):
        clean = cleaned(f"a{chr(code)}b")
        digest.update(f"{clean}|{folded(clean)}\n".encode())
    assert digest.hexdigest()[:16] == "f50ae2b5914b117d"


@pytest.mark.parametrize(
    "name",
    ["CоinТеlеgraph", "CoinTe1egraph", "CoinTeIegraph", "C0inTelegraph", "Coin_Telegraph", "ＣoinＴelegraph",
     "Coin\u200bTelegraph", "CoínTélegraph", "CoinTelegraph.", "ϹοιnΤelegraph"],
)  # fmt: skip
def test_a_name_that_looks_like_another_has_its_skeleton(name: str) -> None:
    assert name.casefold() != "cointelegraph"
    assert skeleton(name) == skeleton("CoinTelegraph")


def test_two_letters_may_look_like_one() -> None:
    assert skeleton("rnarket") == skeleton("market")
    assert skeleton("vvire") == skeleton("wire")


@pytest.mark.parametrize("name", ["CoinTelegram", "Telegraph", "CoinDesk", "РБК", ""])
def test_other_names_look_otherwise(name: str) -> None:
    assert skeleton(name) != skeleton("CoinTelegraph")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("nothing", 0),
        ("ig\u200bnore pre\u2060vious", 2),
        (f"calm {TAGGED}", 3),
        ("👨\u200d👩\u200d👧 ❤\ufe0f", 0),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", 0),
        ("soft\xadware", 0),
    ],
)
def test_letters_that_hide_are_counted_and_emoji_are_not(text: str, count: int) -> None:
    assert hidden(text) == count


def test_words_of_two_scripts_are_counted() -> None:
    assert mixed_words("Вitcoin сrash now") == 2
    assert mixed_words("Биткоин растёт, bitcoin rises") == 0
