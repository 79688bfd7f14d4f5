"""Amazon Comprehend beside the lexicons of the `sentiment` worker: an hour is read whole and within the cap, or not.

What a day may cost holds over restarts: an hour's cost is in Kafka before the first call for it, as the metadata of a
position that nobody reads from. An hour that the topic tells of already is told again as it was, and paid once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from functools import partial
from logging import getLogger
from typing import Protocol

import msgspec
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.models.comprehend import MAX_TEXTS, NAME, THRESHOLD, cost, readable
from connectors.models.provider import CallError
from connectors.models.purse import ALL, BudgetPurse, CapAlert, OverBudgetError
from connectors.processed.sentiment import INTERVAL_NS, Hour, hours_of, measured, measurement_id
from schemas.base import NS_PER_DAY
from schemas.book import BudgetSettings
from schemas.errors import KafkaError
from schemas.texts import SentimentMeasured
from schemas.topics import TOPIC_OF, TOPICS
from schemas.verdicts import NOTHING
from streams.kafka import Kafka
from streams.limits import Circuit
from streams.metrics import COMPREHEND_HOURS, COMPREHEND_USD
from streams.reading import newest_first, read_own
from streams.windows import Windows, sentiment_windows

HOUR_S = 20.0
"""That the calls for one hour of one key may take together: the lexicons of the next one wait for them."""
TIMEOUT_S = 30.0
GROUP = "sentiment-comprehend"
"""Whose position holds what was spent."""
TOPIC = TOPIC_OF[SentimentMeasured]
Told = Mapping[str, SentimentMeasured]
log = getLogger("quorum.comprehend")


class Scorer(Protocol):
    """Scores texts for money."""

    def scores(self, texts: Sequence[str], within_s: float) -> list[float]:
        """Give a score of each. Raises CallError."""


class Spent(msgspec.Struct, frozen=True):
    """What a day, counted from 1970, UTC, has cost; hours under way at their worst."""

    day: int = 0
    usd: Decimal = NOTHING


class Ledger(Protocol):
    """Keeps what was spent over the end of a process."""

    def read(self) -> Spent:
        """Give what was written last."""

    def write(self, spent: Spent) -> None:
        """Keep it; it is kept on return."""


class KafkaLedger:
    """A ledger that is the metadata of a group's position."""

    def __init__(self, kafka: Kafka) -> None:
        """Nothing is opened yet."""
        self._kafka = kafka

    def read(self) -> Spent:
        """Give what was written last, nothing if nothing was. Raises KafkaException, KafkaError of what is damaged."""
        with closing(self._consumer()) as consumer:
            (kept,) = consumer.committed([TopicPartition(self._kafka.name(TOPIC), 0)], TIMEOUT_S)
        if kept.error is not None:
            raise KafkaException(kept.error)
        try:
            return msgspec.json.decode(kept.metadata, type=Spent) if kept.metadata else Spent()
        except msgspec.MsgspecError:
            name = self._kafka.name(GROUP)
            raise KafkaError(
                f"what Comprehend has cost is not known: group {name!r} holds it damaged; delete it"
            ) from None

    def write(self, spent: Spent) -> None:
        """Keep it. Raises KafkaException where Kafka does not."""
        metadata = msgspec.json.encode(spent).decode()
        with closing(self._consumer()) as consumer:
            position = TopicPartition(self._kafka.name(TOPIC), 0, 0, metadata)
            (kept,) = consumer.commit(offsets=[position], asynchronous=False)
        if kept.error is not None:
            raise KafkaException(kept.error)

    def _consumer(self) -> Consumer:
        return Consumer(self._kafka.consumer(GROUP))


def told_since(kafka: Kafka, occurred_at: int) -> dict[str, SentimentMeasured]:
    """Give by id what was told by Comprehend of hours that ended at `occurred_at` or later.

    A partition is read back to a block that begins with an earlier hour: hours are told in the order of their ends.
    """
    found: dict[str, SentimentMeasured] = {}
    partitions = next(topic.partitions for topic in TOPICS if topic.name == TOPIC)
    for partition in range(partitions):
        for block in newest_first(kafka, TOPIC, partition):
            events = [event for each in block if (event := read_own(each.value(), SentimentMeasured))]
            found |= {event.id: event for event in events if event.lexicon == NAME}
            if events and events[0].occurred_at < occurred_at:
                break
    return found


