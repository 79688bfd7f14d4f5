"""`quorum data`: what is wrong in an archive, and what time it covers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from connectors.checking import Found, Overlap, SeriesFound
    from connectors.coverage import Cells, Covered

CHECK_EXAMPLES = """
\b
What is wrong, as a table; for a script, as JSON and an exit code:
  quorum data check archive
  quorum data check s3://lake/archive --strict --json
"""
SHOW_EXAMPLES = """
\b
In the terminal, and as a page that works offline:
  quorum data show archive
  quorum data show archive --html coverage.html
"""
WRONG = 1
RULES = (
    "Outliers are moves from row to row beyond ten robust standard deviations, each 1.4826 times the median absolute"
    " move that is not zero (Rousseeuw and Croux, 1993); they are not wrong by themselves."
)
LEVELS = (
    (0.0, "·", "bright_black"),
    (0.5, "░", "red"),
    (0.9, "▒", "yellow"),
    (0.999, "▓", "green"),
    (1.0, "█", "green"),
)
"""Up to which share of a cell which sign stands for it, in which colour: legible without colours too."""
TICK_COLUMNS = 12
"""From one time below the map to the next, at least."""

WIDEST = 4
"""Columns of a cell, where there are few."""

app = typer.Typer(help="Look at what an archive holds.", no_args_is_help=True, rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="data")


@app.command(epilog=CHECK_EXAMPLES)
def check(
    archive: Annotated[str, typer.Argument(help="A folder, or s3://BUCKET/PREFIX; an archive or a lake.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 where something is wrong.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON.")] = False,
) -> None:
    """Find gaps, doubles, outliers, clock skew, sources that disagree, and empty or unordered files.

    Nothing is changed. Outliers, and sources that overlap and agree, are shown and are not wrong by themselves.
    """
    import msgspec

    from connectors.checking import check_archive

    found = _read(archive, "checking", check_archive)
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _print_found(found)
    if strict and found.wrong:
        raise typer.Exit(WRONG)


@app.command(epilog=SHOW_EXAMPLES)
def show(
    archive: Annotated[str, typer.Argument(help="A folder, or s3://BUCKET/PREFIX; an archive or a lake.")],
    html: Annotated[Path | None, typer.Option(help="Write a page with a map to look into instead.")] = None,
) -> None:
    """Draw the time that an archive covers as a heat map: an instrument a line, a cell an hour, a day or more.

    A cell of bars is as full as its share of the bars that it could hold; of ticks and texts, as its rows beside those
    of the usual cell.
    """
    from connectors.coverage import cells, coverage
    from schemas.errors import ArchiveError

    found = _read(archive, "reading", coverage)
    if html is None:
        _print_map(found, cells)
        return
    from replay.coverage_page import write_coverage_page

    try:
        write_coverage_page(archive, found, html)
    except OSError as error:
        raise ArchiveError(f"{html}: cannot be written: {error.strerror}") from None
    sys.stdout.write(f"{html}: {len(found):,} series\n")


def _read(archive: str, what: str, read: Callable[..., Any]) -> Any:  # noqa: ANN401 - whatever `read` gives
    from cli.progress import fetch_progress
    from connectors.held import held_files
    from connectors.store import open_store

    store = open_store(archive)
    with fetch_progress(what, sum(file.size for file in held_files(store))) as progress:
        return read(store, progress)


def _print_found(found: Found) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from connectors.coverage import series_name

    console = Console()
    table = Table("series", "rows", "found")
    for series in found.series:
        name = f"{series_name(series.key, series.kind, series.interval_ns)}\n{series.source}"
        rows = f"{series.rows:,}\n{series.first[:16]}\n{series.last[:16]}"
        lines = "\n".join(_lines(series)) or "nothing"
        table.add_row(escape(name), rows, escape(lines), style="yellow" if series.wrong else "", end_section=True)
    console.print(table)
    for line in (f"{each.file}: {each.fault}" for each in found.files):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for each in found.overlaps:
        console.print(_agreement(each), markup=False, highlight=False, soft_wrap=True)
    console.print(RULES, style="dim", highlight=False, soft_wrap=True)
    console.print("Something is wrong." if found.wrong else "Nothing is wrong.")


def _lines(series: SeriesFound) -> Iterator[str]:
    """Say what was found in a series, a line each."""
    if (gaps := series.gaps) and gaps.holes:
        yield f"gaps: {gaps.missing:,} {gaps.unit} missing in {gaps.holes:,} holes"
        yield f"  longest {gaps.longest:,}, after {gaps.longest_at}"
    if series.doubles:
        yield f"doubles: {series.doubles:,} rows have the id of another"
    if series.early:
        behind = series.clock_note or f"their clock was {series.clock_skew_ms:,} ms behind"
        yield f"clock: {series.early:,} rows received before they occurred"
        yield f"  {behind}"
    if (outliers := series.outliers) and outliers.rows:
        yield f"outliers: {outliers.rows:,} beyond {10 * outliers.sigma_pct:g} %"
        yield f"  largest {outliers.largest_pct:+g} % at {outliers.largest_at}"


def _agreement(each: Overlap) -> str:
    """Say how two sources of the same rows compare."""
    both = f"{each.key} {each.kind}: {' and '.join(each.sources)} both have {each.rows:,} rows"
    if not each.differing:
        return f"{both}, and agree"
    return f"{both}, of which {each.differing:,} differ, by up to {each.largest_pct:g} %; first at {each.at}"


def _print_map(found: list[Covered], cut: Callable[..., Cells]) -> None:
    from rich.console import Console
    from rich.text import Text

    from connectors.coverage import rows_in, series_name, shares

    console = Console()
    labels = [series_name(each.key, each.kind, each.interval_ns) for each in found]
    totals = [f"{int(each.rows.sum()):,}" for each in found]
    left, right = max(map(len, labels)) + 1, max(map(len, totals)) + 1
    room = max(10, console.width - left - right)
    grid = cut(found, room)
    wide = max(1, min(WIDEST, room // grid.size))
    for each, label, total in zip(found, labels, totals, strict=True):
        line = Text(label.ljust(left))
        for share, rows in zip(shares(each, grid), rows_in(each, grid), strict=True):
            sign, colour = _sign(float(share), int(rows))
            line.append(sign * wide, colour)
        console.print(line + Text(total.rjust(right), "dim"), no_wrap=True, crop=True)
    console.print(Text(" " * left + _axis(grid, wide), "dim"), no_wrap=True, crop=True)
    console.print(_legend(grid))


def _sign(share: float, rows: int) -> tuple[str, str]:
    if not rows:
        return LEVELS[0][1:]
    return next((sign, colour) for most, sign, colour in LEVELS[1:] if share <= most)


def _axis(grid: Cells, wide: int) -> str:
    """Write times below the map, as far apart as they need."""
    form = "%m-%d %Hh" if grid.hours < 24 and grid.hours * grid.size <= 24 * 60 else "%Y-%m-%d"  # noqa: PLR2004
    starts, line = grid.starts().astype("datetime64[s]").tolist(), ""
    for place in range(0, grid.size, -(-TICK_COLUMNS // wide)):
        line = line.ljust(place * wide) + starts[place].strftime(form)
    return line


def _legend(grid: Cells) -> Text:
    from rich.text import Text

    legend = Text(f"a cell is {grid.length}, UTC:  ")
    for (_, sign, colour), meaning in zip(LEVELS, ("empty", "under half", "to 90 %", "nearly", "full"), strict=True):
        legend.append(sign * 2, colour)
        legend.append(f" {meaning}  ", "dim")
    return legend
