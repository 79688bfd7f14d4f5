"""Two books on two workers: when one worker is killed the other takes its books over, and their logs do not show it."""

from __future__ import annotations

import time
from pathlib import Path

from replay.audit import audit
from streams.export import export
from streams.kafka import Kafka, partition_of
from tests.integration.session import Session, sample_events, write_live_book

TAKEN_OVER_S = 15.0
"""What is promised. Sessions end 8 to 10 s after the last sign of life."""


def test_a_killed_worker_s_books_are_taken_over(kafka: Kafka, tmp_path: Path) -> None:
    books = [write_live_book(tmp_path / f"{name}.yaml", name) for name in ("alpha", "beta")]
    assert len({partition_of(book.name) for book in books}) == 2
    session = Session(kafka, tmp_path)
    session.books = [tmp_path / f"{book.name}.yaml" for book in books]
    events = sample_events(books[0], 900)
    told, took_s = 0, []

    def all_processed() -> bool:
        return all(session.processed(book) >= told for book in books)

    def all_go_on() -> bool:
        return all(session.processed_at(book) > killed_at + 1 for book in books)

    try:
        workers = {name: session.start("live", "--worker", name) for name in ("a", "b")}
        for name, worker in list(workers.items()):  # each in turn, so that each part of the work changes hands
            told += session.tell(events, pause_s=0.005, most=300)
            session.await_("both books are on", all_processed)
            killed_at = time.time()
            session.kill(worker)
            told += session.tell(events, pause_s=0.005, most=100)
            session.await_("both books go on", all_go_on)
            took_s.append(time.time() - killed_at)
            workers[name] = session.start("live", "--worker", name)
        session.settle(books[0])
        for book in books:
            export(kafka, book, tmp_path / book.name)
    finally:
        session.close()
    assert max(took_s) < TAKEN_OVER_S
    for book in books:
        audit(tmp_path / book.name, (), book)
        types = session.types(tmp_path / book.name)
        assert sum(types[kind] for kind in ("BarClosed", "TweetPosted", "NewsPublished")) == told
        assert types["OrderAccepted"] + types["OrderRejected"] == types["OrderRequested"] > 0
