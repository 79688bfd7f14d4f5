"""Where events are looked up by what they hold: the folder of a run with what lies beside it, a cassette, a lake.

An event is found by a mark, a piece of its canonical line, so that a log of a million lines is not decoded for one. A
mark may stand elsewhere in a line, too: whoever asks looks at what was found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from replay.log import JOURNAL
from replay.rundir import RunDir
from schemas.base import Event
from schemas.codec import decode
from schemas.errors import ArchiveError, RefusedError, StoreError
from schemas.texts import NewsPublished, TweetPosted
from schemas.topics import TOPIC_OF, TOPICS

E = TypeVar("E", bound=Event)
Marks = Collection[bytes]
_INPUTS = frozenset(topic.name for topic in TOPICS if topic.is_input)


class Span(NamedTuple):
    """From `lo` to `hi`, in ns and both included; no event is looked for elsewhere."""

    lo: int
    hi: int


class Finder(Protocol):
    """A place where events stand."""

    @property
    def where(self) -> str:
        """What a message calls the place."""
        ...

    def find(self, marks: Marks, span: Span | None, *types: type[E]) -> Iterator[E]:
        """Give the events of these types, all of one topic, that hold one of the marks, in the order of the place.

        `span` bounds their `observed_at` where a place can make use of it. Raises QuorumError where it cannot be read.
        """
        ...


def mark_of(id: str) -> bytes:
    """Give what every line holds that names this id."""
    return msgspec.json.encode(id)[1:-1]


def beginning(id: str) -> bytes:
    """Give what the line of an event holds whose own id begins so."""
    return b'"id":"' + mark_of(id)


class OfRun:
    """The log of a run."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self.run = RunDir(root)

    def find(self, marks: Marks, span: Span | None, *types: type[E]) -> Iterator[E]:
        topic = TOPIC_OF[types[0]]
        return self.run.holding(JOURNAL if topic in _INPUTS else topic, marks, *types)


class _Entry(msgspec.Struct):
    """A line of a cassette; a line that holds no event is a mark in time."""

    event: msgspec.Raw = msgspec.Raw()


class OfCassette:
    """A folder of recorded verdicts and calls, `*.cassette`."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self._files = sorted(root.glob("*.cassette"))
        if not self._files:
            raise ArchiveError(f"{root}: holds no *.cassette file; name the folder of a cassette")

    def find(self, marks: Marks, span: Span | None, *types: type[E]) -> Iterator[E]:
        decoder = msgspec.json.Decoder(_Entry)
        for path in self._files:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if any(mark in line for mark in marks) and line.endswith(b"\n"):
                        event = _whole(f"{path}, line {number}", decoder, line)
                        if isinstance(event, types):
                            yield event


def _whole(place: str, decoder: msgspec.json.Decoder[_Entry], line: bytes) -> Event | None:
    try:
        raw = bytes(decoder.decode(line).event)
        return decode(raw) if raw else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RefusedError) as error:
        raise ArchiveError(f"{place}: not a whole event: {error}; restore it from a copy") from None


class OfLake:
    """A lake, or any archive that has the topics' folders. Its texts are not found here, but read as an archive's."""

    def __init__(self, where: str) -> None:
        from connectors.store import open_store  # noqa: PLC0415 - a bucket's client is slow to load

        self.where = where
        self._store = open_store(where)

    def find(self, marks: Marks, span: Span | None, *types: type[E]) -> Iterator[E]:
        from connectors.query.database import over_lake  # noqa: PLC0415 - DuckDB is slow to load

        if issubclass(types[0], (TweetPosted, NewsPublished)):
            return
        topic = TOPIC_OF[types[0]].replace("-", "_")
        held = " OR ".join(f"contains(event::VARCHAR, {_quoted(mark)})" for mark in marks)
        when = f" AND observed_at BETWEEN {span.lo:d} AND {span.hi:d}" if span else ""
        query = f"SELECT event::VARCHAR FROM {topic} WHERE ({held}){when} ORDER BY observed_at, id"  # noqa: S608 - quoted
        with over_lake(self._store, query) as database:
            for (line,) in database.run(query).rows():
                try:
                    event = decode(line.encode())
                except (msgspec.MsgspecError, RefusedError) as error:
                    raise StoreError(f"{self.where}: an event of {topic} is not whole: {error}") from None
                if isinstance(event, types):
                    yield event


def _quoted(mark: bytes) -> str:
    return "'" + mark.decode().replace("'", "''") + "'"


class Joined:
    """Several places as one: what the first does not hold, the next may."""

    def __init__(self, places: Sequence[Finder]) -> None:
        self.where = " and ".join(place.where for place in places)
        self._places = places

    def find(self, marks: Marks, span: Span | None, *types: type[E]) -> Iterator[E]:
        found: set[str] = set()
        for place in self._places:
            for event in place.find(marks, span, *types):
                if event.id not in found:
                    found.add(event.id)
                    yield event
