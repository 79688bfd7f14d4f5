"""What the topics say of every book at present: their newest records, then whatever comes.

The result does not depend on the order in which topics are read, and records that were sent twice change nothing. A
window of newest records is read, not all: what lies before it is not known, and `Overview.partial` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, Self

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka import KafkaError as Code

from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import Event
from schemas.codec import decode
from schemas.control import (
    BookPaused,
    BookResumed,
    KillSwitchPulled,
    TextAccepted,
    TextRejected,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.decisions import (
    BreakerReset,
    BreakerTripped,
    ConfirmationRequested,
    NewsDiscarded,
    NewsFlagged,
    NewsVetted,
    TradeApproved,
    TradeRejected,
)
from schemas.errors import KafkaError, RefusedError
from schemas.execution import OrderCanceled, OrderExpired, OrderFilled, OrderRejected, OrderRequested
from schemas.operations import AlertRaised, JournalProcessed, ProcessingFailed
from schemas.topics import TOPICS
from streams.kafka import Kafka, partition_of
from streams.lag import bounds_of
from streams.wire import FILLS, JOURNAL, ORDERS, PROGRESS, position_of

NEWEST = {
    PROGRESS: 500,
    "portfolio": 2_000,
    "risk-decisions": 2_000,
    ORDERS: 2_000,
    FILLS: 4_000,
    "control": 2_000,
    "alerts": 500,
}
"""Topics that tell of books, and how many of each partition's newest offsets are read."""
JOURNAL_NEWEST = 8
"""Offsets of a journal partition that hold its newest record: a transaction leaves a mark, an aborted one more."""
TIMEOUT_S = 15.0
_WHOLE = frozenset({"portfolio", "risk-decisions", ORDERS})
"""Topics whose earlier records could hold what is still open."""
_PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}


class BookView(msgspec.Struct, kw_only=True):
    """A book as the topics show it. `None` is what no record that was read tells."""

    book: str
    command: Literal["", "paused", "killed"] = ""
    """What an operator asked for last."""
    stopped: str = ""
    """Why the desk has stopped, if it has."""
    seq: int | None = None
    """The last journal entry that the desk has taken."""
    journal_seq: int | None = None
    """The last journal entry."""
    entry_at: int = 0
    """When the desk's last entry was observed, ns."""
    equity: Decimal | None = None
    equity_at: int = 0
    cash: Decimal | None = None
    positions: dict[str, Decimal] = {}
    breakers: dict[str, int] = {}
    """Open ones as `rule` or `rule INSTRUMENT`: the time in ns at which it resets, 0 for an operator's."""
    orders: dict[str, OrderRequested] = {}
    """Working ones by id."""
    confirmations: dict[str, ConfirmationRequested] = {}
    """Trades that wait for a person, lapsed ones too, by id."""
    flagged: dict[str, NewsFlagged] = {}
    """Texts that wait for a person, lapsed ones too, by the text's id. Told on `signals`."""
    alert: AlertRaised | ProcessingFailed | None = None

    @property
    def lag(self) -> int | None:
        """Give how many journal entries the desk has not taken."""
        if self.seq is None or self.journal_seq is None:
            return None
        return max(0, self.journal_seq - self.seq)

    @property
    def state(self) -> str:
        """Give the state in one word."""
        return "stopped" if self.stopped else self.command or "running"

    def waiting(self, now: int) -> list[ConfirmationRequested]:
        """Give the trades that a person may confirm at `now`, the oldest first."""
        return [each for each in self.confirmations.values() if each.expires_at > now]

    def to_review(self, now: int) -> list[NewsFlagged]:
        """Give the texts that a person may let pass at `now`, the oldest first."""
        return [each for each in self.flagged.values() if each.expires_at >= now]


