"""`quorum conformance`: does a program keep the contract of its place in the system?"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from schemas.errors import QuorumError

if TYPE_CHECKING:
    from streams.conformance import Finding
    from streams.kafka import Kafka

BROKEN = 1
PAUSE_S = 0.5
"""Before an executor that has ended is started again."""
SHOWN_BREACHES = 5
"""Of a rule, in the table; --json gives all."""
commands = typer.Typer(name="conformance", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Check a program of your own against its contract.")


@commands.callback()
def group() -> None:
    """Check a program of your own against its contract."""


@commands.command("executor")
def executor(
    book: Annotated[Path, typer.Argument(metavar="BOOK.yaml", help="The book; its first instrument is traded.")],
    run: Annotated[str, typer.Option(help="Command that starts the executor; it is killed and started again.")] = "",
    restart_command: Annotated[str, typer.Option(help="Command that restarts one which runs elsewhere.")] = "",
    price: Annotated[str, typer.Option(help="Near the market's; of no matter on paper.")] = "100",
    quantity: Annotated[str, typer.Option(help="Of an order; by default a few lots.")] = "0",
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for an answer.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Play a script of orders to an executor, and say which rules of docs/executing.md it broke.

    It plays on topics of its own (QUORUM_KAFKA_NAMESPACE, or one that is made up and removed again), never on the live
    ones. Without --run it says where the executor is to look, and asks for it to be started and restarted. The account
    at the venue must hold nothing of the instrument: use paper money or a test account.

    Example: quorum conformance executor examples/btc.yaml --run "quorum worker executor examples/btc.yaml"
    """
    from cli.books import load_book
    from streams.conformance import judge
    from streams.orderscript import Settings, play

    read = load_book(book)
    settings = Settings(
        price=_amount("--price", price, above=True), quantity=_amount("--quantity", quantity), wait_s=wait
    )
    with _topics() as kafka, _executor(kafka, run, restart_command) as restart:
        findings = judge(*play(kafka, read, settings, restart, _say))
    if as_json:
        import msgspec

        json.dump([msgspec.to_builtins(finding) for finding in findings], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_findings(findings)
    if any(finding.verdict == "broken" for finding in findings):
        raise typer.Exit(BROKEN)


def _say(scenario: str) -> None:
    typer.echo(f"plays: {scenario}", err=True)


def _amount(option: str, text: str, *, above: bool = False) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0 or (above and not value):
        raise QuorumError(f"{option} {text}: is not a number {'above zero' if above else 'of zero or more'}")
    return value


@contextmanager
def _topics() -> Iterator[Kafka]:
    """Give topics to play on; those whose namespace is made up here are removed again."""
    import secrets

    from msgspec import structs

    from cli.cluster import cluster
    from streams.admin import create_topics, delete_topics

    given = cluster()
    kafka = given if given.namespace else structs.replace(given, namespace=f"conformance-{secrets.token_hex(4)}.")
    create_topics(kafka)
    try:
        yield kafka
    finally:
        if not given.namespace:
            delete_topics(kafka)


@contextmanager
def _executor(kafka: Kafka, run: str, restart_command: str) -> Iterator[Callable[[], None] | None]:
    """Have the executor started; give what restarts it, or None where nothing can."""
    environment = os.environ | {"QUORUM_KAFKA_BOOTSTRAP": kafka.bootstrap, "QUORUM_KAFKA_NAMESPACE": kafka.namespace}
    if run:
        with Supervised(shlex.split(run), environment) as process:
            yield process.kill
        return
    where = f"topics {kafka.name('orders')} and {kafka.name('fills')} at {kafka.bootstrap}"
    if restart_command:
        typer.echo(f"the executor is to run already, on {where}", err=True)
        yield lambda: _call(shlex.split(restart_command), environment)
    elif sys.stdin.isatty():
        _ask(f"Start the executor on {where}, then press Enter.")
        yield lambda: _ask("Kill the executor, start it again, then press Enter.")
    else:
        typer.echo(f"the executor is to run already, on {where}; nobody restarts it", err=True)
        yield None


def _ask(text: str) -> None:
    typer.echo(text, err=True)
    sys.stdin.readline()


def _call(command: Sequence[str], environment: dict[str, str]) -> None:
    try:
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)  # noqa: S603 - the user's own command
    except (OSError, subprocess.CalledProcessError) as error:
        raise QuorumError(f"--restart-command {shlex.join(command)}: {error}") from None


class Supervised:
    """The executor as a child, with all that it starts itself; whenever it ends it is started again."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process = self._start()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.kill()
        self._thread.join()
        self.kill()  # it may have been started again at that moment
        self._process.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - the user's own command
                self._command, env=self._environment, stdout=sys.stderr, start_new_session=True
            )
        except OSError as error:
            raise QuorumError(f"--run {shlex.join(self._command)}: {error}") from None

    def _keep(self) -> None:
        while not self._closing.is_set():
            status = self._process.wait()
            if not self._closing.wait(PAUSE_S):
                typer.echo(f"the executor has ended with status {status} and is started again", err=True)
                self._process = self._start()


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the rules as a table, and below it what broke them, with the records, escaped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from streams.logs import printable

    styles = {"kept": "green", "broken": "bold red", "not shown": "yellow"}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("rule", "verdict", "what it promises"):
        table.add_column(column)
    for finding in findings:
        table.add_row(finding.rule, Text(finding.verdict, style=styles[finding.verdict]), finding.promise)
    console = Console()
    console.print(table)
    for finding in findings:
        for breach in finding.breaches[:SHOWN_BREACHES]:
            about = f" ({breach.scenario}, order {breach.order[:8]})" if breach.order else ""
            console.print(Text(f"{finding.rule}{about}: {printable(breach.text)}", style="red"))
            if breach.record:
                console.print(Text(f"    {breach.position}  {printable(breach.record)}"), soft_wrap=True)
        if len(finding.breaches) > SHOWN_BREACHES:
            console.print(f"{finding.rule}: and {len(finding.breaches) - SHOWN_BREACHES} more (--json gives all)")
