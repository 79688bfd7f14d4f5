"""Live equals replay, on what was recorded: weeks of real bars, tweets and news and minutes of real ticks, told at
speed to live workers that are killed meanwhile, are rebuilt from the journals byte for byte.

`pytest -s tests/integration/test_recorded.py` prints the counts.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml
from confluent_kafka import Consumer, TopicPartition

from benchmarks.faults import Tail
from cli.books import load_book
from cli.replay import parse_span
from connectors.importers.run import import_files
from connectors.importers.settings import Settings
from deploy.kafka.broker import Broker
from replay.audit import audit
from replay.log import DERIVED_TOPICS, JOURNAL, MemoryLog
from schemas.base import NS_PER_MIN, Event
from schemas.book import Book
from schemas.codec import decode_own
from schemas.control import (
    BookPaused,
    BookResumed,
    KillSwitchPulled,
    RulesChanged,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.decisions import BreakerTripped, ConfirmationRequested
from schemas.execution import OrderAccepted, OrderRejected, OrderRequested
from schemas.operations import JournalProcessed
from schemas.topics import TOPIC_OF
from streams.admin import create_topics
from streams.bookhost import BookHost
from streams.export import export
from streams.kafka import Kafka, partition_of
from streams.reading import read_back
from tests.integration.session import Session, archived_events

ROLES = ("sequencer", "desk", "gateway", "executor")
SNAPSHOTS_EVERY_5_S = "import streams.desk; streams.desk.SNAPSHOT_EVERY_NS = 5 * 10**9"
"""A desk that is killed goes on from one, not from the journal's begin."""
Command = BookPaused | BookResumed | TradeConfirmed | TradeDeclined | KillSwitchPulled | RulesChanged
STEPS, STEP_S = 400, 0.1
"""The session has so many steps, and each book's recording is cut into so many equal spans of its own time."""
WELL_UNDER_WAY = 200
"""Offset of a journal's partition at which snapshots of it have long been saved."""
MOST_BEHIND = 4_000
"""Events that the desk may be behind before the telling waits for it, however slow the machine."""
QUIET_S = 3.0
PATIENCE_S = 60.0
HAPPENED = (
    "TradeTicked QuoteTicked BarClosed TweetPosted NewsPublished ClockTicked"
    " NewsVetted NewsDiscarded NewsFlagged VerdictRequested VerdictGiven"
    " TradeProposed TradeApproved TradeRejected ConfirmationRequested BreakerTripped BreakerReset"
    " OrderRequested CancelRequested OrderAccepted OrderFilled OrderCanceled PositionChanged"
    " BookPaused BookResumed TradeConfirmed TradeDeclined KillSwitchPulled RulesChanged"
).split()
"""What a session must hold, for a replay of little proves little."""
TOLD = ("ticks", "bars", "tweets", "news", "control")
"""Topics of the inputs that are told; the rest are the workers' own answers."""


class Recording(NamedTuple):
    """Files below the shared data, and how they are to be imported."""

    settings: Settings
    files: Sequence[str]


def span(start: str, end: str) -> dict[str, Any]:
    start_ns, end_ns = parse_span(start, end)
    return {"start_ns": start_ns, "end_ns": end_ns}


