"""Prices: exact, never guessed, and a worst case that no call exceeds."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.models.answers import TOOL, TOOL_TEXT, strict_schema
from connectors.models.prices import MARGIN_TOKENS, Price, price_of, price_table, worst_cost, worst_tokens
from schemas.book import OUTSIDE, ModelSettings, Provider
from schemas.errors import BookError

D = Decimal


def settings(
    kind: Provider = "openai",
    model_id: str = "gpt-4o-mini",
    prompt: Decimal | None = None,
    reply: Decimal | None = None,
) -> ModelSettings:
    return ModelSettings(
        kind=kind, model_id=model_id, usd_per_million_prompt_tokens=prompt, usd_per_million_reply_tokens=reply
    )


def test_every_line_of_the_table_has_a_price_of_both_parts_and_a_source() -> None:
    tables = price_table().tables
    assert {table.kind for table in tables} == set(OUTSIDE)
    for table in tables:
        assert urlsplit(table.source).scheme == "https"
        for name, price in table.models.items():
            assert 0 < price.prompt_usd_per_million <= price.reply_usd_per_million < 1000, name


def test_a_known_model_costs_what_the_table_says() -> None:
    assert price_of(settings()) == Price(D("0.15"), D("0.60"))


@pytest.mark.parametrize("prefix", ["", "us.", "eu.", "global."])
def test_claude_on_bedrock_costs_the_same_by_any_profile(prefix: str) -> None:
    assert price_of(settings("bedrock", f"{prefix}anthropic.claude-haiku-4-5-20251001-v1:0")) == (D("1.1"), D("5.5"))


def test_a_profile_whose_price_differs_is_not_known() -> None:
    assert price_of(settings("bedrock", "us.amazon.nova-lite-v1:0")) == (D("0.06"), D("0.24"))
    with pytest.raises(BookError, match="is not known"):
        price_of(settings("bedrock", "eu.amazon.nova-lite-v1:0"))


@pytest.mark.parametrize(("kind", "model_id"), [("openai", "llama-of-mine"), ("anthropic", "gpt-4o-mini")])
def test_an_unknown_model_is_an_error_that_names_what_to_give(kind: Provider, model_id: str) -> None:
    with pytest.raises(BookError) as error:
        price_of(settings(kind, model_id))
    assert f"{kind} model {model_id!r}" in str(error.value)
    assert "usd_per_million_prompt_tokens and usd_per_million_reply_tokens" in str(error.value)


def test_the_books_price_stands_before_the_tables_and_may_be_nothing() -> None:
    own = settings(prompt=D(1), reply=D(2))
    assert price_of(own) == Price(D(1), D(2))
    free = settings(model_id="mine", prompt=D(0), reply=D(0))
    assert worst_cost(price_of(free), 10_000, 1024) == 0


@pytest.mark.parametrize("half", [settings(prompt=D(1)), settings(reply=D(1))])
def test_half_a_price_is_an_error(half: ModelSettings) -> None:
    with pytest.raises(BookError, match="one price of two"):
        price_of(half)


def test_a_cost_is_exact() -> None:
    assert Price(D("0.15"), D("0.60")).cost(1_000_000, 1) == D("0.1500006")
    assert Price(D("0.15"), D("0.60")).cost(1, 0) == D("0.00000015")


@given(st.text(), st.integers(0, MARGIN_TOKENS), st.integers(64, 16_384), st.data())
def test_a_call_costs_no_more_than_its_worst(text: str, added: int, most: int, data: st.DataObject) -> None:
    """However a byte-level tokenizer cuts a text, it makes no more tokens than bytes."""
    told = len(text.encode())
    tokens = data.draw(st.integers(0, told))
    price = Price(D("3"), D("15"))
    assert tokens + added <= worst_tokens(told)
    assert price.cost(tokens + added, data.draw(st.integers(0, most))) <= worst_cost(price, told, most)


def test_the_margin_holds_the_form_of_the_answer_and_leaves_room_for_what_wraps_it() -> None:
    form = json.dumps([strict_schema(), TOOL, TOOL_TEXT])
    assert len(form.encode()) + 1024 <= MARGIN_TOKENS
