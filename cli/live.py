"""`quorum live`, `quorum worker`, `quorum export`: books on Kafka."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from schemas.errors import QuorumError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.models.comprehend import Comprehend
    from schemas.book import Book
    from streams.archiver import Archiver
    from streams.health import Health
    from streams.kafka import Kafka
    from streams.live import Role
    from streams.membership import Part
    from streams.processing import ProcessedRole

Books = Annotated[list[Path], typer.Argument(help="All books of the cluster.", metavar="BOOK.yaml...")]
Name = Annotated[str, typer.Option("--worker", help="Keeps this worker's place over a restart; unlike any other's.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of /metrics, /healthz and /readyz; 0 serves none.")]
Host = Annotated[str, typer.Option(help="Address that they are served on.")]
Start = Annotated[
    Literal["earliest", "latest"],
    typer.Option("--from", help="Where a new book, or a role without books, begins to take its inputs."),
]

Lake = Annotated[str, typer.Option(help="Archive to this folder or s3://BUCKET/PREFIX.", metavar="WHERE")]
Every = Annotated[float, typer.Option("--every", min=0.1, help="Seconds that a record waits at most for its segment.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(live)
    app.command()(worker)
    app.command()(export)


def live(
    books: Books,
    name: Name = "",
    port: Port = 0,
    host: Host = "127.0.0.1",
    start: Start = "latest",
    lake: Lake = "",
    every_s: Every = 60.0,
) -> None:
    """Trade books on paper, live: all roles in one process, until Ctrl-C.

    Kafka is where QUORUM_KAFKA_BOOTSTRAP says, 127.0.0.1:9092 by default; its topics are made if they are not there.
    What ends this process changes nothing in the outcome: the next one goes on where Kafka says. With --lake all
    topics are archived besides.

    Example: quorum live examples/btc.yaml --port 9100
    """
    from streams.live import ROLES

    archiving = _Archiving(lake, every_s, ()) if lake else None
    _run(books, ROLES, name, port, host, start, archiving)


def worker(
    role: Annotated[
        Literal["sequencer", "desk", "gateway", "executor", "archiver", "bars", "sentiment", "feed"],
        typer.Argument(help="What to do."),
    ],
    books: Annotated[
        list[Path] | None,
        typer.Argument(
            help="All books of the cluster; of a feed its name. Archiver, bars and sentiment need none.",
            metavar="[BOOK.yaml...|NAME]",
        ),
    ] = None,
    name: Name = "",
    port: Port = 0,
    host: Host = "127.0.0.1",
    start: Start = "latest",
    lake: Lake = "",
    every_s: Every = 60.0,
    topics: Annotated[list[str] | None, typer.Option("--topics", help="To archive, instead of all; repeat it.")] = None,
    feeds: Annotated[Path | None, typer.Option(help="What says which feeds there are.", metavar="FEEDS.yaml")] = None,
    comprehend: Annotated[
        bool, typer.Option("--comprehend", help="Have sentiment measured by Amazon Comprehend too, for money.")
    ] = False,
    per_day_usd: Annotated[
        str, typer.Option(help="What Comprehend may cost at most a day, UTC.", metavar="USD", show_default=False)
    ] = "",
) -> None:
    """Run one role, on this machine of many. Several workers of a role share the books, or the topics' partitions.

    A feed has one worker.

    Example: quorum worker desk books/*.yaml --worker desk-1

    Example: quorum worker archiver --lake s3://bucket/lake

    Example: quorum worker bars --from earliest

    Example: quorum worker sentiment --comprehend --per-day-usd 1

    Example: quorum worker feed binance --feeds feeds.yaml
    """
    paid = _paid(role, comprehend, per_day_usd)
    if role == "feed":
        from cli.feeding import run_feed

        run_feed([str(book) for book in books or []], feeds, name, port, host)
        return
    if feeds is not None:
        raise QuorumError(f"--feeds is for a feed: quorum worker feed NAME --feeds FEEDS.yaml; {role} takes none")
    if role == "bars" or role == "sentiment":  # noqa: PLR1714 - a type checker follows this alone
        if books or lake or topics:
            raise QuorumError(f"{role} takes no books, no --lake and no --topics: quorum worker {role}")
        _run([], (), name, port, host, start, _Computing(role, paid))
        return
    if role == "archiver":
        if books or not lake:
            raise QuorumError(
                "an archiver takes no books, but a place: quorum worker archiver --lake s3://BUCKET/PREFIX"
            )
        _run([], (), name, port, host, start, _Archiving(lake, every_s, _known(topics or [])))
        return
    if not books or lake or topics:
        usage = f"quorum worker {role} BOOK.yaml..."
        raise QuorumError(f"a {role} takes all books of the cluster, and neither --lake nor --topics: {usage}")
    _run(books, (role,), name, port, host, start, None)


class _Paid(NamedTuple):
    comprehend: Comprehend
    per_day_usd: Decimal


def _paid(role: str, comprehend: bool, per_day_usd: str) -> _Paid | None:
    """Give Comprehend, if it is asked for, and what it may cost. Raises QuorumError where it could not be called."""
    if not comprehend and not per_day_usd:
        return None
    usage = "quorum worker sentiment --comprehend --per-day-usd 1"
    if role != "sentiment" or not comprehend or not per_day_usd:
        raise QuorumError(f"--comprehend and --per-day-usd go together, and are for the sentiment worker: {usage}")
    try:
        usd = Decimal(per_day_usd)
    except InvalidOperation:
        usd = Decimal(0)
    if not usd.is_finite() or usd <= 0:
        raise QuorumError(f"--per-day-usd {per_day_usd!r} is no amount above 0: {usage}")
    from connectors.models.comprehend import Comprehend

    return _Paid(Comprehend(), usd)


class _Computing(NamedTuple):
    role: ProcessedRole
    paid: _Paid | None


class _Archiving(NamedTuple):
    lake: str
    every_s: float
    topics: tuple[str, ...]


def _known(topics: list[str]) -> tuple[str, ...]:
    from schemas.topics import TOPICS

    names = [topic.name for topic in TOPICS]
    unknown = [topic for topic in topics if topic not in names]
    if unknown:
        raise QuorumError(f"{unknown[0]!r} is no topic; there are {', '.join(names)}")
    return tuple(topics)


def _run(
    paths: list[Path],
    roles: Sequence[Role],
    name: str,
    port: int,
    host: str,
    start: Literal["earliest", "latest"],
    beside: _Archiving | _Computing | None,
) -> None:
    from cli.books import load_book
    from streams import logs
    from streams.admin import create_topics
    from streams.health import Health, serve
    from streams.kafka import kafka_from
    from streams.live import Worker
    from streams.shutdown import stop_on_signal

    books = [load_book(path) for path in paths]
    keys = _keys_of(books) if "gateway" in roles else []
    kafka = kafka_from()
    alone = beside.role if isinstance(beside, _Computing) else "archiver"
    shown = name or ("live" if len(roles) > 1 else roles[0] if roles else alone)
    logs.configure(shown, secrets=[kafka.password, *keys])
    create_topics(kafka)
    health = Health(shown)
    others: dict[str, Callable[[], Part]] = {}
    if isinstance(beside, _Computing):
        others[beside.role] = partial(_processor, beside, kafka, health, name, start)
    elif beside is not None:
        others["archiver"] = partial(_archiver, beside, kafka, health, name)
    with ExitStack() as stack:
        stopping = stack.enter_context(stop_on_signal())
        stack.enter_context(serve(health, port, host))
        Worker(kafka, books, roles, health, name=name, start=start, others=others).run(stopping)


def _keys_of(books: list[Book]) -> list[str]:
    """Give the keys of the books' outside models, which no log may show.

    Raises BookError where a model lacks its key or its price: the gateway would be started in vain.
    """
    from connectors.models import minds
    from connectors.models.keys import NO_KEY, address_of
    from connectors.models.purse import BudgetPurse

    keys: set[str] = set()
    for book in books:
        minds(book, BudgetPurse(book.budget), lambda _: None, lambda: 0)
        asked = [book.models[name] for name in book.asked]
        called = [model for model in asked if model.kind in ("openai", "anthropic")]
        keys.update(address_of(model).key for model in called)
    return sorted(keys - {NO_KEY})


def _processor(
    asked: _Computing, kafka: Kafka, health: Health, name: str, start: Literal["earliest", "latest"]
) -> Part:
    from streams.comprehend import comprehend_windows
    from streams.processing import processor

    windows = None if asked.paid is None else partial(comprehend_windows, kafka, *asked.paid)
    return processor(kafka, asked.role, health, worker=name, start=start, windows=windows)


def _archiver(asked: _Archiving, kafka: Kafka, health: Health, name: str) -> Archiver:
    from connectors.store import open_store
    from streams.archiver import Archiver

    store = open_store(asked.lake)
    return Archiver(kafka, store, health=health, topics=asked.topics, every_s=asked.every_s, worker=name)


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
