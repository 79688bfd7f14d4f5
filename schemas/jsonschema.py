"""The published contract, made from the catalogue: a JSON Schema for every event, and the reference page.

Only text and data are made here; `docs` gives the docstrings that stand in the sources, by name: a module
(`market`), a record (`BarClosed`) or a field (`BarClosed.open`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import inspect

from schemas.base import Event, Record
from schemas.checks import MAX_CLOCK_SKEW_NS
from schemas.codec import MAX_RECORD_BYTES, version_of
from schemas.fields import (
    ANY_DECIMAL,
    ANY_FLOAT,
    ANY_INT,
    ANY_NAME,
    MAX_AMOUNT,
    MAX_BLOB_BYTES,
    MAX_FLOAT,
    MAX_ITEMS,
    MAX_PRICE,
    MAX_SIZE,
    MIN_PRICE,
    MIN_SIZE,
    Length,
    Range,
)
from schemas.topics import EVENT_TYPES, TOPICS, Topic

Docs = Mapping[str, str]
Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FRACTION = r"[.][0-9]{1,40}"
_NEGATIVE_POWER = r"(E-[1-9][0-9]?)?"
_UNITS = {
    "_at": "ns since 1970-01-01, UTC",
    "until": "ns since 1970-01-01, UTC",
    "_ns": "ns",
    "_ms": "ms",
    "_pct": "%",
    "_usd": "USD",
}
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


class Kind(NamedTuple):
    """A kind of value: its JSON Schema, how the reference page names it, and the parts that it is made of."""

    schema: Schema
    words: str
    parts: tuple[type[Record], ...] = ()


def schema_of(event: type[Event], docs: Docs) -> Schema:
    """The JSON Schema (draft 2020-12) of one event type."""
    version = version_of(event)
    schema = {
        "$schema": _DIALECT,
        "$id": f"urn:quorum:event:{event.__name__}:{version}",
        "title": event.__name__,
        **_object(event, docs),
    }
    about = _description(event, "v", docs)
    if version == 1:
        schema["properties"]["v"] = {"const": 1, "default": 1, **about}
    else:
        schema["properties"]["v"] = {"const": version, **about}
        schema["required"].append("v")
    parts = _parts(event)
    if parts:
        schema["$defs"] = {part.__name__: _object(part, docs) for part in parts}
    return schema


def _parts(event: type[Event]) -> tuple[type[Record], ...]:
    return tuple(part for field in _fields(event) for part in _kind(field.type).parts)


def _object(record: type[Record], docs: Docs) -> Schema:
    tag = cast("inspect.StructType", inspect.type_info(record))
    properties: Schema = {tag.tag_field: {"const": tag.tag}} if tag.tag_field else {}
    required = [tag.tag_field] if tag.tag_field else []
    for field in _fields(record):
        properties[field.name] = {
            **_kind(field.type).schema,
            **_default(field),
            **_description(record, field.name, docs),
        }
        if field.required:
            required.append(field.name)
    return {
        "description": docs[record.__name__],
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _fields(record: type[Record]) -> tuple[inspect.Field, ...]:
    return cast("inspect.StructType", inspect.type_info(record)).fields


def _default(field: inspect.Field) -> Schema:
    if field.required or field.default is msgspec.NODEFAULT:
        return {}
    return {"default": msgspec.to_builtins(field.default)}


def _description(record: type[Record], field: str, docs: Docs) -> Schema:
    unit = _unit(field)
    about = [_doc(record, field, docs), f"Unit: {unit}." if unit else ""]
    return {"description": " ".join(filter(None, about))} if any(about) else {}


def _doc(record: type[Record], field: str, docs: Docs) -> str:
    names = (f"{owner.__name__}.{field}" for owner in record.__mro__)
    return next((docs[name] for name in names if name in docs), "")


def _unit(field: str) -> str:
    """The unit that a field's name ends in; `until` alone is a time without one."""
    return next((unit for end, unit in _UNITS.items() if field.endswith(end)), "")


def _kind(kind: inspect.Type) -> Kind:
    if isinstance(kind, inspect.Metadata):
        return _BUILDERS[type(kind.type)](kind.type, kind.extra or {})
    return _BUILDERS[type(kind)](kind, {})


def _float_kind(bounds: Range) -> Kind:
    return Kind({"type": "number", **_limits(bounds)}, f"number {bounds.allows}".strip())


def _int_kind(bounds: Range) -> Kind:
    schema = {"type": "integer", **_limits(bounds)}
    if bounds.or_zero:
        schema = {"type": "integer", "anyOf": [{"const": 0}, _limits(bounds)]}
    return Kind(schema, f"integer, {bounds.allows}{', or 0' if bounds.or_zero else ''}")


