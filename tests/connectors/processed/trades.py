"""Trades for tests, as rows and as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

AT = 1_704_189_600_000_000_000
"""2024-01-02 10:00 UTC."""
COLUMNS = {
    "key": pa.string(),
    "number": pa.int64(),
    "occurred_at": pa.int64(),
    "observed_at": pa.int64(),
    "price": pa.float64(),
    "size": pa.float64(),
}


class Trade(NamedTuple):
    key: str
    number: int
    occurred_at: int
    observed_at: int
    price: float
    size: float


def trade(key: str, number: int, after: int, *, delay: int = 0, price: float = 100.0, size: float = 1.0) -> Trade:
    """A trade so many ns after ten o'clock, seen `delay` later."""
    return Trade(key, number, AT + after, AT + after + delay, price, size)


def table(trades: Sequence[Trade]) -> pa.Table:
    return pa.Table.from_pylist([each._asdict() for each in trades], schema=pa.schema(list(COLUMNS.items())))
