"""`quorum schema`: publish the events' contract, show one event of it, check a producer's events against it."""

from __future__ import annotations

import ast
import gzip
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from inspect import cleandoc, getsource
from io import BufferedReader
from pathlib import Path
from sys import modules
from time import time_ns
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import ArchiveError, QuorumError, RefusedError

if TYPE_CHECKING:
    from schemas.jsonschema import Docs

FAILED = 1
SHOWN_REFUSALS = 50
"""How many refusals are printed one by one; the rest are counted."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        name="schema", help="The events' contract: JSON Schemas, reference, checks.", no_args_is_help=True
    )
    group.command("export")(export)
    group.command("show")(show)
    group.command("check")(check)
    app.add_typer(group)


def export(
    out: Annotated[Path, typer.Option(help="Folder that gets schemas/*.json and events.md.")] = Path("docs"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file is out of date.")] = False,
) -> None:
    """Write the JSON Schema of every event, and the reference page.

    Example: quorum schema export --out docs
    """
    wanted = _documents()
    schemas = out / "schemas"
    outdated = [out / name for name, text in wanted.items() if _text_of(out / name) != text]
    surplus = [path for path in sorted(schemas.glob("*.json")) if f"schemas/{path.name}" not in wanted]
    if check:
        for path in (*outdated, *surplus):
            sys.stderr.write(f"quorum: {path} is out of date; run `quorum schema export --out {out}`\n")
        if outdated or surplus:
            raise typer.Exit(FAILED)
        sys.stdout.write(f"{out}: {len(wanted)} files are up to date\n")
        return
    try:
        schemas.mkdir(parents=True, exist_ok=True)
        for path in outdated:
            path.write_text(wanted[path.relative_to(out).as_posix()], encoding="utf-8")
        for path in surplus:
            path.unlink()
    except OSError as error:
        raise ArchiveError(f"{out} cannot be written: {error.strerror}") from None
    sys.stdout.write(f"{out}: {len(outdated)} of {len(wanted)} files written, {len(surplus)} removed\n")


def show(event: Annotated[str, typer.Argument(help="Name of an event, such as BarClosed.")]) -> None:
    """Print the JSON Schema of one event.

    Example: quorum schema show BarClosed
    """
    from schemas.jsonschema import schema_of
    from schemas.topics import EVENT_TYPES

    kinds = {kind.__name__: kind for kind in EVENT_TYPES}
    if event not in kinds:
        close = get_close_matches(event, kinds, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(kinds)}."
        raise QuorumError(f"no event is called {event!r}; {hint}")
    sys.stdout.write(_json_text(schema_of(kinds[event], _docs())))


def check(
    file: Annotated[Path, typer.Argument(help="Events as JSON lines, one event a line; .gz is unpacked.")],
) -> None:
    """Check events line by line, as every reader will: types, bounds, times, unknown fields.

    Each refusal names line, event, field and reason, and one refusal makes the exit code 1. Times may not lie in
    the future.

    Example: quorum schema check events.jsonl
    """
    from schemas.checks import check as check_event
    from schemas.codec import decode

    counts: Counter[str] = Counter()
    refused = 0
    now = time_ns()
    try:
        with _opened(file) as lines:
            for number, line in enumerate(_lines(lines), 1):
                try:
                    event = decode(line)
                    check_event(event, now)
                except RefusedError as error:
                    refused += 1
                    if refused <= SHOWN_REFUSALS:
                        sys.stderr.write(f"{file}:{number}: {error}\n")
                else:
                    counts[type(event).__name__] += 1
    except (OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"{file} cannot be read: {error}") from None
    if refused > SHOWN_REFUSALS:
        sys.stderr.write(f"{file}: {refused - SHOWN_REFUSALS:,} more refusals\n")
    _print_counts(file, counts, refused)
    if refused:
        raise typer.Exit(FAILED)


def _print_counts(file: Path, counts: Counter[str], refused: int) -> None:
    from schemas.topics import EVENT_TYPES, TOPIC_OF

    for kind in EVENT_TYPES:
        if counts[kind.__name__]:
            sys.stdout.write(f"{counts[kind.__name__]:>12,}  {kind.__name__} (topic {TOPIC_OF[kind]})\n")
    sys.stdout.write(f"{file}: {counts.total():,} events are valid, {refused:,} are refused\n")


def _opened(file: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")


def _lines(stream: gzip.GzipFile | BufferedReader) -> Iterator[bytes]:
    """Lines without their ends; of one beyond the limit just enough that `decode` refuses it."""
    from schemas.codec import MAX_RECORD_BYTES

    while line := stream.readline(MAX_RECORD_BYTES + 2):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_RECORD_BYTES)
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def _documents() -> dict[str, str]:
    """The published files, by path below the folder of documents."""
    from schemas.jsonschema import reference_page, schema_of
    from schemas.topics import EVENT_TYPES

    docs = _docs()
    documents = {f"schemas/{kind.__name__}.json": _json_text(schema_of(kind, docs)) for kind in EVENT_TYPES}
    return {**documents, "events.md": reference_page(docs)}


def _json_text(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _docs() -> Docs:
    """The docstrings of the catalogue's modules, records and fields: `market`, `BarClosed`, `BarClosed.open`."""
    from schemas.topics import EVENT_TYPES

    docs: dict[str, str] = {}
    names = dict.fromkeys(owner.__module__ for kind in EVENT_TYPES for owner in kind.__mro__)
    for name in names:
        if name.startswith("schemas."):
            tree = ast.parse(getsource(modules[name]))
            docs[name.rpartition(".")[2]] = _paragraphs(ast.get_docstring(tree) or "")
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    docs[node.name] = _paragraphs(ast.get_docstring(node) or "")
                    docs.update(_field_docs(node))
    return docs


def _field_docs(record: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """What stands in a string right below a field."""
    for field, below in zip(record.body, record.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield f"{record.name}.{name}", _paragraphs(cleandoc(text))


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
