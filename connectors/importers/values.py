"""Columns of foreign files to the archive's types. A value that cannot be read becomes null, for the checks to count.

Nothing here raises for a single bad value; what is wrong with a whole column (an unknown zone, a time column of
booleans) is an ArchiveError.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.importers.settings import TimeUnit
from schemas.base import NS_PER_S
from schemas.errors import ArchiveError
from schemas.fields import EARLIEST_NS, LATEST_NS

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INTEGER = r"^[+-]?(\d{1,18}|[1-8]\d{18})$"
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?(Z|[+-]\d{2}:?\d{2})?$"
_ZONED = r"(Z|[+-]\d{2}:?\d{2})$"
_UNITS: dict[TimeUnit, int] = {"s": NS_PER_S, "ms": 1_000_000, "us": 1_000, "ns": 1}
_BUY = ("buy", "b", "bid", "1")
_SELL = ("sell", "s", "ask", "-1")


def floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read numbers; text such as `1e-3` counts, `NaN` stays what it is."""
    if _is_text(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        nan = pc.equal(pc.utf8_lower(trimmed), "nan")
        readable = pc.if_else(pc.match_substring_regex(trimmed, _NUMBER), trimmed, None)
        return pc.if_else(nan, pa.scalar(float("nan")), pc.cast(readable, pa.float64()))
    if pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
        return pa.nulls(len(column), pa.float64())
    return pc.cast(column, pa.float64(), safe=False)


def integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read whole numbers below 9e18 exactly, as the ns of today are."""
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.int64(), safe=False)
    if _is_text(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        readable = pc.if_else(pc.match_substring_regex(trimmed, _INTEGER), trimmed, None)
        return pc.cast(readable, pa.int64())
    if pa.types.is_floating(column.type):
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        return pc.cast(pc.if_else(whole, column, None), pa.int64(), safe=False)
    return pa.nulls(len(column), pa.int64())


def strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read text, of numbers too."""
    return column if column.type == pa.string() else pc.cast(column, pa.string())


def booleans(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read true and false, also as text or 0 and 1; anything else is false."""
    if pa.types.is_boolean(column.type):
        return pc.fill_null(column, False)  # noqa: FBT003
    words = pc.utf8_lower(strings(column))
    return pc.fill_null(pc.is_in(words, value_set=pa.array(["true", "1", "yes", "t"])), False)  # noqa: FBT003


def sides(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read the aggressor's side: buy, sell, b, s, 1, -1; what is anything else is unknown, 0."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(strings(column)))
    buys = pc.cast(pc.is_in(words, value_set=pa.array(_BUY)), pa.int8())
    sells = pc.cast(pc.is_in(words, value_set=pa.array(_SELL)), pa.int8())
    return pc.cast(pc.subtract(buys, sells), pa.int8())


def times(column: pa.ChunkedArray, unit: TimeUnit, tz: str) -> pa.ChunkedArray:
    """Read times as int64 ns UTC. A time that names no zone is in `tz`. Raises ArchiveError."""
    if pa.types.is_timestamp(column.type):
        return _as_ns(column, tz)
    if pa.types.is_date(column.type):
        return _as_ns(pc.cast(column, pa.timestamp("s")), tz)
    is_iso = unit == "iso" or (unit == "auto" and floats(column).null_count == len(column))
    if _is_text(column.type) and is_iso:
        return _iso(pc.utf8_trim_whitespace(column), tz)
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type) or unit == "iso":
        raise ArchiveError(f"the time column holds {column.type}, not times; name another with --map ts=COLUMN")
    return _epoch(column, unit)


def _epoch(column: pa.ChunkedArray, unit: TimeUnit) -> pa.ChunkedArray:
    """Scale counts of a unit; whole ones exactly, whatever the others are: a float does not hold the ns of today."""
    whole = integers(column)
    values = pc.fill_null(floats(column), float("nan")).to_numpy()
    scale = _UNITS[unit] if unit != "auto" else _scale(values)
    sane = np.abs(values) < LATEST_NS / scale
    exact = sane & whole.is_valid().to_numpy()
    parts, units = np.modf(np.where(sane, values, 0.0))
    ns = units.astype(np.int64) * scale + np.round(parts * scale).astype(np.int64)
    ns[exact] = pc.fill_null(whole, 0).to_numpy()[exact] * scale
    return pa.chunked_array([pa.array(ns, mask=~sane)])


def _scale(values: np.ndarray) -> int:
    """Guess the unit: the one in which the middle of the times lies between 1971 and 2100."""
    known = values[np.isfinite(values) & (values != 0)]
    middle = float(np.median(known)) if len(known) else 0.0
    for scale in sorted(_UNITS.values(), reverse=True):
        if EARLIEST_NS < middle * scale < LATEST_NS:
            return scale
    raise ArchiveError(f"the times (about {middle:g}) fit no unit between 1971 and 2100; say --time-unit")


def _iso(column: pa.ChunkedArray, tz: str) -> pa.ChunkedArray:
    shaped = pc.match_substring_regex(column, _ISO)
    zoned = pc.and_(shaped, pc.match_substring_regex(column, _ZONED))
    with_zone = _parsed(pc.if_else(zoned, column, None), pa.timestamp("ns", "UTC"))
    without = _parsed(pc.if_else(pc.and_not(shaped, zoned), column, None), pa.timestamp("ns"))
    return pc.coalesce(_as_ns(with_zone, tz), _as_ns(without, tz))


def _parsed(column: pa.ChunkedArray, kind: pa.TimestampType) -> pa.ChunkedArray:
    try:
        return pc.cast(column, kind)
    except pa.ArrowInvalid:  # a day such as 30 February spoils the whole column: read the rows one by one
        found = pa.array([_moment(text, kind) for text in column.to_pylist()], pa.int64())
        return pa.chunked_array([found.cast(kind)])


def _moment(text: str | None, kind: pa.TimestampType) -> int | None:
    try:
        at: int | None = pa.scalar(text, pa.string()).cast(kind).cast(pa.int64()).as_py()
    except pa.ArrowInvalid:
        return None
    return at


def _as_ns(column: pa.ChunkedArray, tz: str) -> pa.ChunkedArray:
    """Give timestamps as ns UTC. Of a wall time that comes twice a year, the earlier is meant."""
    if column.type.tz is None:
        zone = tz or "UTC"
        try:
            ZoneInfo(zone)
            column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="latest")
        except (ZoneInfoNotFoundError, ValueError, pa.ArrowInvalid):
            raise ArchiveError(f"--tz {zone}: no such zone on this machine; names are like America/New_York") from None
    try:
        return pc.cast(pc.cast(column, pa.timestamp("ns", "UTC")), pa.int64())
    except pa.ArrowInvalid:
        raise ArchiveError("a time lies outside the years 1678 to 2262; is --time-unit right?") from None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
