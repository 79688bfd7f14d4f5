"""`quorum models calibration`: how far each model's confidence could be trusted, over one run or several."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from replay.calibration import Calibration

PIPED_WIDTH = 160
"""Of a table that no terminal shows."""
EXAMPLES = """
\b
Of one run, and of several together:
  quorum models calibration runs/btc
  quorum models calibration runs/2017 runs/2022 --json
"""


def register(models: typer.Typer) -> None:
    """Add the command to the group `models`."""
    models.command("calibration", epilog=EXAMPLES)(calibration)


def calibration(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs with full logs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the measures as JSON, by model.")] = False,
) -> None:
    """Show the Brier score and the reliability curve of each model and of the vote.

    A prediction is a BUY or SELL whose horizon has ended; it came true if the price moved that way. Outcomes of several
    runs are counted together.
    """
    import msgspec

    from replay.calibration import calibrations
    from replay.log import NOT_AUDITABLE
    from replay.rundir import RunDir
    from schemas.accounting import OutcomeMeasured

    read = [RunDir(run) for run in runs]
    for run in read:
        run.book()
        if run.kept() != "full":
            raise ArchiveError(f"{run.root}: {NOT_AUDITABLE[run.kept()].split(',')[0]}, and so no outcomes; replay it")
    found = calibrations(outcome for run in read for outcome in run.events("portfolio", OutcomeMeasured))
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    elif found:
        _print(found)
    else:
        sys.stdout.write("no prediction was measured: no BUY or SELL whose horizon has ended\n")


def _print(found: dict[str, Calibration]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from schemas.accounting import VOTE_NAME

    shown = {"the vote" if name == VOTE_NAME else name: one for name, one in found.items()}
    console = Console(file=sys.stdout, highlight=False)
    console = console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=PIPED_WIDTH)
    scores = Table("model", box=box.SIMPLE)
    for heading in ("n", "right", "stated", "Brier", "= reliability", "- resolution", "+ uncertainty"):
        scores.add_column(heading, justify="right", no_wrap=True)
    for name, one in shown.items():
        parts = [f"{value:.4f}" for value in (one.brier, one.reliability, one.resolution, one.uncertainty)]
        right = f"{one.hits / one.predictions:.1%}"
        scores.add_row(name, f"{one.predictions:,}", right, f"{one.mean_confidence:.1%}", *parts)
    console.print(scores)
    curve = Table("stated", box=box.SIMPLE, title="Right, of how many, by stated confidence", title_justify="left")
    for name in shown:
        curve.add_column(name, justify="right")
    for k, rows in enumerate(zip(*[one.bins for one in shown.values()], strict=True)):
        cells = [f"{row.hit_rate:.0%} of {row.predictions:,}" if row.hit_rate is not None else "" for row in rows]
        if any(cells):
            curve.add_row(f"{k * 10} to {(k + 1) * 10} %", *cells)
    console.print(curve)
