"""The envelope that every event carries, and the identity of events.

An event is a frozen record; its type's name is its tag on the wire. Inputs bring their id from the source; a
derived event's id is a hash of what caused it, so the same log gives the same ids on every machine and
re-delivery is harmless.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from schemas.fields import Count, Label, Name, PositiveInt, Time

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MIN = 60 * NS_PER_S
NS_PER_DAY = 86_400 * NS_PER_S


class Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A part of an event: immutable, compared by value, unknown fields refused.

    Fields at their default are left off the wire. So a field added later (always optional) changes no byte of
    the events written before it, and an old log keeps its hash for ever.
    """


class Event(Record, frozen=True, kw_only=True, tag_field="type", tag=True):
    """The envelope. Times are int64 nanoseconds since the Unix epoch, UTC.

    `occurred_at` explains, `observed_at` orders raw history, `seq` orders everything else.
    """

    id: Name
    """Unique for ever; inputs bring it from the source."""
    key: Name
    """Kafka key: the instrument (`BTC/USDT@binance`) of an input, otherwise instrument or book."""
    occurred_at: Time
    """When it happened at the source."""
    observed_at: Time
    """When we could first know it."""
    book: Label = ""
    """The account that this event belongs to; empty on raw inputs, which belong to none."""
    seq: Count = 0
    """Position in the book's journal; of a derived event, of the journal entry that led to it."""
    cause: Label = ""
    """Id of the event that led to this one; empty on raw inputs."""
    v: PositiveInt = 1
    """Version of this type's schema; left off the wire while it is 1."""


_BLAKE2B_128 = blake2b(digest_size=16)


def derived_id(cause: str, agent: str, index: int) -> str:
    """The id of the `index`-th event that `agent` answers to the event `cause`.

    An agent of a book is named `BOOK/AGENT`: two books see the same market events, and never give the same id.

    32 hex digits: 128 bits of BLAKE2b.
    """
    digest = _BLAKE2B_128.copy()  # cheaper than a new one
    digest.update(f"{cause}|{agent}|{index}".encode())
    return digest.hexdigest()


def market_id(key: str, kind: str, number: int) -> str:
    """The id of a market event: instrument, kind (`bar60`, `trade`, `quote`) and the source's number for it.

    The number is the exchange's trade or update id; of a bar, its opening time in ns.
    """
    return f"{key}/{kind}/{number}"


def base_of(instrument: str) -> str:
    """The symbol that texts on an instrument are keyed by: `BTC` of `BTC/USD@binance`, `SPY` of `SPY@lean`."""
    return instrument.partition("@")[0].partition("/")[0]
