"""What a query gives, on a terminal or in a file. Outside text stands there as plain, printable text."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.query.database import Answer
from schemas.errors import ArchiveError

CELL_CHARS = 120
"""Of a table; other formats cut nothing."""


def write(answer: Answer, form: Literal["table", "csv", "json", "parquet"], out: Path | None, limit: int) -> None:
    """Write all rows, of a table the first `limit`. Raises ArchiveError where the file cannot be written."""
    try:
        if form == "parquet":
            _parquet(answer, str(out))
            return
        with _stream(out) as stream:
            {"table": _table, "csv": _csv, "json": _json}[form](answer, stream, limit)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ArchiveError(f"{out or 'standard output'}: cannot be written: {error}") from None


@contextmanager
def _stream(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        yield file


def _table(answer: Answer, stream: IO[str], limit: int) -> None:
    table = Table()
    rows = list(answer.first(limit + 1))
    for index, name in enumerate(answer.names):
        numbers = all(isinstance(row[index], (int, float, Decimal)) or row[index] is None for row in rows)
        table.add_column(Text(name), justify="right" if rows and numbers else "left")
    for row in rows[:limit]:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(file=stream)
    if not console.is_terminal:
        console = Console(file=stream, width=10_000)
    console.print(table)
    more = ", and there are more: --limit N, or --format csv for all of them" if len(rows) > limit else ""
    shown = min(len(rows), limit)
    console.print(f"{shown:,} row{'' if shown == 1 else 's'}{more}", highlight=False)


def _cell(value: object) -> str:
    text = "" if value is None else str(_plain(value))
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown if len(shown) <= CELL_CHARS else f"{shown[: CELL_CHARS - 1]}…"


def _csv(answer: Answer, stream: IO[str], _: int) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(answer.names)
    for row in answer.rows():
        writer.writerow(["" if value is None else _plain(value) for value in row])


def _json(answer: Answer, stream: IO[str], _: int) -> None:
    for row in answer.rows():
        values = {name: _json_value(value) for name, value in zip(answer.names, row, strict=True)}
        stream.write(json.dumps(values, ensure_ascii=False) + "\n")


def _parquet(answer: Answer, out: str) -> None:
    reader = answer.batches()
    with pq.ParquetWriter(out, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


def _plain(value: object) -> object:
    """Give a value as a person writes it: decimals without idle zeros, times as ISO 8601."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (dict, list)):
        return json.dumps(_json_value(value), ensure_ascii=False)
    return value


def _json_value(value: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        return {str(name): _json_value(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(_plain(value)) if isinstance(value, (Decimal, date)) else str(value)


__all__: Sequence[str] = ["write"]
