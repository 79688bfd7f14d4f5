"""`quorum demo`: a synthetic market with news, a book, a replay and its report, in one command and a few seconds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import QuorumError

OUT = Path("out") / "demo"
INSTRUMENT = "BTC/USD@synthetic"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for archive, book and run; written over.")] = OUT,
    days: Annotated[int, typer.Option(help="Length of the market.")] = 31,
    seed: Annotated[int, typer.Option(help="Which market; the same seed makes the same one.")] = 1,
    mode: Annotated[str, typer.Option(help="consensus, override or advisory.")] = "consensus",
    flash_crash: Annotated[bool, typer.Option("--flash-crash", help="A fall of 12 % in four minutes.")] = False,
    fake_news: Annotated[bool, typer.Option("--fake-news", help="A flood of posts that no price bears out.")] = False,
) -> None:
    """Make a synthetic market with news, trade it, and write the report.

    Three offline voters and a fast brain trade it. Nothing in it is real: prices, houses and headlines are drawn
    from the seed. Needs no network and no key.

    Example: quorum demo --days 7 --fake-news
    """
    from cli.books import load_book
    from cli.new import book_yaml, write_book
    from cli.replay import INTERRUPTED, run_replay
    from replay.run import Settings
    from replay.synthetic import Scenario, write_archive

    scenario = Scenario(instruments=(INSTRUMENT,), days=days, seed=seed, flash_crash=flash_crash, fake_news=fake_news)
    book = out / "book.yaml"
    title = "A book for a synthetic market: nothing in it is real."
    text = book_yaml("demo", [INSTRUMENT], mode, "archive", file=str(book), title=title)
    try:
        rows = write_archive(out / "archive", scenario)
    except ValueError as error:
        raise QuorumError(f"no such demo: {error}") from None
    write_book(book, text, force=True)
    sys.stdout.write(f"{out / 'archive'}: {rows:,} synthetic bars and texts of {days} days (seed {seed})\n")
    if run_replay(load_book(book), Settings(archive=out / "archive", out=out / "run")):
        raise typer.Exit(INTERRUPTED)
