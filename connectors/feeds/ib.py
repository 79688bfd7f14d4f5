"""Market data of Interactive Brokers by ib_async, through a TWS or IB Gateway that runs somewhere: bars and quotes.

IB gives its trades no ids, so that after a repair nothing could tell a double from a second trade: they are not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.feeds.exchange import Quotes
from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import IbContract, IbFeed
from connectors.feeds.tape import Bars
from connectors.feeds.venue import Traits, interval_ns_of
from schemas.base import NS_PER_DAY, NS_PER_MS, NS_PER_S, Event
from schemas.errors import FeedError
from schemas.market import BarClosed, QuoteTicked

BAR_SIZES = {"1m": "1 min", "5m": "5 mins", "15m": "15 mins", "30m": "30 mins", "1h": "1 hour"}
FARMS = range(2100, 2170)
"""Codes by which IB tells of its own connections: no errors."""
MIN_SPAN_S = 120
"""IB takes no shorter span of history."""
CONNECT_S = 10.0


class InteractiveBrokers:
    """The feed of one TWS or IB Gateway."""

    def __init__(self, name: str, settings: IbFeed) -> None:
        """Connect to nothing yet. Raises FeedError where ib_async is not installed or a setting cannot be used."""
        try:
            import ib_async  # noqa: PLC0415 - an optional dependency
        except ImportError:
            raise FeedError(
                f"feed {name}: needs ib_async, which is not installed; install the extra: pip install quorum[ib]"
            ) from None
        if settings.interval not in BAR_SIZES:
            raise FeedError(f"feed {name}: interval {settings.interval}: IB's are {', '.join(BAR_SIZES)}")
        self._api: Any = ib_async
        self._name, self._settings = name, settings
        self._interval_ns = interval_ns_of(settings.interval)

    @property
    def streams(self) -> Sequence[Stream]:
        """Each kind that is told, of each contract."""
        tells: dict[str, type[Event]] = {"bars": BarClosed, "quotes": QuoteTicked}
        return [(tells[what], key) for key in self._settings.contracts for what in self._settings.tell]

    async def run(self, sink: Sink, since: Since) -> None:
        """Tell until cancelled. Raises FeedError when the connection is lost."""
        ib = self._api.IB()
        gone = asyncio.Event()
        ib.disconnectedEvent += gone.set
        ib.errorEvent += lambda _request, code, text, _contract: self._said(sink, code, text)
        try:
            contracts = await self._connect(ib)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lost(gone))
                for work in self._works(ib, contracts, sink, since):
                    group.create_task(work)
        except ExceptionGroup as failed:
            error = failed.exceptions[0]
            what = "" if isinstance(error, FeedError) else f"{type(error).__name__}: "
            raise FeedError(f"{self._name}: {what}{error}") from None
        finally:
            ib.disconnect()

    async def _connect(self, ib: Any) -> dict[str, Any]:  # noqa: ANN401
        """Give each key its contract. Raises FeedError where TWS does not answer or does not know one."""
        settings = self._settings
        where = f"{settings.host}:{settings.port}"
        try:
            await ib.connectAsync(settings.host, settings.port, settings.client_id, timeout=CONNECT_S, readonly=True)
            contracts = {key: self._contract(each) for key, each in settings.contracts.items()}
            known = await ib.qualifyContractsAsync(*contracts.values())
        except (OSError, TimeoutError) as error:
            raise FeedError(f"{self._name}: no TWS or IB Gateway answers on {where}: {error}") from None
        for key, contract in zip(contracts, known, strict=True):
            if contract is None:
                raise FeedError(f"{self._name}: IB knows no contract, or several, for {key}")
        return contracts

    def _contract(self, told: IbContract) -> Any:  # noqa: ANN401
        if told.type == "future":
            return self._api.Future(told.symbol, told.expiry, told.exchange, currency=told.currency)
        return self._api.Stock(told.symbol, told.exchange, told.currency)

    async def _lost(self, gone: asyncio.Event) -> None:
        await gone.wait()
        raise FeedError("the connection to TWS is lost")

    def _said(self, sink: Sink, code: int, text: str) -> None:
        if code not in FARMS:
            sink.refuse(f"{self._name}: IB reports error {code}", text)

    def _works(
        self,
        ib: Any,  # noqa: ANN401
        contracts: dict[str, Any],
        sink: Sink,
        since: Since,
    ) -> list[Coroutine[Any, Any, None]]:
        settings, works = self._settings, []
        for key, contract in contracts.items():
            if "bars" in settings.tell:
                history = History(ib, contract, self._interval_ns, BAR_SIZES[settings.interval], sink)
                bars = Bars(history, key, key, sink, settings.interval, self._interval_ns)
                bars.resume(since.get((BarClosed, key)), int(settings.backfill_s * NS_PER_S))
                works.append(bars.watch())
            if "quotes" in settings.tell:
                works.append(_watch_quotes(ib, contract, key, sink))
        return works


class History:
    """Bars of one contract in the form in which `Bars` asks an exchange for them."""

    def __init__(self, ib: Any, contract: Any, interval_ns: int, bar_size: str, sink: Sink) -> None:  # noqa: ANN401
        self._ib, self._contract, self._sink = ib, contract, sink
        self._interval_ns, self._bar_size = interval_ns, bar_size
        self._live: Any = None
        self._changed = asyncio.Event()
        self._taken = 0
        """Bars of the live list that were given and cannot change any more."""

    async def watch_ohlcv(self, _symbol: str, _timeframe: str) -> list[list[Any]]:
        """Wait for a change, and give the bars that have changed: the last of them is still open."""
        if self._live is None:
            self._live = await self._ask(MIN_SPAN_S, keep=True)
            self._live.updateEvent += self._on_update
            self._changed.set()
        await self._changed.wait()
        self._changed.clear()
        fresh = [_candle(bar) for bar in self._live[self._taken :]]
        self._taken = max(0, len(self._live) - 1)
        return fresh

    def _on_update(self, _bars: Any, _is_new: bool) -> None:  # noqa: ANN401, FBT001 - ib_async's own signature
        self._sink.heard()
        self._changed.set()

    async def fetch_ohlcv(self, _symbol: str, _timeframe: str, since_ms: int | None, _limit: int) -> list[list[Any]]:
        """Ask for the bars from `since_ms` to now."""
        span_s = self._sink.now() // NS_PER_S - (since_ms or 0) // 1000 + self._interval_ns // NS_PER_S
        bars = await self._ask(max(MIN_SPAN_S, span_s), keep=False)
        return [candle for candle in map(_candle, bars) if candle[0] >= (since_ms or 0)]

    async def _ask(self, span_s: int, *, keep: bool) -> Any:  # noqa: ANN401
        day_s = NS_PER_DAY // NS_PER_S
        duration = f"{span_s} S" if span_s <= day_s else f"{-(-span_s // day_s)} D"
        return await self._ib.reqHistoricalDataAsync(
            self._contract,
            endDateTime="",
            durationStr=duration,
            barSizeSetting=self._bar_size,
            whatToShow="TRADES",
            useRTH=False,
            formatDate=2,
            keepUpToDate=keep,
        )


def _candle(bar: Any) -> list[Any]:  # noqa: ANN401
    opened_ms = _ms(bar.date)
    return [opened_ms, bar.open, bar.high, bar.low, bar.close, max(0.0, float(bar.volume))]


def _ms(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * NS_PER_S) // NS_PER_MS


async def _watch_quotes(ib: Any, contract: Any, key: str, sink: Sink) -> None:  # noqa: ANN401
    quotes = Quotes({key: key}, sink, Traits())

    def on_update(ticker: Any) -> None:  # noqa: ANN401
        for tick in ticker.tickByTicks:
            if tick.bidPrice <= 0 or tick.askPrice <= 0:
                sink.skip("no price on one side")
                continue
            quotes.take(
                {
                    "symbol": key,
                    "timestamp": _ms(tick.time),
                    "bid": tick.bidPrice,
                    "ask": tick.askPrice,
                    "bidVolume": tick.bidSize,
                    "askVolume": tick.askSize,
                }
            )

    ticker = ib.reqTickByTickData(contract, "BidAsk")
    ticker.updateEvent += on_update
    await asyncio.Event().wait()
