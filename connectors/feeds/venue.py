"""One exchange as ccxt speaks to it, with what ccxt leaves open: addresses of one's own, every message seen, errors.

ccxt wakes who waits for a quote once for all quotes that came at once, and stops reading a connection on which a
message cannot be read. Here each quote is handed on, and such a message is reported and passed over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import ccxt
import ccxt.pro
import msgspec
from msgspec import Struct

from connectors.feeds.protocol import Sink
from connectors.feeds.settings import ExchangeFeed, secret_of
from schemas.base import NS_PER_S
from schemas.errors import FeedError

TRADES_KEPT = 10_000
"""Trades that ccxt holds while a gap is repaired."""
MAX_REASON_CHARS = 300
FIRST_ERROR_STATUS = 400
Ticker = dict[str, Any]


class Traits(Struct, frozen=True):
    """What ccxt does not tell of a venue."""

    consecutive: bool = False
    """Ids of a symbol's trades follow each other without a hole, so that a hole is a loss."""
    by_number: str = ""
    """ccxt's method that gives trades from an id on; it asks for an API key."""
    recent: str = ""
    """ccxt's method that gives the newest trades, where its usual one gives sums of them."""
    page: int = 1000
    """Trades that one answer holds at most."""
    newest_first: bool = False
    """Of a span of time the venue gives the newest trades, and wants to be told the span's end."""
    quote_number: str = ""
    """Field of the venue's message that numbers its quotes."""
    quote_ms: str = ""
    """Field that tells when the book changed, in ms; ccxt reads when it was sent."""


_BINANCE: dict[str, Any] = {"consecutive": True, "quote_number": "u", "quote_ms": "T"}
_SPOT = Traits(**_BINANCE, by_number="publicGetHistoricalTrades", recent="publicGetTrades")
TRAITS: dict[str, Traits] = {
    "binance": _SPOT,
    "binanceus": _SPOT,
    "binanceusdm": Traits(
        **_BINANCE, by_number="fapiPublicGetHistoricalTrades", recent="fapiPublicGetTrades", page=500
    ),
    "coinbase": Traits(consecutive=True, newest_first=True),
    "kraken": Traits(consecutive=True),
}


