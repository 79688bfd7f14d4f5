"""What an HTTP error of a provider comes to: which outcome it is, whether the call was free, and may be made again.

A service that refuses a request has not run the model, so it costs nothing; one that gave up on the model may have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from connectors.models.provider import UNKNOWN, CallError, Outcome, quotable, word_of

_NOT_MODIFIED, _BAD, _NO_KEY, _FORBIDDEN, _MISSING, _TIMEOUT, _TOO_LARGE, _UNFIT = (
    304,
    400,
    401,
    403,
    404,
    408,
    413,
    422,
)
_MODEL_FAILED, _LIMITED, _BROKEN, _GATEWAY_TIMEOUT = 424, 429, 500, 504
_SPENT_FOR_GOOD = "insufficient_quota"
"""OpenAI's word for an account without money, told as a rate limit."""
_FILTERED = ("content_filter", "content_policy_violation")
_QUOTED = (_BAD, _MISSING, _TOO_LARGE, _UNFIT)
"""Statuses whose words help to mend a book; those of a refused key may quote it."""
_WORDS = {
    _NO_KEY: "the key is not accepted",
    _FORBIDDEN: "the key may not use this model, or has expired",
    _MISSING: "there is no such model or address",
    _TIMEOUT: "the provider gave up on the model",
    _GATEWAY_TIMEOUT: "the provider gave up on the model",
    _MODEL_FAILED: "the model failed",
    _LIMITED: "the provider limits the rate of calls",
}


def refusal(
    status: int, code: object, message: object, headers: Mapping[str, str] | None = None, secret: str = ""
) -> CallError:
    """Give the error of an answer that is not a success. `code` and `message` are the body's, if it had any.

    No header is quoted, the message only where it can hold no key, and `secret` never.
    """
    word = word_of(code)
    quote = quotable(message, secret) if status in _QUOTED else ""
    what = _WORDS.get(status, "the provider fails" if status >= _BROKEN else "the provider does not take the request")
    detail = f"{what} (HTTP {status}{f', {word}' if word else ''}){f': {quote}' if quote else ''}"
    outcome = _outcome(status, word)
    unknown = outcome == "timeout" or status == _MODEL_FAILED
    return CallError(
        outcome,
        detail,
        may_retry=not unknown and (status >= _BROKEN or status == _LIMITED) and word != _SPENT_FOR_GOOD,
        retry_after_s=_asked_wait_s(headers or {}),
        prompt_tokens=UNKNOWN if unknown else 0,
        reply_tokens=UNKNOWN if unknown else 0,
    )


def _outcome(status: int, word: str) -> Outcome:
    if status == _LIMITED:
        return "throttled"
    if status in (_TIMEOUT, _GATEWAY_TIMEOUT):
        return "timeout"
    return "refused" if word in _FILTERED else "unavailable"


def _asked_wait_s(headers: Mapping[str, str]) -> float:
    from connectors.feeds.http import asked_wait_s  # noqa: PLC0415 - it loads an HTTP client that few calls need

    told = {name.title(): value for name, value in headers.items() if name.lower() == "retry-after"}
    return asked_wait_s(told, time.time_ns())


def no_connection() -> CallError:
    """Give the error of a call that reached nobody: it cost nothing."""
    return CallError("unavailable", "no connection to the provider", may_retry=True, prompt_tokens=0, reply_tokens=0)


def silence(within_s: float) -> CallError:
    """Give the error of a call that was not answered in time: the model may have run."""
    return CallError("timeout", f"no whole answer within {within_s:.1f} s")


def cut() -> CallError:
    """Give the error of a connection that broke after the question was sent: the model may have run."""
    return CallError("unavailable", "the connection broke before the answer was whole")


def unreadable() -> CallError:
    """Give the error of a success whose body is not what the service answers: the model may have run."""
    return CallError("unparsable", "the body of the answer is not what this kind of service sends")
