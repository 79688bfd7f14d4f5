"""`quorum import`: recordings in foreign formats into an archive, with a report of what was found in them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from connectors.importers.report import Report
    from connectors.importers.settings import Settings

EXAMPLES = """
\b
Bars, one row a bar, in columns of the usual names or of others:
  quorum import bars btc_1m.parquet --instrument BTC/USD@bitfinex --into archive
  quorum import bars eth.csv.gz --instrument ETH/USD@kraken --into archive \\
    --interval 1h --map ts=Opened --tz Europe/Paris

\b
Trades and quotes, from a LEAN zip or from a recording whose clock was behind:
  quorum import ticks equity/usa/tick/spy/20131007_trade.zip \\
    --instrument SPY/USD@us --into archive
  quorum import ticks futures.raw.gz --instrument BTC/USDT@binance-perp --into archive

\b
Texts; --check first shows what the file holds and writes nothing:
  quorum import tweets tweets.jsonl.gz --key BTC --source some_account --into archive --check
  quorum import news news.jsonl --key BTC --into archive --json
"""
CHECK_FAILED = 1
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", epilog=EXAMPLES)(import_)


def import_(
    kind: Annotated[Literal["bars", "ticks", "tweets", "news"], typer.Argument(help="bars, ticks, tweets or news.")],
    paths: Annotated[list[Path], typer.Argument(help="Files: CSV, JSON lines (.gz), Parquet, LEAN zips, recordings.")],
    into: Annotated[Path, typer.Option(help="The archive's folder; made if it is not there.")],
    instrument: Annotated[str, typer.Option(help="What the market data is of: SYMBOL@venue.")] = "",
    form: Annotated[
        Literal["auto", "plain", "lean", "binance-ws"], typer.Option("--format", help="Known by itself as a rule.")
    ] = "auto",
    maps: Annotated[
        list[str] | None, typer.Option("--map", help="OURS=THEIRS: a column by its name in the file. Repeatable.")
    ] = None,
    columns: Annotated[str, typer.Option(help="Names of the columns, for a CSV without a header: ts,open,…")] = "",
    interval: Annotated[str, typer.Option(help="Length of the bars: 15s, 1m, 4h, 1d.")] = "",
    time_is: Annotated[Literal["open", "close"], typer.Option(help="Which end of a bar its time names.")] = "open",
    time_unit: Annotated[Literal["auto", "iso", "s", "ms", "us", "ns"], typer.Option(help="Of the times.")] = "auto",
    tz: Annotated[str, typer.Option(help="Zone of times that name none: America/New_York; else UTC.")] = "",
    key: Annotated[str, typer.Option(help="What the texts concern: BTC; else each row's own symbol.")] = "",
    source: Annotated[str, typer.Option(help="Author or publisher of texts that name none.")] = "",
    symbol: Annotated[str, typer.Option(help="Which symbol of a recording that holds several.")] = "",
    clock_skew: Annotated[
        str, typer.Option(help="Added to receive times, in ms; auto finds how far the recorder's clock was behind.")
    ] = "auto",
    delay_ms: Annotated[int, typer.Option(help="From event to receipt, where the source does not tell.", min=0)] = 0,
    keep_suspicious: Annotated[bool, typer.Option("--keep-suspicious", help="Keep trades that LEAN flags.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="First day or time to take, UTC: 2017-03-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, UTC, not included.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write no source that a row was dropped of; exit 1.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Report only; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each report as a line of JSON.")] = False,
) -> None:
    """Bring recordings into an archive, with a report on what is wrong in them.

    Bad values, doubles, gaps, outliers and clock skew are counted, and nothing is dropped silently: each report is
    printed, and kept as JSON in the archive's `_reports` folder. The same file imported again replaces itself. Files
    of one command are taken to be of one recorder; a file that cannot be read ends the command, and those reported
    before it stay imported.
    """
    from cli.replay import parse_time
    from connectors.importers.settings import Settings, parse_interval

    settings = Settings(
        kind=kind,
        form=form,
        instrument=instrument,
        key=key,
        source=source,
        symbol=symbol,
        mapping=_mapping(maps or []),
        columns=tuple(columns.split(",")) if columns else (),
        time_unit=time_unit,
        time_is=time_is,
        tz=tz,
        interval_ns=parse_interval(interval) if interval else 0,
        clock_skew_ms=_skew(clock_skew),
        delay_ms=delay_ms,
        keep_suspicious=keep_suspicious,
        start_ns=parse_time(start),
        end_ns=parse_time(end),
    )
    dropped = _import(paths, into, settings, dry=check, strict=strict, as_json=as_json)
    if strict and dropped:
        raise typer.Exit(CHECK_FAILED)


def _import(paths: list[Path], into: Path, settings: Settings, *, dry: bool, strict: bool, as_json: bool) -> int:
    """Import, print each report as it comes, and return how many rows were dropped."""
    import msgspec
    from rich.console import Console

    from connectors.importers.run import import_files

    console = Console(soft_wrap=True)
    dropped = 0
    try:
        with _progress(paths) as progress:
            for report in import_files(paths, into, settings, dry=dry, strict=strict, progress=progress):
                if as_json:
                    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
                else:
                    console.print(_table(report))
                    _print_fate(console, report, into, dry=dry, strict=strict)
                dropped += report.rows_dropped
                if not report.rows_kept and not report.rows_outside:
                    raise ArchiveError(f"{report.source}: holds no row that could be kept; nothing of it was written")
    except KeyboardInterrupt:
        sys.stderr.write("quorum: interrupted; sources reported above are in the archive, whole\n")
        raise typer.Exit(INTERRUPTED) from None
    return dropped


def _mapping(maps: list[str]) -> dict[str, str]:
    mapping = {}
    for text in maps:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise ArchiveError(f"--map {text}: write OURS=THEIRS, as in --map close=Close")
        mapping[ours.strip()] = theirs
    return mapping


def _skew(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if text == "none":
        return 0
    try:
        return int(text)
    except ValueError:
        raise ArchiveError(f"--clock-skew {text}: write auto, none or whole milliseconds") from None


@contextmanager
def _progress(paths: list[Path]) -> Iterator[Callable[[Path], Callable[[int], None]]]:
    """Draw a bar of bytes read on standard error; silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        total = sum(path.stat().st_size for path in paths if path.is_file())
        task = bar.add_task("", total=total)

        def of(path: Path) -> Callable[[int], None]:
            bar.update(task, description=path.name)
            return lambda count: bar.update(task, advance=count)

        yield of


