"""What a model's answer is read from, and what is no answer: every bound of a verdict holds, and nothing is guessed."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from connectors.models.answers import ANSWER_SCHEMA, OPTIONAL, TOOL_TEXT, UnfitError, parse, strict_schema
from connectors.models.prices import MARGIN_TOKENS
from connectors.models.prompts import render
from connectors.models.provider import corrected, quotable
from connectors.voters.protocol import Answer, Failure, Opinion
from replay.gateway import answered
from schemas.checks import check
from schemas.fields import MAX_ITEMS, MAX_NOTE_CHARS, MAX_TEXT_CHARS
from schemas.verdicts import Action
from tests.connectors.models.asking import question
from tests.connectors.models.servers import PROSE, VOTE

LEAST = {"reasoning": "So.", "action": "HOLD", "confidence": 0}


def test_a_whole_answer_is_the_opinion_that_it_says() -> None:
    assert parse(json.dumps(VOTE)) == Opinion(**{**VOTE, "key_factors": ("trend", "news")})


def test_an_answer_may_leave_out_what_is_not_required_and_say_null_for_a_number() -> None:
    least = Opinion(action="HOLD", confidence=0.0, reasoning="So.")
    assert parse(json.dumps(LEAST).encode()) == least
    assert parse(json.dumps({**LEAST, **dict.fromkeys(OPTIONAL)})) == least


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("action", "STRONG BUY", "BUY, SELL or HOLD"),
        ("action", "buy", "BUY, SELL or HOLD"),
        ("action", None, "action"),
        ("confidence", 1.7, "1.7 is not between 0 and 1"),
        ("confidence", -0.1, "-0.1 is not between 0 and 1"),
        ("confidence", "0.7", "confidence"),
        ("confidence", True, "confidence"),
        ("confidence", None, "confidence"),
        ("size_hint", 2, "2.0 is not between 0 and 1"),
        ("stop_price", 0, "stop_price"),
        ("stop_price", -5, "above 0"),
        ("target_price", 1e13, "target_price"),
        ("horizon_ms", 0, "above 0"),
        ("horizon_ms", 1.5, "whole milliseconds"),
        ("horizon_ms", 10**19, "horizon_ms"),
        ("reasoning", "x" * (MAX_TEXT_CHARS + 1), f"at most {MAX_TEXT_CHARS} characters"),
        ("reasoning", "\x1b[31m", "U+001B"),
        ("reasoning", ["So."], "reasoning"),
        ("risk_note", "x" * (MAX_NOTE_CHARS + 1), f"at most {MAX_NOTE_CHARS} characters"),
        ("risk_note", None, "risk_note"),
        ("key_factors", ["x"] * (MAX_ITEMS + 1), "key_factors"),
        ("key_factors", ["x", 3], "key_factors[1]"),
        ("key_factors", "trend", "key_factors"),
        ("order", "BUY 5 BTC", "`order`"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_it_may_be(field: str, value: Any, says: str) -> None:
    with pytest.raises(UnfitError) as refused:
        parse(json.dumps({**VOTE, field: value}))
    assert says in str(refused.value)


@pytest.mark.parametrize("field", ANSWER_SCHEMA["required"])
def test_what_is_required_is_missed_by_its_name(field: str) -> None:
    with pytest.raises(UnfitError, match=field):
        parse(json.dumps({name: value for name, value in VOTE.items() if name != field}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        PROSE,
        f"```json\n{json.dumps(VOTE)}\n```",
        f"{json.dumps(VOTE)} So I say BUY.",
        f"{json.dumps(VOTE)}{json.dumps(VOTE)}",
        json.dumps([VOTE]),
        json.dumps(json.dumps(VOTE)),
        "null",
        json.dumps(VOTE)[:-1],
        json.dumps(VOTE).replace('"BUY"', "BUY"),
        json.dumps(VOTE).replace("0.7", "NaN"),
        json.dumps(VOTE).replace("0.7", "1e999"),
        json.dumps(VOTE).replace("0.7", "0." + "7" * 300_000),
        json.dumps(VOTE).replace("3600000", "3" * 5_000),
        json.dumps(VOTE).replace('"SELL"', "").replace('"action"', '"action": "SELL", "action"'),
        json.dumps(VOTE).replace("The", "\\ud800"),
        '{"key_factors":' + "[" * 100_000,
        "\ufeff" + json.dumps(VOTE),
        "\ud800",
    ],
)
def test_what_is_not_one_json_object_is_no_answer(text: str) -> None:
    with pytest.raises(UnfitError):
        parse(text)


_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.text(max_size=5))
_fields = st.sampled_from([*VOTE, "order"])


@given(changes=st.dictionaries(_fields, _values, max_size=4), dropped=st.sets(_fields, max_size=3))
def test_whatever_is_answered_is_an_opinion_that_a_verdict_may_hold_or_unfit(
    changes: dict[str, Any], dropped: set[str]
) -> None:
    said = {name: value for name, value in {**VOTE, **changes}.items() if name not in dropped}
    try:
        opinion = parse(json.dumps(said))
    except UnfitError as unfit:
        check(answered(question(), Answer(said=Failure(reason="unparsable", detail=str(unfit))), 5))
    else:
        check(answered(question(), Answer(said=opinion), 5))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_an_answer_or_unfit(text: bytes | str) -> None:
    with pytest.raises(UnfitError):
        parse(text)


@pytest.mark.parametrize("schema", [ANSWER_SCHEMA, strict_schema()], ids=["tool", "strict"])
def test_the_form_says_of_numbers_and_words_what_is_held_to(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    form = jsonschema.Draft202012Validator(schema)
    assert form.is_valid(VOTE)
    for wrong in ({"action": "LONG"}, {"confidence": 1.7}, {"size_hint": -1}, {"horizon_ms": 0}, {"order": "now"}):
        assert not form.is_valid({**VOTE, **wrong})


def test_the_form_has_the_fields_of_an_opinion() -> None:
    assert set(ANSWER_SCHEMA["properties"]) == set(Opinion.__struct_fields__)
    assert ANSWER_SCHEMA["properties"]["action"]["enum"] == list(get_type_hints(Opinion)["action"].__args__)
    assert Action == get_type_hints(Opinion)["action"]


def test_the_strict_form_demands_every_field_and_takes_null_for_numbers() -> None:
    schema = strict_schema()
    assert schema["required"] == list(schema["properties"])
    form = jsonschema.Draft202012Validator(schema)
    assert form.is_valid({**VOTE, **dict.fromkeys(OPTIONAL)})
    assert not form.is_valid(LEAST)
    assert parse(json.dumps({**VOTE, **dict.fromkeys(OPTIONAL)})).stop_price is None


def test_what_is_added_to_a_prompt_stays_within_the_margin_of_its_worst_cost() -> None:
    rendered = render(question())
    longest = "x" * 1_000  # a sentence of UnfitError is shorter
    added = len(json.dumps(strict_schema())) + len(TOOL_TEXT) + len(corrected(rendered, longest).user)
    assert added - len(rendered.user) < MARGIN_TOKENS
    with pytest.raises(UnfitError) as unfit:
        parse(json.dumps({**VOTE, "x" * 10_000: 1}))
    assert len(str(unfit.value)) < len(longest)


def test_a_correction_changes_what_is_sent_and_nothing_else_does() -> None:
    rendered = render(question())
    assert corrected(rendered, "") is rendered
    assert corrected(rendered, "Be brief.") == rendered._replace(user=corrected(rendered, "Be brief.").user)
    assert corrected(rendered, "Be brief.").user.startswith(rendered.user)
    assert render(replace(question(), id="another")) == rendered


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key: sk-proj-abc",
        "key hunter2 is wrong",
        "Authorization: Bearer abc.def",
        "token 0123456789abcdef0123456789 expired",
        "sk-te****ret is wrong",
    ],
)
def test_what_looks_like_a_key_is_not_quoted(said: str) -> None:
    quote = quotable(said, "hunter2")
    assert "(hidden)" in quote
    assert not any(secret in quote for secret in ("abc", "hunter2", "0123", "sk-te"))


def test_what_helps_is_quoted_on_one_line() -> None:
    assert quotable("`temperature` is\n deprecated\x07 for it.") == "`temperature` is deprecated for it."
    assert len(quotable("a word " * 1000)) <= 300
    assert quotable({"message": 1}) == ""
