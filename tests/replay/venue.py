"""Small markets and orders in a few strokes, and a host that drives the simulated exchange through them.

Times are seconds from T0. The host keeps to the contract of `SimulatedExchange`, row by row or span by span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import pytest

from agents.agent import NEVER
from agents.frame import BAR, QUOTE, TRADE, Frame
from replay.exchange import SimulatedExchange
from schemas.base import NS_PER_S, Event
from schemas.book import Book, Instrument, VenueSettings
from schemas.execution import (
    CancelRequested,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
    OrderType,
    Side,
)

T0 = 1_700_000_040 * NS_PER_S
COIN = "COIN/USD@sim"
BAR_S = 60
Command = OrderRequested | CancelRequested


class Row(NamedTuple):
    """One market event of one instrument, observed `late_s` after it occurred."""

    kind: int
    occurred_s: float
    values: tuple[float, ...]
    instrument: int = 0
    late_s: float = 0.0

    @property
    def observed_at(self) -> int:
        return ns(self.occurred_s + self.late_s)


def ns(seconds: float) -> int:
    return T0 + round(seconds * NS_PER_S)


def bar(number: int, prices: str, volume: float = 1000.0) -> Row:
    """The `number`-th minute; prices are "open high low close"."""
    values = [float(price) for price in prices.split()]
    return Row(BAR, (number + 1) * BAR_S, (*values, volume, float(BAR_S * NS_PER_S)))


def trade(at_s: float, price: float, size: float = 1000.0) -> Row:
    return Row(TRADE, at_s, (price, size, 0.0, 0.0, 0.0, 0.0))


def quote(at_s: float, bid: float, ask: float, bid_size: float = 1000.0, ask_size: float = 1000.0) -> Row:
    return Row(QUOTE, at_s, (bid, ask, bid_size, ask_size, 0.0, 0.0))


def frame_of(rows: Sequence[Row], instruments: tuple[str, ...] = (COIN,)) -> Frame:
    occurred_at = np.array([ns(row.occurred_s) for row in rows], np.int64)
    return Frame(
        instruments,
        np.array([row.kind for row in rows], np.int64),
        np.array([row.instrument for row in rows], np.int64),
        np.arange(len(rows), dtype=np.int64),
        occurred_at,
        np.array([row.observed_at for row in rows], np.int64),
        np.array([row.values for row in rows], np.float64).reshape(len(rows), 6),
    )


def book_of(instruments: tuple[Instrument, ...] = (), **venue: object) -> Book:
    """A book whose venue costs nothing, is near and deep, unless said otherwise."""
    free: dict[str, object] = {
        "maker_bps": 0.0,
        "taker_bps": 0.0,
        "slippage_bps": 0.0,
        "latency_ms": 0,
        "max_volume_pct": None,
    }
    coin = Instrument(id=COIN, lot_size=Decimal("0.1"), tick_size=Decimal("0.5"), min_notional=Decimal(10))
    return Book(
        name="scene", instruments=instruments or (coin,), venue=msgspec.convert({**free, **venue}, VenueSettings)
    )


def order(
    name: str,
    side: Side,
    quantity: str | Decimal = "1",
    *,
    limit: str | None = None,
    stop: str | None = None,
    target: str | None = None,
    reduce: bool = False,
    expires_s: float | None = None,
    instrument: str = COIN,
) -> OrderRequested:
    """An order; its times are set when it is sent."""
    order_type: OrderType = "limit" if limit else "stop" if stop else "take_profit" if target else "market"
    trigger = stop or target
    return OrderRequested(
        id=name,
        key=instrument,
        occurred_at=0,
        observed_at=0,
        book="scene",
        instrument=instrument,
        side=side,
        order_type=order_type,
        quantity=Decimal(quantity),
        role="entry",
        approval="approval",
        limit_price=Decimal(limit) if limit else None,
        trigger_price=Decimal(trigger) if trigger else None,
        reduce_only=reduce,
        expires_at=0 if expires_s is None else ns(expires_s),
    )


def cancel(name: str) -> CancelRequested:
    return CancelRequested(
        id=f"cancel {name}",
        key=COIN,
        occurred_at=0,
        observed_at=0,
        instrument=COIN,
        order=name,
        reason="not wanted",
    )


def sent(command: Command, at: int) -> Command:
    """The command, observed at a time in ns."""
    fields = {name: getattr(command, name) for name in command.__struct_fields__}
    return type(command)(**{**fields, "occurred_at": at, "observed_at": at})


def send(exchange: SimulatedExchange, command: Command, at: int) -> list[Event]:
    message = sent(command, at)
    return exchange.submit(message) if isinstance(message, OrderRequested) else exchange.cancel(message)


def settle(exchange: SimulatedExchange, now: int) -> list[Event]:
    """All that is due by `now`."""
    events: list[Event] = []
    while exchange.due <= now and exchange.due != NEVER:
        events += exchange.on_time(exchange.due)
    return events


def drive(
    exchange: SimulatedExchange,
    frames: Iterable[Frame],
    commands: Mapping[int, Sequence[Command]],
    *,
    spans: bool = False,
) -> list[Event]:
    """Run frames to their end; `commands[k]` are sent right after the k-th row of them all (0 is before the first)."""
    events: list[Event] = []
    done = 0
    for frame in frames:
        lo, n = 0, len(frame)
        if not done:
            events += [e for c in commands.get(0, ()) for e in send(exchange, c, int(frame.observed_at[0]))]
        while lo < n:
            events += settle(exchange, int(frame.observed_at[lo]))
            stop, end = lo, lo + 1
            if spans:
                to_command = min((k for k in commands if k > done), default=done + n) - done
                end = min(n, lo + to_command, int(np.searchsorted(frame.observed_at, exchange.due)))
                stop = exchange.quiet_until(frame, lo, end)
                exchange.absorb(frame, lo, stop)
            if stop < end:
                answers = exchange.on_row(frame, stop)
                assert all(e.observed_at >= frame.observed_at[stop] for e in answers)
                events += answers
                stop += 1
            done += stop - lo
            lo = stop
            for command in commands.get(done, ()):
                events += send(exchange, command, int(frame.observed_at[lo - 1]))
    return events


def play(book: Book, rows: Sequence[Row], commands: Sequence[tuple[float, Command]]) -> list[Event]:
    """Run a scene: each command is sent at its second, once the rows observed by then are known."""
    exchange = SimulatedExchange(book)
    events: list[Event] = []
    waiting = sorted(commands, key=lambda pair: pair[0])
    frame = frame_of(rows, tuple(instrument.id for instrument in book.instruments))
    for row in range(len(frame) + 1):
        now = int(frame.observed_at[row]) if row < len(frame) else NEVER
        while waiting and ns(waiting[0][0]) < now:
            at, command = waiting.pop(0)
            events += settle(exchange, ns(at))
            events += send(exchange, command, ns(at))
        events += settle(exchange, now)
        if row < len(frame):
            events += exchange.on_row(frame, row)
    return events


_WORDS: dict[type[Event], str] = {
    OrderAccepted: "accepted",
    OrderRejected: "rejected",
    OrderFilled: "filled",
    OrderCanceled: "canceled",
    OrderExpired: "expired",
}


def told(event: Event) -> str:
    """An event of the venue in a line: order, what, details, second at which it occurred."""
    name = cast("Any", event).order
    at = f"at {(event.occurred_at - T0) / NS_PER_S:g}s"
    if isinstance(event, OrderFilled):
        left = f", {event.leaves_quantity} left" if event.leaves_quantity else ""
        return f"{name} filled {event.quantity} @ {event.price} as {event.liquidity} {at}{left}"
    reason = getattr(event, "reason", "")
    return f"{name} {_WORDS[type(event)]} {at}{f': {reason}' if reason else ''}"


class Scene(NamedTuple):
    """Orders and rows in, the venue's answers out; acceptances are left out."""

    why: str
    rows: list[Row]
    sent: list[tuple[float, Command]]
    answers: list[str]
    venue: dict[str, object] = {}  # noqa: RUF012  # never changed
    instrument: Instrument | None = None


def check_scene(scene: Scene) -> None:
    instruments = (scene.instrument,) if scene.instrument else ()
    events = play(book_of(instruments, **scene.venue), scene.rows, scene.sent)
    assert [told(e) for e in events if type(e) is not OrderAccepted] == scene.answers


def scenes(*rows: Scene) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scene", rows, ids=[scene.why for scene in rows])


LONG: tuple[float, Command] = (0, order("in", "buy", "2"))
"""Bought at the open of the first bar."""
SHORT: tuple[float, Command] = (0, order("in", "sell", "2"))
IN_LONG = "in filled 2 @ 100 as taker at 0s"
IN_SHORT = IN_LONG
FLAT = "100 100 100 100"
SECOND: dict[str, object] = {"latency_ms": 1000}
LONG_BAR = Row(BAR, 180, (97, 97.5, 96, 97, 1000, 180.0 * NS_PER_S))
"""Three minutes in one, beside the minutes themselves."""
TENTH: dict[str, object] = {"max_volume_pct": 10.0}
SPOT = Instrument(id=COIN, lot_size=Decimal("0.1"), tick_size=Decimal("0.5"), min_notional=Decimal(10), shortable=False)
"""As `book_of` has it, but nothing can be sold short."""
