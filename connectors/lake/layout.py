"""Where things lie in a lake and how its files are named; the columns that every record has there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.archive import NS_PER_HOUR, encoded
from connectors.lake.kept import Kept
from schemas.base import NS_PER_MS
from schemas.checks import EARLIEST_NS, LATEST_NS

REFUSED = "_refused"
PLACES = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp_ms", pa.int64()),
        ("timestamp_type", pa.int8()),
        ("nulls", pa.int8()),
        ("record_key", pa.binary()),
        ("headers", pa.binary()),
        ("value", pa.binary()),
    ]
)
"""What every record has behind its event's columns. `nulls` is 1 where its key is null, 2 where its value is. The last
three are null where the event gives them: a null that is none of the two means nothing that was lost."""
NULL_KEY, NULL_VALUE = 1, 2
_STAMPS = (EARLIEST_NS // NS_PER_MS, LATEST_NS // NS_PER_MS - 1)
"""The timestamps that name a folder; others, which a broker also keeps, go to the nearest."""


def name_of(kind: str, partition: int, first: int) -> str:
    """Give the name of a segment's file of a kind, without its ending."""
    return f"{kind}-{partition:04d}-{first:020d}"


def kind_of_file(key: str) -> str:
    """Give the kind that a file's name begins with."""
    return key.rpartition("/")[2].rsplit("-", 2)[0]


def chain_folder(topic: str, partition: int) -> str:
    """Give the folder of a partition's manifests."""
    return f"manifests/{topic}/{partition:04d}/"


def hour_folder(hour: int) -> str:
    """Give the folder of an hour, counted from 1970, UTC."""
    at = np.datetime64(hour, "h").item()
    return f"year={at:%Y}/month={at:%m}/day={at:%d}/hour={at:%H}"


class DataFile(NamedTuple):
    """A file of a segment."""

    name: str
    """Its key in the store."""
    data: bytes
    rows: int
    first_at: int
    """The time, in ns, of the first row and of the last."""
    last_at: int


def by_hour(folder: str, name: str, table: pa.Table, times: npt.NDArray[np.int64]) -> Iterator[DataFile]:
    """Cut rows, sorted by `times` in ns, into a file for each hour."""
    hours = times // NS_PER_HOUR
    starts = np.flatnonzero(np.diff(hours, prepend=hours[:1] - 1)).tolist()
    for lo, hi in pairwise([*starts, len(hours)]):
        path = f"{folder}/{hour_folder(int(hours[lo]))}/{name}.parquet"
        yield DataFile(path, encoded(table.slice(lo, hi - lo)), hi - lo, int(times[lo]), int(times[hi - 1]))


def by_stamp(folder: str, name: str, table: pa.Table) -> Iterator[DataFile]:
    """Cut rows by the hour of the records' own timestamps."""
    table = table.sort_by([("timestamp_ms", "ascending"), ("offset", "ascending")])
    times = np.clip(table["timestamp_ms"].to_numpy(), *_STAMPS) * NS_PER_MS
    yield from by_hour(folder, name, table, times)


def table_of(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Lay columns out by a schema."""
    return pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)


def stood(partition: int, records: Sequence[Kept]) -> dict[str, Sequence[Any]]:
    """Give the columns of `PLACES` that say where records stood, and what of them is null."""
    keys, values = [record.key for record in records], [record.value for record in records]
    nulls = [0] * len(records)
    if None in keys or None in values:
        nulls = [
            NULL_KEY * (key is None) + NULL_VALUE * (value is None) for key, value in zip(keys, values, strict=True)
        ]
    return {
        "partition": [partition] * len(records),
        "offset": [record.offset for record in records],
        "timestamp_ms": [record.timestamp_ms for record in records],
        "timestamp_type": [record.timestamp_type for record in records],
        "nulls": nulls,
    }


def as_they_are(partition: int, records: Sequence[Kept]) -> pa.Table:
    """Lay records out of which nothing is known."""
    columns = stood(partition, records) | {
        "record_key": [record.key for record in records],
        "headers": [record.headers for record in records],
        "value": [record.value for record in records],
    }
    return table_of(columns, PLACES)


def rows_of(table: pa.Table) -> Iterator[tuple[int, int, int, int, bytes | None, bytes | None, bytes | None]]:
    """Give each row's columns of `PLACES`, without the partition."""
    return zip(*(table[name].to_pylist() for name in PLACES.names[1:]), strict=True)
