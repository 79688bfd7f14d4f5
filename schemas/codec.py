"""Events to bytes and back: canonical JSON, one event, one encoding, for ever.

Fields stand in the order of their declaration, defaults are left off, decimals are strings, maps are sorted
by key. Reading is strict: what does not fit is refused with the event, the field and the reason, and older
versions are lifted by upcasters before they are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas.base import Event
from schemas.checks import check
from schemas.errors import RefusedError
from schemas.topics import EVENT_TYPES

CURRENT_VERSION: dict[str, int] = {cls.__name__: 1 for cls in EVENT_TYPES}
"""The version of each type that this code writes."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(type, version) to the function that lifts such a record to the next version, from the record alone."""

MAX_RECORD_BYTES = 1_000_000
"""Kafka's default limit of a message; a longer record is refused unread."""

_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
encode: Callable[[msgspec.Struct], bytes] = _encoder.encode
"""The canonical bytes of an event or a record."""

_union: Any = None
for _cls in EVENT_TYPES:
    _union = _cls if _union is None else _union | _cls
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(_union)
_PATH = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")


class _Head(msgspec.Struct, frozen=True):
    type: str = ""
    id: str = ""
    v: int = 1


_head_decoder = msgspec.json.Decoder(_Head)


def decode(
    payload: bytes,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    current: Mapping[str, int] = CURRENT_VERSION,
) -> Event:
    """Read one event and check its values.

    Raises RefusedError, which names event, field and reason, for all that is not a whole, known, sane event.
    """
    if len(payload) > MAX_RECORD_BYTES:
        raise RefusedError("record", "", f"{len(payload):,} bytes is over the limit of {MAX_RECORD_BYTES:,}")
    head = _read_head(payload)
    if head.type not in current:
        raise RefusedError(head.type or "record", "type", f"unknown event type {head.type!r}")
    version = current[head.type]
    if not 1 <= head.v <= version:
        raise RefusedError(head.type, "v", f"version {head.v} is not known (1 to {version} are)", head.id)
    try:
        if head.v == version:
            event = _decoder.decode(payload)
        else:
            event = msgspec.convert(_lifted(payload, head, version, upcasters), _union)
    except msgspec.ValidationError as error:
        raise _refusal(head, str(error)) from None
    check(event)
    return event


def _read_head(payload: bytes) -> _Head:
    try:
        return _head_decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise _refusal(_Head(), str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError("record", "", f"not JSON: {error}") from None


def _lifted(
    payload: bytes, head: _Head, version: int, upcasters: Mapping[tuple[str, int], Upcaster]
) -> dict[str, Any]:
    record: dict[str, Any] = msgspec.json.decode(payload)
    for v in range(head.v, version):
        upcaster = upcasters.get((head.type, v))
        if upcaster is None:
            raise RefusedError(head.type, "v", f"no upcaster from version {v} to {v + 1}", head.id)
        record = upcaster(record)
        record["v"] = v + 1
    return record


def _refusal(head: _Head, message: str) -> RefusedError:
    """msgspec's message, taken apart into field and reason."""
    found = _PATH.search(message)
    field = found["field"] if found else ""
    return RefusedError(head.type or "record", field, _PATH.sub("", message), head.id)
