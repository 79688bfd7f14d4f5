"""What this worker counts and measures, for Prometheus. docs/operations.md says what each figure means.

The hot paths count in plain Python and hand over once a turn (sequencer) or a journal record (desk). Gauges of books
are of those that this worker holds: `DeskMeter.forget` takes them away when they move.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics
from prometheus_client import Counter as Total

from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import NS_PER_S, Event
from schemas.decisions import BreakerReset, BreakerTripped
from schemas.execution import OrderRequested
from schemas.operations import AlertRaised, ProcessingFailed, RecordRefused
from schemas.verdicts import ModelCallEnded, VerdictFailed, VerdictGiven
from streams.bookhost import BookHost

disable_created_metrics()  # type: ignore[no-untyped-call] # a series of its own for each counter's birth
REGISTRY = CollectorRegistry(auto_describe=True)
FAST_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
"""Bounds of the latencies of our own path, in seconds."""
SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)
"""Bounds of what a model takes."""

SEQUENCED = Total(
    "quorum_sequencer_records", "Input records taken, refused ones too.", ["journal", "topic"], registry=REGISTRY
)
REFUSED = Total("quorum_sequencer_refused", "Input records refused.", ["topic", "reason"], registry=REGISTRY)
ENTRIES = Total("quorum_journal_entries", "Journal entries written.", ["book"], registry=REGISTRY)
SEQUENCER_LAG = Gauge(
    "quorum_sequencer_lag_offsets", "Input offsets not taken.", ["journal", "topic", "partition"], registry=REGISTRY
)
DESK_EVENTS = Total("quorum_desk_events", "Events that the desk sent.", ["book", "type"], registry=REGISTRY)
DESK_SEQ = Gauge("quorum_desk_seq", "The last journal entry taken.", ["book"], registry=REGISTRY)
DESK_TIME = Gauge("quorum_desk_entry_time_seconds", "When that entry was observed.", ["book"], registry=REGISTRY)
DESK_LAG = Gauge("quorum_desk_lag_offsets", "Journal offsets not taken.", ["partition"], registry=REGISTRY)
STOPPED = Gauge("quorum_book_stopped", "1 where an agent failed and the book stopped.", ["book"], registry=REGISTRY)
FAILURES = Total("quorum_agent_failures", "Agents that failed.", ["book", "agent"], registry=REGISTRY)
ALERTS = Total("quorum_alerts", "Alerts raised.", ["book", "severity"], registry=REGISTRY)
TICK_TO_ORDER = Histogram(
    "quorum_tick_to_order_seconds",
    "From an input's observation to its order.",
    ["book"],
    buckets=FAST_S,
    registry=REGISTRY,
)
EQUITY = Gauge("quorum_book_equity", "The last mark of the book's worth.", ["book"], registry=REGISTRY)
POSITION = Gauge("quorum_book_position", "Signed quantity held.", ["book", "instrument"], registry=REGISTRY)
BREAKER = Gauge("quorum_breaker_open", "1 while it forbids new risk.", ["book", "key", "rule"], registry=REGISTRY)
VERDICTS = Total("quorum_verdicts", "Answers, and why there was none.", ["model", "outcome"], registry=REGISTRY)
VERDICT_S = Histogram("quorum_verdict_seconds", "What a model took.", ["model"], buckets=SLOW_S, registry=REGISTRY)
VERDICT_USD = Total("quorum_verdict_cost_usd", "What models cost.", ["model"], registry=REGISTRY)
CALLS = Total("quorum_model_calls", "Calls to outside models.", ["model", "provider", "outcome"], registry=REGISTRY)
CALL_S = Histogram(
    "quorum_model_call_seconds", "What a call took.", ["model", "provider"], buckets=SLOW_S, registry=REGISTRY
)
TOKENS = Total("quorum_model_tokens", "Tokens paid for.", ["model", "provider", "part"], registry=REGISTRY)
CALL_USD = Total("quorum_model_cost_usd", "What calls cost.", ["model", "provider"], registry=REGISTRY)
REPEATED = Total("quorum_model_repeats", "Questions answered from earlier answers.", ["model"], registry=REGISTRY)
CIRCUIT = Gauge("quorum_circuit_state", "0 closed, 1 half open, 2 open.", ["endpoint"], registry=REGISTRY)
CAP_SPENT = Gauge("quorum_cap_spent_share", "Share of a cap spent.", ["book", "model", "span"], registry=REGISTRY)
EXECUTION = Total("quorum_execution_events", "What the executor wrote to fills.", ["book", "type"], registry=REGISTRY)
PROCESSED = Total("quorum_processed_events", "Bars built and hours measured.", ["role", "type"], registry=REGISTRY)
PROCESSED_LATE = Total(
    "quorum_processed_late", "Records that came after their interval was told.", ["role"], registry=REGISTRY
)
PROCESSED_REFUSED = Total("quorum_processed_refused", "Records that are no event.", ["role"], registry=REGISTRY)
COMPREHEND_HOURS = Total(
    "quorum_comprehend_hours", "Hours that Amazon Comprehend measured, and why not.", ["outcome"], registry=REGISTRY
)
COMPREHEND_USD = Total("quorum_comprehend_cost_usd", "What Amazon Comprehend cost.", registry=REGISTRY)
UNSAVED = Total("quorum_snapshot_failures", "States that could not be saved.", ["book"], registry=REGISTRY)
FED = Total("quorum_feed_events", "Events that a feed has told.", ["feed", "type"], registry=REGISTRY)
FEED_SKIPPED = Total(
    "quorum_feed_skipped", "What a feed told to nobody on purpose.", ["feed", "why"], registry=REGISTRY
)
FEED_REFUSED = Total("quorum_feed_refused", "Messages of a source that cannot be read.", ["feed"], registry=REGISTRY)
FEED_FAILURES = Total("quorum_feed_failures", "Sources that failed and were called again.", ["feed"], registry=REGISTRY)
FEED_LAG = Gauge(
    "quorum_feed_lag_seconds", "From the last event's time to our knowing of it.", ["feed", "type"], registry=REGISTRY
)
FEED_STALENESS = Gauge(
    "quorum_feed_staleness_seconds", "Since a stream's last event.", ["feed", "type", "key"], registry=REGISTRY
)
ARCHIVED = Total("quorum_archived_records", "Records in the lake's new segments.", ["topic"], registry=REGISTRY)
ARCHIVED_BYTES = Total("quorum_archived_bytes", "Bytes of their files.", ["topic"], registry=REGISTRY)
SEGMENTS = Total("quorum_archived_segments", "Segments added to the lake.", ["topic"], registry=REGISTRY)
UNARCHIVED_S = Gauge(
    "quorum_unarchived_age_seconds", "Since the oldest record not archived was written.", ["topic"], registry=REGISTRY
)
RESTARTS = Total("quorum_part_restarts", "Parts of the worker that were started anew.", ["part"], registry=REGISTRY)

REASONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("duplicate", re.compile(r": is a duplicate of an event taken before$")),
    ("stale", re.compile(r": is stale: written [\d,]+ s after it was observed$")),
    ("unknown_key", re.compile(r": (no book trades|there is no book) ")),
    ("wrong_topic", re.compile(r": belongs on topic [a-z-]+$")),
    ("unreadable", re.compile(r"^record\b")),
)
"""The class of a refusal by the sentence that says why; all others are `invalid`: a field that cannot be true."""


def reason_class(reason: str) -> str:
    """Give the class of a refusal: one of few words, for a label must not come from outside."""
    return next((name for name, pattern in REASONS if pattern.search(reason)), "invalid")


class SequencerMeter:
    """What one sequencer did."""

    def __init__(self, partition: int) -> None:
        """`partition` is the journal's."""
        self._partition = str(partition)
        self._seqs: dict[str, int] = {}

    def resume(self, seqs: Mapping[str, int]) -> None:
        """Count from these journal positions on."""
        self._seqs = dict(seqs)
        for book in seqs:
            ENTRIES.labels(book)

    def took(self, topics: Iterable[str]) -> None:
        """Count input records by their topics."""
        for topic, count in Counter(topics).items():
            SEQUENCED.labels(self._partition, topic).inc(count)

    def wrote(self, seqs: Mapping[str, int], letters: Sequence[RecordRefused]) -> None:
        """Count a transaction: where each book's journal is now, and the dead letters written."""
        for book, seq in seqs.items():
            if seq > self._seqs.get(book, 0):
                ENTRIES.labels(book).inc(seq - self._seqs.get(book, 0))
                self._seqs[book] = seq
        for letter in letters:
            REFUSED.labels(letter.position.partition("/")[0], reason_class(letter.reason)).inc()

    def lags(self, ends: Iterable[tuple[str, int, int]], offsets: Mapping[str, Mapping[str, int]]) -> None:
        """Compare input partitions' ends (topic, partition, next offset to be written) with the offsets taken."""
        for topic, partition, end in ends:
            taken = offsets.get(topic, {}).get(str(partition))
            if taken is not None and end >= 0:
                SEQUENCER_LAG.labels(self._partition, topic, str(partition)).set(max(0, end - taken))

    def forget(self) -> None:
        """Take away the gauges of a journal partition that has left this worker."""
        _remove(SEQUENCER_LAG, {self._partition})


