"""Events to bytes and back: canonical JSON, one event, one encoding, for ever.

Fields stand in the order of their declaration, defaults are left off, decimals are strings, maps are sorted
by key. Reading is strict: what does not fit is refused with the event, the field and the reason, and older
versions are lifted by upcasters before they are read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from schemas.base import Event
from schemas.checks import check, check_read
from schemas.errors import RefusedError
from schemas.fields import PLAIN_DECIMAL
from schemas.topics import EVENT_TYPES
from schemas.values import record_test, unbounded

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(type, version) to the function that lifts such a record to the next version, from the record alone."""

MAX_RECORD_BYTES = 1_000_000
"""Kafka's default limit of a message; a longer record is refused unread."""

_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
encode: Callable[[msgspec.Struct], bytes] = _encoder.encode
"""The canonical bytes of an event or a record."""
encode_lines: Callable[[Sequence[msgspec.Struct]], bytes] = _encoder.encode_lines
"""The same of many, each with a line break behind it; a third cheaper than one by one."""

_ESCAPE, _DELETE = b"\\\x7f"
"""All that canonical JSON in ASCII may hold besides printable characters. Numbers are found sooner than bytes."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PATH = re.compile(r" - at `\$\.?(?P<field>.*)`$", re.DOTALL)
_NAMED = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<field>.*)`$", re.DOTALL)
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*+)"(\s*:)?', re.DOTALL)
_PLAIN_DECIMAL = re.compile(PLAIN_DECIMAL)


class _Head(msgspec.Struct, frozen=True):
    """What says how to read the rest, of whatever type it is."""

    type: object = ""
    id: object = ""
    v: object = 1


_head_decoder = msgspec.json.Decoder(_Head)


class Catalogue:
    """The types of events that a reader knows, each at its present version, and what lifts older records.

    A type at version 2 declares `v: PositiveInt = msgspec.field(default_factory=lambda: 2)`: a plain default
    would be left off the wire, where it means version 1.
    """

    def __init__(self, types: tuple[type[Event], ...], upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        self._types = {kind.__name__: kind for kind in types}
        self._versions = {kind: version_of(kind) for kind in types}
        self._upcasters = upcasters
        union: Any = reduce(or_, types)
        self._decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(union)

    def decode(self, payload: bytes) -> Event:
        """Read one event and check its values.

        Raises RefusedError, which names event, field and reason, for all that is not a whole, known, sane
        event, or that reading would alter.
        """
        if len(payload) > MAX_RECORD_BYTES:
            raise RefusedError("record", "", f"is longer than {MAX_RECORD_BYTES:,} bytes")
        try:
            event = self._decoder.decode(payload)
        except _UNREADABLE:
            return self._read(payload)
        if event.v != self._versions[type(event)] or encode(event) != payload:
            return self._read(payload)
        check_read(event, printable=payload.isascii() and _ESCAPE not in payload and _DELETE not in payload)
        return event

    def decode_own(self, payload: bytes) -> Event:
        """Read one event that `encode` wrote after it was checked; only what msgspec holds to is checked again."""
        return self._decoder.decode(payload)

    def _read(self, payload: bytes) -> Event:
        """Read what is not canonical: another program's writing, an older version, or no event at all."""
        kind, version, event_id = self._head(payload)
        current = self._versions[self._types[kind]]
        present = payload
        try:
            if version == current:
                event = self._decoder.decode(payload)
                record = _parsed(payload)
            else:
                record = self._lifted(_parsed(payload), kind, version, event_id)
                present = msgspec.json.encode(record)
                event = self._decoder.decode(present)
        except _UNREADABLE as error:
            raise _broken_bound(self._types[kind], present, event_id) or _refusal(kind, event_id, error) from None
        check(event)
        alteration = _alteration(record, msgspec.json.decode(encode(event)))
        if alteration is not None:
            raise RefusedError(kind, *alteration, event_id)
        return event

    def _head(self, payload: bytes) -> tuple[str, int, str]:
        try:
            head = _head_decoder.decode(payload)
        except _UNREADABLE as error:
            raise _refusal("record", "", error) from None
        event_id = head.id if isinstance(head.id, str) else ""
        if not isinstance(head.type, str) or head.type not in self._types:
            raise RefusedError("record", "type", f"{head.type!r} is not a type of event", event_id)
        current = self._versions[self._types[head.type]]
        if type(head.v) is not int or not 1 <= head.v <= current:
            raise RefusedError(head.type, "v", f"version {head.v!r} is not known (1 to {current} are)", event_id)
        return head.type, head.v, event_id

    def _lifted(self, record: dict[str, Any], kind: str, version: int, event_id: str) -> dict[str, Any]:
        for v in range(version, self._versions[self._types[kind]]):
            upcaster = self._upcasters.get((kind, v))
            if upcaster is None:
                raise RefusedError(kind, "v", f"no upcaster from version {v} to {v + 1}", event_id)
            try:
                record = {**upcaster(record), "v": v + 1}
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                reason = f"not a record of version {v}: its upcaster raised {type(error).__name__}: {error}"
                raise RefusedError(kind, "v", reason, event_id) from error
        return record


