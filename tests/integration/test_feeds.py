"""From an exchange's wire, by the real ccxt, to a real Kafka: the topic equals the recording, through cuts as well."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from schemas.base import NS_PER_MS
from schemas.market import QuoteTicked, TradeTicked
from streams.feeding import stands
from streams.kafka import ENVIRONMENT, Kafka
from tests.conftest import MISSING_DATA, SHARED_DATA
from tests.connectors.feeds.servers import Binance, Item, binance_ticks
from tests.integration.feeding import fed, told, until_told
from tests.integration.session import ROOT

TICKS = SHARED_DATA / "ticks" / "binance_usdm_btcusdt_20240808.raw.gz"
KEY_VARIABLE = "QUORUM_TEST_FEED_KEY"
KEY = "BTC/USDT:USDT@binanceusdm"
COUNT = 3_000


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Item]]:
    path: Path = TICKS
    if not path.exists():
        pytest.skip(f"{MISSING_DATA}{path.name}, expected at {path}")
    monkeypatch.setenv(KEY_VARIABLE, "a-key-of-a-test")
    return {stream: binance_ticks(path, f"btcusdt@{stream}", COUNT) for stream in ("trade", "bookTicker")}


def test_trades_equal_the_recording_through_a_cut_and_a_restart(kafka: Kafka, recording: dict[str, list[Item]]) -> None:
    trades = recording["trade"]

    async def scenario() -> None:
        server = Binance(trades, "usdm", tell=("trades",), api_key_env=KEY_VARIABLE)
        async with server.serving():
            with fed(kafka, server.feed()):
                await server.say(0, 500)
                await server.repeat(400, 500)
                await server.swap(500)
                await until_told(kafka, "ticks", 502)
                await server.cut()
                await server.miss(502, 1_900)  # more than the venue's newest 1,000
                await until_told(kafka, "ticks", 1_900)
                await server.say(1_900, 2_000)
                await until_told(kafka, "ticks", 2_000)
            await server.cut()
            await server.miss(2_000, 2_600)  # while no feed runs at all
            with fed(kafka, server.feed()):
                await until_told(kafka, "ticks", 2_600)
                await server.say(2_600, COUNT)
                await until_told(kafka, "ticks", COUNT)

    asyncio.run(scenario())
    events = told(kafka, "ticks")
    assert [event.id for event in events] == [f"{KEY}/trade/{trade['t']}" for trade in trades]
    for event, trade in zip(events, trades, strict=True):
        assert isinstance(event, TradeTicked)
        assert (event.price, event.size) == (float(trade["p"]), float(trade["q"]))
        assert event.side == ("sell" if trade["m"] else "buy")
        assert event.occurred_at == trade["T"] * NS_PER_MS
    newest, ids = stands(kafka, [(TradeTicked, KEY), (QuoteTicked, KEY)])
    assert {stream: each.id for stream, each in newest.items()} == {(TradeTicked, KEY): events[-1].id}
    assert ids == [event.id for event in events]


def test_quotes_equal_the_recording(kafka: Kafka, recording: dict[str, list[Item]]) -> None:
    quotes = recording["bookTicker"]

    async def scenario() -> None:
        server = Binance(quotes, "usdm", tell=("quotes",))
        async with server.serving():
            with fed(kafka, server.feed()):
                await server.say(0, COUNT)
                await until_told(kafka, "ticks", COUNT)

    asyncio.run(scenario())
    events = told(kafka, "ticks")
    assert [event.id for event in events] == [f"{KEY}/quote/{quote['u']}" for quote in quotes]
    for event, quote in zip(events, quotes, strict=True):
        assert isinstance(event, QuoteTicked)
        values = (event.bid, event.bid_size, event.ask, event.ask_size)
        assert values == tuple(float(quote[name]) for name in "bBaA")
        assert event.occurred_at == quote["T"] * NS_PER_MS


def test_the_command_feeds_kafka_until_it_is_told_to_stop(
    kafka: Kafka, recording: dict[str, list[Item]], tmp_path: Path
) -> None:
    async def scenario() -> bytes:
        server = Binance(recording["trade"], "usdm", tell=("trades",), api_key_env=KEY_VARIABLE)
        async with server.serving():
            settings = server.feed()._settings
            told = {name: getattr(settings, name) for name in ("exchange", "symbols", "urls", "options", "api_key_env")}
            path = tmp_path / "feeds.yaml"
            path.write_text(json.dumps({"feeds": {"binance": {"kind": "exchange"} | told}}), encoding="utf-8")
            mine = {"BOOTSTRAP": kafka.bootstrap, "NAMESPACE": kafka.namespace}
            environment = os.environ | {ENVIRONMENT + name: value for name, value in mine.items()}
            command = (sys.executable, "-m", "cli", "worker", "feed", "binance", "--feeds", str(path))
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
            )
            try:
                await server.say(0, 100)
                await until_told(kafka, "ticks", 100)
            finally:
                process.terminate()
                _, said = await process.communicate()
            assert process.returncode == 0
            return said

    said = asyncio.run(scenario())
    wanted = [f"{KEY}/trade/{each['t']}" for each in recording["trade"][:100]]
    assert [event.id for event in told(kafka, "ticks")] == wanted
    assert b"a-key-of-a-test" not in said
