"""The paper account: the fills of a replay, whatever the order of arrival, the repetitions and the crashes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import NEVER
from schemas.base import Event
from schemas.codec import decode_own, encode
from schemas.errors import KafkaError
from schemas.operations import StateSaved
from streams import paper
from streams.paper import Offsets, Order, PaperBook
from tests.replay.test_exchange_properties import Case, cases
from tests.streams.papers import History, driven, kinds, replayed


class Topics:
    """The three topics as Kafka might hold them, and a loop that reads them as the executor does."""

    def __init__(self, history: History, rng: Random) -> None:
        self.history, self.rng = history, rng
        self.journal = _framed(history.journal, rng)
        self.orders = _repeated(history.orders, rng)
        self.progress = _repeated(_some(history.progress, rng), rng)
        self.fills: list[Event] = []
        self.states: list[StateSaved] = []
        self.start()

    def start(self) -> None:
        """Begin as a new process does."""
        self.book = PaperBook(self.history.book)
        if self.states:
            assert self.book.restores(decode_own(encode(self.states[-1])))  # type: ignore[arg-type]
        offsets = self.book.offsets
        self.book.forget({fill.id for fill in self.fills[offsets.fills :]})
        self.read = {"journal": offsets.journal, "orders": offsets.orders, "progress": offsets.progress}

    def turn(self, *, faults: bool) -> None:
        """Read a few records of each topic, fold, and produce what is due by a time drawn at random."""
        for topic in self.rng.sample(sorted(self.read), 3):
            for _ in range(self.rng.choice([0, 1, 1, 3, 40])):
                self._take(topic)
        self.book.advance()
        due = self.book.due
        if due != NEVER and self.rng.random() < 0.7:
            self.fills += self.book.release(due + self.rng.randrange(10**9))
        if self.book.starved:
            self.read["journal"], self.book.reread_from = self.book.reread_from or 0, None
        if faults and self.rng.random() < 0.1 and self.book.seq:
            self.states.append(self.book.saved(Offsets(**self.read, fills=len(self.fills))))
        if faults and self.rng.random() < 0.08:
            self.start()

    def _take(self, topic: str) -> None:
        offset, records = self.read[topic], getattr(self, topic)
        if offset == len(records):
            return
        self.read[topic] += 1
        if topic == "journal":
            for entry in records[offset]:
                self.book.entry(offset, entry)
        elif topic == "orders":
            self.book.order(offset, records[offset])
        else:
            self.book.progress(records[offset])

    def run(self, *, faults: bool = False) -> list[Event]:
        """Run to the end; give the fills as they were produced."""
        while self.book.seq < self.history.journal[-1].seq:
            self.turn(faults=faults)
        self.fills += self.book.release(NEVER - 1)
        return self.fills


def _framed(entries: Sequence[Event], rng: Random) -> list[list[Event]]:
    frames: list[list[Event]] = []
    lo = 0
    while lo < len(entries):
        hi = lo + rng.choice([1, 2, 7, 60])
        frames.append(list(entries[lo:hi]))
        lo = hi
    return frames


def _repeated(events: Sequence[Event], rng: Random) -> list[Event]:
    """Send events as a desk does that crashes now and then: from an earlier one on once more."""
    sent: list[Event] = []
    at = 0
    while at < len(events):
        sent.append(events[at])
        at = max(0, at - rng.randrange(8)) if rng.random() < 0.03 else at + 1
    return sent


def _some(progress: Sequence[Event], rng: Random) -> list[Event]:
    """A desk speaks after every journal record, not after every entry; and a compacted topic forgets."""
    return [event for event in progress[:-1] if rng.random() < 0.3] + [progress[-1]]


def folded(history: History) -> list[Event]:
    """Give the answers in the order of their time, as one pass over everything gives them."""
    book = PaperBook(history.book)
    for offset, entry in enumerate(history.journal):
        book.entry(offset, entry)
    for offset, order in enumerate(history.orders):
        book.order(offset, order)
    book.progress(history.progress[-1])
    book.advance()
    assert book.seq == history.journal[-1].seq
    return book.release(NEVER - 1)


def in_time(answers: Sequence[Event]) -> list[Event]:
    return sorted(answers, key=lambda answer: answer.observed_at)


@pytest.fixture(scope="module", params=[1, 5])
def history(request: pytest.FixtureRequest) -> History:
    return replayed(request.param)


def test_the_fills_of_a_replay(history: History) -> None:
    assert {"OrderRequested", "CancelRequested", "OrderAccepted", "OrderFilled", "OrderCanceled"} <= kinds(history)
    assert folded(history) == in_time(history.answers)


@given(cases)
def test_the_fills_of_any_orders_on_any_rows(case: Case) -> None:
    history = driven(case)
    assert folded(history) == in_time(history.answers)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_however_records_arrive_and_repeat_the_fills_are_the_same(history: History, seed: int) -> None:
    fills = Topics(history, Random(seed)).run()
    assert len(fills) == len(history.answers)
    assert in_time(sorted(fills, key=_id)) == in_time(sorted(history.answers, key=_id))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_no_crash_loses_or_doubles_a_fill(history: History, seed: int) -> None:
    fills = Topics(history, Random(seed)).run(faults=True)
    assert sorted(map(encode, fills)) == sorted(map(encode, history.answers))


@given(cases, st.integers(0, 2**32))
def test_no_crash_on_any_market_loses_or_doubles_a_fill(case: Case, seed: int) -> None:
    history = driven(case)
    fills = Topics(history, Random(seed)).run(faults=True)
    assert sorted(map(encode, fills)) == sorted(map(encode, history.answers))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_a_desk_far_behind_costs_no_memory_and_no_fill(history: History, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "MAX_WAITING", 20)
        topics = Topics(history, Random(seed))
        most = 0
        while topics.book.seq < history.journal[-1].seq:
            topics.turn(faults=True)
            most = max(most, len(topics.book._entries))
    topics.fills += topics.book.release(NEVER - 1)
    assert most == 20
    assert sorted(map(encode, topics.fills)) == sorted(map(encode, history.answers))


def _id(event: Event) -> str:
    return event.id


# Word by word


def test_an_entry_waits_for_the_desk_and_for_every_order_of_its_past(history: History) -> None:
    book, first = PaperBook(history.book), history.orders[0]
    for offset, entry in enumerate(history.journal[: first.seq + 2]):
        book.entry(offset, entry)
    book.advance()
    assert book.seq == 0
    book.progress(history.progress[first.seq - 2])
    book.advance()
    assert book.seq == first.seq - 1
    book.progress(history.progress[first.seq])
    book.advance()
    assert book.seq == first.seq - 1, "the desk speaks of an order that is not here"
    for order in history.orders:
        book.order(0, order)
    book.advance()
    assert book.seq == first.seq + 1
    assert [answer.cause for answer in book.release(NEVER - 1)][:1] == [first.id]


def test_an_answer_is_given_once_and_not_before_its_time(history: History) -> None:
    book = PaperBook(history.book)
    first = history.answers[0]
    for offset, entry in enumerate(history.journal[:200]):
        book.entry(offset, entry)
    for order in history.orders:
        book.order(0, order)
    book.progress(history.progress[199])
    book.advance()
    assert book.due == first.observed_at
    assert book.release(first.observed_at - 1) == []
    assert {answer.observed_at for answer in book.release(first.observed_at)} == {first.observed_at}
    assert book.release(first.observed_at) == []


def test_a_gap_in_the_journal_stops_the_book(history: History) -> None:
    book = PaperBook(history.book)
    book.entry(0, history.journal[0])
    with pytest.raises(KafkaError, match="journal entry 3 follows 1"):
        book.entry(1, history.journal[2])


def test_more_orders_than_the_desk_speaks_of_stop_the_book(history: History) -> None:
    book, first = PaperBook(history.book), history.orders[0]
    book.order(0, first)
    stranger: Order = msgspec.structs.replace(first, id="stranger")
    book.order(1, stranger)
    book.progress(history.progress[first.seq - 1])
    with pytest.raises(KafkaError, match="2 orders up to journal entry"):
        book.advance()


def test_a_damaged_state_is_not_restored_and_changes_nothing(history: History) -> None:
    topics = Topics(history, Random(1))
    for _ in range(40):
        topics.turn(faults=False)
    saved = topics.book.saved(Offsets())
    book = PaperBook(history.book)
    assert not book.restores(msgspec.structs.replace(saved, state=saved.state[:-1] + b"?"))
    assert not book.restores(msgspec.structs.replace(saved, book="other"))
    assert book.seq == 0
    assert book.restores(saved)
    assert book.seq == topics.book.seq > 0
