"""The journal in the lake: entries by book, and the records that they stood in without them.

A record of the journal holds entries of several books, one a line. Each entry lies in its book's folder with its place
in the record, so the record's value is made of them again. A value with a line that is no entry of a book is kept
whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from connectors.archive import EVENTS
from connectors.lake.columns import envelope
from connectors.lake.kept import Kept
from connectors.lake.layout import PLACES, DataFile, as_they_are, by_hour, by_stamp, name_of, rows_of, table_of
from schemas.base import Event
from schemas.codec import decode_own

TOPIC = "journal"
RECORDS = "records"
_BOOK = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A book's name, which names a folder."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_RECORDS = PLACES.append(pa.field("entries", pa.int32()))
_ENTRIES = pa.schema([*EVENTS, ("partition", pa.int32()), ("offset", pa.int64()), ("entry", pa.int32())])
"""`offset` is the record's, `entry` the place in it."""


class _Entry(NamedTuple):
    event: Event
    line: bytes
    offset: int
    place: int


def files(partition: int, first: int, records: Sequence[Kept]) -> Iterator[DataFile]:
    """Give the files of a segment of the journal."""
    if not records:
        return
    books: dict[str, list[_Entry]] = {}
    counts: list[int] = []
    bare: list[Kept] = []
    for record in records:
        entries = _entries(record)
        for entry in entries or ():
            books.setdefault(entry.event.book, []).append(entry)
        counts.append(len(entries or ()))
        bare.append(record if entries is None else replace(record, value=b""))
    table = as_they_are(partition, bare).append_column("entries", pa.array(counts, pa.int32()))
    yield from by_stamp(f"raw/{TOPIC}", name_of(RECORDS, partition, first), table)
    for book, found in books.items():
        rows = _table(partition, found)
        times = rows["observed_at"].to_numpy()
        yield from by_hour(f"{TOPIC}/{book}", name_of(TOPIC, partition, first), rows, times)


def records(tables: Sequence[tuple[str, pa.Table]]) -> list[Kept]:
    """Give the records of a segment's files, by kind, in any order."""
    lines: dict[int, list[tuple[int, bytes]]] = {}
    for kind, table in tables:
        if kind == TOPIC:
            for offset, place, line in zip(
                *(table[name].to_pylist() for name in ("offset", "entry", "event")), strict=True
            ):
                lines.setdefault(offset, []).append((place, line))
    found = []
    for kind, table in tables:
        if kind == RECORDS:
            for count, row in zip(table["entries"].to_pylist(), rows_of(table), strict=True):
                offset, timestamp_ms, timestamp_type, _, key, headers, value = row
                if count:
                    value = b"\n".join(line for _, line in sorted(lines.get(offset, [])))
                found.append(Kept(offset, timestamp_ms, timestamp_type, key, headers or b"", value))
    return found


def _entries(record: Kept) -> list[_Entry] | None:
    """Take a record's value apart; None where it is to be kept whole."""
    if not record.value:
        return None
    found = []
    for place, line in enumerate(record.value.split(b"\n")):
        try:
            event = decode_own(line)
        except _UNREADABLE:
            return None
        if not _BOOK.fullmatch(event.book):
            return None
        found.append(_Entry(event, line, record.offset, place))
    return found


def _table(partition: int, entries: Sequence[_Entry]) -> pa.Table:
    """Lay entries of a book out, sorted by time, then as they stood in the journal."""
    columns = envelope([entry.event for entry in entries]) | {
        "event": [entry.line for entry in entries],
        "partition": [partition] * len(entries),
        "offset": [entry.offset for entry in entries],
        "entry": [entry.place for entry in entries],
    }
    return table_of(columns, _ENTRIES).sort_by([(name, "ascending") for name in ("observed_at", "offset", "entry")])
