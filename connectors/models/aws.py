"""What the services of AWS share here: a client of the SDK that tries once, and what its errors come to.

Keys come from AWS's own chain. How long the SDK reads is bounded a read, so it is the caller who bounds the whole.
"""

from __future__ import annotations

import os
from typing import Any

from connectors.models.http import CONNECT_S
from connectors.models.provider import CallError
from connectors.models.refusals import cut, no_connection, refusal, silence, unreadable
from schemas.errors import BookError

_BAD, _LIMITED = 400, 429
_THROTTLED = ("ThrottlingException", "TooManyRequestsException")
"""The older services tell a rate limit as a bad request."""
_UNSENT = {"EndpointConnectionError", "ConnectTimeoutError", "SSLError", "ProxyConnectionError"}
_NO_KEYS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"}


def client(
    service: str,
    name: str,
    longest_s: float,
    *,
    region: str | None = None,
    endpoint: str = "",
    bearer: str = "",
    calls: int = 10,
) -> Any:  # noqa: ANN401 - boto3 has no types
    """Make a client of a service, called `name` in errors, of which a read takes `longest_s` at most.

    `region` is that of a book, empty where it names none. `bearer` is the variable of a key of the service's own,
    `calls` how many there may be at once. Raises BookError where region or keys are missing.
    """
    import boto3  # noqa: PLC0415 - it takes long to load
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=min(CONNECT_S, longest_s),
        read_timeout=longest_s,
        max_pool_connections=calls,
    )
    try:
        session = boto3.Session(region_name=region or None)
        if session.get_credentials() is None and not os.environ.get(bearer):
            raise BookError(
                "the keys of AWS are missing: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
            )
        return session.client(service, endpoint_url=endpoint or None, config=config)
    except (BotoCoreError, ValueError) as error:  # ValueError of an address that is none
        unset = type(error).__name__ == "NoRegionError"
        where = "AWS_DEFAULT_REGION" if region is None else "`region`, or AWS_DEFAULT_REGION"
        mend = f"set {where}" if unset else f"mend the settings of AWS ({type(error).__name__})"
        raise BookError(f"{name} cannot be called: {mend}") from None


def refused(response: Any) -> CallError:  # noqa: ANN401
    """Give the error of an answer that the SDK takes for one."""
    told, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    status, code = about.get("HTTPStatusCode"), told.get("Code")
    if not isinstance(status, int):
        return cut()
    if status == _BAD and code in _THROTTLED:
        status = _LIMITED
    return refusal(status, code, told.get("Message"), about.get("HTTPHeaders"))


def broken(kind: str, within_s: float) -> CallError:
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
