"""The tables of a lake: which files each is made of, their columns, and the columns that their folders stand for.

Views and DDL are made of this one list, and it of the catalogue of topics.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from connectors.archive import EVENTS, SCHEMAS, TOPIC_FOLDERS
from connectors.lake.layout import PLACES
from connectors.processed.bars import INTERVALS
from connectors.processed.sentiment import SCHEMA as SENTIMENT
from schemas.topics import TOPICS

HOURLY = ("year", "month", "day", "hour")
DAILY = HOURLY[:3]
FOLDER_TYPES = {name: pa.int32() for name in HOURLY} | {"book": pa.string(), "interval": pa.string()}
"""Columns that folders stand for, where a table has them."""
JOURNAL = "journal"


class Table(NamedTuple):
    """Files of one kind below one folder."""

    name: str
    folder: str
    """In the lake, ends with `/`."""
    kind: str
    """What a file's name begins with."""
    schema: pa.Schema
    """Columns in the files; a file may lack some."""
    folders: tuple[str, ...]
    """What the folders below stand for, from the outermost on."""


def _raw(topic: str) -> list[Table]:
    kinds = [kind for kind, folder in TOPIC_FOLDERS.items() if folder == topic] or [topic]
    return [
        Table(kind, f"raw/{topic}/", kind, pa.schema([*SCHEMAS.get(kind, EVENTS), *PLACES]), HOURLY) for kind in kinds
    ]


_ENTRY = pa.schema([*EVENTS, ("partition", pa.int32()), ("offset", pa.int64()), ("entry", pa.int32())])
TABLES: tuple[Table, ...] = (
    *(table for topic in TOPICS if topic.name != JOURNAL for table in _raw(topic.name)),
    Table(JOURNAL, "journal/", JOURNAL, _ENTRY, ("book", *HOURLY)),
    Table("journal-records", "raw/journal/", "records", PLACES.append(pa.field("entries", pa.int32())), HOURLY),
    Table("processed-bars", "processed/bars/", "bars", SCHEMAS["bars"], ("interval", *DAILY)),
    Table("processed-sentiment", "processed/sentiment/", "sentiment", SENTIMENT, DAILY),
)
"""Every table, by the names of topics and kinds."""


def whole_folders() -> list[Table]:
    """Give one table for each folder: those of several kinds have the columns of all of them."""
    found = []
    for folder, kinds in groupby(TABLES, key=lambda table: table.folder):
        tables = list(kinds)
        fields = {field.name: field for table in tables for field in table.schema}
        name = tables[0].name if len(tables) == 1 else folder.split("/")[1]
        found.append(tables[0]._replace(name=name, schema=pa.schema(list(fields.values()))))
    return found


def sql_name(name: str) -> str:
    """Give a topic or table the name that needs no quotes."""
    return name.replace("-", "_")


__all__ = ["DAILY", "FOLDER_TYPES", "HOURLY", "INTERVALS", "JOURNAL", "TABLES", "Table", "sql_name", "whole_folders"]
