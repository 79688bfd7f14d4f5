"""The chain of a partition's segments: each manifest names the digest of the one before it.

A segment is committed by one object that is created or is not, so a crash at any point leaves neither gap nor double:
the plan makes whoever comes next repeat the same segment, and its files have the same names.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.lake.kept import Kept, content_sha256
from connectors.lake.layout import chain_folder
from connectors.lake.links import Head, Manifest, Plan, digest_of, encode, file_of, read_link
from connectors.lake.records import files_of
from connectors.store import Store
from schemas.errors import StoreError

__all__ = ["Chain", "Manifest"]

_RIVAL = "another archiver writes this lake; stop one of the two"


class Chain:
    """The segments of one partition, one added at a time."""

    def __init__(self, store: Store, topic: str, partition: int) -> None:
        """Nothing is read yet."""
        self._store, self._topic, self._partition = store, topic, partition
        self._folder = chain_folder(topic, partition)
        self._next: int | None = None
        self.previous = ""
        """SHA-256 of the newest manifest; empty while there is none."""

    def next(self) -> int | None:
        """Find the newest manifest and give the offset at which its segment ends; None in a new lake.

        A commit that was broken off behind its manifest is completed. Raises StoreError where the head names a manifest
        that is not there, or is another.
        """
        self._next, self.previous = None, ""
        head_key = f"{self._folder}head"
        data = self._store.get(head_key)
        newest = ""
        if data is not None:
            head = read_link(self._store, head_key, data, Head)
            newest = head.manifest
            self._take(newest, head.sha256)
        keys = [listed.key for listed in self._store.list(self._folder, newest)]
        behind = [key for key in keys if _is_manifest(key)]
        if behind:
            self._take(behind[-1])
        plan_key = f"{(behind or [newest])[-1].removesuffix('json')}plan"
        if plan_key in keys:
            self._close((behind or [newest])[-1], plan_key)
        return self._next

    def plan(self, first: int, next_: int) -> int:
        """Say where the segment from `first` is to end, and give where it must end: a predecessor may have said so.

        Raises StoreError where the segment was committed meanwhile.
        """
        plan_key = self._key(first, "plan")
        if not self._store.create(plan_key, encode(Plan(next_))):
            data = self._store.get(plan_key)
            if data is None:  # removed between the two: the segment was committed
                raise StoreError(f"{self._store.where}/{plan_key}: is gone; {_RIVAL}")
            next_ = read_link(self._store, plan_key, data, Plan).next
        elif self._store.get(self._key(first, "json")) is not None:
            self._store.delete(plan_key)
            raise StoreError(f"{self._store.where}/{self._key(first, 'json')}: is there already; {_RIVAL}")
        return next_

    def commit(self, first: int, next_: int, records: Sequence[Kept]) -> Manifest:
        """Write a segment's files, then its manifest; both may have been written before, by who crashed here.

        `records` are all of [first, next_), in the order of their offsets. Raises StoreError where another segment
        was committed from there, and ValueError where the segment does not follow the newest.
        """
        if self._next not in {None, first} or not first < next_:
            raise ValueError(f"{self._topic}/{self._partition}: [{first}, {next_}) does not follow {self._next}")
        if records and not first <= records[0].offset <= records[-1].offset < next_:
            raise ValueError(f"{self._topic}/{self._partition}: records lie outside [{first}, {next_})")
        made = files_of(self._topic, self._partition, first, records)
        manifest = Manifest(
            topic=self._topic,
            partition=self._partition,
            first=first,
            next=next_,
            rows=len(records),
            observed_from=min((file.first_at for file in made), default=0),
            observed_to=max((file.last_at for file in made), default=0),
            content_sha256=content_sha256(records),
            files=tuple(file_of(file.name, file.data, file.rows) for file in made),
            previous=self.previous,
        )
        data, key = encode(manifest), self._key(first, "json")
        for file in made:
            self._store.put(file.name, file.data)
        if not self._store.create(key, data) and self._store.get(key) != data:
            raise StoreError(f"{self._store.where}/{key}: is another segment than this; {_RIVAL}")
        self._next, self.previous = next_, digest_of(data)
        self._close(key, self._key(first, "plan"))
        return manifest

    def _close(self, key: str, plan_key: str) -> None:
        """End a commit whose manifest is there."""
        self._store.put(f"{self._folder}head", encode(Head(key, self.previous)))
        self._store.delete(plan_key)

    def _take(self, key: str, sha256: str = "") -> None:
        data = self._store.get(key)
        if data is None:
            raise StoreError(f"{self._store.where}/{key}: is missing, and the head names it; run `quorum lake verify`")
        self.previous = digest_of(data)
        if sha256 and self.previous != sha256:
            raise StoreError(f"{self._store.where}/{key}: is not what the head names; run `quorum lake verify`")
        self._next = read_link(self._store, key, data, Manifest).next

    def _key(self, first: int, ending: str) -> str:
        return f"{self._folder}{first:020d}.{ending}"


def _is_manifest(key: str) -> bool:
    return key.endswith(".json") and "/compactions/" not in key