def _print_fate(console: Console, report: Report, into: Path, *, dry: bool, strict: bool) -> None:
    if dry:
        said = "checked only: nothing was written"
    elif not report.rows_kept:
        said = "no row is left: nothing of this source was written"
    elif strict and report.dropped:
        said = "rows were dropped and --strict is set: nothing of this source was written"
    else:
        said = f"{report.files:,} files in {into}"
    console.print(said, highlight=False, markup=False)


def _table(report: Report) -> Table:
    """Lay a report out; text of the file is printed as it is, never as markup."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{report.source}: {report.kind}"), title_justify="left", show_header=False)
    for label, value in _lines(report):
        table.add_row(label, escape(value))
    return table


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    yield "keys", ", ".join(report.keys)
    outside = f", {report.rows_outside:,} outside the time asked for" if report.rows_outside else ""
    yield "rows", f"{report.rows_read:,} read, {report.rows_kept:,} kept, {report.rows_dropped:,} dropped{outside}"
    for reason, dropped in report.dropped.items():
        yield "dropped", f"{dropped.rows:,}: {reason} ({dropped.example})"
    yield "span", f"{report.first} to {report.last}"
    if report.out_of_order:
        yield "out of order", f"{report.out_of_order:,} rows came after a later one; sorted"
    if gaps := report.gaps:
        longest = f"; longest {gaps.longest:,}, after {gaps.longest_at}" if gaps.holes else ""
        yield "gaps", f"{gaps.missing:,} {gaps.unit} missing in {gaps.holes:,} holes{longest}"
    yield "longest pause", f"{report.longest_pause_s:,.3f} s, after {report.longest_pause_at}"
    if outliers := report.outliers:
        yield (
            "outliers",
            (
                f"{outliers.rows:,} moves beyond 10 robust sigmas ({outliers.sigma_pct:g} % each), kept;"
                f" largest {outliers.largest_pct:+g} % at {outliers.largest_at}"
            ),
        )
    if report.clock_skew_ms:
        yield "clock skew", f"{report.clock_skew_ms:,} ms added to the receive times"
    for note in report.notes:
        yield "note", note
