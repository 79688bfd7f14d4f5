"""A feeds.yaml, typed: every feed by its name, each of a kind with settings of its own.

No secret stands in the file: a setting that ends in `_env` names the environment variable that holds one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.errors import FeedError
from schemas.fields import MAX_NAME_CHARS, UNPRINTABLE_IN_NAME

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS, pattern=f"^[^{UNPRINTABLE_IN_NAME[1:-1]}]+$")]


class FeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind of feed may be told."""

    stale_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """Silence of the source after which it is called stale and its connection is made anew; 0 waits for ever."""


class ExchangeFeed(FeedSettings, frozen=True, kw_only=True, tag="exchange"):
    """Market data of an exchange, by ccxt."""

    stale_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    exchange: Name
    """ccxt's id: binance, binanceusdm, coinbase, kraken, ..."""
    symbols: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """ccxt's names: BTC/USDT, of a perpetual BTC/USDT:USDT."""
    keys: dict[Name, Name] = {}
    """Symbol to the key of its events; `SYMBOL@EXCHANGE` where it is not named."""
    tell: Annotated[tuple[Literal["trades", "quotes", "bars"], ...], Meta(min_length=1)] = ("trades",)
    interval: Name = "1m"
    """Length of the bars."""
    transport: Literal["websocket", "rest"] = "websocket"
    poll_s: Seconds = 5.0
    """Between two polls by REST."""
    backfill_s: Annotated[float, Meta(ge=0)] = 3600.0
    """How far back a gap is repaired at most: what is older is for `quorum backfill`."""
    sandbox: bool = False
    """The exchange's test network."""
    urls: dict[str, str] = {}
    """Beginning of an address of the exchange to what stands in its place: a gateway of your own."""
    options: dict[str, Any] = {}
    """ccxt's `options`."""
    api_key_env: str = ""
    secret_env: str = ""


class IbContract(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is traded at Interactive Brokers."""

    type: Literal["future", "stock"]
    symbol: Name
    exchange: Name = "SMART"
    currency: Name = "USD"
    expiry: str = ""
    """Of a future: its month, as 202512."""


class IbFeed(FeedSettings, frozen=True, kw_only=True, tag="ib"):
    """Bars and quotes of Interactive Brokers, through a TWS or IB Gateway."""

    host: Name = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 7497
    client_id: Annotated[int, Meta(ge=0)] = 71
    """Unlike that of any other program on the same TWS."""
    contracts: Annotated[dict[Name, IbContract], Meta(min_length=1)]
    """Key of the events to the contract."""
    tell: Annotated[tuple[Literal["bars", "quotes"], ...], Meta(min_length=1)] = ("bars",)
    interval: Name = "1m"
    backfill_s: Annotated[float, Meta(ge=0)] = 3600.0
    """How far back a gap is repaired at most."""


Kind = ExchangeFeed | IbFeed


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    feeds: dict[Name, Any]


def load_feeds(path: Path) -> dict[str, Kind]:
    """Read a feeds.yaml. Raises FeedError: one sentence with file, feed, setting and reason."""
    import yaml  # noqa: PLC0415 - slow to load

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise FeedError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        feeds = msgspec.convert(data, _File).feeds
    except msgspec.ValidationError as error:
        raise FeedError(f"{path}: {error}") from None
    return {name: _read(path, name, each) for name, each in feeds.items()}


def _read(path: Path, name: str, told: object) -> Kind:
    try:
        read: Kind = msgspec.convert(told, Kind)
    except msgspec.ValidationError as error:
        raise FeedError(f"{path}: feed {name}: {error}") from None
    return read


def secret_of(variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """Give the secret that an `_env` setting names. Raises FeedError where the variable is not set."""
    if not (value := environment.get(variable, "")):
        raise FeedError(f"the environment variable {variable} is not set; it should hold the feed's secret")
    return value


def secrets_of(settings: Kind, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Give the secrets that a feed's settings name, so that no log shows one."""
    variables = [getattr(settings, name) for name in settings.__struct_fields__ if name.endswith("_env")]
    return [environment[variable] for variable in variables if environment.get(variable)]
