"""Merging the small and late files of an hour that is over into one for each kind and partition.

A merge is planned, written, put down in a chain of its own, and only then are the files that it replaces deleted: who
crashes in between is followed by one who takes up the plan. What the manifests say of the records stays true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.archive import encoded
from connectors.lake.layout import chain_folder
from connectors.lake.links import Compaction, File, Manifest, Merge, digest_of, encode, file_of, read_link
from connectors.store import Store
from schemas.base import NS_PER_S
from schemas.errors import StoreError

MOST_ROWS = 2_097_152
"""Of a merged file: what is held in memory to write it. An hour with more has several."""
_HOUR = re.compile(r"/year=(\d+)/month=(\d+)/day=(\d+)/hour=(\d+)/")
_ORDERS = (("observed_at", "number", "offset"), ("observed_at", "offset", "entry"), ("observed_at", "id", "offset"))


class Merged(NamedTuple):
    """What a compaction of a partition did."""

    merges: int
    files: int
    """That were replaced."""


def compactions_folder(topic: str, partition: int) -> str:
    """Give the folder of a partition's merges."""
    return f"{chain_folder(topic, partition)}compactions/"


def compactions(store: Store, topic: str, partition: int) -> Iterator[tuple[str, bytes]]:
    """Give the merges of a partition, oldest first: key and content."""
    for listed in list(store.list(compactions_folder(topic, partition))):
        if listed.key.endswith(".json") and (data := store.get(listed.key)) is not None:
            yield listed.key, data


def moved(store: Store, topic: str, partition: int) -> dict[str, str]:
    """Say of each file that was merged with others where its rows are now. Raises StoreError at what is no merge."""
    found: dict[str, str] = {}
    for key, data in compactions(store, topic, partition):
        done = read_link(store, key, data, Compaction)
        gone = {file.name for file in done.replaced}
        found = {name: done.into.name if place in gone else place for name, place in found.items()}
        found |= dict.fromkeys(sorted(gone), done.into.name)
    return found


def compact(
    store: Store,
    topic: str,
    partition: int,
    manifests: Sequence[Manifest],
    before_ns: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Merged:
    """Merge the files of every hour that ends by `before_ns`; `progress` is told how many files each merge took.

    Raises StoreError where a file is missing or damaged. Nothing is lost by an interrupt.
    """
    chain = _Merges(store, topic, partition)
    merges = files = chain.finish()
    merges = min(merges, 1)
    present = chain.present(manifests)
    for group in _groups(present, before_ns):
        chain.merge(group)
        progress(len(group))
        merges, files = merges + 1, files + len(group)
    return Merged(merges, files)


def _groups(present: Mapping[str, File], before_ns: int) -> Iterator[list[File]]:
    """Give the files to be merged with each other."""
    places: dict[str, list[File]] = {}
    for name in sorted(present):
        if _ends(name) <= before_ns:
            places.setdefault(name.rsplit("-", 1)[0], []).append(present[name])
    for files in places.values():
        group: list[File] = []
        for file in files:
            if group and sum(each.rows for each in group) + file.rows > MOST_ROWS:
                if len(group) > 1:
                    yield group
                group = []
            group.append(file)
        if len(group) > 1:
            yield group


def _ends(name: str) -> int:
    """Give when the hour of a file's folder ends."""
    found = _HOUR.search(name)
    if found is None:
        raise StoreError(f"{name}: lies in no folder of an hour; run `quorum lake verify`")
    year, month, day, hour = map(int, found.groups())
    return (int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) + 3_600) * NS_PER_S


class _Merges:
    """The chain of a partition's merges."""

    def __init__(self, store: Store, topic: str, partition: int) -> None:
        self._store, self._topic, self._partition = store, topic, partition
        self._folder = compactions_folder(topic, partition)
        self._number, self._previous = 0, ""
        for _, data in compactions(store, topic, partition):
            self._number, self._previous = self._number + 1, digest_of(data)

    def finish(self) -> int:
        """Take up a merge that was cut off; give how many files it replaced."""
        for listed in list(self._store.list(self._folder)):
            if listed.key.endswith(".plan") and (data := self._store.get(listed.key)) is not None:
                merge = read_link(self._store, listed.key, data, Merge)
                if self._store.get(f"{listed.key.removesuffix('.plan')}.json") is None:
                    self._write(merge)
                self._clear(listed.key, merge)
                return len(merge.replaced)
        return 0

    def present(self, manifests: Sequence[Manifest]) -> dict[str, File]:
        """Give the files that hold the partition's rows by now."""
        found = {file.name: file for manifest in manifests for file in manifest.files}
        for key, data in compactions(self._store, self._topic, self._partition):
            done = read_link(self._store, key, data, Compaction)
            for file in done.replaced:
                found.pop(file.name, None)
            found[done.into.name] = done.into
        return found

    def merge(self, files: Sequence[File]) -> None:
        """Make one file of several."""
        first = files[0].name.removesuffix(".parquet").split(".", 1)[0]
        merge = Merge(f"{first}.c{self._number:08d}.parquet", tuple(files))
        plan_key = f"{self._folder}{self._number:020d}.plan"
        if not self._store.create(plan_key, encode(merge)):
            raise StoreError(f"{self._store.where}/{plan_key}: another compaction runs; wait for it and run this again")
        self._write(merge)
        self._clear(plan_key, merge)

    def _write(self, merge: Merge) -> None:
        table = _joined([self._read(file) for file in merge.replaced])
        data = encoded(table)
        self._store.put(merge.into, data)
        done = Compaction(
            topic=self._topic,
            partition=self._partition,
            number=self._number,
            into=file_of(merge.into, data, table.num_rows),
            replaced=merge.replaced,
            previous=self._previous,
        )
        content, key = encode(done), f"{self._folder}{self._number:020d}.json"
        if not self._store.create(key, content) and self._store.get(key) != content:
            raise StoreError(f"{self._store.where}/{key}: another compaction wrote it; run this again")
        self._number, self._previous = self._number + 1, digest_of(content)

    def _read(self, file: File) -> pa.Table:
        data = self._store.get(file.name)
        if data is None or digest_of(data) != file.sha256:
            what = "is missing" if data is None else "is damaged"
            raise StoreError(f"{self._store.where}/{file.name}: {what}; run `quorum lake verify`")
        return pq.read_table(pa.BufferReader(data))

    def _clear(self, plan_key: str, merge: Merge) -> None:
        for file in merge.replaced:
            self._store.delete(file.name)
        self._store.delete(plan_key)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Join files of one kind, sorted as each of them is."""
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    names = set(table.column_names)
    order = next((order for order in _ORDERS if names.issuperset(order)), ("timestamp_ms", "offset"))
    return table.sort_by([(name, "ascending") for name in order])
