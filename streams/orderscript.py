"""The script of orders that `quorum conformance executor` plays: what comes when, and how long to wait for the answers.

Orders that are to rest lie far from the price, those that are to trade at once beyond it. What does not end by itself
is canceled, so that nothing is left at a venue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from agents.money import CONTEXT, ZERO, floor_to_step, plain
from schemas.base import NS_PER_S, derived_id
from schemas.book import Book, Instrument
from schemas.execution import CancelRequested, OrderRequested
from streams.conformance import REDUCE_ONLY, RESTART, Case, Played, Word
from streams.kafka import Kafka
from streams.stage import QUOTE_EVERY_S, Stage

EXPIRES_S = 5.0
SETTLE_S = 2.0
"""After the last word, so long for one more that should not come."""
LOTS = 10
FAR, AWAY = Decimal("0.5"), Decimal("1.02")
"""A resting order is this share of the price; one that is to trade at once lies so far beyond it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to play with."""

    price: Decimal
    """Near the market's. Of no matter on paper."""
    quantity: Decimal = ZERO
    """Of an order; 0 is ten lots, or what the smallest notional asks for."""
    wait_s: float = 20.0
    """So long for an answer."""
    start_s: float = 60.0
    """So long for the first answer, and after a restart."""
    burst: int = 20
    """Orders at once."""


