"""Reading the chains of a lake whole: what they say the lake holds, and where they contradict themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from connectors.lake.compact import compactions_folder
from connectors.lake.layout import chain_folder
from connectors.lake.links import Compaction, File, Head, Manifest, Merge, Plan, digest_of, encode, read_link
from connectors.store import Store
from schemas.errors import StoreError

READINGS = 3
"""Of a chain that seems at fault, before it is taken to be."""
_LINK = re.compile(r"\d{20}\.(json|plan)")


class Fault(NamedTuple):
    """What is wrong, and with which segment."""

    segment: str
    """`TOPIC/PARTITION [FIRST, NEXT)`, or `TOPIC/PARTITION` of what concerns none or many."""
    reason: str

    def __str__(self) -> str:
        return f"{self.segment}: {self.reason}"


@dataclass
class Link:
    """A manifest as it lies in the store."""

    manifest: Manifest
    sha256: str

    @property
    def segment(self) -> str:
        return segment_of(self.manifest)


@dataclass
class Partition:
    """What a partition's chain says, in its order."""

    topic: str
    partition: int
    links: list[Link] = field(default_factory=list)
    files: dict[str, tuple[File, str]] = field(default_factory=dict)
    """The files that must be there, each with the segment, or the segments, whose rows it has."""
    spare: set[str] = field(default_factory=set)
    """Files that may be there or not: of a merge, or a segment, that is under way."""
    planned: set[int] = field(default_factory=set)
    """Where a segment under way begins."""
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.partition}"


def segment_of(manifest: Manifest) -> str:
    """Name a segment."""
    return f"{manifest.topic}/{manifest.partition} [{manifest.first:,}, {manifest.next:,})"


def partitions_of(store: Store, topics: Iterable[str] = ()) -> list[tuple[str, int]]:
    """Give the partitions that a lake has, of `topics` or of all. Raises StoreError where it has none of a topic."""
    there = store.folders("manifests/")
    wanted = list(topics)
    for topic in wanted:
        if topic not in there:
            raise StoreError(
                f"{store.where}: holds nothing of topic {topic!r}; it has {', '.join(there) or 'no topic'}"
            )
    if not there:
        raise StoreError(f"{store.where}: is no lake: it holds no manifests")
    return [
        (topic, int(name))
        for topic in wanted or there
        for name in store.folders(f"manifests/{topic}/")
        if name.isdecimal()
    ]


def read_partition(store: Store, topic: str, partition: int) -> Partition:
    """Read a partition's chain. Raises StoreError where there is anything wrong with it."""
    faults: list[Fault] = []
    found = read_settled(store, topic, partition, faults)
    if faults:
        raise StoreError(f"{store.where}: {faults[0]}; run `quorum lake verify`")
    return found


def read_settled(store: Store, topic: str, partition: int, faults: list[Fault]) -> Partition:
    """Read a chain, and add what is wrong with it to `faults`.

    Where there is a fault it is read once more: a segment may have been committed meanwhile. Where a plan was carried
    out while it was read, that reading counts for nothing.
    """
    readings = 0
    while readings < READINGS:
        found: list[Fault] = []
        reader = _Reader(store, topic, partition, found)
        chain = reader.read()
        if reader.is_outdated:
            continue
        if not found:
            break
        readings += 1
    faults += found
    return chain


