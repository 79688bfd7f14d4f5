"""`quorum control`: an operator's commands to a book, each an event in its journal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import QuorumError

if TYPE_CHECKING:
    from schemas.base import Event
    from schemas.decisions import ConfirmationRequested

NOT_YET = 3
"""Exit code: the command stands on its topic, and no sequencer has taken it so far."""
BOOK = typer.Argument(metavar="BOOK", help="The book's name.")
REASON = typer.Option(help="Why; it stands in the log.")
OPERATOR = typer.Option(help="Who asks; else the name that you are logged in by.")
WAIT = typer.Option("--wait", min=0, help="Seconds to wait until the command stands in the journal.")
ID = typer.Argument(metavar="[CONFIRMATION]", help="Its id, or how it begins; left out, the open ones are listed.")

commands = typer.Typer(name="control", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Pause, resume or stop a book, and answer what it asks.")


@commands.command("pause")
def pause(
    book: Annotated[str, BOOK],
    reason: Annotated[str, REASON] = "",
    operator: Annotated[str, OPERATOR] = "",
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Take no new risk from here on; exits and stops still work.

    Exit codes: 0 it stands in the journal; 2 refused; 3 sent, but no sequencer has taken it yet.

    Example: quorum control pause my --reason "central bank speaks at 14:00"
    """
    from schemas.control import BookPaused

    send(BookPaused(**envelope(book, "pause", operator), reason=reason), wait_s)


@commands.command("resume")
def resume(
    book: Annotated[str, BOOK],
    reason: Annotated[str, REASON] = "",
    operator: Annotated[str, OPERATOR] = "",
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Allow new risk again, after a pause, the kill switch or a breaker."""
    from schemas.control import BookResumed

    send(BookResumed(**envelope(book, "resume", operator), reason=reason), wait_s)


@commands.command("kill")
def kill(
    book: Annotated[str, BOOK],
    reason: Annotated[str, REASON] = "",
    operator: Annotated[str, OPERATOR] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Cancel every order, close every position at the market, open nothing until `resume`.

    Example: quorum control kill my --yes --reason "wrong prices"
    """
    from schemas.control import KillSwitchPulled

    event = KillSwitchPulled(**envelope(book, "kill", operator), reason=reason)
    if not yes:
        if not sys.stdin.isatty():
            raise QuorumError("the kill switch asks before it acts, and here is nobody to ask; give --yes")
        typer.confirm(f"Cancel all orders of {book} and close all its positions at the market?", abort=True, err=True)
    send(event, wait_s)


@commands.command("confirm")
def confirm(
    book: Annotated[str, BOOK],
    confirmation: Annotated[str, ID] = "",
    operator: Annotated[str, OPERATOR] = "",
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Allow a trade that waits for a person."""
    from schemas.control import TradeConfirmed

    asked = _open(book, confirmation)
    if asked:
        send(TradeConfirmed(**envelope(book, "confirm", operator), confirmation=asked), wait_s)


@commands.command("decline")
def decline(
    book: Annotated[str, BOOK],
    confirmation: Annotated[str, ID] = "",
    reason: Annotated[str, REASON] = "",
    operator: Annotated[str, OPERATOR] = "",
    wait_s: Annotated[float, WAIT] = 10.0,
) -> None:
    """Refuse a trade that waits for a person."""
    from schemas.control import TradeDeclined

    asked = _open(book, confirmation)
    if asked:
        send(TradeDeclined(**envelope(book, "decline", operator), confirmation=asked, reason=reason), wait_s)


def envelope(book: str, verb: str, operator: str) -> dict[str, Any]:
    """Give the fields that all commands share."""
    import getpass

    now = time.time_ns()
    who = operator or getpass.getuser()
    return {"id": f"{who}/{verb}/{now}", "key": book, "occurred_at": now, "observed_at": now, "operator": who}


def send(event: Event, wait_s: float) -> None:
    """Send, wait, and say in one sentence what became of it."""
    from cli.cluster import cluster
    from streams.commands import command

    done = command(cluster(), event, wait_s)
    kind = type(event).__name__
    if done.refused:
        raise QuorumError(f"{kind} for {event.key} was refused: {done.refused}")
    if not done.seq:
        sys.stderr.write(
            f"quorum: {kind} for {event.key} was sent (id {event.id}) and was not in the journal after {wait_s:g} s;"
            " it takes effect when a sequencer runs: see `quorum status`\n"
        )
        raise typer.Exit(NOT_YET)
    sys.stdout.write(f"{kind} is journal entry {done.seq:,} of {event.key}\n")


def _open(book: str, begins: str) -> str:
    """Give the id of the trade that is meant; without one, print those that wait and give nothing."""
    from cli.cluster import cluster
    from streams.overview import BookView, Watcher

    with Watcher(cluster(), {"risk-decisions": 2_000, "control": 2_000}) as watcher:
        view = watcher.overview.books.get(book) or BookView(book=book)
    waiting = view.waiting(time.time_ns())
    if begins:
        return chosen([each.id for each in waiting], begins, book)
    for each in waiting:
        sys.stdout.write(f"{described(each, time.time_ns())}\n")
    if not waiting:
        sys.stdout.write(f"no trade of {book} waits for a person\n")
    return ""


def chosen(waiting: list[str], begins: str, book: str, what: str = "open confirmation") -> str:
    """Give the one id that begins so, or is just that. Raises QuorumError where there is none, or more than one."""
    found = [begins] if begins in waiting else [each for each in waiting if each.startswith(begins)]
    if len(found) == 1:
        return found[0]
    if found:
        raise QuorumError(f"{len(found)} {what}s of {book} begin with {begins!r}; give more of the id")
    there = ", ".join(waiting) or "none"
    raise QuorumError(f"no {what} of {book} begins with {begins!r}; open are: {there}")


def described(asked: ConfirmationRequested, now: int) -> str:
    """Say in one line which trade waits, and for how long."""
    left_s = max(0, asked.expires_at - now) // 1_000_000_000
    trade = f"{asked.side} {asked.quantity:f} {asked.instrument}"
    return f"{asked.id}  {trade}, notional {asked.notional:,f}, lapses in {left_s} s"
