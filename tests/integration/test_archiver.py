"""What stands on Kafka stands in the lake: once, as it was, whoever dies and whatever the network does."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.store import FolderStore
from streams.admin import create_topics, delete_topics
from streams.kafka import Kafka
from tests.integration.lakes import Teller, archiving, assert_same, await_, behind, in_lake, on_kafka, start_archiver


def test_every_record_is_archived_as_it_stands(kafka: Kafka, tmp_path: Path) -> None:
    teller = Teller(kafka, Random(1))
    teller.ticks(2_000)
    with archiving(kafka, FolderStore(tmp_path)) as health:
        for topic in ("ticks", "news", "journal", "snapshots", "dead-letters"):
            teller.oddities(topic)
        teller.transactions()
        teller.ticks(500)
        await_("all is archived", lambda: not behind(kafka, str(tmp_path)))
        ready, page = health.readyz()
        assert ready, page
    assert assert_same(kafka, str(tmp_path)) > 2_500


def test_a_killed_archiver_leaves_neither_gap_nor_double(kafka: Kafka, tmp_path: Path) -> None:
    rng = Random(7)
    teller = Teller(kafka, rng)
    lake = str(tmp_path / "lake")
    options = ("--every", "0.1", "--worker", "archiver")
    for _ in range(3):
        worker = start_archiver(kafka, lake, tmp_path / "log", *options)
        end = time.monotonic() + rng.uniform(2.0, 5.0)
        while time.monotonic() < end:
            teller.ticks(200)
            teller.oddities()
        worker.kill()
        worker.wait()
    last = start_archiver(kafka, lake, tmp_path / "log", *options)
    await_("the rest is archived", lambda: not behind(kafka, lake))
    last.terminate()
    assert last.wait(30) == 0
    assert assert_same(kafka, lake) > 1_000


def test_another_archiver_takes_over_from_one_that_dies(kafka: Kafka, tmp_path: Path) -> None:
    teller, lake = Teller(kafka, Random(3)), str(tmp_path / "lake")
    workers = [start_archiver(kafka, lake, tmp_path / f"log-{n}", "--every", "0.2") for n in range(2)]
    try:
        teller.ticks(1_000)
        await_("both have archived", lambda: not behind(kafka, lake))
        workers[0].kill()
        teller.ticks(1_000)
        await_("the other has archived", lambda: not behind(kafka, lake))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert assert_same(kafka, lake) == 2_000


def test_a_gap_that_retention_tore_is_named_and_stops_no_other_partition(kafka: Kafka, tmp_path: Path) -> None:
    teller, store = Teller(kafka, Random(4)), FolderStore(tmp_path)
    teller.ticks(100, partition=0)
    with archiving(kafka, store):
        await_("it is archived", lambda: not behind(kafka, str(tmp_path)))
    teller.ticks(100, partition=0)
    cut = TopicPartition(kafka.name("ticks"), 0, 150)
    admin = AdminClient(kafka.client())  # kept: its answers end with it
    for job in admin.delete_records([cut]).values():
        job.result(30)
    with archiving(kafka, store) as health:
        teller.ticks(10, partition=1)
        await_("the other goes on", lambda: len(in_lake(store, "ticks", 1)) == 10)
        ready, page = health.readyz()
    assert not ready
    assert "offsets 100 to 149 are lost" in str(page["reasons"])
    assert len(in_lake(store, "ticks", 0)) == 100, "nothing was skipped"
    assert in_lake(store, "ticks", 1) == on_kafka(kafka, "ticks", 1)


def test_a_topic_that_was_made_anew_is_not_joined_to_the_old_one(kafka: Kafka, tmp_path: Path) -> None:
    teller, store = Teller(kafka, Random(5)), FolderStore(tmp_path)
    teller.ticks(100, partition=0)
    with archiving(kafka, store):
        await_("it is archived", lambda: not behind(kafka, str(tmp_path)))
    delete_topics(kafka)
    create_topics(kafka)
    with archiving(kafka, store) as health:
        await_("it is told", lambda: "made anew" in str(health.readyz()[1]["reasons"]))


@pytest.mark.parametrize("arguments", [["--topics", "tick"], ["book.yaml"]])
def test_what_an_archiver_cannot_use_is_said(kafka: Kafka, tmp_path: Path, arguments: list[str]) -> None:
    worker = start_archiver(kafka, str(tmp_path), tmp_path / "log", *arguments)
    assert worker.wait(30) == 2
    assert len((tmp_path / "log").read_text().splitlines()) <= 2
