"""QuantConnect LEAN data files: zipped CSV without a header, `TYPE/MARKET/RESOLUTION/SYMBOL/DATE_KIND.zip`.

The day is in the file's name, the first column is milliseconds since that day's midnight: in New York for equities,
in UTC for crypto and for the futures of LEAN's samples. Prices of equities are integers of 1/10,000.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from connectors.importers.batch import Batch
from connectors.importers.raw import ROW, UNREADABLE, Progress
from connectors.importers.report import Report, printable
from connectors.importers.settings import Settings, check_instrument
from connectors.importers.values import times
from schemas.base import NS_PER_MIN, NS_PER_MS
from schemas.errors import ArchiveError

_NAME = re.compile(r"(?P<day>\d{8})_(?P<kind>trade|quote)\.zip")
_EXPIRY = re.compile(r"_(?P<expiry>\d{6,8})\.csv$")
_ZONES = {"equity": "America/New_York", "crypto": "UTC", "future": "UTC"}
_EQUITY_SCALE = 10_000
_DAY_MS = 86_400_000
_OHLC = ("open", "high", "low", "close")
_FIELDS = {
    ("tick", "trade"): ("ms", "price", "size", "exchange", "condition", "suspicious"),
    ("tick", "quote"): ("ms", "bid", "bid_size", "ask", "ask_size", "exchange", "condition", "suspicious"),
    ("minute", "trade"): ("ms", *_OHLC, "volume"),
    ("minute", "quote"): (
        "ms",
        *(f"bid_{name}" for name in _OHLC),
        "bid_size",
        *(f"ask_{name}" for name in _OHLC),
        "ask_size",
    ),
}
_WORDS = ("exchange", "condition")


def is_lean(path: Path) -> bool:
    """Tell a LEAN file by its name."""
    return _NAME.fullmatch(path.name) is not None


def read_lean(path: Path, settings: Settings, report: Report, progress: Progress) -> Iterator[Batch]:
    """Give one batch for each CSV in the zip: of futures there is one a contract. Raises ArchiveError."""
    found = _NAME.fullmatch(path.name)
    parts = path.resolve().parts
    if not found or len(parts) < 5 or parts[-5] not in _ZONES or parts[-3] not in ("tick", "minute"):  # noqa: PLR2004
        raise ArchiveError(
            f"{path}: not a LEAN path; they are {'|'.join(_ZONES)}/MARKET/tick|minute/SYMBOL/DAY_trade|quote.zip"
        )
    security, resolution = parts[-5], parts[-3]
    try:
        midnight = datetime.strptime(found["day"], "%Y%m%d")  # noqa: DTZ007 - a wall time; its zone follows
    except ValueError:
        raise ArchiveError(f"{path}: {found['day']} is no day") from None
    members = _members(path)
    progress(path.stat().st_size)
    instruments = _instruments(path, [name for name, _ in members], settings)
    for (name, data), instrument in zip(members, instruments, strict=True):
        own = report if len(members) == 1 else _copy(report, f"{path.name}:{printable(name)}")
        own.keys = [instrument]
        table = _table(path, name, data, _FIELDS[resolution, found["kind"]])
        own.rows_read = table.num_rows
        at = _at(table["ms"], midnight, settings.tz or _ZONES[security])
        scale = _EQUITY_SCALE if security == "equity" else 1
        make = (
            {"trade": _bars, "quote": _minute_quotes}
            if resolution == "minute"
            else {"trade": _trades, "quote": _quotes}
        )
        yield make[found["kind"]](table, at, instrument, scale, settings, own)


def _members(path: Path) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(name, archive.read(name)) for name in sorted(archive.namelist()) if name.endswith(".csv")]
    except (*UNREADABLE, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: encrypted
        raise ArchiveError(f"{path}: cannot be read as a zip: {error}") from None
    if not members:
        raise ArchiveError(f"{path}: holds no CSV; a LEAN zip holds one for each contract")
    return members


def _instruments(path: Path, names: list[str], settings: Settings) -> list[str]:
    """Name the instrument of each CSV: `{expiry}` in the option stands for the contract's."""
    expiries = [found["expiry"] if (found := _EXPIRY.search(name)) else "" for name in names]
    if "{expiry}" not in settings.instrument and len(names) > 1:
        raise ArchiveError(
            f"{path}: holds the contracts {', '.join(expiries)}; name them with {{expiry}} in --instrument,"
            " as in ES-{expiry}/USD@cme"
        )
    return [check_instrument(settings.instrument.replace("{expiry}", expiry)) for expiry in expiries]


def _copy(report: Report, source: str) -> Report:
    return Report(source=source, path=report.path, source_sha256=report.source_sha256, kind=report.kind)


