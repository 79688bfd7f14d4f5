"""What a provider is: it sends one question to one model, once, and gives what the model put into the form.

A provider does not try again, decides nothing and reads no clock but to give up. Whatever goes wrong is a `CallError`,
whose words hold no key, no header and no address.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Literal, Protocol

from msgspec import json

from connectors.models.answers import ANSWER_SCHEMA, TOOL, TOOL_TEXT
from connectors.models.prompts import Rendered
from connectors.tidy import tidied
from schemas.base import Record
from schemas.book import ModelSettings
from schemas.fields import MAX_NAME_CHARS, UNPRINTABLE_IN_NAME

UNKNOWN = -1
"""In place of a number of tokens that nobody told."""
MAX_TOKENS = 10_000_000
"""No call takes more; whoever says so is not believed."""
MAX_BODY_BYTES = 4_000_000
"""Of a reply of a service; a longer one is not read to its end."""
MAX_DETAIL_CHARS = 300
Outcome = Literal["refused", "throttled", "timeout", "unavailable", "unparsable"]
_TOKEN_LIKE = re.compile(r"[A-Za-z0-9_\-+/=]{20,}|\S*\*\*\S*|\b(?:sk|pk|key)[-_]\S+|\bBearer\s+\S+", re.IGNORECASE)
"""What may be a key, or a part of one."""
_WORD = re.compile(r"[A-Za-z_.]{1,64}")


class Reply(Record, frozen=True, kw_only=True):
    """What a model answered."""

    arguments: str
    """The input of the tool, or the whole content in JSON mode, as said: nobody has looked whether it fits."""
    text: str
    """All that the model said."""
    model_version: str = ""
    """What the provider says has answered; empty where it does not."""
    prompt_tokens: int = UNKNOWN
    reply_tokens: int = UNKNOWN
    stop: str = ""
    """Why the model ended, in the provider's word."""


class CallError(Exception):
    """A call that came to no answer."""

    def __init__(
        self,
        outcome: Outcome,
        detail: str,
        *,
        may_retry: bool = False,
        retry_after_s: float = 0.0,
        prompt_tokens: int = UNKNOWN,
        reply_tokens: int = UNKNOWN,
        text: str = "",
        model_version: str = "",
    ) -> None:
        """`may_retry`: once more costs nothing twice, or the model may mend its answer, which `detail` then tells it.

        Tokens are known (0 of a call that was not taken on) or UNKNOWN: then the worst is charged. `text` is what the
        model said all the same.
        """
        super().__init__(detail)
        self.outcome, self.detail = outcome, detail
        self.may_retry, self.retry_after_s = may_retry, retry_after_s
        self.prompt_tokens, self.reply_tokens = prompt_tokens, reply_tokens
        self.text, self.model_version = text, model_version


class Provider(Protocol):
    """Calls one model. Its threads share it."""

    @property
    def name(self) -> str:
        """What the events call it."""
        ...

    def call(self, rendered: Rendered, correction: str, within_s: float) -> Reply:
        """Ask once, and give up about `within_s` after. Raises CallError.

        `correction` says what was wrong with the answer before; empty if there was none.
        """
        ...


class Spoken(Record, frozen=True, kw_only=True):
    """A service's answer, alike for all of them."""

    texts: tuple[str, ...] = ()
    """What was said beside the form."""
    calls: tuple[tuple[str, str], ...] = ()
    """Name and input of each tool that was called; in JSON mode, the content as the input of ours."""
    refused: bool = False
    """The model says so itself."""
    stop: str = ""
    model_version: str = ""
    prompt_tokens: int = UNKNOWN
    reply_tokens: int = UNKNOWN


_MADE_TO_CALL = ("claude-3", "claude-haiku-4", "claude-opus-4", "claude-sonnet-4", "amazon.nova")
"""Of later Claude models some refuse a request that forces a tool, for they always think first."""


def can_be_made_to_call(model_id: str) -> bool:
    """Tell whether a model can be made to call one tool; others are only told that there is one."""
    return any(name in model_id for name in _MADE_TO_CALL)


