"""What a chain of manifests holds: segments, merges of their files, plans, and the hint where the chain ends."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeVar

import msgspec

from connectors.store import Store
from schemas.codec import encode
from schemas.errors import StoreError

__all__ = ["Compaction", "File", "Head", "Manifest", "Merge", "Plan", "digest_of", "encode", "file_of", "read_link"]

S = TypeVar("S", bound=msgspec.Struct)


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data file."""

    name: str
    """Its key in the store."""
    sha256: str
    bytes: int
    rows: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A segment: the records of [first, next) of a partition, and the files that hold them."""

    v: int = 1
    topic: str
    partition: int
    first: int
    next: int
    rows: int
    """Records. Offsets of transactions' marks, and of records that were taken back, have none."""
    observed_from: int
    observed_to: int
    """The times, in ns, between which the events were observed; 0 where there is none."""
    content_sha256: str
    """Of the records, whatever files hold them: `content_sha256` of `connectors.lake.kept`."""
    files: tuple[File, ...]
    previous: str
    """SHA-256 of the manifest before; empty in the first."""


class Compaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of a partition that were merged into one."""

    v: int = 1
    topic: str
    partition: int
    number: int
    into: File
    replaced: tuple[File, ...]
    previous: str
    """SHA-256 of the compaction before; empty in the first."""


class Merge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A merge under way."""

    into: str
    replaced: tuple[File, ...]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the segment under way ends."""

    next: int


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest manifest."""

    manifest: str
    """Its key in the store."""
    sha256: str


def digest_of(data: bytes) -> str:
    """Give the SHA-256 that one manifest names the one before it by."""
    return sha256(data).hexdigest()


def file_of(name: str, data: bytes, rows: int) -> File:
    """Describe a data file."""
    return File(name, digest_of(data), len(data), rows)


def read_link(store: Store, key: str, data: bytes, kind: type[S]) -> S:
    """Read a part of a chain. Raises StoreError where it is none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{store.where}/{key}: is no {kind.__name__.lower()} of a lake: {error}") from None