def _limits(bounds: Range) -> Schema:
    limits: Schema = {}
    if bounds.low != -MAX_FLOAT:
        limits["minimum"] = bounds.low
    if bounds.high != MAX_FLOAT:
        limits["maximum"] = bounds.high
    return limits


def _decimal_kind(bounds: Range) -> Kind:
    sign = "-?" if bounds.low < 0 else ""
    pattern = _zero_or_more(bounds.high) if bounds.low <= 0 else _not_below(bounds.low, bounds.high)
    schema = {"type": "string", "format": "decimal", "pattern": f"^{sign}({pattern})$", "$comment": bounds.allows}
    return Kind(schema, f"decimal {bounds.allows}")


def _zero_or_more(high: float) -> str:
    """Match a decimal from 0 to a power of ten."""
    most = _exponent(high)
    return rf"(0|[1-9][0-9]{{0,{most - 1}}})({_FRACTION})?{_NEGATIVE_POWER}|{_just(most)}"


def _not_below(low: float, high: float) -> str:
    """Match a decimal from a negative power of ten to a positive one."""
    least, most = -_exponent(low), _exponent(high)
    powers = "|".join(map(str, range(1, least + 1)))
    small = rf"0[.]0{{0,{least - 1}}}[1-9][0-9]{{0,39}}|[1-9]({_FRACTION})?E-({powers})"
    return rf"[1-9][0-9]{{0,{most - 1}}}({_FRACTION})?|{_just(most)}|{small}"


def _just(exponent: int) -> str:
    return rf"10{{{exponent}}}([.]0{{1,40}})?"


def _power(bound: float) -> str:
    return f"1e{_exponent(bound)}"


def _exponent(power: float) -> int:
    """Give the exponent of a power of ten."""
    return Decimal(repr(power)).adjusted()


def _text_kind(bounds: Length) -> Kind:
    schema: Schema = {"type": "string", "maxLength": bounds.high}
    if bounds.low:
        schema["minLength"] = bounds.low
    schema["pattern"] = _LINES if bounds.lines else _ONE_LINE
    name = "text" if bounds.lines else "name"
    return Kind(schema, f"{name}, {bounds.low or 'up'} to {bounds.high:,} characters")


def _word_kind(words: tuple[str, ...]) -> Kind:
    return Kind({"enum": list(words)}, " or ".join(f"`{word}`" for word in words))


