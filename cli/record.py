"""`quorum record`: ask models, once, all that a replay would ask them, or say what that would cost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import BookError

if TYPE_CHECKING:
    from replay.record import Estimate
    from replay.run import Reached
    from schemas.book import Book

INCOMPLETE = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("record")(record)


def record(
    book: Annotated[Path, typer.Argument(help="The book whose models are asked, a BOOK.yaml.")],
    cassette: Annotated[Path, typer.Option(help="Folder that keeps every call and answer; made if need be.")],
    archive: Annotated[
        str | None,
        typer.Option(help="Folder, file or s3://BUCKET/PREFIX of market data and texts; else what the book names."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day or time, UTC: 2017-03-01[T12:00].")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, UTC, not included.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what is left to ask and what it may cost, and ask nobody.")
    ] = False,
) -> None:
    """Ask the book's models what a replay would ask, and keep the answers.

    Replays and sweeps with that cassette then cost nothing. Only what has no answer yet is asked, all models at once,
    within the book's budget. Ctrl-C keeps what was answered; the same command goes on from there. Exits 1 where
    questions are left without an answer, for want of money or because a model could not be reached.

    Example: quorum record examples/btc.yaml --from 2024-01-02 --cassette cassettes/btc --estimate
    """
    from cli.books import archive_of, load_book
    from cli.progress import replay_progress
    from cli.replay import parse_span
    from replay.cassette import RecordedVerdicts
    from replay.collector import collector_paused
    from replay.record import Span, asked_outside, record_span, unanswered
    from replay.record import estimate as estimated

    read = load_book(book)
    if not asked_outside(read):
        raise BookError(f"{book}: asks no model over a network, so there is nothing to record")
    span = Span(archive_of(read, book, archive), *parse_span(start, end))
    if estimate:
        with collector_paused(), replay_progress() as on_progress:
            found = estimated(read, span, cassette, on_progress)
        print_estimate(read, found)
        return
    stopping = threading.Event()
    with (
        stopped_by_interrupt(stopping.set),
        replay_progress() as on_progress,
        asking_progress() as on_asked,
        collector_paused(),
    ):
        asked = record_span(read, span, cassette, RecordedVerdicts(), on_progress, on_asked, stopping)
    calls, cost = sum(asked.calls.values()), sum(asked.cost_usd.values())
    sys.stdout.write(
        f"{len(asked.requests):,} questions answered by {calls:,} calls for ${cost:.6f};"
        f" {cassette} holds {len(asked.recorded):,} answers\n"
    )
    told = unanswered(asked)
    for each in told:
        sys.stderr.write(f"quorum: {each}\n")
    if told:
        raise typer.Exit(INCOMPLETE)


@contextmanager
def stopped_by_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first Ctrl-C; a second one breaks off."""

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def asking_progress() -> Iterator[Callable[[Reached], None]]:
    """Draw a bar with cost so far, what the rest may cost, and the time left; silent off a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    bar = Progress(
        TextColumn("asking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("${task.fields[cost]} spent, ${task.fields[worst]} at most to come,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=None, cost="0", worst="?")
    started = False

    def show(reached: Reached) -> None:
        nonlocal started
        if not started:
            started = True
            bar.start()
        bar.update(
            task,
            total=reached.whole,
            completed=reached.done,
            cost=f"{reached.cost_usd:.4f}",
            worst=f"{reached.worst_left_usd:.2f}",
        )

    try:
        yield show
    finally:
        if started:
            bar.stop()


def print_estimate(book: Book, found: list[Estimate]) -> None:
    """Print a table of what asking would take."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{book.name}: to be asked, and what it costs in USD, at worst and likely")
    for name in ("model", "questions", "tokens", "likely", "USD", "asked twice", "likely"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for each in found:
        table.add_row(
            each.model,
            f"{each.questions:,}",
            f"{each.prompt_tokens + each.reply_tokens:,}",
            f"{each.likely_prompt_tokens + each.likely_reply_tokens:,}",
            f"{each.worst_usd:,.4f}",
            f"{each.worst_retried_usd:,.4f}",
            f"{each.likely_usd:,.4f}",
        )
    console = Console()
    console.print(table)
    caps = [
        (span, getattr(book.budget, f"per_{span}_usd"))
        for span in ("call", "hour", "day", "run")
        if getattr(book.budget, f"per_{span}_usd") is not None
    ]
    told = ", ".join(f"${cap} per {span}" for span, cap in caps) or "none: nothing limits what may be spent"
    console.print(f"budget of all models: {told}", highlight=False, soft_wrap=True)
    if book.analysts.screen:
        console.print(
            f"What {book.analysts.screen} is still to be asked decides what the others are; that is not counted.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
