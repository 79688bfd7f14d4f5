"""The world outside of a desk, for properties: models that answer, a venue that fills, operators that meddle.

All that it does follows from the ids of what it was asked: the same requests get the same answers at the same
turns, however the market between them was cut into frames and spans.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from agents import features as f
from agents.money import exact
from agents.pipeline import Desk
from schemas.base import Event
from schemas.decisions import ConfirmationRequested
from schemas.execution import CancelRequested, OrderRequested
from schemas.verdicts import VerdictRequested
from tests.agents.answers import accepted, canceled, expired, filled, no_verdict, rejected, verdict
from tests.agents.builders import clock, confirm, decline, kill, minutes_of, pause, resume, rules, tweet

TEXTS = ("a great rally", "prices crash and plunge", "an upgrade and a win", "they hack and sue", "nothing new")
COMMANDS = ("tweet", "tweet", "tweet", "pause", "resume", "resume", "kill", "rules", "skip_clock")


def luck_of(ident: str, salt: object, n: int) -> int:
    """Give a number below n that follows from an id."""
    return hash_of(f"{ident}|{salt}") % n


def hash_of(text: str) -> int:
    """Give a number that follows from a text, the same in every process."""
    total = 0
    for char in text:
        total = (total * 1_000_003 + ord(char)) % 2**61
    return total


class Outside:
    """Answers a desk's requests, a turn or two later."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._turn = 0
        self._later: list[tuple[int, Event]] = []
        self._resting: dict[str, OrderRequested] = {}
        self._left: dict[str, Decimal] = {}
        self._held: dict[str, Decimal] = {}

    def take_over(self, desk: Desk) -> None:
        """Go on with a desk that was restored from the last one."""
        self._desk = desk

    def hear(self, said: Iterable[Event]) -> None:
        """Take what the desk said; what it asks for is answered in later turns."""
        for event in said:
            luck = luck_of(event.id, "", 8)
            if isinstance(event, VerdictRequested):
                answer = no_verdict(event) if luck == 0 else self._verdict(event)
                if luck != 1:
                    self._after(1 + luck % 2, answer)
            elif isinstance(event, OrderRequested):
                self._left[event.id] = event.quantity
                if luck == 0:
                    self._after(1, rejected(event))
                else:
                    self._after(1 + luck % 2, accepted(event))
                    self._resting[event.id] = event
            elif isinstance(event, CancelRequested):
                order = self._resting.pop(event.order, None)
                if order is not None and luck % 2:
                    self._fill(order, whole=True)
                self._after(1, msgspec.structs.replace(canceled(order), id=f"canceled/{event.id}")) if order else None
            elif isinstance(event, ConfirmationRequested) and luck != 0:
                answer_to = confirm if luck > 2 else decline
                self._after(1 + luck % 3, answer_to(0, event.id))

    def _after(self, turns: int, event: Event) -> None:
        self._later.append((self._turn + turns, event))

    def _verdict(self, request: VerdictRequested) -> Event:
        luck = luck_of(request.question, self._turn, 5) + luck_of(request.id, "own", 2)
        price = request.prompt[1].close  # type: ignore[union-attr]
        action = ("BUY", "BUY", "SELL", "SELL", "HOLD", "SELL")[luck]
        stop = {"BUY": 0.98, "SELL": 1.02}.get(action)
        return verdict(
            request,
            action,
            confidence=(luck_of(request.id, "confidence", 5)) / 4,
            stop_price=price * stop if stop and luck % 2 else None,
            size_hint=0.5 if luck == 3 else None,
        )

    def _fill(self, order: OrderRequested, *, whole: bool) -> None:
        """Fill an order, or half of what is left of it; a reduce-only order as far as there is something to reduce."""
        key, left = order.instrument, self._left[order.id]
        index = self._desk.features.index_of[key]
        lot = self._desk.book.instruments[index].lot_size
        held = self._held.get(key, Decimal(0))
        quantity = left if whole or left < 2 * lot else left / 2 // lot * lot
        if order.reduce_only:
            quantity = min(quantity, max(Decimal(0), held if order.side == "sell" else -held))
        if quantity:
            self._left[order.id] = left - quantity
            self._held[key] = held + (quantity if order.side == "buy" else -quantity)
            slip = Decimal("1.001") if order.side == "buy" else Decimal("0.999")
            price = (exact(float(self._desk.features.state.rows[index, f.PRICE])) * slip).quantize(Decimal("1E-9"))
            fill = filled(order, str(price), quantity, fee=str(quantity / 1000), number=self._turn)
            self._after(1, fill)
            if luck_of(fill.id, "again", 4) == 0:
                self._after(2, fill)

    def turn(self, now: int, command: str) -> list[Event]:
        """Give what is journaled at this time: the clock first, then a command, then what is answered by now."""
        self._turn += 1
        minutes = minutes_of(now)
        for order in list(self._resting.values()):
            self._work(order)
        events: list[Event] = [] if command == "skip_clock" else [clock(minutes)]
        luck = luck_of("command", self._turn, 5)
        if command == "tweet":
            events.append(
                tweet(minutes, f"{TEXTS[luck]} {self._turn % 3}", self._turn, ("BTC", "ETH", "WORLD")[luck % 3])
            )
        elif command == "rules":
            change = ({"order_pct": 5.0}, {"max_exposure_pct": 40.0}, {"typo": 1.0}, {"order_pct": 0.0})[luck % 4]
            events.append(rules(minutes, **change))
        elif command in ("pause", "resume", "kill"):
            events.append({"pause": pause, "resume": resume, "kill": kill}[command](minutes))
        answers = [event for turn, event in self._later if turn <= self._turn]
        self._later = [(turn, event) for turn, event in self._later if turn > self._turn]
        return events + [msgspec.structs.replace(event, occurred_at=now, observed_at=now) for event in answers]

    def _work(self, order: OrderRequested) -> None:
        """Let an order that rests do what the venue's luck wills."""
        luck = luck_of(order.id, self._turn, 12)
        resting = order.order_type != "market"
        if resting and luck > 1:
            return
        if luck == 2:
            self._after(1, expired(order))
            del self._resting[order.id]
            return
        self._fill(order, whole=luck % 2 == 0)
        if not self._left[order.id]:
            del self._resting[order.id]
        elif order.reduce_only and not self._held.get(order.instrument):
            self._after(1, canceled(order))
            del self._resting[order.id]
