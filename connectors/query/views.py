"""The views that SQL asks: one for every topic, and one for every event, whose fields are its columns.

What an event's fields become follows from their types in the catalogue: decimals `DECIMAL(38,18)`, times `BIGINT` in
ns, lists and maps DuckDB's own. A field that was left off the wire has its default.
"""

# ruff: noqa: S608 - what the queries are made of comes from the catalogue of topics, nothing from outside
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec
from msgspec import inspect

from connectors.archive import EVENT_KINDS, SCHEMAS
from connectors.lake.columns import kind_of
from connectors.query.tables import JOURNAL, TABLES, Table, sql_name
from schemas.base import Event
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.topics import EVENT_TYPES, TOPIC_OF, TOPICS

DECIMAL = "DECIMAL(38,18)"
ENVELOPE = ("id", "key", "occurred_at", "observed_at", "book", "seq", "cause")
"""What every view of an event begins with."""
FILES = "files_"
"""Before the name of a table's files, as they are."""
LOG = "log_"
"""Before the name of a run's log file: `type`, `event`."""
MACROS = ("CREATE MACRO utc(ns) AS make_timestamp_ns(ns)",)
PLACE = 'partition, "offset", year, month, day, hour'
"""What every view of an event of a lake ends with."""
_MARKS: dict[type[Event], str] = {
    TradeTicked: "'/trade/'",
    QuoteTicked: "'/quote/'",
    BarClosed: "'/bar' || (interval_ns // 1000000000) || '/'",
}


def view_name(event: type[Event]) -> str:
    """Give the name of an event's view: `order_filled` of OrderFilled."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


def lake_views() -> Iterator[tuple[str, str]]:
    """Give the views over a lake's files, each with the query that it stands for."""
    for table in TABLES:
        if table.name not in ("trades", "quotes"):
            yield sql_name(table.name), _as_it_lies(table)
    kinds = [f"SELECT '{kind}' AS kind, * FROM {FILES}{kind}" for kind in ("trades", "quotes")]
    yield "ticks", " UNION ALL BY NAME ".join(kinds)
    for event in EVENT_TYPES:
        kind = kind_of(event, TOPIC_OF[event])
        native = kind in SCHEMAS and kind not in EVENT_KINDS
        yield view_name(event), _native(event, kind) if native else _typed(event, _with_json(kind), PLACE)