class Overview:
    """All books, from whatever records it is given."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.books: dict[str, BookView] = {}
        self.partial: set[int] = set()
        """Partitions of which only the newest records were read."""
        self._seqs: dict[tuple[str, str], int] = {}
        self._closed: set[str] = set()
        """Orders that ended, proposals that were decided, confirmations that were answered; `BOOK/TEXT` of texts."""
        self._failed_at: dict[str, int] = {}

    def at_end_of_journal(self, seqs: Mapping[str, int]) -> None:
        """Take how far the journal of each book reaches."""
        for book, seq in seqs.items():
            view = self._view(book)
            view.journal_seq = max(seq, view.journal_seq or 0)

    def take(self, event: Event) -> None:
        """Take an event of any of the topics."""
        handler = _HANDLERS.get(type(event))
        book = event.book or event.key
        if handler is None or not book:
            return
        stream = (book, _STREAM.get(type(event), ""))
        if stream[1]:
            if event.seq < self._seqs.get(stream, 0):
                return  # sent once more after a restart
            self._seqs[stream] = event.seq
        handler(self, self._view(book), event)

    def in_order(self) -> list[BookView]:
        """Give the books that have a journal, by name: a command may name one that there is not."""
        known = (view for view in self.books.values() if view.journal_seq is not None or view.seq is not None)
        return sorted(known, key=lambda view: view.book)

    def partial_of(self, book: str) -> bool:
        """Tell whether older records may hold positions, breakers or orders that are not shown."""
        return partition_of(book) in self.partial

    def _view(self, book: str) -> BookView:
        return self.books.setdefault(book, BookView(book=book))

    # One handler an event

    def on_journal_processed(self, view: BookView, event: JournalProcessed) -> None:
        view.seq, view.entry_at = event.seq, event.observed_at
        self._judge(view)

    def on_processing_failed(self, view: BookView, event: ProcessingFailed) -> None:
        self.on_alert_raised(view, event)
        if event.seq >= self._failed_at.get(view.book, 0):
            self._failed_at[view.book] = event.seq
            view.stopped = f"agent {event.agent} failed at entry {event.seq}: {event.error}"
        self._judge(view)

    def _judge(self, view: BookView) -> None:
        """A desk that has come past the entry that it failed on has been mended."""
        if view.seq is not None and view.seq >= self._failed_at.get(view.book, view.seq + 1):
            view.stopped = ""

    def on_alert_raised(self, view: BookView, event: AlertRaised | ProcessingFailed) -> None:
        if view.alert is None or event.observed_at >= view.alert.observed_at:
            view.alert = event

    def on_equity_marked(self, view: BookView, event: EquityMarked) -> None:
        view.equity, view.equity_at, view.cash = event.equity, event.observed_at, event.cash

    def on_position_changed(self, view: BookView, event: PositionChanged) -> None:
        view.cash = event.cash
        view.positions.pop(event.instrument, None)
        if event.quantity:
            view.positions[event.instrument] = event.quantity

    def on_breaker_tripped(self, view: BookView, event: BreakerTripped) -> None:
        view.breakers[_breaker(event)] = event.until

    def on_breaker_reset(self, view: BookView, event: BreakerReset) -> None:
        view.breakers.pop(_breaker(event), None)

    def on_order_requested(self, view: BookView, event: OrderRequested) -> None:
        if event.id not in self._closed:
            view.orders[event.id] = event

    def on_order_filled(self, view: BookView, event: OrderFilled) -> None:
        if not event.leaves_quantity:
            self.on_order_ended(view, event)

    def on_order_ended(self, view: BookView, event: OrderFilled | OrderRejected | OrderCanceled | OrderExpired) -> None:
        self._closed.add(event.order)
        view.orders.pop(event.order, None)

    def on_confirmation_requested(self, view: BookView, event: ConfirmationRequested) -> None:
        if event.id not in self._closed:
            view.confirmations[event.id] = event

    def on_trade_answered(self, view: BookView, event: TradeConfirmed | TradeDeclined) -> None:
        self._closed.add(event.confirmation)
        view.confirmations.pop(event.confirmation, None)

    def on_trade_decided(self, view: BookView, event: TradeApproved | TradeRejected) -> None:
        """Whatever became of the proposal, nobody waits for a person any more."""
        for each in [each for each in view.confirmations.values() if each.proposal == event.proposal]:
            self._closed.add(each.id)
            del view.confirmations[each.id]

    def on_news_flagged(self, view: BookView, event: NewsFlagged) -> None:
        if event.expires_at and f"{view.book}/{event.cause}" not in self._closed:
            view.flagged[event.cause] = event

    def on_text_decided(self, view: BookView, event: TextAccepted | TextRejected | NewsVetted | NewsDiscarded) -> None:
        if event.text:
            self._closed.add(f"{view.book}/{event.text}")
            view.flagged.pop(event.text, None)

    def on_book_paused(self, view: BookView, event: BookPaused) -> None:
        view.command = view.command or "paused"

    def on_kill_switch_pulled(self, view: BookView, event: KillSwitchPulled) -> None:
        view.command = "killed"

    def on_book_resumed(self, view: BookView, event: BookResumed) -> None:
        view.command = ""


def _breaker(event: BreakerTripped | BreakerReset) -> str:
    return event.rule if event.key == event.book else f"{event.rule} {event.key}"


_HANDLERS: dict[type[Event], Callable[[Overview, BookView, Any], None]] = {
    JournalProcessed: Overview.on_journal_processed,
    ProcessingFailed: Overview.on_processing_failed,
    AlertRaised: Overview.on_alert_raised,
    EquityMarked: Overview.on_equity_marked,
    PositionChanged: Overview.on_position_changed,
    BreakerTripped: Overview.on_breaker_tripped,
    BreakerReset: Overview.on_breaker_reset,
    OrderRequested: Overview.on_order_requested,
    OrderFilled: Overview.on_order_filled,
    OrderRejected: Overview.on_order_ended,
    OrderCanceled: Overview.on_order_ended,
    OrderExpired: Overview.on_order_ended,
    ConfirmationRequested: Overview.on_confirmation_requested,
    TradeConfirmed: Overview.on_trade_answered,
    TradeDeclined: Overview.on_trade_answered,
    TradeApproved: Overview.on_trade_decided,
    TradeRejected: Overview.on_trade_decided,
    NewsFlagged: Overview.on_news_flagged,
    NewsVetted: Overview.on_text_decided,
    NewsDiscarded: Overview.on_text_decided,
    TextAccepted: Overview.on_text_decided,
    TextRejected: Overview.on_text_decided,
    BookPaused: Overview.on_book_paused,
    KillSwitchPulled: Overview.on_kill_switch_pulled,
    BookResumed: Overview.on_book_resumed,
}
_STREAM: dict[type[Event], str] = {
    JournalProcessed: "progress",
    EquityMarked: "equity",
    PositionChanged: "positions",
    BreakerTripped: "breakers",
    BreakerReset: "breakers",
}
"""Events of which the newest counts: an older one that comes again is passed over."""
_WANTED = frozenset(kind.__name__.encode() for kind in _HANDLERS)


class Watcher:
    """Reads the topics of a namespace into an overview. A context: leaving it closes the connection."""

    def __init__(self, kafka: Kafka, newest: Mapping[str, int] | None = None) -> None:
        """`newest` says which topics to read, and how many of the newest offsets; all by default."""
        self._kafka = kafka
        self._newest = NEWEST if newest is None else newest
        self._names = {kafka.name(topic): topic for topic in (JOURNAL, *self._newest)}
        self._consumer = _consumer(kafka)
        self._journal_read = dict.fromkeys(range(_PARTITIONS[JOURNAL]), 0)
        self.overview = Overview()

    def __enter__(self) -> Self:
        """Read the newest records. Raises KafkaError where the cluster does not give them."""
        places = [(topic, n) for topic in self._newest for n in range(_PARTITIONS[topic])]
        starts = {}
        for (topic, n), (low, high) in bounds_of(self._kafka, places).items():
            starts[topic, n] = max(low, high - self._newest[topic])
            if starts[topic, n] > low and topic in _WHOLE:
                self.overview.partial.add(n)
        for topic, message in _to_the_end(self._kafka, self._consumer, self._names, starts):
            self._take(topic, message)
        self._read_journal_ends()
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def follow(self, seconds: float) -> None:
        """Take what comes within `seconds`, and how far the journals have come since."""
        for message in self._consumer.consume(10_000, seconds):
            error = message.error()
            if error is None:
                self._take(self._names[message.topic() or ""], message)
            elif error.code() != Code._PARTITION_EOF:  # noqa: SLF001 - the binding's own name for it
                raise KafkaError(f"Kafka at {self._kafka.bootstrap}: {error.str()}")
        self._read_journal_ends()

    def _take(self, topic: str, message: Message) -> None:
        kind = dict(message.headers() or ()).get("type")
        if kind is not None and kind not in _WANTED:
            return
        try:
            self.overview.take(decode(message.value() or b""))
        except RefusedError:
            return  # an outsider's record on an input topic: the sequencer tells of it in the dead letters

    def _read_journal_ends(self) -> None:
        """Read the newest record of each journal that has grown; a journal's own traffic is not followed."""
        bounds = bounds_of(self._kafka, [(JOURNAL, n) for n in self._journal_read])
        starts = {}
        for (topic, n), (low, high) in bounds.items():
            if high > self._journal_read[n]:
                starts[topic, n] = max(low, high - JOURNAL_NEWEST)
                self._journal_read[n] = high
        if not starts:
            return
        consumer = _consumer(self._kafka)
        try:
            for _, message in _to_the_end(self._kafka, consumer, self._names, starts):
                self.overview.at_end_of_journal(position_of(dict(message.headers() or {}).items()).seqs)
        finally:
            consumer.close()


def _consumer(kafka: Kafka) -> Consumer:
    return Consumer(kafka.consumer("watcher", enable_partition_eof=True) | {"auto.offset.reset": "earliest"})


def _to_the_end(
    kafka: Kafka, consumer: Consumer, names: Mapping[str, str], starts: Mapping[tuple[str, int], int]
) -> Iterator[tuple[str, Message]]:
    """Read partitions from these offsets, each to its present end. Raises KafkaError where nothing comes."""
    consumer.assign([TopicPartition(kafka.name(topic), n, at) for (topic, n), at in starts.items()])
    left = set(starts)
    while left:
        messages = consumer.consume(10_000, 0.05) or consumer.consume(1, TIMEOUT_S)
        if not messages:
            raise KafkaError(f"Kafka at {kafka.bootstrap}: nothing came in {TIMEOUT_S:g} s; is the broker up?")
        for message in messages:
            topic, error = names[message.topic() or ""], message.error()
            if error is None:
                yield topic, message
            elif error.code() == Code._PARTITION_EOF:  # noqa: SLF001 - the binding's own name for it
                left.discard((topic, message.partition() or 0))
            else:
                raise KafkaError(f"Kafka at {kafka.bootstrap}: {topic}/{message.partition()}: {error.str()}")
