"""Faults change nothing in the outcome: a few runs of `benchmarks.faults`, which counts many more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from benchmarks.fault_kinds import limit_snapshots
from benchmarks.faults import Lane, Result
from deploy.kafka.broker import Broker
from schemas.base import market_id
from schemas.book import Book
from schemas.codec import encode
from schemas.control import ClockTicked
from streams import metrics
from streams.desk import DeskPartition
from streams.health import Health
from streams.kafka import Kafka, partition_of
from streams.membership import Membership
from streams.publisher import Publisher
from tests.integration.session import write_live_book

PLANS = (("kill-all", 1), ("kill-desk", 2), ("broker-SIGKILL", 3), ("producer", 4))


def test_faults_lose_double_and_change_nothing(make_broker: Callable[..., Broker], tmp_path: Path) -> None:
    results: list[Result] = []
    Lane(tmp_path, make_broker()).run(PLANS, results.extend)
    assert [(result.fault, result.seed) for result in results] == list(PLANS)
    assert [complaint for result in results for complaint in result.complaints] == []
    assert not any(result.lost or result.doubled or result.diverged for result in results)
    assert all(result.orders for result in results), "a run without orders proves little"


def test_a_worker_whose_place_another_has_taken_does_not_wait_for_ever(kafka: Kafka) -> None:
    stopping, joined = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def join() -> None:
        def make(_partition: int) -> None:
            joined.set()

        try:
            Membership(kafka, "sequencer", "journal", make, worker="one", health=Health("one")).run(stopping)
        except KafkaException as error:
            raised.append(error)

    first = threading.Thread(target=join)
    first.start()
    assert joined.wait(30)
    second = threading.Thread(target=join)
    second.start()
    first.join(30)
    stopping.set()
    second.join(30)
    assert len(raised) == 1


def test_a_state_that_cannot_be_saved_is_told_and_stops_nothing(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.desk.SNAPSHOT_EVERY_NS", 0)
    book = write_live_book(tmp_path / "alpha.yaml", "alpha")
    limit_snapshots(kafka, 10)
    desk = DeskPartition(kafka, partition_of(book.name), [book], Publisher(kafka))
    before = _unsaved(book)
    with caplog.at_level(logging.ERROR):
        for seq in range(1, 100):
            desk.take(seq - 1, encode(_clock(book, seq)))
            if _unsaved(book) > before:
                break
            time.sleep(0.1)
    assert _unsaved(book) > before
    assert "state not saved" in caplog.text
    taken = desk.hosts[book.name].seq
    desk.take(taken, encode(_clock(book, taken + 1)))
    assert desk.hosts[book.name].seq == taken + 1


def _unsaved(book: Book) -> float:
    return metrics.REGISTRY.get_sample_value("quorum_snapshot_failures_total", {"book": book.name}) or 0.0


def _clock(book: Book, seq: int) -> ClockTicked:
    now = time.time_ns()
    name = market_id(book.name, "clock", now)
    return ClockTicked(id=name, key=book.name, occurred_at=now, observed_at=now, book=book.name, seq=seq)
