"""Bars, quotes by REST, and what an exchange may do wrong, by the real ccxt against servers on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ccxt
import pytest

from connectors.feeds.venue import make_venue, tap, watched
from schemas.errors import FeedError
from schemas.market import BarClosed, QuoteTicked
from tests.connectors.feeds.servers import Binance, CoinbaseQuotes, KrakenBars, KrakenQuotes, Server, kraken_rows
from tests.connectors.feeds.test_contract import binance, data
from tests.contracts.feeds import PATIENCE_S, QUIET_S, Listener


def kraken_bars(**settings: Any) -> KrakenBars:
    pairs = json.loads(data("api/nautilus/kraken/http_asset_pairs.json").read_text("utf-8"))
    rows = kraken_rows(data("api/nautilus/kraken/http_ohlc.json"), 40)
    return KrakenBars(rows, pairs, tell=("bars",), **settings)


def listen(server: KrakenBars) -> Listener:
    listener = Listener(server.feed())
    listener.sink._now = server.now
    return listener


def test_bars_by_websocket_equal_the_recording_through_a_cut() -> None:
    async def scenario() -> None:
        server = kraken_bars()
        async with server.serving():
            listener = listen(server)
            async with listener.running() as task:
                await server.say(0, 10)
                await listener.until_told(server.expected[:9], task)
                await server.cut()
                await server.miss(10, 30)
                await server.say(30, 40)
                await listener.until_told(server.expected[:39], task)
                assert listener.refused == []
        rows = server.items[:39]
        for bar, row in zip(listener.told, rows, strict=True):
            assert isinstance(bar, BarClosed)
            told = (bar.open, bar.high, bar.low, bar.close, bar.volume)
            assert told == tuple(float(row[n]) for n in (1, 2, 3, 4, 6))
            assert bar.occurred_at == (row[0] + 60) * 1_000_000_000

    asyncio.run(scenario())


def test_bars_by_rest_begin_with_the_present_one_and_go_on_where_they_stood() -> None:
    async def scenario() -> None:
        server = kraken_bars(transport="rest")
        async with server.serving():
            listener = listen(server)
            await server.miss(0, 10)
            async with listener.running() as task:
                await listener.until(lambda: any("OHLC" in each for each in server.requests), task, "a request")
                await asyncio.sleep(QUIET_S)
                assert listener.told == []
            listener.sink.resume({(BarClosed, "BTC/USDT@kraken"): _newest(server, 4)}, [])
            await server.miss(10, 20)
            async with listener.running() as task:
                await listener.until_told(server.expected[5:19], task)

    asyncio.run(scenario())


def _newest(server: KrakenBars, number: int) -> Any:
    from connectors.feeds.protocol import Newest  # noqa: PLC0415 - beside its one use

    return Newest((server.items[number][0] + 60) * 1_000_000_000, server.expected[number])


def test_quotes_by_rest_are_told_with_the_venue_s_own_time() -> None:
    async def scenario() -> None:
        server = binance("usdm", "bookTicker", transport="rest")
        async with server.serving():
            listener = Listener(server.feed())
            await server.miss(0, 1)
            async with listener.running() as task:
                await listener.until(lambda: len(listener.told) >= 1, task, "a quote")
                await server.miss(1, 2)
                await listener.until(lambda: len(listener.told) >= 2, task, "another quote")
        for event, item in zip(listener.told, server.items[:2], strict=False):
            assert isinstance(event, QuoteTicked)
            assert (event.bid, event.ask) == (float(item["b"]), float(item["a"]))
            assert event.occurred_at == item["T"] * 1_000_000

    asyncio.run(scenario())


def kraken_quotes() -> KrakenQuotes:
    pairs = json.loads(data("api/nautilus/kraken/http_asset_pairs.json").read_text("utf-8"))
    message = json.loads(data("api/nautilus/kraken/ws_ticker_snapshot.json").read_text("utf-8"))
    tops = [{**message["data"][0], "symbol": "BTC/USDT", "bid_qty": size} for size in (2.5, 2.5, 0.75)]
    return KrakenQuotes([{**message, "data": [top]} for top in tops], pairs, tell=("quotes",))


def coinbase_quotes() -> CoinbaseQuotes:
    products = json.loads(data("api/nautilus/coinbase/http_products.json").read_text("utf-8"))
    message = json.loads(data("api/nautilus/coinbase/ws_ticker.json").read_text("utf-8"))
    top = message["events"][0]["tickers"][0]
    tops = [{**top, "best_bid_quantity": size} for size in ("1.5", "1.5", "0.75")]
    events = [[{"type": "update", "tickers": [each]}] for each in tops]
    return CoinbaseQuotes([{**message, "events": each} for each in events], products, tell=("quotes",))


@pytest.mark.parametrize(
    ("make", "bid", "ask", "ask_size", "bid_sizes"),
    [(kraken_quotes, 105944.20, 105944.30, 3.2, [2.5, 0.75]), (coinbase_quotes, 68900.0, 68901.0, 0.5, [1.5, 0.75])],
)
def test_quotes_that_a_venue_does_not_number_are_told_as_they_change(
    make: Callable[[], Server], bid: float, ask: float, ask_size: float, bid_sizes: list[float]
) -> None:
    async def scenario() -> None:
        server = make()
        async with server.serving():
            listener = Listener(server.feed())
            async with listener.running() as task:
                await server.say(0, 3)
                await listener.until(lambda: len(listener.told) >= 2, task, "two quotes")
                await asyncio.sleep(QUIET_S)
        quotes = [event for event in listener.told if isinstance(event, QuoteTicked)]
        assert [(each.bid, each.ask, each.ask_size) for each in quotes] == [(bid, ask, ask_size)] * 2
        assert [each.bid_size for each in quotes] == bid_sizes
        assert listener.refused == []

    asyncio.run(scenario())


def test_a_symbol_that_the_exchange_has_not_is_a_sentence() -> None:
    async def scenario() -> None:
        server = binance("spot", "trade")
        server.settings |= {"symbols": ("DOGE/BTC",)}
        async with server.serving():
            listener = Listener(server.feed())
            with pytest.raises(FeedError, match=r"^test: binance has no symbol DOGE/BTC$"):
                await asyncio.wait_for(listener.feed.run(listener.sink, {}), PATIENCE_S)

    asyncio.run(scenario())


def test_an_exchange_that_is_not_there_is_a_sentence() -> None:
    async def scenario() -> None:
        server = binance("spot", "trade")
        async with server.serving():
            listener = Listener(server.feed())
        with pytest.raises(FeedError, match=r"^test: ExchangeNotAvailable: ") as failed:
            await asyncio.wait_for(listener.feed.run(listener.sink, {}), PATIENCE_S)
        assert "\n" not in str(failed.value)

    asyncio.run(scenario())


def test_a_refusal_in_the_midst_of_work_ends_the_call_with_its_wish() -> None:
    async def scenario() -> None:
        server = binance("spot", "trade", transport="rest")
        async with server.serving():
            listener = Listener(server.feed())
            call = asyncio.create_task(listener.feed.run(listener.sink, {}))
            await server.miss(0, 3)
            await listener.until(lambda: len(listener.told) == 3, call, "three trades")
            server.refuse(418, 120)
            with pytest.raises(FeedError) as refused:
                await asyncio.wait_for(call, PATIENCE_S)
            assert refused.value.retry_after_s == 120

    asyncio.run(scenario())


def test_a_refusal_to_connect_by_websocket_ends_the_call_with_its_wish() -> None:
    async def scenario() -> None:
        server = binance("spot", "bookTicker")
        async with server.serving():
            listener = Listener(server.feed())
            call = asyncio.create_task(listener.feed.run(listener.sink, {}))
            await server.say(0, 1)
            await server.cut()
            with pytest.raises(FeedError, match="Connection closed by remote server"):
                await asyncio.wait_for(call, PATIENCE_S)
            server.refuse(429, 600)
            with pytest.raises(FeedError) as refused:
                await asyncio.wait_for(listener.feed.run(listener.sink, {}), PATIENCE_S)
            assert 600 - PATIENCE_S < refused.value.retry_after_s <= 600

    asyncio.run(scenario())


def test_a_key_stands_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORUM_TEST_SECRET", "s3cr3t-of-a-test")

    async def scenario() -> None:
        names = {"api_key_env": "QUORUM_TEST_SECRET", "secret_env": "QUORUM_TEST_SECRET"}
        server = binance("spot", "trade", **names)
        async with server.serving():
            listener = Listener(server.feed())
            server.refuse(500, 0)
            with pytest.raises(FeedError) as failed:
                await asyncio.wait_for(listener.feed.run(listener.sink, {}), PATIENCE_S)
            assert "s3cr3t" not in str(failed.value)

    asyncio.run(scenario())


def test_addresses_of_one_s_own_stand_in_for_the_exchange_s() -> None:
    server = Binance([], "spot", tell=("trades",))
    server.port = 1
    settings = server.feed()._settings
    addresses = make_venue(settings).urls["api"]
    assert addresses["public"] == "http://127.0.0.1:1/api/v3"
    assert addresses["ws"]["spot"] == "ws://127.0.0.1:1/ws"
    assert addresses["dapiPublic"].startswith("https://dapi.binance.com")


def test_every_quote_of_a_burst_is_seen_and_a_connection_is_tapped_once() -> None:
    seen: list[Any] = []

    class Client:
        def __init__(self) -> None:
            self.resolved: list[Any] = []

        def resolve(self, result: Any, _hash: str) -> None:
            self.resolved.append(result)

        def handle_text_or_binary_message(self, text: str) -> None:
            for bid in json.loads(text):
                self.resolve({"bid": bid, "ask": 2.0}, "quotes")

    class Venue:
        made = Client()

        def client(self, _url: str) -> Client:
            return self.made

    async def scenario() -> Client:
        listener = Listener(Binance([], "spot", tell=("trades",)).feed())
        venue = Venue()
        tap(venue, listener.sink, seen.append)
        for _ in range(2):
            client: Any = venue.client("wss://venue")
        client.handle_text_or_binary_message("[1.0, 1.5]")
        client.handle_text_or_binary_message("[1.0")
        assert listener.refused == ["a message cannot be read: JSONDecodeError"]
        made: Client = client
        return made

    client = asyncio.run(scenario())
    assert [each["bid"] for each in seen] == [1.0, 1.5]
    assert len(client.resolved) == 2


def test_a_connection_that_ccxt_makes_anew_by_itself_is_a_loss() -> None:
    class Venue:
        def client(self, _url: str) -> Any:
            return SimpleNamespace(resolve=None, handle_text_or_binary_message=None)

    venue: Any = Venue()
    tap(venue, Listener(Binance([], "spot", tell=("trades",)).feed()).sink, lambda _quote: None)
    venue.client("wss://one")
    venue.client("wss://another")
    with pytest.raises(ccxt.NetworkError, match="lost meanwhile"):
        venue.client("wss://one")


def test_one_whose_wait_ccxt_cancels_is_told_of_a_loss_and_our_own_cancel_stays_one() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        closed.cancel()
        with pytest.raises(ccxt.NetworkError, match="the connection was closed"):
            await watched(closed)
        ours = asyncio.ensure_future(watched(loop.create_future()))
        await asyncio.sleep(0)
        ours.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ours
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await watched(loop.create_future())

    asyncio.run(scenario())
