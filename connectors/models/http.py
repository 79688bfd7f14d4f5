"""What the two services that speak plain JSON over HTTP share: their SDKs are made by one generator and fail alike.

A body is read as bytes, within bounds of size and time, and decoded here: the SDKs take any shape for a good one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from connectors.models.provider import MAX_BODY_BYTES
from connectors.models.refusals import cut, no_connection, refusal, silence, unreadable

CONNECT_S = 5.0
"""A provider that is there takes a connection sooner."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "LocalProtocolError"}
_FAILURES = {"APIError", "HTTPError"}
"""Of the SDKs, and of their HTTP client; whatever else is raised is a mistake of ours."""
_LATE = {"APITimeoutError", "TimeoutException"}
Body = TypeVar("Body")


def exchange(
    sdk: ModuleType,
    send: Callable[..., AbstractContextManager[Any]],
    decode: Callable[[bytes], Body],
    within_s: float,
    secret: str,
    **request: Any,  # noqa: ANN401 - what the service's API takes
) -> Body:
    """Send a request by one of the SDK's methods `with_streaming_response`; give the body. Raises CallError.

    `secret` is what no error may hold.
    """
    until = time.monotonic() + within_s
    timeout = sdk.Timeout(within_s, connect=min(CONNECT_S, within_s))
    try:
        with send(**request, timeout=timeout) as response:
            body = _read(response.iter_bytes(), until)
    except sdk.APIStatusError as error:
        told = error.body if isinstance(error.body, dict) else {}
        told = told.get("error", told) if isinstance(told.get("error", told), dict) else {}
        code = told.get("code") or told.get("type")
        raise refusal(error.status_code, code, told.get("message"), error.response.headers, secret) from None
    except Exception as error:
        kinds = {cls.__name__ for each in (error, error.__cause__) for cls in type(each).__mro__}
        if not kinds & _FAILURES:
            raise
        if kinds & _UNSENT:
            raise no_connection() from None
        raise (silence(within_s) if kinds & _LATE else cut()) from None
    if body is None:
        raise silence(within_s) if time.monotonic() >= until else unreadable()
    try:
        return decode(body)
    except _UNREADABLE:
        raise unreadable() from None


def _read(chunks: Iterable[bytes], until: float) -> bytes | None:
    """Read a body to its end; None where it is too long, or drips on past the time."""
    parts, size = [], 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_BODY_BYTES or time.monotonic() >= until:
            return None
    return b"".join(parts)
