"""Executors in memory, one honest and many that break a rule of the contract each; and a script that shows it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from schemas.base import NS_PER_S
from schemas.codec import encode
from schemas.execution import (
    CancelRequested,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)
from streams.conformance import REDUCE_ONLY, RESTART, Answer, Played, Sent, Word, read_word
from streams.intake import Record
from tests.replay.market import IDS, book_of

BOOK = msgspec.structs.replace(book_of(), name="kit")
BTC = IDS[0]
T0 = 1_700_000_000 * NS_PER_S
FAR = Decimal(50)
HALF = Decimal("0.5")


class Honest:
    """Fills market orders in two halves, lets all else rest, and remembers everything."""

    key: ClassVar[bytes] = b"kit"

    def __init__(self) -> None:
        self.now = T0
        self.seen: set[str] = set()
        self.open: dict[str, OrderRequested] = {}
        self.position = Decimal(0)
        self.out: list[tuple[bytes, bytes, int]] = []
        """Key, value and partition of what it has written."""

    def deliver(self, event: OrderRequested | CancelRequested) -> None:
        if event.id in self.seen:
            return
        self.seen.add(event.id)
        if isinstance(event, CancelRequested):
            self.cancel(event)
        elif event.reduce_only and not self.position:
            self.say(OrderRejected, event, "end", reason="nothing to reduce")
        else:
            self.place(event)

    def place(self, order: OrderRequested) -> None:
        self.say(OrderAccepted, order, "accepted")
        if order.order_type == "market":
            self.trade(order)
        else:
            self.open[order.id] = order

    def trade(self, order: OrderRequested) -> None:
        quantity = min(order.quantity, self.position) if order.reduce_only else order.quantity
        for number in (1, 2):
            self.fill(order, quantity * HALF, order.quantity - quantity * HALF * number, number)
        if quantity < order.quantity:
            self.say(OrderCanceled, order, "end", reason="no position left")

    def fill(self, order: OrderRequested, quantity: Decimal, leaves: Decimal, number: int) -> None:
        self.position += quantity if order.side == "buy" else -quantity
        self.say(
            OrderFilled,
            order,
            f"fill{number}",
            side=order.side,
            quantity=quantity,
            price=Decimal(100),
            fee=Decimal(0),
            leaves_quantity=leaves,
        )

    def cancel(self, request: CancelRequested) -> None:
        order = self.open.pop(request.order, None)
        if order is not None:
            self.say(OrderCanceled, order, "end")

    def clock(self) -> None:
        for order in list(self.open.values()):
            if order.expires_at and order.expires_at <= self.now:
                del self.open[order.id]
                self.say(OrderExpired, order, "end")

    def restart(self) -> None:
        """Lose nothing."""

    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        given: dict[str, Any] = {
            "id": f"{order.id}/{what}",
            "key": order.instrument,
            "book": order.book,
            "order": order.id,
            "occurred_at": self.now,
            "observed_at": self.now,
        }
        self.write(encode(kind(**(given | fields))))

    def write(self, value: bytes, partition: int = 3) -> None:
        self.out.append((self.key, value, partition))


class Script:
    """Plays a few seconds of orders to an executor in memory."""

    def __init__(self, executor: Honest) -> None:
        self.executor = executor
        self.sent: list[Sent] = []
        self.words: list[Word] = []

    def order(self, scenario: str, side: str = "buy", quantity: int = 2, **fields: Any) -> str:
        name = f"{scenario}-{len(self.sent)}"
        given: dict[str, Any] = {
            "order_type": "market",
            "role": "entry",
            "approval": "a",
            "side": side,
            "quantity": Decimal(quantity),
        }
        self.send(OrderRequested(**self.envelope(name), **(given | fields)), scenario)
        return name

    def limit(self, scenario: str, **fields: Any) -> str:
        return self.order(scenario, order_type="limit", limit_price=FAR, **fields)

    def cancel(self, scenario: str, order: str) -> None:
        name = f"cancel-{len(self.sent)}"
        self.send(CancelRequested(**self.envelope(name), order=order, reason="test"), scenario)

    def envelope(self, name: str) -> dict[str, Any]:
        now = self.executor.now
        return {"id": name, "key": BTC, "instrument": BTC, "book": "kit", "occurred_at": now, "observed_at": now}

    def send(self, event: OrderRequested | CancelRequested, scenario: str) -> None:
        self.sent.append(Sent(event, scenario, self.executor.now))
        self.again(event)

    def again(self, event: OrderRequested | CancelRequested) -> None:
        self.executor.deliver(event)
        self.look()

    def look(self) -> None:
        """Let a second pass, and read what was said."""
        self.executor.clock()
        self.executor.now += NS_PER_S
        for key, value, partition in self.executor.out[len(self.words) :]:
            offset, now = len(self.words), self.executor.now
            record = Record("fills", partition, offset, now // 1_000_000, value)
            self.words.append(read_word(BOOK, record, key, now))

    def play(self) -> tuple[Played, list[Word]]:
        bought = self.order("market")
        self.order("duplicate")
        self.again(self.sent[-1].event)
        resting = self.limit("cancel")
        self.look()
        for name in (resting, resting, bought, "nobody"):
            self.cancel("cancel", name)
        self.limit("expiry", expires_at=self.executor.now + 3 * NS_PER_S)
        for _ in range(5):
            self.look()
        self.order("market", side="sell", quantity=1)
        for _ in range(2):
            self.order(REDUCE_ONLY, side="sell", quantity=20, reduce_only=True)
        over = self.limit(RESTART)
        self.executor.restart()
        for sent in list(self.sent):
            self.again(sent.event)
        self.cancel(RESTART, over)
        self.order("market")
        return Played(BOOK, self.sent, restarted=True), self.words


# Each breaks a promise


class Unreadable(Honest):
    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        super().say(kind, order, what, **fields)
        key, value, partition = self.out.pop()
        self.out.append((key, value.replace(b'"price":"100"', b'"price":100.0'), partition))


class Ahead(Honest):
    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        ahead: dict[str, Any] = {"observed_at": self.now + 60 * NS_PER_S} if kind is OrderCanceled else {}
        super().say(kind, order, what, **(fields | ahead))


class KeyedByOrder(Honest):
    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        super().say(kind, order, what, **fields)
        self.out.append((order.id.encode(), *self.out.pop()[1:]))


class Scattered(Honest):
    def write(self, value: bytes, partition: int = 3) -> None:
        super().write(value, len(self.out) % 2)


class ConfirmsCancelsOfStrangers(Honest):
    def cancel(self, request: CancelRequested) -> None:
        super().cancel(request)
        if request.order == "nobody":
            stranger = OrderCanceled(
                id="nobody/end",
                key=request.key,
                book="kit",
                order="nobody",
                occurred_at=self.now,
                observed_at=self.now,
            )
            self.write(encode(stranger))


class SidesMixedUp(Honest):
    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        super().say(kind, order, what, **(fields | ({"side": "buy"} if "side" in fields else {})))


class OneIdForAllFills(Honest):
    def fill(self, order: OrderRequested, quantity: Decimal, leaves: Decimal, number: int) -> None:
        super().fill(order, quantity, leaves, 1)


class SwallowsRefusals(Honest):
    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        if kind is not OrderRejected:
            super().say(kind, order, what, **fields)


class FillsUnaccepted(Honest):
    def place(self, order: OrderRequested) -> None:
        if order.order_type == "market":
            self.trade(order)
        else:
            super().place(order)


class CountsWhatComesTwice(Honest):
    """A second order at the venue for an id that came again, its fills under ids of their own."""

    def deliver(self, event: OrderRequested | CancelRequested) -> None:
        if event.id in self.seen and isinstance(event, OrderRequested) and event.id.startswith("duplicate"):
            self.fill(event, event.quantity, Decimal(0), len(self.out))
        super().deliver(event)


class CancelsWhatIsFilled(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.filled: dict[str, OrderRequested] = {}

    def trade(self, order: OrderRequested) -> None:
        super().trade(order)
        self.filled[order.id] = order

    def cancel(self, request: CancelRequested) -> None:
        super().cancel(request)
        if request.order in self.filled:
            self.say(OrderCanceled, self.filled[request.order], "end")


class LeavesNothing(Honest):
    def fill(self, order: OrderRequested, quantity: Decimal, leaves: Decimal, number: int) -> None:
        super().fill(order, quantity, Decimal(0), number)


class FillsHalf(Honest):
    def trade(self, order: OrderRequested) -> None:
        if order.reduce_only:
            super().trade(order)
        else:
            self.fill(order, order.quantity * HALF, order.quantity * HALF, 1)


class DeafToCancels(Honest):
    def cancel(self, request: CancelRequested) -> None:
        if request.order.startswith(RESTART):
            super().cancel(request)


class CancelsAtWill(Honest):
    def clock(self) -> None:
        super().clock()
        for order in list(self.open.values()):
            if not order.expires_at:
                del self.open[order.id]
                self.say(OrderCanceled, order, "end")


class ExpiresEarly(Honest):
    def clock(self) -> None:
        for order in list(self.open.values()):
            if order.expires_at:
                del self.open[order.id]
                self.say(OrderExpired, order, "end")


class ExpiresByCancel(Honest):
    def say(self, kind: type[Answer], order: OrderRequested, what: str, **fields: Any) -> None:
        super().say(OrderCanceled if kind is OrderExpired else kind, order, what, **fields)


class NeverExpires(Honest):
    def clock(self) -> None:
        """Time does not pass here."""


class TurnsPositions(Honest):
    def deliver(self, event: OrderRequested | CancelRequested) -> None:
        if isinstance(event, OrderRequested) and event.reduce_only:
            event = msgspec.structs.replace(event, reduce_only=False)
        super().deliver(event)


class Forgets(Honest):
    def restart(self) -> None:
        self.open.clear()


class Idle(Honest):
    def place(self, order: OrderRequested) -> None:
        self.say(OrderRejected, order, "end", reason="closed")


BROKEN: dict[type[Honest], set[str]] = {
    Unreadable: {"readable", "cancel", "end", "trade"},
    Ahead: {"readable", "cancel", "end", "restart"},
    KeyedByOrder: {"place"},
    Scattered: {"place"},
    ConfirmsCancelsOfStrangers: {"address"},
    SidesMixedUp: {"address"},
    OneIdForAllFills: {"ids", "cancel", "end"},
    SwallowsRefusals: {"answer"},
    FillsUnaccepted: {"acceptance"},
    CountsWhatComesTwice: {"life", "quantity"},
    CancelsWhatIsFilled: {"life"},
    LeavesNothing: {"quantity"},
    FillsHalf: {"cancel", "end"},
    DeafToCancels: {"cancel"},
    CancelsAtWill: {"unasked"},
    ExpiresEarly: {"expiry"},
    ExpiresByCancel: {"expiry"},
    NeverExpires: {"end"},
    TurnsPositions: {"reduce-only"},
    Forgets: {"restart"},
    Idle: {"trade"},
}
"""Each with the rules that it breaks: the one that it is made to break, and what follows from that."""
