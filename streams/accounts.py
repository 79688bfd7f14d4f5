"""The money and the log of calls of the books whose partition a gateway has.

A book's questions lie in one partition, and so do its calls. Whoever is given the partition takes over the log of its
calls, reads back what was spent and answered in the last day, and only then may a call be made. So a cap holds over
restarts and over gateways: what another has let through is known, and what it has not can no longer be let through.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple, TypeVar

from connectors.models.purse import BudgetPurse, CapAlert, Hold, Purse
from connectors.voters import Voter
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_MS, derived_id
from schemas.book import Book
from schemas.errors import KafkaError
from schemas.operations import AlertRaised
from schemas.topics import TOPICS
from schemas.verdicts import ModelCallStarted, VerdictFailed, VerdictGiven
from streams import metrics
from streams.calls import CallLog, ModelCall, offset_at, read_since
from streams.kafka import Kafka, partition_of
from streams.recall import Key
from streams.wire import CALLS, VERDICTS

LOOK_BACK_NS = NS_PER_DAY
"""A day of UTC is no longer, and a question that was asked before is no longer open."""
VERDICT_PARTITIONS = next(topic.partitions for topic in TOPICS if topic.name == VERDICTS)
Severity = Literal["info", "warning", "critical"]
T = TypeVar("T")
SPAN_NS = {"hour": 60 * NS_PER_MIN, "day": NS_PER_DAY}
Minds = Callable[[Book, Purse, Callable[[ModelCall], None], Callable[[], int]], Mapping[str, Voter]]
"""What makes the outside models of a book: `connectors.models.minds`."""


class Account:
    """One book's purse, and the way to its log of calls while this gateway has it. Any thread may use it."""

    def __init__(self, book: Book, alert: Callable[[AlertRaised], None], clock: Callable[[], int]) -> None:
        """It is closed, and nothing is spent. `alert` may be called in any thread."""
        self.book, self.partition = book, partition_of(book.name)
        self.log: CallLog | None = None
        self._alert, self._clock = alert, clock
        self._purse = BudgetPurse(book.budget, self._capped)
        self._retries: SimpleQueue[ModelCallStarted] = SimpleQueue()

    def reserve(self, model: str, worst_usd: Decimal, at: int) -> Hold:
        """Set money aside for a call. Raises OverBudgetError."""
        return self._purse.reserve(model, worst_usd, at)

    def settle(self, hold: Hold, actual_usd: Decimal) -> None:
        """Replace a call's worst by what it cost."""
        self._purse.settle(hold, actual_usd)

    def tell(self, event: ModelCall) -> None:
        """Write a call's start or end to the log; a start is confirmed when this returns.

        Raises KafkaError where no call may be made.
        """
        log = self.log
        if log is not None:
            log.tell(event)
        elif isinstance(event, ModelCallStarted):
            raise KafkaError(f"no call was made: book {self.book.name} belongs to another gateway now")
        if isinstance(event, ModelCallStarted):
            if event.attempt > 1:
                self._retries.put(event)
        else:
            metrics.model_call(self.book.models[event.model].kind, event)

    def take(self, event: ModelCall) -> None:
        """Count what another process spent."""
        self._purse.take(event)

    def retries(self) -> Iterator[ModelCallStarted]:
        """Give the second attempts since the last time: nobody else has counted them against the model's rate."""
        return drained(self._retries)

    def show(self) -> None:
        """Set the gauges of what is spent of each cap."""
        for cap in self._purse.caps(self._clock()):
            share = float(cap.spent_usd / cap.cap_usd) if cap.cap_usd else 1.0
            metrics.spent(self.book.name, cap.model, cap.span, share)

    def _capped(self, alert: CapAlert) -> None:
        now, span_ns = self._clock(), SPAN_NS.get(alert.span, 0)
        window = alert.at // span_ns if span_ns else 0
        if span_ns and window != now // span_ns:
            return  # it was told in its time
        about = f"{self.book.name}/{alert.model}/{alert.span}/{window}/{'reached' if alert.reached else 'near'}"
        self._alert(alert_of(self.book.name, about, now, "critical" if alert.reached else "warning", alert.text))


class Opened(NamedTuple):
    """Partitions whose books may call from now on, and what was read back of them."""

    logs: Mapping[int, CallLog]
    turn: int
    """Which asking for partitions this answers; a partition may have been lost and given again since."""
    started: Sequence[ModelCallStarted]
    """Calls of the last day that other processes made."""
    verdicts: Sequence[VerdictGiven | VerdictFailed]
    """Of these books, in the last day."""

    def keys(self) -> dict[str, Key]:
        """Give of each request that was put to an outside model what was asked."""
        keys: dict[str, Key] = {}
        for call in self.started:
            keys.setdefault(call.cause, Key(call.model, call.parameters_sha256, call.sent_sha256))
        return keys


