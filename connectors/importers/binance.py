"""Raw recordings of Binance's streams: a line is the receive time in ns, a blank, and the message as it came.

Trades and best bids and offers are taken; messages of other streams are counted in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from connectors.importers.batch import Batch
from connectors.importers.raw import ROW, UNREADABLE, Progress, open_bytes
from connectors.importers.report import Report, printable
from connectors.importers.settings import Settings, check_instrument
from connectors.importers.values import floats
from schemas.base import NS_PER_MS
from schemas.errors import ArchiveError
from schemas.fields import INT64_MAX, LATEST_NS

_STREAMS = {"trade": "trades", "bookTicker": "quotes"}


_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=LATEST_NS // NS_PER_MS)]


class _Trade(msgspec.Struct):
    s: str
    t: _Id
    p: str
    q: str
    m: bool
    T: _Ms


class _BookTicker(msgspec.Struct):
    s: str
    u: _Id
    b: str
    B: str
    a: str
    A: str
    T: _Ms | None = None
    """When the book changed; futures tell it, spot does not."""


class _Message(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()


_message = msgspec.json.Decoder(_Message)
_events: dict[str, msgspec.json.Decoder[Any]] = {
    "trades": msgspec.json.Decoder(_Trade),
    "quotes": msgspec.json.Decoder(_BookTicker),
}
Rows = dict[str, list[tuple[int, int, Any]]]


def is_recording(path: Path) -> bool:
    """Tell a recording by its first line."""
    if path.suffix in (".parquet", ".zip"):
        return False
    try:
        with open_bytes(path, lambda _: None) as file:
            received, _, message = file.readline().partition(b" ")
    except UNREADABLE:
        return False
    return received.isdigit() and message.startswith(b"{")


def read_binance(path: Path, settings: Settings, report: Report, progress: Progress) -> Iterator[Batch]:
    """Give the trades and the quotes of a recording of one symbol. Raises ArchiveError."""
    instrument = check_instrument(settings.instrument)
    try:
        rows = _rows(path, report, progress)
    except UNREADABLE as error:
        raise ArchiveError(f"{path}: cannot be read: {error}") from None
    found = sorted({event.s for kind in rows.values() for _, _, event in kind})
    symbol = settings.symbol or (found[0] if len(found) == 1 else "")
    if symbol not in found:
        raise ArchiveError(
            f"{path}: holds {printable(', '.join(found)) or 'no trades or quotes'}; say which with --symbol"
        )
    own = report
    for kind, make in (("trades", _trades), ("quotes", _quotes)):
        ours = [row for row in rows[kind] if row[2].s == symbol]
        if ours:
            own.kind, own.keys = kind, [instrument]
            own.rows_read = len(ours) + own.rows_dropped
            yield make(ours, instrument, own)
            own = _copy(report)


def _copy(report: Report) -> Report:
    return Report(source=report.source, path=report.path, source_sha256=report.source_sha256, kind=report.kind)


def _rows(path: Path, report: Report, progress: Progress) -> Rows:
    rows: Rows = {"trades": [], "quotes": []}
    others: Counter[str] = Counter()
    with open_bytes(path, progress) as file:
        for number, line in enumerate(file, 1):
            digits, _, text = line.partition(b" ")
            try:
                received = _received(digits)
                message = _message.decode(text)
                kind = _STREAMS.get(message.stream.partition("@")[2])
                if kind is None:
                    others[message.stream or "without a stream"] += 1
                else:
                    rows[kind].append((number, received, _events[kind].decode(message.data)))
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
                example = f"row {number}: {line.decode('utf-8', 'replace')}"
                report.drop("a line that is no receive time and message", 1, example)
    for stream, count in sorted(others.items()):
        report.notes.append(f"{count:,} messages of another stream left aside: {stream}")
    return rows


def _received(digits: bytes) -> int:
    at = int(digits)
    if not 0 < at < LATEST_NS:
        raise ValueError(digits)
    return at


def _trades(rows: list[tuple[int, int, _Trade]], instrument: str, report: Report) -> Batch:
    events = [event for _, _, event in rows]
    columns = _envelope(rows, instrument) | {
        "number": pa.array([event.t for event in events], pa.int64()),
        "occurred_at": pa.array([event.T * NS_PER_MS for event in events], pa.int64()),
        "price": _numbers([event.p for event in events]),
        "size": _numbers([event.q for event in events]),
        "side": pa.array([-1 if event.m else 1 for event in events], pa.int8()),
    }
    return Batch("trades", pa.table(columns), report, received=True)


def _quotes(rows: list[tuple[int, int, _BookTicker]], instrument: str, report: Report) -> Batch:
    events = [event for _, _, event in rows]
    timed = all(event.T is not None for event in events)
    if not timed:
        report.notes.append("no time of the event in the source: occurred_at is taken to be the receive time")
    occurred = [event.T * NS_PER_MS if timed and event.T else received for _, received, event in rows]
    columns = _envelope(rows, instrument) | {
        "number": pa.array([event.u for event in events], pa.int64()),
        "occurred_at": pa.array(occurred, pa.int64()),
        "bid": _numbers([event.b for event in events]),
        "ask": _numbers([event.a for event in events]),
        "bid_size": _numbers([event.B for event in events]),
        "ask_size": _numbers([event.A for event in events]),
    }
    return Batch("quotes", pa.table(columns), report, received=True, timed=timed)


def _envelope(rows: list[tuple[int, int, Any]], instrument: str) -> dict[str, Any]:
    return {
        "key": pa.array([instrument] * len(rows), pa.string()),
        "observed_at": pa.array([received for _, received, _ in rows], pa.int64()),
        ROW: pa.array([number for number, _, _ in rows], pa.int64()),
    }


def _numbers(texts: list[str]) -> pa.ChunkedArray:
    return floats(pa.chunked_array([pa.array(texts, pa.string())]))