class _Reader:
    """Reads the chain of a partition and holds it to what it says of itself."""

    def __init__(self, store: Store, topic: str, partition: int, faults: list[Fault]) -> None:
        self._store, self._faults = store, faults
        self.is_outdated = False
        """Whether a plan that was listed is gone: what it planned is done, and stands where this did not look."""
        self._found = Partition(topic, partition)
        self._folder = chain_folder(topic, partition)
        self._merges = compactions_folder(topic, partition)

    def read(self) -> Partition:
        keys = [listed.key for listed in self._store.list(self._folder)]
        for key in keys:
            self._known(key)
        own = [key for key in keys if not key.startswith(self._merges)]
        for key in own:
            if key.endswith(".json"):
                self._take(key)
        for before, link in pairwise([None, *self._found.links]):
            self._check_link(before, link)  # type: ignore[arg-type]  # None is the first alone
        self._check_head([key for key in own if key.endswith(".plan")])
        self._found.files = {
            file.name: (file, link.segment) for link in self._found.links for file in link.manifest.files
        }
        self._check_merges([key for key in keys if key.startswith(self._merges)])
        return self._found

    def _wrong(self, reason: str, segment: str = "") -> None:
        self._faults.append(Fault(segment or self._found.name, reason))

    def _known(self, key: str) -> None:
        name = key.removeprefix(self._merges).removeprefix(self._folder)
        if not _LINK.fullmatch(name) and name != "head":
            self._wrong(f"{key} is no part of a chain")

    def _take(self, key: str) -> None:
        data = self._store.get(key) or b""
        named = f"{self._found.name} [{int(key[-25:-5]):,}, …)" if key[-25:-5].isdecimal() else self._found.name
        try:
            manifest = read_link(self._store, key, data, Manifest)
        except StoreError as error:
            self._wrong(f"its manifest is damaged: {error}", named)
            return
        if encode(manifest) != data or manifest.v != 1:
            self._wrong(f"its manifest {key} is not as an archiver writes it", named)
        place = (manifest.topic, manifest.partition, f"{self._folder}{manifest.first:020d}.json")
        if place != (self._found.topic, self._found.partition, key):
            self._wrong(f"its manifest {key} is that of {segment_of(manifest)}", named)
            return
        self._found.links.append(Link(manifest, digest_of(data)))

    def _check_link(self, before: Link | None, link: Link) -> None:
        manifest = link.manifest
        if manifest.next <= manifest.first or not 0 <= manifest.rows <= manifest.next - manifest.first:
            self._wrong("its offsets and rows cannot be", link.segment)
        if before is None:
            if manifest.previous:
                self._wrong("is missing", f"{self._found.name} […, {manifest.first:,})")
            return
        reached = before.manifest.next
        if manifest.first > reached:
            self._wrong("is missing", f"{self._found.name} [{reached:,}, {manifest.first:,})")
        elif manifest.first < reached:
            self._wrong(f"begins before {reached:,}, where the one before it ends", link.segment)
        elif manifest.previous != before.sha256:
            self._wrong(f"its manifest is not the one that {link.segment} follows: it was changed", before.segment)

    def _check_head(self, plans: Sequence[str]) -> None:
        """Hold the newest end to the head, which is one segment behind only while a commit is under way."""
        links = self._found.links
        starts = [link.manifest.first for link in links]
        under_way = False
        for key in plans:
            first = int(key[-25:-5]) if key[-25:-5].isdecimal() else -1
            self._read(key, Plan)
            if first in starts:  # left by a crash behind the manifest, and of no more use
                under_way |= first == starts[-1]
            elif not links or first == links[-1].manifest.next:
                self._found.planned.add(first)
            else:
                self._wrong(f"{key} plans a segment where the chain does not end")
        data = self._store.get(f"{self._folder}head")
        head = None if data is None else self._read(f"{self._folder}head", Head)
        allowed = [_head_of(self._folder, links[-1:])]
        if under_way:
            allowed.append(_head_of(self._folder, links[-2:-1]))
        if data is not None and head is None:
            return
        if head not in allowed and (links or head is not None):
            self._name_cut(head)

    def _name_cut(self, head: Head | None) -> None:
        links = self._found.links
        if head is None:
            self._wrong("the head of the chain is missing", links[-1].segment)
            return
        first = head.manifest[-25:-5]
        known = next((link for link in links if f"{link.manifest.first:020d}" == first), None)
        if known is None:
            named = f"{self._found.name} [{int(first):,}, …)" if first.isdecimal() else self._found.name
            self._wrong("is missing, and the head of the chain names it", named)
        elif known.sha256 != head.sha256:
            self._wrong("its manifest is not the one that the head of the chain names: one was changed", known.segment)
        else:
            self._wrong(f"stands behind the head of the chain, which names {known.segment}", links[-1].segment)

    def _read(self, key: str, kind: type[Plan | Head]) -> Head | None:
        data = self._store.get(key)
        self.is_outdated |= data is None
        try:
            found = read_link(self._store, key, data or b"", kind)
        except StoreError as error:
            self._wrong(str(error), self._found.links[-1].segment if self._found.links else "")
            return None
        if data != encode(found):
            self._wrong(f"{key} is not as an archiver writes it")
        return found if isinstance(found, Head) else None

    def _check_merges(self, keys: Sequence[str]) -> None:
        """Follow the merges: what each replaced must have been there, and what it made is there instead."""
        previous, number = "", 0
        for key in keys:
            data = self._store.get(key)
            if data is None:
                self.is_outdated |= key.endswith(".plan")
                data = b""
            try:
                if key.endswith(".plan"):
                    merge = read_link(self._store, key, data, Merge)
                    self._found.spare |= {merge.into, *(file.name for file in merge.replaced)}
                    continue
                done = read_link(self._store, key, data, Compaction)
            except StoreError as error:
                self._wrong(str(error))
                continue
            place = (done.topic, done.partition, done.number, done.previous, encode(done))
            if place != (self._found.topic, self._found.partition, number, previous, data):
                self._wrong(f"{key} does not follow the merge before it: one of the two was changed or is missing")
            previous, number = digest_of(data), number + 1
            self._merge(key, done)

    def _merge(self, key: str, done: Compaction) -> None:
        there = [self._found.files.pop(file.name, None) for file in done.replaced]
        if [found and found[0] for found in there] != list(done.replaced):
            self._wrong(f"{key} replaces files that no manifest names")
        if done.into.rows != sum(file.rows for file in done.replaced):
            self._wrong(f"{key} replaces files by one that has not as many rows")
        segments = dict.fromkeys(found[1] for found in there if found)
        self._found.files[done.into.name] = (done.into, ", ".join(segments) or self._found.name)
        gone = {file.name for file in done.replaced}
        kept = {name: done.into.name if place in gone else place for name, place in self._found.moved.items()}
        self._found.moved = kept | dict.fromkeys(sorted(gone), done.into.name)


def _head_of(folder: str, links: Sequence[Link]) -> Head | None:
    return Head(f"{folder}{links[0].manifest.first:020d}.json", links[0].sha256) if links else None
