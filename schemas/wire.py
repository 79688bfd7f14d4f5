"""What an event says of itself beside its bytes, wherever it is a record: the key, and the envelope as headers."""

from __future__ import annotations

from schemas.base import Event
from schemas.topics import TOPIC_OF, TOPICS

Headers = list[tuple[str, str | bytes | None]]
KEYED_BY_BOOK = frozenset(topic.name for topic in TOPICS if topic.key == "book" and not topic.compacted)
"""Topics whose records have the book as their key. Compacted ones keep the newest of each part of a book instead."""


def key_of(event: Event) -> bytes:
    """Give a record's key."""
    return (event.book if TOPIC_OF[type(event)] in KEYED_BY_BOOK and event.book else event.key).encode()


def headers_of(event: Event) -> Headers:
    """Give the envelope once more, so that a consumer can route without parsing."""
    headers: Headers = [
        ("type", type(event).__name__.encode()),
        ("id", event.id.encode()),
        ("observed_at", b"%d" % event.observed_at),
    ]
    if event.book:
        headers += [("book", event.book.encode()), ("seq", b"%d" % event.seq)]
    if event.cause:
        headers.append(("cause", event.cause.encode()))
    return headers
