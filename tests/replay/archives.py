"""Small archives for tests: rows as tuples in the order of the archive's columns, written by the archive's writer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from agents.frame import Frame
from connectors.archive import SCHEMAS, write
from replay.files import READ_ROWS
from replay.sources import Archive
from schemas.base import NS_PER_MIN
from schemas.book import Book, Instrument, TextSettings

DAY = 1_500_000_000_000_000_000 // (1440 * NS_PER_MIN) * (1440 * NS_PER_MIN)
"""A midnight, UTC."""
BTC, ETH = "BTC/USD@test", "ETH/USD@test"
Row = tuple[Any, ...]


def table(kind: str, rows: Sequence[Row]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMAS[kind])
    plain = [pa.string() if field.name == "key" else field.type for field in SCHEMAS[kind]]
    return pa.table(
        [pa.array(values, type_) for values, type_ in zip(columns, plain, strict=True)],
        names=SCHEMAS[kind].names,
    )


def bar(key: str = BTC, minute: int = 0, close: float = 100.0, day: int = 0, **changed: object) -> Row:
    """Make the bar that opens `minute` minutes into a day."""
    opened = DAY + (day * 1440 + minute) * NS_PER_MIN
    row = {
        "key": key,
        "number": opened,
        "occurred_at": opened + NS_PER_MIN,
        "observed_at": opened + NS_PER_MIN,
        "open": 100.0,
        "high": max(100.0, close) + 1,
        "low": min(100.0, close) - 1,
        "close": close,
        "volume": 1.0,
        "interval_ns": NS_PER_MIN,
    }
    return tuple((row | changed).values())


def trade(key: str = BTC, number: int = 0, at: int = DAY, price: float = 100.0, **changed: object) -> Row:
    row = {"key": key, "number": number, "occurred_at": at, "observed_at": at, "price": price, "size": 1.0}
    return tuple((row | {"side": 1} | changed).values())


def quote(key: str = BTC, number: int = 0, at: int = DAY, bid: float = 99.0, **changed: object) -> Row:
    row = {"key": key, "number": number, "occurred_at": at, "observed_at": at, "bid": bid, "ask": 101.0}
    return tuple((row | {"bid_size": 1.0, "ask_size": 2.0} | changed).values())


def tweet(id_: str, at: int = DAY, key: str = "BTC", text: str = "to the moon") -> Row:
    return (id_, key, at, at, "somebody", text, 5, 0, False, "")


def news(id_: str, at: int = DAY, key: str = "BTC", title: str = "A headline") -> Row:
    return (id_, key, at, at, "paper", title, "", "https://example.com/1")


def archive(root: Path, **kinds: Iterable[Row]) -> Path:
    """Write one source of each kind."""
    for kind, rows in kinds.items():
        write(root, kind, table(kind, list(rows)), f"test {kind}")
    return root


def book(*instruments: str, texts: tuple[str, ...] = ()) -> Book:
    ids = instruments or (BTC, ETH)
    return Book(
        name="test",
        instruments=tuple(Instrument(id=id_) for id_ in ids),
        text=TextSettings(keys=texts),
    )


def sequence(source: Archive, batch_rows: int = READ_ROWS, skip_rows: int = 0) -> list[Row]:
    """Give all rows of all frames as tuples."""
    return [row for frame in source.frames(batch_rows, skip_rows) for row in as_tuples(frame)]


def as_tuples(frame: Frame) -> list[Row]:
    return [
        (
            int(frame.kind[i]),
            frame.instruments[frame.instrument[i]],
            int(frame.number[i]),
            int(frame.occurred_at[i]),
            int(frame.observed_at[i]),
            *frame.values[i].tolist(),
        )
        for i in range(len(frame))
    ]
