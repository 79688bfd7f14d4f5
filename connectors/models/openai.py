"""Any service that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama and others, in JSON mode by a strict schema.

The whole content of the one choice is the answer. A refusal is told in a field of its own, or by the finish reason.
"""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.models.answers import TOOL, strict_schema
from connectors.models.http import exchange
from connectors.models.keys import address_of
from connectors.models.prompts import Rendered
from connectors.models.provider import Reply, Spoken, corrected, name_of, reply_of, tokens_of
from connectors.models.refusals import unreadable
from schemas.book import ModelSettings


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...]
    model: Any = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Completion).decode


class ChatCompletions:
    """One model behind such a service."""

    name = "openai"

    def __init__(self, settings: ModelSettings) -> None:
        """Raises BookError where the key is missing, or the endpoint is no address."""
        import openai  # noqa: PLC0415 - it takes long to load

        address = address_of(settings)
        self._sdk, self._secret = openai, address.secret
        client = openai.OpenAI(
            api_key=address.key,
            base_url=address.url,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),  # a key goes where the book says
        )
        self._send = client.chat.completions.with_streaming_response.create
        # OpenAI's reasoning models take the second name alone, and most other servers only the first.
        limit = "max_completion_tokens" if address.is_own else "max_tokens"
        self._settings: dict[str, Any] = {"model": settings.model_id, limit: settings.max_reply_tokens}
        if settings.temperature is not None:
            self._settings["temperature"] = settings.temperature
        schema = {"name": TOOL, "strict": True, "schema": strict_schema()}
        self._settings["response_format"] = {"type": "json_schema", "json_schema": schema}

    def call(self, rendered: Rendered, correction: str, within_s: float) -> Reply:
        """Ask once. Raises CallError."""
        system, user = corrected(rendered, correction)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        completion = exchange(
            self._sdk, self._send, _decode, within_s, self._secret, messages=messages, **self._settings
        )
        return reply_of(_spoken(completion))


def _spoken(completion: _Completion) -> Spoken:
    if not completion.choices:
        raise unreadable()
    first = completion.choices[0]
    usage = completion.usage if isinstance(completion.usage, dict) else {}
    contents = [choice.message.content or "" for choice in completion.choices]
    return Spoken(
        texts=(first.message.refusal,) if first.message.refusal else (),
        calls=tuple((TOOL, content) for content in contents if content.strip()),
        refused=bool(first.message.refusal),
        stop=name_of(first.finish_reason),
        model_version=name_of(completion.model),
        prompt_tokens=tokens_of(usage.get("prompt_tokens")),
        reply_tokens=tokens_of(usage.get("completion_tokens")),
    )
