"""DDL for AWS Glue and Athena: an external table for every folder of a lake, whose partitions need no crawler.

Athena finds partitions by projection: it computes the folders of the hours that a query asks for.
"""

from __future__ import annotations

import re

import pyarrow as pa

from connectors.query.tables import FOLDER_TYPES, INTERVALS, Table, sql_name, whole_folders
from connectors.store import S3_PREFIX
from schemas.errors import StoreError

FIRST_YEAR, LAST_YEAR = 2009, 2040
"""Years that partitions are looked for in; bitcoin's first is the first."""
_TYPES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.int8(): "tinyint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
}
_PROJECTIONS = {
    "year": {"type": "integer", "range": f"{FIRST_YEAR},{LAST_YEAR}"},
    "month": {"type": "integer", "range": "1,12", "digits": "2"},
    "day": {"type": "integer", "range": "1,31", "digits": "2"},
    "hour": {"type": "integer", "range": "0,23", "digits": "2"},
    "book": {"type": "injected"},
    "interval": {"type": "enum", "values": ",".join(INTERVALS)},
}
"""A query on the journal must name its book: Athena cannot know which there are."""


def ddl(where: str, database: str) -> str:
    """Give the statements that make a lake's tables. Raises StoreError where it is not on S3, or cannot be named."""
    if not where.startswith(S3_PREFIX) or not re.fullmatch(r"s3://[\w.-]+(/[\w.=/ -]*)?", where):
        raise StoreError(f"{where}: Athena reads from a bucket; name the lake as s3://BUCKET/PREFIX")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,127}", database):
        raise StoreError(f"{database!r} is no name of a database: small letters, digits and underscores")
    made = [f"CREATE DATABASE IF NOT EXISTS `{database}`;"]
    made += [_table(table, where.rstrip("/"), database) for table in whole_folders()]
    return "\n\n".join(made) + "\n"


def _table(table: Table, where: str, database: str) -> str:
    columns = ",\n".join(f"  `{field.name}` {hive_type(field.type)}" for field in table.schema)
    folders = ", ".join(f"`{name}` {hive_type(FOLDER_TYPES[name])}" for name in table.folders)
    location = f"{where}/{table.folder}"
    parts = [f"${{{name}}}" if name == "book" else f"{name}=${{{name}}}" for name in table.folders]
    properties = {"projection.enabled": "true"}
    for name in table.folders:
        properties |= {f"projection.{name}.{setting}": value for setting, value in _PROJECTIONS[name].items()}
    properties["storage.location.template"] = f"{location}{'/'.join(parts)}/"
    listed = ",\n".join(f"  '{name}' = '{value}'" for name, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS `{database}`.`{sql_name(table.name)}` (\n{columns}\n)\n"
        f"PARTITIONED BY ({folders})\nSTORED AS PARQUET\nLOCATION '{location}'\nTBLPROPERTIES (\n{listed}\n);"
    )


def hive_type(kind: pa.DataType) -> str:
    """Give the type of a column in Hive's words."""
    if pa.types.is_dictionary(kind):
        return hive_type(kind.value_type)
    if pa.types.is_map(kind):
        return f"map<{hive_type(kind.key_type)},{hive_type(kind.item_type)}>"
    return _TYPES[kind]
