"""Proving a lake: that nothing in it was changed, lost, added or reordered since it was written.

A chain shows all but one thing: that its newest end was cut off together with the head. Who keeps the digests of the
heads elsewhere, as `Report.heads` gives them, and hands them back, sees that too. An archiver and a compaction may run
meanwhile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from connectors.lake.chains import Fault, Link, Partition, partitions_of, read_settled
from connectors.lake.compact import moved
from connectors.lake.journal import TOPIC as JOURNAL
from connectors.lake.kept import content_sha256
from connectors.lake.links import File
from connectors.lake.records import records_of
from connectors.store import Store
from schemas.errors import StoreError

THREADS = 8
_SEGMENT = re.compile(r"-(\d{4})-(\d{20})(\.c\d{8})?\.parquet$")


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
    with threads(THREADS) as pool:
        places = partitions_of(store, topics)
        there = _listed(store, topics)  # before the chains: what is written meanwhile is no fault
        chains = list(pool.map(lambda place: read_settled(store, place[0], place[1], faults), places))
        _check_heads(chains, heads or {}, faults)
        _check_listing(store, chains, there, faults)
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


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads that on an error, or an interrupt, begin nothing more."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _check_heads(chains: Sequence[Partition], heads: Mapping[str, str], faults: list[Fault]) -> None:
    digests = {chain.name: {link.sha256 for link in chain.links} for chain in chains}
    for name, digest in heads.items():
        if digest not in digests.get(name, ()):
            reason = (
                f"the head {digest[:12]}… that you kept is not in its chain: the newest end was cut off or rewritten"
            )
            faults.append(Fault(name, reason))


def _listed(store: Store, topics: Sequence[str]) -> list[str]:
    roots = [f"raw/{topic}/" for topic in topics] + ["journal/"] * (JOURNAL in topics)
    return [listed.key for root in roots or ["raw/", "journal/"] for listed in store.list(root)]


def _check_listing(store: Store, chains: Sequence[Partition], there: Sequence[str], faults: list[Fault]) -> None:
    """Find what lies in the store and is named by no chain."""
    named: set[str] = set()
    planned: dict[tuple[str, int], set[int]] = defaultdict(set)
    for chain in chains:
        named |= chain.files.keys() | chain.spare
        planned[chain.topic, chain.partition] |= chain.planned
    for name in there:
        if name in named:
            continue
        topic = JOURNAL if name.startswith("journal/") else name.split("/")[1]
        found = _SEGMENT.search(name)
        under_way = found is not None and int(found[2]) in planned[topic, int(found[1])]
        if not under_way and store.get(name) is not None:  # else a merge has replaced it meanwhile
            partition = f"/{int(found[1])} [{int(found[2]):,}, …)" if found else ""
            faults.append(Fault(f"{topic}{partition}", f"{name} is named by no manifest"))


def _check_files(
    store: Store,
    chains: Sequence[Partition],
    pool: ThreadPoolExecutor,
    progress: Callable[[int, int], None],
    faults: list[Fault],
) -> None:
    named = [(chain, *each) for chain in chains for each in chain.files.values()]
    total, done = sum(file.bytes for _, file, _ in named), 0
    checked = pool.map(lambda each: _file_fault(store, *each), named)
    for (_, file, _), found in zip(named, checked, strict=True):
        faults += [found] if found else []
        done += file.bytes
        progress(done, total)


def _file_fault(store: Store, chain: Partition, file: File, segment: str) -> Fault | None:
    data = store.get(file.name)
    if data is None:
        return None if _merged_since(store, chain, file) else Fault(segment, f"{file.name} is missing")
    if len(data) != file.bytes:
        return Fault(segment, f"{file.name} has {len(data):,} bytes, not {file.bytes:,}")
    if sha256(data).hexdigest() != file.sha256:
        return Fault(segment, f"{file.name} was changed: its SHA-256 is another")
    return None


def _merged_since(store: Store, chain: Partition, file: File) -> bool:
    try:
        return file.name in moved(store, chain.topic, chain.partition)
    except StoreError:  # a merge is damaged, which was told with its chain
        return False


def _content_fault(store: Store, chain: Partition, link: Link) -> Fault | None:
    manifest = link.manifest
    try:
        records = list(records_of(store, manifest, chain.moved))
    except StoreError as error:
        return Fault(link.segment, f"its records cannot be read: {error}")
    if len(records) != manifest.rows or content_sha256(records) != manifest.content_sha256:
        return Fault(link.segment, "its records are not those that were archived: content_sha256 is another")
    return None
