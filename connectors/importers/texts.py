"""Tweets and news of a plain table as a batch in archive columns.

A text over the limits is cut, and what no event may hold is taken out of it; both are counted. The id is the
source's own, of news the hash of the address, else a hash of author, time and text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.importers.batch import Batch
from connectors.importers.mapping import Picked, pick
from connectors.importers.raw import ROW
from connectors.importers.report import Report
from connectors.importers.settings import Settings, check_key
from connectors.importers.values import booleans, integers, strings, times
from connectors.tidy import LIMITS, keyed_id, printable_part, said_hash, text_hash
from schemas.base import NS_PER_MS
from schemas.errors import ArchiveError

FirstKey = dict[str, str | None]
_STRINGS = {"tweets": ("author", "text", "url"), "news": ("source", "title", "text", "url")}
_WHO = {"tweets": "author", "news": "source"}


def text_batch(
    path: Path, table: pa.Table, settings: Settings, report: Report, first_key: FirstKey | None = None
) -> Batch:
    """Map a table. Raises ArchiveError where a column is missing, or nothing says what or whom a text is from.

    `first_key` remembers, from table to table of one file, which key an id came with first.
    """
    kind = settings.kind
    report.rows_read = table.num_rows + report.rows_dropped
    picked = pick(path, table, kind, settings.mapping)
    rows = table.num_rows
    columns = {"key": _key(path, picked, settings, rows)}
    columns |= {name: _string(picked, name, rows) for name in _STRINGS[kind]}
    columns[_WHO[kind]] = _who(path, picked, settings, rows)
    if kind == "tweets":
        columns |= {name: _count(picked, name, rows) for name in ("followers", "retweets")}
        columns["is_retweet"] = _is_retweet(picked, columns["text"])
    columns |= _text_times(picked, settings, report)
    columns = {name: _tidy(name, column, report) for name, column in columns.items()}
    columns["id"] = _ids(kind, picked, columns, report, {} if first_key is None else first_key)
    return Batch(kind, pa.table(columns | {ROW: picked[ROW]}), report, "observed_at" in picked)


def _key(path: Path, picked: Picked, settings: Settings, rows: int) -> pa.ChunkedArray:
    if settings.key:
        return pa.chunked_array([pa.array([check_key(settings.key, "--key")] * rows, pa.string())])
    if "key" not in picked:
        raise ArchiveError(f"{path}: nothing says what the texts concern; name it with --key, as in --key BTC")
    return strings(picked["key"])


def _who(path: Path, picked: Picked, settings: Settings, rows: int) -> pa.ChunkedArray:
    name = _WHO[settings.kind]
    default = check_key(settings.source, "--source") if settings.source else ""
    if name in picked:
        named = strings(picked[name])
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(pc.fill_null(named, "")), ""), default, named)
    if not default:
        raise ArchiveError(f"{path}: nothing says whom the texts are from; name it with --source")
    return pa.chunked_array([pa.array([default] * rows, pa.string())])


def _string(picked: Picked, name: str, rows: int) -> pa.ChunkedArray:
    if name not in picked:
        return pa.chunked_array([pa.array([""] * rows, pa.string())])
    column = strings(picked[name])
    return column if name == "title" else pc.fill_null(column, "")


def _count(picked: Picked, name: str, rows: int) -> pa.ChunkedArray:
    if name not in picked:
        return pa.chunked_array([pa.array(np.zeros(rows, np.int64))])
    return pc.max_element_wise(pc.fill_null(integers(picked[name]), 0), 0)


def _is_retweet(picked: Picked, text: pa.ChunkedArray) -> pa.ChunkedArray:
    by_text = pc.starts_with(text, "RT @")
    return pc.or_(booleans(picked["is_retweet"]), by_text) if "is_retweet" in picked else by_text


def _text_times(picked: Picked, settings: Settings, report: Report) -> dict[str, pa.ChunkedArray]:
    occurred = times(picked["ts"], settings.time_unit, settings.tz)
    if "observed_at" in picked:
        return {
            "occurred_at": occurred,
            "observed_at": times(picked["observed_at"], settings.time_unit, settings.tz),
        }
    report.notes.append(
        f"no receive time in the source: observed_at is occurred_at plus {settings.delay_ms} ms (--delay-ms)"
    )
    return {"occurred_at": occurred, "observed_at": pc.add(occurred, settings.delay_ms * NS_PER_MS)}


def _tidy(name: str, column: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    """Cut what is too long and take out what no event may hold; count both."""
    if column.type != pa.string():
        return column
    values, limit = column.to_pylist(), LIMITS[name]
    clean = [value if value is None else printable_part(name, value) for value in values]
    cut = [value if value is None else value[:limit] for value in clean]
    for changed, what in (
        (_differing(values, clean), f"{name}: control characters taken out of"),
        (_differing(clean, cut), f"{name}: cut at {limit:,} characters in"),
    ):
        if changed:
            report.notes.append(f"{what} {changed:,} rows")
    return pa.chunked_array([pa.array(cut, pa.string())])


def _differing(before: Iterable[str | None], after: Iterable[str | None]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


def _ids(
    kind: str, picked: Picked, columns: dict[str, pa.ChunkedArray], report: Report, first_key: FirstKey
) -> pa.ChunkedArray:
    """Give each row its id; a text that the source has once for each of several keys is told apart by the key."""
    own = strings(picked["id"]) if "id" in picked else (columns["url"] if kind == "news" else None)
    count = len(columns["text"])
    given = _tidy("id", own, report).to_pylist() if own is not None else [None] * count
    who, said = columns[_WHO[kind]].to_pylist(), columns["text" if kind == "tweets" else "title"].to_pylist()
    at, key = columns["occurred_at"].to_pylist(), columns["key"].to_pylist()
    ids: list[str] = []
    for i, id_ in enumerate(given):
        if not id_ or own is columns.get("url"):
            id_ = text_hash(id_) if id_ else said_hash(who[i], at[i], said[i])  # noqa: PLW2901
        ids.append(keyed_id(id_, key[i], first_key))
    made = sum(not value for value in given)
    if made:
        report.notes.append(f"{made:,} rows without an id got a hash of {_WHO[kind]}, time and text")
    return pa.chunked_array([pa.array(ids, pa.string())])
