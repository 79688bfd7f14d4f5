"""How far partitions reach, asked in one request, and how far this worker's desks are behind them.

Ends are those of committed records. Every transaction leaves a marker that takes an offset, so a desk at rest is one
offset behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.book import Book
from schemas.errors import KafkaError
from schemas.topics import PARTITIONS
from streams.kafka import Kafka, partition_of
from streams.metrics import DeskMeter
from streams.wire import JOURNAL

TIMEOUT_S = 10.0
EVERY_S = 5.0
"""How often the journal's ends are asked for."""
CAUGHT_UP_OFFSETS = 20
"""A desk this close to the end is ready: two offsets a record, and a record a second while nothing happens."""
PAUSE_S = 0.1
_MOVING = frozenset("LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH".split())
"""What a broker says while a partition gets its leader: as a topic is made, or as another broker takes over."""
log = getLogger("quorum.lag")


def bounds_of(
    kafka: Kafka, partitions: Iterable[tuple[str, int]], timeout_s: float = TIMEOUT_S
) -> dict[tuple[str, int], tuple[int, int]]:
    """Give of each (topic, partition) the first offset kept and the next to be written. Raises KafkaError."""
    asked = {(topic, n): TopicPartition(kafka.name(topic), n) for topic, n in partitions}
    admin = AdminClient(kafka.client() | {"log_level": 0})
    until = time.monotonic() + timeout_s
    while True:
        try:
            low, high = (_ends(admin, list(asked.values()), newest, timeout_s) for newest in (False, True))
        except KafkaException as error:
            if error.args[0].name() not in _MOVING or time.monotonic() > until:
                raise KafkaError(_unanswered(kafka, error)) from None
            time.sleep(PAUSE_S)
        else:
            return {where: (low[at], high[at]) for where, at in asked.items()}


def _ends(admin: AdminClient, asked: list[TopicPartition], newest: bool, timeout_s: float) -> dict[TopicPartition, int]:  # noqa: FBT001
    """Ask for one end of each partition. Raises KafkaException where one is not told."""
    spec = OffsetSpec.latest() if newest else OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    answers = admin.list_offsets(
        dict.fromkeys(asked, spec), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=timeout_s
    )
    return {at: answer.result().offset for at, answer in answers.items()}


def _unanswered(kafka: Kafka, error: KafkaException) -> str:
    """Say what to do about a cluster that gives no ends."""
    where = f"{kafka.bootstrap} (namespace {kafka.namespace!r})" if kafka.namespace else kafka.bootstrap
    return (
        f"Kafka at {where} does not tell the ends of its topics: {error.args[0].str()}; is it up, are the topics made?"
    )


class JournalLag:
    """Watches how far this worker's desks are behind; any thread may ask `reason`."""

    def __init__(self, kafka: Kafka, books: Sequence[Book], taken: Callable[[], Mapping[int, int | None]]) -> None:
        """`taken` gives the journal partitions assigned to this worker, each with the next offset to take.

        None stands for a partition of which no record has come yet. `books` are all that are known.
        """
        self._kafka, self._taken = kafka, taken
        self._books = {n: [book.name for book in books if partition_of(book.name) == n] for n in range(PARTITIONS)}
        self._lags: dict[int, int] | None = None
        self._seen: set[int] = set()

    def run(self, stopping: threading.Event) -> None:
        """Measure every few seconds until `stopping` is set; a cluster that does not answer is waited for."""
        while not stopping.is_set():
            try:
                self.measure()
            except KafkaError as error:
                self._lags = None
                log.warning("journal ends unknown", extra={"error": str(error)})
            stopping.wait(EVERY_S)

    def measure(self) -> None:
        """Ask for the ends and set the gauges; those of a partition that has left go. Raises KafkaError."""
        taken = self._taken()
        for n in self._seen - taken.keys():
            DeskMeter(n).forget(self._books[n])
        self._seen = set(taken)
        lags = {}
        bounds = bounds_of(self._kafka, [(JOURNAL, n) for n in taken]) if taken else {}
        for n, at in taken.items():
            low, high = bounds[JOURNAL, n]
            lags[n] = max(0, high - (low if at is None else at))
            DeskMeter(n).lag(lags[n])
        self._lags = lags

    def reason(self) -> str:
        """Say why the desks are not ready; empty where each partition has been taken to its end."""
        if self._lags is None:
            return "the journal's ends are not known"
        if not self._lags:
            return "no journal partition is assigned"
        behind = {n: lag for n, lag in self._lags.items() if lag > CAUGHT_UP_OFFSETS}
        return "; ".join(f"journal partition {n} is {lag:,} offsets behind" for n, lag in sorted(behind.items()))
