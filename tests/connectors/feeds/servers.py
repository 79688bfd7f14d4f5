"""Exchanges on this machine: REST and WebSocket in their wire formats, and a recording that happens on demand."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from aiohttp import WSMsgType, web

from connectors.feeds.exchange import Exchange
from connectors.feeds.settings import ExchangeFeed
from schemas.base import market_id

Item = Any
"""What was recorded, in the venue's own form."""
Find = Callable[[str], Path]
LISTENS_S = 30.0
FOR_EVER_S = 1e9


class Server:
    """A server whose WebSocket speaks when told to. Subclasses know one venue's formats.

    `history` is what has happened; `first` is where REST begins to know of it.
    """

    exchange = ""
    hosts: tuple[str, ...] = ()

    def __init__(self, items: Sequence[Item], **settings: Any) -> None:
        self.items = list(items)
        self.history: list[Item] = []
        self.settings = settings
        self.requests: list[str] = []
        self.port = 0
        self._sockets: list[web.WebSocketResponse] = []
        self._subscribed = asyncio.Event()
        self._refusal: tuple[int, int] | None = None
        self._hushed = False
        self._garbled = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        app = web.Application(middlewares=[self._middleware])
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await self.cut()
            await runner.cleanup()

    @property
    def expected(self) -> list[str]:
        return [self.id_of(item) for item in self.items]

    def feed(self) -> Exchange:
        urls = {host: f"{'ws' if host.startswith('ws') else 'http'}://127.0.0.1:{self.port}" for host in self.hosts}
        usual: Item = {"exchange": self.exchange, "poll_s": 0.05, "backfill_s": FOR_EVER_S, "urls": urls}
        chosen = usual | self.settings
        return Exchange("test", ExchangeFeed(**chosen))

    # What a test says

    async def say(self, first: int, end: int) -> None:
        await self._listened()
        self.history += self.items[first:end]
        for item in self.items[first:end]:
            await self._send(self.message(item))

    async def miss(self, first: int, end: int) -> None:
        self.history += self.items[first:end]

    async def repeat(self, first: int, end: int) -> None:
        await self._listened()
        for item in self.items[first:end]:
            await self._send(self.message(item))

    async def swap(self, first: int) -> None:
        await self._listened()
        self.history += self.items[first : first + 2]
        for item in (self.items[first + 1], self.items[first]):
            await self._send(self.message(item))

    async def garble(self) -> None:
        if self.settings.get("transport") == "rest":
            self._garbled = True
            return
        await self._listened()
        await self._send('{"e": "trade", "s": ')

    async def cut(self) -> None:
        self._subscribed.clear()
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            with suppress(ConnectionError):
                await socket.close()

    async def hush(self) -> None:
        self._hushed = True

    def refuse(self, status: int, retry_after_s: int) -> None:
        self._refusal = (status, retry_after_s)

    async def _listened(self) -> None:
        if self.settings.get("transport") != "rest":
            await asyncio.wait_for(self._subscribed.wait(), LISTENS_S)

    async def _send(self, message: Item | str) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        for socket in self._sockets:
            with suppress(ConnectionError):
                await socket.send_str(text)

    # What a client hears

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if self._hushed:
            await asyncio.sleep(FOR_EVER_S)
        if self._refusal is not None:
            (status, retry_after_s), self._refusal = self._refusal, None
            return web.json_response(self.refusal, status=status, headers={"Retry-After": str(retry_after_s)})
        response: web.StreamResponse = await handler(request)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            if self._garbled:
                self._garbled = False
                return web.Response(text='[{"id": 1, "pri', content_type="application/json")
            return web.json_response(self.get(request.path, dict(request.query)))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                for answer in self.subscribe(json.loads(message.data)):
                    await socket.send_str(json.dumps(answer))
                self._sockets.append(socket)
                self._subscribed.set()
        return socket

    # What a venue knows

    @property
    def refusal(self) -> Item:
        """What a refused request is answered."""
        raise NotImplementedError

    def id_of(self, item: Item) -> str:
        raise NotImplementedError

    def message(self, item: Item) -> Item:
        raise NotImplementedError

    def subscribe(self, request: Item) -> list[Item]:
        raise NotImplementedError

    def get(self, path: str, query: dict[str, str]) -> Any:
        raise NotImplementedError


