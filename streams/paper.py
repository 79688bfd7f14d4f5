"""A book's paper account: the simulated exchange, fed with the book's journal and the orders that followed from it.

A fold without clock or Kafka. Topics are not ordered against each other, but the desk says how far it is and how many
orders that made: so an entry is taken once every order of the entries up to it is here, and each order is executed
right after the entry that led to it, before the next, as `replay.engine` does. What comes twice counts once. So the
answers depend on the journal and the orders alone, never on how records arrived; whoever folds again says them again.

One thing differs from a replay: there, a fill that is observed at the very time of the row that shows it (a gap over a
stop, say) is journaled before that row. Live, the row has been journaled by then, so the fill follows it; with
`latency_ms` 0 it may so follow other rows of that time too. The fills that follow from either journal are exact.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import sha256
from heapq import heapify, heappop, heappush
from operator import attrgetter

import msgspec

from agents.agent import NEVER
from agents.frame import Frame
from agents.pipeline import MARKET_EVENTS
from replay.exchange import SimulatedExchange
from schemas.base import Event, derived_id
from schemas.book import Book
from schemas.codec import decode_own, encode
from schemas.errors import KafkaError
from schemas.execution import CancelRequested, OrderRequested
from schemas.operations import JournalProcessed, StateSaved
from streams.progress import part_key, processed

Order = OrderRequested | CancelRequested
MAX_WAITING = 100_000
"""Entries kept while the desk is behind; those after them are read again when it has come so far."""
COMPRESSION = 1
PART = "executor"


class Offsets(msgspec.Struct, frozen=True):
    """Where to read on, in the book's partition of each topic."""

    journal: int = 0
    orders: int = 0
    progress: int = 0
    fills: int = 0
    """Fills from here on may be among those that folding on says again."""


class PaperState(msgspec.Struct, frozen=True):
    """What a snapshot holds."""

    exchange: bytes
    orders: int
    told_seq: int
    told_orders: int
    held: list[bytes]
    produced: list[str]
    offsets: Offsets


