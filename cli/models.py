"""`quorum models`: which models a book asks, what they may cost, and whether each one answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from schemas.errors import QuorumError

if TYPE_CHECKING:
    from connectors.voters import Answer, Voter
    from schemas.book import Book, ModelSettings
    from schemas.verdicts import VerdictRequested

FAILED = 1
ATTEMPTS = 2
"""Calls that one question costs at most."""
INSTRUCTION = "This is a test of the connection. Vote HOLD with confidence 0 and say in three words that you are there."
BookFile = Annotated[Path, typer.Argument(help="The book.", metavar="BOOK.yaml")]
commands = typer.Typer(name="models", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(commands, help="Look at a book's models, try them, and see how far they can be trusted.")


@commands.command("list")
def listed(book: BookFile) -> None:
    """List a book's models: kind, the provider's name, price in USD per million tokens, caps, parameters.

    Example: quorum models list examples/btc.yaml
    """
    from cli.books import load_book

    read = load_book(book)
    rows = [
        (name, model.kind, model.model_id or "-", price_told(model), caps_told(read, name), parameters_told(model))
        for name, model in read.models.items()
    ]
    if not rows:
        sys.stdout.write(f"{read.name} names no models\n")
        return
    _write(("model", "kind", "model id", "price in/out", "caps", "parameters"), rows)
    together = _caps(read.budget)
    if together:
        sys.stdout.write(f"all models together: {together}\n")


@commands.command("test")
def try_each(
    book: BookFile,
    model: Annotated[str, typer.Option("--model", help="Only this one of the book's models.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it costs money.")] = False,
    within_s: Annotated[float, typer.Option("--within", min=1.0, max=600.0, help="Seconds to wait for each.")] = 30.0,
) -> None:
    """Put one tiny question to each of a book's models: does it answer, in the form asked for, and at what cost.

    It says what that would cost at worst, and asks first, unless --yes. The caps per call hold. Exit code 1 if one
    fails.

    Example: quorum models test examples/btc.yaml --model words
    """
    from cli.books import load_book

    read = load_book(book)
    names = _chosen(read, model)
    question = question_of(read, within_s)
    worst = worst_of(read, names, question)
    voters = _voters(read, names)
    if worst:
        sys.stderr.write(f"this costs ${_plain(worst)} at worst, and usually a small part of it\n")
        if not yes:
            _ask()
    rows = [_tried(name, voters[name], question, within_s) for name in names]
    _write(("model", "result", "latency", "tokens in/out", "cost", "answered by"), [row.cells for row in rows])
    if not all(row.good for row in rows):
        raise typer.Exit(FAILED)


class _Row(NamedTuple):
    good: bool
    cells: tuple[str, ...]


def _tried(name: str, voter: Voter, question: VerdictRequested, within_s: float) -> _Row:
    import time

    from msgspec.structs import replace

    begun = time.monotonic()
    try:
        answer = voter.answer(replace(question, model=name, id=f"{question.id}/{name}"), within_s)
    except QuorumError as error:
        return _Row(good=False, cells=(name, f"failed: {error}", "", "", "", ""))
    took = f"{(time.monotonic() - begun) * 1000:,.0f} ms"
    good, said = told(answer)
    tokens = f"{answer.prompt_tokens:,}/{answer.reply_tokens:,}"
    return _Row(good, (name, said, took, tokens, f"${_plain(answer.cost_usd)}", answer.model_version or "-"))


def told(answer: Answer) -> tuple[bool, str]:
    """Tell whether a model gave an opinion, and what came of it in a few words."""
    from connectors.voters import Opinion

    said = answer.said
    if isinstance(said, Opinion):
        return True, f"answers ({said.action}, confidence {said.confidence:g})"
    return False, f"failed: {said.reason}{f': {said.detail}' if said.detail else ''}"


def _chosen(book: Book, model: str) -> list[str]:
    if not book.models:
        raise QuorumError(f"book {book.name} names no models, so there is none to test")
    if model and model not in book.models:
        raise QuorumError(f"book {book.name} has no model {model!r}; there are {', '.join(sorted(book.models))}")
    return [model] if model else list(book.models)


def question_of(book: Book, within_s: float) -> VerdictRequested:
    """Make the question of a test: as those of a session, with a price that nobody has seen."""
    import time
    from hashlib import sha256

    from schemas.base import NS_PER_S
    from schemas.codec import encode
    from schemas.verdicts import InstructionPart, PricePart, VerdictRequested

    now = time.time_ns()
    instrument = book.instruments[0].id
    price = PricePart(
        cites="test",
        observed_at=now,
        instrument=instrument,
        close=100.0,
        return_since_ask=0.0,
        ema_fast=100.0,
        ema_slow=100.0,
        rsi=50.0,
        atr=1.0,
        volatility=0.001,
        drawdown=0.0,
        bars=100,
    )
    prompt = (InstructionPart(text=INSTRUCTION), price)
    return VerdictRequested(
        id=f"test-{now}",
        key=instrument,
        occurred_at=now,
        observed_at=now,
        book=book.name,
        question=f"test-{now}",
        instrument=instrument,
        model="test",
        prompt=prompt,
        prompt_version=book.analysts.prompt_version,
        prompt_sha256=sha256(b"\n".join(map(encode, prompt))).hexdigest(),
        deadline_at=now + round(within_s * NS_PER_S),
        trigger="cadence",
    )


def worst_of(book: Book, names: Sequence[str], question: VerdictRequested) -> Decimal:
    """Give the most that a question to these models can cost. Raises BookError where a price is not known."""
    from connectors.models.prices import price_of, worst_cost
    from connectors.models.prompts import render

    size = sum(len(part.encode()) for part in render(question))
    outside = [book.models[name] for name in names if book.models[name].is_outside]
    calls = [ATTEMPTS * worst_cost(price_of(model), size, model.max_reply_tokens) for model in outside]
    return sum(calls, Decimal(0))


def _voters(book: Book, names: Sequence[str]) -> Mapping[str, Voter]:
    import time

    from msgspec.structs import replace

    from connectors.models import minds
    from connectors.models.purse import BudgetPurse
    from connectors.voters import offline_voters

    tried = replace(book, analysts=replace(book.analysts, models=tuple(names), screen=""))
    return offline_voters(book) | minds(tried, BudgetPurse(book.budget), lambda _: None, time.time_ns)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise QuorumError("a test that costs money asks first, and here is nobody to ask; give --yes")
    typer.confirm("Make these calls?", abort=True, err=True)


# What a table holds


def price_told(model: ModelSettings) -> str:
    """Give a model's price, of the prompt and of the reply."""
    from connectors.models.prices import price_of
    from schemas.errors import BookError

    if not model.is_outside:
        return "free"
    try:
        price = price_of(model)
    except BookError:
        return "not known"
    return f"${_plain(price.prompt_usd_per_million)}/${_plain(price.reply_usd_per_million)}"


def caps_told(book: Book, name: str) -> str:
    """Give a model's own caps."""
    caps = book.budget.models.get(name)
    return (_caps(caps) if caps else "") or "-"


def parameters_told(model: ModelSettings) -> str:
    """Give the beginning of the hash of what steers a model; a free one has none."""
    from connectors.models.provider import parameters_sha256

    return parameters_sha256(model)[:12] if model.is_outside else "-"


def _caps(caps: object) -> str:
    spans = ("call", "hour", "day", "run")
    found = [(span, getattr(caps, f"per_{span}_usd")) for span in spans]
    return ", ".join(f"${_plain(usd)} a {span}" for span, usd in found if usd is not None)


def _plain(usd: Decimal) -> str:
    """Write an amount without an exponent, and without the zeros at its end."""
    text = f"{usd:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _write(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Write columns as wide as their widest cell. What a model said is printable text before it comes here."""
    from streams.logs import printable

    cells = [header, *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
