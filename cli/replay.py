"""`quorum replay` and `quorum audit`: run a book over an archive, and prove a run from its own log."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import ArchiveError, BookError

if TYPE_CHECKING:
    from replay.results import Summary, Unlogged
    from replay.run import Settings
    from schemas.book import Book

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("replay")(replay)
    app.command("audit")(audit)


def replay(
    book: Annotated[Path, typer.Argument(help="The book to trade, a BOOK.yaml.")],
    archive: Annotated[
        str | None,
        typer.Option(help="Folder, file or s3://BUCKET/PREFIX of market data and texts; else what the book names."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day or time, UTC: 2017-03-01[T12:00].")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, UTC, not included.")] = None,
    speed: Annotated[str, typer.Option(help="max, or times real time: 1000x, 1x.")] = "max",
    out: Annotated[
        Path | None, typer.Option(help="Folder for log, figures and report; else runs/NAME of the book.")
    ] = None,
    verdicts: Annotated[
        str | None, typer.Option(help="Answer questions from this run's folder or archive first.")
    ] = None,
    cassette: Annotated[
        Path | None,
        typer.Option(
            help="Folder of what models have answered; what it has not is asked, within the budget, and kept."
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    log: Annotated[
        Literal["full", "decisions", "none"],
        typer.Option(help="decisions: no questions and answers; none: no log, no report. Neither can be audited."),
    ] = "full",
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
    engine: Annotated[
        Literal["local", "kafka"],
        typer.Option(help="kafka: a dress rehearsal by the live parts on topics of its own; its log, and no report."),
    ] = "local",
) -> None:
    """Replay an archive through the agents into orders, fills, a report.

    The archive holds markets, and texts, verdicts and commands where there are any. The same book and archive give
    the same log, byte for byte; its digest is printed. Ctrl-C ends the run between two events and leaves a readable,
    partial result.

    Example: quorum replay examples/btc.yaml --from 2024-01-02 --out runs/btc
    """
    from replay.collector import collector_paused

    with collector_paused():
        from cli.books import archive_of, load_book, place_of
        from replay.run import Settings

        start_ns, end_ns = parse_span(start, end)
        read = load_book(book)
        settings = Settings(
            archive=archive_of(read, book, archive),
            out=out or Path("runs") / read.name,
            start_ns=start_ns,
            end_ns=end_ns,
            verdicts=place_of(verdicts) if verdicts else None,
            cassette=cassette,
            speed=parse_speed(speed),
            report=report,
            log=log,
        )
    if engine == "kafka" and log != "full":
        raise BookError(f"--engine kafka keeps the full log; give it without --log {log}")
    if engine == "kafka" and cassette is not None:
        raise BookError("--engine kafka asks nobody; record with `quorum record` and give the cassette as --verdicts")
    interrupted = _rehearse(read, settings, as_json) if engine == "kafka" else run_replay(read, settings, as_json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _rehearse(book: Book, settings: Settings, as_json: bool) -> bool:
    """Replay a book through Kafka and print what came of it; True where Ctrl-C cut it short."""
    import msgspec

    from cli.cluster import cluster
    from cli.progress import replay_progress
    from replay.rundir import clear
    from streams.rehearse import rehearse
    from streams.shutdown import stop_on_signal

    kafka = cluster()
    clear(settings.out)
    with stop_on_signal() as stopping, replay_progress() as on_progress:
        done = rehearse(kafka, book, settings, on_progress, stopping)
    if as_json:
        sys.stdout.write(msgspec.json.encode(done).decode() + "\n")
    else:
        sys.stdout.write(
            f"{done.journal_entries:,} events through Kafka, {done.derived_events:,} derived,"
            f" log_sha256 {done.log_sha256}\n{settings.out}\n"
        )
    return stopping.is_set()


def run_replay(book: Book, settings: Settings, as_json: bool = False) -> bool:
    """Replay a book with a progress bar and print what came of it; True where Ctrl-C cut it short."""
    from replay.collector import collector_paused

    with collector_paused():
        return _run_and_print(book, settings, as_json)


def _run_and_print(book: Book, settings: Settings, as_json: bool) -> bool:
    from cli.progress import replay_progress
    from cli.record import asking_progress, stopped_by_interrupt
    from replay.run import Run

    run = Run(book, settings)
    with stopped_by_interrupt(run.stop), replay_progress() as on_progress, asking_progress() as on_asked:
        summary = run.run(on_progress, on_asked)
    _print(summary, settings.out, settings.report, as_json)
    for each in run.unanswered:
        sys.stderr.write(f"quorum: {each}\n")
    return summary.interrupted


def _print(summary: Summary | Unlogged, out: Path, report: bool, as_json: bool) -> None:
    from cli.progress import print_summary
    from replay.results import Unlogged

    if as_json:
        sys.stdout.write((out / "summary.json").read_text())
        return
    print_summary(summary)
    has_report = report and not isinstance(summary, Unlogged)
    sys.stdout.write(f"{out / 'report.html' if has_report else out / 'summary.json'}\n")


def audit(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    archive: Annotated[
        str | None, typer.Option(help="The archive that it replayed; none if the market data stands in its journal.")
    ] = None,
) -> None:
    """Rebuild every decision of a run and demand the same bytes.

    Recorded verdicts, fills and commands are fed at their recorded positions; no model is asked, nothing is executed.
    Exits 1 and names the first difference if there is one; 4 where the run ended in a failed agent, which fails
    again.

    Example: quorum audit runs/btc --archive examples/archive
    """
    from cli.books import load_book
    from replay.audit import audit as rebuild
    from replay.collector import collector_paused
    from replay.rundir import BOOK
    from replay.sources import open_archive

    if not (run / BOOK).is_file():
        raise ArchiveError(f"{run}: is not the folder of a run, which holds {BOOK} and log/; name one")
    book = load_book(run / BOOK)
    frames = () if archive is None else open_archive(archive, book, None, None).frames()
    with collector_paused():
        audited = rebuild(run, frames, book)
    sys.stdout.write(
        f"{run}: {audited.derived_events:,} derived events rebuilt from {audited.market_events:,} market events and"
        f" {audited.journal_entries:,} journal entries, every byte equal\n"
    )


def parse_span(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Read `--from` and `--to`. Raises BookError where one is no time, or the end is not after the start."""
    start_ns, end_ns = parse_time(start), parse_time(end)
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        raise BookError(f"--to {end} is not after --from {start}; give a later end")
    return start_ns, end_ns


def parse_time(text: str | None) -> int | None:
    """Read a day or a time in ISO 8601, UTC unless it says otherwise; ns. Raises BookError on anything else."""
    from schemas.base import NS_PER_S

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BookError(f"{text!r} is not a day or time; write 2017-03-01 or 2017-03-01T12:00") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * NS_PER_S


def parse_speed(text: str) -> float | None:
    """Read `max` (None) or `1000x`. Raises BookError on anything else."""
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise BookError(f"--speed {text!r} is neither max nor a number above zero with an x, as in 1000x")
    return speed
