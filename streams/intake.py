"""What may enter the journal: every record of an input topic is taken for the books that it concerns, or refused.

A refused record is not lost: its bytes, its place and the reason go to the dead letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from schemas.base import NS_PER_MS, NS_PER_S, Event, derived_id
from schemas.book import Book
from schemas.checks import MAX_CLOCK_SKEW_NS
from schemas.codec import decode
from schemas.errors import RefusedError
from schemas.operations import RecordRefused
from schemas.topics import TOPIC_OF

REMEMBERED_IDS = 100_000
"""So many events back, at least, a repeated one is known."""
STALE_NS = 900 * NS_PER_S
"""An event observed so long before its record was written says nothing of the present."""
MAX_PAYLOAD_BYTES = 500_000
"""Of a refused record's bytes that its dead letter keeps."""
TIMELESS = frozenset({"fills"})
"""What was traded was traded, however late the word of it comes."""
_MARKET = frozenset({"ticks", "bars"})
_TEXTS = frozenset({"tweets", "news"})
_OF_AN_INSTRUMENT = frozenset({"verdicts", "fills"})


class Record(msgspec.Struct, frozen=True):
    """A record of an input topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """When it was written."""
    value: bytes | None

    @property
    def place(self) -> str:
        """Name where it stands."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Intake:
    """Sorts records. It remembers the ids that it has taken, so that what is sent twice counts once."""

    def __init__(self, books: Sequence[Book], everyone: Sequence[Book], stale_ns: int = STALE_NS) -> None:
        """`books` are those to take records for, among `everyone` that is known."""
        self._mine = frozenset(book.name for book in books)
        self._by_instrument: dict[str, list[str]] = {}
        self._by_text: dict[str, list[str]] = {}
        self._all_texts = [book.name for book in everyone if not book.text.keys]
        self._traded = {book.name: frozenset(each.id for each in book.instruments) for book in everyone}
        self._stale_ns = stale_ns
        self._ids: set[str] = set()
        self._older_ids: set[str] = set()
        for book in everyone:
            for instrument in book.instruments:
                self._by_instrument.setdefault(instrument.id, []).append(book.name)
            for key in book.text.keys:
                self._by_text.setdefault(key, []).append(book.name)

    def remember(self, ids: Iterable[str]) -> None:
        """Take ids as seen."""
        self._ids.update(ids)
        if len(self._ids) >= REMEMBERED_IDS:
            self._forget_older()

    def _forget_older(self) -> None:
        self._older_ids, self._ids = self._ids, set()

    def take(self, record: Record, now: int) -> tuple[Event, list[str]] | RecordRefused:
        """Give the event and the names of our books that it concerns, none perhaps; or the refusal."""
        try:
            event = self._event(record, now)
            books = self._readers(record.topic, event)
        except RefusedError as error:
            return refusal(record, error.event_id or record.topic, str(error), now)
        self._ids.add(event.id)
        if len(self._ids) >= REMEMBERED_IDS:
            self._forget_older()
        return event, [name for name in books if name in self._mine]

    def _event(self, record: Record, now: int) -> Event:
        if record.value is None:
            raise RefusedError("record", "", "is empty")
        event = decode(record.value)
        kind = type(event).__name__
        if TOPIC_OF[type(event)] != record.topic:
            raise RefusedError(kind, "type", f"belongs on topic {TOPIC_OF[type(event)]}", event.id)
        if event.observed_at > now + MAX_CLOCK_SKEW_NS:
            raise RefusedError(kind, "observed_at", "lies in the future", event.id)
        is_old = record.timestamp_ms * NS_PER_MS - event.observed_at > self._stale_ns
        if is_old and record.topic not in TIMELESS:
            age_s = record.timestamp_ms / 1e3 - event.observed_at / NS_PER_S
            raise RefusedError(kind, "observed_at", f"is stale: written {age_s:,.0f} s after it was observed", event.id)
        if event.id in self._ids or event.id in self._older_ids:
            raise RefusedError(kind, "id", "is a duplicate of an event taken before", event.id)
        return event

    def _readers(self, topic: str, event: Event) -> list[str]:
        kind = type(event).__name__
        if topic in _MARKET:
            readers = self._by_instrument.get(event.key)
            if readers is None:
                raise RefusedError(kind, "key", f"no book trades {event.key}", event.id)
            return readers
        if topic in _TEXTS:
            readers = self._all_texts + self._by_text.get(event.key, [])
            if not readers:
                raise RefusedError(kind, "key", f"no book reads texts on {event.key}", event.id)
            return readers
        name = event.book or event.key
        traded = self._traded.get(name)
        if traded is None:
            raise RefusedError(kind, "book", f"there is no book {name}", event.id)
        if topic in _OF_AN_INSTRUMENT and event.key not in traded:
            raise RefusedError(kind, "key", f"no book trades {event.key} as {name}", event.id)
        return [name]


def refusal(record: Record, key: str, reason: str, now: int) -> RecordRefused:
    """Make the dead letter of a record; the same record and reason always make the same one but for its time."""
    return RecordRefused(
        id=derived_id(record.place, reason, 0),
        key=key[:100] or record.topic,
        occurred_at=now,
        observed_at=now,
        payload=(record.value or b"")[:MAX_PAYLOAD_BYTES],
        position=record.place,
        reason=reason[:500],
    )
