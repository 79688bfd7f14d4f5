"""Texts of a source as events: what each concerns, as plain text within the bounds of an event's fields.

A text is told once under each key that it concerns; one that concerns none is counted and told to nobody. Whatever a
source says is data: it is stripped and cut here, and never read as anything else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from connectors.feeds.protocol import Since, Sink, Stream
from connectors.tidy import keyed_id, tidied
from schemas.base import NS_PER_S
from schemas.fields import EARLIEST_NS, MAX_TEXT_CHARS
from schemas.texts import NewsPublished, TweetPosted

TextEvent = TweetPosted | NewsPublished
OVERLAP_NS = 3_600 * NS_PER_S
"""A text this much older than the newest of its key is taken for told where a source gives its past again, as a feed
does after a restart: sources publish late, but seldom later, and what is told twice counts once by its id."""
_REMEMBERED = 20_000
_MAX_HTML_CHARS = 10 * MAX_TEXT_CHARS
_LINK = re.compile(r"https?://\S+")
_SPACES = re.compile(r"\s+")
_TAG_NAME = re.compile(r"/?[a-zA-Z][a-zA-Z0-9]*")
_SILENT = ("script", "style", "template")
"""Elements whose content nobody reads."""


class Keys:
    """Which keys a text concerns, by whole words whatever their case. Links in a text do not count."""

    def __init__(self, keys: Mapping[str, Sequence[str]]) -> None:
        """`keys` is key to words and phrases; the blank of a phrase stands for any blanks."""
        self._patterns = {key: _pattern(words) for key, words in keys.items()}

    def of(self, *parts: str) -> list[str]:
        """Give the keys that the parts of a text concern, in the order of the settings."""
        said = _LINK.sub(" ", "\n".join(parts))
        return [key for key, pattern in self._patterns.items() if pattern.search(said)]


def any_of(words: Sequence[str]) -> str:
    """Write words and phrases as the queries of X and NewsAPI have it: any of them."""
    return " OR ".join(f'"{word}"' for word in words)


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    phrases = (r"\s+".join(map(re.escape, word.split())) for word in words)
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)


class Told:
    """The ids that a source has said lately: what it says again is passed over."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, id_: str) -> None:
        """Remember an id."""
        self._ids[id_] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]


class Teller:
    """Tells texts to a sink, each under the keys that it concerns."""

    def __init__(self, kind: type[TextEvent], keys: Mapping[str, Sequence[str]]) -> None:
        self.streams: list[Stream] = [(kind, key) for key in keys]
        self._kind, self._keys = kind, Keys(keys)
        self._newest: dict[str, int] = {}
        self._mark: dict[str, int] = {}

    def begin(self, since: Since) -> None:
        """Learn what the topics hold: the past that a source gives again ends there."""
        for (kind, key), newest in since.items():
            if kind is self._kind:
                self._newest[key] = max(self._newest.get(key, 0), newest.occurred_at)
        self.mark()

    def mark(self) -> None:
        """From here on, the past that a source gives again ends at what was told so far."""
        self._mark = dict(self._newest)

    def tell(self, sink: Sink, event: TextEvent, keys: Sequence[str] | None = None, *, again: bool = False) -> int:
        """Put the event once for each key, or for those given; return how many were put.

        `event` has no key yet, and the id of its source. `again` says that the source gives its past again: what is
        older than the newest at the mark by more than an hour is left out.
        """
        parts = (event.text,) if isinstance(event, TweetPosted) else (event.title, event.text)
        if not parts[0].strip():
            sink.skip("says nothing")
            return 0
        concerned = self._keys.of(*parts) if keys is None else keys
        if not concerned:
            sink.skip("no key")
        put, first_key = 0, dict[str, str | None]()
        for key in concerned:
            told = msgspec.structs.replace(event, key=key, id=keyed_id(event.id, key, first_key))
            if again and told.occurred_at < self._mark.get(key, 0) - OVERLAP_NS:
                sink.skip("told before")
                continue
            self._newest[key] = max(self._newest.get(key, 0), told.occurred_at)
            sink.put(told)
            put += 1
        return put


def news(sink: Sink, *, id: str, source: str, published_at: int | None, title: str, text: str, url: str) -> TextEvent:
    """Make the event of an article, without a key. It occurred when it was published, but not after we had it."""
    received = sink.now()
    return NewsPublished(
        id=tidied("id", id),
        key="",
        occurred_at=_occurred(published_at, received),
        observed_at=received,
        source=tidied("source", source).strip(),
        title=tidied("title", title),
        text=tidied("text", text),
        url=tidied("url", url),
    )


def tweet(
    sink: Sink,
    *,
    id: str,
    author: str,
    posted_at: int | None,
    text: str,
    url: str = "",
    followers: int = 0,
    retweets: int = 0,
    is_retweet: bool = False,
) -> TextEvent:
    """Make the event of a post, without a key."""
    received = sink.now()
    return TweetPosted(
        id=tidied("id", id),
        key="",
        occurred_at=_occurred(posted_at, received),
        observed_at=received,
        author=tidied("author", author).strip(),
        text=tidied("text", text),
        followers=max(0, followers),
        retweets=max(0, retweets),
        is_retweet=is_retweet or text.startswith("RT @"),
        url=tidied("url", url),
    )


def _occurred(told_ns: int | None, received: int) -> int:
    return received if told_ns is None or told_ns <= EARLIEST_NS else min(told_ns, received)


def iso_ns(text: str) -> int | None:
    """Read ISO 8601 as ns; a time that names no zone is UTC. None for what is no time."""
    try:
        at = datetime.fromisoformat(text.strip())
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000


def iso(at_ns: int) -> str:
    """Write a time in ns as the services' APIs take it: ISO 8601 to the second, UTC."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain_text(markup: str) -> str:
    """Take the text out of HTML: tags, comments, scripts and styles go, references are resolved, blanks are one.

    It is read once from end to end, so the time is linear in the length, of which 200,000 characters are read: the
    standard library's parser takes 22 s for 50 KB of `<a `.
    """
    markup = markup[:_MAX_HTML_CHARS]
    parts: list[str] = []
    at, last = 0, markup.rfind(">")
    while (start := markup.find("<", at)) >= 0:
        parts.append(markup[at:start])
        at = _after_tag(markup, start) if start < last else start + 1
        parts.append(" " if at > start + 1 else "<")
    parts.append(markup[at:])
    return _SPACES.sub(" ", html.unescape("".join(parts))).strip()


def _after_tag(markup: str, start: int) -> int:
    """Give where the tag at `start` ends, with what nobody reads of its element; just behind the `<` if it is none."""
    if markup.startswith("<!--", start):
        return _behind(markup, "-->", start + 4)
    name = _TAG_NAME.match(markup, start + 1)
    if not name and markup[start + 1 : start + 2] not in ("!", "?"):
        return start + 1
    end = _behind(markup, ">", start + 1)
    if name and name[0].lower() in _SILENT:
        close = re.compile(rf"</{name[0]}\b", re.IGNORECASE).search(markup, end)
        return _behind(markup, ">", close.start()) if close else len(markup)
    return end


def _behind(markup: str, mark: str, start: int) -> int:
    found = markup.find(mark, start)
    return found + len(mark) if found >= 0 else len(markup)
