"""Texts from outside as an event may hold them: printable, within the bounds of its fields, with an id for ever.

Imports and feeds go by the same rules, so the same text has the same id whichever way it came.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from hashlib import blake2b

from schemas.fields import (
    MAX_NAME_CHARS,
    MAX_NOTE_CHARS,
    MAX_TEXT_CHARS,
    UNPRINTABLE_IN_NAME,
    UNPRINTABLE_IN_TEXT,
)

LIMITS: dict[str, int] = {
    **dict.fromkeys(("id", "key", "author", "source"), MAX_NAME_CHARS),
    **dict.fromkeys(("title", "url"), MAX_NOTE_CHARS),
    "text": MAX_TEXT_CHARS,
}
"""Field to the characters that it holds at most."""
_NAMES = ("id", "key", "author", "source")
_IN_NAME, _IN_TEXT = re.compile(UNPRINTABLE_IN_NAME), re.compile(UNPRINTABLE_IN_TEXT)


def printable_part(field: str, value: str) -> str:
    """Take out of a field's value the characters that it may not hold."""
    return (_IN_NAME if field in _NAMES else _IN_TEXT).sub("", value)


def tidied(field: str, value: str) -> str:
    """Take out what the field may not hold, and cut what is too long."""
    return printable_part(field, value)[: LIMITS[field]]


def text_hash(text: str) -> str:
    """The id of a text whose source gives it none: 128 bits of BLAKE2b over its address, or over what it says."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def said_hash(who: str, at_ns: int | None, said: str) -> str:
    """The id of a text without an address: a hash of author or source, time and what it says."""
    return text_hash(f"{who}|{at_ns}|{said}")


def keyed_id(id_: str, key: str | None, first_key: MutableMapping[str, str | None]) -> str:
    """Tell apart the copies of a text that concerns several keys: the first key's copy has the bare id.

    `first_key` remembers which key an id came with first.
    """
    return id_ if first_key.setdefault(id_, key) == key else f"{id_}/{key}"


def address_id(url: str) -> str:
    """The id of an article: the hash of its address."""
    return text_hash(tidied("id", url))
