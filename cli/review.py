"""`quorum review`: texts that were kept from the models, and the word of a person on each."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.control import BOOK, OPERATOR, REASON, WAIT, chosen, envelope, send
from schemas.errors import QuorumError

if TYPE_CHECKING:
    from schemas.decisions import NewsFlagged

RUN = typer.Option("--run", help="List those of a replay's folder that nobody decided, in place of a live book's.")
TEXT = typer.Argument(metavar="ID", help="The text's id, or how it begins.")
NEWEST = {"signals": 10_000, "control": 2_000}

commands = typer.Typer(name="review", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Look at texts that were kept from the models; accept or reject them.")


@commands.command("list")
def listed(
    book: Annotated[str, typer.Argument(metavar="[BOOK]", help="The book's name; not needed with --run.")] = "",
    run: Annotated[Path | None, RUN] = None,
) -> None:
    """List the texts that wait for a person, the oldest first: id, time, source, reason and how it begins.

    Example: quorum review list my
    """
    if run is None:
        if not book:
            raise QuorumError(
                "which book? name it, as in `quorum review list my`, or give a replay's folder with --run"
            )
        texts = _open(book)
        none = f"no text of {book} waits for a person"
    else:
        texts = _of_run(run)
        none = f"no text of {run} was left waiting for a person"
    for text in texts:
        sys.stdout.write(f"{described(text)}\n")
    if not texts:
        sys.stdout.write(f"{none}\n")


@commands.command("accept")
def accept(
    book: Annotated[str, BOOK],
    text: Annotated[str, TEXT],
    reason: Annotated[str, REASON] = "",
    operator: Annotated[str, OPERATOR] = "",
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Let a text pass: the models are asked at once, and see it.

    Exit codes: 0 it stands in the journal; 2 refused; 3 sent, but no sequencer has taken it yet.
    """
    from schemas.control import TextAccepted

    meant = chosen([each.cause for each in _open(book)], text, book, "waiting text")
    send(TextAccepted(**envelope(book, "accept", operator), text=meant, reason=reason), wait_s)


@commands.command("reject")
def reject(
    book: Annotated[str, BOOK],
    text: Annotated[str, TEXT],
    reason: Annotated[str, REASON] = "",
    operator: Annotated[str, OPERATOR] = "",
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Drop a text: no model sees it, whoever says the like."""
    from schemas.control import TextRejected

    meant = chosen([each.cause for each in _open(book)], text, book, "waiting text")
    send(TextRejected(**envelope(book, "reject", operator), text=meant, reason=reason), wait_s)


def _open(book: str) -> list[NewsFlagged]:
    """Give the texts of a live book that wait."""
    from cli.cluster import cluster
    from streams.overview import BookView, Watcher

    with Watcher(cluster(), NEWEST) as watcher:
        view = watcher.overview.books.get(book) or BookView(book=book)
    return view.to_review(time.time_ns())


def _of_run(folder: Path) -> list[NewsFlagged]:
    """Give the texts of a replay that nobody decided. Raises ArchiveError where the folder is none of a run."""
    from replay.rundir import RunDir
    from schemas.decisions import NewsDiscarded, NewsFlagged, NewsVetted
    from streams.overview import Overview

    run, overview = RunDir(folder), Overview()
    for event in run.events("signals", NewsFlagged, NewsVetted, NewsDiscarded):
        overview.take(event)
    return [text for view in overview.books.values() for text in view.flagged.values()]


def described(text: NewsFlagged) -> str:
    """Say in one line what was flagged and why; nothing in it steers a terminal."""
    from streams.logs import printable

    seen = datetime.fromtimestamp(text.observed_at // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    why = f"{text.reason} ({text.claim})"
    return printable(f"{text.cause}  {seen}  {text.source}  {why}  {text.excerpt}")
