"""The simulated exchange: takes orders, meets them with market rows, answers with the events of topic `fills`.

Pure and deterministic: no clock, no I/O; what it remembers encodes to bytes. Rules and their reasons:
docs/simulated-exchange.md. A host calls in order of observation; an answer observed later is the host's to hold back.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import cast

import msgspec
import numpy as np
from msgspec.structs import replace

from agents.agent import NEVER, pack, unpack
from agents.frame import TRADE, Frame
from agents.layout import UNBOUNDED, Watch
from agents.money import ZERO, add, exact, plain, subtract
from agents.scan import first_touch
from replay.costs import Costs, against, refusal, undersized
from replay.matching import (
    Hit,
    Moment,
    Working,
    match,
    moment_of,
    see,
    size_on_offer,
    tightened,
    turn,
)
from schemas.base import NS_PER_MS, Event, derived_id
from schemas.book import Book, Instrument
from schemas.errors import BookError
from schemas.execution import (
    CancelRequested,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)

NOTHING_TO_CLOSE = "no position left to close"
REMEMBERED_ORDERS = 10_000
"""So many order ids back a repeated order is known as such. They are the bulk of a snapshot: 34 bytes each."""


class ExchangeState(msgspec.Struct, kw_only=True):
    """All that the exchange remembers. Lists and arrays are by instrument, in the book's order."""

    instruments: tuple[str, ...]
    positions: list[Decimal]
    """Signed, from the exchange's own fills."""
    orders: dict[str, Working]
    """Those that work or are on their way, by id, in order of arrival."""
    known: dict[str, None]
    """Ids of the orders taken or refused, oldest first."""
    source: np.ndarray
    """int64: the finest kind of row seen: bars, then trades, then quotes."""
    last_price: np.ndarray
    """float64: 0 where none was seen."""


