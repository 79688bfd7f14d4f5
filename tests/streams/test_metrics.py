"""Counters count once, gauges show what is, and no label comes from outside."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

import msgspec
import pytest

from agents.pipeline import Desk
from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import NS_PER_MS, Event
from schemas.book import Book
from schemas.codec import encode
from schemas.control import BookPaused, ClockTicked
from schemas.decisions import BreakerReset, BreakerTripped
from schemas.execution import OrderAccepted, OrderFilled, OrderRequested
from schemas.operations import AlertRaised, ProcessingFailed, RecordRefused
from schemas.verdicts import VerdictFailed, VerdictGiven
from streams import metrics
from streams.bookhost import BookHost
from streams.intake import Intake, Record
from streams.metrics import DeskMeter, SequencerMeter, reason_class
from tests.agents.builders import BTC, ETH, T0, bar, clock, make_book
from tests.architecture.tree import ROOT
from tests.schemas.samples import full


@pytest.fixture
def book() -> Book:
    """A book of its own for every test: the counters are the process's."""
    return make_book([BTC, ETH], name=f"book-{secrets.token_hex(4)}")


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def of(book: Book, *kinds: type[Event], **fields: object) -> list[Event]:
    """Give the golden event of each type, as the book's own."""
    return [msgspec.structs.replace(full(kind), book=book.name, observed_at=T0, **fields) for kind in kinds]


# Refusals


def refused(value: bytes | None, topic: str = "bars", now: int = T0, written: int = T0) -> str:
    """Give the reason for which the sequencer's own intake refuses a record."""
    book = make_book()
    intake = Intake([book], [book])
    intake.remember(["seen"])
    letter = intake.take(Record(topic, 0, 0, written // NS_PER_MS, value), now)
    assert isinstance(letter, RecordRefused), letter
    return letter.reason


BAR = bar(0, 100.0)
PAUSE = BookPaused(id="p", key="book", occurred_at=T0, observed_at=T0, operator="o")


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (refused(None), "unreadable"),
        (refused(b"{"), "unreadable"),
        (refused(b"\xff"), "unreadable"),
        (refused(b'{"type":"Nonsense","id":"there is no book x"}'), "unreadable"),
        (refused(encode(BAR), topic="ticks"), "wrong_topic"),
        (refused(encode(msgspec.structs.replace(BAR, id="seen"))), "duplicate"),
        (refused(encode(BAR), written=T0 + 10**15, now=T0 + 10**15), "stale"),
        (refused(encode(msgspec.structs.replace(BAR, key="DOGE@x"))), "unknown_key"),
        (refused(encode(msgspec.structs.replace(PAUSE, key="nobody")), topic="control"), "unknown_key"),
        (refused(encode(BAR), now=T0 - 10**12), "invalid"),
        (refused(encode(msgspec.structs.replace(BAR, low=101.0))), "invalid"),
        (refused(encode(msgspec.structs.replace(PAUSE, operator="")), topic="control"), "invalid"),
    ],
)
def test_each_refusal_of_the_intake_has_its_class(reason: str, name: str) -> None:
    assert reason_class(reason) == name, reason


# The sequencer


def test_the_sequencer_counts_entries_from_where_it_resumed() -> None:
    name = f"book-{secrets.token_hex(4)}"
    meter = SequencerMeter(3)
    meter.resume({name: 100})
    assert value("quorum_journal_entries_total", book=name) == 0
    meter.wrote({name: 103}, [])
    meter.wrote({name: 103}, [])
    meter.wrote({name: 104}, [])
    assert value("quorum_journal_entries_total", book=name) == 4


def test_records_count_by_topic_and_letters_by_topic_and_reason() -> None:
    journal = secrets.token_hex(4)
    meter = SequencerMeter(journal)  # type: ignore[arg-type] # a name that no other test counts under
    meter.took(["bars", "ticks", "bars"])
    assert value("quorum_sequencer_records_total", journal=journal, topic="bars") == 2
    labels = {"topic": "bars", "reason": "unreadable"}
    before = value("quorum_sequencer_refused_total", **labels) or 0
    meter.wrote({}, [msgspec.structs.replace(full(RecordRefused), position="bars/3/17", reason="record: is empty")])
    assert value("quorum_sequencer_refused_total", **labels) == before + 1


def test_the_lag_is_what_is_not_taken_and_goes_with_the_sequencer() -> None:
    meter = SequencerMeter(5)
    ends = [("ticks", 0, 110), ("ticks", 1, 7), ("bars", 0, -1001), ("news", 0, 5)]
    meter.lags(ends, {"ticks": {"0": 100, "1": 9}, "bars": {"0": 4}})
    assert value("quorum_sequencer_lag_offsets", journal="5", topic="ticks", partition="0") == 10
    assert value("quorum_sequencer_lag_offsets", journal="5", topic="ticks", partition="1") == 0
    for topic in ("bars", "news"):
        assert value("quorum_sequencer_lag_offsets", journal="5", topic=topic, partition="0") is None
    meter.forget()
    assert value("quorum_sequencer_lag_offsets", journal="5", topic="ticks", partition="0") is None


# The desk