def _bytes_kind() -> Kind:
    schema = {"type": "string", "contentEncoding": "base64", "maxLength": -(-MAX_BLOB_BYTES // 3) * 4}
    return Kind(schema, f"base64, up to {MAX_BLOB_BYTES:,} bytes")


def _list_kind(item: Kind) -> Kind:
    schema = {"type": "array", "items": item.schema, "maxItems": MAX_ITEMS}
    return Kind(schema, f"list of {item.words}; up to {MAX_ITEMS}", item.parts)


def _map_kind(name: Kind, item: Kind) -> Kind:
    schema = {
        "type": "object",
        "propertyNames": name.schema,
        "additionalProperties": item.schema,
        "maxProperties": MAX_ITEMS,
    }
    return Kind(schema, f"map of names to {item.words}; up to {MAX_ITEMS}")


def _part_kind(parts: tuple[type[Record], ...]) -> Kind:
    references = [{"$ref": f"#/$defs/{part.__name__}"} for part in parts]
    schema = references[0] if len(parts) == 1 else {"oneOf": references}
    return Kind(schema, " or ".join(f"[{part.__name__}](#{part.__name__.lower()})" for part in parts), parts)


def _union_kind(kinds: tuple[Any, ...]) -> Kind:
    present = [kind for kind in kinds if type(kind) is not inspect.NoneType]
    if len(present) > 1:
        return _part_kind(tuple(kind.cls for kind in present))
    schema, words, parts = _kind(present[0])
    return Kind({"anyOf": [schema, {"type": "null"}]}, f"{words}, or null", parts)


_BUILDERS: dict[type[inspect.Type], Callable[[Any, dict[str, Any]], Kind]] = {
    inspect.FloatType: lambda _, extra: _float_kind(extra.get("range", ANY_FLOAT)),
    inspect.IntType: lambda _, extra: _int_kind(extra.get("range", ANY_INT)),
    inspect.DecimalType: lambda _, extra: _decimal_kind(extra.get("range", ANY_DECIMAL)),
    inspect.StrType: lambda _, extra: _text_kind(extra.get("length", ANY_NAME)),
    inspect.BoolType: lambda _, __: Kind({"type": "boolean"}, "true or false"),
    inspect.BytesType: lambda _, __: _bytes_kind(),
    inspect.LiteralType: lambda kind, _: _word_kind(kind.values),
    inspect.StructType: lambda kind, _: _part_kind((kind.cls,)),
    inspect.UnionType: lambda kind, _: _union_kind(kind.types),
    inspect.VarTupleType: lambda kind, _: _list_kind(_kind(kind.item_type)),
    inspect.DictType: lambda kind, _: _map_kind(_kind(kind.key_type), _kind(kind.value_type)),
}


_INTRODUCTION = f"""\
# Topics and events

Made from the sources by `quorum schema export`; change it there.

An event is one JSON object of at most {MAX_RECORD_BYTES:,} bytes, in UTF-8. Its `type` names it, its `id` makes it
unique for ever, and its times are integers of nanoseconds since 1970, UTC. Decimals are strings (`"0.001"`), so that
money stays exact. A field at its default is left off; a field that the type does not have is refused, and so are NaN,
infinity, a name that stands twice, and an `observed_at` more than {MAX_CLOCK_SKEW_NS / 1e6:,.0f} ms before
`occurred_at`.

A price or size is in the instrument's quote or base unit; money is in the book's currency. A price lies between
{_power(MIN_PRICE)} and {_power(MAX_PRICE)} (one that was paid, or a stop, may lie beyond), a size between
{_power(MIN_SIZE)} and {_power(MAX_SIZE)}, and money is at most {_power(MAX_AMOUNT)}.
That is room for a token worth 1e-12 of a dollar and quoted in bitcoin, for a wei, an index at 1e7 and a share in rials;
what lies beyond would only overflow a ratio of prices or the cents of a sum, and is refused.

Each event has a JSON Schema under [schemas/](schemas/); [producing.md](producing.md) shows how to make events and check
them.

## Topics
"""


def reference_page(docs: Docs) -> str:
    """The reference page in Markdown: topics, envelope, every event and every part with its fields."""
    lines = [_INTRODUCTION, *_topic_table(), "", "## Envelope", "", docs["Event"], "", *_field_table(Event, docs)]
    for topic in TOPICS:
        modules = dict.fromkeys(event.__module__.rpartition(".")[2] for event in topic.events)
        lines += ["", f"## Topic `{topic.name}`", "", *(docs[module] for module in modules)]
        for event in topic.events:
            lines += ["", f"### {event.__name__}", "", docs[event.__name__]]
            lines += ["", f"[JSON Schema](schemas/{event.__name__}.json)", "", *_field_table(event, docs)]
    lines += ["", "## Parts", "", "Records that stand inside events."]
    parts = dict.fromkeys(part for event in EVENT_TYPES for part in _parts(event))
    for part in parts:
        lines += ["", f"### {part.__name__}", "", docs[part.__name__], "", *_field_table(part, docs)]
    return "\n".join(lines) + "\n"


def _topic_table() -> list[str]:
    rows = ["| topic | events | key | written by | read by | partitions | kept |", "|---|---|---|---|---|---|---|"]
    for topic in TOPICS:
        events = ", ".join(f"[{event.__name__}](#{event.__name__.lower()})" for event in topic.events)
        rows.append(
            f"| `{topic.name}` | {events} | {topic.key} | {topic.written_by} | {topic.read_by} "
            f"| {topic.partitions} | {_kept(topic)} |"
        )
    return rows


def _kept(topic: Topic) -> str:
    if topic.compacted:
        return "the latest of each key"
    return "for ever" if topic.retention_days < 0 else f"{topic.retention_days} days"


def _field_table(record: type[Record], docs: Docs) -> list[str]:
    """The rows of a record's own fields; an event's envelope is described once."""
    info = cast("inspect.StructType", inspect.type_info(record))
    envelope = record is not Event and issubclass(record, Event)
    shared = {field.name for field in _fields(Event)} if envelope else set()
    rows = []
    if info.tag_field and not envelope:
        named = "the event's name" if record is Event else f"`{info.tag}`"
        rows.append(f"| `{info.tag_field}` | {named} | | required | Names the kind of record. |")
    for field in info.fields:
        if field.name not in shared:
            about = _doc(record, field.name, docs).replace("\n", " ")
            words, unit, default = _kind(field.type).words, _unit(field.name), _default_words(field)
            rows.append(f"| `{field.name}` | {words} | {unit} | {default} | {about} |")
    if not rows:
        return ["It has no fields but the envelope's."]
    return ["| field | type | unit | default | meaning |", "|---|---|---|---|---|", *rows]


def _default_words(field: inspect.Field) -> str:
    if field.required:
        return "required"
    default = _default(field).get("default")
    return "empty" if default in ("", []) else "null" if default is None else f"`{str(default).lower()}`"
