from __future__ import annotations

from pathlib import Path

import pytest

from connectors.feeds.kinds import open_feed
from connectors.feeds.settings import ExchangeFeed, IbFeed, load_feeds, secret_of, secrets_of
from connectors.feeds.venue import interval_ns_of, retry_after_s
from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.errors import FeedError
from schemas.market import BarClosed, TradeTicked
from tests.architecture.tree import ROOT

EXCHANGE = "feeds: {b: {kind: exchange, exchange: binance, symbols: [BTC/USDT]"


def written(folder: Path, text: str) -> Path:
    path = folder / "feeds.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_can_be_used() -> None:
    feeds = load_feeds(ROOT / "examples" / "feeds.yaml")
    assert {type(settings) for settings in feeds.values()} >= {ExchangeFeed, IbFeed}
    opened = {name: open_feed(name, each) for name, each in feeds.items() if isinstance(each, ExchangeFeed)}
    assert opened["kraken"].streams == [(TradeTicked, "BTC/USD@kraken")]
    assert opened["coinbase-bars"].streams == [(BarClosed, "BTC/USD@coinbase")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("feeds: [", "not YAML"),
        ("feed: {}", "unknown field `feed`"),
        ("", r"Expected `object`, got `null`"),
        (f"{EXCHANGE}, colour: red}}}}", "feed b: .*unknown field `colour`"),
        (EXCHANGE.replace("exchange, ", "teleprinter, ") + "}}", "Invalid value 'teleprinter'"),
        (f"{EXCHANGE}, tell: [news]}}}}", "Invalid enum value 'news'"),
        (f"{EXCHANGE}, poll_s: 0}}}}", "poll_s"),
        ("feeds: {b: {kind: exchange, exchange: binance, symbols: []}}", "length >= 1"),
        ("feeds: {b: {kind: exchange, exchange: binance}}", "missing required field `symbols`"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FeedError, match=sentence) as refused:
        load_feeds(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read: No such file"):
        load_feeds(tmp_path / "feeds.yaml")


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"exchange": "nowhere"}, "exchange nowhere: ccxt knows none of this id"),
        ({"keys": {"ETH/USDT": "ETH"}}, "feed b: keys: ETH/USDT is none of its symbols"),
        ({"interval": "soon"}, "interval soon: write a number"),
        ({"interval": "1M"}, "interval 1M: write a number"),
        ({"api_key_env": "QUORUM_TEST_NO_SUCH_KEY"}, "QUORUM_TEST_NO_SUCH_KEY is not set"),
        ({"exchange": "bitso"}, "has no WebSocket in ccxt; set `transport: rest`"),
    ],
)
def test_settings_that_cannot_be_used_are_a_sentence(chosen: dict[str, object], sentence: str) -> None:
    settings = {"exchange": "binance", "symbols": ("BTC/USDT",)} | chosen
    with pytest.raises(FeedError, match=sentence):
        open_feed("b", ExchangeFeed(**settings))  # type: ignore[arg-type]


def test_a_secret_comes_from_the_environment_alone() -> None:
    settings = ExchangeFeed(exchange="binance", symbols=("BTC/USDT",), api_key_env="KEY", secret_env="SECRET")
    assert secret_of("KEY", {"KEY": "k"}) == "k"
    assert secrets_of(settings, {"KEY": "k", "OTHER": "o"}) == ["k"]
    with pytest.raises(FeedError, match="KEY is not set"):
        secret_of("KEY", {"KEY": ""})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert retry_after_s(header, now_s=100.0) == seconds


def test_an_interval_is_ccxt_s() -> None:
    assert interval_ns_of("1m") == NS_PER_MIN
    assert interval_ns_of("30s") == 30 * NS_PER_S
    assert interval_ns_of("1w") == 7 * 1_440 * NS_PER_MIN
