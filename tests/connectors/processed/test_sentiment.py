"""The tone of an hour: counts, mean and shares of the scores that its texts have one by one."""

from __future__ import annotations

import random
from statistics import mean

import pyarrow as pa
import pytest

from connectors.processed.sentiment import INTERVAL_NS, LEXICONS, TEXT_COLUMNS, sentiment_of, text_row
from connectors.voters.lexicons import vader_score
from schemas.base import NS_PER_S
from schemas.checks import check
from schemas.texts import NewsPublished, SentimentMeasured, TweetPosted
from tests.connectors.processed.trades import AT

GOOD, BAD, PLAIN = "Wonderful news, a great success!", "A terrible, awful disaster.", "The meeting is on Tuesday."


def tweet(number: int, text: str, after_s: int = 0, author: str = "ann") -> TweetPosted:
    at = AT + after_s * NS_PER_S
    return TweetPosted(id=f"t-{number}", key="BTC", occurred_at=at, observed_at=at, author=author, text=text)


def news(number: int, title: str, after_s: int = 0) -> NewsPublished:
    at = AT + after_s * NS_PER_S
    return NewsPublished(id=f"n-{number}", key="BTC", occurred_at=at, observed_at=at, source="wire", title=title)


def measured(*events: TweetPosted | NewsPublished) -> list[SentimentMeasured]:
    return list(sentiment_of(pa.Table.from_pylist([text_row(event) for event in events], schema=TEXT_COLUMNS)))


def test_an_hour_is_measured_once_for_each_lexicon() -> None:
    events: list[TweetPosted | NewsPublished] = [
        tweet(1, GOOD),
        tweet(2, BAD, 5, "bob"),
        tweet(3, PLAIN, 9),
        news(1, GOOD, 3599),
    ]
    found = measured(*events)
    assert [each.lexicon for each in found] == [lexicon.lexicon for lexicon in LEXICONS]
    vader = found[0]
    assert (vader.tweets, vader.news) == (3, 1)
    assert vader.mean_score == pytest.approx(mean(vader_score(text) for text in (GOOD, BAD, PLAIN, GOOD)), abs=1e-4)
    assert (vader.positive_share, vader.negative_share) == (0.5, 0.25)
    assert vader.sources == {"ann": 2, "bob": 1, "wire": 1}
    assert vader.id == f"BTC/sentiment3600-vader/{AT}"
    assert vader.occurred_at == AT + INTERVAL_NS
    for each in found:
        check(each)


def test_hours_and_keys_are_measured_apart_and_the_order_of_texts_changes_nothing() -> None:
    other = TweetPosted(id="e-1", key="ETH", occurred_at=AT, observed_at=AT, author="ann", text=BAD)
    events = [tweet(1, GOOD), tweet(2, BAD, 3600), other, tweet(3, PLAIN, 7)]
    found = measured(*events)
    assert [(each.key, (each.occurred_at - AT) // INTERVAL_NS) for each in found] == [
        *[("BTC", 1)] * len(LEXICONS),
        *[("ETH", 1)] * len(LEXICONS),
        *[("BTC", 2)] * len(LEXICONS),
    ]
    assert measured(*random.Random(1).sample(events, 4)) == found


def test_a_text_sent_twice_counts_once_and_no_more_sources_are_named_than_an_event_holds() -> None:
    events = [tweet(n, PLAIN, author=f"author {n:03}") for n in range(150)]
    vader, *_ = measured(*events, *events[:40], tweet(200, PLAIN, author=""))
    assert vader.tweets == 151
    assert len(vader.sources) == 100
    check(vader)


def test_no_text_is_no_measurement() -> None:
    assert measured() == []
