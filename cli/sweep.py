"""`quorum sweep`: one book under many settings, and which of them it would have paid to have."""

from __future__ import annotations

import sys
import threading
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import BookError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from replay.sweep import Outcome, Scalar, Setting, Sources

INTERRUPTED = 130
MOST_VALUES = 100_000
SHOWN = 10
COLUMNS = ("total_return_pct", "max_drawdown_pct", "sharpe")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sweep")(sweep)


def sweep(
    book: Annotated[Path, typer.Argument(help="The book to vary, a BOOK.yaml.")],
    vary: Annotated[
        list[str],
        typer.Option(help="PLACE=FROM:TO:STEP or PLACE=A,B,C, as in risk.order_pct=1:20:1; give it once a place."),
    ],
    archive: Annotated[
        str | None,
        typer.Option(help="Folder, file or s3://BUCKET/PREFIX of market data and texts; else what the book names."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day or time, UTC: 2017-03-01[T12:00].")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, UTC, not included.")] = None,
    verdicts: Annotated[
        str | None, typer.Option(help="Answer questions from this run's folder or archive first.")
    ] = None,
    cassette: Annotated[
        Path | None,
        typer.Option(help="Folder of what models have answered; what it has not is asked once, for all settings."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for sweep.csv and sweep.html; else runs/NAME-sweep.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds the archive in memory.")] = 2,
) -> None:
    """Replay a book under every combination of some settings, and compare what they come to.

    The archive is decoded once a process and a question that two settings put is answered once; each row is what
    `quorum replay` of that very book comes to. Ctrl-C keeps the rows that are done. The best of many settings is partly
    luck: judge it on another span of time.

    Example: quorum sweep examples/btc.yaml --vary risk.order_pct=5:50:5 --vary strategy.stop_atr=2,3,4
    """
    from cli.books import archive_of, load_book, place_of, read_book
    from cli.replay import parse_span
    from replay.sweep import Sources, settings_of
    from replay.sweep import sweep as run_sweep
    from replay.sweep_page import write_sweep_page, write_table

    start_ns, end_ns = parse_span(start, end)
    settings = settings_of(dict(map(parse_vary, vary)))
    read = load_book(book)
    sources = Sources(
        archive=archive_of(read, book, archive),
        start_ns=start_ns,
        end_ns=end_ns,
        verdicts=place_of(verdicts) if verdicts else None,
        cassette=cassette,
    )
    if cassette is not None:
        _ask(read_book(book), settings, sources)
    folder = out or Path("runs") / f"{read.name}-sweep"
    outcomes: list[Outcome] = []
    interrupted = False
    running = run_sweep(read_book(book), settings, sources, min(workers, len(settings)))
    try:
        outcomes.extend(_shown(running, len(settings)))  # each is in the list as soon as it is done
    except KeyboardInterrupt:
        interrupted = True
        running.close()
    folder.mkdir(parents=True, exist_ok=True)
    write_table(outcomes, folder / "sweep.csv")
    write_sweep_page(read, outcomes, folder / "sweep.html")
    _print(outcomes)
    sys.stdout.write(f"{folder / 'sweep.html'}\n")
    if interrupted:
        sys.stderr.write(f"quorum: interrupted: {len(outcomes)} of {len(settings)} settings are done\n")
        raise typer.Exit(INTERRUPTED)


def _ask(data: dict[str, Any], settings: Sequence[Setting], sources: Sources) -> None:
    """Ask models, before anything runs, all that has no answer yet."""
    from cli.progress import replay_progress
    from cli.record import asking_progress, stopped_by_interrupt
    from replay.sweep import ask_for_all

    stopping = threading.Event()
    with stopped_by_interrupt(stopping.set), replay_progress() as on_progress, asking_progress() as on_asked:
        ask_for_all(data, settings, sources, on_progress, on_asked, stopping)


def parse_vary(text: str) -> tuple[str, Sequence[Scalar]]:
    """Read `PLACE=FROM:TO:STEP`, both ends taken, or `PLACE=A,B,C`. Raises BookError on anything else."""
    place, equals, values = text.partition("=")
    if not equals or not place or not values:
        raise BookError(f"--vary {text!r}: write PLACE=FROM:TO:STEP or PLACE=A,B,C, as in risk.order_pct=1:20:1")
    parts = values.split(":")
    if len(parts) == 1:
        return place, [_scalar(value.strip()) for value in values.split(",")]
    try:
        first, last, step = map(Decimal, parts)
        count = int((last - first) / step) + 1
    except (InvalidOperation, ValueError, ZeroDivisionError, OverflowError):
        raise BookError(f"--vary {text!r}: FROM:TO:STEP are three numbers, the last not zero") from None
    if not 1 <= count <= MOST_VALUES:
        raise BookError(f"--vary {text!r}: gives {max(count, 0):,} values; between 1 and {MOST_VALUES:,} can be run")
    return place, [_scalar(format(first + n * step, "f")) for n in range(count)]


def _scalar(text: str) -> Scalar:
    words: dict[str, Scalar] = {"true": True, "false": False}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _shown(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Draw a bar on standard error while they come."""
    from rich.console import Console
    from rich.progress import track

    console = Console(file=sys.stderr)
    yield from track(outcomes, "settings", total, console=console, transient=True, disable=not console.is_terminal)


def _print(outcomes: Sequence[Outcome]) -> None:
    """Print the settings that ended with most, and those that failed."""
    from rich.console import Console
    from rich.table import Table

    done = [outcome for outcome in outcomes if not outcome.failure]
    best = sorted(done, key=lambda outcome: -outcome.end_equity)[:SHOWN]
    table = Table(title=f"best {len(best)} of {len(outcomes):,} by end equity" if len(outcomes) > SHOWN else None)
    for place in outcomes[0].setting if outcomes else ():
        table.add_column(place, justify="right")
    for name in ("end equity", "return %", "drawdown %", "Sharpe", "orders"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in best:
        table.add_row(*_row(outcome.setting, outcome))
    console = Console()
    console.print(table)
    for failure in sorted({outcome.failure for outcome in outcomes if outcome.failure}):
        console.print(f"failed: {failure}", highlight=False, markup=False)


def _row(setting: Setting, outcome: Outcome) -> list[str]:
    measures = [outcome.metrics.get(name) for name in COLUMNS]
    return [
        *map(str, setting.values()),
        f"{outcome.end_equity:,.0f}",
        *("-" if value is None else f"{value:,.2f}" for value in measures),
        f"{outcome.orders:,}",
    ]
