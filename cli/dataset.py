"""`quorum dataset export`: what models were asked, answered and got right, for fine-tuning."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from replay.dataset import Manifest

commands = typer.Typer(name="dataset", no_args_is_help=True, rich_markup_mode=None)
DEFAULT_SHARE = 0.1


@commands.callback()
def dataset() -> None:
    """Make datasets of runs."""


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Make datasets for fine-tuning from what runs asked and were answered.")


@commands.command("export")
def export(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option(help="New folder for the files.")],
    form: Annotated[
        Literal["chat", "openai", "bedrock"],
        typer.Option("--format", help="chat holds the outcomes, too; the others are what a service trains on."),
    ] = "chat",
    share: Annotated[
        float | None,
        typer.Option(
            "--validation-share", min=0.0, max=0.9, help="Share of the questions, the newest; 0 for none. [0.1]"
        ),
    ] = None,
    split_at: Annotated[
        str | None, typer.Option(help="Day or time, UTC, from which questions are validation, instead of a share.")
    ] = None,
    only: Annotated[Literal["correct", "all"], typer.Option(help="correct: answers that the price bore out.")] = "all",
    model: Annotated[str, typer.Option(help="Answers of this model alone, by its name in the book.")] = "",
) -> None:
    """Write question, answer and outcome as JSON lines, split by time into train.jsonl and validation.jsonl.

    Each question stands there once, as a model reads it. Training ends the longest horizon before validation begins, so
    that no outcome overlaps. manifest.json holds counts and digests; the same runs give the same bytes.

    Example: quorum dataset export runs/btc --out data/btc --format openai --only correct
    """
    from cli.replay import parse_time
    from replay.dataset import export as write

    if share is not None and split_at is not None:
        raise ArchiveError("give --validation-share or --split-at, not both")
    at = parse_time(split_at)
    _print(write(runs, out, form, DEFAULT_SHARE if share is None else share, at, only, model))
    sys.stdout.write(f"{out / 'manifest.json'}\n")


def _print(manifest: Manifest) -> None:
    """Print the lines of each file by model and label."""
    from replay.dataset import LABELS

    sys.stdout.write(f"{'file':<17} {'model':<20}" + "".join(f"{label:>12}" for label in LABELS) + f"{'lines':>9}\n")
    for file in manifest.files:
        for model, counts in file.counts.items():
            cells = "".join(f"{counts.get(label, 0):>12,}" for label in LABELS)
            sys.stdout.write(f"{file.name:<17} {model:<20}{cells}{sum(counts.values()):>9,}\n")
    if manifest.split_at:
        gap = f"{manifest.purge_gap_s / 60:,.0f} min"
        sys.stdout.write(f"split at {manifest.split_at}; {manifest.purged:,} purged in the {gap} before it\n")