class PaperBook:
    """One book at the simulated exchange."""

    def __init__(self, book: Book) -> None:
        """Begin at the start of the journal."""
        self.book = book
        self.seq = 0
        """The last entry that the exchange has taken."""
        self.orders = 0
        """Orders and cancels that it has taken."""
        self.offsets = Offsets()
        """Where the state that was restored asks to read on."""
        self.reread_from: int | None = None
        """Offset of the first journal record that was left aside, for too many were waiting."""
        self._exchange = SimulatedExchange(book)
        self._instruments = tuple(instrument.id for instrument in book.instruments)
        self._now = 0
        self._told_seq = self._told_orders = 0
        self._entries: deque[tuple[int, Event]] = deque()
        self._orders: dict[str, tuple[int, Order]] = {}
        self._held: list[tuple[int, int, Event]] = []
        self._said = 0
        self._ahead = 0
        self._produced: set[str] = set()

    # What comes in

    def entry(self, offset: int, entry: Event) -> None:
        """Take a journal entry from the record at `offset`. Raises KafkaError where entries are missing."""
        newest = self._entries[-1][1].seq if self._entries else self.seq
        if entry.seq <= newest or self.reread_from is not None:
            return
        if entry.seq > newest + 1:
            raise KafkaError(f"book {self.book.name}: journal entry {entry.seq} follows {newest}; restore the journal")
        if len(self._entries) >= MAX_WAITING:
            self.reread_from = offset
            return
        self._entries.append((offset, entry))

    def order(self, offset: int, order: Order) -> None:
        """Take an order or a cancel from the record at `offset`."""
        if order.seq > self.seq and order.id not in self._orders:
            self._orders[order.id] = offset, order

    def progress(self, processed: JournalProcessed) -> None:
        """Take word of how far the desk is; an older one, sent again, says nothing."""
        if processed.seq > self._told_seq:
            self._told_seq, self._told_orders = processed.seq, processed.orders

    def look(self, now: int, row: Event | None) -> None:
        """See that time has passed, and a market event ahead of its entry; what is due by then is said.

        For a host that journals nothing in between: a replay's exchange meets a row before the desk does.
        """
        if row is None:
            self._serve(now)
        else:
            self._meet([row])
            self._ahead += 1
        self._now = max(self._now, now)

    @property
    def starved(self) -> bool:
        """Tell that all waiting entries are taken, and others were left aside."""
        return self.reread_from is not None and not self._entries

    # What follows

    def advance(self) -> None:
        """Take every entry that the desk has taken, once all orders that followed from them are here."""
        due = [order for _, order in self._orders.values() if order.seq <= self._told_seq]
        arrived = self.orders + len(due)
        if arrived > self._told_orders and self._told_seq > self.seq:
            raise KafkaError(
                f"book {self.book.name}: {arrived} orders up to journal entry {self._told_seq}, but the desk speaks of "
                f"{self._told_orders}; was another journal used with these orders?"
            )
        if arrived == self._told_orders:
            self._take(due)

    def _take(self, due: Iterable[Order]) -> None:
        orders: dict[int, list[Order]] = {}
        for order in due:
            orders.setdefault(order.seq, []).append(order)
        rows: list[Event] = []
        while self._entries and self._entries[0][1].seq <= self._told_seq:
            entry = self._entries.popleft()[1]
            if type(entry) in MARKET_EVENTS and self._ahead:
                self._ahead -= 1
            elif type(entry) in MARKET_EVENTS:
                rows.append(entry)
            else:
                self._meet(rows)
                rows = []
                self._serve(entry.observed_at)
            self.seq, self._now = entry.seq, entry.observed_at
            if entry.seq in orders:
                self._meet(rows)
                rows = []
                self._execute(orders.pop(entry.seq))
        self._meet(rows)

    def _execute(self, orders: Iterable[Order]) -> None:
        for order in orders:
            submit = isinstance(order, OrderRequested)
            self._say(self._exchange.submit(order) if submit else self._exchange.cancel(order))  # type: ignore[arg-type]
            del self._orders[order.id]
            self.orders += 1

    def _meet(self, rows: Sequence[Event]) -> None:
        """Let the exchange meet a run of market events, and say in between what is due."""
        rows = self._wanted(rows)
        if not rows:
            return
        exchange, frame = self._exchange, Frame.of_events(rows, self._instruments)
        times = frame.observed_at
        lo, n = 0, len(rows)
        while lo < n:
            self._serve(int(times[lo]))
            end = n if exchange.due > times[-1] else int(times.searchsorted(exchange.due, "left"))
            stop = exchange.quiet_until(frame, lo, end)
            if stop > lo:
                exchange.absorb(frame, lo, stop)
            if stop < end:
                self._say(exchange.on_row(frame, stop))
                stop += 1
            lo = stop

    def _wanted(self, rows: Sequence[Event]) -> list[Event]:
        """Leave out what no order asks for: of an instrument without any, the exchange keeps the last price alone.

        So the last row of each kind says all. No order comes while rows are met.
        """
        asked = self._exchange.asked
        wanted = [row for row in rows if row.key in asked]
        last = {(row.key, type(row)): row for row in rows if row.key not in asked}
        return sorted([*wanted, *last.values()], key=attrgetter("seq")) if last else wanted

    def _serve(self, now: int) -> None:
        """Say all that is due by `now`."""
        while self._exchange.due <= now:
            self._say(self._exchange.on_time(self._exchange.due))

    def _say(self, answers: Iterable[Event]) -> None:
        """Hold answers back until their time, but for those that were produced before."""
        for answer in answers:
            if answer.id in self._produced:
                self._produced.remove(answer.id)
            else:
                self._said += 1
                heappush(self._held, (answer.observed_at, self._said, answer))

    # What goes out

    @property
    def due(self) -> int:
        """Give the time of the next answer that is held back; NEVER if there is none."""
        return self._held[0][0] if self._held else NEVER

    def processed(self, cause: str) -> JournalProcessed:
        """Tell how far the exchange has come, when it has something to say next, and how many answers it has given.

        `requests` is the number of orders that work or are on their way.
        """
        return processed(
            derived_id(f"{self.book.name}/{cause}", "executor", self.seq),
            self.book.name,
            self.seq,
            self._now,
            part=PART,
            cause=cause,
            due=self._exchange.due,
            orders=self._said,
            requests=self._exchange.working,
        )

    def release(self, now: int) -> list[Event]:
        """Give, once, the answers that are observed by `now`, in the order of their time."""
        ready: list[Event] = []
        while self.due <= now:
            ready.append(heappop(self._held)[2])
        return ready

    def forget(self, produced: Iterable[str]) -> None:
        """Take ids of answers that were produced after the state was saved: they are not to be given again."""
        self._produced.update(produced)
        held = {answer.id for _, _, answer in self._held}
        self._held = [place for place in self._held if place[2].id not in self._produced]
        self._produced -= held
        heapify(self._held)

    # Snapshots

    def reads_on(self, read: Offsets) -> Offsets:
        """Give where the present state asks to read on, if the topics were read up to `read`."""
        journal = read.journal if self.reread_from is None else self.reread_from
        return Offsets(
            journal=self._entries[0][0] if self._entries else journal,
            orders=min((offset for offset, _ in self._orders.values()), default=read.orders),
            progress=read.progress,
            fills=read.fills,
        )

    def saved(self, read: Offsets) -> StateSaved:
        """Give the state. `read` is how far the topics were read; what waits is read again."""
        state = PaperState(
            exchange=self._exchange.snapshot(),
            orders=self.orders,
            told_seq=self._told_seq,
            told_orders=self._told_orders,
            held=[encode(answer) for _, _, answer in sorted(self._held, key=_place)],
            produced=sorted(self._produced),
            offsets=self.reads_on(read),
        )
        data = zlib.compress(msgspec.msgpack.encode(state), COMPRESSION)
        return StateSaved(
            id=derived_id(self.book.name, "executor-state", self.seq),
            key=snapshot_key(self.book.name),
            occurred_at=self._now,
            observed_at=self._now,
            book=self.book.name,
            seq=self.seq,
            state=data,
            state_sha256=sha256(data).hexdigest(),
        )

    def restores(self, saved: StateSaved) -> bool:
        """Go on from a state; False, and nothing is changed, where its bytes are not what was saved.

        Raises BookError where the book's instruments have changed since.
        """
        if saved.book != self.book.name or sha256(saved.state).hexdigest() != saved.state_sha256:
            return False
        state = msgspec.msgpack.decode(zlib.decompress(saved.state), type=PaperState)
        self._exchange.restore(state.exchange)
        self.seq, self._now, self.orders = saved.seq, saved.observed_at, state.orders
        self._told_seq, self._told_orders = state.told_seq, state.told_orders
        held = [decode_own(line) for line in state.held]
        self._held = [(answer.observed_at, number, answer) for number, answer in enumerate(held)]
        self._said = len(held)
        self._produced = set(state.produced)
        self.offsets = state.offsets
        return True


def snapshot_key(book: str) -> str:
    """Give the key of the executor's states and progress of a book."""
    return part_key(book, PART)


def _place(held: tuple[int, int, Event]) -> tuple[int, int]:
    return held[:2]
