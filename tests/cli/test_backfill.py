"""`quorum backfill`: what it prints, how it is interrupted and how it goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.backfill import venue
from schemas.base import NS_PER_MS
from tests.cli.commands import Ended, quorum, refusal
from tests.connectors.backfill.exchanges import Market, serving
from tests.connectors.backfill.fetching import DAY_MS, START_MS, candles, listing, unhurried
from tests.connectors.importers.files import rows

DAY = ("--since", "2024-01-15", "--until", "2024-01-16")
Served = tuple[Market, Path]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Serve 40 days of minutes as Binance, which the command reaches by its usual name."""
    market = Market(candles=candles(40 * 1440, 100, 101))
    with serving("binance", market) as urls:
        connect = venue.connect
        monkeypatch.setattr(
            venue, "connect", lambda name: unhurried(name, urls) if name == "binance" else connect(name)
        )
        monkeypatch.setattr("tests.connectors.backfill.fetching.connect", connect)
        yield market, tmp_path / "archive"


def backfill(into: Path, *options: str, what: str = "ohlcv", symbol: str = "BTC/USDT") -> Ended:
    return quorum("backfill", what, "--exchange", "binance", "--symbol", symbol, "--into", into, *(options or DAY))


def test_a_day_is_fetched_and_told(served: Served) -> None:
    market, into = served
    ended = backfill(into)
    assert (ended.code, ended.err) == (0, "")
    told = " ".join(ended.out.replace("│", " ").split())
    assert "asked for 2024-01-15T00:00:00Z to 2024-01-16T00:00:00Z" in told
    assert "binance has nothing before 2024-01-15T00:01:00Z" in told
    assert "1,437 new, in 1 files" in told
    assert "2 bars of 60 s missing in 1 holes; longest 2, after 2024-01-15T01:40:00Z" in told
    assert {row["key"] for row in rows(into, "bars")} == {"BTC/USDT@binance"}
    again = backfill(into, "--since", "2024-01-15T01:00", "--until", "2024-01-15T06:00")
    assert "all there already" in again.out
    assert market.asked["/klines"] == 3


def test_an_interrupt_keeps_what_is_whole_and_the_same_command_goes_on(served: Served) -> None:
    market, into = served
    long = ("--since", "2024-01-16", "--until", "2024-02-20")
    number = 45

    def interrupt(asked: int) -> None:
        if asked == number:
            os.kill(os.getpid(), signal.SIGINT)

    market.fault = interrupt
    ended = backfill(into, *long)
    assert ended.code == 130
    assert ended.err == f"quorum: interrupted; what is whole lies in {into}, and the same command goes on from there\n"
    assert not list(into.rglob("*.part"))
    market.fault = lambda _: None
    assert backfill(into, *long).code == 0
    whole = into.with_name("whole")
    assert backfill(whole, *long).code == 0
    assert listing(into) == listing(whole)
    assert len(rows(into, "bars")) == 35 * 1440


def test_the_time_to_come_is_not_asked_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    _, into = served
    monkeypatch.setattr("cli.backfill.time.time_ns", lambda: (START_MS + DAY_MS + 100_000) * NS_PER_MS)
    ended = backfill(into, "--since", "2024-01-15", "--until", "2030-01-01")
    assert "to 2024-01-16T00:00:00Z" in ended.out
    assert "lies not before the end (a minute ago)" in refusal(
        "backfill", "ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--since", "2024-01-17", "--into", into
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("ohlcv", "--exchange", "binanse", "--symbol", "BTC/USDT", *DAY), "no such exchange; did you mean binance"),
        (("ohlcv", "--exchange", "binance", "--symbol", "BTC/USTD", *DAY), "no such market; did you mean BTC/USDT"),
        (
            ("ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "7m", *DAY),
            "no such candles; it has",
        ),
        (
            ("ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "1w", *DAY),
            "write a number and s, m",
        ),
        (("ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--since", "soon"), "is not a day or time"),
    ],
)
def test_a_mistake_is_one_sentence(options: tuple[str, ...], message: str, served: Served) -> None:
    assert message in refusal("backfill", *options, "--into", served[1])
    assert not served[1].exists()


def test_trades_that_could_be_lost_between_pages_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue, "NUMBERED", ())
    said = refusal("backfill", "trades", "--exchange", "binance", "--symbol", "BTC/USDT", *DAY, "--into", served[1])
    assert "without losing some between pages" in said
