"""An exchange's past as ccxt reads it: candles and trades of a stretch of time, whole.

Calls keep to the exchange's limits by ccxt's throttle. What fails in the net or is refused for its rate is asked again,
later and later; what the exchange refuses otherwise is a VenueError.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from difflib import get_close_matches
from typing import Any, Self, TypeAlias

import aiohttp
import ccxt.async_support as ccxt

from connectors.feeds.venue import require_json, retry_after_s
from connectors.importers.report import printable
from schemas.base import NS_PER_MS
from schemas.errors import VenueError

Candle: TypeAlias = list[Any]
"""Opening time in ms, open, high, low, close, volume."""
Trade: TypeAlias = dict[str, Any]
"""ccxt's: timestamp in ms, id, price, amount, side."""
TRIES = 9
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
PAGE_ROWS = 1_000
"""Of trades; the most that the exchanges below give."""
CANDLES = 500
"""Of a page, where ccxt does not know better."""
NUMBERED = ("binance", "binanceus", "binanceusdm", "binancecoinm")
"""Their trades are asked for by number: aggregate trades, whose numbers leave none out."""
CURSORED = ("kraken",)
"""Theirs by a time in ns, of which each answer gives the next."""


def connect(name: str) -> Any:  # noqa: ANN401 - ccxt's classes share no useful type
    """Make ccxt's client of an exchange; nothing is connected yet. Raises VenueError for an unknown name."""
    if name not in ccxt.exchanges:
        near = get_close_matches(name, ccxt.exchanges, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise VenueError(f"--exchange {printable(name)}: ccxt knows no such exchange{meant}")
    exchange = getattr(ccxt, name)()
    require_json(exchange)
    return exchange


class Venue:
    """One market of one exchange. Use as an async context: it holds connections."""

    def __init__(self, exchange: Any, symbol: str) -> None:  # noqa: ANN401 - see `connect`
        """`exchange` comes from `connect`; nothing is asked of it yet."""
        self.name: str = exchange.id
        self.symbol = symbol
        self.waited_s = 0.0
        """How long calls were put off because earlier ones had failed."""
        self._exchange = exchange
        self._not_before = 0.0
        """No call before this, by the monotonic clock: one that is refused for its rate holds back all."""

    async def __aenter__(self) -> Self:
        """Learn what the exchange trades. Raises VenueError where it has no such symbol."""
        try:
            self._check_symbol(await self._ask(self._exchange.load_markets))
        except BaseException:
            await self._exchange.close()
            raise
        return self

    def _check_symbol(self, markets: dict[str, Any]) -> None:
        if self.symbol not in markets:
            near = get_close_matches(self.symbol, markets, 3)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise VenueError(f"--symbol {printable(self.symbol)}: {self.name} has no such market{meant}")

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._exchange.close()

    def check_candles(self, timeframe: str) -> None:
        """Raise VenueError where the exchange has no candles of this length."""
        known = self._exchange.timeframes or {}
        if not self._exchange.has["fetchOHLCV"] or timeframe not in known:
            having = f"it has {', '.join(known)}" if known else "it has none at all"
            raise VenueError(f"--timeframe {timeframe}: {self.name} has no such candles; {having}")

    def check_trades(self) -> None:
        """Raise VenueError where trades cannot be paged without losing some."""
        if self.name not in (*NUMBERED, *CURSORED):
            raise VenueError(
                f"--exchange {self.name}: its trades cannot be fetched without losing some between pages; those of"
                f" {', '.join((*NUMBERED, *CURSORED))} can, and candles of any exchange (quorum backfill ohlcv)"
            )

    @property
    def page(self) -> int:
        """How many candles come at once."""
        limit = self._exchange.feature_value(self.symbol, "fetchOHLCV", "limit")
        return int(limit) if limit else CANDLES

    async def candles(self, timeframe: str, opened: int, until: int, step: int) -> list[Candle]:
        """Give the candles that opened in [opened, until), ms. The exchange may leave out minutes, and cut answers."""
        found: list[Candle] = []
        at = opened
        while at < until:
            limit = min(self.page, -(-(until - at) // step))
            answer = await self._ask(self._exchange.fetch_ohlcv, self.symbol, timeframe, at, limit)
            times = [candle[0] for candle in answer if at <= candle[0]]
            found += [candle for candle in answer if at <= candle[0] < until]
            if not times or max(times) >= until:
                break
            at = max(times) + step
        return found

    async def first_candle(self, timeframe: str, opened: int) -> int | None:
        """Give when the first candle that the exchange has from `opened` on opened, ms; None where it tells none."""
        try:
            answer = await self._ask(self._exchange.fetch_ohlcv, self.symbol, timeframe, opened, 1)
        except VenueError:  # some refuse a time so long past, and what is really asked for will show what is wrong
            return None
        times = [candle[0] for candle in answer if candle[0] >= opened]
        return min(times) if times else None

    async def first_trade(self) -> int | None:
        """Give when the oldest trade that the exchange has was made, ms."""
        start = {"fromId": 0} if self.name in NUMBERED else {"since": "0"}
        answer = await self._ask(self._exchange.fetch_trades, self.symbol, None, 1, start)
        return min((trade["timestamp"] for trade in answer), default=None)

    async def trades(self, since: int, until: int) -> AsyncIterator[list[Trade]]:
        """Give the trades of [since, until), ms, page by page; some may come twice."""
        pages = self._by_number(since) if self.name in NUMBERED else self._by_cursor(since)
        async for page in pages:
            yield [trade for trade in page if since <= trade["timestamp"] < until]
            if page[-1]["timestamp"] >= until:
                return

    async def _by_number(self, since: int) -> AsyncIterator[list[Trade]]:
        """Begin before the first trade since then, whichever of its trades the exchange named first."""
        named = await self._ask(self._exchange.fetch_trades, self.symbol, since, 1)
        if not named:
            return
        number, back = int(named[0]["id"]), 1
        while True:
            page = await self._numbered(max(0, number - back))
            if not page or page[0]["timestamp"] < since or number - back <= 0:
                break
            back *= PAGE_ROWS
        while page:
            yield page
            page = await self._numbered(int(page[-1]["id"]) + 1)

    async def _numbered(self, first: int) -> list[Trade]:
        page = await self._ask(self._exchange.fetch_trades, self.symbol, None, PAGE_ROWS, {"fromId": first})
        return sorted(page, key=lambda trade: int(trade["id"]))

    async def _by_cursor(self, since: int) -> AsyncIterator[list[Trade]]:
        """Ask again for the last moment of each page: trades of one moment may lie on both sides of its end."""
        cursor, seen = since * NS_PER_MS - 1, ""
        while True:
            page = await self._ask(self._exchange.fetch_trades, self.symbol, None, PAGE_ROWS, {"since": str(cursor)})
            if not page or page[-1]["id"] == seen:
                return
            yield page
            seen, last = page[-1]["id"], max(int(trade["info"][-1]) for trade in page) - 1  # ccxt adds it to one
            if last <= cursor and len(page) >= PAGE_ROWS:
                raise VenueError(f"{self.name}: more trades in one moment than an answer holds; they cannot be told")
            cursor = max(cursor, last)

    async def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - ccxt's own types
        """Call, and call again where that may help. Raises VenueError."""
        for tried in range(1, TRIES + 1):
            await self._wait()
            try:
                return await call(*arguments)
            except ccxt.BaseError as error:
                passing = isinstance(error, ccxt.OperationFailed) or isinstance(error.__cause__, aiohttp.ClientError)
                if not passing or tried == TRIES:
                    raise self._failed(error, tried) from None
                self._hold(error, tried)
        raise AssertionError

    async def _wait(self) -> None:
        while (wait_s := self._not_before - time.monotonic()) > 0:
            self.waited_s += wait_s
            await asyncio.sleep(wait_s)

    def _hold(self, error: Exception, tried: int) -> None:
        """Put off all calls: as long as the exchange says, else twice as long each time, and never all at once."""
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tried - 1))
        headers = {name.lower(): value for name, value in (self._exchange.last_response_headers or {}).items()}
        if isinstance(error, ccxt.NetworkError):
            wait_s = max(wait_s, retry_after_s(headers.get("retry-after", ""), time.time()))
        wait_s *= 1 + random.random() / 4  # noqa: S311 - spreads calls, keeps no secret
        self._not_before = max(self._not_before, time.monotonic() + wait_s)

    def _failed(self, error: Exception, tried: int) -> VenueError:
        said = printable(str(error).removeprefix(f"{self.name} "))
        times = f" after {tried} tries" if tried > 1 else ""
        return VenueError(f"{self.name}: {type(error).__name__}{times}: {said}")
