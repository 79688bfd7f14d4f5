"""The archive: recorded events as Parquet files, in folders by topic and UTC time of `observed_at`.

A file holds one kind of rows from one source, sorted by `observed_at`, and its name carries a digest of the
source: writing the same source again replaces its files, so it counts once. Files appear whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.store import FolderStore, Store, put_all
from schemas.base import NS_PER_MIN
from schemas.errors import ArchiveError

NS_PER_HOUR = 60 * NS_PER_MIN
REPEATED = ("key", "interval_ns", "side", "author", "source")
"""Columns of few values, stored as a dictionary."""
REPEATED_SHARE = 0.25
"""Floats of which at most this share differ are stored as a dictionary too: of ticks, prices and most sizes."""
MONTHLY_DAYS = 7
"""Days of a month from which on one file holds a source's bars of it: to open a file takes longer than to read a day's.
Where each day comes from a source of its own, files of a month would have to be merged."""
ROW_GROUP_ROWS = 131_072
"""What a reader must hold at a time."""

_KEY = pa.dictionary(pa.int32(), pa.string())
_TIMES = (("occurred_at", pa.int64()), ("observed_at", pa.int64()))


def _market(*names: str) -> pa.Schema:
    return pa.schema([("key", _KEY), ("number", pa.int64()), *_TIMES, *((name, pa.float64()) for name in names)])


def _text(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([("id", pa.string()), ("key", _KEY), *_TIMES, *fields])


EVENTS = _text(("event", pa.binary()))
"""Columns of whole events, whatever their type."""
SCHEMAS: dict[str, pa.Schema] = {
    "bars": _market("open", "high", "low", "close", "volume").append(pa.field("interval_ns", pa.int64())),
    "trades": _market("price", "size").append(pa.field("side", pa.int8())),
    "quotes": _market("bid", "ask", "bid_size", "ask_size"),
    "tweets": _text(
        ("author", pa.string()),
        ("text", pa.string()),
        ("followers", pa.int64()),
        ("retweets", pa.int64()),
        ("is_retweet", pa.bool_()),
        ("url", pa.string()),
    ),
    "news": _text(("source", pa.string()), ("title", pa.string()), ("text", pa.string()), ("url", pa.string())),
    "verdicts": EVENTS,
    "control": EVENTS,
}
"""Columns of each kind of file. `number` is the exchange's trade or update id, of a bar its opening time in ns;
`side` is the aggressor's, 1 buy, -1 sell, 0 unknown; `event` is the canonical JSON of a whole event."""

TOPIC_FOLDERS: dict[str, str] = {kind: kind for kind in SCHEMAS} | {"trades": "ticks", "quotes": "ticks"}
"""Kind to the topic that its files lie below."""
MARKET_KINDS = ("bars", "trades", "quotes")
TEXT_KINDS = ("tweets", "news")
EVENT_KINDS = ("verdicts", "control")


def source_digest(source: str) -> str:
    """Shorten a source's name to the 12 hex digits that its files carry."""
    return blake2b(source.encode(), digest_size=6).hexdigest()


def write(root: Path | Store, kind: str, table: pa.Table, source: str) -> list[str]:
    """Add a source's rows of one kind to the archive in a folder or a store, and return the keys of its files.

    The rows may come in any order and must have the columns of `SCHEMAS[kind]`, without nulls. There is a file for
    each day (ticks: hour; bars of a week or more: month). A file of the source that lies there is replaced; its others
    are left as they are, see `discard`. In a folder either all files appear or, on an error or an interrupt, none; in
    a bucket each appears whole. Raises ArchiveError and, of a bucket, StoreError.
    """
    store = store_of(root)
    parts = _partitions(kind, _sorted(kind, _conform(kind, table)), source_digest(source))
    files = [(key, encoded(rows)) for key, rows in parts]
    put_all(store, files)
    return [key for key, _ in files]


def discard(root: Path | Store, kind: str, source: str, keep: Sequence[str], within: str = "") -> int:
    """Remove the files of a source, except those in `keep`; return how many were removed.

    `within` narrows it to a folder of the topic: `year=2024/month=01/`.
    """
    store = store_of(root)
    name = f"/{kind}-{source_digest(source)}.parquet"
    listed = store.list(f"{TOPIC_FOLDERS[kind]}/{within}")
    stale = sorted({each.key for each in listed if each.key.endswith(name)} - set(keep))
    for key in stale:
        store.delete(key)
    return len(stale)


