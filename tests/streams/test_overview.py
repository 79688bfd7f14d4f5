"""What is shown of a book is what its events came to, whatever order topics are read in and whatever came twice."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec
import pytest

from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import Event
from schemas.control import (
    BookPaused,
    BookResumed,
    KillSwitchPulled,
    TextAccepted,
    TextRejected,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.decisions import (
    BreakerReset,
    BreakerTripped,
    ConfirmationRequested,
    NewsDiscarded,
    NewsFlagged,
    NewsVetted,
    TradeApproved,
    TradeRejected,
)
from schemas.execution import OrderAccepted, OrderCanceled, OrderFilled, OrderRequested
from schemas.operations import AlertRaised, JournalProcessed, ProcessingFailed
from schemas.topics import TOPIC_OF
from streams.overview import Overview
from tests.agents.builders import BTC, T0, at
from tests.schemas.samples import full


def event(kind: type[Event], seq: int, /, **fields: object) -> Event:
    """Give the golden event of a type, changed as said, of the book `b`."""
    given = {"id": f"{kind.__name__}-{seq}", "key": "b", "book": "b", "seq": seq, "observed_at": at(seq)}
    return msgspec.structs.replace(full(kind), **(given | fields))


def processed(seq: int) -> Event:
    """Tell that the desk has come to `seq`."""
    return JournalProcessed(id=f"p{seq}", key="b", book="b", seq=seq, occurred_at=at(seq), observed_at=at(seq))


def state(overview: Overview) -> str:
    return overview.books["b"].state


def command(kind: type[Event], number: int, **fields: object) -> Event:
    """Give an operator's command as it stands on its topic: no book, no position."""
    return event(kind, number, book="", seq=0, **fields)


DAY = [
    event(PositionChanged, 3, instrument=BTC, quantity=Decimal(2), cash=Decimal(800)),
    event(EquityMarked, 4, equity=Decimal(1001), cash=Decimal(800)),
    event(PositionChanged, 7, instrument="ETH", quantity=Decimal(-1), cash=Decimal(900)),
    event(PositionChanged, 9, instrument=BTC, quantity=Decimal(0), cash=Decimal(1000)),
    event(EquityMarked, 9, equity=Decimal(1002), cash=Decimal(1000)),
    event(BreakerTripped, 2, rule="drawdown", until=0),
    event(BreakerReset, 3, rule="drawdown"),
    event(BreakerTripped, 5, key=BTC, rule="flash_move", until=T0),
    event(OrderRequested, 2, id="o1"),
    event(OrderRequested, 6, id="o2"),
    event(OrderRequested, 8, id="o3"),
    event(OrderAccepted, 0, order="o1"),
    event(OrderFilled, 0, id="f1", order="o1", leaves_quantity=Decimal(0)),
    event(OrderFilled, 0, id="f2", order="o2", leaves_quantity=Decimal(1)),
    event(OrderCanceled, 0, order="o3"),
    event(AlertRaised, 1, id="a1"),
    event(AlertRaised, 8, id="a2"),
    processed(8),
    processed(10),
    command(KillSwitchPulled, 2),
    command(BookPaused, 3),
]


def overview(events: list[Event]) -> Overview:
    made = Overview()
    for each in events:
        made.take(each)
    return made


def test_a_day_comes_to_this() -> None:
    view = overview(DAY).books["b"]
    assert (view.seq, view.entry_at, view.state) == (10, at(10), "killed")
    assert (view.equity, view.cash, view.positions) == (Decimal(1002), Decimal(1000), {"ETH": Decimal(-1)})
    assert view.breakers == {f"flash_move {BTC}": T0}
    assert set(view.orders) == {"o2"}
    assert view.alert is not None
    assert view.alert.id == "a2"


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_topics_does_not_matter_nor_what_is_sent_twice(seed: int) -> None:
    chance = random.Random(seed)
    by_topic: dict[str, list[Event]] = {}
    for each in DAY:
        by_topic.setdefault(TOPIC_OF[type(each)], []).append(each)
    for topic, events in by_topic.items():
        if topic not in ("control", "fills"):  # those have one writer that sends once
            again = chance.randrange(len(events) + 1)
            events.extend(events[again:])
    shuffled: list[Event] = []
    while by_topic:
        topic = chance.choice(sorted(by_topic))
        shuffled.append(by_topic[topic].pop(0))
        if not by_topic[topic]:
            del by_topic[topic]
    assert overview(shuffled).books["b"] == overview(DAY).books["b"]


