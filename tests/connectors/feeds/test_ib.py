"""The feed of Interactive Brokers over a double of ib_async's events. No TWS was asked."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self

import pytest

from connectors.feeds.ib import InteractiveBrokers
from connectors.feeds.protocol import Newest
from connectors.feeds.settings import IbContract, IbFeed
from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.errors import FeedError
from schemas.market import BarClosed, QuoteTicked
from tests.contracts.feeds import Listener

ES = "ES/USD@cme"
MIN_S = 60


class Event:
    """eventkit's, as far as it is used."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def __iadd__(self, slot: Callable[..., Any]) -> Self:
        self._slots.append(slot)
        return self

    def emit(self, *args: Any) -> None:
        for slot in list(self._slots):
            slot(*args)


class Bars(list[Any]):
    def __init__(self, bars: list[Any]) -> None:
        super().__init__(bars)
        self.updateEvent = Event()


@dataclass
class Broker:
    """What stands behind TWS: its history, and the clients that are connected."""

    history: list[Any] = field(default_factory=list)
    clients: list[Any] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False
    knows: bool = True

    def bar(self, minute: int, close: float) -> Any:
        at = datetime.fromtimestamp(minute * MIN_S, UTC)
        return SimpleNamespace(date=at, open=100.0, high=110.0, low=90.0, close=close, volume=7.0)

    def trade(self, minute: int, close: float) -> None:
        """A trade in a minute: its bar changes, or begins."""
        fresh = self.bar(minute, close)
        for bars in (self.history, *(client.live for client in self.clients if client.live is not None)):
            if bars and bars[-1].date == fresh.date:
                bars[-1] = fresh
            else:
                bars.append(fresh)
        for client in self.clients:
            if client.live is not None:
                client.live.updateEvent.emit(client.live, True)

    def api(self) -> Any:  # noqa: C901 - the double of a whole module
        broker = self

        class IB:
            def __init__(self) -> None:
                self.disconnectedEvent, self.errorEvent = Event(), Event()
                self.live: Bars | None = None
                self.ticker: Any = None

            async def connectAsync(self, *where: object, **how: object) -> None:  # noqa: N802
                assert how["readonly"]
                if broker.refuses:
                    raise ConnectionRefusedError(111, "Connect call failed")
                broker.clients.append(self)

            async def qualifyContractsAsync(self, *contracts: Any) -> list[Any]:  # noqa: N802
                return [contract if broker.knows else None for contract in contracts]

            async def reqHistoricalDataAsync(self, contract: Any, **asked: Any) -> Bars:  # noqa: N802
                broker.asked.append(asked)
                bars = Bars(broker.history)
                if asked["keepUpToDate"]:
                    self.live = bars = Bars(broker.history[-2:])
                return bars

            def reqTickByTickData(self, contract: Any, kind: str) -> Any:  # noqa: N802
                self.ticker = SimpleNamespace(tickByTicks=[], updateEvent=Event())
                return self.ticker

            def disconnect(self) -> None:
                if self in broker.clients:
                    broker.clients.remove(self)

        def contract(*args: Any, **kwargs: Any) -> Any:
            return SimpleNamespace(args=args, kwargs=kwargs)

        return SimpleNamespace(IB=IB, Future=contract, Stock=contract)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setitem(sys.modules, "ib_async", broker.api())
    return broker


def settings(**chosen: Any) -> IbFeed:
    future = IbContract(type="future", symbol="ES", exchange="CME", expiry="202512")
    return IbFeed(contracts={ES: future}, **chosen)


def bar_ids(*minutes: int) -> list[str]:
    return [f"{ES}/bar60/{minute * NS_PER_MIN}" for minute in minutes]


NOW = int(time.time()) // MIN_S


def listen(chosen: IbFeed) -> Listener:
    """Listen at half past the minute `NOW`, for ever."""
    listener = Listener(InteractiveBrokers("es", chosen))
    listener.sink._now = lambda: NOW * NS_PER_MIN + 30 * NS_PER_S
    return listener


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ib_async", None)
    with pytest.raises(FeedError, match=r"^feed es: needs ib_async, .*install the extra: pip install quorum\[ib\]$"):
        InteractiveBrokers("es", settings())