class SimulatedExchange:
    """A venue for one book.

    The host gives every market row once, in order: quiet ones by `absorb`, the others by `on_row`. It calls `submit`
    and `cancel` when their event is observed, and `on_time(due)` before the first row observed at or after `due`.
    An answer may carry a later `observed_at` than the call: the host holds it back until then.
    """

    def __init__(self, book: Book) -> None:
        """Open with no position; `book.venue` gives costs and delays."""
        self._book = book.name
        self._instruments = book.instruments
        self._index = {instrument.id: i for i, instrument in enumerate(book.instruments)}
        self._latency_ns = book.venue.latency_ms * NS_PER_MS
        self._costs = Costs(book.venue)
        count = len(book.instruments)
        self._start(
            ExchangeState(
                instruments=tuple(self._index),
                positions=[ZERO] * count,
                orders={},
                known={},
                source=np.zeros(count, np.int64),
                last_price=np.zeros(count, np.float64),
            )
        )

    def _start(self, state: ExchangeState) -> None:
        """Go on from a state: build what follows from it."""
        count = len(self._instruments)
        self._state = state
        self._known = state.known = OrderedDict(state.known)  # a dict forgets its oldest key slowly
        self._frame: Frame | None = None
        self._read_to = self._seen_to = 0
        self._working: list[list[Working]] = [[] for _ in range(count)]
        for order in state.orders.values():
            self._working[order.index].append(order)
        self.watch = Watch(np.full(count, NEVER, np.int64), np.full((count, 4), UNBOUNDED))
        """What could wake the orders: rows that it lets pass are quiet."""
        self._tight = [UNBOUNDED] * count
        self._dues = [NEVER] * count
        self.due = NEVER
        """Time at which `on_time` has something to say; NEVER if none."""
        for index in range(count):
            self._refresh(index)

    @property
    def working(self) -> int:
        """Count the orders that work or are on their way."""
        return len(self._state.orders)

    @property
    def asked(self) -> frozenset[str]:
        """Name the instruments of those orders."""
        return frozenset(order.request.instrument for order in self._state.orders.values())

    def snapshot(self) -> bytes:
        """Encode all that the exchange remembers."""
        self._read()
        return pack(self._state)

    def restore(self, data: bytes) -> None:
        """Put back what `snapshot` gave. Raises BookError where it belongs to other instruments."""
        state = unpack(data, ExchangeState)
        if state.instruments != tuple(self._index):
            raise BookError(
                f"the exchange was saved with instruments {', '.join(state.instruments)}, but the book has "
                f"{', '.join(self._index)}: restore it with the book that it was saved with"
            )
        self._start(state)

    def _refresh(self, index: int) -> None:
        """Recompute what could wake the orders of one instrument, after they changed."""
        wake_at, due, bounds = NEVER, NEVER, UNBOUNDED
        for order in self._working[index]:
            if order.ends_at < due:  # noqa: PLR1730 # `min` costs five times as much
                due = order.ends_at
            if order.triggered or not order.met:
                if order.active_at < wake_at:  # noqa: PLR1730
                    wake_at = order.active_at
            else:
                bounds = tightened(bounds, order)
        self.watch.wake_at[index] = wake_at
        if bounds != self._tight[index]:
            self.watch.bounds[index] = self._tight[index] = bounds
        due = due if due == NEVER else due + self._latency_ns
        if due != self._dues[index]:
            self._dues[index] = due
            self.due = min(self._dues)

    # Orders

    def submit(self, order: OrderRequested) -> list[Event]:
        """Take an order and answer with its acceptance or rejection. An order sent again is not answered again."""
        if order.id in self._state.known:
            return []
        self._remember(order.id)
        active_at = order.observed_at + self._latency_ns
        told_at = active_at + self._latency_ns
        index = self._index.get(order.instrument, -1)
        reason = self._refusal(order, index, active_at)
        if reason:
            rejected = OrderRejected(
                id="", key=order.instrument, occurred_at=active_at, observed_at=told_at, order=order.id, reason=reason
            )
            return [self._signed(rejected, order, 0, told_at)]
        price = order.limit_price if order.order_type == "limit" else order.trigger_price
        taken = Working(
            request=order,
            index=index,
            level=float(price) if price else 0.0,
            active_at=active_at,
            ends_at=order.expires_at + 1 if order.expires_at else NEVER,
            open=order.quantity,
            reducing=order.reduce_only or (order.side == "sell" and not self._instruments[index].shortable),
            triggered=order.order_type == "market",
            answers=1,
            told_at=told_at,
        )
        self._state.orders[order.id] = taken
        self._working[index].append(taken)
        self._refresh(index)
        accepted = OrderAccepted(
            id="", key=order.instrument, occurred_at=active_at, observed_at=told_at, order=order.id
        )
        return [self._signed(accepted, order, 0, told_at)]

    def cancel(self, request: CancelRequested) -> list[Event]:
        """Let a cancel go out to the venue. What became of it is said by `on_time`, unless a fill was first."""
        order = self._state.orders.get(request.order)
        arrives_at = request.observed_at + self._latency_ns
        if order is not None and arrives_at < order.ends_at:
            order.ends_at = arrives_at
            order.cancel_reason = request.reason
            self._refresh(order.index)
        return []

    def _remember(self, order_id: str) -> None:
        self._known[order_id] = None
        if len(self._known) > REMEMBERED_ORDERS:
            self._known.popitem(last=False)

    def _refusal(self, order: OrderRequested, index: int, active_at: int) -> str:
        """Say why the venue refuses an order; empty where it takes it."""
        if index < 0:
            return f"unknown instrument {order.instrument}"
        if order.expires_at and order.expires_at < active_at:
            return "expired on its way to the venue"
        instrument = self._instruments[index]
        reason = refusal(order, instrument)
        if not reason and instrument.min_notional and not order.reduce_only:
            self._read()
            reason = undersized(order, instrument, self._state.last_price.item(index))
        if reason:
            return reason
        if order.reduce_only and self._room(index, order) <= ZERO:
            return "no position to reduce"
        if order.side == "sell" and not instrument.shortable:
            room = self._room(index, order)
            if order.quantity > room:
                return f"not shortable: sells {order.quantity}, holds {max(room, ZERO)}"
        return ""

    def _room(self, index: int, order: OrderRequested) -> Decimal:
        """Give the position that the order could close; negative where the order would add to it."""
        position = self._state.positions[index]
        return position if order.side == "sell" else position.copy_negate()

    # Market data

    def quiet_until(self, frame: Frame, lo: int, hi: int) -> int:
        """Give the first row in [lo, hi) that a working order may have to do with, or `hi`. Changes nothing."""
        if not self._state.orders:
            return hi
        return first_touch(
            frame.kind,
            frame.instrument,
            frame.occurred_at,
            frame.values,
            *self.watch,
            lo,
            hi,
        )

    def absorb(self, frame: Frame, lo: int, hi: int) -> None:
        """Take quiet rows [lo, hi). They are read when something asks for what they showed."""
        if frame is not self._frame:
            self._read()
            self._frame, self._read_to = frame, lo
        self._seen_to = hi

    def _read(self) -> None:
        """Read the rows that were absorbed since the last time."""
        frame = self._frame
        if frame is not None and self._read_to < self._seen_to:
            state = self._state
            see(
                frame.kind,
                frame.instrument,
                frame.values,
                self._read_to,
                self._seen_to,
                state.source,
                state.last_price,
            )
            self._read_to = self._seen_to

    def on_row(self, frame: Frame, row: int) -> list[Event]:
        """Take one row and answer with the fills that it causes, and the cancels of what can no longer reduce."""
        self.absorb(frame, row, row + 1)
        index = frame.instrument.item(row)
        working = self._working[index]
        if not working:
            return []
        self._read()
        moment = moment_of(frame, row)
        if moment.kind < TRADE and moment.kind < self._state.source.item(index):
            return []  # a bar of an instrument whose trades or quotes are seen one by one
        at = moment.last_at
        met = [order for order in working if order.active_at <= at < order.ends_at]
        if not met:
            return []
        if len(met) > 1:
            met.sort(key=lambda o: turn(o, moment))
        events: list[Event] = []
        for order in met:
            self._meet(order, moment, events)
        self._refresh(index)
        return events

    def _meet(self, order: Working, moment: Moment, events: list[Event]) -> None:
        """Let an order meet a row; add what comes of it to `events`."""
        hit = match(order, moment)
        order.met = True
        if hit is None:
            return
        if order.request.order_type != "limit":
            order.triggered = True
            if moment.kind < self._state.source.item(order.index):
                return  # a trade triggers, but where there are quotes only a quote fills
        self._trade(order, hit, moment, events)

    def _trade(self, order: Working, hit: Hit, moment: Moment, events: list[Event]) -> None:
        """Fill as much of an order as the row and the position allow."""
        request, instrument = order.request, self._instruments[order.index]
        at = moment.starts_at if hit.at_start else moment.occurred_at
        observed_at = max(at + self._latency_ns, moment.observed_at)
        room = self._room(order.index, request)
        if order.reducing and room <= ZERO:
            events.append(self._canceled(order, at, observed_at, NOTHING_TO_CLOSE))
            return
        wanted = plain(room) if order.reducing and room < order.open else order.open
        quantity = self._costs.available(wanted, size_on_offer(order, moment), instrument.lot_size)
        if not quantity:
            return
        price = self._price(request, hit, instrument)
        signed = quantity if request.side == "buy" else quantity.copy_negate()
        self._state.positions[order.index] = add(self._state.positions[order.index], signed)
        order.open = plain(subtract(order.open, quantity))
        fill = OrderFilled(
            id="",
            key=request.instrument,
            occurred_at=at,
            observed_at=observed_at,
            order=request.id,
            side=request.side,
            quantity=quantity,
            price=plain(price),
            fee=self._costs.fee(price, quantity, instrument.multiplier, hit.liquidity),
            leaves_quantity=order.open,
            liquidity=hit.liquidity,
        )
        events.append(self._next(fill, order, observed_at))
        if not order.open:
            self._end(order)
        elif order.reducing and quantity == room:
            events.append(self._canceled(order, at, observed_at, NOTHING_TO_CLOSE))

    def _price(self, request: OrderRequested, hit: Hit, instrument: Instrument) -> Decimal:
        """Give the price of a fill: a limit holds, everything else slips."""
        if request.order_type != "limit":
            return self._costs.slipped(hit.price, request.side, instrument.tick_size)
        if hit.liquidity == "taker":
            return against(exact(hit.price), request.side, instrument.tick_size)
        return cast("Decimal", request.limit_price)

    # What the venue says

    def on_time(self, now: int) -> list[Event]:
        """Answer with the cancels and expiries that are known by `now`, in order of time."""
        ended = [o for o in self._state.orders.values() if o.ends_at + self._latency_ns <= now]
        events: list[Event] = []
        for order in sorted(ended, key=lambda o: o.ends_at):
            at, observed_at = order.ends_at, order.ends_at + self._latency_ns
            if order.cancel_reason is None:
                key, sent = order.request.instrument, order.request.id
                expired = OrderExpired(id="", key=key, occurred_at=at, observed_at=observed_at, order=sent)
                events.append(self._next(expired, order, observed_at))
                self._end(order)
            else:
                events.append(self._canceled(order, at, observed_at, order.cancel_reason))
            self._refresh(order.index)
        return events

    def _canceled(self, order: Working, at: int, observed_at: int, reason: str) -> Event:
        """End an order that its sender cancels, or that finds no position left to close."""
        self._end(order)
        key, sent = order.request.instrument, order.request.id
        canceled = OrderCanceled(id="", key=key, occurred_at=at, observed_at=observed_at, order=sent, reason=reason)
        return self._next(canceled, order, observed_at)

    def _end(self, order: Working) -> None:
        del self._state.orders[order.request.id]
        self._working[order.index].remove(order)

    def _next(self, draft: Event, order: Working, observed_at: int) -> Event:
        """Make the next event about a working order of its draft, observed no earlier than the one before."""
        number = order.answers
        order.answers = number + 1
        order.told_at = max(order.told_at, observed_at)
        return self._signed(draft, order.request, number, order.told_at)

    def _signed(self, draft: Event, order: OrderRequested, number: int, observed_at: int) -> Event:
        """Make an answer to an order of its draft; `number` counts them."""
        return replace(
            draft, id=derived_id(order.id, "exchange", number), observed_at=observed_at, book=self._book, cause=order.id
        )