def _table(path: Path, name: str, data: bytes, fields: tuple[str, ...]) -> pa.Table:
    kinds = {field: pa.string() if field in _WORDS else pa.float64() for field in fields}
    try:
        table = pa_csv.read_csv(
            io.BytesIO(data),
            read_options=pa_csv.ReadOptions(column_names=list(fields), use_threads=False),
            convert_options=pa_csv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise ArchiveError(f"{path}: {name!r} is not of the form {','.join(fields)}: {printable(str(error))}") from None
    return table.append_column(ROW, pa.array(np.arange(1, table.num_rows + 1)))


def _at(ms: pa.ChunkedArray, midnight: datetime, zone: str) -> pa.ChunkedArray:
    """Give the UTC times of wall times given in milliseconds since midnight; outside the day there is none."""
    within = pc.and_(pc.greater_equal(ms, 0.0), pc.less(ms, float(_DAY_MS)))
    since_ns = pc.cast(pc.round(pc.multiply(pc.if_else(within, ms, None), float(NS_PER_MS))), pa.int64())
    start_ns = pa.scalar(midnight, pa.timestamp("ns")).cast(pa.int64())
    return times(pc.cast(pc.add(since_ns, start_ns), pa.timestamp("ns")), "auto", zone)


def _envelope(
    table: pa.Table, occurred: pa.ChunkedArray, instrument: str, settings: Settings, report: Report
) -> dict[str, object]:
    report.notes.append(
        f"no receive time in the source: observed_at is occurred_at plus {settings.delay_ms} ms (--delay-ms)"
    )
    return {
        "key": pa.array([instrument] * table.num_rows, pa.string()),
        "occurred_at": occurred,
        "observed_at": pc.add(occurred, settings.delay_ms * NS_PER_MS),
        ROW: table[ROW],
    }


def _bars(
    table: pa.Table, at: pa.ChunkedArray, instrument: str, scale: int, settings: Settings, report: Report
) -> Batch:
    columns = _envelope(table, pc.add(at, NS_PER_MIN), instrument, settings, report)
    columns |= {name: pc.divide(table[name], float(scale)) for name in _OHLC}
    columns |= {"number": at, "volume": table["volume"]}
    columns["interval_ns"] = pa.array(np.full(table.num_rows, NS_PER_MIN))
    report.kind = "bars"
    return Batch("bars", pa.table(columns), report, received=False)


def _minute_quotes(
    table: pa.Table, at: pa.ChunkedArray, instrument: str, scale: int, settings: Settings, report: Report
) -> Batch:
    """Take the last quote of each minute, known when the minute is over."""
    report.notes.append("of each minute the last quote is taken: the archive holds quotes, not bars of quotes")
    columns = _envelope(table, pc.add(at, NS_PER_MIN), instrument, settings, report)
    columns |= {side: pc.divide(table[f"{side}_close"], float(scale)) for side in ("bid", "ask")}
    columns |= {"number": at} | {name: table[name] for name in ("bid_size", "ask_size")}
    report.kind = "quotes"
    return Batch("quotes", pa.table(columns), report, received=False)


def _trades(
    table: pa.Table, at: pa.ChunkedArray, instrument: str, scale: int, settings: Settings, report: Report
) -> Batch:
    columns = _envelope(table, at, instrument, settings, report)
    columns |= {"price": pc.divide(table["price"], float(scale)), "size": table["size"]}
    columns["side"] = pa.array(np.zeros(table.num_rows, np.int8))
    return _ticks("trades", table, columns, settings, report)


def _quotes(
    table: pa.Table, at: pa.ChunkedArray, instrument: str, scale: int, settings: Settings, report: Report
) -> Batch:
    columns = _envelope(table, at, instrument, settings, report)
    columns |= {side: pc.divide(table[side], float(scale)) for side in ("bid", "ask")}
    columns |= {name: table[name] for name in ("bid_size", "ask_size")}
    return _ticks("quotes", table, columns, settings, report)


def _ticks(kind: str, table: pa.Table, columns: dict[str, object], settings: Settings, report: Report) -> Batch:
    """Leave out what the source flags as suspicious: far from the market, and perhaps taken back later."""
    columns["number"] = pa.nulls(table.num_rows, pa.int64())
    made = pa.table(columns)
    flagged = pc.not_equal(table["suspicious"], 0.0)
    count = pc.sum(flagged).as_py() or 0
    if count and not settings.keep_suspicious:
        row = int(np.argmax(flagged.to_numpy())) + 1
        report.drop("flagged as suspicious by the source (--keep-suspicious keeps them)", count, f"row {row}")
        made = made.filter(pc.invert(flagged))
    report.kind = kind
    report.notes.append("no id in the source: rows are numbered by their time, and no double can be told")
    return Batch(kind, made, report, received=False, numbered=False)
