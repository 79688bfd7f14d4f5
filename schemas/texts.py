"""Text from outside. It is data, never instruction, wherever it goes."""

from __future__ import annotations

from typing import Annotated

from schemas.base import Event
from schemas.fields import FEW, Count, Label, Name, Note, PositiveInt, Score, Share, Text


class TweetPosted(Event, frozen=True, kw_only=True):
    """A post on X or a like service."""

    author: Label
    text: Text
    followers: Count = 0
    retweets: Count = 0
    is_retweet: bool = False
    url: Note = ""


class NewsPublished(Event, frozen=True, kw_only=True):
    """An article or headline."""

    source: Label
    title: Note
    text: Text = ""
    url: Note = ""


class SentimentMeasured(Event, frozen=True, kw_only=True):
    """The tone of an interval's texts on a key by one lexicon. `occurred_at` is the end of the interval."""

    lexicon: Name
    """VADER, TextBlob, `finance`, our own, or `Comprehend` of Amazon, where a worker was told to pay for it."""
    interval_ns: PositiveInt
    tweets: Count
    """Posts that were read."""
    news: Count
    """Articles and headlines that were read."""
    mean_score: Score
    """Each text counts alike."""
    positive_share: Share
    """Of texts whose score reaches the lexicon's threshold."""
    negative_share: Share
    """Of texts whose score reaches it on the other side of zero."""
    sources: Annotated[dict[Name, Count], FEW]
    """Author or publisher to the number of its texts, of at most 100 that told most."""
