"""The contract that every agent keeps: handle an event, answer with events, hold everything else in `state`.

State encodes to bytes; a snapshot is those bytes. What an agent makes of market data are rules of `agents.scan`, which
takes a quiet span at once; that leaves the same state, bit for bit, as event by event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from schemas.base import Event, derived_id
from schemas.book import Book

NEVER = 2**63 - 1
"""A time that does not come."""


class State(msgspec.Struct, kw_only=True):
    """All that an agent remembers. `due` is the next time at which it wants to see the clock."""

    due: int = NEVER


E = TypeVar("E", bound=Event)
S = TypeVar("S", bound=State)
Handler = Callable[[Any], Iterable[Event]]


def _to_wire(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), value.tobytes()]
    raise NotImplementedError(f"no encoding for {type(value).__name__}")


def _from_wire(kind: type, value: Any) -> object:  # noqa: ANN401 # whatever msgpack held
    if kind is np.ndarray:
        dtype, shape, data = value
        return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
    raise NotImplementedError(f"no decoding for {kind.__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_wire, decimal_format="string")


def pack(state: msgspec.Struct) -> bytes:
    """Encode a state record; maps keep their order, which is part of the state."""
    return _encoder.encode(state)


T = TypeVar("T", bound=msgspec.Struct)


def unpack(data: bytes, kind: type[T]) -> T:
    """Decode what `pack` wrote."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_from_wire).decode(data)


class Agent(Generic[S]):
    """One decision maker of a book.

    Subclasses set `name`, build `state`, and list in `handlers` what they listen to. A handler is a pure function of
    the event and `state`; it answers with events made by `emit`.
    """

    name: ClassVar[str]
    state: S

    def __init__(self, book: Book, state: S) -> None:
        """Start from a state; `book` gives every setting."""
        self.book = book
        self.state = state
        self.index_of = {instrument.id: i for i, instrument in enumerate(book.instruments)}
        self._book_name = book.name
        self._author = f"{book.name}/{self.name}"
        self._cause = ""
        self._said = 0

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Name the event types that this agent listens to, each with its handler."""
        return {}

    def emit(self, kind: type[E], cause: Event, /, key: str = "", **fields: Any) -> E:  # noqa: ANN401
        """Make a derived event: its id follows from the cause, the book, this agent and the index of the answer."""
        fields["id"], fields["key"] = "", key or self.book.name
        fields["occurred_at"] = fields["observed_at"] = 0
        return self.signed(kind(**fields), cause)

    def signed(self, draft: E, cause: Event) -> E:
        """Make a derived event of a draft, which has its key and all that is its own. Cheaper than `emit`."""
        said, at = cause.id, cause.observed_at
        self._said = self._said + 1 if said == self._cause else 0
        self._cause = said
        return replace(
            draft,
            id=derived_id(said, self._author, self._said),
            occurred_at=at,
            observed_at=at,
            book=self._book_name,
            seq=cause.seq,
            cause=said,
        )

    def snapshot(self) -> bytes:
        """Encode the state."""
        return pack(self.state)

    def restore(self, data: bytes) -> None:
        """Put back what `snapshot` gave."""
        self.state = unpack(data, type(self.state))