APRIL_2018, JANUARY_2022 = span("2018-04-11", "2018-04-18"), span("2022-01-01", "2022-02-01")
PERP, SPOT, BTC, ETH, UNNAMED = (
    "BTC/USDT@binance-perp",
    "BTC/USDT@binance-spot",
    "BTC/USD@bitfinex",
    "ETH/USD@bitfinex",
    "BTC/PERP@unnamed",
)
RECORDINGS = {
    "binance-2024": [
        Recording(Settings(kind="ticks", instrument=PERP), ["ticks/binance_usdm_btcusdt_20240808_trades.parquet"]),
        Recording(
            Settings(kind="ticks", instrument=SPOT),
            [f"ticks/binance_spot_btcusdt_20240808_{kind}.parquet" for kind in ("trades", "bookticker")],
        ),
    ],
    "pair-2018": [
        Recording(Settings(kind="bars", instrument=BTC, **APRIL_2018), ["bars/bitfinex_btcusd_1m_2018.parquet"]),
        Recording(Settings(kind="bars", instrument=ETH, **APRIL_2018), ["bars/bitfinex_ethusd_1m_2018.parquet"]),
        Recording(
            Settings(kind="tweets", key=BTC, source="account_bitcoin", **APRIL_2018),
            ["text/tweets_stream_bitcoin_20180416_17.jsonl.gz", "text/tweets_account_bitcoin.jsonl.gz"],
        ),
    ],
    "perp-2022": [
        Recording(
            Settings(kind="bars", instrument=UNNAMED, **JANUARY_2022), ["bars/btc-perp_1m_20211231_20220201.csv"]
        ),
        Recording(Settings(kind="news", key=UNNAMED, **JANUARY_2022), ["text/cryptonews_2021_10_to_2022_04.jsonl.gz"]),
    ],
}
OFFLINE = {kind: {"kind": kind, "latency_ms": 5} for kind in ("vader", "textblob", "trend")}
USUAL: dict[str, Any] = {
    "models": OFFLINE,
    "analysts": {"models": list(OFFLINE), "every_min": 1, "news_cooldown_s": 2, "deadline_s": 4},
    "consensus": {"agree": 3},
    "strategy": {"mode": "advisory", "stop_atr": 3.0, "target_atr": 6.0, "bias_ttl_min": 1},
    "risk": {"order_pct": 10.0},
    "venue": {"latency_ms": 5, "max_volume_pct": None},
    "mark_every_min": 1,
}
"""Offline voters that are asked as often as can be, whose vote is seldom in the way, for a minute of a session is hours
of its market."""
BOOKS: dict[str, dict[str, Any]] = {
    "binance-2024": {
        "instruments": [{"id": PERP, "lot_size": "0.001"}, {"id": SPOT, "lot_size": "0.00001", "shortable": False}],
        "features": {"bar_s": 1, "ema_fast": 1, "ema_slow": 2},
        "text": {"keys": [PERP]},
    },
    "pair-2018": {
        "instruments": [{"id": BTC}, {"id": ETH, "lot_size": "0.001"}],
        "features": {"ema_fast": 120, "ema_slow": 480},
        "text": {"keys": [BTC]},
        "risk": {"order_pct": 10.0, "confirm_above_notional": 4_000.0},
        "breakers": {"flash_move_pct": 1.0, "cooldown_min": 60},
        "venue": {"latency_ms": 5, "max_volume_pct": 10.0},
    },
    "perp-2022": {
        "instruments": [{"id": UNNAMED, "lot_size": "0.001", "tick_size": "0.5"}],
        "features": {"ema_fast": 30, "ema_slow": 90},
        "text": {"keys": [UNNAMED]},
    },
}


class Operator:
    """Sends commands; confirms and declines in turn what asks for it, and resumes a book whose breaker has tripped."""

    def __init__(self, session: Session, kafka: Kafka, books: Sequence[Book]) -> None:
        self._session = session
        self._consumer = Consumer(kafka.consumer("operator") | {"auto.offset.reset": "earliest"})
        partitions = {partition_of(book.name) for book in books}
        topics = [kafka.name(topic) for topic in ("risk-decisions", "progress")]
        self._consumer.assign([TopicPartition(topic, n, 0) for topic in topics for n in sorted(partitions)])
        self._answered: set[str] = set()
        self._processed = Counter[str]()
        self.sent: list[Event] = []

    def send(self, kind: type[Command], book: str, **fields: Any) -> None:
        now = time.time_ns()
        name = f"operator/{kind.__name__}/{len(self.sent)}"
        event = kind(id=name, key=book, occurred_at=now, observed_at=now, operator="operator", **fields)
        self.sent.append(event)
        self._session.tell([event], flush=False)

    def look(self) -> None:
        for message in self._consumer.consume(1_000, 0):
            if message.error() is not None:
                continue  # the broker is away; the consumer goes on by itself
            event = decode_own(message.value() or b"")
            if isinstance(event, JournalProcessed):
                self._processed[event.book] = max(self._processed[event.book], event.seq)
                continue
            if event.id in self._answered:
                continue  # a desk that was killed says it again
            self._answered.add(event.id)
            if isinstance(event, ConfirmationRequested):
                self.send((TradeConfirmed, TradeDeclined)[len(self.sent) % 2], event.book, confirmation=event.id)
            elif isinstance(event, BreakerTripped):
                self.send(BookResumed, event.book, reason=event.rule)

    def commands(self, book: str) -> list[Event]:
        return [command for command in self.sent if command.key == book]

    def await_desk(self, told: int) -> None:
        """Let the desk come near what was told: a market that runs away from its orders' fills is hardly traded."""
        end = time.monotonic() + PATIENCE_S
        self.look()
        while told - self._processed.total() > MOST_BEHIND:
            assert time.monotonic() < end, "the desk does not come after"
            self.look()
            time.sleep(0.02)

    def close(self) -> None:
        self._consumer.close()