REFUSALS = frozenset({"refusal", "content_filter", "content_filtered", "guardrail_intervened"})
"""Reasons to stop that are no answer, in the services' words."""
CUTS = frozenset({"max_tokens", "length", "model_context_window_exceeded"})


def reply_of(spoken: Spoken) -> Reply:
    """Take the one call of our tool for the answer. Raises CallError for whatever else was said."""
    text = "\n".join([*spoken.texts, *(arguments for _, arguments in spoken.calls)])
    outcome, detail = _objection(spoken)
    if outcome is not None:
        raise CallError(
            outcome,
            detail,
            may_retry=outcome == "unparsable" and spoken.stop != "model_context_window_exceeded",
            prompt_tokens=spoken.prompt_tokens,
            reply_tokens=spoken.reply_tokens,
            text=text,
            model_version=spoken.model_version,
        )
    return Reply(
        arguments=spoken.calls[0][1],
        text=text,
        model_version=spoken.model_version,
        prompt_tokens=spoken.prompt_tokens,
        reply_tokens=spoken.reply_tokens,
        stop=spoken.stop,
    )


def _objection(spoken: Spoken) -> tuple[Outcome | None, str]:
    """Say why an answer is none; nothing if it may be one."""
    if spoken.refused or spoken.stop in REFUSALS:
        return "refused", f"the model or its provider declines to answer{f' ({spoken.stop})' if spoken.stop else ''}"
    if spoken.stop in CUTS:
        return "unparsable", "The answer was cut off because it was too long: be shorter."
    if not spoken.calls:
        said = "in prose, which is not read" if "".join(spoken.texts).strip() else "nothing"
        return "unparsable", f"You answered {said}: fill in the form `{TOOL}`, once."
    if len(spoken.calls) > 1:
        return "unparsable", f"You called {len(spoken.calls)} tools: call `{TOOL}` once and nothing else."
    if spoken.calls[0][0] != TOOL:
        return "unparsable", f"You called another tool: call `{TOOL}`."
    return None, ""


def corrected(rendered: Rendered, correction: str) -> Rendered:
    """Give what a model reads when it is asked again: the same question, and what was wrong with its answer."""
    if not correction:
        return rendered
    return rendered._replace(
        user=f"{rendered.user}\n\nYou were asked this before, and your answer could not be used. {correction}"
        " Answer the question anew, in the form that you are given."
    )


def parameters_sha256(settings: ModelSettings) -> str:
    """Hash all that steers a model besides its prompt: which it is, how it is set, and the form of the answer.

    Where it is called and what it costs steer nothing.
    """
    steers = (
        settings.kind,
        settings.model_id,
        settings.temperature,
        settings.max_reply_tokens,
        settings.guardrail,
        settings.guardrail_version,
        (TOOL, TOOL_TEXT, ANSWER_SCHEMA),
    )
    return sha256(json.encode(steers)).hexdigest()


# What the providers share


def tokens_of(told: object) -> int:
    """Give a number of tokens that a service told; UNKNOWN for what is none."""
    return told if type(told) is int and 0 <= told <= MAX_TOKENS else UNKNOWN


def name_of(told: object) -> str:
    """Give a name that a service told, as an event may hold it."""
    return re.sub(UNPRINTABLE_IN_NAME, "", told)[:MAX_NAME_CHARS] if isinstance(told, str) else ""


def word_of(told: object) -> str:
    """Give a code that a service told, if it is a plain word and so no key."""
    return told if isinstance(told, str) and _WORD.fullmatch(told) else ""


def quotable(told: object, secret: str = "") -> str:
    """Give what a service said of a mistake, on one line, with whatever may be a key taken out."""
    if not isinstance(told, str):
        return ""
    text = told.replace(secret, "(hidden)") if secret else told
    return " ".join(tidied("text", _TOKEN_LIKE.sub("(hidden)", text)).split())[:MAX_DETAIL_CHARS]
