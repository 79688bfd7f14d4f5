"""Live equals replay: what a live session decided is rebuilt from its journal, byte for byte."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from replay.audit import audit
from schemas.base import market_id
from schemas.control import BookPaused, BookResumed
from streams.export import export
from streams.kafka import Kafka
from tests.integration.session import Session, sample_events, write_live_book

ROLES = ("sequencer", "desk", "gateway", "executor")


def command(kind: type[BookPaused | BookResumed], book: str) -> BookPaused | BookResumed:
    now = time.time_ns()
    name = market_id(book, kind.__name__, now)
    return kind(id=name, key=book, book=book, occurred_at=now, observed_at=now, operator="test")


@pytest.mark.parametrize("seed", [1])
def test_a_session_with_commands_and_killed_workers_replays_to_the_same_bytes(
    kafka: Kafka, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    book = write_live_book(tmp_path / "alpha.yaml", "alpha")
    session = Session(kafka, tmp_path)
    session.books = [tmp_path / "alpha.yaml"]
    try:
        workers = {role: session.start("worker", role, "--worker", role) for role in ROLES}
        events = list(sample_events(book, 900))
        session.await_("the desk is there", lambda: session.processed(book) > 0)
        for n, lo in enumerate(range(0, len(events), 180)):
            session.tell(events[lo : lo + 180], pause_s=0.03)
            if n == 1:
                session.tell([command(BookPaused, "alpha")])
            if n == 2:
                session.tell([command(BookResumed, "alpha")])
            role = rng.choice(ROLES)
            session.kill(workers[role])
            workers[role] = session.start("worker", role, "--worker", role)
        session.await_("all events are journaled", lambda: session.processed(book) >= len(events) + 2)
        session.settle(book, quiet_s=6)
        done = export(kafka, book, tmp_path / "run")
    finally:
        session.close()
    audited = audit(tmp_path / "run", (), book)
    assert audited.journal_entries == done.journal_entries
    types = session.types(tmp_path / "run")
    assert types["BarClosed"] == 900, "no input is lost, none doubled"
    assert types["OrderRequested"] > 10
    assert types["OrderAccepted"] + types["OrderRejected"] == types["OrderRequested"]
    assert types["VerdictGiven"] > 0
    assert types["BookPaused"] == types["BookResumed"] == 1
