"""A small market in memory: bars of one or two instruments, texts, and an operator. Seeded, no files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agents.frame import Floats, Frame, Ints
from agents.pipeline import Desk
from connectors.voters import offline_voters
from replay.cassette import RecordedVerdicts
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.gateway import ReplayGateway
from replay.log import Log, MemoryLog
from schemas.base import NS_PER_MIN, NS_PER_S, Event
from schemas.book import (
    AnalystSettings,
    Book,
    BreakerSettings,
    ConsensusSettings,
    FeatureSettings,
    Instrument,
    ModelSettings,
    RiskSettings,
    StrategySettings,
    VenueSettings,
)
from schemas.control import BookPaused, BookResumed, KillSwitchPulled
from schemas.texts import NewsPublished, TweetPosted

START = 1_704_067_200 * NS_PER_S  # 2024-01-01
IDS = ("BTC/USD@test", "ETH/USD@test")
HEADLINES = (
    "Bitcoin adoption rises as bank launches support",
    "Exchange hacked, lawsuit and losses feared",
    "Regulator approves fund, record gains",
    "Markets quiet ahead of holiday",
    "Ether surges 20% in minutes",
    "Fraud probe hits miner, shares tumble",
)


def book_of(mode: str = "override", instruments: int = 2, **changes: object) -> Book:
    """A book that uses every agent: three voters, stops and targets, breakers, limits."""
    settings: dict[str, object] = {
        "name": "test",
        "instruments": tuple(Instrument(id=name) for name in IDS[:instruments]),
        "features": FeatureSettings(ema_fast=5, ema_slow=12),
        "analysts": AnalystSettings(models=("vader", "textblob", "trend")),
        "models": {name: ModelSettings(kind=name) for name in ("vader", "textblob", "trend")},
        "consensus": ConsensusSettings(agree=1),
        "strategy": StrategySettings(mode=mode, stop_atr=2.0, target_atr=3.0, override_confidence=0.3),  # type: ignore[arg-type]
        "risk": RiskSettings(order_pct=40.0, max_orders_per_day=40),
        "breakers": BreakerSettings(
            max_drawdown_pct=4.0, max_daily_loss_pct=1.0, max_losing_streak=3, flash_move_pct=1.0
        ),
        "venue": VenueSettings(latency_ms=150),
    }
    return Book(**{**settings, **changes})  # type: ignore[arg-type]


class Market:
    """Columns of a market's whole history, and its texts and commands."""

    def __init__(self, seed: int, minutes: int = 500, instruments: int = 2) -> None:
        rng = np.random.default_rng(seed)
        n = minutes * instruments
        self.kind: Ints = np.zeros(n, np.int64)
        self.instrument: Ints = np.tile(np.arange(instruments), minutes)
        self.number: Ints = START + np.repeat(np.arange(minutes), instruments) * NS_PER_MIN
        self.values: Floats = np.zeros((n, 6))
        for k in range(instruments):
            self.values[self.instrument == k] = _bars(rng, minutes, 30_000.0 / (1 + 9 * k))
        kept = np.sort(rng.permutation(n)[: n - n // 20])
        self._keep(kept)
        self.inputs = _texts(rng, minutes) + _commands(rng, minutes)
        self.inputs.sort(key=lambda event: (event.observed_at, type(event).__name__, event.id))

    def _keep(self, rows: Ints | slice) -> None:
        self.kind, self.instrument, self.number = self.kind[rows], self.instrument[rows], self.number[rows]
        self.values = self.values[rows]

    def cut(self, rows: int) -> None:
        """Forget all market data from a row on, and all inputs observed after it."""
        last = int(self.number[rows - 1]) + NS_PER_MIN
        self._keep(slice(0, rows))
        self.inputs = [event for event in self.inputs if event.observed_at <= last]

    def frames(self, batch_rows: int = 65_536, skip: int = 0) -> Iterator[Frame]:
        """Cut the columns into frames."""
        at = self.number + NS_PER_MIN
        for lo in range(skip, len(self.number), batch_rows):
            cut = slice(lo, lo + batch_rows)
            ids = IDS[: int(self.instrument.max()) + 1]
            times = at[cut]
            kind, instrument, number = self.kind[cut], self.instrument[cut], self.number[cut]
            yield Frame(ids, kind, instrument, number, times, times, self.values[cut])


def _bars(rng: np.random.Generator, minutes: int, price: float) -> Floats:
    moves = rng.normal(0, 0.001, minutes) + 0.0004 * np.sin(np.arange(minutes) / 60.0)
    moves[rng.integers(0, minutes, 5)] += rng.choice([-0.02, 0.02], 5)
    closes = np.round(price * np.cumprod(1 + moves), 2)
    opens = np.append(price, closes[:-1])
    wick = np.round(np.abs(rng.normal(0, 0.0005, (2, minutes))) * price, 2)
    bars = np.zeros((minutes, 6))
    bars[:, 0], bars[:, 3] = opens, closes
    bars[:, 1] = np.maximum(opens, closes) + wick[0]
    bars[:, 2] = np.minimum(opens, closes) - wick[1]
    bars[:, 4] = np.round(rng.uniform(0.5, 20, minutes), 3)
    bars[:, 5] = NS_PER_MIN
    return bars


def _texts(rng: np.random.Generator, minutes: int) -> list[Event]:
    texts: list[Event] = []
    for i in range(minutes // 12):
        at = START + int(rng.integers(0, minutes * 60)) * NS_PER_S
        title = f"{HEADLINES[int(rng.integers(len(HEADLINES)))]} {'abcdefghij'[i % 10]}"
        if i % 2:
            texts.append(
                NewsPublished(id=f"n{i}", key="BTC", occurred_at=at, observed_at=at, source="wire", title=title)
            )
        else:
            texts.append(TweetPosted(id=f"t{i}", key="market", occurred_at=at, observed_at=at, author="@x", text=title))
    return texts


def _commands(rng: np.random.Generator, minutes: int) -> list[Event]:
    third = minutes * NS_PER_MIN // 3

    def command(kind: type[Event], number: int, base: int) -> Event:
        at = START + base + int(rng.integers(0, third // 4))
        return kind(id=f"c{number}", key="test", occurred_at=at, observed_at=at, operator="ann")  # type: ignore[call-arg]

    return [
        command(BookPaused, 1, third),
        command(BookResumed, 2, third + third // 3),
        command(KillSwitchPulled, 3, 2 * third),
        command(BookResumed, 4, 2 * third + third // 3),
    ]


def engine_of(book: Book, log: Log, recorded: RecordedVerdicts | None = None) -> Engine:
    """A whole engine on a log."""
    gateway = ReplayGateway(book, recorded or RecordedVerdicts(), offline_voters(book))
    return Engine(Desk(book), SimulatedExchange(book), gateway, log)


def replayed(book: Book, market: Market, batch_rows: int = 65_536) -> MemoryLog:
    """Replay a market to its end."""
    log = MemoryLog()
    for _ in engine_of(book, log).run(market.frames(batch_rows), market.inputs):
        pass
    return log
