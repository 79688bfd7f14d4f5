"""Amazon Bedrock's Converse: the answer is the input of one tool, and every call goes through the book's guardrail.

Keys come from AWS's own chain. The SDK tries once; how long it reads is bounded a read, so it is the caller who bounds
the whole.
"""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec

from connectors.models.answers import ANSWER_SCHEMA, TOOL, TOOL_TEXT
from connectors.models.http import CONNECT_S
from connectors.models.keys import checked_address
from connectors.models.prompts import Rendered
from connectors.models.provider import (
    CallError,
    Reply,
    Spoken,
    can_be_made_to_call,
    corrected,
    name_of,
    reply_of,
    tokens_of,
)
from connectors.models.refusals import cut, no_connection, refusal, silence, unreadable
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
            raise _refused(error.response) from None
        except BotoCoreError as error:
            raise _broken(type(error).__name__, within_s) from None
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
    import boto3  # noqa: PLC0415 - it takes long to load
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    if settings.api_key_env:
        raise BookError("Bedrock takes its keys from AWS's own variables: leave api_key_env out")
    endpoint = checked_address(settings.endpoint) or None
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=min(CONNECT_S, longest_s),
        read_timeout=longest_s,
        max_pool_connections=settings.max_concurrent,
    )
    try:
        session = boto3.Session(region_name=settings.region or None)
        if session.get_credentials() is None and not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
            raise BookError(
                "the keys of AWS are missing: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
            )
        return session.client("bedrock-runtime", endpoint_url=endpoint, config=config)
    except BotoCoreError as error:
        region = type(error).__name__ == "NoRegionError"
        mend = "set `region`, or AWS_DEFAULT_REGION" if region else f"mend the settings of AWS ({type(error).__name__})"
        raise BookError(f"Bedrock cannot be called: {mend}") from None


def _refused(response: Any) -> CallError:  # noqa: ANN401
    """Give the error of an answer that the SDK takes for one."""
    told, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode")
    if not isinstance(status, int):
        return cut()
    return refusal(status, told.get("Code"), told.get("Message"), about.get("HTTPHeaders"))


_UNSENT = {"EndpointConnectionError", "ConnectTimeoutError", "SSLError", "ProxyConnectionError"}
_NO_KEYS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"}


def _broken(kind: str, within_s: float) -> CallError:
    """Give the error of a call that the SDK could not bring to an end, by the name of what it raised."""
    if kind in _UNSENT:
        return no_connection()
    if kind in _NO_KEYS:
        return CallError("unavailable", f"the keys of AWS cannot be had ({kind})", prompt_tokens=0, reply_tokens=0)
    if kind == "ParamValidationError":
        return CallError("unavailable", "the SDK does not take the request", prompt_tokens=0, reply_tokens=0)
    if kind == "ReadTimeoutError":
        return silence(within_s)
    return unreadable() if kind == "ResponseParserError" else cut()


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
