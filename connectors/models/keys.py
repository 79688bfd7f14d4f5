"""Where a model is called, and with which key: secrets come from the environment alone, and go to one place alone.

A provider's usual variable is read for the provider's own address. An address of a book's own gets the key that the
book names for it, or none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from schemas.book import ModelSettings
from schemas.errors import BookError

NO_KEY = "none"
"""Sent to an address that needs no key: the SDKs insist on one."""
_OWN = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
}


class Address(NamedTuple):
    """An address and its key."""

    url: str
    key: str
    is_own: bool
    """It is the provider's."""

    @property
    def secret(self) -> str:
        """What may be shown nowhere; empty where there is no key."""
        return "" if self.key == NO_KEY else self.key


def address_of(settings: ModelSettings, environment: Mapping[str, str] = os.environ) -> Address:
    """Give the address of a model and the key for it. Raises BookError, which shows neither key nor password."""
    own, usual = _OWN[settings.kind]
    url = checked_address(settings.endpoint) or own
    variable = settings.api_key_env or ("" if settings.endpoint else usual)
    if not variable:
        return Address(url, NO_KEY, is_own=False)
    key = environment.get(variable, "").strip()
    if not key:
        raise BookError(f"the key of {settings.kind} is missing: set the environment variable {variable}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BookError(f"the environment variable {variable} holds what no key may; is it cut or quoted?")
    return Address(url, key, is_own=not settings.endpoint)


def checked_address(endpoint: str) -> str:
    """Give an endpoint as it is, empty or an address. Raises BookError for one that is none, or holds a secret."""
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise BookError("the endpoint is no address: write https://HOST/PATH")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BookError("the endpoint may hold no user, password or query: name the key's variable by api_key_env")
    return endpoint
