"""The pass over a span, as a replay's host uses it: with a venue, a time to stop at, and ticks that only mark."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import NEVER
from agents.features import PRICE
from agents.frame import Frame
from agents.layout import UNBOUNDED, Watch
from agents.money import exact
from agents.pipeline import Desk
from agents.scan import MAX_NOTES, first_touch
from schemas.accounting import EquityMarked
from schemas.base import Event, market_id
from schemas.book import Book
from schemas.codec import decode, encode
from schemas.control import ClockTicked
from schemas.execution import OrderRequested
from schemas.verdicts import VerdictRequested
from tests.agents.answers import accepted, filled, verdict
from tests.agents.builders import bar, make_book
from tests.agents.markets import Market, frame_of, markets
from tests.agents.scene import all_of
from tests.agents.test_pipeline import Script, scripts

Journal = list[tuple[int, bytes]]
"""What was journaled or said, each with its place in the journal."""


class Host:
    """Feeds one frame to a desk, and journals what the clock, the models and the venue answer at once."""

    def __init__(self, book: Book, frame: Frame) -> None:
        self.desk, self.frame = Desk(book), frame
        self.journal: Journal = []
        self.seq = 0
        self.apply(self.clock(int(self.frame.observed_at[0])))

    def clock(self, now: int, seq: int = 0) -> ClockTicked:
        name = self.desk.book.name
        clock = market_id(name, "clock", now)
        return ClockTicked(id=clock, key=name, book=name, seq=seq, occurred_at=now, observed_at=now)

    def apply(self, event: Event) -> None:
        self.seq += 1
        entry = msgspec.structs.replace(event, book=self.desk.book.name, seq=self.seq)
        self.hear([entry, *self.desk.apply(entry)])

    def speak(self, row: int) -> None:
        self.seq += 1
        self.hear(self.desk.speak(self.frame, row, self.seq))

    def hear(self, events: list[Event]) -> None:
        """Keep what was said; answer questions and fill orders for now."""
        self.journal += [(self.seq, encode(event)) for event in events]
        for request in all_of(VerdictRequested, events):
            self.apply(verdict(request, ("BUY", "SELL", "HOLD")[request.seq % 3]))
        for order in all_of(OrderRequested, events):
            price = self.desk.features.state.rows[self.desk.features.index_of[order.instrument], PRICE]
            self.apply(filled(order, str(exact(float(price)))) if order.order_type == "market" else accepted(order))

    def take_marks(self, lo: int, stop: int) -> None:
        """Journal what a scan of rows [lo, stop) noted."""
        marks = self.desk.notes
        entries = [self.clock(tick.at, self.seq + tick.row - lo + i) for i, tick in enumerate(marks.ticks, 1)]
        for entry, mark in zip(entries, self.desk.mark(entries, marks.prices.tolist()) if entries else (), strict=True):
            self.journal += [(entry.seq, encode(entry)), (entry.seq, encode(mark))]
        self.seq += stop - lo + len(entries)


def visited(book: Book, frame: Frame) -> Host:
    """Stop at every tick, and speak to every row."""
    host = Host(book, frame)
    for row, now in enumerate(frame.observed_at.tolist()):
        while host.desk.due < now:
            host.apply(host.clock(host.desk.due))
        host.speak(row)
    return host


def noted(book: Book, frame: Frame, random: Random) -> Host:
    """Stop at the ticks that do more than mark; the others are noted by scans over random spans."""
    host = Host(book, frame)
    desk, times = host.desk, frame.observed_at
    lo, n = 0, len(frame)
    while lo < n:
        if desk.loud_due < times[lo]:
            host.apply(host.clock(desk.due))
            continue
        hi = min(n, lo + random.choice([1, 5, 50, 1000]))
        until = desk.loud_due + 1 if desk.loud_due < NEVER else NEVER
        stop = desk.scan_and_note(frame, lo, hi, until, no_venue(book))
        host.take_marks(lo, stop)
        if stop < hi and times[stop] < until and len(desk.notes.ticks) < MAX_NOTES:
            host.speak(stop)
            stop += 1
        lo = stop
    return host


def no_venue(book: Book) -> Watch:
    count = len(book.instruments)
    return Watch(np.full(count, NEVER), np.full((count, 4), UNBOUNDED))


@settings(max_examples=60)
@given(scripts(), st.integers(0, 2**32 - 1))
def test_marks_that_a_scan_notes_are_those_of_ticks_that_are_visited(script: Script, seed: int) -> None:
    one = visited(script.book, script.market.frame())
    other = noted(script.book, script.market.frame(), Random(seed))
    assert one.journal == other.journal
    assert one.desk.snapshot() == other.desk.snapshot()
    assert (one.desk.due, one.desk.loud_due, one.seq) == (other.desk.due, other.desk.loud_due, other.seq)


@settings(max_examples=40)
@given(scripts())
def test_a_tick_before_any_agent_is_due_marks_the_book_or_begins_a_day_and_does_no_more(script: Script) -> None:
    """So an agent that listens to the clock must say in `due` when a tick would do anything to it."""
    host = Host(script.book, script.market.frame())
    desk = host.desk
    for row, now in enumerate(host.frame.observed_at.tolist()):
        while desk.due < now:
            loud, due, day = desk.loud_due, desk.due, desk.breakers.day_at
            before = {agent.name: agent.snapshot() for agent in desk.agents}
            said = len(host.journal)
            host.apply(host.clock(due))
            if due < loud:
                answers = [decode(line) for _, line in host.journal[said + 1 :]]
                assert [type(answer) for answer in answers] == [EquityMarked]
                changed = [agent.name for agent in desk.agents if agent.snapshot() != before[agent.name]]
                assert changed == (["breakers", "portfolio"] if due == day else ["portfolio"])
        host.speak(row)


def test_more_marks_than_a_scan_can_note_are_noted_by_the_next() -> None:
    """Ten days without a row, at a mark a minute."""
    book = make_book(models=0, mark_every_min=1)
    instruments = tuple(instrument.id for instrument in book.instruments)
    frame = frame_of([bar(1, 100.0), bar(2, 101.0), bar(2 + 10 * 1440, 102.0)], instruments)
    one, other = visited(book, frame), noted(book, frame, Random(1))
    assert len(one.journal) > 2 * 10 * 1440 > 8 * MAX_NOTES
    assert one.journal == other.journal


@st.composite
def watches(draw: st.DrawFn, frame: Frame) -> Watch:
    """What a venue might wait for on a market."""
    count = len(frame.instruments)
    times = [NEVER, *(int(t) for t in frame.occurred_at[:: max(1, len(frame) // 3)])]
    prices = sorted(set(frame.values[:, :4].ravel().tolist()))
    level = st.sampled_from(prices)
    bounds = [
        [draw(st.one_of(st.just(free), level)) if draw(st.booleans()) else free for free in UNBOUNDED]
        for _ in range(count)
    ]
    return Watch(np.array([draw(st.sampled_from(times)) for _ in range(count)], np.int64), np.array(bounds))


@settings(max_examples=100)
@given(st.data(), markets(max_rows=80))
def test_a_scan_ends_where_the_venue_or_the_time_ends_it(data: st.DataObject, market: Market) -> None:
    """Where nobody speaks, before the first row that either wants, and everything up to it is taken."""
    frame, book = market.frame(), market.book(strategy={"fast_brain": "none"}, mark_every_min=60)
    watch = data.draw(watches(frame))
    until = data.draw(st.sampled_from([NEVER, *frame.observed_at.tolist()]))
    lo = data.draw(st.integers(0, len(frame)))
    desk, rows = Desk(book), Desk(book)
    columns = frame.kind, frame.instrument, frame.occurred_at, frame.values
    touched = first_touch(*columns, *watch, lo, len(frame))
    stop = desk.scan_and_note(frame, lo, len(frame), until, watch)
    assert stop == min(touched, max(lo, int(np.searchsorted(frame.observed_at, until))))
    for row in range(lo, stop):
        assert rows.speak(frame, row, row) == []
    assert desk.snapshot() == rows.snapshot()
