"""DuckDB over a lake or a run, shut in: it reads what the views name, opens nothing else, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from warnings import catch_warnings, simplefilter

import duckdb
import pyarrow as pa

from connectors.lake.columns import kind_of
from connectors.query.files import dataset, nothing
from connectors.query.tables import TABLES, sql_name
from connectors.query.views import FILES, MACROS, lake_views, run_views, view_name
from connectors.store import Store
from schemas.errors import ArchiveError, QueryError
from schemas.topics import EVENT_TYPES, TOPIC_OF, TOPICS

_SHUT = (
    "SET python_enable_replacements = false",
    "SET temp_directory = ''",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
_WORD = re.compile(r"\w+")


ROWS = 4_096
"""Taken from a query at once."""


class Answer:
    """What a query gives, a bounded number of rows at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.names: list[str] = [column[0] for column in connection.description or ()]

    def first(self, count: int) -> list[tuple[Any, ...]]:
        """Give the first rows."""
        rows: list[tuple[Any, ...]] = _patiently(self._connection, self._connection.fetchmany, count)
        return rows

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Give all rows."""
        while rows := self.first(ROWS):
            yield from rows

    def batches(self) -> pa.RecordBatchReader:
        """Give all rows as columns."""
        with catch_warnings():
            simplefilter("ignore", UserWarning)  # that the rows are copied once more, which a file takes anyway
            return _patiently(self._connection, self._connection.to_arrow_reader, ROWS)


class Database:
    """An open database. Use it as a context: what it holds is let go at the end."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def run(self, query: str) -> Answer:
        """Run one statement that reads. Raises QueryError, in one sentence, for any other and for one that fails."""
        statements = _patiently(self._connection, self._connection.extract_statements, query)
        if len(statements) != 1:
            raise QueryError(f"one statement is run at a time, and {len(statements)} were given")
        if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            kind = str(statements[0].type).rpartition(".")[2]
            raise QueryError(f"{kind} is not run: a query reads, with SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN")
        _patiently(self._connection, self._connection.execute, statements[0])
        return Answer(self._connection)


def _patiently(connection: duckdb.DuckDBPyConnection, call: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401
    """Wait for DuckDB in a way that Ctrl-C ends: while it works, this thread hears no signal."""
    with ThreadPoolExecutor(1) as other:
        working = other.submit(call, *args)
        try:
            return working.result()
        except duckdb.Error as error:
            raise QueryError(sentence(error)) from None
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def over_lake(store: Store, query: str) -> Database:
    """Give a database with the views of a lake. Only the files of what `query` names are looked for."""
    words = {word.lower() for word in _WORD.findall(query)}
    asked = {kind_of(event, TOPIC_OF[event]) for event in EVENT_TYPES if view_name(event) in words}
    if "ticks" in words:
        asked |= {"trades", "quotes"}
    database = _opened()
    for table in TABLES:
        wanted = table.name in asked or sql_name(table.name) in words
        database.register(f"{FILES}{sql_name(table.name)}", dataset(store, table) if wanted else nothing(table))
    for name, view in lake_views():
        database.execute(f'CREATE VIEW "{name}" AS {view}')
    return _shut(database, [])


def over_run(root: Path) -> Database:
    """Give a database with the views of a run's log. Raises ArchiveError where there is none."""
    known = {topic.name for topic in TOPICS}
    paths = {path.stem: path for path in sorted((root / "log").glob("*.jsonl")) if path.stem in known}
    if not paths:
        raise ArchiveError(f"{root}: holds no log of a run; `quorum replay` keeps one unless it is told not to")
    database = _opened()
    # A file is opened as its view is made, so the views come before the door is shut.
    logs = {topic: _lines(path) for topic, path in paths.items() if path.stat().st_size}
    for name, view in run_views(logs):
        database.execute(f'CREATE VIEW "{name}" AS {view}')
    return _shut(database, list(paths.values()))


def sentence(error: Exception) -> str:
    """Give what DuckDB says, in one line, without the picture of the statement."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())


def _opened() -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(":memory:")
    for macro in MACROS:
        database.execute(macro)
    return database


def _shut(database: duckdb.DuckDBPyConnection, readable: list[Path]) -> Database:
    if readable:
        listed = ", ".join(_quoted(str(path)) for path in readable)
        database.execute(f"SET allowed_paths = [{listed}]")
    for setting in _SHUT:
        database.execute(setting)
    return Database(database)


def _lines(path: Path) -> str:
    return f"SELECT json AS event FROM read_json_objects({_quoted(str(path))}, format = 'newline_delimited')"  # noqa: S608 - quoted


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
