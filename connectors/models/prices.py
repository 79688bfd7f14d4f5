"""What a call to a model costs: the price table as data, the book's own prices before it, and the worst of a call.

Amounts are exact. A model whose price is not known is an error, never taken for free.
"""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from schemas.book import ModelSettings
from schemas.errors import BookError

MILLION = 1_000_000
MARGIN_TOKENS = 4096
"""What a provider may add to a prompt: the schema of the answer, what wraps it and the messages, a correction."""


class Price(NamedTuple):
    """USD per million tokens."""

    prompt_usd_per_million: Decimal
    reply_usd_per_million: Decimal

    def cost(self, prompt_tokens: int, reply_tokens: int) -> Decimal:
        """Give what so many tokens cost, in USD."""
        total = prompt_tokens * self.prompt_usd_per_million + reply_tokens * self.reply_usd_per_million
        return total / MILLION


class PriceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of one kind of model."""

    kind: str
    source: str
    prefixes: tuple[str, ...] = ()
    """With one of these before it, a model costs the same."""
    models: dict[str, Price]


class UnitPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of a service that counts units of text."""

    source: str
    usd_per_unit: Decimal


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price table, `prices.toml`."""

    dated: date
    comprehend: UnitPrice
    tables: tuple[PriceTable, ...]

    def find(self, kind: str, model_id: str) -> Price | None:
        """Give the price of a model; None where it is not known."""
        for table in self.tables:
            if table.kind == kind:
                for prefix in ("", *table.prefixes):
                    if model_id.startswith(prefix) and (price := table.models.get(model_id.removeprefix(prefix))):
                        return price
        return None


@cache
def price_table() -> Prices:
    """Read the table that comes with the program."""
    text = files("connectors.models").joinpath("prices.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Prices)


def price_of(settings: ModelSettings) -> Price:
    """Give the price of a model: the book's, which names both of its parts, or the table's.

    Raises BookError where neither knows it, or the book names one part alone.
    """
    prompt, reply = settings.usd_per_million_prompt_tokens, settings.usd_per_million_reply_tokens
    if prompt is not None and reply is not None:
        return Price(prompt, reply)
    both = "usd_per_million_prompt_tokens and usd_per_million_reply_tokens"
    if prompt is not None or reply is not None:
        raise BookError(f"model {settings.model_id!r} has one price of two; give both {both}, or neither")
    price = price_table().find(settings.kind, settings.model_id)
    if price is None:
        raise BookError(
            f"the price of {settings.kind} model {settings.model_id!r} is not known; give {both} in the book, 0 for a"
            " model of your own"
        )
    return price


def worst_tokens(rendered_bytes: int) -> int:
    """Give the most tokens that a prompt of so many bytes of UTF-8 can have.

    A token of a byte-level tokenizer holds one byte or more; what the provider adds is `MARGIN_TOKENS` at most.
    """
    return rendered_bytes + MARGIN_TOKENS


def worst_cost(price: Price, rendered_bytes: int, max_reply_tokens: int) -> Decimal:
    """Give the most that one call can cost, in USD."""
    return price.cost(worst_tokens(rendered_bytes), max_reply_tokens)
