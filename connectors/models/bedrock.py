"""Amazon Bedrock's Converse: the answer is the input of one tool, and every call goes through the book's guardrail."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from connectors.models.answers import ANSWER_SCHEMA, TOOL, TOOL_TEXT
from connectors.models.aws import broken, client, refused
from connectors.models.keys import checked_address
from connectors.models.prompts import Rendered
from connectors.models.provider import (
    Reply,
    Spoken,
    can_be_made_to_call,
    corrected,
    name_of,
    reply_of,
    tokens_of,
)
from connectors.models.refusals import unreadable
from schemas.book import ModelSettings
from schemas.errors import BookError

_ANY = ("mistral.mistral-large", "mistral.pixtral")
"""Models that can be made to call a tool, and have but ours. All others, as Llama, are only told that there is one."""
_FIELDS = ("type", "properties", "required")
"""Nova takes these alone at the top of a tool's schema; what is said beside them is refused here."""


class _Tool(msgspec.Struct, frozen=True):
    name: str
    input: Any = None


class _Block(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    tool_use: _Tool | None = None


class _Message(msgspec.Struct, frozen=True):
    content: tuple[_Block, ...] = ()


class _Output(msgspec.Struct, frozen=True):
    message: _Message = _Message()


class _Converse(msgspec.Struct, frozen=True, rename="camel"):
    output: _Output
    stop_reason: str
    usage: Any = None
    trace: Any = None


class Converse:
    """One model on Bedrock."""

    name = "bedrock"

    def __init__(self, settings: ModelSettings, longest_s: float) -> None:
        """`longest_s` is the longest that a read may take. Raises BookError where region or keys are missing."""
        self._converse = _client(settings, longest_s).converse
        inference: dict[str, Any] = {"maxTokens": settings.max_reply_tokens}
        if settings.temperature is not None:
            inference["temperature"] = settings.temperature
        form = {"json": {name: ANSWER_SCHEMA[name] for name in _FIELDS}}
        tool = {"toolSpec": {"name": TOOL, "description": TOOL_TEXT, "inputSchema": form}}
        self._settings: dict[str, Any] = {
            "modelId": settings.model_id,
            "inferenceConfig": inference,
            "toolConfig": {"tools": [tool], "toolChoice": tool_choice(settings.model_id)},
        }
        if settings.guardrail:
            self._settings["guardrailConfig"] = {
                "guardrailIdentifier": settings.guardrail,
                "guardrailVersion": settings.guardrail_version,
            }

    def call(self, rendered: Rendered, correction: str, within_s: float) -> Reply:
        """Ask once. Raises CallError. A read may last `longest_s`, whatever `within_s` says."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - it takes long to load

        system, user = corrected(rendered, correction)
        try:
            answer = self._converse(
                system=[{"text": system}], messages=[{"role": "user", "content": [{"text": user}]}], **self._settings
            )
        except ClientError as error:
            raise refused(error.response) from None
        except BotoCoreError as error:
            raise broken(type(error).__name__, within_s) from None
        try:
            said = msgspec.convert(answer, _Converse)
        except (msgspec.ValidationError, RecursionError):
            raise unreadable() from None
        return reply_of(_spoken(said))


def tool_choice(model_id: str) -> dict[str, Any]:
    """Give how far a model can be made to use the form."""
    if can_be_made_to_call(model_id):
        return {"tool": {"name": TOOL}}
    return {"any": {}} if any(name in model_id for name in _ANY) else {"auto": {}}


def _client(settings: ModelSettings, longest_s: float) -> Any:  # noqa: ANN401 - boto3 has no types
    if settings.api_key_env:
        raise BookError("Bedrock takes its keys from AWS's own variables: leave api_key_env out")
    return client(
        "bedrock-runtime",
        "Bedrock",
        longest_s,
        region=settings.region,
        endpoint=checked_address(settings.endpoint),
        bearer="AWS_BEARER_TOKEN_BEDROCK",
        calls=settings.max_concurrent,
    )


def _spoken(said: _Converse) -> Spoken:
    usage = said.usage if isinstance(said.usage, dict) else {}
    trace = said.trace if isinstance(said.trace, dict) else {}
    router = trace.get("promptRouter")
    blocks = said.output.message.content
    return Spoken(
        texts=tuple(block.text for block in blocks if block.text is not None),
        calls=tuple((block.tool_use.name, json.dumps(block.tool_use.input)) for block in blocks if block.tool_use),
        stop=name_of(said.stop_reason),
        model_version=name_of(router.get("invokedModelId")) if isinstance(router, dict) else "",
        prompt_tokens=tokens_of(usage.get("inputTokens")),
        reply_tokens=tokens_of(usage.get("outputTokens")),
    )
