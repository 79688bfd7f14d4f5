"""A book's desk, fed with journal entries: runs of market events as frames, everything else one at a time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from hashlib import blake2b, sha256

import msgspec

from agents.frame import Frame
from agents.pipeline import MARKET_EVENTS, Desk
from schemas.base import Event, derived_id
from schemas.book import Book
from schemas.errors import StoppedError
from schemas.operations import JournalProcessed, ProcessingFailed, StateSaved
from schemas.topics import TOPIC_OF
from streams.progress import processed
from streams.wire import ORDERS, REQUESTS

COMPRESSION = 1
"""zlib's fastest: a snapshot is mostly ids."""


class HostState(msgspec.Struct, frozen=True):
    """What a snapshot holds."""

    desk: bytes
    orders: int
    requests: int
    outputs: bytes = b""


class BookHost:
    """One book on this worker. It stops at the first failure and then takes nothing more."""

    def __init__(self, book: Book) -> None:
        """Begin at the start of the journal."""
        self.book = book
        self.desk = Desk(book)
        self.seq = 0
        """The last entry that the state reflects."""
        self.now = 0
        self.orders = 0
        """Orders and cancels asked for so far."""
        self.requests = 0
        """Questions asked so far."""
        self.outputs = b""
        """Hash over the ids of all that was given so far, chained event by event."""
        self.failure: ProcessingFailed | None = None

    def feed(self, entries: Sequence[Event]) -> list[Event]:
        """Take entries in order, those taken before left out, and give all that follows from them.

        A failure is the last thing given: the state stays before the entry that caused it. Raises ValueError where
        entries are missing.
        """
        fresh = [entry for entry in entries if entry.seq > self.seq]
        if not fresh or self.failure is not None:
            return []
        if fresh[0].seq != self.seq + 1:
            raise ValueError(f"book {self.book.name}: journal entry {fresh[0].seq} follows {self.seq}")
        said: list[Event] = []
        try:
            self._feed(fresh, said)
        except StoppedError as error:
            self.failure = _failure(self.book, error, fresh[-1].observed_at)
            said.append(self.failure)
        topics = [TOPIC_OF[type(event)] for event in said]
        self.orders += topics.count(ORDERS)
        self.requests += topics.count(REQUESTS)
        for event in said:
            self.outputs = blake2b(self.outputs + event.id.encode(), digest_size=16).digest()
        return said

    def _feed(self, entries: Sequence[Event], said: list[Event]) -> None:
        lo = 0
        while lo < len(entries):
            hi = lo
            while hi < len(entries) and type(entries[hi]) in MARKET_EVENTS:
                hi += 1
            if hi > lo:
                frame = Frame.of_events(entries[lo:hi], self.desk.features.instruments)
                said.extend(self.desk.take(frame, entries[lo].seq))
            else:
                said.extend(self.desk.apply(entries[lo]))
                hi = lo + 1
            self.seq, self.now = entries[hi - 1].seq, entries[hi - 1].observed_at
            lo = hi

    def saved(self) -> StateSaved:
        """Give the state, compressed, with the position that it reflects."""
        state = zlib.compress(
            msgspec.msgpack.encode(HostState(self.desk.snapshot(), self.orders, self.requests, self.outputs)),
            COMPRESSION,
        )
        return StateSaved(
            id=derived_id(self.book.name, "desk-state", self.seq),
            key=self.book.name,
            occurred_at=self.now,
            observed_at=self.now,
            book=self.book.name,
            seq=self.seq,
            state=state,
            state_sha256=sha256(state).hexdigest(),
        )

    def restores(self, saved: StateSaved) -> bool:
        """Go on from a state; False, and nothing is changed, where its bytes are not what was saved."""
        if saved.book != self.book.name or sha256(saved.state).hexdigest() != saved.state_sha256:
            return False
        state = msgspec.msgpack.decode(zlib.decompress(saved.state), type=HostState)
        self.desk.restore(state.desk)
        self.orders, self.requests, self.outputs = state.orders, state.requests, state.outputs
        self.seq, self.now = saved.seq, saved.observed_at
        return True

    def processed(self) -> JournalProcessed:
        """Tell how far this book has come, and when it wants to see the clock.

        Equal ones tell of the same events: the hash over the ids of all that was given is in the id.
        """
        return processed(
            derived_id(f"{self.book.name}/{self.outputs.hex()}", "desk", self.seq),
            self.book.name,
            self.seq,
            self.now,
            due=self.desk.due,
            orders=self.orders,
            requests=self.requests,
        )


def _failure(book: Book, error: StoppedError, now: int) -> ProcessingFailed:
    return ProcessingFailed(
        id=derived_id(error.event, f"{book.name}/{error.agent}", 0),
        key=book.name,
        occurred_at=now,
        observed_at=now,
        book=book.name,
        seq=error.seq,
        cause=error.event,
        agent=error.agent,
        error=error.reason,
    )
