"""`quorum lake`, `quorum restore`: what a lake holds, whether it is whole, and its topics back on Kafka."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import StoreError

if TYPE_CHECKING:
    from connectors.lake.chains import Partition
    from connectors.lake.verify import Report

CHECK_FAILED = 1
INTERRUPTED = 130
PIPED_WIDTH = 160
"""Of a table that no terminal shows."""
NOT_SHOWN = (
    "A chain cannot show that its newest segments were cut off together with its head: keep the heads elsewhere "
    "(--save-heads) and give them back (--heads)."
)
Lake = Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.", metavar="LAKE")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="This topic alone. Repeatable.")]
commands = typer.Typer(name="lake", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group and the command."""
    app.add_typer(commands, help="Look after a lake: what an archiver wrote.")
    app.command()(restore)


@commands.command("verify")
def verify(
    lake: Lake,
    topics: Topics = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every record again, too.")] = False,
    heads: Annotated[list[str] | None, typer.Option("--head", help="TOPIC/PARTITION=SHA kept from before.")] = None,
    heads_file: Annotated[Path | None, typer.Option("--heads", help="A file of heads, kept from before.")] = None,
    save: Annotated[Path | None, typer.Option("--save-heads", help="Write the heads to this file.")] = None,
) -> None:
    """Prove that nothing in a lake was changed, lost, added or reordered; exit 1 if something was.

    Example: quorum lake verify s3://bucket/lake --heads heads.json --save-heads heads.json
    """
    from connectors.lake.verify import verify as prove
    from connectors.store import open_store

    known = _heads(heads or [], heads_file, topics or [])
    with _interruptible("nothing was proved"), _bar("verifying") as progress:
        report = prove(open_store(lake), topics=topics or [], deep=deep, heads=known, progress=progress)
    for fault in report.faults:
        sys.stdout.write(f"{fault}\n")
    sys.stdout.write(f"{_said(report)}\n")
    if report.faults:
        raise typer.Exit(CHECK_FAILED)
    if save is not None:
        _save(save, report.heads)
    if not known:
        sys.stdout.write(f"{NOT_SHOWN}\n")


@commands.command("status")
def status(lake: Lake, topics: Topics = None) -> None:
    """Show what a lake holds of each topic: segments, records, bytes, offsets, times."""
    from rich.console import Console
    from rich.table import Table

    from connectors.lake.chains import partitions_of, read_partition
    from connectors.store import open_store

    store = open_store(lake)
    places = partitions_of(store, topics or [])
    table = Table("topic", "partitions", "segments", "records", "files", "bytes", "offsets", "from", "to")
    for topic in dict.fromkeys(topic for topic, _ in places):
        table.add_row(*_row(topic, [read_partition(store, *place) for place in places if place[0] == topic]))
    console = Console()
    Console(width=console.width if console.is_terminal else PIPED_WIDTH).print(table)


@commands.command("compact")
def compact(
    lake: Lake,
    topics: Topics = None,
    before: Annotated[str | None, typer.Option(help="Hours that end by then, UTC; else all that are over.")] = None,
) -> None:
    """Merge the small files of each hour that is over into one for each kind and partition."""
    from time import time_ns

    from cli.replay import parse_time
    from connectors.lake.chains import partitions_of, read_partition
    from connectors.lake.compact import compact as merge
    from connectors.store import open_store

    store = open_store(lake)
    until = min(parse_time(before) or time_ns(), time_ns())
    merges = files = 0
    places = partitions_of(store, topics or [])
    with _interruptible("merges that were done are whole"), _bar("compacting") as progress:
        for done, (topic, partition) in enumerate(places, 1):
            chain = read_partition(store, topic, partition)
            merged = merge(store, topic, partition, [link.manifest for link in chain.links], until)
            merges, files = merges + merged.merges, files + merged.files
            progress(done, len(places))
    sys.stdout.write(f"{lake}: {files:,} files merged into {merges:,}\n")


