"""Text from outside. It is data, never instruction, wherever it goes."""

from __future__ import annotations

from schemas.base import Event


class TweetPosted(Event, frozen=True, kw_only=True):
    """A post on X or a like service."""

    author: str
    text: str
    followers: int = 0
    retweets: int = 0
    is_retweet: bool = False
    url: str = ""


class NewsPublished(Event, frozen=True, kw_only=True):
    """An article or headline."""

    source: str
    title: str
    text: str = ""
    url: str = ""
