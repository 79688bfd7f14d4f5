"""`quorum why`: the exact prompt, reply and consequences of a verdict, and the chain of reasons behind an order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import ArchiveError, DivergedError

if TYPE_CHECKING:
    import msgspec

    from replay.finding import Finder

commands = typer.Typer(name="why", no_args_is_help=True, rich_markup_mode=None)
_ID = typer.Argument(metavar="ID", help="Its id, or the beginning of it.")
_RUN = typer.Option(help="Folder of a run.", metavar="RUN")
_JSON = typer.Option("--json", help="Print one JSON object.")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Say why a model voted as it did, or why an order was placed.")


@commands.command("verdict")
def verdict(
    id: Annotated[str, _ID],
    run: Annotated[Path | None, _RUN] = None,
    lake: Annotated[str, typer.Option(help="Folder or s3://BUCKET/PREFIX of a lake.", metavar="WHERE")] = "",
    live: Annotated[bool, typer.Option("--live", help="Look on Kafka, from the newest record back.")] = False,
    cassette: Annotated[
        Path | None, typer.Option(help="Folder of the cassette that holds the calls behind a run.", metavar="FOLDER")
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(help="Where the cited events are; else the archive that the run replayed, or the lake."),
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what a model was shown, said and cost, and what came of it.

    The prompt is rendered anew from the recorded question and checked against the digest of what was sent: a difference
    is said, and the exit code is 1.

    Example: quorum why verdict 3fa9c2d1 --run runs/btc
    """
    from cli.why_text import verdict_lines
    from replay.why import why_verdict

    place, archives = _place(run, lake, live, cassette, archive)
    found = why_verdict(place, id, archives)
    _write(found, as_json, verdict_lines(found))
    if found.difference:
        raise DivergedError(found.difference)


@commands.command("order")
def order(id: Annotated[str, _ID], run: Annotated[Path, _RUN], as_json: Annotated[bool, _JSON] = False) -> None:
    """Show what led to an order: the approval, the proposal, the vote and its verdicts, and what the venue answered.

    Example: quorum why order 5b1e --run runs/btc
    """
    from cli.why_text import order_lines
    from replay.evidence import explain
    from replay.finding import OfRun
    from replay.why import order_id

    found = explain(run, order_id(OfRun(_run(run)), id))
    _write(found, as_json, order_lines(found))


def _write(found: msgspec.Struct, as_json: bool, lines: Iterator[str]) -> None:
    from schemas.codec import encode

    if as_json:
        sys.stdout.write(encode(found).decode() + "\n")
        return
    for line in lines:
        sys.stdout.write(line + "\n")


def _run(run: Path) -> Path:
    from replay.rundir import BOOK

    if not (run / BOOK).is_file():
        raise ArchiveError(f"{run}: is not the folder of a run, which holds {BOOK} and log/; name one")
    return run


def _place(
    run: Path | None, lake: str, live: bool, cassette: Path | None, archive: str | None
) -> tuple[Finder, list[Path | str]]:
    """Give where to look for the verdict, and for what its question cites."""
    from cli.books import place_of
    from replay.finding import Joined, OfCassette, OfLake, OfRun

    if (run is not None) + bool(lake) + live != 1:
        raise ArchiveError("say where to look: --run RUN, --lake WHERE or --live")
    places: list[Finder]
    archives = [place_of(archive)] if archive else []
    if run is not None:
        places = [OfRun(_run(run))]
        archives = archives or _replayed(run)
    elif lake:
        places = [OfLake(lake)]
        archives = archives or [place_of(lake)]
    else:
        from cli.cluster import cluster
        from streams.finding import OfKafka

        places = [OfKafka(cluster())]
    if cassette is not None:
        places.append(OfCassette(cassette))
    return (Joined(places) if len(places) > 1 else places[0]), archives


def _replayed(run: Path) -> list[Path | str]:
    """Give the archive that a run names as its input, where that is still there."""
    import msgspec

    from cli.books import place_of

    try:
        summary: dict[str, Any] = msgspec.json.decode((run / "summary.json").read_bytes())
        paths = dict.fromkeys(str(each["path"]) for each in summary["run"]["archive"])
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return []
    places = map(place_of, paths)
    return [place for place in places if isinstance(place, str) or place.exists()]
