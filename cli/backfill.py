"""`quorum backfill`: the past of a market from its exchange into an archive, and on from where that ended."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from connectors.backfill.run import Outcome, Progress
    from connectors.backfill.state import Wanted
    from connectors.store import Store

EXAMPLES = """
\b
A year of minutes, and later what has been traded since:
  quorum backfill ohlcv --exchange binance --symbol BTC/USDT --since 2025-01-01 \\
    --until 2026-01-01 --into archive
  quorum backfill ohlcv --exchange binance --symbol BTC/USDT --since 2025-01-01 --into archive

\b
Hours of a perpetual, into a bucket:
  quorum backfill ohlcv --exchange binance --symbol BTC/USDT:USDT --timeframe 1h \\
    --instrument BTC/USDT@binance-perp --since 2020-01-01 --into s3://lake/archive

\b
Every trade of a day:
  quorum backfill trades --exchange kraken --symbol BTC/USD --since 2026-03-01 \\
    --until 2026-03-02 --into archive
"""
INTERRUPTED = 130
SETTLED_MIN = 1
"""An exchange may still change or add what is younger."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backfill", epilog=EXAMPLES)(backfill_)


def backfill_(
    what: Annotated[Literal["ohlcv", "trades"], typer.Argument(help="ohlcv (bars) or trades.")],
    exchange: Annotated[str, typer.Option(help="As ccxt names it: binance, kraken, coinbase.")],
    symbol: Annotated[str, typer.Option(help="As ccxt names it: BTC/USDT; BTC/USDT:USDT is the perpetual.")],
    since: Annotated[str, typer.Option(help="First day or time, UTC: 2020-01-01. Of a bar, when it closes.")],
    until: Annotated[str | None, typer.Option(help="End, UTC, not included; a minute ago unless said.")] = None,
    into: Annotated[str, typer.Option(help="The archive: a folder, or s3://BUCKET/PREFIX.")] = "archive",
    timeframe: Annotated[str, typer.Option(help="Length of the bars: 1m, 15m, 1h, 1d.")] = "1m",
    instrument: Annotated[str, typer.Option(help="What to name it, SYMBOL@venue; else by symbol and exchange.")] = "",
) -> None:
    """Fetch the past of a market into an archive; what lies there already is not fetched again.

    Whole months of bars and whole hours of trades are noted in the archive's `_backfill` folder as they are written.
    So Ctrl-C loses little, and the same command goes on. At the end all that was asked for is checked for gaps: an
    exchange that has no candle for a minute without a trade leaves a gap, and nothing is filled in.
    """
    import asyncio

    from cli.progress import fetch_progress
    from cli.replay import parse_time
    from connectors.backfill.state import Wanted
    from connectors.importers.settings import check_instrument, parse_interval
    from connectors.store import open_store
    from schemas.base import NS_PER_MIN

    now_ns = time.time_ns()
    since_ns, until_ns = parse_time(since), parse_time(until)
    settled_ns = (now_ns // NS_PER_MIN - SETTLED_MIN) * NS_PER_MIN
    wanted = Wanted(
        exchange=exchange,
        symbol=symbol,
        kind="bars" if what == "ohlcv" else "trades",
        timeframe=timeframe if what == "ohlcv" else "",
        interval_ns=parse_interval(timeframe) if what == "ohlcv" else 0,
        instrument=check_instrument(instrument or f"{symbol}@{exchange}"),
        since_ns=since_ns or 0,
        until_ns=min(until_ns or settled_ns, settled_ns),
    )
    if wanted.since_ns >= wanted.until_ns:
        raise ArchiveError(f"--since {since}: lies not before the end ({until or 'a minute ago'})")
    store = open_store(into)
    try:
        with fetch_progress(wanted.instrument, wanted.until_ns - wanted.since_ns) as progress:
            outcome = asyncio.run(_fetch(wanted, store, progress))
    except KeyboardInterrupt:
        sys.stderr.write(
            f"quorum: interrupted; what is whole lies in {into}, and the same command goes on from there\n"
        )
        raise typer.Exit(INTERRUPTED) from None
    _print(outcome, wanted, into)


async def _fetch(wanted: Wanted, store: Store, progress: Progress) -> Outcome:
    from connectors.backfill.run import backfill
    from connectors.backfill.venue import Venue, connect

    async with Venue(connect(wanted.exchange), wanted.symbol) as venue:
        if wanted.kind == "bars":
            venue.check_candles(wanted.timeframe)
        else:
            venue.check_trades()
        return await backfill(venue, store, wanted, progress)


def _print(outcome: Outcome, wanted: Wanted, into: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from connectors.backfill.spans import merged
    from connectors.importers.report import utc

    table = Table(title=escape(f"{wanted.instrument}: {wanted.kind}"), title_justify="left", show_header=False)

    def row(label: str, value: str) -> None:
        table.add_row(label, escape(value))

    row("asked for", f"{utc(wanted.since_ns)} to {utc(wanted.until_ns)}")
    if outcome.begins_ns > wanted.since_ns:
        row("not to be had", f"{wanted.exchange} has nothing before {utc(outcome.begins_ns)}")
    for lo, hi in merged(outcome.fetched):
        row("fetched", f"{utc(lo)} to {utc(hi)}")
    row(
        "rows",
        f"{outcome.rows:,} new, in {outcome.files:,} files of {into}" if outcome.fetched else "all there already",
    )
    for reason, dropped in outcome.dropped.items():
        row("dropped", f"{dropped.rows:,}: {reason} ({dropped.example})")
    if gaps := outcome.gaps:
        longest = f"; longest {gaps.longest:,}, after {gaps.longest_at}" if gaps.holes else ""
        row("gaps", f"{gaps.missing:,} {gaps.unit} missing in {gaps.holes:,} holes{longest}")
    Console(soft_wrap=True).print(table)