class House:
    """The workers, one of each role, and what is done to them."""

    def __init__(self, session: Session, books: Sequence[Book], broker: Broker) -> None:
        self._session, self._books, self._broker = session, books, broker
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._since: dict[str, float] = {}
        for role in ROLES:
            self._begin(role)
        self._broker_away = threading.Thread(target=self._restart_broker)
        self.restarts = 0

    def _begin(self, role: str) -> None:
        self._workers[role] = self._session.start("worker", role, "--worker", role)
        self._since[role] = time.time()

    def kill(self, role: str) -> None:
        """End a worker as a power cut would, and start it again."""
        self._session.kill(self._workers[role])
        self._begin(role)
        self.restarts += 1

    def stop_desk(self) -> None:
        """Ask the desk to end, once it has caught up, and start it again."""
        self._session.await_("the desk has caught up", self._is_caught_up)
        self._session.stop(self._workers["desk"])
        self._begin("desk")
        self.restarts += 1

    def _is_caught_up(self) -> bool:
        return min(map(self._session.processed_at, self._books)) > self._since["desk"]

    def kill_broker(self) -> None:
        """End the broker as a power cut would, and start it again on what it has written, while all else goes on."""
        self._broker_away.start()
        self.restarts += 1

    def _restart_broker(self) -> None:
        self._broker.kill()
        time.sleep(0.5)
        self._broker.start()

    def await_broker(self) -> None:
        self._broker_away.join()

    def end(self) -> None:
        """Ask all workers to end, and see that they do."""
        self._session.stop(*self._workers.values())


def recordings(find: Callable[[str], Path], folder: Path, book: Book) -> list[Event]:
    """Import a book's recordings, and give them as its inputs in the order of their time."""
    for recording in RECORDINGS[book.name]:
        list(import_files([find(name) for name in recording.files], folder, recording.settings))
    return list(archived_events(folder, book))


def write_book(folder: Path, name: str) -> Book:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, **USUAL, **BOOKS[name]}), encoding="utf-8")
    return load_book(path)


