"""Whether a value fits its field: its type, its bounds, and so on down into lists and parts.

The tests are built from the types of the fields, once a record, so a field can't be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from math import nextafter
from typing import Any, NamedTuple, cast

from msgspec import inspect

from schemas.base import Record
from schemas.fields import (
    ANY_DECIMAL,
    ANY_FLOAT,
    ANY_INT,
    ANY_NAME,
    MAX_BLOB_BYTES,
    MAX_DECIMAL_DIGITS,
    MAX_DECIMAL_PLACES,
    MAX_ITEMS,
    UNPRINTABLE_IN_NAME,
    UNPRINTABLE_IN_TEXT,
    Length,
    Range,
)

SHOWN_CHARS = 60
"""How much of a value a reason quotes."""


class Fault(NamedTuple):
    """What is wrong with a value: where inside it (empty for the value itself), and why."""

    path: str
    reason: str


Test = Callable[[Any], Fault | None]


@cache
def record_test(kind: type[Record]) -> Test:
    """Build the test of all fields of a record."""
    info = cast("inspect.StructType", inspect.type_info(kind))
    tests = tuple((field.name, field.default, _test_of(field.type)) for field in info.fields)

    def test(record: Record) -> Fault | None:
        for name, default, field_test in tests:
            value = getattr(record, name)
            if value is default:  # most fields of most events are; a default is never at fault
                continue
            fault = field_test(value)
            if fault is not None:
                return Fault(f"{name}{fault.path}", fault.reason)
        return None

    return test


def _test_of(kind: inspect.Type) -> Test:
    """Build the test of a field from what msgspec says of its type."""
    if isinstance(kind, inspect.Metadata):
        return _BUILDERS[type(kind.type)](kind.type, kind.extra or {})
    return _BUILDERS[type(kind)](kind, {})


def _number_test(exact: type[float], any_number: Range, bounds: Range) -> Test:
    low = nextafter(bounds.low, bounds.high) if bounds.above else bounds.low
    high, or_zero = bounds.high, bounds.or_zero

    def test(value: float) -> Fault | None:
        if type(value) is not exact:
            return _wrong(value, f"a number of type {exact.__name__}")
        if low <= value <= high or (or_zero and value == 0):
            return None
        known = any_number.low <= value <= any_number.high
        return Fault("", f"{_shown(value)} {bounds.refusal if known else any_number.refusal}")

    return test


def _decimal_test(bounds: Range) -> Test:
    def test(value: Decimal) -> Fault | None:
        if type(value) is not Decimal:
            return _wrong(value, "a decimal")
        if not value.is_finite():
            return Fault("", f"{value} is not a finite number")
        _, digits, exponent = value.as_tuple()
        places = -int(exponent)
        if places < 0:
            return Fault("", f"{_shown(value)} must be written out, without an exponent")
        if len(digits) > MAX_DECIMAL_DIGITS or places > MAX_DECIMAL_PLACES:
            return Fault("", f"{_shown(value)} has more than {MAX_DECIMAL_DIGITS} digits")
        if not bounds.low <= value <= bounds.high or (bounds.above and value == bounds.low):
            return Fault("", f"{value} {bounds.refusal}")
        return None

    return test


def _text_test(bounds: Length) -> Test:
    low, high = bounds.low, bounds.high
    unprintable = re.compile(UNPRINTABLE_IN_TEXT if bounds.lines else UNPRINTABLE_IN_NAME)

    def test(value: str) -> Fault | None:
        if type(value) is not str:
            return _wrong(value, "a text")
        if not low <= len(value) <= high:
            reason = f"{len(value):,} characters is over the limit of {high:,}" if value else "is empty"
            return Fault("", reason)
        if value.isascii() and value.isprintable():
            return None
        found = unprintable.search(value)
        if found is not None:
            return Fault("", f"holds U+{ord(found[0]):04X} at {found.start()}, which no such text may hold")
        return None

    return test


def _bool_fault(value: object) -> Fault | None:
    return None if type(value) is bool else _wrong(value, "true or false")


def _bytes_fault(value: object) -> Fault | None:
    if type(value) is not bytes:
        return _wrong(value, "bytes")
    if len(value) > MAX_BLOB_BYTES:
        return Fault("", f"{len(value):,} bytes is over the limit of {MAX_BLOB_BYTES:,}")
    return None


def _word_test(words: tuple[str, ...]) -> Test:
    def test(value: str) -> Fault | None:
        return None if value in words else _wrong(value, f"one of {', '.join(words)}")

    return test


def _list_test(test_item: Test) -> Test:
    def test(value: tuple[object, ...]) -> Fault | None:
        if type(value) is not tuple:
            return _wrong(value, "a tuple")
        if len(value) > MAX_ITEMS:
            return Fault("", f"{len(value):,} items is over the limit of {MAX_ITEMS}")
        for index, item in enumerate(value):
            fault = test_item(item)
            if fault is not None:
                return Fault(f"[{index}]{fault.path}", fault.reason)
        return None

    return test


def _map_test(test_name: Test, test_item: Test) -> Test:
    def test(value: dict[str, object]) -> Fault | None:
        if type(value) is not dict:
            return _wrong(value, "a map")
        if len(value) > MAX_ITEMS:
            return Fault("", f"{len(value):,} items is over the limit of {MAX_ITEMS}")
        for name, item in value.items():
            fault = test_name(name) or test_item(item)
            if fault is not None:
                return Fault(f".{name}{fault.path}", fault.reason)
        return None

    return test


def _part_test(kinds: tuple[type, ...]) -> Test:
    tests = {kind: record_test(kind) for kind in kinds}

    def test(value: Record) -> Fault | None:
        test_part = tests.get(type(value))
        if test_part is None:
            return _wrong(value, f"one of {', '.join(kind.__name__ for kind in kinds)}")
        fault = test_part(value)
        return Fault(f".{fault.path}", fault.reason) if fault else None

    return test


def _union_test(kinds: tuple[Any, ...]) -> Test:
    """Build the test of a value that may be absent, or that is one of several kinds of parts."""
    present = [kind for kind in kinds if type(kind) is not inspect.NoneType]
    if len(present) > 1:
        return _part_test(tuple(kind.cls for kind in present))
    test_present = _test_of(present[0])
    return lambda value: None if value is None else test_present(value)


def _wrong(value: object, wanted: str) -> Fault:
    return Fault("", f"{_shown(value)} is not {wanted}")


def _shown(value: object) -> str:
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= SHOWN_CHARS else f"{shown[: SHOWN_CHARS - 1]}…"


_BUILDERS: dict[type[inspect.Type], Callable[[Any, dict[str, Any]], Test]] = {
    inspect.FloatType: lambda _, extra: _number_test(float, ANY_FLOAT, extra.get("range", ANY_FLOAT)),
    inspect.IntType: lambda _, extra: _number_test(int, ANY_INT, extra.get("range", ANY_INT)),
    inspect.DecimalType: lambda _, extra: _decimal_test(extra.get("range", ANY_DECIMAL)),
    inspect.StrType: lambda _, extra: _text_test(extra.get("length", ANY_NAME)),
    inspect.BoolType: lambda _, __: _bool_fault,
    inspect.BytesType: lambda _, __: _bytes_fault,
    inspect.LiteralType: lambda kind, _: _word_test(kind.values),
    inspect.StructType: lambda kind, _: _part_test((kind.cls,)),
    inspect.UnionType: lambda kind, _: _union_test(kind.types),
    inspect.VarTupleType: lambda kind, _: _list_test(_test_of(kind.item_type)),
    inspect.DictType: lambda kind, _: _map_test(_test_of(kind.key_type), _test_of(kind.value_type)),
}
"""What makes the test of each kind of field; an event with a field of another kind is a mistake in the catalogue."""
