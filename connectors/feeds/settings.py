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


Word = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\s\"\x00-\x1f\x7f]+( [^\s\"\x00-\x1f\x7f]+)*$")]
Words = Annotated[tuple[Word, ...], Meta(min_length=1, max_length=100)]


def _require_patience(stale_s: float, poll_s: float) -> None:
    if 0 < stale_s <= poll_s:
        raise ValueError("stale_s must be longer than poll_s: nothing is heard between two polls")


class TextFeed(FeedSettings, frozen=True, kw_only=True):
    """What every source of texts is told."""

    keys: Annotated[dict[Name, Words], Meta(min_length=1, max_length=1_000)]
    """Key of the events to the words, or phrases, of which one must stand in a text that concerns it."""


class XFeed(TextFeed, frozen=True, kw_only=True, tag="x"):
    """Posts of X, by its API v2: filtered stream, and recent search for what was missed."""

    stale_s: Annotated[float, Meta(gt=0, le=86_400)] = 25.0
    """X sends a line at least every 20 s."""
    bearer_token_env: Name = "X_BEARER_TOKEN"  # noqa: S105 - where it is, not what it is
    query: Annotated[str, Meta(max_length=400)] = "-is:retweet"
    """Put behind the words in each rule, in X's language of queries."""
    repair_pages: Annotated[int, Meta(ge=1, le=100)] = 20
    """Pages of 100 posts that the repair of a gap asks for at most, of each key."""
    url: Name = "https://api.x.com"


class NewsApiFeed(TextFeed, frozen=True, kw_only=True, tag="newsapi"):
    """Articles that NewsAPI finds."""

    api_key_env: Name = "NEWSAPI_KEY"
    endpoint: Literal["everything", "top-headlines"] = "everything"
    language: Annotated[str, Meta(pattern="^([a-z]{2})?$")] = ""
    country: Annotated[str, Meta(pattern="^([a-z]{2})?$")] = ""
    """Of top-headlines alone, as `category`."""
    category: Annotated[str, Meta(pattern="^[a-z]*$")] = ""
    sources: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
    """NewsAPI's ids of publishers."""
    poll_s: Seconds = 900.0
    """96 requests a day, of the 100 that a developer's key has."""
    max_pages: Annotated[int, Meta(ge=1, le=100)] = 1
    """Pages of 100 articles to ask for at one poll; each is a request."""
    backfill_s: Annotated[float, Meta(ge=0, le=28 * 86_400)] = 172_800.0
    """How far back each poll looks: a developer's key finds an article a day late."""
    url: Name = "https://newsapi.org"

    def __post_init__(self) -> None:
        """Refuse what NewsAPI would refuse at every poll."""
        _require_patience(self.stale_s, self.poll_s)
        if self.endpoint == "everything" and (self.country or self.category):
            raise ValueError("country and category are for the endpoint top-headlines")
        if self.endpoint == "top-headlines" and self.language:
            raise ValueError("language is for the endpoint everything; name a country")
        if self.endpoint == "top-headlines" and not (self.country or self.category or self.sources):
            raise ValueError("top-headlines needs a country, a category or sources")
        if self.sources and (self.country or self.category):
            raise ValueError("NewsAPI takes sources, or country and category, not both")


class RssFeed(TextFeed, frozen=True, kw_only=True, tag="rss"):
    """Entries of an RSS or Atom feed."""

    url: Name
    source: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = ""
    """Publisher of the entries; the feed's own title if empty."""
    poll_s: Seconds = 300.0
    authorization_env: str = ""
    """Variable that holds the header `Authorization`, for a feed that asks for one."""

    def __post_init__(self) -> None:
        """Refuse a silence that every poll would break."""
        _require_patience(self.stale_s, self.poll_s)


class FilesFeed(FeedSettings, frozen=True, kw_only=True, tag="files"):
    """Lines that a program appends to a file, or to the files of a folder."""

    path: Name
    tell: Literal["tweets", "news"] = "news"
    keys: dict[Name, Words] = {}
    """As of other texts; where it is empty, `key` or the file's own column says what a row concerns."""
    key: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = ""
    source: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = ""
    """Author or publisher of rows that name none."""
    map: dict[Name, Name] = {}
    """Our column to the file's, as `--map` of an import."""
    time_unit: Literal["auto", "iso", "s", "ms", "us", "ns"] = "auto"
    tz: str = ""
    polling: bool = False
    """Ask for changes rather than wait to be told: network file systems tell nothing."""

    def __post_init__(self) -> None:
        """Refuse two ways to say what a row concerns."""
        if self.keys and self.key:
            raise ValueError("name keys or key, not both")


class WebhookFeed(TextFeed, frozen=True, kw_only=True, tag="webhook"):
    """What other programs post to us, signed."""

    host: Name = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8_090
    path: Annotated[str, Meta(pattern="^/[A-Za-z0-9/_-]*$", max_length=200)] = "/"
    secret_env: Name = "QUORUM_WEBHOOK_SECRET"  # noqa: S105 - as bearer_token_env
    source: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = ""
    """Publisher of texts that name none."""
    tolerance_s: Annotated[float, Meta(gt=0, le=3_600)] = 300.0
    """How far the sender's clock may be from ours."""
    max_body_bytes: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 1_000_000


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


Kind = ExchangeFeed | IbFeed | XFeed | NewsApiFeed | RssFeed | FilesFeed | WebhookFeed


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
