"""One import: files in, rows in the archive, a report for each source. Files are read one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import file_digest
from pathlib import Path

import msgspec

from connectors.archive import TOPIC_FOLDERS, discard, source_digest, write
from connectors.importers.batch import Batch, clock_skew_ms, latencies_ns, shifted
from connectors.importers.binance import is_recording, read_binance
from connectors.importers.examine import examine
from connectors.importers.lean import is_lean, read_lean
from connectors.importers.market import market_batch
from connectors.importers.raw import Progress, read_raw
from connectors.importers.report import Report
from connectors.importers.settings import Settings
from connectors.importers.texts import text_batch
from schemas.errors import ArchiveError

REPORTS = "_reports"
"""Folder of the archive that keeps the reports, which readers pass over."""


def import_files(
    paths: Sequence[Path],
    root: Path,
    settings: Settings,
    *,
    dry: bool = False,
    strict: bool = False,
    progress: Callable[[Path], Progress] = lambda _: lambda _: None,
) -> Iterator[Report]:
    """Bring files into the archive at `root` and give a report for each source in them, as each is done.

    The files of one call are taken to be of one recorder: its clock's skew is found over all of them. With `dry`
    nothing is written; with `strict` no source of which a row was dropped. Raises ArchiveError for a file that cannot
    be read at all; the files before it are in the archive by then.
    """
    for path in paths:
        if not path.is_file():
            raise ArchiveError(f"{path}: there is no such file")
    skew_ms = _skew_ms(paths, root, settings)
    for path in paths:
        for batch in _read(path, root, settings, progress(path)):
            table = examine(shifted(batch, skew_ms), settings)
            report = batch.report
            if not (dry or (strict and report.dropped)) and table.num_rows:
                report.files = _store(root, report, table)
            yield report


def _skew_ms(paths: Sequence[Path], root: Path, settings: Settings) -> int:
    """Tell how far receive times are to be moved; only ticks are recorded closely enough to show it.

    The files are read for it once more: holding them all would take more memory than reading takes time.
    """
    if settings.clock_skew_ms != "auto":
        return settings.clock_skew_ms
    if settings.kind != "ticks":
        return 0
    received = [path for path in paths if _form(path, settings) != "lean"]
    batches = (batch for path in received for batch in _read(path, root, settings, lambda _: None))
    return clock_skew_ms([latencies_ns(batch) for batch in batches])


def _read(path: Path, root: Path, settings: Settings, progress: Progress) -> Iterator[Batch]:
    report = Report(
        source=path.name,
        path=Path(os.path.relpath(path, root)).as_posix(),
        source_sha256=_sha256(path),
        kind=settings.kind,
    )
    form = _form(path, settings)
    if form == "lean":
        batches = read_lean(path, settings, report)
    elif form == "binance-ws":
        batches = read_binance(path, settings, report, progress)
    else:
        make = market_batch if settings.kind in ("bars", "ticks") else text_batch
        batches = iter([make(path, read_raw(path, settings.columns, report, progress), settings, report)])
    for batch in batches:
        if TOPIC_FOLDERS[batch.kind] != settings.kind:
            topic = TOPIC_FOLDERS[batch.kind]
            raise ArchiveError(f"{path}: holds {batch.kind}, not {settings.kind}; import them as {topic}")
        yield batch


def _form(path: Path, settings: Settings) -> str:
    if settings.form != "auto":
        return settings.form
    if path.suffix == ".zip" and is_lean(path):
        return "lean"
    return "binance-ws" if is_recording(path) else "plain"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from None


def _store(root: Path, report: Report, table: object) -> int:
    """Write the rows and the report, and remove what an earlier import of the source left."""
    name = _name(report)
    paths = write(root, report.kind, table, name)
    discard(root, report.kind, name, keep=paths)
    folder = root / REPORTS
    folder.mkdir(exist_ok=True)
    for path, earlier in _earlier(folder, report):
        discard(root, earlier.kind, _name(earlier), keep=[])
        path.unlink()
        report.notes.append(f"replaces the import of an earlier version of this file ({earlier.rows_kept:,} rows)")
    report.files = len(paths)
    own = folder / f"{report.kind}-{source_digest(name)}.json"
    own.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return len(paths)


def _name(report: Report) -> str:
    """Name a source by what it is, not by where it lay, so that the same file imported twice counts once."""
    keys = report.keys if report.kind in ("bars", "trades", "quotes") else []
    return "|".join((report.source, report.source_sha256, *keys))


def _earlier(folder: Path, report: Report) -> Iterator[tuple[Path, Report]]:
    """Find the reports of other versions of the same file, for the same instrument."""
    for path in sorted(folder.glob(f"{report.kind}-*.json")):
        known = msgspec.json.decode(path.read_bytes(), type=Report)
        same = (known.source, known.path, known.keys) == (report.source, report.path, report.keys)
        if same and known.source_sha256 != report.source_sha256:
            yield path, known
