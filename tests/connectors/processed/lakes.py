"""Small lakes for tests, written as an archiver writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from connectors.lake.kept import packed
from connectors.lake.records import Kept, files_of
from connectors.store import FolderStore
from schemas.base import Event
from schemas.codec import encode
from schemas.topics import TOPIC_OF
from schemas.wire import headers_of, key_of

WRITTEN_MS = 1_704_200_000_000


def kept(offset: int, event: Event) -> Kept:
    """An event as the record of a topic."""
    return Kept(offset, WRITTEN_MS, 0, key_of(event), packed(headers_of(event)), encode(event))


def write_lake(
    root: Path, events: Iterable[Event], journals: Mapping[str, Iterable[Event]] | None = None
) -> FolderStore:
    """Put events into the raw layer, in one partition a topic; `journals` are the entries of books, in order."""
    store = FolderStore(root)
    topics: dict[str, list[Event]] = {}
    for event in events:
        topics.setdefault(TOPIC_OF[type(event)], []).append(event)
    for topic, found in topics.items():
        put(store, topic, [kept(offset, event) for offset, event in enumerate(found)])
    entries = [
        encode(msgspec.structs.replace(event, book=book)) for book, found in (journals or {}).items() for event in found
    ]
    if entries:
        put(store, "journal", [Kept(0, WRITTEN_MS, 0, None, b"", b"\n".join(entries))])
    return store


def put(store: FolderStore, topic: str, records: list[Kept]) -> None:
    """Put a segment's files."""
    for file in files_of(topic, 0, records[0].offset, records):
        store.put(file.name, file.data)
