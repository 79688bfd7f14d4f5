"""Market data of an exchange by ccxt: trades, best bid and ask, closed bars, by WebSocket or by polling REST.

After a loss the trades and bars missed are fetched by REST before going on. Quotes that were missed are gone: their
staleness says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from connectors.feeds.market import Fields, quote_of, same_quote
from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import ExchangeFeed
from connectors.feeds.tape import Bars, Tape
from connectors.feeds.venue import TRAITS, Traits, as_feed_error, interval_ns_of, make_venue, tap, watched
from schemas.base import NS_PER_S, Event
from schemas.errors import FeedError
from schemas.market import BarClosed, QuoteTicked, TradeTicked

_TELLS: dict[str, type[Event]] = {"trades": TradeTicked, "quotes": QuoteTicked, "bars": BarClosed}


class Exchange:
    """The feed of one exchange. Keys are `SYMBOL@EXCHANGE` unless the settings name others."""

    def __init__(self, name: str, settings: ExchangeFeed) -> None:
        """Connect to nothing yet. Raises FeedError for settings that cannot be used."""
        self._name, self._settings = name, settings
        self._keys = {each: settings.keys.get(each, f"{each}@{settings.exchange}") for each in settings.symbols}
        unknown = sorted(settings.keys.keys() - self._keys.keys())
        if unknown:
            raise FeedError(f"feed {name}: keys: {unknown[0]} is none of its symbols")
        self._interval_ns = interval_ns_of(settings.interval)
        self._traits = TRAITS.get(settings.exchange, Traits())
        self._markets: dict[str, Any] | None = None
        make_venue(settings)

    @property
    def streams(self) -> Sequence[Stream]:
        """Each kind that is told, of each symbol."""
        return [(_TELLS[what], key) for key in self._keys.values() for what in self._settings.tell]

    async def run(self, sink: Sink, since: Since) -> None:
        """Tell until cancelled. Raises FeedError when the connection or a request fails."""
        venue = make_venue(self._settings, self._markets)
        quotes = Quotes(self._keys, sink, self._traits)
        tap(venue, sink, quotes.take)
        try:
            await self._load(venue, sink)
            async with asyncio.TaskGroup() as group:
                for work in self._works(venue, quotes, sink, since):
                    group.create_task(work)
        except ExceptionGroup as failed:
            raise as_feed_error(venue, self._name, _first(failed)) from None
        finally:
            await venue.close()

    async def _load(self, venue: Any, sink: Sink) -> None:  # noqa: ANN401
        """Learn the venue's symbols, once in the life of the feed."""
        try:
            await venue.load_markets()
        except Exception as error:  # noqa: BLE001 - ccxt raises what it likes at an answer that it cannot read
            raise as_feed_error(venue, self._name, error) from None
        self._markets = venue.markets
        sink.heard()
        missing = [symbol for symbol in self._keys if symbol not in venue.markets]
        if missing:
            raise FeedError(f"{self._name}: {self._settings.exchange} has no symbol {missing[0]}")

    def _works(self, venue: Any, quotes: Quotes, sink: Sink, since: Since) -> list[Coroutine[Any, Any, None]]:  # noqa: ANN401
        settings = self._settings
        backfill_ns = int(settings.backfill_s * NS_PER_S)
        polls = settings.transport == "rest"
        works: list[Coroutine[Any, Any, None]] = []
        for symbol, key in self._keys.items():
            if "trades" in settings.tell:
                tape = Tape(venue, symbol, key, sink, self._traits)
                tape.resume(since.get((TradeTicked, key)), backfill_ns)
                works.append(self._poll_trades(tape, sink) if polls else _watch_trades(venue, symbol, tape))
            if "bars" in settings.tell:
                bars = Bars(venue, symbol, key, sink, settings.interval, self._interval_ns)
                bars.resume(since.get((BarClosed, key)), backfill_ns)
                works.append(bars.watch() if venue.has.get("watchOHLCV") and not polls else bars.poll())
        if "quotes" in settings.tell:
            works += [self._poll_quotes(venue, quotes, sink)] if polls else quotes.watch(venue)
        return works

    async def _poll_trades(self, tape: Tape, sink: Sink) -> None:
        while True:
            await tape.repair()
            sink.heard()
            await asyncio.sleep(self._settings.poll_s)

    async def _poll_quotes(self, venue: Any, quotes: Quotes, sink: Sink) -> None:  # noqa: ANN401
        while True:
            await quotes.fetch(venue)
            sink.heard()
            await asyncio.sleep(self._settings.poll_s)


