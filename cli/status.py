"""`quorum status`: what every book holds and how far it is behind, read from Kafka."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.overview import BookView, Overview


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    once: Annotated[bool, typer.Option("--once", help="Print the table once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show every book: how far it is behind, its worth, positions, breakers, orders and last alert.

    Reads the newest records of Kafka's topics and changes nothing. The table is drawn anew until Ctrl-C; where the
    output is no terminal it is printed once. Where Kafka is, QUORUM_KAFKA_BOOTSTRAP and _NAMESPACE say.

    Example: quorum status --json
    """
    from rich.console import Console
    from rich.live import Live

    from cli.cluster import cluster
    from cli.status_table import table_of
    from streams.overview import Watcher

    console = Console()
    with Watcher(cluster()) as watcher:
        if as_json:
            json.dump(document(watcher.overview, time.time_ns()), sys.stdout, indent=2)
            sys.stdout.write("\n")
        elif once or not console.is_terminal:
            console.print(table_of(watcher.overview, time.time_ns()))
        else:
            with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, screen=True) as live:
                while True:
                    live.update(table_of(watcher.overview, time.time_ns()), refresh=True)
                    watcher.follow(every)


def document(overview: Overview, now: int) -> dict[str, object]:
    """Give what the table shows, for programs: money as decimal strings, times in ns, `null` for what is not known."""
    return {"now": now, "books": [_book(overview, view, now) for view in overview.in_order()]}


def _book(overview: Overview, view: BookView, now: int) -> dict[str, object]:
    import msgspec

    from schemas.base import NS_PER_S

    return {
        "book": view.book,
        "state": view.state,
        "stopped": view.stopped,
        "seq": view.seq,
        "journal_seq": view.journal_seq,
        "lag": view.lag,
        "entry_at": view.entry_at or None,
        "age_s": round((now - view.entry_at) / NS_PER_S, 3) if view.entry_at else None,
        "equity": None if view.equity is None else str(view.equity),
        "equity_at": view.equity_at or None,
        "cash": None if view.cash is None else str(view.cash),
        "positions": {name: str(quantity) for name, quantity in sorted(view.positions.items())},
        "breakers": dict(sorted(view.breakers.items())),
        "orders": msgspec.to_builtins(list(view.orders.values())),
        "confirmations": msgspec.to_builtins(view.waiting(now)),
        "alert": msgspec.to_builtins(view.alert),
        "partial": overview.partial_of(view.book),
    }
