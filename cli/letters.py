"""`quorum letters`: records that were refused, why, and what they held."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import QuorumError

if TYPE_CHECKING:
    from schemas.operations import RecordRefused

SHOWN_BYTES = 2_000
commands = typer.Typer(name="letters", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Look at the dead letters: records that were refused.")


@commands.command("list")
def listed(newest: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20) -> None:
    """List the newest dead letters, the newest last: time, place, reason."""
    letters = []
    for letter in _newest_first():
        letters.append(letter)
        if len(letters) == newest:
            break
    if not letters:
        sys.stdout.write("no dead letters\n")
    for letter in reversed(letters):
        sys.stdout.write(f"{line_of(letter)}\n")


@commands.command("show")
def show(
    position: Annotated[str, typer.Argument(metavar="POSITION", help="topic/partition/offset, as `list` prints it.")],
) -> None:
    """Show one dead letter whole, its bytes escaped."""
    for letter in _newest_first():
        if letter.position == position:
            more = len(letter.payload) - SHOWN_BYTES
            sys.stdout.write(f"{line_of(letter)}\n{escaped(letter.payload[:SHOWN_BYTES])}\n")
            if more > 0:
                sys.stdout.write(f"... and {more:,} bytes more\n")
            return
    raise QuorumError(f"no dead letter came from {position}; `quorum letters list` prints the newest")


def line_of(letter: RecordRefused) -> str:
    """Say in one line when a record was refused, where it stood, and why."""
    from schemas.base import NS_PER_S
    from streams.logs import printable

    at = datetime.fromtimestamp(letter.observed_at // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{at}  {printable(letter.position)}  {printable(letter.reason)}"


def escaped(payload: bytes) -> str:
    """Give bytes as text that steers no terminal."""
    from streams.logs import printable

    return printable(payload.decode("utf-8", errors="backslashreplace"))


def _newest_first() -> Iterator[RecordRefused]:
    from cli.cluster import cluster
    from schemas.codec import decode
    from schemas.operations import RecordRefused
    from streams.lag import bounds_of
    from streams.reading import newest_first
    from streams.wire import DEAD_LETTERS

    kafka = cluster()
    bounds_of(kafka, [(DEAD_LETTERS, 0)])  # says in a sentence what is wrong with the cluster
    for block in newest_first(kafka, DEAD_LETTERS, 0):
        for message in reversed(block):
            letter = decode(message.value() or b"")
            if isinstance(letter, RecordRefused):
                yield letter