def run_views(logs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the views over a run's log; `logs` are topics to the queries that give the lines of their files."""
    for topic in TOPICS:
        names = ", ".join(f"'{event.__name__}'" for event in topic.events)
        wanted = "true" if topic.name == JOURNAL else f"event ->> '$.type' IN ({names})"
        lines = f"({logs.get(topic.name) or logs.get(JOURNAL) or 'SELECT NULL::JSON AS event WHERE false'})"
        columns = f"{_envelope()}, event ->> '$.type' AS type, event"
        yield sql_name(topic.name), f"SELECT {columns} FROM {lines} WHERE {wanted}"
        for event in topic.events:
            yield view_name(event), _typed(event, lines)


def _as_it_lies(table: Table) -> str:
    if "event" not in table.schema.names:
        return f"SELECT * FROM {FILES}{sql_name(table.name)}"
    head = "id, key, occurred_at, observed_at"
    return f"SELECT {head}, event ->> '$.type' AS type, * EXCLUDE ({head}) FROM {_with_json(table.name)}"


def _with_json(name: str) -> str:
    return f"(SELECT * REPLACE (event::JSON AS event) FROM {FILES}{sql_name(name)})"


def _envelope() -> str:
    fields = {field.name: field for field in _fields(Event)}
    return ", ".join(f"{_value(fields[name])} AS {name}" for name in ENVELOPE)


def _typed(event: type[Event], source: str, place: str = "") -> str:
    """Give an event's fields as columns, read from its JSON."""
    shared = {field.name for field in _fields(Event)}
    own = [f'{_value(field)} AS "{field.name}"' for field in _fields(event) if field.name not in shared]
    columns = ", ".join([_envelope(), *own, *([place] if place else [])])
    return f"SELECT {columns} FROM {source} WHERE event ->> '$.type' = '{event.__name__}'"


def _native(event: type[Event], kind: str) -> str:
    """Give an event's fields from the columns of the lake's files; what they do not hold lies in `value`."""
    shared = {field.name for field in _fields(Event)}
    own = [field.name for field in _fields(event) if field.name not in shared]
    made = f"key || {_MARKS[event]} || number" if event in _MARKS else "id"
    told = "value::JSON ->> '$."
    book, cause = (f"coalesce({told}{name}', '') AS {name}" for name in ("book", "cause"))
    seq = f"coalesce(({told}seq')::BIGINT, 0) AS seq"
    envelope = [f"coalesce({told}id', {made}) AS id", "key", "occurred_at", "observed_at", book, seq, cause]
    sides = "CASE side WHEN 1 THEN 'buy' WHEN -1 THEN 'sell' ELSE 'unknown' END AS side"
    columns = [sides if name == "side" else f'"{name}"' for name in own]
    return f"SELECT {', '.join([*envelope, *columns, PLACE])} FROM {FILES}{kind}"


def _fields(record: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    return cast("inspect.StructType", inspect.type_info(record)).fields


def _value(field: inspect.Field) -> str:
    """Give a field as an expression over the event's JSON."""
    kind = _bare(field.type)
    nested = isinstance(kind, (inspect.VarTupleType, inspect.DictType))
    given = f"event {'->' if nested else '->>'} '$.{field.name}'"
    if isinstance(kind, inspect.BytesType):
        return f"from_base64({given})"
    value = f"({given})" if _sql_type(kind) == "VARCHAR" else f"CAST({given} AS {_sql_type(kind)})"
    if isinstance(kind, inspect.VarTupleType) and isinstance(_bare(kind.item_type), inspect.StructType):
        value = f"from_json({given}, '{_shape(kind.item_type)}')"  # a cast would ask for every field
    if field.required or field.default in (None, msgspec.NODEFAULT):
        return value
    return f"coalesce({value}, {_literal(field.default)})"


def _shape(record: inspect.Type) -> str:
    """Give the shape of a list of records."""
    fields = {field.name: _sql_type(field.type) for field in cast("inspect.StructType", _bare(record)).fields}
    return msgspec.json.encode([fields]).decode()


def _literal(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, tuple):
        return "[]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bare(kind: inspect.Type) -> inspect.Type:
    """Give a type without its bounds and without null."""
    while isinstance(kind, (inspect.Metadata, inspect.UnionType)):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
            continue
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if len(kinds) > 1:
            return kind
        kind = kinds[0]
    return kind


def _sql_type(kind: inspect.Type) -> str:
    kind = _bare(kind)
    return _SQL_TYPES[type(kind)](kind)


_SQL_TYPES: dict[type[inspect.Type], Callable[[Any], str]] = {
    inspect.FloatType: lambda _: "DOUBLE",
    inspect.IntType: lambda _: "BIGINT",
    inspect.DecimalType: lambda _: DECIMAL,
    inspect.StrType: lambda _: "VARCHAR",
    inspect.LiteralType: lambda _: "VARCHAR",
    inspect.BoolType: lambda _: "BOOLEAN",
    inspect.BytesType: lambda _: "BLOB",
    inspect.VarTupleType: lambda kind: f"{_sql_type(kind.item_type)}[]",
    inspect.DictType: lambda kind: f"MAP({_sql_type(kind.key_type)}, {_sql_type(kind.value_type)})",
    inspect.UnionType: lambda _: "JSON",
    inspect.StructType: lambda kind: (
        "STRUCT(" + ", ".join(f'"{field.name}" {_sql_type(field.type)}' for field in kind.fields) + ")"
    ),
}
"""What a column of each kind of field is."""