def make_venue(
    settings: ExchangeFeed, markets: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> Any:  # noqa: ANN401 - ccxt's classes share no useful type
    """Make ccxt's exchange; nothing is connected yet. Raises FeedError for one that there is not."""
    if settings.exchange not in ccxt.exchanges:
        raise FeedError(f"exchange {settings.exchange}: ccxt knows none of this id; see `ccxt.exchanges`")
    wants = settings.transport == "websocket"
    if wants and settings.exchange not in ccxt.pro.exchanges:
        raise FeedError(f"exchange {settings.exchange}: has no WebSocket in ccxt; set `transport: rest`")
    options = {"tradesLimit": TRADES_KEPT, **settings.options}
    config: dict[str, Any] = {"newUpdates": True, "options": options}
    for name, variable in (("apiKey", settings.api_key_env), ("secret", settings.secret_env)):
        if variable:
            config[name] = secret_of(variable, environment)
    module = ccxt.pro if settings.exchange in ccxt.pro.exchanges else ccxt.async_support
    venue = getattr(module, settings.exchange)(config)
    if settings.sandbox:
        try:
            venue.set_sandbox_mode(True)
        except ccxt.NotSupported:
            raise FeedError(f"exchange {settings.exchange}: has no test network; leave `sandbox` out") from None
    venue.urls["api"] = _moved(venue.urls["api"], settings.urls)
    require_json(venue)
    if markets is not None:
        venue.set_markets(markets)
    return venue


def require_json(venue: Any) -> None:  # noqa: ANN401
    """Let ccxt refuse a good answer that is no JSON: its parser of some venues takes it for an empty one."""
    on_response = venue.on_rest_response

    def checked(status: int, *rest: Any) -> str:  # noqa: ANN401
        body: str = on_response(status, *rest)
        if status < FIRST_ERROR_STATUS:
            try:
                msgspec.json.decode(body, type=msgspec.Raw)
            except msgspec.DecodeError:
                raise ccxt.BadResponse("the answer is no JSON") from None
        return body

    venue.on_rest_response = checked


def _moved(addresses: object, urls: Mapping[str, str]) -> object:
    """Put one's own addresses in the place of the exchange's, wherever they are the beginning of one."""
    if isinstance(addresses, dict):
        return {name: _moved(address, urls) for name, address in addresses.items()}
    if isinstance(addresses, str):
        for start, own in urls.items():
            if addresses.startswith(start):
                return own + addresses.removeprefix(start)
    return addresses


def tap(venue: Any, sink: Sink, on_quote: Callable[[Ticker], None]) -> None:  # noqa: ANN401
    """Hand on every quote that comes by WebSocket, tell `sink` of every message, report those that cannot be read.

    ccxt connects anew by itself while nobody waits for a message; here that is a loss like any other, to be repaired.
    """
    connect = venue.client
    known: dict[str, Any] = {}

    def client(url: str) -> Any:  # noqa: ANN401
        made = connect(url)
        if known.setdefault(url, made) is not made:
            raise ccxt.NetworkError("the connection was lost meanwhile")
        if "resolve" not in vars(made):
            made.resolve = _each_quote(made.resolve, on_quote)
            made.handle_text_or_binary_message = _guarded(made.handle_text_or_binary_message, sink)
        return made

    venue.client = client


def _each_quote(resolve: Callable[..., Any], on_quote: Callable[[Ticker], None]) -> Callable[..., Any]:
    def resolved(result: Any, message_hash: str) -> Any:  # noqa: ANN401
        if isinstance(result, dict) and "bid" in result and "ask" in result:
            on_quote(result)
        return resolve(result, message_hash)

    return resolved


def _guarded(handle: Callable[[str | bytes], None], sink: Sink) -> Callable[[str | bytes], None]:
    def handled(data: str | bytes) -> None:
        sink.heard()
        try:
            handle(data)
        except Exception as error:  # noqa: BLE001 - whatever it raises, ccxt would read on no more
            text = data if isinstance(data, str) else data.decode("utf-8", "replace")
            sink.refuse(f"a message cannot be read: {type(error).__name__}", text)

    return handled


async def watched(watching: Awaitable[Any]) -> Any:  # noqa: ANN401
    """Wait for what ccxt watches. It cancels who waits on a connection that it closes: that is raised as a loss."""
    try:
        return await watching
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ccxt.NetworkError("the connection was closed") from None


def as_feed_error(venue: Any, name: str, error: BaseException) -> FeedError:  # noqa: ANN401
    """Say in one sentence what an exchange has answered, and how long it asks to be left alone."""
    reason = " ".join(str(error).split())[:MAX_REASON_CHARS]
    return FeedError(f"{name}: {type(error).__name__}: {reason}", _retry_after_s(venue, error))


def _retry_after_s(venue: Any, error: BaseException) -> float:  # noqa: ANN401
    if not isinstance(error, ccxt.NetworkError):
        return 0.0
    headers = venue.last_response_headers or {}
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    dials = getattr(venue, "ws_dial_backoff", None) or {}
    dial_s = max(((state["until"] - venue.milliseconds()) / 1000 for state in dials.values()), default=0.0)
    return max(retry_after_s(told, venue.milliseconds() / 1000), dial_s)


def retry_after_s(header: str, now_s: float) -> float:
    """Read a Retry-After: seconds, or a date (RFC 9110, section 10.2.3); what is neither is 0."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now_s)
    except (TypeError, ValueError):
        return 0.0


def interval_ns_of(timeframe: str) -> int:
    """Give the length of ccxt's `1m`, `1h`, `1d`. Raises FeedError for what is none, or is no fixed length."""
    try:
        seconds = ccxt.Exchange.parse_timeframe(timeframe)
    except (ccxt.BaseError, ValueError):
        seconds = 0
    if seconds <= 0 or timeframe.endswith(("M", "y")):
        raise FeedError(f"interval {timeframe}: write a number and s, m, h, d or w, as in 1m")
    return int(seconds) * NS_PER_S
