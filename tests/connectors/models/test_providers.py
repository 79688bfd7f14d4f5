"""What each service is sent: the form, the settings, the key in its place, and nothing that the book does not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.models import provider_of
from connectors.models.answers import ANSWER_SCHEMA, strict_schema
from connectors.models.bedrock import tool_choice
from connectors.models.prompts import render
from connectors.models.provider import CallError, parameters_sha256
from tests.connectors.models.asking import KEY, keys, question, settings_of
from tests.connectors.models.faults import GOOD
from tests.connectors.models.servers import WIRES, Heard, Server, Wire, made, serving

__all__ = ["keys"]
BEDROCK, OPENAI, ANTHROPIC = WIRES
SYSTEM, USER = render(question())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as made_server:
        yield made_server


def sent(wire: Wire, server: Server, **settings: Any) -> Heard:
    server.plays([wire.votes(GOOD)])
    provider_of(settings_of(wire, server, **settings), 3.0).call(render(question()), "", 3.0)
    [heard] = server.heard
    assert heard.path == wire.path
    return heard


def test_openai_is_sent_the_strict_form(server: Server) -> None:
    heard = sent(OPENAI, server, temperature=0.2, max_reply_tokens=300)
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.body == {
        "model": "claude-3-test",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}],
        "temperature": 0.2,
        "max_tokens": 300,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "vote", "strict": True, "schema": strict_schema()},
        },
    }


def test_anthropic_is_sent_the_form_as_a_tool_that_must_be_called(server: Server) -> None:
    heard = sent(ANTHROPIC, server, temperature=0.2, max_reply_tokens=300)
    assert KEY in (heard.headers.get("x-api-key"), heard.headers.get("authorization", "").removeprefix("Bearer "))
    tools = heard.body.pop("tools")
    assert [(tool["name"], tool["input_schema"]) for tool in tools] == [("vote", ANSWER_SCHEMA)]
    assert heard.body == {
        "model": "claude-3-test",
        "system": SYSTEM,
        "messages": [{"role": "user", "content": USER}],
        "temperature": 0.2,
        "max_tokens": 300,
        "tool_choice": {"type": "tool", "name": "vote", "disable_parallel_tool_use": True},
    }


def test_bedrock_is_sent_the_form_as_a_tool_and_goes_through_the_guardrail(server: Server) -> None:
    heard = sent(BEDROCK, server, temperature=0.2, max_reply_tokens=300, guardrail="abc123", guardrail_version="2")
    assert heard.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA")
    [tool] = heard.body["toolConfig"].pop("tools")
    assert tool["toolSpec"]["inputSchema"]["json"].keys() == {"type", "properties", "required"}
    assert heard.body == {
        "system": [{"text": SYSTEM}],
        "messages": [{"role": "user", "content": [{"text": USER}]}],
        "inferenceConfig": {"maxTokens": 300, "temperature": 0.2},
        "toolConfig": {"toolChoice": {"tool": {"name": "vote"}}},
        "guardrailConfig": {"guardrailIdentifier": "abc123", "guardrailVersion": "2"},
    }


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_a_temperature_that_the_book_does_not_give_is_not_sent(wire: Wire, server: Server) -> None:
    assert "temperature" not in str(sent(wire, server).body)


@pytest.mark.parametrize(
    ("model_id", "choice"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"tool": {"name": "vote"}}),
        ("amazon.nova-lite-v1:0", {"tool": {"name": "vote"}}),
        ("mistral.mistral-large-2407-v1:0", {"any": {}}),
        ("meta.llama3-3-70b-instruct-v1:0", {"auto": {}}),
        ("anthropic.claude-opus-5-5", {"auto": {}}),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", {"auto": {}}),
    ],
)
def test_a_model_on_bedrock_is_made_to_call_the_tool_where_it_can_be(model_id: str, choice: object) -> None:
    assert tool_choice(model_id) == choice


def test_a_model_of_anthropic_that_always_thinks_is_not_forced(server: Server) -> None:
    choice = sent(ANTHROPIC, server, model_id="claude-opus-5-5").body["tool_choice"]
    assert choice == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=lambda wire: wire.kind)
def test_variables_of_the_environment_move_no_call(wire: Wire, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sent(wire, server)
    assert len(server.heard) == 1


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=lambda wire: wire.kind)
def test_an_endpoint_without_a_key_of_its_own_is_sent_none(
    wire: Wire, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert KEY not in str(sent(wire, server, api_key_env="").headers)


def test_what_helps_of_a_400_is_quoted_without_the_key(server: Server) -> None:
    told = f"`temperature` is deprecated for this model; you sent {KEY}."
    server.plays([made({"error": {"message": told, "code": "unsupported_parameter"}}, 400)])
    with pytest.raises(CallError) as refused:
        provider_of(settings_of(OPENAI, server), 3.0).call(render(question()), "", 3.0)
    assert refused.value.detail == (
        "the provider does not take the request (HTTP 400, unsupported_parameter):"
        " `temperature` is deprecated for this model; you sent (hidden)."
    )


def test_without_a_key_no_word_of_an_error_is_taken_for_one(server: Server) -> None:
    server.plays([made({"object": "error", "message": "none of the models is `x`", "code": 404}, 404)])
    with pytest.raises(CallError, match=r"no such model or address \(HTTP 404\): none of the models is `x`"):
        provider_of(settings_of(OPENAI, server, api_key_env=""), 3.0).call(render(question()), "", 3.0)


def test_an_account_without_money_is_not_asked_again(server: Server) -> None:
    server.plays([made({"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}, 429)])
    with pytest.raises(CallError) as refused:
        provider_of(settings_of(OPENAI, server), 3.0).call(render(question()), "", 3.0)
    assert (refused.value.outcome, refused.value.may_retry) == ("throttled", False)


def test_a_filter_that_refuses_the_prompt_is_a_refusal(server: Server) -> None:
    server.plays([made({"error": {"message": "Filtered.", "code": "content_filter"}}, 400)])
    with pytest.raises(CallError) as refused:
        provider_of(settings_of(OPENAI, server), 3.0).call(render(question()), "", 3.0)
    assert (refused.value.outcome, refused.value.may_retry, refused.value.prompt_tokens) == ("refused", False, 0)


def test_usage_that_cannot_be_is_not_believed(server: Server) -> None:
    told: tuple[Any, ...] = (None, [], {}, {"prompt_tokens": -1}, {"prompt_tokens": "9"}, {"prompt_tokens": 10**12})
    for usage in told:
        body = {"choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}], "usage": usage}
        server.plays([made(body)])
        reply = provider_of(settings_of(OPENAI, server), 3.0).call(render(question()), "", 3.0)
        assert (reply.prompt_tokens, reply.reply_tokens) == (-1, -1)


def test_parameters_are_what_steers_a_model_and_nothing_else(server: Server) -> None:
    here = settings_of(BEDROCK, server)
    same = {"endpoint": "http://x", "region": "eu-west-1", "max_concurrent": 3, "usd_per_million_prompt_tokens": "9"}
    other = {
        "model_id": "y",
        "temperature": 0.5,
        "max_reply_tokens": 99,
        "guardrail": "abc",
        "guardrail_version": "2",
    }
    given = parameters_sha256(here)
    assert all(parameters_sha256(settings_of(BEDROCK, server, **{k: v})) == given for k, v in same.items())
    assert len({given, *(parameters_sha256(settings_of(BEDROCK, server, **{k: v})) for k, v in other.items())}) == 6
    assert parameters_sha256(settings_of(BEDROCK, server, temperature=0.0)) != given
