"""Proving a lake: that nothing in it was changed, lost, added or reordered since it was written.

A chain shows all but one thing: that its newest end was cut off together with the head. Who keeps the digests of the
heads elsewhere, as `Report.heads` gives them, and hands them back, sees that too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from connectors.lake.compact import compactions_folder
from connectors.lake.journal import TOPIC as JOURNAL
from connectors.lake.kept import content_sha256
from connectors.lake.layout import chain_folder
from connectors.lake.links import Compaction, File, Head, Manifest, Merge, Plan, digest_of, encode, read_link
from connectors.lake.records import records_of
from connectors.store import Store
from schemas.errors import StoreError

THREADS = 8
_LINK = re.compile(r"\d{20}\.(json|plan)")
_SEGMENT = re.compile(r"-(\d{4})-(\d{20})(\.c\d{8})?\.parquet$")


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


@dataclass
class Report:
    """What was found."""

    faults: list[Fault]
    segments: int
    rows: int
    files: int
    bytes: int
    heads: dict[str, str]
    """`TOPIC/PARTITION` to the SHA-256 of its newest manifest."""


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


def verify(
    store: Store,
    *,
    topics: Sequence[str] = (),
    deep: bool = False,
    heads: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Prove the chains, and every file's size and SHA-256; with `deep` also what the records in them say.

    `heads` are digests kept from before: each must be in its chain still. `progress` is told bytes done and in all.
    Raises StoreError where there is no lake, or where it cannot be read.
    """
    faults: list[Fault] = []
    with ThreadPoolExecutor(THREADS) as pool:
        places = partitions_of(store, topics)
        chains = list(pool.map(lambda place: _Reader(store, place[0], place[1], faults).read(), places))
        _check_heads(chains, heads or {}, faults)
        _check_listing(store, chains, topics, faults)
        _check_files(store, chains, pool, progress, faults)
        if deep:
            links = [(chain, link) for chain in chains for link in chain.links]
            for done, found in enumerate(pool.map(lambda each: _content_fault(store, *each), links), 1):
                faults += [found] if found else []
                progress(done, len(links))
    links_all = [link.manifest for chain in chains for link in chain.links]
    present = [file for chain in chains for file, _ in chain.files.values()]
    return Report(
        faults=sorted(set(faults)),
        segments=len(links_all),
        rows=sum(manifest.rows for manifest in links_all),
        files=len(present),
        bytes=sum(file.bytes for file in present),
        heads={chain.name: chain.links[-1].sha256 for chain in chains if chain.links},
    )


def read_partition(store: Store, topic: str, partition: int) -> Partition:
    """Read a partition's chain. Raises StoreError where there is anything wrong with it."""
    faults: list[Fault] = []
    found = _Reader(store, topic, partition, faults).read()
    if faults:
        raise StoreError(f"{store.where}: {faults[0]}; run `quorum lake verify`")
    return found


class _Reader:
    """Reads the chain of a partition and holds it to what it says of itself."""

    def __init__(self, store: Store, topic: str, partition: int, faults: list[Fault]) -> None:
        self._store, self._faults = store, faults
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
            data = self._store.get(key) or b""
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


def _check_heads(chains: Sequence[Partition], heads: Mapping[str, str], faults: list[Fault]) -> None:
    digests = {chain.name: {link.sha256 for link in chain.links} for chain in chains}
    for name, digest in heads.items():
        if digest not in digests.get(name, ()):
            reason = (
                f"the head {digest[:12]}… that you kept is not in its chain: the newest end was cut off or rewritten"
            )
            faults.append(Fault(name, reason))


def _check_listing(store: Store, chains: Sequence[Partition], topics: Sequence[str], faults: list[Fault]) -> None:
    """Hold what lies in the store to what the chains name."""
    roots = (
        [f"raw/{topic}/" for topic in topics] + ["journal/"] * (JOURNAL in topics) if topics else ["raw/", "journal/"]
    )
    there = {listed.key: listed.size for root in roots for listed in store.list(root)}
    named: dict[str, tuple[File, str]] = {}
    spare: set[str] = set()
    planned: dict[tuple[str, int], set[int]] = defaultdict(set)
    for chain in chains:
        named |= chain.files
        spare |= chain.spare
        planned[chain.topic, chain.partition] |= chain.planned
    for name, (file, segment) in named.items():
        size = there.get(name)
        if size is None:
            faults.append(Fault(segment, f"{name} is missing"))
        elif size != file.bytes:
            faults.append(Fault(segment, f"{name} has {size:,} bytes, not {file.bytes:,}"))
    for name in there.keys() - named.keys() - spare:
        topic = JOURNAL if name.startswith("journal/") else name.split("/")[1]
        found = _SEGMENT.search(name)
        if found is None or int(found[2]) not in planned[topic, int(found[1])]:
            partition = f"/{int(found[1])} [{int(found[2]):,}, …)" if found else ""
            faults.append(Fault(f"{topic}{partition}", f"{name} is named by no manifest"))


def _check_files(
    store: Store,
    chains: Sequence[Partition],
    pool: ThreadPoolExecutor,
    progress: Callable[[int, int], None],
    faults: list[Fault],
) -> None:
    named = [each for chain in chains for each in chain.files.values()]
    total, done = sum(file.bytes for file, _ in named), 0
    for (file, _), found in zip(named, pool.map(lambda each: _file_fault(store, *each), named), strict=True):
        faults += [found] if found else []
        done += file.bytes
        progress(done, total)


def _file_fault(store: Store, file: File, segment: str) -> Fault | None:
    data = store.get(file.name)
    if data is None or len(data) != file.bytes:
        return None  # the listing told
    if sha256(data).hexdigest() != file.sha256:
        return Fault(segment, f"{file.name} was changed: its SHA-256 is another")
    return None


def _content_fault(store: Store, chain: Partition, link: Link) -> Fault | None:
    manifest = link.manifest
    try:
        records = list(records_of(store, manifest, chain.moved))
    except StoreError as error:
        return Fault(link.segment, f"its records cannot be read: {error}")
    if len(records) != manifest.rows or content_sha256(records) != manifest.content_sha256:
        return Fault(link.segment, "its records are not those that were archived: content_sha256 is another")
    return None
