"""Where a key comes from and where it may go; what is missing is one sentence at the start, without the key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connectors.models import minds, provider_of
from connectors.models.keys import NO_KEY, address_of
from connectors.models.purse import BudgetPurse
from schemas.book import Book, BudgetSettings, ModelSettings, parse_book
from schemas.errors import BookError
from tests.connectors.models.asking import KEY, keys

__all__ = ["keys"]
ENVIRONMENT = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a", "MINE": "sk-m", "CUT": "sk-\nm", "EMPTY": " "}


def settings(kind: str, **other: Any) -> ModelSettings:
    return msgspec.convert({"kind": kind, "model_id": "x", **other}, ModelSettings)


@pytest.mark.parametrize(
    ("kind", "other", "url", "key"),
    [
        ("openai", {}, "https://api.openai.com/v1", "sk-o"),
        ("anthropic", {}, "https://api.anthropic.com", "sk-a"),
        ("openai", {"api_key_env": "MINE"}, "https://api.openai.com/v1", "sk-m"),
        ("openai", {"endpoint": "http://vllm:8000/v1"}, "http://vllm:8000/v1", NO_KEY),
        ("anthropic", {"endpoint": "https://else.where"}, "https://else.where", NO_KEY),
        ("openai", {"endpoint": "https://else.where", "api_key_env": "MINE"}, "https://else.where", "sk-m"),
    ],
)
def test_a_provider_s_usual_key_goes_to_the_provider_alone(
    kind: str, other: dict[str, str], url: str, key: str
) -> None:
    assert address_of(settings(kind, **other), ENVIRONMENT)[:2] == (url, key)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"api_key_env": "NONE"}, "set the environment variable NONE"),
        ({"api_key_env": "EMPTY"}, "set the environment variable EMPTY"),
        ({"api_key_env": "CUT"}, "is it cut or quoted"),
        ({"endpoint": "https://me:hunter2@else.where"}, "may hold no user, password or query"),
        ({"endpoint": "https://else.where?key=hunter2"}, "may hold no user, password or query"),
        ({"endpoint": "else.where"}, "is no address"),
        ({"endpoint": "ftp://else.where"}, "is no address"),
        ({"endpoint": "http://else.where:port"}, "is no address"),
        ({"endpoint": "http://[else"}, "is no address"),
    ],
)
def test_a_key_or_address_that_cannot_be_used_is_refused_unseen(other: dict[str, str], says: str) -> None:
    with pytest.raises(BookError, match=says) as refused:
        address_of(settings("openai", **other), ENVIRONMENT)
    assert not any(secret in str(refused.value) for secret in ("hunter2", "sk-"))


@pytest.mark.parametrize(
    ("kind", "gone", "says"),
    [
        ("openai", ["OPENAI_API_KEY"], "OPENAI_API_KEY"),
        ("anthropic", ["ANTHROPIC_API_KEY"], "ANTHROPIC_API_KEY"),
        ("bedrock", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "AWS_ACCESS_KEY_ID"),
        ("bedrock", ["AWS_DEFAULT_REGION"], "AWS_DEFAULT_REGION"),
    ],
)
def test_what_is_missing_at_the_start_is_one_sentence_that_names_the_model(
    kind: str, gone: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in gone:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BookError, match=rf"book b: models\.it: .*{says}") as refused:
        minds(_book(kind), BudgetPurse(BudgetSettings()), lambda _: None, lambda: 0)
    assert KEY not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bedrock_takes_no_key_of_a_book_s_own() -> None:
    with pytest.raises(BookError, match="leave api_key_env out"):
        provider_of(settings("bedrock", api_key_env="MINE"), 30.0)


def test_an_offline_voter_is_no_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    book = _book("openai", other={"kind": "vader"})
    assert list(minds(book, BudgetPurse(BudgetSettings()), lambda _: None, lambda: 0)) == ["it"]
    with pytest.raises(BookError, match="kind vader"):
        provider_of(book.models["other"], 30.0)


def test_a_model_without_a_known_price_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(BookError, match=r"models\.it: the price"):
        minds(_book("openai", model_id="unheard-of"), BudgetPurse(BudgetSettings()), lambda _: None, lambda: 0)


def _book(kind: str, model_id: str = "gpt-5-mini", **others: Any) -> Book:
    return parse_book(
        {
            "name": "b",
            "instruments": [{"id": "BTC/USDT@x"}],
            "strategy": {"mode": "advisory"},
            "analysts": {"models": ["it", *others]},
            "consensus": {"agree": 1},
            "models": {"it": {"kind": kind, "model_id": model_id}} | others,
        }
    )
