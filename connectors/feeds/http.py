"""What the feeds over HTTP share: bounded answers, waits that a service asks for, failures that name no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from connectors.feeds.settings import secret_of
from connectors.importers.report import printable
from schemas.base import NS_PER_S
from schemas.errors import FeedError

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
"""What a request may raise that passes by itself."""
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_REQUEST = aiohttp.ClientTimeout(total=30.0, sock_connect=10.0)
MAX_ANSWER_BYTES = 8_000_000
REFUSED_S = 300.0
"""Before a service that refused us is asked again: until somebody has mended a key, an answer does not change."""
_LONGEST_WAIT_S = 86_400.0
_HIDDEN = "(hidden)"
_NO_ADDRESS = "its url is no address: write https://HOST/PATH"


class Service:
    """A service that is asked by HTTP: how its failures read, with its secret taken out of whatever it says."""

    def __init__(self, feed: str, url: str, secret: str = "") -> None:
        """`url` may hold a secret of its own, in its query or before its host: neither is shown."""
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            raise FeedError(f"feed {feed}: {_NO_ADDRESS}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeedError(f"feed {feed}: {_NO_ADDRESS}")
        self._what = f"feed {feed}: {parts.scheme}://{parts.hostname}{port}{parts.path}"
        self._secrets = [each for each in (secret, parts.query, parts.username, parts.password) if each]

    def error(self, reason: str, retry_after_s: float = 0.0) -> FeedError:
        """Give the error that says what went wrong here."""
        return FeedError(f"{self._what}: {self.hidden(reason)}", retry_after_s)

    @asynccontextmanager
    async def session(
        self, headers: Mapping[str, str], retry_after_s: Callable[[], float] = lambda: 0.0
    ) -> AsyncIterator[aiohttp.ClientSession]:
        """Give a session whose requests send `headers`. Raises FeedError where a connection fails.

        `retry_after_s` is asked then, and only then, how long the service is to be left alone.
        """
        try:
            async with aiohttp.ClientSession(headers=headers, timeout=_REQUEST) as session:
                yield session
        except _FAILURES as failure:
            raise self.error(f"the connection failed: {_reason(failure)}", retry_after_s()) from None

    def hidden(self, text: str) -> str:
        """Take the secrets out of what a service said, and make it printable."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return printable(text)


def _reason(failure: BaseException) -> str:
    """Say what failed. The failure's own words are not shown: they may hold an address with its secrets."""
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(getattr(failure, "strerror", None) or type(failure).__name__)


def header_secret(variable: str) -> str:
    """Give a secret that is sent in a header. Raises FeedError, which does not show it."""
    secret = secret_of(variable).strip()
    if not secret.isascii() or not secret.isprintable():
        raise FeedError(f"the environment variable {variable} holds what no header may; is it cut or quoted?")
    return secret


async def answer(response: aiohttp.ClientResponse, limit: int = MAX_ANSWER_BYTES) -> bytes | None:
    """Read an answer whole, unpacked; None where it is longer than `limit`."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            return None
    return b"".join(parts)


def asked_wait_s(headers: Mapping[str, str], now_ns: int) -> float:
    """Give how long a service asks to be left alone, in s: by Retry-After or x-rate-limit-reset, else 0.

    `headers` are an answer's, which go by any case.
    """
    after, reset = headers.get("Retry-After", "").strip(), headers.get("x-rate-limit-reset", "").strip()
    if after.isascii() and after.isdigit():
        wait_s = float(after)
    elif after:
        wait_s = _until(after, now_ns)
    elif reset.isascii() and reset.isdigit():
        wait_s = int(reset) - now_ns / NS_PER_S
    else:
        wait_s = 0.0
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)


def _until(date: str, now_ns: int) -> float:
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_ns / NS_PER_S


def decoded(decode: Callable[[bytes], Any], data: bytes) -> Any:  # noqa: ANN401 - what the decoder gives
    """Decode JSON; None for what is none, or of another shape."""
    try:
        return decode(data)
    except NO_JSON:
        return None