def test_an_interval_that_ib_has_not_is_refused(broker: Broker) -> None:
    with pytest.raises(FeedError, match="interval 3m: IB's are 1m, 5m"):
        InteractiveBrokers("es", settings(interval="3m"))


def test_a_bar_is_told_once_when_the_next_begins(broker: Broker) -> None:
    async def scenario() -> None:
        now = NOW
        listener = listen(settings())
        broker.trade(now - 1, 101.0)
        async with listener.running() as task:
            await listener.until(lambda: bool(broker.clients and broker.clients[0].live), task, "a subscription")
            broker.trade(now - 1, 102.0)
            await asyncio.sleep(0.05)
            assert listener.told == []
            broker.trade(now, 103.0)
            await listener.until_told(bar_ids(now - 1), task)
        (bar,) = listener.told
        assert isinstance(bar, BarClosed)
        assert (bar.close, bar.volume, bar.occurred_at) == (102.0, 7.0, now * NS_PER_MIN)

    asyncio.run(scenario())


def test_bars_missed_while_tws_was_away_are_fetched(broker: Broker) -> None:
    async def scenario() -> None:
        now = NOW
        listener = listen(settings())
        told = Newest((now - 9) * NS_PER_MIN, bar_ids(now - 10)[0])
        listener.sink.resume({(BarClosed, ES): told}, bar_ids(now - 10))
        for minute in range(now - 12, now + 1):
            broker.trade(minute, 100.0 + minute % 7)
        async with listener.running() as task:
            await listener.until_told(bar_ids(*range(now - 9, now)), task)
            await listener.until(lambda: bool(broker.clients), task, "a connection")
            broker.clients[0].disconnectedEvent.emit()
            await listener.until(lambda: bool(listener.failures), task, "the loss")
            broker.trade(now + 1, 104.0)
            await listener.until_told(bar_ids(*range(now - 9, now + 1)), task)
        assert listener.failures == ["es: the connection to TWS is lost"]
        assert not broker.clients

    asyncio.run(scenario())


def test_quotes_are_told_when_they_change_and_have_both_sides(broker: Broker) -> None:
    async def scenario() -> None:
        listener = listen(settings(tell=("quotes",)))
        at = datetime.fromtimestamp(NOW * MIN_S + 29, UTC)

        def tick(bid: float, ask: float) -> Any:
            return SimpleNamespace(time=at, bidPrice=bid, askPrice=ask, bidSize=3.0, askSize=4.0)

        async with listener.running() as task:
            await listener.until(lambda: bool(broker.clients and broker.clients[0].ticker), task, "a subscription")
            ticker = broker.clients[0].ticker
            ticker.tickByTicks = [tick(100.0, 100.25), tick(100.0, 100.25), tick(-1.0, 100.25), tick(100.25, 100.5)]
            ticker.updateEvent.emit(ticker)
            await listener.until(lambda: len(listener.told) == 2, task, "two quotes")
        quotes = [event for event in listener.told if isinstance(event, QuoteTicked)]
        assert [(quote.bid, quote.ask) for quote in quotes] == [(100.0, 100.25), (100.25, 100.5)]
        assert len(set(listener.ids)) == 2
        assert all(quote.observed_at // NS_PER_S - quote.occurred_at // NS_PER_S < 60 for quote in quotes)

    asyncio.run(scenario())


def test_what_ib_reports_is_counted_and_word_of_its_farms_is_not(broker: Broker) -> None:
    async def scenario() -> None:
        listener = listen(settings())
        async with listener.running() as task:
            await listener.until(lambda: bool(broker.clients), task, "a connection")
            broker.clients[0].errorEvent.emit(-1, 2104, "Market data farm connection is OK", None)
            broker.clients[0].errorEvent.emit(4, 162, "Historical Market Data Service error", None)
        assert [reason.partition(": ")[2] for reason in listener.refused] == ["IB reports error 162"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("refuses", "knows", "sentence"),
    [(True, True, "no TWS or IB Gateway answers on 127.0.0.1:7497"), (False, False, f"or several, for {ES}$")],
)
def test_a_tws_that_cannot_be_used_is_a_sentence(broker: Broker, refuses: bool, knows: bool, sentence: str) -> None:
    broker.refuses, broker.knows = refuses, knows
    listener = listen(settings())
    with pytest.raises(FeedError, match=sentence):
        asyncio.run(listener.feed.run(listener.sink, {}))
    assert not broker.clients
