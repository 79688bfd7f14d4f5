"""The errors that a user can mend. Each message is one sentence: what, where, what to do.

QuorumError
├── RefusedError      an event or a row that cannot be true
├── BookError         a BOOK.yaml that cannot be used
├── ArchiveError      an archive, a file or a folder that cannot be read or written
├── StoreError        a bucket or folder of a lake that cannot be reached, read or written
├── FeedError         a feeds.yaml that cannot be used, or a source that fails for now
├── VenueError        an exchange that cannot be reached, or does not tell what it is asked
├── QueryError        a query that cannot be run
├── KafkaError        a cluster that cannot be reached, or a setting of it
├── StoppedError      a handler raised: the book stopped and skipped nothing
└── DivergedError     a rebuilt log differs from the recorded one
"""

from __future__ import annotations


class QuorumError(Exception):
    """Whatever a user can mend; the command line prints its message and nothing else."""

    exit_code = 2


class RefusedError(QuorumError, ValueError):
    """An event is refused: which one, which field, and why.

    All parts are kept as attributes, and the message is made of them. What they quote of the event is cut short
    and freed of control characters, so that it may stand in a terminal, a log and a dead letter.
    """

    def __init__(self, event: str, field: str, reason: str, event_id: str = "") -> None:
        self.event, self.field, self.event_id = (_quotable(part, 200) for part in (event, field, event_id))
        self.reason = _quotable(reason, 500)
        where = f"{self.event}.{self.field}" if field else self.event
        super().__init__(f"{where}{f' (id {self.event_id})' if event_id else ''}: {self.reason}")


def _quotable(text: str, limit: int) -> str:
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return "".join(shown) + ("…" if len(text) > limit else "")


class BookError(QuorumError):
    """A book that cannot be used, with the field at fault."""


class ArchiveError(QuorumError):
    """An archive, a file or a folder that cannot be read or written, with its path."""


class StoreError(QuorumError):
    """An object store that cannot be reached, or refuses; the place is named, no secret is."""


class FeedError(QuorumError):
    """A feeds.yaml that cannot be used, or a source that fails for now; no secret is named."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        """`retry_after_s` is how long the source asks to be left alone."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class VenueError(QuorumError):
    """An exchange that cannot be reached, or does not tell what it is asked; it is named."""


class QueryError(QuorumError):
    """A query that cannot be run, with what the database says of it."""


class KafkaError(QuorumError):
    """A cluster that cannot be reached or does not take what it is sent, or a setting of it."""

    exit_code = 3


class StoppedError(QuorumError):
    """A handler raised; the event, the agent and the position are named."""

    exit_code = 4

    def __init__(self, agent: str, event: str, seq: int, reason: str) -> None:
        """`event` is the id of the event that `agent` failed on, `seq` its journal entry."""
        self.agent, self.event, self.seq, self.reason = agent, event, seq, reason
        super().__init__(f"the book has stopped at journal entry {seq}: agent {agent} failed on {event}: {reason}")


class DivergedError(QuorumError):
    """A rebuilt log differs from the recorded one; the first difference is named."""

    exit_code = 1
