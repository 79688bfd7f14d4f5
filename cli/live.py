"""`quorum live`, `quorum worker`, `quorum export`: books on Kafka."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import QuorumError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.live import Role

Books = Annotated[list[Path], typer.Argument(help="All books of the cluster.", metavar="BOOK.yaml...")]
Name = Annotated[str, typer.Option("--worker", help="Keeps this worker's place over a restart; unlike any other's.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of /metrics, /healthz and /readyz; 0 serves none.")]
Host = Annotated[str, typer.Option(help="Address that they are served on.")]
Start = Annotated[
    Literal["earliest", "latest"], typer.Option("--from", help="Where a new book begins to take its inputs.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(live)
    app.command()(worker)
    app.command()(export)


def live(books: Books, name: Name = "", port: Port = 0, host: Host = "127.0.0.1", start: Start = "latest") -> None:
    """Trade books on paper, live: all roles in one process, until Ctrl-C.

    Kafka is where QUORUM_KAFKA_BOOTSTRAP says, 127.0.0.1:9092 by default; its topics are made if they are not there.
    What ends this process changes nothing in the outcome: the next one goes on where Kafka says.

    Example: quorum live examples/btc.yaml --port 9100
    """
    from streams.live import ROLES

    _run(books, ROLES, name, port, host, start)


def worker(
    role: Annotated[Literal["sequencer", "desk", "gateway", "executor", "feed"], typer.Argument(help="What to do.")],
    books: Annotated[
        list[Path], typer.Argument(help="All books of the cluster; of a feed its name.", metavar="BOOK.yaml...|NAME")
    ],
    name: Name = "",
    port: Port = 0,
    host: Host = "127.0.0.1",
    start: Start = "latest",
    feeds: Annotated[Path | None, typer.Option(help="What says which feeds there are.", metavar="FEEDS.yaml")] = None,
) -> None:
    """Run one role, on this machine of many. Several workers of a role share the books; a feed has one worker.

    Example: quorum worker desk books/*.yaml --worker desk-1

    Example: quorum worker feed binance --feeds feeds.yaml
    """
    if role == "feed":
        from cli.feeding import run_feed

        run_feed([str(book) for book in books], feeds, name, port, host)
        return
    if feeds is not None:
        raise QuorumError(f"a {role} takes no --feeds: quorum worker {role} BOOK.yaml...")
    _run(books, (role,), name, port, host, start)


def _run(
    paths: list[Path], roles: Sequence[Role], name: str, port: int, host: str, start: Literal["earliest", "latest"]
) -> None:
    from cli.books import load_book
    from streams import logs
    from streams.admin import create_topics
    from streams.health import Health, serve
    from streams.kafka import kafka_from
    from streams.live import Worker
    from streams.shutdown import stop_on_signal

    books = [load_book(path) for path in paths]
    kafka = kafka_from()
    shown = name or ("live" if len(roles) > 1 else roles[0])
    logs.configure(shown, secrets=[kafka.password])
    create_topics(kafka)
    health = Health(shown)
    with ExitStack() as stack:
        stopping = stack.enter_context(stop_on_signal())
        stack.enter_context(serve(health, port, host))
        Worker(kafka, books, roles, health, name=name, start=start).run(stopping)


def export(
    book: Annotated[Path, typer.Argument(help="The book.", metavar="BOOK.yaml")],
    out: Annotated[Path, typer.Option(help="Folder to write; a run's folder there is replaced.")],
) -> None:
    """Bring a live book's log into a folder, as a run leaves it; `quorum audit` proves it.

    Example: quorum export examples/btc.yaml --out runs/live && quorum audit runs/live
    """
    from cli.books import load_book
    from cli.cluster import cluster
    from replay.rundir import clear
    from streams.export import export as bring
    from streams.kafka import partition_of
    from streams.lag import bounds_of
    from streams.wire import PROGRESS

    read = load_book(book)
    kafka = cluster()
    bounds_of(kafka, [(PROGRESS, partition_of(read.name))])  # where no cluster answers, the folder stays as it is
    clear(out)
    done = bring(kafka, read, out)
    sys.stdout.write(
        f"{out}: {done.journal_entries:,} journal entries, {done.derived_events:,} derived events"
        f" ({done.doubles:,} sent twice counted once), log_sha256 {done.log_sha256}\n"
    )
