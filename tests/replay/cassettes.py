"""A small archive, and a book whose models are served by a stub on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

from benchmarks.stubmodel import StubModel
from replay.cassette import RecordedVerdicts
from replay.gateway import Asked
from replay.record import Span, record_span
from replay.results import Summary
from replay.run import Reached, Run, Settings
from schemas.book import (
    AnalystSettings,
    Book,
    BudgetSettings,
    ConsensusSettings,
    FeatureSettings,
    Instrument,
    ModelSettings,
    StrategySettings,
)
from tests.replay.archives import BTC, archive, bar

MODELS = ("one", "two")


def bars(folder: Path, minutes: int = 600) -> Path:
    """Write an archive of minutes."""
    closes = 100 * np.cumprod(1 + np.random.default_rng(3).normal(0, 0.001, minutes))
    return archive(folder, bars=[bar(BTC, minute, float(round(close, 2))) for minute, close in enumerate(closes)])


def model(stub: StubModel | None, **changes: object) -> ModelSettings:
    """Describe a model that the stub serves; without one, nothing listens there."""
    settings: dict[str, object] = {
        "kind": "openai",
        "model_id": "stub-1",
        "endpoint": "http://127.0.0.1:1/v1" if stub is None else stub.url,
        "usd_per_million_prompt_tokens": Decimal(2),
        "usd_per_million_reply_tokens": Decimal(10),
        "max_reply_tokens": 256,
    }
    return ModelSettings(**{**settings, **changes})  # type: ignore[arg-type]


def book(stub: StubModel | None, *, budget: BudgetSettings | None = None, **changes: object) -> Book:
    """Ask two models by the stub, and one offline voter, every 15 minutes."""
    settings: dict[str, object] = {
        "name": "minds",
        "instruments": (Instrument(id=BTC),),
        "features": FeatureSettings(ema_fast=5, ema_slow=12),
        "analysts": AnalystSettings(models=(*MODELS, "trend")),
        "models": {**{name: model(stub) for name in MODELS}, "trend": ModelSettings(kind="trend")},
        "consensus": ConsensusSettings(agree=2),
        "strategy": StrategySettings(mode="override", override_confidence=0.3, stop_atr=3.0),
        "budget": budget or BudgetSettings(),
    }
    return Book(**{**settings, **changes})  # type: ignore[arg-type]


def replay(rules: Book, root: Path, out: str, *, cassette: str | None = "cassette", **changes: object) -> Summary:
    """Replay a book over `root/archive`."""
    told: dict[str, object] = {"archive": root / "archive", "out": root / out, "report": False}
    if cassette is not None:
        told["cassette"] = root / cassette
    summary = Run(rules, Settings(**{**told, **changes})).run(lambda _: None)  # type: ignore[arg-type]
    assert isinstance(summary, Summary)
    return summary


def record(
    rules: Book,
    root: Path,
    stopping: threading.Event | None = None,
    on_asked: Callable[[Reached], None] = lambda _: None,
) -> Asked:
    """Ask all that a replay would ask."""
    return record_span(
        rules,
        Span(root / "archive", None, None),
        root / "cassette",
        RecordedVerdicts(),
        lambda _: None,
        on_asked,
        stopping or threading.Event(),
    )
