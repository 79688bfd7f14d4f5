"""What a replay or a backfill shows while it runs, and the table at a replay's end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from replay.log import NOT_AUDITABLE
from replay.results import Summary, Unlogged
from replay.run import Progress as Reached
from schemas.base import NS_PER_S

SHOWN = (
    ("total_return_pct", "total return %"),
    ("cagr_pct", "CAGR %"),
    ("sharpe", "Sharpe"),
    ("sortino", "Sortino"),
    ("max_drawdown_pct", "max drawdown %"),
)
"""Metrics that the table holds beside buy and hold."""


@contextmanager
def replay_progress() -> Iterator[Callable[[Reached], None]]:
    """Draw a bar with the simulated date and events/s on standard error; silent where that is no terminal."""
    console = Console(file=sys.stderr)
    bar = Progress(
        TextColumn("{task.fields[date]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=1.0, date="", rate="")

    def show(reached: Reached) -> None:
        elapsed_s = bar.tasks[0].elapsed or 1e-9
        done = (reached.now - reached.first) / max(1, reached.last - reached.first)
        date = datetime.fromtimestamp(reached.now // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M")
        bar.update(task, completed=min(1.0, done), date=date, rate=f"{reached.events / elapsed_s:,.0f} events/s")

    with bar:
        yield show


@contextmanager
def fetch_progress(what: str, whole: int) -> Iterator[Callable[[int], None]]:
    """Draw a bar with the time left on standard error as portions of `whole` are told; silent off a terminal."""
    console = Console(file=sys.stderr)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(what, total=whole)
    with bar:
        yield lambda more: bar.update(task, advance=more)


def print_summary(summary: Summary | Unlogged) -> None:
    """Print the figures that one looks for first."""
    console = Console()
    console.print(f"{summary.book}, {summary.start} to {summary.end}", highlight=False, soft_wrap=True)
    if isinstance(summary, Unlogged):
        console.print(
            f"{summary.start_equity:,.2f} became {summary.end_equity:,.2f} {summary.currency};"
            f" {summary.orders:,} orders, {summary.fills:,} fills",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print(_table(summary))
    if summary.interrupted:
        console.print("[bold]Partial: the run was interrupted.[/bold]")
    timing = summary.timing
    digest = summary.log_sha256 and f", log_sha256 {summary.log_sha256}"
    console.print(
        f"{summary.run['journal_entries']:,} events in {timing['replayed_s']} s"
        f" ({timing['events_per_s']:,} events/s){digest}",
        highlight=False,
        soft_wrap=True,
    )
    if summary.log != "full":
        console.print(f"{NOT_AUDITABLE[summary.log].capitalize()}.", highlight=False, soft_wrap=True)


def _table(summary: Summary) -> Table:
    table = Table()
    table.add_column("")
    table.add_column("this book", justify="right")
    table.add_column("buy and hold", justify="right")
    for name, label in SHOWN:
        table.add_row(label, _number(summary.metrics.get(name)), _number(summary.buy_and_hold.get(name)))
    for name in ("trades", "win_rate_pct", "profit_factor", "fees_paid"):
        table.add_row(name.replace("_pct", " %").replace("_", " "), _number(summary.metrics.get(name)), "")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
