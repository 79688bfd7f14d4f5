"""A record as Kafka keeps it, and the digest of a run of them, which no re-encoding of the lake's files changes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from struct import Struct

import msgspec

from schemas.wire import Headers

_FRAME = Struct("<qqbiIi")
"""Offset, timestamp, its type, then the lengths of key, headers and value; -1 is null, which is not empty."""
_DIGESTED_AT_ONCE = 1_024
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]]).decode


class Kept(msgspec.Struct, frozen=True, gc=False):
    """All that a consumer is told of a record besides its topic and partition.

    Nothing of it is followed by the collector, which would go over the million of them that an archiver may hold.
    """

    offset: int
    timestamp_ms: int
    timestamp_type: int
    """0 none, 1 when it was made, 2 when the broker took it."""
    key: bytes | None
    headers: bytes
    """As `packed` gives them."""
    value: bytes | None


def packed(headers: Headers) -> bytes:
    """Give headers as bytes; none are no bytes."""
    return _pack(headers) if headers else b""


def unpacked(data: bytes) -> Headers:
    """Read what `packed` wrote."""
    return [*_unpack(data)] if data else []


def content_sha256(records: Iterable[Kept]) -> str:
    """Give the digest of records in the order of their offsets: every part of each, with its length before it."""
    digest = sha256()
    frame = _FRAME.pack
    rest = iter(records)
    while some := list(islice(rest, _DIGESTED_AT_ONCE)):
        parts: list[bytes] = []
        for record in some:
            key, head, value = record.key, record.headers, record.value
            key_size = -1 if key is None else len(key)
            value_size = -1 if value is None else len(value)
            parts += (
                frame(record.offset, record.timestamp_ms, record.timestamp_type, key_size, len(head), value_size),
                key or b"",
                head,
                value or b"",
            )
        digest.update(b"".join(parts))
    return digest.hexdigest()
