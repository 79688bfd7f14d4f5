"""The tone of texts: the one rule, over columns, that the worker and the batch builder share.

A text counts in the hour in which it was observed, once, whenever it was written: so the figures hold nothing that
was not known by the end of the hour. They come from word lists that need no network (`connectors/voters/lexicons`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import fsum
from typing import Any, NamedTuple

import pyarrow as pa

from connectors.archive import NS_PER_HOUR
from connectors.processed.bars import LATENESS_NS
from connectors.voters.finance.model import FINANCE
from connectors.voters.lexicons import TEXTBLOB, VADER, TextVoter, steady
from schemas.base import NS_PER_S, market_id
from schemas.fields import MAX_ITEMS
from schemas.texts import NewsPublished, SentimentMeasured, TweetPosted

INTERVAL_NS = NS_PER_HOUR
LEXICONS: tuple[TextVoter, ...] = (VADER, TEXTBLOB, FINANCE)
TEXT_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.string()),
        ("observed_at", pa.int64()),
        ("topic", pa.string()),
        ("source", pa.string()),
        ("text", pa.string()),
    ]
)
"""What the rule reads: `source` is an author or a publisher, `text` of news is its title and its text."""
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.dictionary(pa.int32(), pa.string())),
        ("occurred_at", pa.int64()),
        ("observed_at", pa.int64()),
        ("lexicon", pa.string()),
        ("interval_ns", pa.int64()),
        ("tweets", pa.int64()),
        ("news", pa.int64()),
        ("mean_score", pa.float64()),
        ("positive_share", pa.float64()),
        ("negative_share", pa.float64()),
        ("sources", pa.map_(pa.string(), pa.int64())),
    ]
)
"""Columns of `processed/sentiment/`: the fields of SentimentMeasured."""

Row = dict[str, Any]


def text_row(event: TweetPosted | NewsPublished) -> Row:
    """Give what the rule reads of a text."""
    row = {"id": event.id, "key": event.key, "observed_at": event.observed_at}
    if isinstance(event, TweetPosted):
        return row | {"topic": "tweets", "source": event.author, "text": event.text}
    return row | {"topic": "news", "source": event.source, "text": whole_text(event.title, event.text)}


def whole_text(title: str, text: str) -> str:
    """Give what is read of an article: its title counts as its first sentence."""
    return f"{title}. {text}" if text else title


class Hour(NamedTuple):
    """The texts of one key that were observed in one hour, each once."""

    key: str
    opened: int
    rows: list[Row]


def sentiment_of(texts: pa.Table) -> Iterator[SentimentMeasured]:
    """Measure texts given in `TEXT_COLUMNS`, in any order: by hour, key and lexicon; an hour without a text has none.

    A score leans where it reaches the threshold at which the lexicon votes.
    """
    for hour in hours_of(texts):
        for each in LEXICONS:
            yield measured(each.lexicon, each.threshold, hour, [each.score(row["text"]) for row in hour.rows])


def hours_of(texts: pa.Table) -> Iterator[Hour]:
    """Sort texts into their hours and keys. Of texts with one id the one observed first counts."""
    rows = texts.select(TEXT_COLUMNS.names).to_pylist()
    once: dict[str, Row] = {}
    for row in sorted(rows, key=lambda each: (each["observed_at"], each["id"])):
        once.setdefault(row["id"], row)
    ordered = sorted(once.values(), key=lambda row: (_opened(row), row["key"], row["id"]))
    for (opened, key), found in groupby(ordered, key=lambda row: (_opened(row), row["key"])):
        yield Hour(key, opened, list(found))


def _opened(row: Row) -> int:
    return int(row["observed_at"] - row["observed_at"] % INTERVAL_NS)


def measurement_id(lexicon: str, hour: Hour) -> str:
    """Give the id of what a lexicon has measured of an hour."""
    return market_id(hour.key, f"sentiment{INTERVAL_NS // NS_PER_S}-{lexicon.lower()}", hour.opened)


def measured(lexicon: str, threshold: float, hour: Hour, scores: Sequence[float]) -> SentimentMeasured:
    """Tell the tone of an hour by the scores of its texts, in their order; a score leans where it is `threshold`."""
    told = Counter(row["source"] for row in hour.rows if row["source"])
    most = sorted(told.items(), key=lambda each: (-each[1], each[0]))[:MAX_ITEMS]
    tweets = sum(row["topic"] == "tweets" for row in hour.rows)
    end = hour.opened + INTERVAL_NS
    return SentimentMeasured(
        id=measurement_id(lexicon, hour),
        key=hour.key,
        occurred_at=end,
        observed_at=end + LATENESS_NS,
        lexicon=lexicon,
        interval_ns=INTERVAL_NS,
        tweets=tweets,
        news=len(hour.rows) - tweets,
        mean_score=steady(fsum(scores) / len(scores)),
        positive_share=steady(sum(score >= threshold for score in scores) / len(scores)),
        negative_share=steady(sum(score <= -threshold for score in scores) / len(scores)),
        sources=dict(sorted(most)),
    )
