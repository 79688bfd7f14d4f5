"""What operators need: alerts, failures, saved states, refused records."""

from __future__ import annotations

from typing import Literal

from schemas.base import Event
from schemas.fields import Blob, Count, Name, Note, Text, TimeOrZero


class AlertRaised(Event, frozen=True, kw_only=True):
    """Somebody should look."""

    severity: Literal["info", "warning", "critical"]
    text: Text


class ProcessingFailed(Event, frozen=True, kw_only=True):
    """A handler raised; the book has stopped at `seq` and skips nothing.

    `cause` is the event that it failed on.
    """

    agent: Name
    error: Text


class StateSaved(Event, frozen=True, kw_only=True):
    """A snapshot: the state that reflects the journal up to and including `seq`."""

    state: Blob
    state_sha256: Name


class JournalProcessed(Event, frozen=True, kw_only=True):
    """A desk has taken the journal up to and including `seq`; what follows from it was sent before."""

    due: TimeOrZero = 0
    """The next time in ns at which it wants to see the clock; 0 is none."""
    orders: Count = 0
    """Orders and cancels that this book has asked for, from its first entry on."""
    requests: Count = 0
    """Questions to models that it has asked."""


class RecordRefused(Event, frozen=True, kw_only=True):
    """A record that could not be read: its bytes, where it stood, and why it was refused."""

    payload: Blob
    position: Name
    """`topic/partition/offset`, or `file:line`."""
    reason: Note
