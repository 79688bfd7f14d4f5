"""The DDL by its structure: a table for every folder, its columns those of the files, its partitions its folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from connectors.processed.build import build
from connectors.query.ddl import ddl, hive_type
from schemas.errors import StoreError
from schemas.topics import TOPICS
from tests.connectors.processed.lakes import write_lake
from tests.connectors.processed.test_build import EVENTS

WHERE = "s3://bucket/some/lake"
STATEMENT = re.compile(
    r"CREATE EXTERNAL TABLE IF NOT EXISTS `quorum`\.`(?P<name>\w+)` \(\n(?P<columns>(?:  `\w+` [\w<>,]+,?\n)+)\)\n"
    r"PARTITIONED BY \((?P<folders>[^)]*)\)\nSTORED AS PARQUET\nLOCATION '(?P<location>[^']*)'\n"
    r"TBLPROPERTIES \(\n(?P<properties>(?:  '[^']*' = '[^']*',?\n)+)\);"
)


class Parsed(NamedTuple):
    columns: dict[str, str]
    folders: dict[str, str]
    location: str
    properties: dict[str, str]


def parsed() -> dict[str, Parsed]:
    head, *statements = ddl(WHERE, "quorum").strip().split("\n\n")
    assert head == "CREATE DATABASE IF NOT EXISTS `quorum`;"
    tables = {}
    for statement in statements:
        match = STATEMENT.fullmatch(statement)
        assert match, statement
        assert match["name"] not in tables
        tables[match["name"]] = Parsed(
            dict(re.findall(r"`(\w+)` ([\w<>,]+?),?\n", match["columns"])),
            dict(re.findall(r"`(\w+)` (\w+)", match["folders"])),
            match["location"],
            dict(re.findall(r"'([^']*)' = '([^']*)'", match["properties"])),
        )
    return tables


def test_every_topic_has_a_table_and_so_has_what_is_processed() -> None:
    names = {topic.name.replace("-", "_") for topic in TOPICS}
    assert set(parsed()) == names | {"journal_records", "processed_bars", "processed_sentiment"}


def test_partitions_are_projected_from_every_folder() -> None:
    for table in parsed().values():
        assert table.location.startswith(f"{WHERE}/")
        assert table.location.endswith("/")
        template = table.properties.pop("storage.location.template")
        assert template.startswith(table.location)
        assert template.endswith("/")
        assert re.findall(r"\$\{(\w+)\}", template) == list(table.folders)
        assert table.properties.pop("projection.enabled") == "true"
        assert {name.split(".")[1] for name in table.properties} == set(table.folders)
        assert all(table.properties[f"projection.{name}.type"] for name in table.folders)
        assert not table.columns.keys() & table.folders.keys()


def test_the_columns_are_those_of_the_files_and_the_template_finds_them(tmp_path: Path) -> None:
    build(write_lake(tmp_path, EVENTS))
    tables = parsed()
    found = set()
    for path in sorted(tmp_path.rglob("*.parquet")):
        where = f"{WHERE}/{path.relative_to(tmp_path).as_posix()}"
        name, table = max(
            ((name, table) for name, table in tables.items() if where.startswith(table.location)),
            key=lambda each: len(each[1].location),
        )
        found.add(name)
        template = re.escape(table.properties["storage.location.template"])
        assert re.fullmatch(re.sub(r"\\\$\\\{\w+\\\}", r"[\\w]+", template) + r"[^/]+\.parquet", where)
        for field in pq.read_schema(path):
            assert table.columns[field.name] == hive_type(field.type)
    assert found == {"ticks", "tweets", "news", "processed_bars", "processed_sentiment"}


@pytest.mark.parametrize(
    ("where", "database", "reason"),
    [
        ("/a/folder", "quorum", "Athena reads from a bucket"),
        ("s3://bucket/it's", "quorum", "name the lake as s3://"),
        ("s3://bucket/x", "no-name", "'no-name' is no name of a database"),
    ],
)
def test_what_cannot_be_named_is_refused(where: str, database: str, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        ddl(where, database)
