"""Operator commands, rule changes and the passing of time."""

from __future__ import annotations

from typing import Annotated

from schemas.base import Event
from schemas.fields import FEW, Name, Note, Setting


class BookPaused(Event, frozen=True, kw_only=True):
    """No new risk from here on; exits and stops still work."""

    operator: Name
    reason: Note = ""


class BookResumed(Event, frozen=True, kw_only=True):
    """New risk is allowed again."""

    operator: Name
    reason: Note = ""


class TradeConfirmed(Event, frozen=True, kw_only=True):
    """A person allowed the trade that `ConfirmationRequested` held."""

    operator: Name
    confirmation: Name
    """Id of the `ConfirmationRequested`."""


class TradeDeclined(Event, frozen=True, kw_only=True):
    """A person refused the trade that `ConfirmationRequested` held."""

    operator: Name
    confirmation: Name
    reason: Note = ""


class TextAccepted(Event, frozen=True, kw_only=True):
    """A person lets a text pass that `NewsFlagged` kept from models."""

    operator: Name
    text: Name
    """Id of the text's event."""
    reason: Note = ""


class TextRejected(Event, frozen=True, kw_only=True):
    """A person drops a text that `NewsFlagged` kept from models."""

    operator: Name
    text: Name
    """Id of the text's event."""
    reason: Note = ""


class KillSwitchPulled(Event, frozen=True, kw_only=True):
    """Cancel every working order, close every position, open nothing until `BookResumed`."""

    operator: Name
    reason: Note = ""


class RulesChanged(Event, frozen=True, kw_only=True):
    """Risk limits have new values from here on: name of the limit in the book's `risk` section to value."""

    operator: Name
    changes: Annotated[dict[Name, Setting], FEW]


class ClockTicked(Event, frozen=True, kw_only=True):
    """Time passed: it is `observed_at` now. The core knows time from events alone."""
