"""What X's API v2 says, as typed records: of each answer, the fields that the feed reads.

The shapes are those of https://docs.x.com/x-api/posts: filtered stream, its rules, and recent search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from schemas.base import NS_PER_MS

Decode = Callable[[bytes], Any]
_EPOCH_MS = 1_288_834_974_657
"""When X's ids begin: an id is the ms since then, and 22 bits of machine and sequence."""
_MACHINE_BITS = 22
_MOST_DIGITS = 19


class Metrics(Struct, frozen=True):
    """How far a post or its author reaches."""

    retweet_count: int = 0
    followers_count: int = 0


class Reference(Struct, frozen=True):
    """Another post that this one repeats, quotes or answers."""

    type: str = ""


class Note(Struct, frozen=True):
    """A long post's whole text."""

    text: str = ""


class Tweet(Struct, frozen=True):
    """A post."""

    id: str
    text: str
    created_at: str = ""
    author_id: str = ""
    public_metrics: Metrics = Metrics()
    referenced_tweets: tuple[Reference, ...] = ()
    note_tweet: Note = Note()


class User(Struct, frozen=True):
    """Who posted."""

    id: str
    username: str = ""
    public_metrics: Metrics = Metrics()


class Includes(Struct, frozen=True):
    """What posts refer to."""

    users: tuple[User, ...] = ()


class Problem(Struct, frozen=True):
    """An error, as X describes it."""

    title: str = ""
    detail: str = ""
    value: str = ""

    @property
    def said(self) -> str:
        """What it says, in one line."""
        return ": ".join(part for part in (self.title, self.detail or self.value) if part)


class Message(Problem, frozen=True):
    """A line of the stream: a post, or why the stream ends."""

    data: Tweet | None = None
    includes: Includes = Includes()
    errors: tuple[Problem, ...] = ()


class Rule(Struct, frozen=True):
    """A rule of the filtered stream. It belongs to the account's app, not to a connection."""

    id: str
    value: str
    tag: str = ""


class Rules(Struct, frozen=True):
    """The rules that there are."""

    data: tuple[Rule, ...] = ()


class RulesChanged(Struct, frozen=True):
    """What became of an addition or a removal."""

    errors: tuple[Problem, ...] = ()


class Meta(Struct, frozen=True):
    """Where a search goes on."""

    next_token: str = ""


class Page(Struct, frozen=True):
    """One page of a search, the newest post first."""

    data: tuple[Tweet, ...] = ()
    includes: Includes = Includes()
    meta: Meta = Meta()


message: Decode = Decoder(Message).decode
problem: Decode = Decoder(Problem).decode
rules: Decode = Decoder(Rules).decode
rules_changed: Decode = Decoder(RulesChanged).decode
page: Decode = Decoder(Page).decode


def is_id(text: str) -> bool:
    """Tell whether a text can be the id of a post."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def id_at(at_ns: int) -> int:
    """Give the least id that a post of this time can have."""
    return max(at_ns // NS_PER_MS - _EPOCH_MS, 0) << _MACHINE_BITS


def at_id(id_: int) -> int:
    """Give when the post of an id was made, ns, to the ms."""
    return ((id_ >> _MACHINE_BITS) + _EPOCH_MS) * NS_PER_MS
