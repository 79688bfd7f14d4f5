"""The records of a segment as Parquet files, and back, exactly: offset, timestamp, key, headers, value.

What an event's columns say is stored once: key, headers and value stand beside them only where they are not what the
event itself would give. A record that is no event of ours is kept as it is, in a file that replays pass over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, reduce
from operator import and_, attrgetter, or_
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.archive import EVENTS
from connectors.lake import compact, journal
from connectors.lake.columns import envelope, form_of, kind_of, whole
from connectors.lake.kept import Kept, content_sha256, packed
from connectors.lake.layout import (
    NULL_KEY,
    PLACES,
    REFUSED,
    DataFile,
    as_they_are,
    by_hour,
    by_stamp,
    kind_of_file,
    name_of,
    rows_of,
    stood,
    table_of,
)
from connectors.lake.links import Manifest
from connectors.store import Store
from schemas.base import Event
from schemas.checks import check_read
from schemas.codec import decode, encode, encode_lines, version_of
from schemas.errors import RefusedError, StoreError
from schemas.topics import EVENT_TYPES, TOPICS
from schemas.wire import headers_of, key_of

__all__ = ["Kept", "content_sha256", "files_of", "records_of"]

_READ_AT_ONCE = 4_096
"""Records of which one that is odd makes the rest be read one by one."""
_OF_TOPIC = {topic.name: topic.events for topic in TOPICS}
_VERSIONS = {kind: version_of(kind) for kind in EVENT_TYPES}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RefusedError, TypeError)


class _Read(NamedTuple):
    """What values say: the event of each, None where it is none, and whether it is the event's canonical encoding."""

    events: list[Event | None]
    canonical: list[bool]


def files_of(topic: str, partition: int, first: int, records: Sequence[Kept]) -> list[DataFile]:
    """Give the files of a segment, sorted by key.

    `records` are the segment's, in the order of their offsets. The files follow from the arguments alone. An hour has
    a file for each kind of event; what is no event of the topic's goes by the hour of its own timestamp.
    """
    if topic == journal.TOPIC:
        found = journal.files(partition, first, records)
    else:
        found = _event_files(topic, partition, first, records)
    return sorted(found)


def records_of(store: Store, manifest: Manifest, moved: Mapping[str, str] | None = None) -> Iterator[Kept]:
    """Give a segment's records in the order of their offsets.

    `moved` says of a file that was merged with others where its rows are now; without it that is looked up. Raises
    StoreError where a file is missing or damaged.
    """
    tables = _tables(
        store, manifest, compact.moved(store, manifest.topic, manifest.partition) if moved is None else moved
    )
    if manifest.topic == journal.TOPIC:
        found = journal.records(tables)
    else:
        found = [record for kind, table in tables for record in _kept(kind, table)]
    return iter(sorted(found, key=attrgetter("offset")))


def _tables(store: Store, manifest: Manifest, moved: Mapping[str, str]) -> list[tuple[str, pa.Table]]:
    """Read a segment's files, each with its kind, or of the files that they were merged into the segment's rows."""
    names = dict.fromkeys(moved.get(file.name, file.name) for file in manifest.files)
    found = []
    for name in names:
        data = store.get(name)
        if data is None:
            raise StoreError(f"{store.where}/{name}: is missing; `quorum lake verify` tells what else is")
        try:
            table = pq.read_table(pa.BufferReader(data))
            at = table["offset"]
            mine = pc.and_(pc.greater_equal(at, manifest.first), pc.less(at, manifest.next))
            found.append((kind_of_file(name), table if pc.all(mine).as_py() else table.filter(mine)))
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise StoreError(f"{store.where}/{name}: is no file of a lake: {reason}") from None
    return found


def _kept(kind: str, table: pa.Table) -> Iterator[Kept]:
    """Give a file's records, in the file's order."""
    columns = rows_of(table)
    if kind == REFUSED:
        for offset, timestamp_ms, timestamp_type, _, key, headers, value in columns:
            yield Kept(offset, timestamp_ms, timestamp_type, key, headers or b"", value)
        return
    form = form_of(kind)
    if form is None:
        events, values = whole(table), table["event"].to_pylist()
    else:
        events = form.events(table)
        values = [encode(event) for event in events]
    for event, canonical, row in zip(events, values, columns, strict=True):
        offset, timestamp_ms, timestamp_type, nulls, key, headers, value = row
        yield Kept(
            offset,
            timestamp_ms,
            timestamp_type,
            None if nulls & NULL_KEY else key_of(event) if key is None else key,
            packed(headers_of(event)) if headers is None else headers,
            canonical if value is None else value,
        )


