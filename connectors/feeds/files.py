"""A file, or a folder of files, that another program appends texts to: JSON lines and CSV, as an import takes them.

watchfiles tells when something changed. No position is kept over a restart: what is read again has the ids that it
had, and of that what is older than the newest told by more than an hour is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import watchfiles

from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import FilesFeed
from connectors.feeds.tail import MAX_LINE_BYTES, Tail, record_of
from connectors.feeds.texts import Teller, TextEvent, news, tweet
from connectors.importers.raw import record_table
from connectors.importers.report import Report, printable
from connectors.importers.settings import Settings
from connectors.importers.texts import FirstKey, text_batch
from schemas.errors import ArchiveError, FeedError
from schemas.texts import NewsPublished, TweetPosted

ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv")
MAX_FILES = 500
"""Each is kept open."""
_LOOK_MS = 1_000
"""How often the files are looked at though nothing was said: a notice may come before we listen."""
_ANY_KEY = "?"
_REMEMBERED_IDS = 100_000
_KINDS: dict[str, type[TextEvent]] = {"tweets": TweetPosted, "news": NewsPublished}


@dataclass
class _File:
    """An open file."""

    path: Path
    tail: Tail
    first_key: FirstKey = field(default_factory=dict)
    past: int = 0
    """Bytes that may have been told before: by an earlier run, or before the file was written anew."""


class Files:
    """The rows of files that concern some keys."""

    def __init__(self, name: str, settings: FilesFeed) -> None:
        self.name = name
        self._settings, self._path = settings, Path(settings.path)
        self._is_folder = False
        self._teller = Teller(_KINDS[settings.tell], settings.keys or ({settings.key: ()} if settings.key else {}))
        self._import = Settings(
            kind=settings.tell,
            key=_ANY_KEY if settings.keys else settings.key,
            source=settings.source,
            mapping=settings.map,
            time_unit=settings.time_unit,
            tz=settings.tz,
        )

    @property
    def streams(self) -> Sequence[Stream]:
        """Texts under each key that the settings name; none where the file's own column names them."""
        return self._teller.streams

    async def run(self, sink: Sink, since: Since) -> None:
        """Tell the rows that there are, then those that come."""
        self._teller.begin(since)
        if not self._path.exists():
            raise FeedError(f"feed {self.name}: {self._path}: there is no such file or folder")
        self._is_folder = self._path.is_dir()
        folder = self._path if self._is_folder else self._path.parent
        following = _Following(self, sink)
        try:
            await following.look(is_first=True)
            async for _ in watchfiles.awatch(
                folder,
                watch_filter=None,
                debounce=100,
                step=20,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                recursive=False,
                force_polling=self._settings.polling,
            ):
                await following.look()
        except OSError as error:
            where = f"feed {self.name}: {error.filename or self._path}"
            raise FeedError(f"{where}: cannot be read: {error.strerror or error}") from None
        except RuntimeError as error:  # watchfiles' own
            raise FeedError(f"feed {self.name}: {self._path}: cannot be watched: {printable(str(error))}") from None
        finally:
            following.close()

    def paths(self) -> list[Path]:
        """Give the files that are to be read now, by name."""
        if not self._is_folder:  # a file may be away while it is rotated
            return [self._path] if self._path.is_file() else []
        found = sorted(path for path in self._path.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
        if len(found) > MAX_FILES:
            why = f"holds {len(found):,} files, {MAX_FILES} are followed at most: move those away that are complete"
            raise FeedError(f"feed {self.name}: {self._path}: {why}")
        return found

    def mark(self) -> None:
        """What was told so far is the past, should a file be read again."""
        self._teller.mark()

    def tell(self, sink: Sink, file: _File, rows: Sequence[tuple[int, dict[str, Any]]], *, again: bool) -> None:
        """Tell the texts of some rows; what the import would drop is refused row by row."""
        report = Report(source=file.path.name, path="", source_sha256="", kind=self._settings.tell)
        try:
            table = record_table([record for _, record in rows], [number for number, _ in rows])
            batch = text_batch(file.path, table, self._import, report, file.first_key)
        except (ArchiveError, pa.ArrowException, UnicodeEncodeError) as error:
            if len(rows) > 1:  # each by itself: one bad row speaks for itself alone
                for row in rows:
                    self.tell(sink, file, [row], again=again)
            else:
                reason = str(error).replace("--", "") if isinstance(error, ArchiveError) else "holds what is no text"
                sink.refuse(f"{file.path}:{rows[0][0]}: {reason}", printable(str(rows[0][1])))
            return
        for (number, record), row in zip(rows, batch.table.to_pylist(), strict=True):
            missing = [name for name in ("key", "occurred_at", "text", *self._title) if row[name] is None]
            if missing:
                name = missing[0].replace("occurred_at", "ts")
                reason = f"{file.path}:{number}: {name} is missing or cannot be read"
                sink.refuse(reason, printable(str(record)))
                continue
            self._teller.tell(sink, self._event(sink, row), None if self._settings.keys else [row["key"]], again=again)
        while len(file.first_key) > _REMEMBERED_IDS:
            del file.first_key[next(iter(file.first_key))]

    @property
    def _title(self) -> tuple[str, ...]:
        return ("title",) if self._settings.tell == "news" else ()

    def _event(self, sink: Sink, row: dict[str, Any]) -> TextEvent:
        named = {name: row[name] for name in ("id", "text", "url")}
        if self._settings.tell == "news":
            return news(sink, **named, source=row["source"] or "", title=row["title"], published_at=row["occurred_at"])
        counts = {name: row[name] for name in ("followers", "retweets", "is_retweet")}
        return tweet(sink, **named, **counts, author=row["author"] or "", posted_at=row["occurred_at"])


class _Following:
    """The files that are open, and how far each has been told."""

    def __init__(self, feed: Files, sink: Sink) -> None:
        self._feed, self._sink = feed, sink
        self._open: dict[tuple[int, int], _File] = {}

    def close(self) -> None:
        for file in self._open.values():
            file.tail.close()

    async def look(self, *, is_first: bool = False) -> None:
        """Tell what has been added, of files too that were renamed away or removed since; then let go of those."""
        there: set[tuple[int, int]] = set()
        for path in self._feed.paths():
            try:
                state = path.stat()
                place = (state.st_dev, state.st_ino)
                if place not in self._open:
                    self._open[place] = file = _File(path, Tail(path))
                    file.past = file.tail.size if is_first else 0
            except FileNotFoundError:  # gone since the folder was listed
                continue
            there.add(place)
        for place, file in list(self._open.items()):
            if file.tail.is_rewritten():
                self._feed.mark()
                file.first_key.clear()
                file.past = file.tail.size
            await self._tell(file)
            if place not in there:
                file.tail.close()
                del self._open[place]

    async def _tell(self, file: _File) -> None:
        begin = file.tail.offset
        for lines in file.tail.blocks():
            if rows := list(self._rows(file, lines)):
                self._feed.tell(self._sink, file, rows, again=begin < file.past)
            begin = file.tail.offset
            await asyncio.sleep(0)

    def _rows(self, file: _File, lines: Sequence[tuple[int, bytes | None]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, text in lines:
            if text is None:
                self._sink.refuse(f"{file.path}:{number}: a line of over {MAX_LINE_BYTES:,} bytes")
                continue
            if not text.strip():
                continue
            try:
                record = record_of(file.tail, text)
            except ValueError as error:  # a UnicodeDecodeError is one
                reason = "a line that is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                self._sink.refuse(f"{file.path}:{number}: {reason}", printable(text.decode("utf-8", "replace")))
                continue
            if record is not None:
                yield number, record
