"""Every event of the catalogue comes out of its view as it went into the lake, or into a run's log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.query.database import Database, over_lake, over_run
from connectors.query.tables import TABLES, sql_name
from connectors.query.views import ENVELOPE, view_name
from connectors.store import FolderStore
from replay.log import DERIVED_TOPICS
from schemas.base import Event
from schemas.codec import encode
from schemas.control import ClockTicked
from schemas.topics import EVENT_TYPES, TOPIC_OF
from tests.connectors.processed.lakes import write_lake
from tests.schemas.samples import full, sparse


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A lake with two events of every type."""
    others = [kind for kind in EVENT_TYPES if kind is not ClockTicked]
    events = [make(kind) for kind in others for make in (full, sparse)]
    entries = [full(ClockTicked), sparse(ClockTicked)]
    return write_lake(tmp_path_factory.mktemp("lake"), events, {"btc-demo": entries})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose log has two events of every type."""
    root = tmp_path_factory.mktemp("run")
    (root / "log").mkdir()
    lines: dict[str, list[bytes]] = {}
    for kind in EVENT_TYPES:
        topic = TOPIC_OF[kind] if TOPIC_OF[kind] in DERIVED_TOPICS else "journal"
        lines.setdefault(topic, []).extend(encode(make(kind)) for make in (full, sparse))
    for topic, found in lines.items():
        (root / "log" / f"{topic}.jsonl").write_bytes(b"\n".join([*found, b""]))
    return root


def rows(database: Database, query: str) -> Iterator[dict[str, Any]]:
    with database:
        answer = database.run(query)
        for row in answer.rows():
            yield dict(zip(answer.names, row, strict=True))


def told(value: object) -> object:
    """A value of an event, or of a view, as plain numbers, texts and lists; what is left off has its default."""
    if isinstance(value, dict):
        return {name: told(each) for name, each in value.items() if each not in (None, "")}
    if isinstance(value, (list, tuple)):
        return [told(each) for each in value]
    if isinstance(value, str) and value[:1] == "{":
        return told(json.loads(value))
    if isinstance(value, str):
        try:
            return Decimal(value)
        except ArithmeticError:
            return value
    return value


def fields(event: Event) -> dict[str, object]:
    return {name: told(msgspec.to_builtins(getattr(event, name), builtin_types=(bytes,))) for name in columns(event)}


def columns(event: Event) -> list[str]:
    own = [name for name in event.__struct_fields__ if name not in Event.__struct_fields__]
    return [*ENVELOPE, *own]


def assert_same(found: list[dict[str, Any]], events: list[Event]) -> None:
    by_id = {row["id"]: row for row in found}
    assert len(found) == len(events)
    for event in events:
        row = by_id[event.id]
        assert {name: told(row[name]) for name in columns(event)} == fields(event)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_an_event_comes_out_of_a_lake_as_it_went_in(lake: FolderStore, kind: type[Event]) -> None:
    query = f"SELECT * FROM {view_name(kind)}"
    events: list[Event] = [full(kind), sparse(kind)]
    if kind is ClockTicked:
        events = [msgspec.structs.replace(event, book="btc-demo") for event in events]
    assert_same(list(rows(over_lake(lake, query), query)), events)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_an_event_comes_out_of_a_run_as_it_went_in(run: Path, kind: type[Event]) -> None:
    found = list(rows(over_run(run), f"SELECT * FROM {view_name(kind)}"))
    assert_same(found, [full(kind), sparse(kind)])
    (told_of,) = rows(over_run(run), f"SELECT count(*) AS n FROM {sql_name(TOPIC_OF[kind])} WHERE id LIKE '%'")
    assert told_of["n"] >= 2


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_topic_of_a_lake_has_a_view_with_its_records(lake: FolderStore, table: Any) -> None:
    name = "ticks" if table.kind in ("trades", "quotes") else sql_name(table.name)
    query = f"SELECT count(*) AS n FROM {name}"
    (found,) = rows(over_lake(lake, query), query)
    wanted = 0 if table.name.startswith("processed") else 1 if table.name == "journal-records" else 2
    assert found["n"] >= wanted
    assert found["n"] > 0 or not wanted


def test_money_is_exact_and_times_are_told(run: Path) -> None:
    query = "SELECT typeof(fee) AS fee, typeof(utc(observed_at)) AS at, typeof(quantity) AS q FROM order_filled LIMIT 1"
    (found,) = rows(over_run(run), query)
    assert found == {"fee": "DECIMAL(38,18)", "at": "TIMESTAMP_NS", "q": "DECIMAL(38,18)"}