def play(
    kafka: Kafka,
    book: Book,
    settings: Settings,
    restart: Callable[[], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Played, list[Word]]:
    """Play every scenario; give what was sent and what was said. An executor that says nothing ends it early.

    `restart` ends the executor and starts it again; None leaves that out. `say` is told what is played. Raises
    KafkaError where the namespace is the live one, or was used before.
    """
    quantity = settings.quantity or _quantity(book.instruments[0], settings.price)
    with Stage(kafka, book, settings.price, quantity) as stage:
        script = _Script(stage, book, settings, quantity, restart, say)
        script.play()
    return Played(book, stage.sent, script.restarted), stage.words


class _Script:
    """The scenarios, one after the other."""

    def __init__(
        self,
        stage: Stage,
        book: Book,
        settings: Settings,
        quantity: Decimal,
        restart: Callable[[], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._stage, self._book, self._settings, self._quantity = stage, book, settings, quantity
        self._instrument, self._restart, self._say = book.instruments[0], restart, say
        self._scenario = ""
        self.restarted = False

    def play(self) -> None:
        if self._market():
            for scenario in (
                self._duplicates,
                self._cancels,
                self._cancel_races,
                self._triggers,
                self._expiry,
                self._refusal,
                self._burst,
                self._reduce_only,
                self._restarts,
            ):
                scenario()
            self._stage.look(SETTLE_S)

    # The scenarios

    def _market(self) -> bool:
        self._begin("market")
        order = self._order("buy")
        self._until(lambda case: bool(case.said[order]), self._settings.start_s)
        if not self._case().said[order]:
            return False
        self._end()
        return True

    def _duplicates(self) -> None:
        """One order three times at once, and once more when it has ended."""
        self._begin("duplicate")
        self._order("buy", times=3)
        self._end()
        self._stage.deliver(self._stage.sent[-1].event)
        self._stage.look(2 * QUOTE_EVERY_S)

    def _cancels(self) -> None:
        """Cancel what is open, again what is canceled, what is filled, and what nobody knows."""
        self._begin("cancel")
        order = self._order("buy", order_type="limit", limit_price=self._at(FAR))
        self._accepted(order)
        self._cancel(order, times=2)
        self._end()
        self._cancel(order)
        self._cancel(next(sent.event.id for sent in self._stage.sent if sent.scenario == "market"))
        self._cancel(derived_id(self._stage.run, "nobody", 0))
        self._stage.look(4 * QUOTE_EVERY_S)

    def _cancel_races(self) -> None:
        """A cancel right behind an order that trades at once: whoever wins, one end."""
        self._begin("cancel race")
        for side in ("buy", "sell"):
            self._cancel(self._order(side, reduce_only=side == "sell"))
        self._end()

    def _triggers(self) -> None:
        """A stop that rests, then a stop and a take-profit that are beyond their triggers: traded, or refused."""
        self._begin("stop")
        resting = self._order("sell", order_type="stop", trigger_price=self._at(FAR), reduce_only=True, role="stop")
        self._accepted(resting)
        self._cancel(resting)
        self._end()
        self._order("sell", order_type="stop", trigger_price=self._at(AWAY), reduce_only=True, role="stop")
        self._end()
        below = self._at(CONTEXT.divide(Decimal(1), AWAY))
        self._order("sell", order_type="take_profit", trigger_price=below, reduce_only=True, role="target")
        self._end()

    def _expiry(self) -> None:
        self._begin("expiry")
        expires_at = time.time_ns() + int(EXPIRES_S * NS_PER_S)
        self._order("buy", order_type="limit", limit_price=self._at(FAR), expires_at=expires_at)
        self._until(self._all_ended, EXPIRES_S + self._settings.wait_s)

    def _refusal(self) -> None:
        """An order below the smallest lot: a venue refuses it, and the executor has to say so."""
        self._begin("too small")
        self._order("buy", quantity=CONTEXT.divide(self._instrument.lot_size, Decimal(LOTS)))
        self._end()

    def _burst(self) -> None:
        self._begin("burst")
        with_sides = ("buy", "sell") * (self._settings.burst // 2)
        self._orders(with_sides)
        self._end()

    def _reduce_only(self) -> None:
        """Close more than there is, then what is not there at all."""
        self._begin(REDUCE_ONLY)
        self._order("buy")
        self._end()
        for _ in range(2):
            self._order("sell", reduce_only=True, quantity=self._many())
            self._end()

    def _restarts(self) -> None:
        """Orders that rest and orders under way, a restart, and a cancel.

        What has ended is delivered again, and one that rests; the others an executor has to remember by itself.
        """
        if self._restart is None:
            return
        earlier = list(self._stage.sent)
        self._begin(RESTART)
        resting = [self._order("buy", order_type="limit", limit_price=self._at(FAR)) for _ in range(2)]
        self._accepted(resting[1])
        again = self._stage.sent[-1]
        self._orders(("buy", "buy", "buy"))
        self._stage.look(QUOTE_EVERY_S)
        self._restart()
        self.restarted = True
        for sent in (*earlier, again):
            self._stage.deliver(sent.event)
        for order in resting:
            self._cancel(order)
        self._until(self._all_ended, self._settings.start_s)
        self._end()
        self._order("sell", reduce_only=True, quantity=self._many())
        self._end()

    # Writing

    def _begin(self, scenario: str) -> None:
        self._scenario = scenario
        self._say(scenario)

    def _at(self, share: Decimal) -> Decimal:
        """Give a price, on the instrument's tick."""
        return plain(floor_to_step(CONTEXT.multiply(self._settings.price, share), self._instrument.tick_size))

    def _many(self) -> Decimal:
        """Give more than all scenarios together can have bought."""
        return plain(CONTEXT.multiply(self._quantity, Decimal(10)))

    def _orders(self, sides: Sequence[str]) -> list[str]:
        """Ask for market orders, all at once."""
        self._stage.quote()
        made = [self._request(side) for side in sides]
        self._stage.report()
        return made

    def _order(self, side: str, times: int = 1, **fields: Any) -> str:  # noqa: ANN401 - the order's own fields
        """Ask for an order, `times` over; give its id."""
        self._stage.quote()
        order = self._request(side, **fields)
        for _ in range(times - 1):
            self._stage.deliver(self._stage.sent[-1].event)
        self._stage.report()
        return order

    def _request(self, side: str, **fields: Any) -> str:  # noqa: ANN401
        given = {
            "quantity": self._quantity,
            "order_type": "market",
            "role": "exit" if fields.get("reduce_only") else "entry",
            "approval": derived_id(self._stage.run, "approval", len(self._stage.sent)),
        }
        return self._stage.ask(self._scenario, OrderRequested, side=side, **(given | fields))

    def _cancel(self, order: str, times: int = 1) -> None:
        self._stage.quote()
        self._stage.ask(self._scenario, CancelRequested, order=order, reason="conformance")
        for _ in range(times - 1):
            self._stage.deliver(self._stage.sent[-1].event)
        self._stage.report()

    # Reading

    def _case(self) -> Case:
        return Case(Played(self._book, self._stage.sent), self._stage.words)

    def _end(self) -> None:
        """Wait until all orders have ended; cancel what does not, so that nothing is left at the venue."""
        self._until(self._all_ended, self._settings.wait_s)
        case = self._case()
        late = [order for order in case.orders if order not in case.cancels and not case.has_ended(order)]
        for order in late:
            self._cancel(order)
        if late:
            self._until(self._all_ended, self._settings.wait_s)

    @staticmethod
    def _all_ended(case: Case) -> bool:
        return all(case.has_ended(order) for order in case.orders)

    def _accepted(self, order: str) -> None:
        self._until(lambda case: bool(case.said[order]), self._settings.wait_s)

    def _until(self, done: Callable[[Case], bool], timeout_s: float) -> None:
        """Let the market go on until something holds, or time runs out: then a rule is broken."""
        until = time.monotonic() + timeout_s
        while not done(self._case()) and time.monotonic() < until:
            self._stage.look(QUOTE_EVERY_S)


def _quantity(instrument: Instrument, price: Decimal) -> Decimal:
    """Give lots enough for the smallest notional, also of an order that rests far from the price."""
    lots = CONTEXT.multiply(instrument.lot_size, Decimal(LOTS))
    worth = CONTEXT.multiply(CONTEXT.multiply(CONTEXT.multiply(price, FAR), lots), instrument.multiplier)
    times = CONTEXT.divide(instrument.min_notional, worth).to_integral_value("ROUND_CEILING")
    return plain(CONTEXT.multiply(lots, max(times, Decimal(1))))
