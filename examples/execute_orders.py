"""An executor in one file, which fills orders at the last price on `ticks`: python examples/execute_orders.py BOOK.

It needs confluent-kafka alone and keeps the contract of docs/executing.md: what it has done it reads from `fills`, what
it has to do from `orders`, both from the start. So it may be killed at any time. Instead of a venue it has `meet`.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, Producer, TopicPartition

BOOTSTRAP = os.environ.get("QUORUM_KAFKA_BOOTSTRAP", "127.0.0.1:9092")
NAMESPACE = os.environ.get("QUORUM_KAFKA_NAMESPACE", "")
STALE_S = 60.0
"""An order to open that is older when we first see it was decided on another price."""
Event = dict[str, Any]


class Executor:
    """The orders of one book."""

    def __init__(self, book: str) -> None:
        """Connect. A transactional id shuts out an executor of this book that was thought dead."""
        self.book = book
        self.open: dict[str, Event] = {}
        self.ended: set[str] = set()
        self.accepted: set[str] = set()
        self.positions: dict[str, Decimal] = {}
        self.read_to: list[TopicPartition] = []
        self.prices: dict[str, tuple[Decimal, Decimal]] = {}
        """Of each instrument, what a buyer pays and what a seller gets."""
        cluster = {"bootstrap.servers": BOOTSTRAP, "topic.metadata.refresh.interval.ms": 10_000}
        self.producer = Producer(cluster | {"transactional.id": f"{NAMESPACE}execute-orders-{book}"})
        self.producer.init_transactions()
        self.consumer = Consumer(
            cluster
            | {
                "group.id": "execute-orders",  # asked for, and not used: partitions are assigned by hand
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )

    def run(self) -> None:
        """Catch up with what was said and asked before, then go on for ever."""
        for event in self.history("fills"):
            self.remember(event)
        for event in self.history("orders"):
            self.take(event)
        self.consumer.assign([*self.read_to, *self.places("ticks", OFFSET_END)])
        while True:
            message = self.consumer.poll(0.1)
            if message is not None and not is_end(message):
                event = read(message)
                if event["type"] in ("TradeTicked", "QuoteTicked"):
                    self.see(event)
                else:
                    self.take(event)
            self.expire()

    def places(self, topic: str, offset: int) -> list[TopicPartition]:
        """Give all partitions of a topic."""
        name = NAMESPACE + topic
        partitions = self.consumer.list_topics(name, timeout=30).topics[name].partitions
        if not partitions:
            raise SystemExit(f"execute_orders.py: there is no topic {name} at {BOOTSTRAP}; the workers make it")
        return [TopicPartition(name, n, offset) for n in partitions]

    def history(self, topic: str) -> Iterator[Event]:
        """Give all that stands on a topic now; `read_to` is then where it goes on."""
        places, self.read_to = self.places(topic, 0), []
        self.consumer.assign(places)
        while len(self.read_to) < len(places):
            message = self.consumer.poll(30)
            if message is not None and is_end(message):
                partition, offset = cast("int", message.partition()), cast("int", message.offset())
                self.read_to.append(TopicPartition(NAMESPACE + topic, partition, offset))
            elif message is not None:
                yield read(message)

    # What comes in

    def take(self, event: Event) -> None:
        """Take an order or a cancel, once."""
        if event.get("book") != self.book:
            return
        if event["type"] == "CancelRequested":
            order = self.open.get(event["order"])
            if order is not None:
                self.say("OrderCanceled", order, "end", reason=event["reason"])
        elif event["type"] == "OrderRequested" and event["id"] not in self.ended | self.open.keys():
            self.place(event)

    def place(self, order: Event) -> None:
        """Accept an order, unless it is too old to open something. A venue would get its id as the client order id."""
        if order["id"] not in self.accepted:
            if time.time() - order["observed_at"] / 1e9 > STALE_S and not order.get("reduce_only"):
                self.say("OrderRejected", order, "end", reason="stale")
                return
            self.say("OrderAccepted", order, "accepted")
        self.open[order["id"]] = order
        self.meet(order)

    def see(self, tick: Event) -> None:
        """Let the market move."""
        last = tick.get("price")
        buys, sells = (last, last) if last is not None else (tick["ask"], tick["bid"])
        self.prices[tick["key"]] = Decimal(repr(buys)), Decimal(repr(sells))
        for order in list(self.open.values()):
            self.meet(order)

    def meet(self, order: Event) -> None:
        """Fill an order whole if the price allows it. This is where a venue would be."""
        if order["instrument"] not in self.prices:
            return
        buys = order["side"] == "buy"
        price = self.prices[order["instrument"]][0 if buys else 1]
        above = {"limit": not buys, "take_profit": not buys, "stop": buys}.get(order["order_type"])
        if above is not None:
            level = Decimal(order["limit_price"] if order["order_type"] == "limit" else order["trigger_price"])
            if price < level if above else price > level:
                return
        quantity, position = Decimal(order["quantity"]), self.positions.get(order["instrument"], Decimal(0))
        room = max(-position if buys else position, Decimal(0)) if order.get("reduce_only") else quantity
        filled = min(quantity, room)
        if filled:
            rest = quantity - filled
            self.say(
                "OrderFilled",
                order,
                "fill",
                side=order["side"],
                quantity=f"{filled:f}",
                price=f"{price:f}",
                fee="0",
                leaves_quantity=f"{rest:f}" if rest else "0",
            )
        if filled < quantity:
            self.say("OrderCanceled", order, "end", reason="no position left to reduce")

    def expire(self) -> None:
        """End what has reached its time."""
        now = time.time_ns()
        for order in list(self.open.values()):
            if 0 < order.get("expires_at", 0) <= now:
                self.say("OrderExpired", order, "end")

    # What goes out

    def say(self, kind: str, order: Event, what: str, **fields: str) -> None:
        """Write to `fills`. The same word always has the same id, so that one written twice counts once."""
        now = time.time_ns()
        event = {
            "type": kind,
            "id": f"{order['id']}/{what}",
            "key": order["instrument"],
            "book": self.book,
            "order": order["id"],
            "occurred_at": now,
            "observed_at": now,
            **fields,
        }
        self.producer.begin_transaction()
        self.producer.produce(f"{NAMESPACE}fills", key=self.book, value=json.dumps(event))
        self.producer.commit_transaction()
        self.remember(event)

    def remember(self, event: Event) -> None:
        """Keep what was said: it is all that there is to remember."""
        if event.get("book") != self.book:
            return
        if event["type"] == "OrderAccepted":
            self.accepted.add(event["order"])
        elif event["type"] == "OrderFilled":
            change = Decimal(event["quantity"]) * (1 if event["side"] == "buy" else -1)
            self.positions[event["key"]] = self.positions.get(event["key"], Decimal(0)) + change
        is_whole = event["type"] == "OrderFilled" and not Decimal(event["leaves_quantity"])
        if is_whole or event["type"] in ("OrderRejected", "OrderCanceled", "OrderExpired"):
            self.ended.add(event["order"])
            self.open.pop(event["order"], None)


def is_end(message: Message) -> bool:
    """Tell whether this is no record but word that all of a partition was read."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - the binding's own name


def read(message: Message) -> Event:
    """Read a record."""
    error = message.error()
    if error is not None:
        raise SystemExit(f"execute_orders.py: {error.str()}")
    event: Event = json.loads(message.value() or b"{}")
    return event


if __name__ == "__main__":
    try:
        Executor(sys.argv[1]).run()
    except IndexError:
        sys.exit("execute_orders.py BOOK: the book's name")
    except KeyboardInterrupt:
        pass