def store_of(root: Path | Store) -> Store:
    """Give the store that an archive lies in."""
    return FolderStore(root) if isinstance(root, Path) else root


def _conform(kind: str, table: pa.Table) -> pa.Table:
    schema = SCHEMAS[kind]
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ArchiveError(f"{kind}: column {', '.join(missing)} is missing")
    try:
        table = table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ArchiveError(f"{kind}: a column is of the wrong type: {error}") from None
    for name in schema.names:
        if table[name].null_count:
            raise ArchiveError(f"{kind}: column {name} has {table[name].null_count:,} missing values")
    return table


def _sorted(kind: str, table: pa.Table) -> pa.Table:
    second = "number" if kind in MARKET_KINDS else "id"
    return table.sort_by([("observed_at", "ascending"), (second, "ascending")])


def _partitions(kind: str, table: pa.Table, digest: str) -> Iterator[tuple[str, pa.Table]]:
    """Cut sorted rows into files, each in the narrowest folder that holds its rows; give each with its key."""
    topic = TOPIC_FOLDERS[kind]
    times = table["observed_at"].to_numpy().astype("datetime64[ns]")
    for lo, hi in pairwise([*_starts(topic, times), len(times)]):
        first, last = times[[lo, hi - 1]].astype("datetime64[s]").tolist()
        folder = f"{topic}/year={first:%Y}/month={first:%m}"
        if first.date() == last.date():
            folder += f"/day={first:%d}"
        if topic == "ticks":
            folder += f"/hour={first:%H}"
        yield f"{folder}/{kind}-{digest}.parquet", table.slice(lo, hi - lo)


def _starts(topic: str, times: npt.NDArray[np.datetime64]) -> list[int]:
    """Give where the rows of each file start."""
    if topic == "ticks":
        return _turns(times, "h")
    days = _turns(times, "D")
    if topic != "bars":
        return days
    starts = []
    for lo, hi in pairwise([*_turns(times, "M"), len(times)]):
        within = [day for day in days if lo <= day < hi]
        starts += within if len(within) < MONTHLY_DAYS else [lo]
    return starts


def _turns(times: npt.NDArray[np.datetime64], unit: str) -> list[int]:
    """Give where the hour, day or month of times changes; the first of them too."""
    periods = times.astype(f"datetime64[{unit}]").astype(np.int64)
    return np.flatnonzero(np.diff(periods, prepend=periods[:1] - 1)).tolist()


def encoded(table: pa.Table) -> bytes:
    """Give a file's bytes: integers stored as differences, and once what comes again, as small as zstd makes it.

    What is stored as differences or once is left uncompressed, and read twice as fast: so a clean tick costs no
    decompression at all, and a small file no start of zstd, 20 µs a column. `benchmarks/ticks.py` prints what each
    way costs.
    """
    integers = {field.name for field in table.schema if field.type == pa.int64() and field.name not in REPEATED}
    if "key" in table.column_names:
        key = table["key"].combine_chunks()
        if len(key.dictionary) > 1:  # a slice carries the whole table's names; keep those that occur in it
            key = key.dictionary_decode().dictionary_encode()
            table = table.set_column(table.schema.names.index("key"), "key", key)
    repeated = [field.name for field in table.schema if field.name in REPEATED or _comes_again(table[field.name])]
    small = integers | {"key", "interval_ns", "side"} | {name for name in repeated if table[name].type == pa.float64()}
    file = pa.BufferOutputStream()
    pq.write_table(
        table,
        file,
        compression={name: "none" if name in small else "zstd" for name in table.column_names},
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=repeated,
        column_encoding=dict.fromkeys(sorted(integers), "DELTA_BINARY_PACKED"),
    )
    data: bytes = file.getvalue().to_pybytes()
    return data


def _comes_again(column: pa.ChunkedArray) -> bool:
    """Tell whether a column of numbers repeats itself enough for a dictionary."""
    return column.type == pa.float64() and len(column.unique()) <= REPEATED_SHARE * len(column)