@commands.command("setup")
def setup(
    lake: Lake,
    kms_key: Annotated[str, typer.Option(help="Id or ARN of a KMS key; else S3's own keys encrypt.")] = "",
    lock: Annotated[
        Literal["none", "governance", "compliance"],
        typer.Option(help="Object Lock: seven years for decisions, orders, fills and the journal."),
    ] = "none",
) -> None:
    """Write a lake's policy: encryption, lock, and the bucket's lifecycle.

    Example: quorum lake setup s3://bucket/lake --lock governance
    """
    from connectors.policy import Policy, apply_policy

    policy = Policy(encryption="aws:kms" if kms_key else "AES256", kms_key=kms_key, lock="" if lock == "none" else lock)
    apply_policy(lake, policy)
    sys.stdout.write(f"{lake}: set up ({policy.encryption}, lock {lock})\n")


def restore(
    lake: Lake,
    topics: Topics = None,
    namespace: Annotated[
        str | None, typer.Option(help="Before every topic's name, as `restored.`; else QUORUM_KAFKA_NAMESPACE.")
    ] = None,
) -> None:
    """Write a lake's topics to Kafka again: keys, values, headers, timestamps, partitions and offsets.

    The lake is proved first. A topic must be empty, or hold what an interrupted restore wrote; it keeps everything
    from then on, whatever its age.

    Example: quorum restore s3://bucket/lake --topic journal --namespace restored.
    """
    from msgspec import structs

    from cli.cluster import cluster
    from connectors.store import open_store
    from streams.restore import restore as write

    kafka = cluster()
    if namespace is not None:
        kafka = structs.replace(kafka, namespace=namespace)
    with _interruptible("the same command goes on from here"), _bar("restoring") as progress:
        done = write(kafka, open_store(lake), topics or [], progress)
    for topic in dict.fromkeys(each.topic for each in done):
        parts = [each for each in done if each.topic == topic]
        records, there = sum(each.records for each in parts), sum(each.there for each in parts)
        before = f" beside {there:,} that were there" if there else ""
        sys.stdout.write(f"{kafka.name(topic)}: {records:,} records in {len(parts)} partitions{before}\n")
        if retimed := sum(each.retimed for each in parts):
            sys.stdout.write(f"  {retimed:,} of them had no timestamp of their writer's, and have others now\n")


def _heads(given: Sequence[str], file: Path | None, topics: Sequence[str]) -> dict[str, str]:
    """Read the heads that were kept; of a file those of the topics that are asked for."""
    import msgspec

    found: dict[str, str] = {}
    if file is not None:
        try:
            found = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"{file}: is no file of heads, as --save-heads writes it: {error}") from None
        found = {name: sha for name, sha in found.items() if not topics or name.rpartition("/")[0] in topics}
    for text in given:
        name, equals, sha = text.partition("=")
        if not (name and equals and sha):
            raise StoreError(f"--head {text}: write TOPIC/PARTITION=SHA, as in --head journal/3=0a1b…")
        found[name] = sha
    return found


def _save(path: Path, heads: dict[str, str]) -> None:
    import msgspec

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(heads, order="sorted"), indent=2) + b"\n")
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from None


def _said(report: Report) -> str:
    what = f"{report.segments:,} segments, {report.rows:,} records, {report.files:,} files, {report.bytes:,} bytes"
    if not report.faults:
        return f"whole: {what}"
    count = len(report.faults)
    return f"NOT whole: {count:,} fault{'s' if count > 1 else ''} in {what}"


def _row(topic: str, chains: Sequence[Partition]) -> Iterator[str]:
    manifests = [link.manifest for chain in chains for link in chain.links]
    files = [file for chain in chains for file, _ in chain.files.values()]
    times = [at for each in manifests for at in (each.observed_from, each.observed_to) if at]
    yield topic
    yield f"{len(chains)}"
    yield f"{len(manifests):,}"
    yield f"{sum(each.rows for each in manifests):,}"
    yield f"{len(files):,}"
    yield f"{sum(file.bytes for file in files):,}"
    yield f"{sum(each.next - each.first for each in manifests):,}"
    yield _shown(min(times, default=0))
    yield _shown(max(times, default=0))


def _shown(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ns else "-"


@contextmanager
def _interruptible(left: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"quorum: interrupted; {left}\n")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar on standard error; silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
