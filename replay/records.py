"""Texts, commands and verdicts of an archive as events, merged into the total order.

An id counts once: of two records with the same id, seen within a few thousand of each other, the first holds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from connectors.archive import EVENT_KINDS
from replay.ahead import ahead
from replay.files import EVERYTHING, SourceFile, tables
from replay.merge import NEIGHBOURHOOD_ROWS
from schemas.base import Event
from schemas.checks import check
from schemas.codec import decode
from schemas.errors import ArchiveError, RefusedError
from schemas.texts import NewsPublished, TweetPosted

_RANKS = {"control": 0, "verdicts": 2, "tweets": 5, "news": 6}
_TEXTS: dict[str, type[Event]] = {"tweets": TweetPosted, "news": NewsPublished}
Ranked = tuple[int, int, str, str, Event]


def read_events(
    lanes: Sequence[Sequence[SourceFile]], wanted: frozenset[str] | None, start_ns: int, end_ns: int
) -> Iterator[Event]:
    """Give the events of all lanes by (observed_at, rank, key, id): of the keys `wanted`, or of all where None.

    Raises ArchiveError at a record that cannot be true, and where a file is not sorted by time.
    """
    recent: dict[str, None] = {}
    streams = [_ranked(lane, wanted) for lane in lanes]
    for observed_at, _, _, id_, event in heapq.merge(*streams, key=lambda ranked: ranked[:4]):
        if id_ in recent or not start_ns <= observed_at < end_ns:
            continue
        recent[id_] = None
        if len(recent) > NEIGHBOURHOOD_ROWS:
            del recent[next(iter(recent))]
        yield event


def _ranked(lane: Sequence[SourceFile], wanted: frozenset[str] | None) -> Iterator[Ranked]:
    for file in ahead(lane, EVERYTHING):
        rank = _RANKS[file.kind]
        for observed_at, events in groupby(_events(file, wanted), attrgetter("observed_at")):
            ranked = [(observed_at, rank, event.key, event.id, event) for event in events]
            yield from sorted(ranked, key=lambda each: each[:4])


def _events(file: SourceFile, wanted: frozenset[str] | None) -> Iterator[Event]:
    last_at, row = file.lo, 0
    for table in tables(file):
        for record in table.to_pylist():
            row += 1
            if wanted is not None and record["key"] not in wanted:
                continue
            event = _event(file, row, record)
            if not last_at <= event.observed_at < file.hi:
                raise ArchiveError(
                    f"{file.place}: row {row:,}: observed_at {event.observed_at} lies before that of the row above it,"
                    " or outside the times of the folder; bring the source in with `quorum import`, which sorts"
                )
            last_at = event.observed_at
            yield event


def _event(file: SourceFile, row: int, record: dict[str, Any]) -> Event:
    try:
        if file.kind in EVENT_KINDS:
            return decode(record["event"])
        event = _TEXTS[file.kind](**record)
        check(event)
    except RefusedError as error:
        raise ArchiveError(f"{file.place}: row {row:,}: {error}") from None
    return event
