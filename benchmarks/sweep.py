"""A sweep of risk settings over a year of minutes: `python -m benchmarks.sweep`.

Prints how long it takes, beside a single replay of the same book and archive in the same run, and checks one outcome
against it. The market is the benchmarks' walk; the book trades an EMA cross with stops, targets, breakers and fees.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.market import write_market
from benchmarks.quorum_ema import INSTRUMENT, archived
from replay.results import Summary
from replay.run import Run, Settings
from replay.sweep import Outcome, Setting, Sources, book_with, settings_of, sweep

MINUTES = 365 * 24 * 60
BOOK: dict[str, Any] = {
    "name": "sweep",
    "instruments": [{"id": INSTRUMENT, "lot_size": "0.001", "tick_size": "0.01"}],
    "cash": 1_000_000,
    "features": {"ema_fast": 400, "ema_slow": 1000},
    "strategy": {"mode": "advisory", "stop_atr": 30.0, "target_atr": 60.0},
    "risk": {"order_pct": 10.0, "max_position_pct": 100.0, "max_exposure_pct": 100.0},
    "breakers": {"max_drawdown_pct": 20.0, "max_daily_loss_pct": 5.0, "flash_move_pct": 5.0},
    "venue": {"taker_bps": 10.0, "slippage_bps": 1.0, "latency_ms": 100},
}


def settings(count: int) -> list[Setting]:
    """Give `count` risk settings: sizes, stops and the deepest loss of a day that is borne."""
    sizes = [round(1 + 0.5 * n, 1) for n in range(-(-count // 20))]
    stops, losses = [15.0, 20.0, 25.0, 30.0, 40.0], [0.5, 1.0, 2.0, 5.0]
    varied = {"risk.order_pct": sizes, "strategy.stop_atr": stops, "breakers.max_daily_loss_pct": losses}
    return settings_of(varied)[:count]


def alone(archive: Path, setting: Setting, out: Path) -> tuple[float, int, float]:
    """Replay one setting with the log, as `quorum replay --no-report` does: seconds, orders and last equity."""
    began = time.perf_counter()
    summary = Run(book_with(BOOK, setting), Settings(archive=archive, out=out, report=False)).run(lambda _: None)
    if not isinstance(summary, Summary):
        raise SystemExit("sweep: a run with a full log gave no summary")
    return time.perf_counter() - began, int(summary.metrics["orders"] or 0), summary.end_equity


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=int, default=1000)
    parser.add_argument("--bars", type=int, default=MINUTES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    console = Console(stderr=True)
    with TemporaryDirectory(prefix="quorum-sweep-") as folder:
        market = Path(folder) / "market.parquet"
        write_market(market, given.bars, seed=1)
        archive, every = archived(market), settings(given.settings)
        alone(archive, every[0], Path(folder) / "warm")
        single_s, orders, equity = alone(archive, every[0], Path(folder) / "single")
        began = time.perf_counter()
        running = sweep(BOOK, every, Sources(archive=archive), given.workers)
        outcomes: list[Outcome] = list(track(running, "settings", len(every), console=console, transient=True))
        swept_s = time.perf_counter() - began
    if (outcomes[0].orders, outcomes[0].end_equity) != (orders, equity):
        raise SystemExit(f"sweep: {outcomes[0]} is not what a replay of that book came to: {orders} orders, {equity}")
    figures = {
        "settings": len(every),
        "bars": given.bars,
        "workers": given.workers,
        "sweep_s": round(swept_s, 1),
        "bars_per_s": round(len(every) * given.bars / swept_s),
        "one_replay_with_log_s": round(single_s, 3),
        "as_many_single_replays_s": round(single_s * len(every) / given.workers, 1),
        "orders": sum(outcome.orders for outcome in outcomes),
        "failed": sum(bool(outcome.failure) for outcome in outcomes),
    }
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    Console(width=80).print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