class DeskMeter:
    """What one partition's desk did. What it sends again after a restart moves its gauges and no counter."""

    def __init__(self, partition: int) -> None:
        """`partition` is the journal's."""
        self._partition = str(partition)
        self._said: Counter[tuple[str, str]] = Counter()
        self._orders: list[tuple[str, int]] = []
        self._urgent: list[Event] = []

    def took(self, book: str, seq: int, now: int, said: Sequence[Event]) -> None:
        """Note what a book answered to a run of entries that ends with `seq`, observed at `now`."""
        DESK_SEQ.labels(book).set(seq)
        DESK_TIME.labels(book).set(now / NS_PER_S)
        for event in said:
            kind = type(event)
            self._said[book, kind.__name__] += 1
            if kind is OrderRequested:
                self._orders.append((book, event.observed_at))
            elif kind is ProcessingFailed or kind is AlertRaised:
                self._urgent.append(event)
            show = _SHOWN.get(kind)
            if show is not None:
                show(event)

    def sent(self, now: int) -> None:
        """Count what was noted: at `now`, in ns, all of it stands on its topics."""
        for (book, kind), count in self._said.items():
            DESK_EVENTS.labels(book, kind).inc(count)
        for book, observed_at in self._orders:
            TICK_TO_ORDER.labels(book).observe(max(0, now - observed_at) / NS_PER_S)
        for event in self._urgent:
            if isinstance(event, ProcessingFailed):
                FAILURES.labels(event.book, event.agent).inc()
            elif isinstance(event, AlertRaised):
                ALERTS.labels(event.book, event.severity).inc()
        self._clear()

    def caught_up(self, hosts: Iterable[BookHost]) -> None:
        """Begin from recovered books: show what they hold, and leave uncounted what they sent again."""
        self._clear()
        for host in hosts:
            show_book(host)

    def lag(self, offsets: int) -> None:
        """Tell how many offsets of the journal partition are not taken yet."""
        DESK_LAG.labels(self._partition).set(offsets)

    def forget(self, books: Iterable[str]) -> None:
        """Take away the gauges of books that have left this worker."""
        names = set(books)
        for gauge in (DESK_SEQ, DESK_TIME, STOPPED, EQUITY, POSITION, BREAKER):
            _remove(gauge, names)
        _remove(DESK_LAG, {self._partition})

    def _clear(self) -> None:
        self._said.clear()
        self._orders.clear()
        self._urgent.clear()