class Accounts:
    """All of them. Its methods belong to the gateway's thread, what reads back has one of its own."""

    def __init__(
        self,
        kafka: Kafka,
        books: Iterable[Book],
        minds: Minds,
        alert: Callable[[AlertRaised], None],
        clock: Callable[[], int],
    ) -> None:
        """Make the outside models of the books; none may call yet. Raises BookError where one cannot be made."""
        self._kafka, self._clock = kafka, clock
        self._writer = secrets.token_hex(8)
        self._books = {
            book.name: Account(book, alert, clock)
            for book in books
            if any(book.models[name].is_outside for name in book.asked)
        }
        self.voters: dict[tuple[str, str], Voter] = {
            (name, model): voter
            for name, account in self._books.items()
            for model, voter in minds(account.book, account, account.tell, clock).items()
        }
        self._partitions = {account.partition for account in self._books.values()}
        self._offsets: dict[int, int] = {}
        self._opening: dict[int, int] = {}
        self._turns = 0
        self._asked: SimpleQueue[tuple[int, list[int]]] = SimpleQueue()
        self._opened: SimpleQueue[Opened | Exception] = SimpleQueue()
        if self._books:
            threading.Thread(target=self._open_all, name="accounts", daemon=True).start()

    def __iter__(self) -> Iterator[Account]:
        """Give each account."""
        return iter(self._books.values())

    def open(self, partitions: Iterable[int]) -> None:
        """Begin to take over the calls of partitions."""
        asked = sorted(self._partitions.intersection(partitions))
        if asked:
            self._turns += 1
            self._opening |= dict.fromkeys(asked, self._turns)
            self._asked.put((self._turns, asked))

    @property
    def opening(self) -> list[int]:
        """Partitions that are not taken over yet; any thread may ask."""
        return sorted(self._opening)

    def is_open(self, book: str) -> bool:
        """Tell whether a book's models may be called."""
        return self._books[book].log is not None

    def opened(self) -> list[Opened]:
        """Give what was taken over since the last time. Raises what the cluster has failed with."""
        found: list[Opened] = []
        for each in drained(self._opened):
            if isinstance(each, Exception):
                raise each
            found.append(each)
        for account in self:
            if account.log is not None and account.log.trouble:
                raise KafkaError(account.log.trouble)
        return found

    def admit(self, opened: Opened) -> None:
        """Let the books of partitions that are still ours call."""
        for partition, log in opened.logs.items():
            if self._opening.get(partition) == opened.turn:
                del self._opening[partition]
                for account in self._of(partition):
                    account.log = log
            else:
                log.close()

    def close(self, partitions: Iterable[int]) -> list[CallLog]:
        """Let no book of these partitions call any more; give the logs that end."""
        closing = []
        for partition in partitions:
            self._opening.pop(partition, None)
            for account in self._of(partition):
                if account.log is not None:
                    closing.append(account.log)
                account.log = None
                metrics.unspent([account.book.name])
        for log in closing:
            log.close()
        return closing

    def end(self) -> None:
        """Close all."""
        self._asked.put((0, []))
        for log in self.close(self._partitions):
            log.join()
        for each in drained(self._opened):
            for unused in each.logs.values() if isinstance(each, Opened) else ():
                unused.close()

    def _of(self, partition: int) -> list[Account]:
        return [account for account in self if account.partition == partition]

    # Reading back, in a thread of its own

    def _open_all(self) -> None:
        while (asked := self._asked.get())[1]:
            try:
                self._opened.put(self._open(*asked))
            except Exception as error:  # noqa: BLE001 - the gateway's thread raises it
                self._opened.put(error)
                return

    def _open(self, turn: int, partitions: list[int]) -> Opened:
        """Shut out the writers before, then read: so nothing is added behind what is read."""
        logs = {partition: CallLog(self._kafka, partition, self._writer) for partition in partitions}
        since_ms = (self._clock() - LOOK_BACK_NS) // NS_PER_MS
        started = [call for partition in partitions for call in self._read_calls(partition, since_ms)]
        names = {account.book.name for partition in partitions for account in self._of(partition)}
        return Opened(logs, turn, started, self._read_verdicts(names, since_ms))

    def _read_calls(self, partition: int, since_ms: int) -> list[ModelCallStarted]:
        """Count what others have spent; give the calls that they began."""
        start = self._offsets.get(partition)
        if start is None:
            start = offset_at(self._kafka, CALLS, partition, since_ms)
        started: list[ModelCallStarted] = []
        for record in read_since(self._kafka, CALLS, partition, start):
            call = record.event
            if not isinstance(call, ModelCall):
                raise KafkaError(
                    f"{record.place}: this is no call to a model, so what was spent is not known; delete it"
                )
            self._offsets[partition] = int(record.place.rpartition("/")[2]) + 1
            account = self._books.get(call.book)
            if account is None or record.writer == self._writer:
                continue
            account.take(call)
            if isinstance(call, ModelCallStarted):
                started.append(call)
        return started

    def _read_verdicts(self, books: set[str], since_ms: int) -> list[VerdictGiven | VerdictFailed]:
        found: list[VerdictGiven | VerdictFailed] = []
        for partition in range(VERDICT_PARTITIONS):
            start = offset_at(self._kafka, VERDICTS, partition, since_ms)
            found += [
                record.event
                for record in read_since(self._kafka, VERDICTS, partition, start)
                if isinstance(record.event, VerdictGiven | VerdictFailed) and record.event.book in books
            ]
        return found


def drained(queue: SimpleQueue[T]) -> Iterator[T]:
    """Take what is in a queue."""
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def alert_of(book: str, about: str, now: int, severity: Severity, text: str) -> AlertRaised:
    """Make an alert of the gateway; `about` names what it tells of, so that it is told once."""
    return AlertRaised(
        id=derived_id(about, "gateway", 0),
        key=book,
        occurred_at=now,
        observed_at=now,
        book=book,
        severity=severity,
        text=text,
    )
