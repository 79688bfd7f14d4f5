"""What is wrong with a book whose every field is right: settings that cannot be meant together."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING

from msgspec import Struct

from schemas.accounting import VOTE_NAME

if TYPE_CHECKING:
    from schemas.book import Book, Section


def contradictions(book: Book) -> Iterator[tuple[str, str]]:
    """Find what fits each field's type and yet cannot be meant: its place, and what is wrong there."""
    for field in _not_finite(book):
        yield field, "must be a finite number"
    if len({instrument.id for instrument in book.instruments}) < len(book.instruments):
        yield "instruments", "an instrument stands there twice"
    for i, instrument in enumerate(book.instruments):
        for field in ("lot_size", "tick_size", "multiplier"):
            if not getattr(instrument, field) > 0:
                yield f"instruments[{i}].{field}", "must be above zero"
    if not book.cash > 0:
        yield "cash", "must be above zero"
    if book.features.ema_fast >= book.features.ema_slow:
        yield "features.ema_fast", "must be shorter than ema_slow"
    for field in ("corroborate_min", "review_min"):
        if (getattr(book.text, field) or 0) > book.text.window_min:
            yield f"text.{field}", "is longer than text.window_min, after which no question shows the text"
    yield from _voting_contradictions(book)


def _not_finite(value: object, place: str = "") -> Iterator[str]:
    """Find the numbers that are none, `.nan` or `.inf`, by their places."""
    if isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _not_finite(getattr(value, name), f"{place}.{name}".removeprefix("."))
    elif isinstance(value, (tuple, dict)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_finite(each, f"{place}[{key}]")
    elif isinstance(value, (float, Decimal)) and not isfinite(value):
        yield place


def _voting_contradictions(book: Book) -> Iterator[tuple[str, str]]:
    asked = book.analysts.models
    known = ", ".join(sorted(book.models)) or "none"
    for name in asked:
        if name not in book.models:
            yield "analysts.models", f"model {name!r} is not in `models`, which holds {known}"
    if len(set(asked)) < len(asked):
        yield "analysts.models", "a model stands there twice"
    if asked and book.consensus.agree > len(asked):
        yield "consensus.agree", f"asks {book.consensus.agree} of {len(asked)} models to agree"
    if book.consensus.fallback and book.consensus.fallback not in asked:
        yield "consensus.fallback", f"model {book.consensus.fallback!r} is not in `analysts.models`"
    yield from _screen_contradictions(book)
    yield from _model_contradictions(book)
    for wrong in book.analysts.prompt.wrong() if book.analysts.prompt else ():
        yield "analysts.prompt", wrong
    if not asked and book.strategy.mode != "advisory":
        yield "strategy.mode", f"{book.strategy.mode} needs models to ask; name some, or use advisory"


def _screen_contradictions(book: Book) -> Iterator[tuple[str, str]]:
    settings, screen = book.analysts, book.analysts.screen
    if not screen:
        return
    if screen not in book.models:
        known = ", ".join(sorted(book.models)) or "none"
        yield "analysts.screen", f"model {screen!r} is not in `models`, which holds {known}"
    if not set(settings.models) - {screen}:
        yield "analysts.screen", "there is nobody to ask after it; name other models in `analysts.models`"
    if screen in settings.models and book.consensus.agree == 1:
        yield (
            "analysts.screen",
            f"{screen!r} would decide alone; take it out of analysts.models, or let 2 agree",
        )
    if settings.screen_deadline_s >= settings.deadline_s:
        yield "analysts.screen_deadline_s", "must be shorter than deadline_s, which it is a part of"


def _model_contradictions(book: Book) -> Iterator[tuple[str, str]]:
    if VOTE_NAME in book.models:
        yield f"models.{VOTE_NAME}", "is what outcomes call the vote as a whole; give the model another name"
    for name, model in book.models.items():
        if model.is_outside and not model.model_id:
            yield f"models.{name}.model_id", f"is missing: what {model.kind} calls the model"
        if model.guardrail and model.kind != "bedrock":
            yield f"models.{name}.guardrail", "only Bedrock has guardrails"
        if bool(model.guardrail) != bool(model.guardrail_version):
            yield f"models.{name}.guardrail_version", "a guardrail is named by its id and its version"
        yield from _below_zero(model, f"models.{name}")
    for name, caps in book.budget.models.items():
        if name not in book.models:
            yield f"budget.models.{name}", "no such model is in `models`"
        yield from _below_zero(caps, f"budget.models.{name}")
    yield from _below_zero(book.budget, "budget")


def _below_zero(section: Section, place: str) -> Iterator[tuple[str, str]]:
    """Find the amounts of money that are below zero."""
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Decimal) and value < 0:
            yield f"{place}.{name}", "must not be below zero"
