"""The feeds' contract, by the real ccxt against servers that speak the venues' wire formats with recorded messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MISSING_DATA, SHARED_DATA
from tests.connectors.feeds.servers import (
    Binance,
    Coinbase,
    Kraken,
    Server,
    binance_messages,
    binance_ticks,
    kraken_rows,
)
from tests.contracts.feeds import CHECKS, Check, FeedCase


def data(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"{MISSING_DATA}{name}, expected at {path}")
    return path


def binance(kind: str, stream: str, **settings: object) -> Server:
    told = "trades" if stream == "trade" else "quotes"
    if kind == "spot":
        items = binance_messages(data("api/recorded/binance_spot_btcusdt_20240808_messages.jsonl"), stream)
    else:
        items = binance_ticks(data("ticks/binance_usdm_btcusdt_20240808.raw.gz"), f"btcusdt@{stream}", 700)
    return Binance(items, kind, tell=(told,), **settings)  # type: ignore[arg-type]


def kraken(**settings: object) -> Server:
    pairs = json.loads(data("api/nautilus/kraken/http_asset_pairs.json").read_text("utf-8"))
    return Kraken(kraken_rows(data("api/nautilus/kraken/http_trades.json"), 60), pairs, **settings)


def coinbase(**settings: object) -> Server:
    products = json.loads(data("api/nautilus/coinbase/http_products.json").read_text("utf-8"))
    trades = json.loads(data("api/nautilus/coinbase/http_ticker.json").read_text("utf-8"))["trades"]
    return Coinbase(trades[::-1], products, **settings)


def case(name: str, make: Callable[[], Server], **can: bool) -> FeedCase:
    return FeedCase(name, lambda: make().serving(), **can)


KEY = "QUORUM_TEST_FEED_KEY"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "a-key-of-a-test")


CASES = (
    case("binance trades", partial(binance, "spot", "trade")),
    case("binance trades by rest", partial(binance, "spot", "trade", transport="rest")),
    case("binance quotes", partial(binance, "spot", "bookTicker"), repairs=False, reorders=False),
    case("binanceusdm trades", partial(binance, "usdm", "trade", api_key_env=KEY)),
    case("binanceusdm quotes", partial(binance, "usdm", "bookTicker"), repairs=False, reorders=False),
    case("kraken trades", kraken),
    case("kraken trades by rest", partial(kraken, transport="rest")),
    case("coinbase trades", coinbase),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_feed_keeps_the_contract(case: FeedCase, check: Check) -> None:
    asyncio.run(check(case))  # type: ignore[arg-type]