class Binance(Server):
    """Spot or USD-M futures; items are the `data` of recorded messages."""

    def __init__(self, items: Sequence[Item], kind: Literal["spot", "usdm"], **settings: Any) -> None:
        self.exchange = "binance" if kind == "spot" else "binanceusdm"
        self.hosts = (
            ("https://api.binance.com", "wss://stream.binance.com:9443")
            if kind == "spot"
            else ("https://fapi.binance.com", "wss://fstream.binance.com")
        )
        self.symbol = "BTC/USDT" if kind == "spot" else "BTC/USDT:USDT"
        self.kind = kind
        markets = {"fetchMarkets": {"types": ["spot" if kind == "spot" else "linear"]}}
        super().__init__(items, symbols=(self.symbol,), options=markets, **settings)

    def id_of(self, item: Item) -> str:
        key = f"{self.symbol}@{self.exchange}"
        return market_id(key, "trade", item["t"]) if "t" in item else market_id(key, "quote", item["u"])

    def message(self, item: Item) -> Item:
        return item

    def subscribe(self, request: Item) -> list[Item]:
        assert request["method"] == "SUBSCRIBE"
        return [{"result": None, "id": request["id"]}]

    @property
    def refusal(self) -> Item:
        return {"code": -1003, "msg": "Too many requests."}

    def get(self, path: str, query: dict[str, str]) -> Any:
        name = path.rpartition("/")[2]
        if name == "exchangeInfo":
            return {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": [self._market()]}
        if name in ("trades", "historicalTrades"):
            limit = int(query["limit"])
            trades = [self._trade(item) for item in self.history]
            if name == "trades":
                return trades[-limit:]
            return [trade for trade in trades if trade["id"] >= int(query["fromId"])][:limit]
        if name == "bookTicker":
            return [self._book(self.history[-1])] if self.history else []
        raise web.HTTPNotFound

    def _market(self) -> Item:
        spot = {"isSpotTradingAllowed": True, "isMarginTradingAllowed": True, "permissions": [], "permissionSets": []}
        future = {"pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "marginAsset": "USDT"}
        return {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "orderTypes": ["LIMIT", "MARKET"],
            "filters": [],
        } | (spot if self.kind == "spot" else future)

    def _trade(self, item: Item) -> Item:
        return {
            "id": item["t"],
            "price": item["p"],
            "qty": item["q"],
            "quoteQty": "0",
            "time": item["T"],
            "isBuyerMaker": item["m"],
        }

    def _book(self, item: Item) -> Item:
        book = {"symbol": "BTCUSDT", "bidPrice": item["b"], "bidQty": item["B"], "askPrice": item["a"]}
        return book | {"askQty": item["A"]} | ({"time": item["T"]} if "T" in item else {})


class Kraken(Server):
    """Items are rows of the recorded answer to Trades: price, volume, time in s, side, type, misc, id."""

    exchange = "kraken"
    hosts = ("https://api.kraken.com", "wss://ws.kraken.com")

    def __init__(self, items: Sequence[Any], pairs: Item, **settings: Any) -> None:
        self.pairs = pairs
        super().__init__(items, symbols=("BTC/USDT",), **settings)

    def id_of(self, item: Any) -> str:
        return market_id("BTC/USDT@kraken", "trade", item[6])

    def message(self, item: Any) -> Item:
        price, size, time_s, side, _, _, number = item
        at = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        trade: Item = {"symbol": "BTC/USDT", "side": {"b": "buy", "s": "sell"}[side], "price": float(price)}
        trade |= {"qty": float(size), "ord_type": "market", "trade_id": number, "timestamp": at}
        return {"channel": "trade", "type": "update", "data": [trade]}

    def subscribe(self, request: Item) -> list[Item]:
        assert request["method"] == "subscribe"
        result = request["params"]
        return [{"method": "subscribe", "result": result, "success": True, "req_id": request["req_id"]}]

    @property
    def refusal(self) -> Item:
        return {"error": ["EGeneral:Too many requests"]}

    def get(self, path: str, query: dict[str, str]) -> Any:
        name = path.rpartition("/")[2]
        if name == "AssetPairs":
            return self.pairs
        if name == "Assets":
            asset = {"aclass": "currency", "decimals": 10, "display_decimals": 5, "status": "enabled"}
            return {"error": [], "result": {"XXBT": asset | {"altname": "XBT"}, "USDT": asset | {"altname": "USDT"}}}
        if name == "Trades":
            since_s = int(query.get("since", "0")) / 1e9
            rows = [item for item in self.history if item[2] > since_s][: int(query.get("count", "1000"))]
            return {"error": [], "result": {"XBTUSDT": rows, "last": "0"}}
        raise web.HTTPNotFound


class KrakenBars(Kraken):
    """Items are rows of the recorded answer to OHLC. Of what has happened, the last is still open.

    `now` follows the recording: it is half a minute into the last bar.
    """

    def now(self) -> int:
        opened_s: int = (self.history or self.items)[-1][0]
        return (opened_s + 30) * 1_000_000_000

    def id_of(self, item: Any) -> str:
        return market_id("BTC/USDT@kraken", "bar60", item[0] * 1_000_000_000)

    def message(self, item: Any) -> Item:
        at = datetime.fromtimestamp(item[0], UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
        candle: Item = dict(zip(("open", "high", "low", "close", "vwap", "volume"), map(float, item[1:7]), strict=True))
        candle |= {"symbol": "BTC/USDT", "trades": item[7], "interval_begin": at, "interval": 1}
        return {"channel": "ohlc", "type": "update", "data": [candle]}

    def get(self, path: str, query: dict[str, str]) -> Any:
        if path.rpartition("/")[2] != "OHLC":
            return super().get(path, query)
        since = int(query.get("since", "0"))
        rows = [item for item in self.history if item[0] >= since][-720:]
        return {"error": [], "result": {"XBTUSDT": rows, "last": 0}}


class Coinbase(Server):
    """Items are trades of the recorded answer to a product's ticker, oldest first."""

    exchange = "coinbase"
    hosts = ("https://api.coinbase.com", "wss://advanced-trade-ws.coinbase.com")

    def __init__(self, items: Sequence[Item], products: Item, **settings: Any) -> None:
        self.products = products
        super().__init__(items, symbols=("BTC/USD",), **settings)

    def id_of(self, item: Item) -> str:
        return market_id("BTC/USD@coinbase", "trade", int(item["trade_id"]))

    def message(self, item: Item) -> Item:
        trade = {name: item[name] for name in ("trade_id", "product_id", "price", "size", "side", "time")}
        event = {"type": "update", "trades": [trade]}
        return {"channel": "market_trades", "client_id": "", "timestamp": item["time"], "events": [event]}

    def subscribe(self, request: Item) -> list[Item]:
        assert request["type"] == "subscribe"
        return [{"channel": "subscriptions", "events": [{"subscriptions": {request["channel"]: ["BTC-USD"]}}]}]

    @property
    def refusal(self) -> Item:
        return {"errors": [{"id": "rate_limit_exceeded", "message": "too many"}]}

    def get(self, path: str, query: dict[str, str]) -> Any:
        if path.endswith("/market/products"):
            return self.products
        if path.endswith("/ticker"):
            start, limit = int(query.get("start", "0")), int(query.get("limit", "1000"))
            end = int(query.get("end", "99999999999"))
            rows = [item for item in self.history if start <= datetime.fromisoformat(item["time"]).timestamp() <= end]
            return {"trades": rows[::-1][:limit], "best_bid": "0", "best_ask": "0"}
        return {"data": []}


class KrakenQuotes(Kraken):
    """Items are messages of the channel `ticker`."""

    def message(self, item: Item) -> Item:
        return item


class CoinbaseQuotes(Coinbase):
    """Items are messages of the channel `ticker`."""

    def message(self, item: Item) -> Item:
        return item


# Recordings


def binance_ticks(path: Path, stream: str, count: int) -> list[Item]:
    """The data of the first `count` messages of a stream of a raw recording."""
    with gzip.open(path) as lines:
        messages = (json.loads(line.partition(b" ")[2]) for line in lines)
        return list(islice((each["data"] for each in messages if each.get("stream") == stream), count))


def binance_messages(path: Path, kind: str) -> list[Item]:
    """The data of the messages of a kind among recorded ones."""
    messages = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [each["payload"]["data"] for each in messages if each["kind"] == kind]


def kraken_rows(path: Path, count: int) -> list[Any]:
    """The first rows of a recorded answer."""
    rows: list[Any] = json.loads(path.read_text("utf-8"))["result"]["XBTUSDT"]
    return rows[:count]
