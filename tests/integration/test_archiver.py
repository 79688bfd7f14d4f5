"""What stands on Kafka stands in the lake: once, as it was, whoever dies and whatever the network does."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.store import FolderStore, open_store
from replay.results import Summary
from replay.run import Run, Settings
from schemas.base import NS_PER_S
from schemas.book import Book
from streams.admin import create_topics, delete_topics
from streams.kafka import Kafka, partition_of
from streams.restore import restore
from streams.wire import JOURNAL, unpack
from tests.faultproxy import Fault, FaultProxy
from tests.integration.kills import kill_at_random
from tests.integration.lakes import (
    Teller,
    archiving,
    assert_same,
    await_,
    behind,
    everything,
    in_lake,
    on_kafka,
    start_archiver,
)
from tests.integration.session import ARCHIVE, Session, archived_events, sample_events, write_live_book


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


def test_a_killed_archiver_leaves_neither_gap_nor_double(
    kafka: Kafka, tmp_path: Path, s3_lake: str, s3_server: str
) -> None:
    with FaultProxy(s3_server) as proxy:
        killed = kill_at_random(kafka, s3_lake, tmp_path / "log", Random(7), 4, proxy)
    assert killed.records > 2_000
    assert killed.moments.total() == 4


def test_topics_deleted_and_restored_from_the_lake_are_the_same(kafka: Kafka, s3_lake: str) -> None:
    teller = Teller(kafka, Random(2))
    for topic in ("ticks", "journal", "snapshots"):
        teller.transactions(topic)
        teller.oddities(topic)
    teller.ticks(500)
    with archiving(kafka, open_store(s3_lake)):
        await_("all is archived", lambda: not behind(kafka, s3_lake))
    before = everything(kafka)
    delete_topics(kafka)
    restore(kafka, open_store(s3_lake))
    assert everything(kafka) == before
    with archiving(kafka, open_store(s3_lake)) as health:
        teller.ticks(100)
        await_("the archive goes on", lambda: not behind(kafka, s3_lake))
        assert health.readyz()[0]


def test_a_replay_from_the_lake_is_that_of_the_archive_which_was_told(kafka: Kafka, tmp_path: Path) -> None:
    book = write_live_book(tmp_path / "book.yaml", "alpha")
    teller, lake = Teller(kafka, Random(6)), tmp_path / "lake"
    end = int(datetime(2024, 1, 2, tzinfo=UTC).timestamp()) * NS_PER_S
    teller.tell(takewhile(lambda event: event.observed_at < end, archived_events(ARCHIVE, book)))
    with archiving(kafka, FolderStore(lake)):
        await_("all is archived", lambda: not behind(kafka, str(lake)))

    def log_of(archive: Path) -> str:
        settings = Settings(archive=archive, out=tmp_path / "run", end_ns=end, report=False)
        summary = Run(book, settings).run(lambda _: None)
        assert isinstance(summary, Summary)
        assert (tmp_path / "run" / "log" / "orders.jsonl").stat().st_size > 1_000
        return summary.log_sha256

    assert log_of(lake) == log_of(ARCHIVE)


FAULTS: tuple[Fault, ...] = ("503", "slow", "cut", "reset", "lost")


def test_a_bad_network_loses_and_doubles_nothing(
    kafka: Kafka, s3_lake: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(11)
    teller = Teller(kafka, rng)
    with FaultProxy(s3_server, lambda _method, _path: rng.choice(FAULTS) if rng.random() < 0.25 else "") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        with archiving(kafka, open_store(s3_lake)):
            for _ in range(5):
                teller.ticks(100)
                teller.oddities()
                teller.transactions()
            proxy.fault = lambda _method, _path: "503"  # for long enough that the client gives up
            told = len(proxy.requests)
            teller.ticks(100)
            await_("it tries", lambda: len(proxy.requests) > told + 20)
            proxy.fault = lambda _method, _path: rng.choice(FAULTS) if rng.random() < 0.25 else ""
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)  # for the reader
            await_("all is archived", lambda: not behind(kafka, s3_lake), 120)
    assert {request.fault for request in proxy.requests} >= set(FAULTS)
    assert assert_same(kafka, s3_lake) > 600


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
    assert not any("fenced" in (tmp_path / f"log-{n}").read_text() for n in range(2)), "each has a place of its own"


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


def test_a_live_session_archives_what_it_does(kafka: Kafka, tmp_path: Path) -> None:
    session = Session(kafka, tmp_path)
    book = write_live_book(tmp_path / "book.yaml", "alpha")
    session.books, lake = [tmp_path / "book.yaml"], tmp_path / "lake"
    try:
        worker = session.start("live", "--lake", str(lake), "--every", "0.5")
        session.tell(sample_events(book, 60), pause_s=0.01)
        session.await_("the desk has taken them", lambda: session.processed(book) >= 60)
        session.await_("the journal is in the lake", lambda: bool(in_lake(FolderStore(lake), *journal_of(book))))
        session.stop(worker)
    finally:
        session.close()
    archived = in_lake(FolderStore(lake), *journal_of(book))
    assert archived == on_kafka(kafka, *journal_of(book))[: len(archived)]
    entries = [line for record in archived for line in unpack(record.value or b"")]
    assert len(entries) > 5


def journal_of(book: Book) -> tuple[str, int]:
    return JOURNAL, partition_of(book.name)
