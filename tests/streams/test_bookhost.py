"""A book on a worker: whatever the records are cut into, and wherever it is restored, it says the same."""

from __future__ import annotations

import zlib
from hashlib import sha256
from itertools import pairwise
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.portfolio import Portfolio
from schemas.base import Event
from schemas.codec import decode_own, encode
from schemas.operations import ProcessingFailed
from streams.bookhost import BookHost
from streams.wire import Position, frame_headers, pack, position_of, unpack
from tests.streams.papers import replayed

HISTORY = replayed(3, 150)
JOURNAL = [decode_own(encode(entry)) for entry in HISTORY.journal]


def said(host: BookHost, entries: list[Event]) -> list[bytes]:
    return [encode(event) for event in host.feed(entries)]


WHOLE = BookHost(HISTORY.book)
ALL = said(WHOLE, JOURNAL)
cuts = st.lists(st.integers(0, len(JOURNAL)), max_size=6).map(lambda found: [0, *sorted(found), len(JOURNAL)])


def test_the_history_is_worth_it() -> None:
    assert sum(b'"type":"OrderRequested"' in line for line in ALL) > 5


@settings(max_examples=15, deadline=None)
@given(cuts, st.booleans())
def test_no_cut_and_no_restart_changes_what_is_said(places: list[int], restart: bool) -> None:
    host, lines = BookHost(HISTORY.book), []
    for lo, hi in pairwise(places):
        lines += said(host, JOURNAL[lo:hi])
        if restart and host.seq:
            saved, host = host.saved(), BookHost(HISTORY.book)
            assert host.restores(decode_own(encode(saved)))  # type: ignore[arg-type]
    assert lines == ALL
    assert host.processed() == WHOLE.processed()
    assert host.processed().orders == sum(b'"type":"OrderRequested"' in e or b'"CancelRequested"' in e for e in ALL)


def test_its_progress_tells_other_events_apart() -> None:
    other = BookHost(msgspec.structs.replace(HISTORY.book, mark_every_min=2 * HISTORY.book.mark_every_min))
    assert said(other, JOURNAL) != ALL
    assert other.processed().id != WHOLE.processed().id
    assert (other.processed().seq, other.processed().key) == (WHOLE.seq, HISTORY.book.name)


def test_a_state_of_before_the_hash_of_outputs_is_taken_and_never_passes_for_a_newer_one() -> None:
    saved, fresh = after(60).saved(), BookHost(HISTORY.book)
    fields = msgspec.msgpack.decode(zlib.decompress(saved.state))
    del fields["outputs"]
    state = zlib.compress(msgspec.msgpack.encode(fields))
    older = msgspec.structs.replace(saved, state=state, state_sha256=sha256(state).hexdigest())
    assert fresh.restores(older)
    assert said(fresh, JOURNAL[60:]) == said_from(60)
    assert fresh.processed() != WHOLE.processed()


def test_entries_taken_before_say_nothing_and_missing_ones_are_an_error() -> None:
    host = BookHost(HISTORY.book)
    host.feed(JOURNAL[:50])
    assert host.feed(JOURNAL[20:50]) == []
    assert said(host, JOURNAL[30:]) == said_from(50)
    with pytest.raises(ValueError, match="journal entry 12 follows 10"):
        after(10).feed(JOURNAL[11:])


def after(entries: int) -> BookHost:
    host = BookHost(HISTORY.book)
    host.feed(JOURNAL[:entries])
    return host


def said_from(entries: int) -> list[bytes]:
    return ALL[len(said(BookHost(HISTORY.book), JOURNAL[:entries])) :]


def test_a_damaged_or_foreign_state_is_not_taken() -> None:
    saved, fresh = after(60).saved(), BookHost(HISTORY.book)
    assert not fresh.restores(msgspec.structs.replace(saved, state=saved.state[:-1] + b"?"))
    assert not fresh.restores(msgspec.structs.replace(saved, book="other"))
    assert fresh.seq == 0


def test_a_book_stops_at_its_failure_says_so_last_and_takes_nothing_more() -> None:
    host = after(40)
    before = host.desk.portfolio.snapshot()
    with patch.object(Portfolio, "on_clock_ticked", side_effect=ZeroDivisionError("boom")):
        failed = BookHost(HISTORY.book)
        lines = [event for entry in JOURNAL for event in failed.feed([entry])]
    assert host.desk.portfolio.snapshot() == before
    if failed.failure is None:
        pytest.fail("nothing failed")
    assert isinstance(lines[-1], ProcessingFailed)
    assert "ZeroDivisionError: boom" in lines[-1].error
    assert sum(isinstance(event, ProcessingFailed) for event in lines) == 1
    assert failed.seq < failed.failure.seq


def test_a_journal_record_reads_back() -> None:
    lines = [encode(entry) for entry in JOURNAL[:20]]
    assert unpack(pack(lines)) == lines
    assert unpack(pack([])) == []
    position = Position({"a": 7}, {"ticks": {"0": 12}})
    assert position_of(frame_headers(position, 20)) == position