class FeedMeter:
    """What one feed did."""

    def __init__(self, feed: str, streams: Sequence[tuple[type[Event], str]]) -> None:
        """`streams` are those whose staleness is shown: a type and a key."""
        self._feed = feed
        self._last: dict[tuple[type[Event], str], int | None] = dict.fromkeys(streams)
        FEED_FAILURES.labels(feed)
        FEED_REFUSED.labels(feed)

    def told(self, event: Event) -> None:
        """Count an event that was handed on."""
        kind = type(event)
        FED.labels(self._feed, kind.__name__).inc()
        FEED_LAG.labels(self._feed, kind.__name__).set((event.observed_at - event.occurred_at) / NS_PER_S)
        if (kind, event.key) in self._last:
            self._last[kind, event.key] = event.observed_at

    def skipped(self, why: str) -> None:
        """Count what was told to nobody; `why` is a word of ours."""
        FEED_SKIPPED.labels(self._feed, why).inc()

    def refused(self) -> None:
        """Count a message that cannot be read."""
        FEED_REFUSED.labels(self._feed).inc()

    def failed(self) -> None:
        """Count a failure of the source."""
        FEED_FAILURES.labels(self._feed).inc()

    def look(self, now: int) -> None:
        """Show how stale the streams are at `now`, in ns; a stream that has told nothing yet shows nothing."""
        for (kind, key), last in self._last.items():
            if last is not None:
                FEED_STALENESS.labels(self._feed, kind.__name__, key).set(max(0, now - last) / NS_PER_S)

    def forget(self) -> None:
        """Take away the gauges of a feed that has left this worker."""
        _remove(FEED_STALENESS, {self._feed})
        _remove(FEED_LAG, {self._feed})


