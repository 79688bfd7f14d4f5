"""Ids and bounds of texts: the same for imports and feeds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.tidy import LIMITS, address_id, keyed_id, printable_part, said_hash, text_hash, tidied
from schemas.checks import check
from schemas.texts import NewsPublished

AT = 1_704_189_600 * 10**9


@given(
    st.fixed_dictionaries({name: st.text(max_size=3_000) for name in ("id", "key", "source", "title", "text", "url")})
)
def test_a_tidied_text_is_one_that_an_event_may_hold(parts: dict[str, str]) -> None:
    clean = {name: tidied(name, value) for name, value in parts.items()}
    named: dict[str, Any] = clean | {name: clean[name] or "x" for name in ("id", "key", "title")}
    check(NewsPublished(occurred_at=AT, observed_at=AT, **named))
    assert {name: tidied(name, value) for name, value in clean.items()} == clean


def test_a_name_holds_no_line_break_and_a_text_does() -> None:
    assert printable_part("author", "a\n\u202eb") == "ab"
    assert printable_part("text", "a\n\u202eb\x1b") == "a\n\u202eb"
    assert len(tidied("title", "x" * 5_000)) == LIMITS["title"]


def test_ids_are_for_ever() -> None:
    """They stand in logs: another hash would tell old texts anew."""
    assert address_id("https://example.org/1") == "20500cba657282d66bd492941185c2ac"
    assert address_id("https://example.org/1\n") == address_id("https://example.org/1")
    assert said_hash("s", 7, "t") == text_hash("s|7|t") != said_hash("s", None, "t")


def test_the_first_key_has_the_bare_id() -> None:
    first: dict[str, str | None] = {}
    assert [keyed_id("7", key, first) for key in ("BTC", "ETH", "BTC")] == ["7", "7/ETH", "7"]