async def _watch_trades(venue: Any, symbol: str, tape: Tape) -> None:  # noqa: ANN401
    if tape.stands:
        await tape.repair()
    while True:
        await tape.take(await watched(venue.watch_trades(symbol)))


class Quotes:
    """Best bids and offers of all symbols. One that a venue does not number is told when it differs from the last."""

    def __init__(self, keys: dict[str, str], sink: Sink, traits: Traits) -> None:
        self._keys, self._sink, self._traits = keys, sink, traits
        self._last: dict[str, QuoteTicked] = {}
        self._unnumbered = 0
        """The number given last to a quote that has none: our time, but never the same twice."""

    def take(self, ticker: Fields) -> None:
        """Tell a quote, in ccxt's form of a ticker."""
        key = self._keys.get(ticker.get("symbol") or "")
        if key is None:
            return
        now = self._sink.now()
        self._unnumbered = max(now, self._unnumbered + 1)
        try:
            event = quote_of(ticker, key, now, self._traits, self._unnumbered)
        except (TypeError, ValueError) as error:
            self._sink.refuse(f"{key}: a quote cannot be read: {error}", str(ticker.get("info")))
            return
        last = self._last.get(key)
        if not self._traits.quote_number and same_quote(last, event):
            self._sink.skip("unchanged")
            return
        self._last[key] = event
        self._sink.put(event)

    def watch(self, venue: Any) -> list[Coroutine[Any, Any, None]]:  # noqa: ANN401
        """Subscribe by what the venue has; what `tap` sees is told there. Raises FeedError where it has nothing."""
        symbols = list(self._keys)
        if venue.has.get("watchBidsAsks"):
            return [_for_ever(venue.watch_bids_asks, symbols)]
        if venue.has.get("watchTicker"):
            return [_for_ever(venue.watch_ticker, symbol) for symbol in symbols]
        if venue.has.get("watchOrderBook"):
            return [self._watch_book(venue, symbol) for symbol in symbols]
        raise FeedError(f"{venue.id} has no quotes by WebSocket in ccxt; set `transport: rest`")

    async def _watch_book(self, venue: Any, symbol: str) -> None:  # noqa: ANN401
        while True:
            self._take_top(symbol, await watched(venue.watch_order_book(symbol)))

    async def fetch(self, venue: Any) -> None:  # noqa: ANN401
        """Ask for all quotes once."""
        if venue.has.get("fetchBidsAsks"):
            for ticker in (await venue.fetch_bids_asks(list(self._keys))).values():
                self.take(ticker)
            return
        for symbol in self._keys:
            if venue.has.get("fetchTicker"):
                self.take(await venue.fetch_ticker(symbol))
            else:
                self._take_top(symbol, await venue.fetch_order_book(symbol))

    def _take_top(self, symbol: str, book: Fields) -> None:
        if book["bids"] and book["asks"]:
            (bid, bid_size), (ask, ask_size) = book["bids"][0][:2], book["asks"][0][:2]
            top = {"symbol": symbol, "bid": bid, "bidVolume": bid_size, "ask": ask, "askVolume": ask_size}
            self.take(top | {"timestamp": book.get("timestamp")})


async def _for_ever(watch: Any, *args: Any) -> None:  # noqa: ANN401
    while True:
        await watched(watch(*args))


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