@pytest.mark.parametrize(
    ("commands", "wanted"),
    [
        ([], "running"),
        ([BookPaused], "paused"),
        ([BookPaused, BookResumed], "running"),
        ([KillSwitchPulled, BookPaused], "killed"),
        ([KillSwitchPulled, BookResumed, BookPaused], "paused"),
    ],
)
def test_the_state_is_what_an_operator_asked_for_last(commands: list[type[Event]], wanted: str) -> None:
    seen = overview([processed(1), *(command(kind, i) for i, kind in enumerate(commands, 2))])
    assert state(seen) == wanted


def test_a_failed_book_is_stopped_until_it_has_come_past_the_entry() -> None:
    failed = event(ProcessingFailed, 7, agent="risk", error="ZeroDivisionError")
    seen = overview([processed(6), failed])
    assert state(seen) == "stopped"
    assert "risk failed at entry 7" in seen.books["b"].stopped
    seen.take(processed(6))
    assert state(seen) == "stopped"
    seen.take(processed(7))
    assert state(seen) == "running"
    assert state(overview([processed(9), failed])) == "running"


FLAGGED = event(NewsFlagged, 5, cause="t1", expires_at=at(10))


@pytest.mark.parametrize(
    "decision",
    [
        command(TextAccepted, 6, text="t1"),
        command(TextRejected, 6, text="t1"),
        event(NewsVetted, 6, text="t1"),
        event(NewsDiscarded, 6, text="t1"),
    ],
)
def test_a_text_waits_until_it_is_decided_or_lapses(decision: Event) -> None:
    seen = overview([FLAGGED, event(NewsFlagged, 5, cause="t0", expires_at=0)])
    seen.take(event(NewsVetted, 6, cause="t1", text=""))
    view = seen.books["b"]
    assert [each.cause for each in view.to_review(at(10))] == ["t1"]
    assert view.to_review(at(10.1)) == []
    seen.take(decision)
    assert view.to_review(at(9)) == []
    seen.take(FLAGGED)
    assert view.to_review(at(9)) == []
    other = event(NewsFlagged, 5, cause="t1", book="other", key="other", expires_at=at(10))
    seen.take(other)
    assert [each.cause for each in seen.books["other"].to_review(at(9))] == ["t1"], "each book decides for itself"


ASKED = event(ConfirmationRequested, 5, id="c1", proposal="p1", expires_at=at(10))


@pytest.mark.parametrize(
    "answer",
    [
        command(TradeConfirmed, 6, confirmation="c1"),
        command(TradeDeclined, 6, confirmation="c1"),
        event(TradeApproved, 6, proposal="p1"),
        event(TradeRejected, 6, proposal="p1"),
    ],
)
def test_a_trade_waits_until_it_is_answered_decided_or_lapses(answer: Event) -> None:
    seen = overview([ASKED])
    view = seen.books["b"]
    assert [each.id for each in view.waiting(at(9))] == ["c1"]
    assert view.waiting(at(10)) == []
    seen.take(answer)
    assert view.waiting(at(9)) == []
    seen.take(ASKED)
    assert view.waiting(at(9)) == []


def test_an_answer_to_another_trade_leaves_it_waiting() -> None:
    seen = overview([ASKED, command(TradeConfirmed, 6, confirmation="c2"), event(TradeRejected, 6, proposal="p2")])
    assert len(seen.books["b"].waiting(at(9))) == 1


def test_lag_is_the_journal_less_what_was_taken() -> None:
    assert overview([processed(8)]).books["b"].lag is None
    seen = overview([processed(8)])
    seen.at_end_of_journal({"b": 12, "c": 3})
    seen.at_end_of_journal({"b": 11, "c": 3})
    assert seen.books["b"].lag == 4
    assert (seen.books["c"].lag, seen.books["c"].seq) == (None, None)


def test_a_book_that_only_a_command_names_is_not_shown() -> None:
    seen = overview([command(BookPaused, 1, key="misspelt"), processed(1)])
    assert [view.book for view in seen.in_order()] == ["b"]
