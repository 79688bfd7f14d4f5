"""Small files to import, and what an archive holds afterwards."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.archive import SCHEMAS, TOPIC_FOLDERS
from connectors.importers.report import Report
from connectors.importers.run import import_files
from connectors.importers.settings import Settings

BARS = Settings(kind="bars", instrument="BTC/USD@test")
TICKS = Settings(kind="ticks", instrument="BTC/USD@test")
TWEETS = Settings(kind="tweets", key="BTC", source="someone")
NEWS = Settings(kind="news", key="BTC", source="paper")
START_S = 1_500_000_000
START = START_S * 1_000_000_000
MINUTE = 60_000_000_000


def bar_lines(*offsets_min: int) -> str:
    """Write good bars that open so many minutes after START, which is a whole minute later than midnight."""
    rows = "".join(f"{START_S + 60 * minute},10,12,9,11,5\n" for minute in offsets_min)
    return f"ts,open,high,low,close,volume\n{rows}"


def text_file(path: Path, content: str | bytes) -> Path:
    """Write a file; gzipped if its name says so."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def zip_file(path: Path, **members: str) -> Path:
    """Write a zip of CSVs below folders that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.csv", content)
    return path


def imported(
    path: Path, settings: Settings, root: Path | None = None, *, dry: bool = False, strict: bool = False
) -> list[Report]:
    """Import one file, beside it unless `root` says where."""
    return list(import_files([path], root or path.parent / "archive", settings, dry=dry, strict=strict))


def rows(root: Path, kind: str) -> list[dict[str, Any]]:
    """Read all rows of a kind in the order of files and rows."""
    files = sorted((root / TOPIC_FOLDERS[kind]).rglob(f"{kind}-*.parquet"))
    plain = pa.schema([(field.name, pa.string() if field.name == "key" else field.type) for field in SCHEMAS[kind]])
    tables = [pq.ParquetFile(file).read().cast(plain) for file in files]
    held: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist() if tables else []
    return held


def contents(root: Path) -> dict[str, bytes]:
    """Give every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