def version_of(kind: type[Event]) -> int:
    """The version that a type declares as the default of its `v`."""
    field = next(field for field in msgspec.structs.fields(kind) if field.name == "v")
    version = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return int(version)


def _parsed(payload: bytes) -> dict[str, Any]:
    """The record as maps and lists.

    Raises ValidationError if a name stands twice in a map, for readers differ on which one counts.
    """
    record: dict[str, Any] = msgspec.json.decode(payload)
    names = [match[1] for match in _STRING.finditer(payload) if match[2]]
    held = Counter(_names(record))
    if len(names) != held.total():
        written = Counter(msgspec.json.decode(b'"%b"' % name, type=str) for name in names)
        raise msgspec.ValidationError(f"stands twice - at `$.{next(iter(written - held))}`")
    return record


def _names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _names(item)


def _alteration(given: Any, read: object, path: str = "") -> tuple[str, str] | None:  # noqa: ANN401
    """Where reading changed a text, and how to write it. A decimal may be written as `1E-7` or in full."""
    if isinstance(read, str):
        if given == read or (isinstance(given, str) and _PLAIN_DECIMAL.fullmatch(given)):
            return None
        return path, f"{given!r} must be written as {read!r}"
    parts = read.items() if isinstance(read, dict) else enumerate(read) if isinstance(read, list) else ()
    for name, part in parts:
        inner = f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".removeprefix(".")
        alteration = _alteration(given[name], part, inner)
        if alteration is not None:
            return alteration
    return None


def _broken_bound(kind: type[Event], payload: bytes, event_id: str) -> RefusedError | None:
    """Say which bound an unreadable record breaks, if that is all that is wrong with it."""
    lax = unbounded(kind)
    try:
        fault = record_test(lax)(msgspec.json.decode(payload, type=lax))
    except _UNREADABLE:
        return None
    return fault and RefusedError(kind.__name__, fault.path, fault.reason, event_id)


def _refusal(kind: str, event_id: str, error: Exception) -> RefusedError:
    """msgspec's message, taken apart into field and reason."""
    message = str(error)
    if isinstance(error, RecursionError):
        return RefusedError(kind, "", "is nested too deeply", event_id)
    if isinstance(error, UnicodeDecodeError):
        return RefusedError(kind, "", f"not UTF-8: {error.reason}", event_id)
    if not isinstance(error, msgspec.ValidationError):
        return RefusedError(kind, "", f"not JSON: {message}", event_id)
    found = _PATH.search(message)
    field, reason = (found["field"], message[: found.start()]) if found else ("", message)
    named = _NAMED.match(reason)
    if named:
        field = f"{field}.{named['field']}".removeprefix(".")
        reason = "is missing" if named["what"] == "missing required" else "is not a field of this event"
    return RefusedError(kind, field, reason, event_id)


CATALOGUE = Catalogue(EVENT_TYPES, UPCASTERS)
decode = CATALOGUE.decode
decode_own = CATALOGUE.decode_own
