"""Trades and bars of one symbol, told once and in order: what was missed is fetched by REST before going on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from connectors.feeds.market import Fields, bar_of, number_of, trade_of
from connectors.feeds.protocol import Newest, Sink
from connectors.feeds.venue import Traits, watched
from schemas.base import NS_PER_MS, NS_PER_S

MAX_PAGES = 1_000
"""Of one repair; a source that gives the same page again and again is not asked for ever."""
GRACE_NS = 2 * NS_PER_S
"""After its end a bar is asked for by REST: trades of its last moment are counted in by then."""
BARS_PAGE = 500
NEWEST_PAGE = 1_000
ANEW_MS = 60_000
"""A trade so much later than the last one, and of a lower number, is no late one."""
SLACK_MS = 1_000
"""A span's end is given in whole seconds."""


class Tape:
    """The trades of one symbol."""

    def __init__(self, venue: Any, symbol: str, key: str, sink: Sink, traits: Traits) -> None:  # noqa: ANN401
        self._venue, self._symbol, self._key, self._sink, self._traits = venue, symbol, key, sink, traits
        self._number: int | None = None
        self._ms: int | None = None
        """Where the tape stands: the last trade told."""
        self._joined = traits.consecutive
        """Whether nothing was lost between the last repair and the first trade of the connection."""

    def resume(self, newest: Newest | None, backfill_ns: int) -> None:
        """Go on behind the last trade told, unless that is too long ago to be repaired here."""
        if newest is None:
            return
        if self._sink.now() - newest.occurred_at > backfill_ns:
            self._sink.refuse(f"{self._key}: the gap since the last trade is longer than backfill_s and stays open")
            return
        number = newest.id.rpartition("/")[2]
        if not number.isdecimal():
            self._sink.refuse(f"{self._key}: the last trade has an id of another make, so a gap cannot be seen")
            return
        self._number, self._ms = int(number), newest.occurred_at // NS_PER_MS

    @property
    def stands(self) -> bool:
        """Whether a trade was told before."""
        return self._number is not None

    async def take(self, trades: Sequence[Fields]) -> None:
        """Tell what has come, in order, and before it what is missing."""
        if not self._joined:
            self._joined = True
            if self.stands:
                await self.repair()
        for trade in self._in_order(trades):
            self._begin_anew_before(trade)
            if self._traits.consecutive and self._number is not None and number_of(trade["id"]) > self._number + 1:
                await self.repair(before=number_of(trade["id"]))
            self._tell(trade)

    def _begin_anew_before(self, trade: Fields) -> None:
        """Forget where the tape stands if the venue has begun to number anew, as test networks do now and then."""
        if self._traits.consecutive and self._number is not None and number_of(trade["id"]) < self._number:
            late_ms = trade["timestamp"] - (self._ms or 0)
            if late_ms > ANEW_MS:
                self._sink.refuse(f"{self._key}: the numbers of trades begin anew at {trade['id']}")
                self._number = None

    async def repair(self, before: int | None = None) -> None:
        """Fetch and tell the trades that follow the last one told, up to the trade `before` or to the newest."""
        for _ in range(MAX_PAGES):
            stood = self._number
            page = await self._page()
            for trade in page:
                if before is None or number_of(trade["id"]) < before:
                    self._tell(trade)
            if stood == self._number or stood is None or (before is not None and self._number == before - 1):
                return

    async def _page(self) -> list[Fields]:
        """Fetch the next trades, in order: among the newest if those reach back far enough, for they cost least."""
        if self._number is None or self._traits.recent:
            newest = await self._newest()
            reaches = bool(newest) and self._number is not None and number_of(newest[0]["id"]) <= self._number + 1
            if self._number is None or reaches or not newest or not self._venue.apiKey:
                return newest
            params = {"fetchTradesMethod": self._traits.by_number, "fromId": self._number + 1}
            return self._in_order(await self._venue.fetch_trades(self._symbol, None, self._traits.page, params))
        if not self._traits.newest_first:
            return self._in_order(await self._venue.fetch_trades(self._symbol, self._ms, self._traits.page))
        return await self._backwards(self._number)

    async def _newest(self) -> list[Fields]:
        params = {"fetchTradesMethod": self._traits.recent} if self._traits.recent else {}
        return self._in_order(await self._venue.fetch_trades(self._symbol, None, NEWEST_PAGE, params))

    async def _backwards(self, number: int) -> list[Fields]:
        """Fetch all trades behind `number`, the newest first."""
        found: dict[int, Fields] = {}
        until = self._sink.now() // NS_PER_MS + SLACK_MS
        for _ in range(MAX_PAGES):
            params = {"until": until}
            page = self._in_order(await self._venue.fetch_trades(self._symbol, self._ms, self._traits.page, params))
            fresh = {number_of(trade["id"]): trade for trade in page}
            if not fresh.keys() - found.keys():
                break
            found |= fresh
            if min(fresh) <= number + 1:
                break
            until = int(page[0]["timestamp"]) + SLACK_MS
        return self._in_order(list(found.values()))

    def _in_order(self, trades: Sequence[Fields]) -> list[Fields]:
        """Sort by number where numbers follow each other, else by time; a trade without either is reported."""
        good = []
        for trade in trades:
            if trade.get("id") and trade.get("timestamp"):
                good.append(trade)
            else:
                self._sink.refuse(f"{self._key}: a trade without an id or a time", str(trade.get("info")))
        if self._traits.consecutive:
            return sorted(good, key=lambda trade: number_of(trade["id"]))
        return sorted(good, key=lambda trade: trade["timestamp"])

    def _tell(self, trade: Fields) -> None:
        number = number_of(trade["id"])
        if self._traits.consecutive and self._number is not None and number <= self._number:
            self._sink.skip("told before")
            return
        try:
            event = trade_of(trade, self._key, self._sink.now())
        except (TypeError, ValueError) as error:
            self._sink.refuse(f"{self._key}: a trade cannot be read: {error}", str(trade.get("info")))
            return
        if self._traits.consecutive and self._number is not None and number > self._number + 1:
            missing = f"{self._number + 1} to {number - 1}"
            self._sink.refuse(f"{self._key}: the source does not give the trades {missing}; they are missing")
        self._sink.put(event)
        self._number, self._ms = number, max(self._ms or 0, event.occurred_at // NS_PER_MS)


class Bars:
    """The closed bars of one symbol."""

    def __init__(self, venue: Any, symbol: str, key: str, sink: Sink, timeframe: str, interval_ns: int) -> None:  # noqa: ANN401
        self._venue, self._symbol, self._key, self._sink = venue, symbol, key, sink
        self._timeframe, self._interval_ns = timeframe, interval_ns
        self._next_ms: int | None = None
        """Opening time of the next bar to tell."""
        self._open: dict[int, Sequence[Any]] = {}
        """Bars as they are told while they change, by opening time in ms."""

    def resume(self, newest: Newest | None, backfill_ns: int) -> None:
        """Go on behind the last bar told, unless that is too long ago to be repaired here."""
        if newest is None:
            return
        if self._sink.now() - newest.occurred_at > backfill_ns + self._interval_ns:
            self._sink.refuse(f"{self._key}: the gap since the last bar is longer than backfill_s and stays open")
            return
        self._next_ms = newest.occurred_at // NS_PER_MS

    async def poll(self) -> None:
        """Tell each bar soon after its end, for ever, by REST alone."""
        if self._next_ms is None:
            self._next_ms = self._sink.now() // self._interval_ns * self._interval_ns // NS_PER_MS
        while True:
            await self.repair()
            await asyncio.sleep(self._wait_s())

    async def watch(self) -> None:
        """Tell each bar when the next begins, for ever; where no word of the next comes, by REST."""
        if self._next_ms is not None:
            await self.repair()
        while True:
            try:
                async with asyncio.timeout(self._wait_s()):
                    candles = await watched(self._venue.watch_ohlcv(self._symbol, self._timeframe))
            except TimeoutError:
                if self._next_ms is not None:
                    await self.repair()
            else:
                await self.take(candles)

    def _wait_s(self) -> float:
        """Give the time until the present bar's end, and the grace behind it."""
        now = self._sink.now() - GRACE_NS
        return (self._interval_ns - now % self._interval_ns) / NS_PER_S

    async def take(self, candles: Sequence[Sequence[Any]]) -> None:
        """Note how bars stand; when a later one begins, those before it are closed."""
        for candle in candles:
            if self._next_ms is None:
                self._next_ms = int(candle[0])
            if candle[0] >= self._next_ms:
                self._open[int(candle[0])] = candle
        for opened_ms in sorted(self._open)[:-1]:
            if opened_ms > (self._next_ms or 0):
                await self.repair(before_ms=opened_ms)
            self._tell(self._open[opened_ms])
        self._open = {at: candle for at, candle in self._open.items() if at >= (self._next_ms or 0)}

    async def repair(self, before_ms: int | None = None) -> None:
        """Fetch and tell the closed bars from the next one on, up to `before_ms`."""
        for _ in range(MAX_PAGES):
            stood = self._next_ms
            page = await self._venue.fetch_ohlcv(self._symbol, self._timeframe, stood, BARS_PAGE)
            page = sorted(candle for candle in page if candle[0] is not None)
            for candle in page:
                is_closed = candle[0] < page[-1][0] or self._is_over(candle)
                if is_closed and (before_ms is None or candle[0] < before_ms):
                    self._tell(candle)
            if stood == self._next_ms:
                return

    def _is_over(self, candle: Sequence[Any]) -> bool:
        return bool(candle[0] * NS_PER_MS + self._interval_ns + GRACE_NS <= self._sink.now())

    def _tell(self, candle: Sequence[Any]) -> None:
        if self._next_ms is not None and candle[0] < self._next_ms:
            return
        try:
            event = bar_of(candle, self._key, self._interval_ns, self._sink.now())
        except (TypeError, ValueError) as error:
            self._sink.refuse(f"{self._key}: a bar cannot be read: {error}", str(candle))
            return
        self._sink.put(event)
        self._next_ms = event.occurred_at // NS_PER_MS
