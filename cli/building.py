"""`quorum lake build`, `quorum lake ddl`: what is made of a lake's raw records, and its tables for Athena."""

from __future__ import annotations

import sys
from datetime import date
from typing import Annotated

import typer

from cli.lake import Lake, commands
from schemas.errors import StoreError

INTERRUPTED = 130


def register() -> None:
    """Add the commands to those of the lake."""
    commands.command("build")(build)
    commands.command("ddl")(ddl)


def build(
    lake: Lake,
    start: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, UTC: 2024-01-31.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DAY", help="End, UTC, not included.")] = "",
) -> None:
    """Build bars of 1m, 5m and 1h of the ticks, and hourly sentiment of the texts, into processed/.

    The same records give the same bytes: build again what has grown. A replay reads the bars with --archive
    LAKE/processed.

    Example: quorum lake build s3://bucket/lake --from 2024-01-01 --to 2024-02-01
    """
    from rich.console import Console

    from connectors.processed.build import build as make
    from connectors.store import open_store

    first, last = (_day(text) if text else None for text in (start, end))
    try:
        with Console(file=sys.stderr).status("building") as shown:
            report = make(open_store(lake), first, last, lambda day: shown.update(f"built {day}"))
    except KeyboardInterrupt:
        sys.stderr.write("quorum: interrupted; the days that were built are whole\n")
        raise typer.Exit(INTERRUPTED) from None
    rows = ", ".join(f"{count:,} {what}" for what, count in sorted(report.rows.items())) or "nothing that is over"
    sys.stdout.write(f"{lake}: {rows}, in {report.files:,} files\n")
    if late := {name: count for name, count in report.late.items() if count}:
        told = ", ".join(f"{count:,} of {name}" for name, count in late.items())
        sys.stdout.write(f"trades that came too late for their bar: {told}\n")


def ddl(
    lake: Annotated[str, typer.Argument(help="s3://bucket/prefix; nothing is read there.", metavar="LAKE")],
    database: Annotated[str, typer.Option(help="Of Athena, or Glue.")] = "quorum",
) -> None:
    """Print the statements that make a lake's tables in Athena, with partitions that need no crawler.

    Example: quorum lake ddl s3://bucket/lake > tables.sql
    """
    from connectors.query.ddl import ddl as statements

    sys.stdout.write(statements(lake, database))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise StoreError(f"{text!r} is no day; write it as in 2024-01-31") from None
