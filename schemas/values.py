"""Whether a value fits its field: its type, its bounds, and so on down into lists and parts.

The tests are built from the types of the fields, once a record, so a field can't be forgotten. What msgspec has read
needs no test of what it holds to itself; `unbounded` reads what it refuses, so that a test can say why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, inspect

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
    return _fields_test(_fields(kind))


def read_tests(kind: type[Record], *, printable: bool) -> Iterator[Test]:
    """Build the test, if there is one to make, of what may be wrong with a record that msgspec has read.

    Types and most bounds are right then. So are the characters where the whole record is known to be `printable`.
    """
    left = [field for field in _fields(kind) if _is_open(field.type, printable=printable)]
    if left:
        yield _fields_test(left)


@cache
def unbounded(kind: type[Record]) -> type[Record]:
    """Give the record as msgspec reads it without a look at its bounds, for its test to say which of them is broken."""
    info = cast("inspect.StructType", inspect.type_info(kind))
    hints = get_type_hints(kind, include_extras=True)
    fields = [(field.name, _unbounded(hints[field.name]), _default(field)) for field in info.fields]
    lax = msgspec.defstruct(
        kind.__name__, fields, bases=(Record,), tag_field=info.tag_field, tag=info.tag, frozen=True, kw_only=True
    )
    return cast("type[Record]", lax)


def _default(field: inspect.Field) -> Any:  # noqa: ANN401 # a value of the field, or what makes one
    if field.default_factory is msgspec.NODEFAULT:
        return field.default
    return msgspec.field(default_factory=field.default_factory)


def _unbounded(hint: Any) -> Any:  # noqa: ANN401 # a type, whatever that is made of
    if isinstance(hint, type) and issubclass(hint, Record):
        return unbounded(hint)
    kind, parts = get_origin(hint), get_args(hint)
    if kind is None or kind is Literal:
        return hint
    if kind is Annotated:
        return Annotated[_unbounded(parts[0]), *(Meta(extra=meta.extra) for meta in parts[1:])]
    bare = tuple(map(_unbounded, parts))
    return kind[bare] if kind in (tuple, dict) else reduce(or_, bare)


def _fields(kind: type[Record]) -> tuple[inspect.Field, ...]:
    return cast("inspect.StructType", inspect.type_info(kind)).fields


def _fields_test(fields: Iterable[inspect.Field]) -> Test:
    tests = tuple((field.name, field.default, _test_of(field.type)) for field in fields)

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


def _is_open(kind: inspect.Type, *, printable: bool) -> bool:
    """Tell whether a value that msgspec took for this kind may be wrong all the same."""
    if isinstance(kind, inspect.Metadata):
        bounds = (kind.extra or {}).get("range")
        untold = bounds is not None and (bounds.or_zero or getattr(kind.type, "ge", None) is None)
        return untold or _is_open(kind.type, printable=printable)
    return _OPEN[type(kind)](kind, printable)


def _any_open(kinds: Iterable[inspect.Type], printable: bool) -> bool:  # noqa: FBT001 # as the table has it
    return any(_is_open(kind, printable=printable) for kind in kinds)


def _test_of(kind: inspect.Type) -> Test:
    """Build the test of a field from what msgspec says of its type."""
    if isinstance(kind, inspect.Metadata):
        return _BUILDERS[type(kind.type)](kind.type, kind.extra or {})
    return _BUILDERS[type(kind)](kind, {})


def _number_test(exact: type[float], any_number: Range, bounds: Range) -> Test:
    low, high, or_zero = bounds.low, bounds.high, bounds.or_zero

    def test(value: float) -> Fault | None:
        if type(value) is not exact:
            return _wrong(value, f"a number of type {exact.__name__}")
        if low <= value <= high or (or_zero and value == 0):
            return None
        known = any_number.low <= value <= any_number.high
        return Fault("", f"{_shown(value)} {bounds.refusal if known else any_number.refusal}")

    return test


def _decimal_test(bounds: Range) -> Test:
    low, high = Decimal(repr(bounds.low)), Decimal(repr(bounds.high))

    def test(value: Decimal) -> Fault | None:
        if type(value) is not Decimal:
            return _wrong(value, "a decimal")
        if not value.is_finite():
            return Fault("", f"{value} is not a finite number")
        written = str(value)
        if len(written) > MAX_DECIMAL_PLACES or "E" in written:  # few are: to take a decimal apart is dear
            fault = _digits_fault(value)
            if fault is not None:
                return fault
        return None if low <= value <= high else Fault("", f"{value} {bounds.refusal}")

    return test


def _digits_fault(value: Decimal) -> Fault | None:
    _, digits, exponent = value.as_tuple()
    places = -int(exponent)
    if places < 0:
        return Fault("", f"{_shown(value)} must be written out, without an exponent")
    if len(digits) > MAX_DECIMAL_DIGITS or places > MAX_DECIMAL_PLACES:
        return Fault("", f"{_shown(value)} has more than {MAX_DECIMAL_DIGITS} digits")
    return None


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

_OPEN: dict[type[inspect.Type], Callable[[Any, bool], bool]] = {
    inspect.FloatType: lambda _, __: False,
    inspect.IntType: lambda kind, _: kind.le is None,
    inspect.DecimalType: lambda _, __: True,
    inspect.StrType: lambda kind, printable: not printable or kind.max_length is None,
    inspect.BoolType: lambda _, __: False,
    inspect.BytesType: lambda kind, _: kind.max_length is None,
    inspect.LiteralType: lambda _, __: False,
    inspect.NoneType: lambda _, __: False,
    inspect.StructType: lambda kind, printable: _any_open((field.type for field in kind.fields), printable),
    inspect.UnionType: lambda kind, printable: _any_open(kind.types, printable),
    inspect.VarTupleType: lambda kind, printable: kind.max_length is None or _any_open((kind.item_type,), printable),
    inspect.DictType: lambda kind, printable: (
        kind.max_length is None or _any_open((kind.key_type, kind.value_type), printable)
    ),
}
"""What msgspec leaves open of each kind of field; a float in JSON is finite, and nobody tells it of decimals."""
