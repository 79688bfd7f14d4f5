"""The table that `quorum status` draws. Outside text stands in it as plain, printable text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.base import NS_PER_S
from schemas.operations import AlertRaised, ProcessingFailed
from streams.logs import printable
from streams.overview import BookView, Overview

OLD_S = 10.0
"""A clock entry comes every second: a desk whose last entry is older than this is behind, or nothing writes."""
FAR_BEHIND = 10_000
"""Entries."""
COLUMNS = ("book", "state", "entry", "behind", "age", "equity", "positions", "orders")
RIGHT = frozenset({"entry", "behind", "age", "equity", "orders"})


def table_of(overview: Overview, now: int) -> RenderableType:
    """Draw all books as they are at `now`, in ns."""
    views = overview.in_order()
    if not views:
        return Text("No book has a journal here yet: start the workers, or look at another QUORUM_KAFKA_NAMESPACE.")
    table = Table(title=f"{_time(now)} UTC", title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in RIGHT else "left", no_wrap=column != "positions")
    for view in views:
        table.add_row(*_row(view, now))
    return Group(table, *(note for view in views for note in _notes(overview, view, now)))


def _row(view: BookView, now: int) -> list[Text]:
    age_s = (now - view.entry_at) / NS_PER_S
    lag = view.lag
    return [
        Text(printable(view.book), style="bold"),
        Text(view.state, style="green" if view.state == "running" else "bold red"),
        Text("-" if view.seq is None else f"{view.seq:,}"),
        Text("-" if lag is None else f"{lag:,}", style="red" if (lag or 0) > FAR_BEHIND else ""),
        Text(_age(age_s) if view.entry_at else "-", style="red" if age_s > OLD_S else ""),
        Text(_money(view.equity)),
        Text("\n".join(f"{quantity:f} {printable(name)}" for name, quantity in sorted(view.positions.items()))),
        Text(f"{len(view.orders)}"),
    ]


def _notes(overview: Overview, view: BookView, now: int) -> Iterator[Text]:
    """Say below the table what does not fit into it."""
    name = printable(view.book)
    if view.stopped:
        yield Text(f"{name} stopped: {printable(view.stopped)}", style="bold red")
    for breaker, until in sorted(view.breakers.items()):
        yield Text(f"{name} takes no new risk: {_breaker(breaker, until)}", style="bold red")
    if waiting := len(view.waiting(now)):
        yield Text(
            f"{name}: trades that wait for a person: {waiting} (`quorum control confirm {name}`)", style="yellow"
        )
    if view.alert is not None:
        yield _alert(name, view.alert)
    if overview.partial_of(view.book):
        yield Text(f"{name}: only the newest records were read; older positions, breakers and orders are not shown")


def _alert(name: str, alert: AlertRaised | ProcessingFailed) -> Text:
    severity = alert.severity if isinstance(alert, AlertRaised) else "critical"
    text = alert.text if isinstance(alert, AlertRaised) else f"{alert.agent}: {alert.error}"
    style = {"info": "", "warning": "yellow", "critical": "bold red"}[severity]
    return Text(f"{name} {_time(alert.observed_at)} {severity}: {printable(text)[:300]}", style=style)


def _breaker(name: str, until: int) -> str:
    return f"{printable(name)} until {_time(until) if until else 'an operator resumes'}"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at // NS_PER_S, UTC).strftime("%m-%d %H:%M:%S")


def _age(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{max(0.0, seconds):.1f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min"


def _money(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
