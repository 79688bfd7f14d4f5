"""`quorum import`: foreign files into the archive, with a report on what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from schemas.errors import ArchiveError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_bars)


def import_bars(
    path: Annotated[Path, typer.Argument(help="CSV or Parquet with columns ts, open, high, low, close, volume.")],
    into: Annotated[Path, typer.Option(help="The archive to add to.")],
    instrument: Annotated[str, typer.Option(help="Their key: SYMBOL@venue.")],
    interval_s: Annotated[int, typer.Option(help="Length of a bar.", min=1)] = 60,
    time_unit: Annotated[str, typer.Option(help="Of a whole-number time: s, ms, us or ns.")] = "ms",
    strict: Annotated[bool, typer.Option(help="Exit 1 where a row was dropped.")] = False,
) -> None:
    """Import bars, whose time column is each bar's opening in UTC, and report gaps, doubles and bad rows.

    The same file imported twice counts once. Rows that cannot be true are left out and counted, gaps stay gaps.

    Example: quorum import bars.csv --instrument BTC/USD@bitfinex --into archive
    """
    from connectors.archive import write
    from connectors.bars import NS_OF_UNIT, read_bars

    if time_unit not in NS_OF_UNIT:
        raise ArchiveError(f"--time-unit {time_unit!r} is none of {', '.join(NS_OF_UNIT)}")
    table, found = read_bars(path, instrument, interval_s, time_unit)
    write(into, "bars", table, f"{path.name}:{instrument}")
    shown = Table("", "")
    for name in ("rows", "kept", "out_of_order", "gaps", "missing_bars", "longest_gap_s"):
        shown.add_row(name.replace("_", " "), f"{getattr(found, name):,}")
    for reason, rows in found.dropped.items():
        shown.add_row(f"dropped: {reason}", f"{rows:,}")
    Console().print(shown)
    if strict and found.dropped:
        raise typer.Exit(1)
