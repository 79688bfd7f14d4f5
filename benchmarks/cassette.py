"""What a backtest with models costs, and what the same one costs again: a year of questions to a model on this machine.

Run it from the repository's root, as `python -m benchmarks.cassette`. The model is a stub behind a real HTTP server
that the real SDK calls; its prices are made up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.market import write_market
from benchmarks.quorum_ema import INSTRUMENT, archived
from benchmarks.stubmodel import StubModel, stub_model
from replay.record import Span, estimate
from replay.results import Summary
from replay.run import Run, Settings
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
from schemas.verdicts import NOTHING

YEAR_MIN = 525_600
USD_PER_MILLION = Decimal("0.15"), Decimal("0.60")
SEED = 1


class Row(NamedTuple):
    """One run."""

    name: str
    questions: int
    recorded: int
    asked: int
    over_budget: int
    calls: int
    cost_usd: Decimal
    seconds: float
    log_sha256: str


def book_of(stub: StubModel, budget_usd: Decimal | None = None) -> Book:
    """Ask one model every 15 minutes, and trade on what it says."""
    return Book(
        name="year",
        instruments=(Instrument(id=INSTRUMENT),),
        features=FeatureSettings(ema_fast=400, ema_slow=1000),
        analysts=AnalystSettings(models=("stub",)),
        models={
            "stub": ModelSettings(
                kind="openai",
                model_id="stub-1",
                endpoint=stub.url,
                usd_per_million_prompt_tokens=USD_PER_MILLION[0],
                usd_per_million_reply_tokens=USD_PER_MILLION[1],
                max_concurrent=50,
            )
        },
        consensus=ConsensusSettings(agree=1),
        strategy=StrategySettings(stop_atr=3.0),
        budget=BudgetSettings(per_run_usd=budget_usd),
    )


def measured(name: str, book: Book, archive: Path, folder: Path, cassette: str = "cassette") -> Row:
    """Replay a book with a cassette, and say what that took."""
    settings = Settings(archive=archive, out=folder / name, cassette=folder / cassette, report=False)
    began = time.perf_counter()
    summary = Run(book, settings).run(lambda _: None)
    took = time.perf_counter() - began
    assert isinstance(summary, Summary)  # noqa: S101 # the log is kept
    came = msgspec.to_builtins(summary.run["coverage"])["stub"]
    return Row(
        name,
        questions=came["requests"],
        recorded=came["recorded"],
        asked=came["asked"],
        over_budget=came["over_budget"],
        calls=came["calls"],
        cost_usd=Decimal(came["cost_usd"]),
        seconds=took,
        log_sha256=summary.log_sha256,
    )


def compare(minutes: int, show: Callable[[str], None]) -> tuple[Row, Row, Row, Row]:
    """Measure a first and a second run, one that may spend half of it, and one more of the latter's cassette.

    Raises SystemExit where the second run costs anything or leaves another log, or a budget is passed.
    """
    with tempfile.TemporaryDirectory() as made, stub_model() as stub:
        folder = Path(made)
        write_market(folder / "market.parquet", minutes, SEED)
        archive, book = archived(folder / "market.parquet"), book_of(stub)
        (told,) = estimate(book, Span(archive, None, None), folder / "cassette", lambda _: None)
        show(f"estimate: {told.questions:,} questions, ${told.worst_usd:.4f} at worst, ${told.likely_usd:.4f} likely")
        first = measured("first", book, archive, folder)
        second = measured("second", book, archive, folder)
        cap = (first.cost_usd / 2).quantize(Decimal("0.0001"))
        show(f"half of what the first run cost is ${cap}")
        short = measured("short of money", book_of(stub, cap), archive, folder, "short")
        again = measured("short again", book_of(stub, cap), archive, folder, "short")
        if stub.calls != first.calls + short.calls + again.calls:
            raise SystemExit("a call was not counted")
    if second.calls or second.cost_usd or second.log_sha256 != first.log_sha256:
        raise SystemExit("the second run asked, cost, or differs")
    if not first.cost_usd > NOTHING or short.cost_usd + again.cost_usd > cap:
        raise SystemExit("nothing was paid, or a budget was passed")
    return first, second, short, again


def _main() -> None:
    parser = argparse.ArgumentParser(description="Replay a year of 15-minute questions twice, with a stub model.")
    parser.add_argument("--minutes", type=int, default=YEAR_MIN, metavar="N", help="how long (default: a year)")
    arguments = parser.parse_args()
    rows = compare(arguments.minutes, print)
    line = "{:<16}{:>10}{:>10}{:>10}{:>13}{:>9}{:>12}{:>9}  {}"
    print(line.format("run", "questions", "recorded", "asked", "over budget", "calls", "USD", "s", "log_sha256"))
    for row in rows:
        counts = (f"{count:,}" for count in row[1:6])
        print(line.format(row.name, *counts, f"{row.cost_usd:.6f}", f"{row.seconds:.1f}", row.log_sha256[:16]))


if __name__ == "__main__":
    _main()