def _event_files(topic: str, partition: int, first: int, records: Sequence[Kept]) -> Iterator[DataFile]:
    read = _read_all(topic, [record.value for record in records])
    kinds = [REFUSED if event is None else kind_of(type(event), topic) for event in read.events]
    for kind in dict.fromkeys(kinds):
        places = [place for place, each in enumerate(kinds) if each == kind]
        some = [records[place] for place in places]
        name = name_of(kind, partition, first)
        if kind == REFUSED:
            yield from by_stamp(f"raw/{topic}", name, as_they_are(partition, some))
            continue
        events = [read.events[place] for place in places]
        table = _events(kind, partition, some, events, [read.canonical[place] for place in places])
        yield from by_hour(f"raw/{topic}", name, table, table["observed_at"].to_numpy())


def _read_all(topic: str, values: Sequence[bytes | None]) -> _Read:
    found = _Read([], [])
    for lo in range(0, len(values), _READ_AT_ONCE):
        some = values[lo : lo + _READ_AT_ONCE]
        read = _read_canonical(topic, some) or _read_each(topic, some)
        found.events.extend(read.events)
        found.canonical.extend(read.canonical)
    return found


def _read_canonical(topic: str, values: Sequence[bytes | None]) -> _Read | None:
    """Read values that are all canonical events of the topic's; None where one is not. A third of `_read_each`'s time.

    Canonical JSON holds no line break, so the lines of all are equal only if each of them is.
    """
    decoder = _decoder(topic)
    try:
        events = [decoder.decode(value) for value in values]  # type: ignore[arg-type]  # null is caught below
    except _UNREADABLE:
        return None
    lines = encode_lines(events)
    if lines != b"\n".join([*values, b""]):  # type: ignore[list-item]  # as above
        return None
    printable = lines.isascii() and b"\\" not in lines and b"\x7f" not in lines
    try:
        for event in events:
            check_read(event, printable=printable)
            if event.v != _VERSIONS[type(event)]:
                return None
    except RefusedError:
        return None
    return _Read([*events], [True] * len(events))


def _read_each(topic: str, values: Sequence[bytes | None]) -> _Read:
    found = _Read([], [])
    for value in values:
        try:
            event: Event | None = decode(value or b"")
        except RefusedError:
            event = None
        if type(event) not in _OF_TOPIC[topic]:
            event = None
        found.events.append(event)
        found.canonical.append(event is not None and encode(event) == value)
    return found


@cache
def _decoder(topic: str) -> msgspec.json.Decoder[Event]:
    union: Any = reduce(or_, _OF_TOPIC[topic])
    return msgspec.json.Decoder(union)


def _events(
    kind: str, partition: int, records: Sequence[Kept], events: Sequence[Any], canonical: Sequence[bool]
) -> pa.Table:
    """Lay events of one kind out, sorted by time, then number or id."""
    form = form_of(kind)
    if form is None:
        columns: Mapping[str, Sequence[Any]] = {**envelope(events), "event": [record.value for record in records]}
        schema, exact = EVENTS, [True] * len(events)
    else:
        columns, made = form.lay(events)
        schema = form.schema
        exact = list(map(and_, canonical, made))
    table = table_of({**columns, **_places(partition, records, events, exact)}, pa.schema([*schema, *PLACES]))
    second = "number" if "number" in schema.names else "id"
    return table.sort_by([(name, "ascending") for name in ("observed_at", second, "offset")])


def _places(
    partition: int, records: Sequence[Kept], events: Sequence[Event], exact: Sequence[bool]
) -> dict[str, Sequence[Any]]:
    """Give the columns of `PLACES`. Key and headers of an event that its columns do not give back are spelt out."""
    keys, headers, values = [], [], []
    for record, event, same in zip(records, events, exact, strict=True):
        key, given = record.key, record.headers
        keys.append(None if same and key == key_of(event) else key)
        headers.append(None if same and given and given == packed(headers_of(event)) else given)
        values.append(None if same else record.value)
    return stood(partition, records) | {"record_key": keys, "headers": headers, "value": values}
