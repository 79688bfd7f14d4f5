"""The workers that compute, on a real Kafka: what they tell is what the rules say, though one dies in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from connectors.processed.bars import INTERVALS, LATENESS_NS, bar_events, bars_of
from connectors.processed.sentiment import LEXICONS, TEXT_COLUMNS, sentiment_of, text_row
from schemas.base import NS_PER_MIN, NS_PER_S, Event, market_id
from schemas.market import QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, SentimentMeasured, TweetPosted
from streams.comprehend import KafkaLedger, comprehend_windows
from streams.health import Health
from streams.kafka import Kafka
from streams.processing import ProcessedRole, processor
from streams.publisher import Publisher
from streams.windows import Windows
from tests.connectors.processed.trades import AT, Trade, table, trade
from tests.integration.feeding import told

KEYS = ("BTC/USDT@binance", "ETH/USDT@binance", "SOL/USDT@binance")
WAIT_S = 40.0


def tick(each: Trade) -> TradeTicked:
    return TradeTicked(
        id=market_id(each.key, "trade", each.number),
        key=each.key,
        occurred_at=each.occurred_at,
        observed_at=each.observed_at,
        price=each.price,
        size=each.size,
    )


def quotes(at: int) -> Iterator[Event]:
    """On every instrument, so that every partition sees the time."""
    for key in KEYS:
        yield QuoteTicked(
            id=market_id(key, "quote", at),
            key=key,
            occurred_at=at,
            observed_at=at,
            bid=1.0,
            ask=2.0,
            bid_size=0.0,
            ask_size=0.0,
        )


def send(kafka: Kafka, events: Iterable[Event]) -> None:
    publisher = Publisher(kafka)
    for event in events:
        publisher.send(event)
    publisher.confirm()


@contextmanager
def working(kafka: Kafka, role: ProcessedRole, windows: Callable[[], Windows] | None = None) -> Iterator[None]:
    stopping, health = threading.Event(), Health("test")
    part = processor(kafka, role, health, start="earliest", windows=windows)
    thread = threading.Thread(target=part.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def by_id(events: Iterable[Event]) -> dict[str, Event]:
    return {event.id: event for event in events}


@pytest.mark.parametrize("loses_position", [False, True])
def test_bars_are_told_once_by_id_over_a_takeover(kafka: Kafka, loses_position: bool, monkeypatch: Any) -> None:
    trades = [trade(KEYS[n % 3], n, n * 7 * NS_PER_S, price=100.0 + n % 13, size=0.1) for n in range(1_200)]
    end = list(quotes(AT + 1_200 * 7 * NS_PER_S + 60 * NS_PER_MIN + LATENESS_NS))
    wanted = by_id(event for ns in INTERVALS.values() for event in bar_events(bars_of(table(trades), ns).bars))
    if loses_position:  # as one that dies behind its telling, before it says how far it came
        monkeypatch.setattr("streams.processing.Processor._keep", lambda *_: None)
    send(kafka, [tick(each) for each in trades[:700]])
    with working(kafka, "bars"):
        wait_for(lambda: len(told(kafka, "bars")) > 100)
    first = told(kafka, "bars")
    monkeypatch.undo()
    send(kafka, [*map(tick, trades[700:]), *end])
    with working(kafka, "bars"):
        wait_for(lambda: by_id(told(kafka, "bars")).keys() >= wanted.keys())
    events = told(kafka, "bars")
    assert by_id(events) == wanted
    assert all(wanted[event.id] == event for event in events), "what was told twice is the same"
    assert (len(events) == len(wanted)) != loses_position
    assert first


def test_sentiment_is_told_of_both_topics(kafka: Kafka) -> None:
    texts: list[TweetPosted | NewsPublished] = []
    for n in range(0, 150, 5):
        at = AT + n * NS_PER_MIN
        texts.append(
            NewsPublished(id=f"n{n}", key="BTC", occurred_at=AT, observed_at=at, source="w", title="great win")
        )
    for n in range(0, 150, 4):
        at = AT + n * NS_PER_MIN
        text = ("great win", "awful crash")[n % 3 > 0]
        texts.append(TweetPosted(id=f"t{n}", key="BTC", occurred_at=AT, observed_at=at, author="ann", text=text))
    send(kafka, texts)
    rows = [text_row(event) for event in texts]
    whole = by_id(sentiment_of(pa.Table.from_pylist(rows, schema=TEXT_COLUMNS)))
    wanted = {id: event for id, event in whole.items() if event.observed_at <= AT + 145 * NS_PER_MIN}
    assert len(wanted) == 2 * len(LEXICONS)
    with working(kafka, "sentiment"):
        wait_for(lambda: len(told(kafka, "sentiment")) >= len(wanted))
    assert by_id(told(kafka, "sentiment")) == wanted


class Service:
    """Scores every text alike, and counts the texts."""

    def __init__(self) -> None:
        self.read = 0

    def scores(self, texts: Sequence[str], within_s: float) -> list[float]:
        self.read += len(texts)
        return [0.5] * len(texts)


def test_comprehend_is_paid_once_though_a_worker_dies_behind_its_telling(kafka: Kafka, monkeypatch: Any) -> None:
    texts = [
        TweetPosted(
            id=f"t{n}", key=("BTC", "ETH")[n % 2], occurred_at=AT, observed_at=at, author="ann", text="great win"
        )
        for n in range(40)
        for at in [AT + n * 4 * NS_PER_MIN]
    ]

    def measured() -> list[SentimentMeasured]:
        events = [event for event in told(kafka, "sentiment") if isinstance(event, SentimentMeasured)]
        return [event for event in events if event.lexicon == "Comprehend"]

    service = Service()
    windows = partial(comprehend_windows, kafka, service, Decimal("0.0096"))
    send(kafka, texts[:32])
    with monkeypatch.context() as dying:
        dying.setattr("streams.processing.Processor._keep", lambda *_: None)
        with working(kafka, "sentiment", windows):
            wait_for(lambda: len(measured()) == 4)
    assert service.read == 30
    assert KafkaLedger(kafka).read().usd == Decimal("0.0090")
    with working(kafka, "sentiment", windows):
        wait_for(lambda: len(measured()) == 8)
    assert service.read == 30, "what was told is told again, and not paid"
    assert len(by_id(measured())) == 4
    end = AT + 185 * NS_PER_MIN
    last = TweetPosted(id="last", key="BTC", occurred_at=end, observed_at=end, author="ann", text="great win")
    send(kafka, [*texts[32:], last])
    with working(kafka, "sentiment", windows):
        wait_for(lambda: len(by_id(told(kafka, "sentiment"))) == 4 + 6 * len(LEXICONS))
    assert service.read == 30, "the cap holds over restarts"
