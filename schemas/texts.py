"""Text from outside. It is data, never instruction, wherever it goes."""

from __future__ import annotations

from schemas.base import Event
from schemas.fields import Count, Note, Text


class TweetPosted(Event, frozen=True, kw_only=True):
    """A post on X or a like service."""

    author: str
    text: Text
    followers: Count = 0
    retweets: Count = 0
    is_retweet: bool = False
    url: Note = ""


class NewsPublished(Event, frozen=True, kw_only=True):
    """An article or headline."""

    source: str
    title: Note
    text: Text = ""
    url: Note = ""
