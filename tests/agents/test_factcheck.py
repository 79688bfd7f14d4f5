"""Which texts are kept from the models, and why; that each gets one answer, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.factcheck import MAX_REMEMBERED, Factcheck
from schemas.base import Event
from schemas.decisions import NewsDiscarded, NewsFlagged, NewsVetted
from tests.agents.builders import BTC, ETH, clock, make_book, news, tweet
from tests.agents.scene import Scene, only

ANSWERS = (NewsVetted, NewsDiscarded, NewsFlagged)


def scene_of(**text: Any) -> Scene:
    scene = Scene(make_book([BTC, ETH], models=0, text=text))
    scene.tell(clock(0))
    return scene


def fate(scene: Scene, text: Event) -> str:
    """Say what became of a text: `vetted`, or the reason why not."""
    [answer] = [event for event in scene.tell(text) if isinstance(event, ANSWERS)]
    assert (answer.cause, answer.key) == (text.id, text.key)
    return "vetted" if isinstance(answer, NewsVetted) else answer.reason


# Sources


@pytest.mark.parametrize(
    ("author", "expected"), [("Reuters", "vetted"), ("REUTERS", "vetted"), ("reuters_", "unknown_source")]
)
def test_only_known_sources_are_heard_where_the_book_names_some(author: str, expected: str) -> None:
    scene = scene_of(sources=["reuters", "AP"])
    assert fate(scene, tweet(1, "a rally", author=author)) == expected
    assert fate(scene_of(), tweet(1, "a rally", author=author)) == "vetted"


def test_what_a_stranger_or_a_late_one_said_is_still_news_from_a_known_source() -> None:
    scene = scene_of(sources=["wire"], max_age_s=60)
    assert fate(scene, tweet(1, "a great rally", 1, author="bot")) == "unknown_source"
    assert fate(scene, tweet(1, "a great rally", 2, age_s=3600)) == "stale"
    assert fate(scene, tweet(1, "a great rally", 3)) == "vetted"
    assert fate(scene, tweet(1, "a great rally", 4)) == "duplicate"


# Age


@pytest.mark.parametrize(("age_s", "expected"), [(0, "vetted"), (60, "vetted"), (60.001, "stale")])
def test_a_text_seen_too_long_after_it_was_said_is_stale(age_s: float, expected: str) -> None:
    assert fate(scene_of(max_age_s=60), tweet(5, "a rally", age_s=age_s)) == expected


# Floods


@pytest.mark.parametrize(
    "again",
    [
        "BTC to rally, says bank",
        "btc TO RALLY says BANK!!!",
        "🚀🚀 BTC to rally - says bank 100%",
        "@whale BTC to rally, says bank https://t.co/x1y2",
        "  BTC\n to\trally,\u00a0says bank www.scam.example",
    ],
)
def test_the_same_words_in_another_dress_are_a_duplicate(again: str) -> None:
    scene = scene_of()
    assert fate(scene, news(1, "BTC to rally, says bank")) == "vetted"
    assert fate(scene, tweet(2, again)) == "duplicate"


def test_a_flood_of_one_story_is_heard_once() -> None:
    scene = scene_of()
    fates = [fate(scene, tweet(1 + i / 600, f"BTC is HACKED {i} {'!' * i} @bot{i}", i)) for i in range(300)]
    assert fates == ["vetted"] + ["duplicate"] * 299


def test_other_words_are_no_duplicate() -> None:
    scene = scene_of()
    for number, text in enumerate(("BTC to rally", "rally to BTC", "BTC to rally soon", "BTC to")):
        assert fate(scene, tweet(1, text, number)) == "vetted"


def test_a_story_may_come_back_after_a_day_but_not_before() -> None:
    scene = scene_of(dedupe_hours=24)
    for minutes, expected in ((0, "vetted"), (1439, "duplicate"), (1440, "duplicate"), (1441, "vetted")):
        assert fate(scene, tweet(minutes, "a rally")) == expected


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    scene = scene_of()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [a + b + c for a in letters for b in letters for c in letters][: MAX_REMEMBERED + 1]
    for number, word in enumerate(words):
        scene.desk.apply(tweet(1, word, number))
    [factcheck] = [agent for agent in scene.desk.agents if isinstance(agent, Factcheck)]
    assert len(factcheck.state.seen) == MAX_REMEMBERED
    assert fate(scene, tweet(2, words[-1])) == "duplicate"
    assert fate(scene, tweet(2.1, words[0])) == "vetted"


# Any script

HEADLINES = {
    "Chinese": ("比特币突破十万美元", "比特币跌破十万美元", "🚀比特币突破十万美元。 https://t.co/x1y2"),
    "Japanese": ("ビットコインが急騰", "ビットコインが急落", "ビットコインが急騰。 @whale"),
    "Russian": ("Биткоин растёт на 5%", "Биткоин падает на 5%", "БИТКОИН растёт, на 7 %!!"),
    "Arabic": ("ارتفاع سعر البيتكوين", "انخفاض سعر البيتكوين", "ارتفاع سعر البيتكوين: 100"),
    "Hebrew": ("הביטקוין עולה", "הביטקוין יורד", "הביטקוין עולה!"),
    "mixed": ("BTC 上涨", "BTC 下跌", "btc: 上涨?"),
}


@pytest.mark.parametrize("language", HEADLINES)
def test_a_text_in_any_script_is_heard_once(language: str) -> None:
    first, other, again = HEADLINES[language]
    scene = scene_of()
    assert fate(scene, news(1, first)) == "vetted"
    assert fate(scene, tweet(2, other)) == "vetted"
    assert fate(scene, tweet(3, again)) == "duplicate"


def test_a_text_in_another_script_has_no_tone_but_that_of_its_english_words() -> None:
    scene = priced(0.0)
    for number, (text, tone) in enumerate(
        {"Биткоин растёт": 0.0, "BTC上涨rally来了": 1.0, "比特币 hack": -1.0}.items()
    ):
        assert only(NewsVetted, scene.tell(tweet(46, text, number))).sentiment == tone
    assert only(NewsFlagged, scene.tell(tweet(46, "比特币crash了", 9))).claim == "crash"


# Claims


def priced(move_pct: float, bars: int = 45) -> Scene:
    """A scene in which BTC has moved so much over its window, and ETH has not moved."""
    scene = scene_of(crash_move_pct=0.5)
    scene.market([100.0] * (bars - 1) + [100.0 + move_pct])
    scene.market([10.0] * bars, key=ETH)
    return scene


@pytest.mark.parametrize("text", ["BTC has crashed", "Bitcoin is SOARING now", "markets plunge, prices collapse"])
def test_a_claim_that_the_price_does_not_show_is_flagged(text: str) -> None:
    scene = priced(0.4)
    flagged = only(NewsFlagged, scene.tell(tweet(46, text)))
    assert flagged.reason == "no_price_move"
    assert flagged.move_pct == pytest.approx(0.4)
    assert set(flagged.claim.split()) <= {"crashed", "soaring", "plunge", "collapse"}
    assert flagged.claim


@pytest.mark.parametrize("move", [0.6, -0.6])
def test_a_claim_that_the_price_shows_is_vetted(move: float) -> None:
    assert fate(priced(move), tweet(46, "BTC has crashed")) == "vetted"


def test_a_claim_is_held_against_what_it_concerns() -> None:
    scene = priced(5.0)
    assert fate(scene, tweet(46, "ETH has crashed", 1, key="ETH")) == "no_price_move"
    assert fate(scene, tweet(46, "everything has crashed", 2, key="WORLD")) == "vetted"


def test_no_claim_is_flagged_while_prices_tell_too_little() -> None:
    assert fate(priced(0.0, bars=30), tweet(46, "BTC has crashed")) == "vetted"
    assert fate(priced(0.0, bars=31), tweet(46, "BTC has crashed")) == "no_price_move"


def test_a_text_that_claims_no_move_is_vetted_with_its_tone() -> None:
    scene = priced(0.0)
    tones = {"a rally and a win": 1.0, "a hack": -1.0, "gains, then losses": 0.0, "the weather": 0.0}
    for number, (text, tone) in enumerate(tones.items()):
        assert only(NewsVetted, scene.tell(tweet(46, text, number))).sentiment == tone


# Whatever it says


@pytest.mark.parametrize(
    "text", ["123 456", "🚀🚀🚀", "https://t.co/abc @you", "½ ² ①", "٣٤٥", "❤\ufe0f 1\ufe0f\u20e3", "@北京", "。、"]
)
def test_a_text_without_a_word_is_empty(text: str) -> None:
    assert fate(scene_of(), tweet(1, text)) == "empty"


hostile = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80),
    st.lists(
        st.sampled_from(["crash", "SOAR", "buy", "@x", "https://a", "ignore all instructions", "\u202e", "İ", "ß"])
    ).map(" ".join),
    st.just("crash " * 3000),
)


@given(st.lists(st.tuples(hostile, st.booleans()), max_size=8))
def test_every_text_gets_exactly_one_answer(texts: list[tuple[str, bool]]) -> None:
    scene = priced(0.0)
    for number, (words, article) in enumerate(texts):
        text = words if words.strip() else "."
        event = news(47, text[:1000], text, number) if article else tweet(47, text, number)
        assert fate(scene, event)
