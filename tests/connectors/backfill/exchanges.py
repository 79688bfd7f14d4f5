"""A local server that speaks Binance's and Kraken's REST wire format, for ccxt to talk to.

It keeps their manners: limits to a page, aggregate trades by number or by time, Kraken's 720 candles and its cursor
in ns. It can refuse, break off and be slow, and it counts what it was asked.
"""

from __future__ import annotations

import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import ParseResult, parse_qs, urlparse

import msgspec

MINUTE_MS = 60_000
Fault = Callable[[int], tuple[int, bytes, dict[str, str]] | None]
"""Number of the request to what is answered instead; a body that ends with CUT is broken off."""
CUT = b"<cut>"


@dataclass
class Market:
    """What the exchange has: candles (opening time in ms, price) and trades (id, ms or ns, price, size, seller hit)."""

    candles: list[tuple[int, float]] = field(default_factory=list)
    trades: list[tuple[int, int, float, float, bool]] = field(default_factory=list)
    fault: Fault = lambda _: None
    asked: Counter[str] = field(default_factory=Counter)
    page: int = 1_000
    """Most rows of an answer, whatever is asked for."""
    slow_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def _binance(market: Market, path: str, query: dict[str, str]) -> Any:
    limit = min(int(query.get("limit", 500)), market.page)
    if path == "/exchangeInfo":
        return {"symbols": [_binance_symbol()], "rateLimits": []}
    if path == "/klines":
        since = int(query.get("startTime", 0))
        place = bisect_left(market.candles, (since, 0.0))
        return [_kline(at, price) for at, price in market.candles[place : place + limit]]
    if path == "/aggTrades":
        trades = market.trades
        if "fromId" in query:
            trades = trades[bisect_left(trades, (int(query["fromId"]),)) :]
        else:
            lo, hi = int(query["startTime"]), int(query["endTime"])
            trades = [trade for trade in trades if lo <= trade[1] <= hi]
        return [
            {"a": i, "p": str(price), "q": str(size), "f": i, "l": i, "T": at, "m": seller, "M": True}
            for i, at, price, size, seller in trades[:limit]
        ]
    raise KeyError(path)


def _kline(at: int, price: float) -> list[Any]:
    text = [str(price), str(price + 1), str(price - 1), str(price), "2.5"]
    return [at, *text, at + MINUTE_MS - 1, "250.0", 7, "1.0", "100.0", "0"]


def _binance_symbol() -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "filters": [],
        "permissions": ["SPOT"],
    }


def _kraken(market: Market, path: str, query: dict[str, str]) -> Any:
    if path == "/0/public/Assets":
        return {"error": [], "result": {name: _asset(name) for name in ("XXBT", "ZUSD")}}
    if path == "/0/public/AssetPairs":
        return {"error": [], "result": {"XXBTZUSD": _pair()}}
    if path == "/0/public/OHLC":
        rows = [
            [at // 1000, str(price), str(price + 1), str(price - 1), str(price), str(price), "2.5", 7]
            for at, price in market.candles[-720:]
            if at // 1000 > int(query.get("since", 0))
        ]
        return {"error": [], "result": {"XXBTZUSD": rows, "last": 0}}
    if path == "/0/public/Trades":
        count, since = int(query.get("count", 1_000)), int(query.get("since", 0))
        rest = [trade for trade in market.trades if trade[1] > since][: min(count, market.page)]
        last = str(rest[-1][1] if rest else since)
        rows = [
            [str(price), str(size), at / 1e9, "s" if sold else "b", "m", "", i] for i, at, price, size, sold in rest
        ]
        return {"error": [], "result": {"XXBTZUSD": rows, "last": last}}
    raise KeyError(path)


def _asset(name: str) -> dict[str, Any]:
    return {"aclass": "currency", "altname": name[1:], "decimals": 8, "display_decimals": 5, "status": "enabled"}


def _pair() -> dict[str, Any]:
    return {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "aclass_base": "currency",
        "base": "XXBT",
        "aclass_quote": "currency",
        "quote": "ZUSD",
        "lot": "unit",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "ordermin": "0.00005",
        "status": "online",
    }


SPEAK = {"binance": _binance, "kraken": _kraken}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # who asked may have been interrupted
            super().handle_error(request, client_address)


@contextmanager
def serving(name: str, market: Market) -> Iterator[dict[str, str]]:
    """Serve a market as an exchange does; give the addresses that stand in for its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlparse(self.path)
            with market.lock:
                market.asked[url.path] += 1
                fault = market.fault(market.asked.total())
                market.at_once += 1
                market.most_at_once = max(market.most_at_once, market.at_once)
            time.sleep(market.slow_s)
            try:
                self._answer(url, fault)
            finally:
                with market.lock:
                    market.at_once -= 1

        def _answer(self, url: ParseResult, fault: tuple[int, bytes, dict[str, str]] | None) -> None:
            if fault:
                self._send(*fault)
                return
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self._send(200, msgspec.json.encode(SPEAK[name](market, url.path, query)), {})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.removesuffix(CUT))
            if body.endswith(CUT):
                self.close_connection = True

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        yield dict.fromkeys(("public", "private", "fapiPublic", "dapiPublic"), address)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