def test_what_was_sent_counts_by_type_with_the_latency_of_orders(book: Book) -> None:
    meter = DeskMeter(0)
    said = of(book, OrderRequested, AlertRaised, ProcessingFailed)
    meter.took(book.name, 9, T0, said)
    assert value("quorum_desk_events_total", book=book.name, type="OrderRequested") is None
    meter.sent(T0 + 30 * NS_PER_MS)
    meter.sent(T0 + 10**12)
    assert value("quorum_desk_events_total", book=book.name, type="OrderRequested") == 1
    assert value("quorum_tick_to_order_seconds_count", book=book.name) == 1
    assert value("quorum_tick_to_order_seconds_sum", book=book.name) == pytest.approx(0.03)
    agent = next(event.agent for event in said if isinstance(event, ProcessingFailed))
    assert value("quorum_agent_failures_total", book=book.name, agent=agent) == 1
    assert value("quorum_book_stopped", book=book.name) == 1
    assert value("quorum_desk_seq", book=book.name) == 9
    assert value("quorum_desk_entry_time_seconds", book=book.name) == T0 / 1e9


def test_gauges_show_the_newest(book: Book) -> None:
    meter = DeskMeter(0)
    (marked,), (moved,) = of(book, EquityMarked), of(book, PositionChanged, instrument=BTC)
    (tripped,), (reset,) = (of(book, kind, key=BTC, rule="flash_move") for kind in (BreakerTripped, BreakerReset))
    assert isinstance(marked, EquityMarked)
    assert isinstance(moved, PositionChanged)
    meter.took(book.name, 1, T0, [marked, moved, tripped])
    assert value("quorum_book_equity", book=book.name) == float(marked.equity)
    assert value("quorum_book_position", book=book.name, instrument=BTC) == float(moved.quantity)
    assert value("quorum_breaker_open", book=book.name, key=BTC, rule="flash_move") == 1
    meter.took(book.name, 2, T0, [reset])
    assert value("quorum_breaker_open", book=book.name, key=BTC, rule="flash_move") == 0


def test_what_is_sent_again_moves_no_counter(book: Book) -> None:
    meter = DeskMeter(0)
    meter.took(book.name, 9, T0, of(book, OrderRequested, AlertRaised))
    meter.caught_up([])
    meter.sent(T0 + 10**12)
    assert value("quorum_desk_events_total", book=book.name, type="OrderRequested") is None
    assert value("quorum_tick_to_order_seconds_count", book=book.name) is None


def crashed(book: Book) -> BookHost:
    """A book whose market has fallen by a fifth in a minute, as a restart finds it."""
    host = BookHost(book)
    entries: Sequence[Event] = [clock(0), bar(1, 100.0), bar(2, 100.0), bar(3, 80.0)]
    host.feed([msgspec.structs.replace(event, book=book.name, seq=i) for i, event in enumerate(entries, 1)])
    return host


def test_a_restart_hides_no_open_breaker() -> None:
    book = make_book([BTC, ETH], name=f"book-{secrets.token_hex(4)}", breakers={"flash_move_pct": 2.0})
    host = crashed(book)
    meter = DeskMeter(0)
    meter.caught_up([host])
    assert value("quorum_breaker_open", book=book.name, key=BTC, rule="flash_move") == 1
    assert value("quorum_book_position", book=book.name, instrument=ETH) == 0
    assert value("quorum_desk_seq", book=book.name) == 4
    assert value("quorum_book_stopped", book=book.name) == 0
    host.desk = Desk(book)
    meter.caught_up([host])
    assert value("quorum_breaker_open", book=book.name, key=BTC, rule="flash_move") is None


def test_a_book_that_leaves_takes_its_gauges_along(book: Book) -> None:
    meter = DeskMeter(6)
    meter.took(book.name, 1, T0, of(book, EquityMarked, PositionChanged, BreakerTripped, ProcessingFailed))
    meter.lag(4)
    assert value("quorum_desk_lag_offsets", partition="6") == 4
    meter.forget([book.name])
    left = [
        sample
        for metric in metrics.REGISTRY.collect()
        for sample in metric.samples
        if metric.type == "gauge" and book.name in sample.labels.values()
    ]
    assert left == []
    assert value("quorum_desk_lag_offsets", partition="6") is None


# Gateway and executor


def test_verdicts_count_by_model_and_outcome() -> None:
    model = secrets.token_hex(4)
    given = msgspec.structs.replace(full(VerdictGiven), model=model, action="BUY", latency_ms=1200)
    failed = msgspec.structs.replace(full(VerdictFailed), model=model, reason="timeout", latency_ms=30_000)
    metrics.verdict(given)
    metrics.verdict(failed)
    assert value("quorum_verdicts_total", model=model, outcome="BUY") == 1
    assert value("quorum_verdicts_total", model=model, outcome="timeout") == 1
    assert value("quorum_verdict_seconds_sum", model=model) == pytest.approx(31.2)
    assert value("quorum_verdict_cost_usd_total", model=model) == pytest.approx(float(given.cost_usd + failed.cost_usd))


def test_the_executors_events_count_by_type(book: Book) -> None:
    metrics.executed(of(book, OrderAccepted, OrderFilled, OrderFilled))
    assert value("quorum_execution_events_total", book=book.name, type="OrderFilled") == 2


def test_a_clock_alone_moves_the_desk_on(book: Book) -> None:
    host = BookHost(book)
    meter = DeskMeter(0)
    (entry,) = [msgspec.structs.replace(clock(0), book=book.name, seq=1)]
    assert isinstance(entry, ClockTicked)
    meter.took(book.name, 1, entry.observed_at, host.feed([entry]))
    meter.sent(T0)
    assert value("quorum_desk_seq", book=book.name) == 1


# The manual


def test_the_manual_explains_every_metric_and_no_other() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(quorum_[a-z_]+)`", text, re.MULTILINE))
    assert explained == {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in metrics.REGISTRY.collect()
    }