def spread(events: Sequence[Event]) -> list[tuple[int, Event]]:
    """Say for each event in which step of the session it is told: its own time, evenly compressed."""
    first, last = events[0].observed_at, events[-1].observed_at
    return [((event.observed_at - first) * (STEPS - 1) // (last - first), event) for event in events]


def tell(session: Session, feeds: dict[str, list[Event]], house: House, operator: Operator) -> None:
    """Tell all feeds, each from begin to end, while workers are ended and commands are given."""
    script: dict[int, Callable[[], None]] = {
        40: lambda: house.kill("executor"),
        60: lambda: operator.send(BookPaused, "binance-2024"),
        90: lambda: house.kill("sequencer"),
        100: lambda: operator.send(BookResumed, "binance-2024"),
        140: lambda: house.kill("desk"),
        180: lambda: house.kill("gateway"),
        200: lambda: operator.send(RulesChanged, "perp-2022", changes={"order_pct": 5.0}),
        240: house.stop_desk,
        290: house.kill_broker,
        340: lambda: operator.send(KillSwitchPulled, "perp-2022"),
        350: lambda: operator.send(BookResumed, "perp-2022"),
    }
    steps: list[list[Event]] = [[] for _ in range(STEPS)]
    for step, event in merge(*map(spread, feeds.values()), key=itemgetter(0)):
        steps[step].append(event)
    start, told = time.monotonic(), 0
    for n, events in enumerate(steps):
        if n in script:
            script[n]()
        told += session.tell(events, flush=False)
        operator.await_desk(told)
        time.sleep(max(0.0, start + (n + 1) * STEP_S - time.monotonic()))
    house.await_broker()
    session.tell(())


def settle(session: Session, books: Sequence[Book], inputs: dict[str, list[Event]]) -> None:
    """Wait until every book has journaled its inputs, every order is answered, and nothing new comes."""
    tails = {book.name: Tail(session.kafka, book) for book in books}
    told = {name: {event.id for event in events} for name, events in inputs.items()}
    seen: list[tuple[int, int]] = []
    since = time.monotonic()

    def is_over() -> bool:
        nonlocal seen, since
        for tail in tails.values():
            tail.read()
        now = [(tail.seq, len(tail.answered)) for tail in tails.values()]
        if now != seen:
            seen, since = now, time.monotonic()
        whole = all(
            told[name] <= tail.inputs and tail.ordered <= tail.answered and tail.seq <= tail.processed
            for name, tail in tails.items()
        )
        return whole and time.monotonic() - since > QUIET_S

    try:
        session.await_("all is journaled, answered and processed", is_over, PATIENCE_S)
    finally:
        for tail in tails.values():
            tail.close()


def by_feed(events: Iterable[Event]) -> dict[tuple[str, str], list[Event]]:
    """Sort inputs that were told by topic and key, within which they keep their order, without what a journal adds."""
    feeds: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if (topic := TOPIC_OF[type(event)]) in TOLD:
            bare = msgspec.structs.replace(event, book="", seq=0, occurred_at=0, observed_at=0)
            feeds.setdefault((topic, event.key), []).append(bare)
    return feeds


def folded(book: Book, entries: Sequence[Event]) -> str:
    """Take a journal in runs as long as they come, instead of entry by entry as the audit; give the log's digest."""
    host, log = BookHost(book), MemoryLog()
    for entry in entries:
        log.journal(entry)
    for event in host.feed(entries):
        log.derived(event)
    return log.sha256()


def events_of(run: Path, topics: Iterable[str]) -> list[Event]:
    lines = (line for topic in topics for line in (run / "log" / f"{topic}.jsonl").read_bytes().splitlines())
    return [decode_own(line) for line in lines]


def hours(events: Sequence[Event]) -> float:
    return (events[-1].observed_at - events[0].observed_at) / (60 * NS_PER_MIN)


def catches(folder: Path) -> list[dict[str, Any]]:
    """Read from the desks' logs what each folded when it took over: so many records, up to this offset."""
    lines = [line for log in folder.glob("worker-desk-*.log") for line in log.read_bytes().splitlines()]
    return [msgspec.json.decode(line) for line in lines if b'"caught up"' in line]


def test_weeks_of_real_data_with_restarts_and_commands_replay_to_the_same_bytes(
    shared_data: Callable[[str], Path], make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    began = time.monotonic()
    books = [write_book(tmp_path, name) for name in BOOKS]
    feeds = {book.name: recordings(shared_data, tmp_path / "archives" / book.name, book) for book in books}
    broker = make_broker()
    kafka = Kafka(bootstrap=broker.bootstrap)
    create_topics(kafka)
    session = Session(kafka, tmp_path, prelude=SNAPSHOTS_EVERY_5_S)
    session.books = [tmp_path / f"{book.name}.yaml" for book in books]
    operator = Operator(session, kafka, books)
    try:
        house = House(session, books, broker)
        session.await_("the desk is there", lambda: all(map(session.processed, books)))
        tell(session, feeds, house, operator)
        inputs = {name: [*events, *operator.commands(name)] for name, events in feeds.items()}
        settle(session, books, inputs)
        house.end()
        exported = {book.name: export(kafka, book, tmp_path / "runs" / book.name) for book in books}
        letters = [decode_own(letter.value() or b"") for letter in read_back(kafka, "dead-letters", 0, 0)]
    finally:
        operator.close()
        session.close()

    far = [catch for catch in catches(tmp_path) if catch["offset"] > WELL_UNDER_WAY]
    assert far, "a desk took over in the middle"
    assert all(catch["records"] < catch["offset"] / 4 for catch in far), "from a snapshot, not from the journal's begin"
    refused = [letter for letter in letters if letter.position.startswith(TOLD)]  # type: ignore[attr-defined]
    assert not refused, "every input is taken"
    types = Counter[str]()
    for book in books:
        run, done = tmp_path / "runs" / book.name, exported[book.name]
        audited = audit(run, (), book)
        assert (audited.journal_entries, audited.derived_events) == (done.journal_entries, done.derived_events)
        entries, derived = events_of(run, [JOURNAL]), events_of(run, DERIVED_TOPICS)
        assert folded(book, entries) == done.log_sha256, "the same log, however its journal is cut"
        assert by_feed(entries) == by_feed(inputs[book.name]), "none lost, doubled, changed or moved"
        answered = [entry.order for entry in entries if isinstance(entry, OrderAccepted | OrderRejected)]
        orders = [event.id for event in derived if isinstance(event, OrderRequested)]
        assert sorted(answered) == sorted(orders), "each order is answered once"
        types.update(type(event).__name__ for event in (*entries, *derived))
    assert not [name for name in HAPPENED if not types[name]]
    sys.stdout.write(
        f"\n{sum(map(len, feeds.values())):,} events of {sum(map(hours, feeds.values())):,.0f} market hours,"
        f" {types.total():,} in the logs, {types['VerdictGiven']} verdicts, {types['OrderRequested']} orders,"
        f" {types['OrderFilled']} fills, {len(operator.sent)} commands, {house.restarts} restarts,"
        f" {sum(done.journal_entries for done in exported.values()):,} journal entries and"
        f" {sum(done.derived_events for done in exported.values()):,} derived events rebuilt,"
        f" {time.monotonic() - began:.0f} s\n"
    )
