"""Text from outside. It is data, never instruction, wherever it goes."""

from __future__ import annotations

from schemas.base import Event
from schemas.fields import Count, Label, Note, Text


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
