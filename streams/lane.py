"""One partition on its way into the lake: what is held of it, and the segments that are cut from that.

Where it goes on is the end of the lake's own chain. A segment that a predecessor has planned is made as it was planned.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from connectors.lake.manifests import Chain, Manifest
from connectors.lake.records import Kept
from connectors.store import Store
from schemas.errors import StoreError

SEGMENT_ROWS = 131_072
SEGMENT_BYTES = 32 << 20
"""Of values."""
RECORD_BYTES = 450
"""What a record of a tick takes in memory beside its value."""


class Position(NamedTuple):
    """Where a partition's archive goes on."""

    chain: Chain
    first: int
    """Offset of the next segment's beginning."""


Done = Position | Manifest | int
"""What a job gives: where to go on, a segment, or where the segment that a predecessor has planned ends."""


class Lane:
    """One partition and what is held of it. The archiver's own thread alone changes it."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.position: Position | None = None
        """None while it is looked up."""
        self.records: list[Kept] = []
        """From the position on, in offset order."""
        self.held_bytes = 0
        self.since = 0.0
        """Monotonic time at which the oldest of them came, or a little before."""
        self.oldest_ms: int | None = None
        """When the oldest record that is known and not archived was written; kept while it is read again."""
        self.planned = 0
        """Where the segment under way ends, if a predecessor has begun it; else 0."""
        self.end = 0
        """How far the partition reached when it was last read to its end."""
        self.job: Future[Done] | None = None
        self.retry_at = 0.0
        self.in_trouble = False

    @property
    def name(self) -> str:
        """Name it in the log and on the health page."""
        return f"archiver-{self.topic}-{self.partition}"

    @property
    def reached(self) -> int:
        """Give the offset behind the last record held."""
        return self.records[-1].offset + 1 if self.records else 0

    def take(self, records: Sequence[Kept], now: float) -> int:
        """Hold the next records; give what they take in memory."""
        if not records:
            return 0
        if not self.records:
            self.since = now
            if self.oldest_ms is None:
                self.oldest_ms = records[0].timestamp_ms
        self.records += records
        size = _size(records)
        self.held_bytes += size
        return size

    def drop(self, count: int) -> int:
        """Hold the first `count` records no longer; give what they took."""
        gone = self.records[:count]
        del self.records[:count]
        freed = _size(gone)
        self.held_bytes -= freed
        return freed

    def before(self, offset: int) -> int:
        """Count the records held that lie before an offset."""
        return _before(self.records, offset)

    def is_due(self, now: float, every_s: float) -> bool:
        """Tell whether there is a segment to be made of what is held."""
        if self.job is not None or self.position is None:
            return False
        if self.planned:
            return max(self.reached, self.end) >= self.planned
        if not self.records:
            return False
        values_bytes = self.held_bytes - RECORD_BYTES * len(self.records)
        return len(self.records) >= SEGMENT_ROWS or values_bytes >= SEGMENT_BYTES or now - self.since >= every_s

    def segment(self) -> tuple[int, list[Kept]]:
        """Give the next segment: the offset behind it, and its records."""
        if self.planned:
            return self.planned, self.records[: self.before(self.planned)]
        most = self.records[:SEGMENT_ROWS]
        filled = list(accumulate(len(record.value or b"") for record in most))
        found = most[: bisect_left(filled, SEGMENT_BYTES) + 1]
        return found[-1].offset + 1, found


def locate(store: Store, topic: str, partition: int, bounds: Mapping[tuple[str, int], tuple[int, int]]) -> Position:
    """Find where a partition's archive goes on.

    Raises StoreError where Kafka no longer keeps that place, or does not reach it: what is archived next would not
    join what is there.
    """
    chain = Chain(store, topic, partition)
    first = chain.next()
    low, high = bounds[topic, partition]
    if first is None:
        return Position(chain, low)
    place = f"{topic}/{partition}: the lake at {store.where} ends before offset {first:,}, and Kafka"
    if low > first:
        raise StoreError(
            f"{place} keeps none before {low:,}: records of offsets {first:,} to {low - 1:,} are lost to the lake; "
            "nothing more is archived of this partition here: begin a new lake at another place"
        )
    if high < first:
        raise StoreError(
            f"{place} ends before {high:,}: the topic was made anew or cut; restore it (`quorum restore`), or begin a "
            "new lake at another place"
        )
    return Position(chain, first)


def archive(position: Position, end: int, records: Sequence[Kept]) -> Manifest | int:
    """Put the segment that ends before `end` into the lake, or the shorter one that a predecessor has planned.

    Gives the manifest, or where the planned segment ends if that is beyond `end`: then more records are needed.
    Raises StoreError.
    """
    planned = position.chain.plan(position.first, end)
    if planned > end:
        return planned
    return position.chain.commit(position.first, planned, records[: _before(records, planned)])


def _before(records: Sequence[Kept], offset: int) -> int:
    """Count the records before an offset."""
    return bisect_left(records, offset, key=attrgetter("offset"))


def _size(records: Sequence[Kept]) -> int:
    return RECORD_BYTES * len(records) + sum([len(record.value or b"") for record in records])