def comprehend_windows(kafka: Kafka, scorer: Scorer, per_day_usd: Decimal) -> Windows:
    """Prepare to measure texts by the lexicons and by Comprehend, for so much a day at most."""
    reader = Reader(scorer, per_day_usd, KafkaLedger(kafka), partial(told_since, kafka))
    return sentiment_windows(reader.measure)


class Reader:
    """Measures hours by Comprehend. It belongs to one thread."""

    def __init__(
        self,
        scorer: Scorer,
        per_day_usd: Decimal,
        ledger: Ledger,
        told: Callable[[int], Told],
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`told` gives by id what was told of hours that ended at a time or later. Nothing is read yet."""
        self._scorer, self._cap, self._ledger, self._told, self._clock = scorer, per_day_usd, ledger, told, clock
        self._circuit = Circuit(NAME)
        self._purse: BudgetPurse | None = None
        self._known: Told = {}

    def measure(self, texts: pa.Table) -> Iterator[SentimentMeasured]:
        """Measure the hours of texts given in `TEXT_COLUMNS`; one that cannot be paid or read whole is left out."""
        for hour in hours_of(texts):
            rows = [row for row in hour.rows if readable(row["text"]).strip()]
            if rows:
                yield from self._hour(hour._replace(rows=rows))

    def _hour(self, hour: Hour) -> Iterator[SentimentMeasured]:
        purse = self._begun(hour)
        id = measurement_id(NAME, hour)
        if id in self._known:
            COMPREHEND_HOURS.labels("repeated").inc()
            yield self._known[id]
            return
        try:
            scores = self._read(purse, id, [row["text"] for row in hour.rows])
        except OverBudgetError as error:
            _left_out(id, "over_budget", str(error))
        except CallError as error:
            _left_out(id, error.outcome, error.detail)
        else:
            COMPREHEND_HOURS.labels("measured").inc()
            yield measured(NAME, THRESHOLD, hour, scores)

    def _begun(self, hour: Hour) -> BudgetPurse:
        """Give the purse; at the first hour, take up what was told and spent before."""
        if self._purse is None:
            self._known = self._told(hour.opened + INTERVAL_NS)
            purse = BudgetPurse(BudgetSettings(per_day_usd=self._cap), _warn)
            before = self._ledger.read()
            usd = min(before.usd, self._cap)
            purse.settle(purse.reserve(NAME, usd, before.day * NS_PER_DAY), usd)
            self._purse = purse
        return self._purse

    def _read(self, purse: BudgetPurse, id: str, texts: list[str]) -> list[float]:
        """Score the texts of an hour. Raises OverBudgetError, or CallError of the first call that failed."""
        now = self._clock()
        if not self._circuit.admits(now):
            raise CallError("unavailable", f"circuit open: {self._circuit.reason}", prompt_tokens=0)
        calls = [texts[n : n + MAX_TEXTS] for n in range(0, len(texts), MAX_TEXTS)]
        hold = purse.reserve(NAME, sum(map(cost, calls), NOTHING), now)
        day = next(cap.spent_usd for cap in purse.caps(now) if cap.model == ALL and cap.span == "day")
        self._ledger.write(Spent(now // NS_PER_DAY, day))
        self._circuit.began(id, now)
        until = time.monotonic() + HOUR_S
        scores: list[float] = []
        paid = NOTHING
        try:
            for call in calls:
                paid += cost(call)
                scores += self._scorer.scores(call, until - time.monotonic())
        except CallError as error:
            if error.prompt_tokens == 0:  # it was not taken on
                paid -= cost(call)
            outside = error.outcome in ("throttled", "timeout", "unavailable")
            self._circuit.ended(id, worked=False if outside else None, now=self._clock())
            raise
        finally:
            purse.settle(hold, paid)
            COMPREHEND_USD.inc(float(paid))
        self._circuit.ended(id, worked=True, now=self._clock())
        return scores


def _left_out(id: str, outcome: str, why: str) -> None:
    COMPREHEND_HOURS.labels(outcome).inc()
    log.warning("hour not measured by Comprehend", extra={"event": id, "outcome": outcome, "error": why})


def _warn(alert: CapAlert) -> None:
    log.warning("budget of Comprehend", extra={"error": alert.text})
