"""The host of a feed: what it publishes, when it calls again, what it says of itself."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from connectors.feeds.protocol import Newest, Since, Sink, Stream
from schemas.base import NS_PER_S, Event
from schemas.errors import FeedError, KafkaError
from schemas.market import TradeTicked
from streams import feeding, metrics
from streams.feeding import FeedHost, HostSink, RecentIds
from streams.health import Health
from streams.kafka import Kafka
from streams.metrics import FeedMeter

T0 = 1_704_189_600 * NS_PER_S
KEY = "BTC/USD@test"
STREAM: Stream = (TradeTicked, KEY)


def trade(number: int, **fields: Any) -> TradeTicked:
    usual = {"occurred_at": T0 + number, "observed_at": T0 + number + NS_PER_S, "price": 100.0, "size": 1.0}
    return TradeTicked(id=f"{KEY}/trade/{number}", key=KEY, **(usual | fields))


class Publisher:
    """Keeps what is sent."""

    def __init__(self, _kafka: Kafka) -> None:
        self.sent: list[Event] = []
        self.full = 0
        self.confirmed = False

    def send(self, event: Event) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append(event)

    def poll(self, wait_s: float = 0.0) -> None:
        pass

    def confirm(self) -> None:
        self.confirmed = True


class Script:
    """A feed that does in each call what stands next in its script, and then waits for ever."""

    def __init__(self, *calls: Callable[[Sink], None]) -> None:
        self.calls = list(calls)
        self.since: list[Since] = []
        self.closed = 0

    @property
    def streams(self) -> Sequence[Stream]:
        return [STREAM]

    async def run(self, sink: Sink, since: Since) -> None:
        self.since.append(since)
        try:
            if self.calls:
                self.calls.pop(0)(sink)
            await asyncio.Event().wait()
        finally:
            self.closed += 1


@pytest.fixture
def name() -> str:
    return f"feed-{secrets.token_hex(4)}"


@pytest.fixture(autouse=True)
def _no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "Publisher", Publisher)
    monkeypatch.setattr(feeding, "stands", lambda _kafka, _streams: ({}, []))


def run(feed: Script, name: str, until: Callable[[FeedHost], bool], **options: Any) -> FeedHost:
    """Run a host until something is so, and end it in order."""
    host = FeedHost(Kafka(), name, feed, Health("test"), jitter=lambda: 0.0, **options)
    stopping = threading.Event()

    def watch() -> None:
        for _ in range(1_000):
            if until(host) or stopping.wait(0.02):
                break
        stopping.set()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        host.run(stopping)
    finally:
        stopping.set()
        thread.join()
    assert until(host)
    return host


def sent(host: FeedHost) -> list[Event]:
    publisher: Any = host._publisher
    return list(publisher.sent)


def value(metric: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(metric, labels)


def fail(reason: str, retry_after_s: float = 0.0) -> Callable[[Sink], None]:
    def call(_sink: Sink) -> None:
        raise FeedError(reason, retry_after_s)

    return call


def test_ids_are_known_for_as_long_as_promised_and_not_for_ever() -> None:
    recent = RecentIds(kept=3)
    assert [recent.add(f"{n}") for n in (1, 2, 1, 3, 4, 5, 3)] == [True, True, False, True, True, True, False]
    assert recent.add("6")
    assert recent.add("1")


def test_what_is_told_is_published_once_and_the_rest_is_counted(name: str) -> None:
    def call(sink: Sink) -> None:
        for event in (trade(1), trade(2), trade(1), trade(3, price=-1.0)):
            sink.put(event)
        sink.skip("no key")
        sink.refuse("cannot be read", "garbage")

    host = run(Script(call), name, lambda host: len(sent(host)) == 2)
    assert sent(host) == [trade(1), trade(2)]
    publisher: Any = host._publisher
    assert publisher.confirmed
    assert value("quorum_feed_events_total", feed=name, type="TradeTicked") == 2
    assert value("quorum_feed_skipped_total", feed=name, why="told before") == 1
    assert value("quorum_feed_skipped_total", feed=name, why="no key") == 1
    assert value("quorum_feed_refused_total", feed=name) == 2


def test_a_source_that_fails_is_called_again_from_where_it_stands(name: str) -> None:
    def first(sink: Sink) -> None:
        sink.put(trade(7))
        raise FeedError("gone")

    feed = Script(first, lambda sink: sink.put(trade(8)))
    run(feed, name, lambda host: len(sent(host)) == 2)
    assert feed.since == [{}, {STREAM: Newest(T0 + 7, f"{KEY}/trade/7")}]
    assert feed.closed == 2
    assert value("quorum_feed_failures_total", feed=name) == 1


def test_the_source_s_own_wish_for_patience_outlasts_the_usual_pause(name: str) -> None:
    host = FeedHost(Kafka(), name, Script(), Health("test"), jitter=lambda: 1.0)
    assert host._pause_s(FeedError("429", retry_after_s=7)) == 7
    usual = [host._pause_s(FeedError("gone")) for _ in range(6)]
    assert usual == sorted(usual)
    assert 0.5 < usual[0] < usual[-1] <= 15
    host._jitter = lambda: 0.0
    assert host._pause_s(FeedError("gone")) < usual[-1]


def test_a_silent_source_is_stale_and_is_called_again(name: str) -> None:
    feed = Script(lambda sink: sink.put(trade(1)), lambda sink: sink.put(trade(2)))
    host = run(feed, name, lambda host: len(sent(host)) == 2, stale_s=0.3)
    assert feed.closed >= 1
    assert value("quorum_feed_failures_total", feed=name) >= 1  # type: ignore[operator]
    health = host._health
    host._sink.heard_at -= NS_PER_S
    assert not health.readyz()[0]
    assert "silent for" in str(health.readyz()[1]["reasons"])


def test_silence_is_no_trouble_where_none_is_named(name: str) -> None:
    host = FeedHost(Kafka(), name, Script(), Health("test"))
    host._sink.heard_at -= 3_600 * NS_PER_S
    assert host._silence() == ""


def test_a_feed_that_ends_is_called_again(name: str) -> None:
    class Ending(Script):
        async def run(self, sink: Sink, since: Since) -> None:
            self.since.append(since)

    feed = Ending()
    run(feed, name, lambda _host: len(feed.since) >= 2)


def test_a_mistake_in_a_feed_is_not_called_again(name: str) -> None:
    def call(_sink: Sink) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Script(call), name, lambda _host: False)


def test_a_full_queue_lets_the_source_wait_and_then_is_an_error(name: str) -> None:
    host = FeedHost(Kafka(), name, Script(), Health("test"))
    publisher: Any = host._publisher
    publisher.full = 1
    host._sink.put(trade(1))
    assert sent(host) == [trade(1)]
    publisher.full = 2
    with pytest.raises(KafkaError, match="the broker takes nothing for 5 s"):
        host._sink.put(trade(2))


def test_the_same_refusal_is_counted_each_time_and_logged_now_and_then(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter([T0, T0, T0 + NS_PER_S, T0 + 2 * NS_PER_S, T0 + 11 * NS_PER_S])
    sink = HostSink(lambda _event: None, FeedMeter(name, []), lambda: next(times))
    for reason in ("one", "one", "another", "one"):
        sink.refuse(reason, "x" * 1_000)
    assert value("quorum_feed_refused_total", feed=name) == 4
    said: list[Any] = caplog.records
    assert [(each.reason, len(each.said)) for each in said] == [("one", 200), ("another", 200), ("one", 200)]


def test_lag_and_staleness_are_shown_and_go_with_the_feed(name: str) -> None:
    meter = FeedMeter(name, [STREAM])
    sink = HostSink(lambda _event: None, meter, lambda: T0)
    meter.look(T0)
    labels = {"feed": name, "type": "TradeTicked", "key": KEY}
    assert value("quorum_feed_staleness_seconds", **labels) is None
    sink.put(trade(0))
    meter.look(T0 + 61 * NS_PER_S)
    assert value("quorum_feed_staleness_seconds", **labels) == 60
    assert value("quorum_feed_lag_seconds", feed=name, type="TradeTicked") == 1
    meter.forget()
    assert value("quorum_feed_staleness_seconds", **labels) is None
