"""Anthropic's Messages API: the answer is the input of one tool, which the model is made to call where it can be."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.models.answers import ANSWER_SCHEMA, TOOL, TOOL_TEXT
from connectors.models.http import exchange
from connectors.models.keys import address_of
from connectors.models.prompts import Rendered
from connectors.models.provider import (
    UNKNOWN,
    Reply,
    Spoken,
    can_be_made_to_call,
    corrected,
    name_of,
    reply_of,
    tokens_of,
)
from schemas.book import ModelSettings

_PROMPT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class _Block(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"")
    """As it was said, to the byte."""


class _Message(msgspec.Struct, frozen=True):
    content: tuple[_Block, ...]
    stop_reason: str | None = None
    model: Any = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Message).decode


class Messages:
    """One of Anthropic's models."""

    name = "anthropic"

    def __init__(self, settings: ModelSettings) -> None:
        """Raises BookError where the key is missing, or the endpoint is no address."""
        import anthropic  # noqa: PLC0415 - it takes long to load

        address = address_of(settings)
        self._sdk, self._secret = anthropic, address.secret
        client = anthropic.Anthropic(
            api_key=address.key,
            base_url=address.url,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultHttpxClient(follow_redirects=False),  # a key goes where the book says
        )
        self._send = client.messages.with_streaming_response.create
        self._settings: dict[str, Any] = {
            "model": settings.model_id,
            "max_tokens": settings.max_reply_tokens,
            "tools": [{"name": TOOL, "description": TOOL_TEXT, "input_schema": ANSWER_SCHEMA}],
            "tool_choice": {**_choice(settings.model_id), "disable_parallel_tool_use": True},
        }
        if settings.temperature is not None:
            # The newest models take none, so the SDK has no name for it any more.
            self._settings["extra_body"] = {"temperature": settings.temperature}

    def call(self, rendered: Rendered, correction: str, within_s: float) -> Reply:
        """Ask once. Raises CallError."""
        system, user = corrected(rendered, correction)
        message = exchange(
            self._sdk,
            self._send,
            _decode,
            within_s,
            self._secret,
            system=system,
            messages=[{"role": "user", "content": user}],
            **self._settings,
        )
        return reply_of(_spoken(message))


def _choice(model_id: str) -> dict[str, str]:
    return {"type": "tool", "name": TOOL} if can_be_made_to_call(model_id) else {"type": "auto"}


def _spoken(message: _Message) -> Spoken:
    usage = message.usage if isinstance(message.usage, dict) else {}
    prompt = [tokens_of(usage.get(name) or 0) for name in _PROMPT_TOKENS if name == "input_tokens" or usage.get(name)]
    return Spoken(
        texts=tuple(block.text for block in message.content if block.type == "text"),
        calls=tuple((block.name, bytes(block.input).decode()) for block in message.content if block.type == "tool_use"),
        stop=name_of(message.stop_reason),
        model_version=name_of(message.model),
        prompt_tokens=UNKNOWN if UNKNOWN in prompt or "input_tokens" not in usage else sum(prompt),
        reply_tokens=tokens_of(usage.get("output_tokens")),
    )
