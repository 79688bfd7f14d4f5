"""The script of orders that `quorum conformance executor` plays, on the topics of a namespace of its own.

It writes what a desk would write to `orders`, and for executors that simulate a market, one that stands still: quotes
on `ticks`, and `journal` and `progress` as sequencer and desk would. It reads `fills` and changes nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, cast

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from agents.money import CONTEXT, ZERO, floor_to_step, plain
from schemas.base import NS_PER_S, Event, derived_id, market_id
from schemas.book import Book, Instrument
from schemas.codec import encode
from schemas.errors import KafkaError
from schemas.execution import CancelRequested, OrderRequested
from schemas.market import QuoteTicked
from schemas.operations import JournalProcessed
from schemas.topics import PARTITIONS, TOPIC_OF
from streams.conformance import REDUCE_ONLY, RESTART, Case, Played, Sent, Word, read_word
from streams.intake import Record
from streams.kafka import Kafka, partition_of
from streams.publisher import CONFIRM_S
from streams.reading import bounds
from streams.wire import JOURNAL, Position, frame_headers, headers_of, key_of, pack

QUOTE_EVERY_S = 0.2
EXPIRES_S = 5.0
SETTLE_S = 2.0
"""After the last word, so long for one more that should not come."""
LOTS = 10
FAR, AWAY = Decimal("0.5"), Decimal("1.02")
"""A resting order is this share of the price; one that is to trade at once lies so far beyond it."""
_FRESH = ("orders", "fills", JOURNAL)


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


class OrderScript:
    """One play for one book. Use it in a `with`."""

    def __init__(
        self,
        kafka: Kafka,
        book: Book,
        settings: Settings,
        restart: Callable[[], None] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`restart` ends the executor and starts it again; None leaves that out. `say` is told what is played.

        Raises KafkaError where the namespace is the live one, or was used before.
        """
        _check_fresh(kafka)
        self._kafka, self._book, self._settings, self._restart, self._say = kafka, book, settings, restart, say
        self._instrument = book.instruments[0]
        self._quantity = settings.quantity or _quantity(self._instrument, settings.price)
        self._run = secrets.token_hex(8)  # a venue knows the client order ids of the last play
        self._partition = partition_of(book.name)
        self._producer = Producer(kafka.producer())
        self._consumer = Consumer(kafka.consumer("conformance"))
        self._seq = self._count = self._quotes = 0
        self._scenario = ""
        self._sent: list[Sent] = []
        self._words: list[Word] = []
        self._restarted = False

    def __enter__(self) -> Self:
        """Read `fills` from the beginning."""
        self._consumer.assign([TopicPartition(self._kafka.name("fills"), n, 0) for n in range(PARTITIONS)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read no more."""
        self._consumer.close()

    def play(self) -> tuple[Played, list[Word]]:
        """Play every scenario; give what was sent and what was said. An executor that says nothing ends it early."""
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
            self._look(SETTLE_S)
        played = Played(self._book, self._sent, self._restarted)
        return played, self._words

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
        self._deliver(self._sent[-1].event)
        self._look(2 * QUOTE_EVERY_S)

    def _cancels(self) -> None:
        """Cancel what is open, again what is canceled, what is filled, and what nobody knows."""
        self._begin("cancel")
        order = self._order("buy", order_type="limit", limit_price=self._at(FAR))
        self._accepted(order)
        self._cancel(order, times=2)
        self._end()
        self._cancel(order)
        self._cancel(next(sent.event.id for sent in self._sent if sent.scenario == "market"))
        self._cancel(derived_id(self._run, "nobody", 0))
        self._look(4 * QUOTE_EVERY_S)

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
        earlier = list(self._sent)
        self._begin(RESTART)
        resting = [self._order("buy", order_type="limit", limit_price=self._at(FAR)) for _ in range(2)]
        self._accepted(resting[1])
        again = self._sent[-1]
        self._orders(("buy", "buy", "buy"))
        self._look(QUOTE_EVERY_S)
        self._restart()
        self._restarted = True
        for sent in (*earlier, again):
            self._deliver(sent.event)
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
        self._quote()
        made = [self._request(side) for side in sides]
        self._progress()
        return made

    def _order(self, side: str, times: int = 1, **fields: Any) -> str:  # noqa: ANN401 - the order's own fields
        """Ask for an order, `times` over; give its id."""
        self._quote()
        order = self._request(side, **fields)
        for _ in range(times - 1):
            self._deliver(self._sent[-1].event)
        self._progress()
        return order

    def _request(self, side: str, **fields: Any) -> str:  # noqa: ANN401
        given = {
            "quantity": self._quantity,
            "order_type": "market",
            "role": "exit" if fields.get("reduce_only") else "entry",
            "approval": derived_id(self._run, "approval", len(self._sent)),
        }
        return self._send(OrderRequested, side=side, **(given | fields))

    def _cancel(self, order: str, times: int = 1) -> None:
        self._quote()
        self._send(CancelRequested, order=order, reason="conformance")
        for _ in range(times - 1):
            self._deliver(self._sent[-1].event)
        self._progress()

    def _send(self, kind: type[OrderRequested | CancelRequested], **fields: Any) -> str:  # noqa: ANN401
        """Ask for something new, which follows from the newest journal entry."""
        now = time.time_ns()
        event = kind(
            id=derived_id(self._run, "order", len(self._sent)),
            key=self._instrument.id,
            instrument=self._instrument.id,
            occurred_at=now,
            observed_at=now,
            book=self._book.name,
            seq=self._seq,
            cause=market_id(self._instrument.id, "quote", self._quotes),
            **fields,
        )
        self._sent.append(Sent(event, self._scenario, now))
        self._count += 1
        self._deliver(event)
        return event.id

    def _deliver(self, event: Event) -> None:
        self._produce(TOPIC_OF[type(event)], event, partition=self._partition)

    def _produce(self, topic: str, event: Event, **where: Any) -> None:  # noqa: ANN401 - the producer's own
        self._producer.produce(
            self._kafka.name(topic), key=key_of(event), value=encode(event), headers=headers_of(event), **where
        )

    def _quote(self) -> None:
        """Let the market be seen: as an input, and as the next entry of the journal."""
        self._quotes += 1
        now = time.time_ns()
        price = float(self._settings.price)
        size = float(CONTEXT.multiply(self._quantity, Decimal(LOTS // 2)))  # of which the paper executor takes a tenth
        quote = QuoteTicked(
            id=market_id(self._instrument.id, "quote", self._quotes),
            key=self._instrument.id,
            occurred_at=now,
            observed_at=now,
            bid=price,
            ask=price,
            bid_size=size,
            ask_size=size,
        )
        self._produce("ticks", quote)
        self._seq += 1
        entry = encode(msgspec.structs.replace(quote, book=self._book.name, seq=self._seq))
        self._producer.produce(
            self._kafka.name(JOURNAL),
            partition=self._partition,
            value=pack([entry]),
            headers=frame_headers(Position({self._book.name: self._seq}, {}), 1),
        )

    def _progress(self) -> None:
        """Say, as a desk does, how far it has come and what it has asked for; all has arrived when this returns."""
        now = time.time_ns()
        processed = JournalProcessed(
            id=derived_id(self._run, "progress", self._seq),
            key=self._book.name,
            occurred_at=now,
            observed_at=now,
            book=self._book.name,
            seq=self._seq,
            orders=self._count,
        )
        self._produce("progress", processed, partition=self._partition)
        if self._producer.flush(CONFIRM_S):
            raise KafkaError(f"Kafka at {self._kafka.bootstrap} takes no orders; is the broker up?")

    # Reading

    def _case(self) -> Case:
        return Case(Played(self._book, self._sent), self._words)

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
            self._look(QUOTE_EVERY_S)

    def _look(self, seconds: float) -> None:
        """Let the market go on, and read what is said meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._quote()
            self._progress()
            pause = time.monotonic() + min(left, QUOTE_EVERY_S)
            while (rest := pause - time.monotonic()) > 0:
                message = self._consumer.poll(rest)
                if message is not None:
                    self._words.append(self._read(message))

    def _read(self, message: Message) -> Word:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        partition, offset = cast("int", message.partition()), cast("int", message.offset())
        record = Record("fills", partition, offset, message.timestamp()[1], message.value())
        return read_word(self._book, record, message.key() or b"", time.time_ns())


def _check_fresh(kafka: Kafka) -> None:
    if not kafka.namespace:
        raise KafkaError(
            "the script of orders is never played on the live topics; set QUORUM_KAFKA_NAMESPACE (conformance., say)"
        )
    for topic in _FRESH:
        if any(bounds(kafka, topic, partition)[1] for partition in range(PARTITIONS)):
            raise KafkaError(f"{kafka.name(topic)} holds records; choose another QUORUM_KAFKA_NAMESPACE")


def _quantity(instrument: Instrument, price: Decimal) -> Decimal:
    """Give lots enough for the smallest notional, also of an order that rests far from the price."""
    lots = CONTEXT.multiply(instrument.lot_size, Decimal(LOTS))
    worth = CONTEXT.multiply(CONTEXT.multiply(CONTEXT.multiply(price, FAR), lots), instrument.multiplier)
    times = CONTEXT.divide(instrument.min_notional, worth).to_integral_value("ROUND_CEILING")
    return plain(CONTEXT.multiply(lots, max(times, Decimal(1))))
