"""What an executor reads, whole: a journal, the orders that followed, the desk's progress, and the answers expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from agents.frame import Frame
from agents.pipeline import Desk
from connectors.voters import offline_voters
from replay.cassette import RecordedVerdicts
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.gateway import ReplayGateway
from replay.log import JOURNAL, MemoryLog
from schemas.base import Event, derived_id
from schemas.book import Book
from schemas.codec import decode_own
from schemas.execution import OrderRequested
from schemas.operations import JournalProcessed
from streams.paper import Order
from tests.replay.market import Market, book_of
from tests.replay.test_exchange_properties import IDS, Case
from tests.replay.venue import Command, drive, frame_of, sent


class History(NamedTuple):
    """A book's records by topic, each once and in order, and what the exchange answers to them."""

    book: Book
    journal: list[Event]
    orders: list[Order]
    progress: list[JournalProcessed]
    answers: list[Event]


class LiveOrder(Engine):
    """A replay in the one order that a live journal can have: a fill comes after the row that shows it."""

    def _meet(self, frame: Frame, row: int) -> bool:
        self._push_all(self.exchange.on_row(frame, row))
        return False

    def _finish(self) -> None:
        """What is under way stays so: the journal ends with the last row."""


class Noted(SimulatedExchange):
    """Keeps what it answers."""

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self.answers: list[Event] = []

    def submit(self, order: OrderRequested) -> list[Event]:
        return self._noted(super().submit(order))

    def on_row(self, frame: Frame, row: int) -> list[Event]:
        return self._noted(super().on_row(frame, row))

    def on_time(self, now: int) -> list[Event]:
        return self._noted(super().on_time(now))

    def _noted(self, answers: list[Event]) -> list[Event]:
        self.answers += answers
        return answers


def replayed(seed: int, minutes: int = 400, *, engine: type[Engine] = LiveOrder, name: str = "test") -> History:
    """Trade a synthetic market in a local replay."""
    book, market, log = msgspec.structs.replace(book_of(), name=name), Market(seed, minutes), MemoryLog()
    exchange = Noted(book)
    gateway = ReplayGateway(book, RecordedVerdicts(), offline_voters(book))
    host = engine(Desk(book), exchange, gateway, log)
    for _ in host.run(market.frames(), market.inputs):
        pass
    others = {entry.seq: entry for entry in map(decode_own, log.lines[JOURNAL])}
    rows = iter([(frame, row) for frame in market.frames() for row in range(len(frame))])
    journal: list[Event] = []
    for seq in range(1, host.seq + 1):
        if seq in others:
            journal.append(others[seq])
        else:
            frame, row = next(rows)
            journal.append(frame.event(row, name, seq))
    orders = [event for line in log.lines["orders"] if isinstance(event := decode_own(line), Order)]
    return History(book, journal, orders, progress_of(book, journal, orders), exchange.answers)


def driven(case: Case) -> History:
    """Send a case's orders into its market; row k is journal entry k."""
    commands: dict[int, list[Command]] = {max(after, 1): [] for after in case.commands}
    for after, each in case.commands.items():
        commands[max(after, 1)] += each
    frame, name = frame_of(case.rows, IDS), case.book.name
    journal = [frame.event(row, name, row + 1) for row in range(len(frame))]
    orders: list[Order] = [
        msgspec.structs.replace(sent(command, journal[seq - 1].observed_at), book=name, seq=seq)
        for seq in sorted(commands)
        for command in commands[seq]
    ]
    answers = drive(SimulatedExchange(case.book), [frame], commands)
    return History(case.book, journal, orders, progress_of(case.book, journal, orders), answers)


def progress_of(book: Book, journal: Iterable[Event], orders: Iterable[Order]) -> list[JournalProcessed]:
    """What a desk says that reports after every entry."""
    made: dict[int, int] = {}
    for order in orders:
        made[order.seq] = made.get(order.seq, 0) + 1
    total = 0
    progress: list[JournalProcessed] = []
    for entry in journal:
        total += made.get(entry.seq, 0)
        progress.append(
            JournalProcessed(
                id=derived_id(book.name, "desk", entry.seq),
                key=book.name,
                occurred_at=entry.observed_at,
                observed_at=entry.observed_at,
                book=book.name,
                seq=entry.seq,
                orders=total,
            )
        )
    return progress


def kinds(history: History) -> set[str]:
    """Name what happens in a history."""
    return {type(event).__name__ for event in (*history.orders, *history.answers)}
