"""`quorum sql`: ask a lake or a run by SQL."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import QueryError

if TYPE_CHECKING:
    from connectors.query.database import Database

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sql)


def sql(
    statement: Annotated[str, typer.Argument(help="One statement that reads; - takes it from standard input.")] = "",
    lake: Annotated[str, typer.Option(help="Folder or s3://BUCKET/PREFIX of a lake.", metavar="WHERE")] = "",
    run: Annotated[Path | None, typer.Option(help="Folder of a run.", metavar="RUN")] = None,
    query: Annotated[str, typer.Option(help="A worked query by name, instead of a statement; list shows them.")] = "",
    form: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="json is one object a line.")
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write, instead of standard output.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows that a table shows at most.")] = 200,
) -> None:
    """Ask a lake or a run by SQL (DuckDB's), read-only: a view for every topic, and one for every event.

    `show tables` names the views, `describe order_filled` the columns of one. Times are in ns; utc(observed_at) makes a
    timestamp of one. On a lake, say year, month, day and hour, or bounds of observed_at: only those hours are read.

    Example: quorum sql "select key, count(*) from trade_ticked group by key" --lake s3://bucket/lake

    Example: quorum sql --query slippage --run runs/btc
    """
    from connectors.query.worked import WORKED

    if query == "list":
        for name, worked in WORKED.items():
            sys.stdout.write(f"{name:<10} {worked.about}\n")
        return
    text = _statement(statement, query)
    if bool(lake) == bool(run):
        raise QueryError("say what to ask: --lake WHERE or --run RUN")
    if form == "parquet" and out is None:
        raise QueryError("Parquet is written to a file: --format parquet --out FILE")
    from cli.rows import write

    try:
        with _opened(lake, run, text) as database:
            write(database.run(text), form, out, limit)
    except KeyboardInterrupt:
        sys.stderr.write("quorum: interrupted\n")
        raise typer.Exit(INTERRUPTED) from None


def _statement(statement: str, query: str) -> str:
    from connectors.query.worked import WORKED

    if bool(statement) == bool(query):
        raise QueryError('say one statement, or one worked query: quorum sql "select ..." or quorum sql --query NAME')
    if query and query not in WORKED:
        close = get_close_matches(query, WORKED, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(WORKED)}"
        raise QueryError(f"no worked query is called {query!r}; {hint}")
    return WORKED[query].sql if query else sys.stdin.read() if statement == "-" else statement


def _opened(lake: str, run: Path | None, text: str) -> Database:
    from connectors.query.database import over_lake, over_run
    from connectors.store import open_store

    return over_run(run) if run is not None else over_lake(open_store(lake), text)
