"""A desk under watch: told one event at a time, held against the invariants after each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from agents.pipeline import Desk
from schemas.base import Event
from schemas.book import Book
from schemas.execution import CancelRequested
from tests.agents.builders import BTC, bar
from tests.agents.invariants import Witness

E = TypeVar("E", bound=Event)


class Scene:
    """A desk that is told one event at a time; all that it says is kept, and held against the invariants."""

    def __init__(self, book: Book) -> None:
        """Start a desk."""
        self.desk = Desk(book)
        self.said: list[Event] = []
        self._witness = Witness(self.desk)

    def tell(self, *events: Event) -> list[Event]:
        """Journal events one after another; give all that follows from them."""
        answers: list[Event] = []
        for event in events:
            answers += self._witness.apply(event)
        self.said += answers
        return answers

    def market(self, closes: Iterable[float], start: float = 1, key: str = BTC) -> list[Event]:
        """Close one bar a minute."""
        return self.tell(*(bar(start + i, close, key=key) for i, close in enumerate(closes)))

    def snapshot(self) -> bytes:
        """Encode the desk's state."""
        return self.desk.snapshot()


def only(kind: type[E], events: Iterable[Event]) -> E:
    """Give the one event of a kind; there must be exactly one."""
    [found] = all_of(kind, events)
    return found


def all_of(kind: type[E], events: Iterable[Event]) -> list[E]:
    """Give the events of a kind."""
    return [event for event in events if type(event) is kind]


def kinds(events: Iterable[Event]) -> list[str]:
    """Name the events, in order."""
    return [type(event).__name__ for event in events]


def cancels(events: Iterable[Event]) -> set[str]:
    """Give the orders that the events want canceled."""
    return {event.order for event in all_of(CancelRequested, events)}
