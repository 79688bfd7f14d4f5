"""One import: files in, rows in the archive, a report for each source. Files are read one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import file_digest
from pathlib import Path

import msgspec
import pyarrow as pa

from connectors.archive import TOPIC_FOLDERS, discard, source_digest, write
from connectors.importers.batch import Batch, clock_skew_ms, latencies_ns, shifted
from connectors.importers.binance import is_recording, read_binance
from connectors.importers.examine import examine
from connectors.importers.lean import is_lean, read_lean
from connectors.importers.market import market_batch
from connectors.importers.raw import Progress, read_raw
from connectors.importers.report import Report, printable
from connectors.importers.settings import Settings, check_options
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
    check_options(settings)
    for path in paths:
        if not path.is_file():
            raise ArchiveError(f"{path}: there is no such file")
    skew_ms = _skew_ms(paths, root, settings)
    for path in paths:
        batches = list(_read(path, root, settings, progress(path)))  # whole, before anything of it is written
        for batch, table in [(batch, examine(shifted(batch, skew_ms), settings)) for batch in batches]:
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
    try:
        for batch in _batches(path, settings, report, progress):
            _require_kind(batch, settings)
            yield batch
    except ArchiveError as error:
        if str(path) in str(error):
            raise
        raise ArchiveError(f"{path}: {error}") from None
    except pa.ArrowException as error:
        raise ArchiveError(f"{path}: a column is of a type that cannot be read: {printable(str(error))}") from None


def _require_kind(batch: Batch, settings: Settings) -> None:
    topic = TOPIC_FOLDERS[batch.kind]
    if topic != settings.kind:
        raise ArchiveError(f"holds {batch.kind}, not {settings.kind}; import them as {topic}")


def _batches(path: Path, settings: Settings, report: Report, progress: Progress) -> Iterator[Batch]:
    form = _form(path, settings)
    if form == "lean":
        yield from read_lean(path, settings, report, progress)
    elif form == "binance-ws":
        yield from read_binance(path, settings, report, progress)
    else:
        make = market_batch if settings.kind in ("bars", "ticks") else text_batch
        yield make(path, read_raw(path, settings.columns, report, progress), settings, report)


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
    folder = root / REPORTS
    earlier_ones = list(_earlier(folder, report))
    keys = write(root, report.kind, table, name)
    discard(root, report.kind, name, keep=keys)
    folder.mkdir(exist_ok=True)
    for path, earlier in earlier_ones:
        discard(root, earlier.kind, _name(earlier), keep=[])
        path.unlink()
        report.notes.append(f"replaces the import of an earlier version of this file ({earlier.rows_kept:,} rows)")
    report.files = len(keys)
    own = folder / f"{report.kind}-{source_digest(name)}.json"
    part = own.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    part.replace(own)
    return len(keys)


def _name(report: Report) -> str:
    """Name a source by what it is, not by where it lay, so that the same file imported twice counts once."""
    keys = report.keys if report.kind in ("bars", "trades", "quotes") else []
    return "|".join((report.source, report.source_sha256, *keys))


def _earlier(folder: Path, report: Report) -> Iterator[tuple[Path, Report]]:
    """Find the reports of other versions of the same file, for the same instrument."""
    for path in sorted(folder.glob(f"{report.kind}-*.json")):
        try:
            known = msgspec.json.decode(path.read_bytes(), type=Report)
        except msgspec.MsgspecError as error:
            raise ArchiveError(f"{path}: is no report of an import ({error}); remove it") from None
        same = (known.source, known.path, known.keys) == (report.source, report.path, report.keys)
        if same and known.source_sha256 != report.source_sha256:
            yield path, known