class ArchiverMeter:
    """What the archiver of this process did."""

    def archived(self, topic: str, rows: int, file_bytes: int) -> None:
        """Count a segment that stands in the lake."""
        ARCHIVED.labels(topic).inc(rows)
        ARCHIVED_BYTES.labels(topic).inc(file_bytes)
        SEGMENTS.labels(topic).inc()

    def oldest(self, ages_ms: Mapping[str, int]) -> None:
        """Show of each topic how long its oldest record has waited; 0 where all are archived."""
        for topic, age_ms in ages_ms.items():
            UNARCHIVED_S.labels(topic).set(age_ms / 1000)

    def forget(self, topics: Iterable[str]) -> None:
        """Take away the gauges of topics that have left this worker."""
        _remove(UNARCHIVED_S, set(topics))


def show_book(host: BookHost) -> None:
    """Set the gauges of a book from its state: a restart must not hide an open breaker or a position."""
    book, desk = host.book, host.desk
    DESK_SEQ.labels(book.name).set(host.seq)
    DESK_TIME.labels(book.name).set(host.now / NS_PER_S)
    STOPPED.labels(book.name).set(host.failure is not None)
    _remove(BREAKER, {book.name})
    for rule in desk.breakers.state.tripped:
        BREAKER.labels(book.name, book.name, rule).set(1)
    for index in desk.breakers.state.halted:
        BREAKER.labels(book.name, book.instruments[index].id, "flash_move").set(1)
    for index, instrument in enumerate(book.instruments):
        POSITION.labels(book.name, instrument.id).set(float(desk.portfolio.quantity(index)))


def verdict(event: VerdictGiven | VerdictFailed) -> None:
    """Count what a model answered. The gateway calls it when the answer has been sent."""
    outcome = event.action if isinstance(event, VerdictGiven) else event.reason
    VERDICTS.labels(event.model, outcome).inc()
    VERDICT_S.labels(event.model).observe(event.latency_ms / 1000)
    VERDICT_USD.labels(event.model).inc(float(event.cost_usd))


def model_call(provider: str, event: ModelCallEnded) -> None:
    """Count a call that has ended."""
    CALLS.labels(event.model, provider, event.outcome).inc()
    CALL_S.labels(event.model, provider).observe(event.latency_ms / 1000)
    TOKENS.labels(event.model, provider, "prompt").inc(event.prompt_tokens)
    TOKENS.labels(event.model, provider, "reply").inc(event.reply_tokens)
    CALL_USD.labels(event.model, provider).inc(float(event.cost_usd))


def repeated(model: str) -> None:
    """Count a question that cost no call."""
    REPEATED.labels(model).inc()


def circuit(endpoint: str, state: Literal["closed", "half_open", "open"]) -> None:
    """Show how a circuit is."""
    CIRCUIT.labels(endpoint).set(("closed", "half_open", "open").index(state))


def spent(book: str, model: str, span: str, share: float) -> None:
    """Show how far a cap is spent; the model is empty of the cap on all together."""
    CAP_SPENT.labels(book, model, span).set(share)


def unspent(books: Iterable[str]) -> None:
    """Take away the gauges of books that have left this worker."""
    _remove(CAP_SPENT, set(books))


def alerted(event: AlertRaised) -> None:
    """Count an alert that no desk has raised."""
    ALERTS.labels(event.book, event.severity).inc()


def executed(events: Iterable[Event]) -> None:
    """Count what the venue said. The executor calls it when the events stand on `fills`."""
    for (book, kind), count in Counter((event.book, type(event).__name__) for event in events).items():
        EXECUTION.labels(book, kind).inc(count)


def unsaved(book: str) -> None:
    """Count a state that could not be saved."""
    UNSAVED.labels(book).inc()


def restarted(part: str) -> None:
    """Count a part that was started anew."""
    RESTARTS.labels(part).inc()


def _equity(event: EquityMarked) -> None:
    EQUITY.labels(event.book).set(float(event.equity))


def _position(event: PositionChanged) -> None:
    POSITION.labels(event.book, event.instrument).set(float(event.quantity))


def _tripped(event: BreakerTripped) -> None:
    BREAKER.labels(event.book, event.key, event.rule).set(1)


def _reset(event: BreakerReset) -> None:
    BREAKER.labels(event.book, event.key, event.rule).set(0)


def _failed(event: ProcessingFailed) -> None:
    STOPPED.labels(event.book).set(1)


_SHOWN: dict[type[Event], Callable[..., None]] = {
    EquityMarked: _equity,
    PositionChanged: _position,
    BreakerTripped: _tripped,
    BreakerReset: _reset,
    ProcessingFailed: _failed,
}


def _remove(gauge: Gauge, first_labels: set[str]) -> None:
    """Take away the series whose first label is among these."""
    for metric in gauge.collect():
        for sample in metric.samples:
            values = list(sample.labels.values())
            if values[0] in first_labels:
                gauge.remove(*values)
