"""What cannot be used ends among the dead letters, with the reason and its bytes; the rest flows on."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from replay.audit import audit
from schemas.base import NS_PER_S, Event
from schemas.codec import MAX_RECORD_BYTES, decode, encode
from schemas.control import (
    BookPaused,
    BookResumed,
    KillSwitchPulled,
    RulesChanged,
    TextAccepted,
    TextRejected,
    TradeConfirmed,
    TradeDeclined,
)
from schemas.execution import OrderAccepted, OrderCanceled, OrderExpired, OrderFilled, OrderRejected
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.operations import RecordRefused
from schemas.texts import NewsPublished, TweetPosted
from schemas.topics import TOPIC_OF, TOPICS
from schemas.verdicts import VerdictFailed, VerdictGiven
from streams.export import export
from streams.intake import MAX_PAYLOAD_BYTES, TIMELESS
from streams.kafka import Kafka
from streams.reading import read_back
from streams.wire import DEAD_LETTERS
from tests.integration.session import Session, write_live_book

BTC = "BTC/USD@synthetic"
BAR = {"open": 9.0, "high": 9.0, "low": 9.0, "close": 9.0, "volume": 1.0, "interval_ns": 60 * NS_PER_S}
ASKED: dict[str, Any] = {"question": "q", "instrument": BTC, "model": "trend", "book": "alpha"}
FILL: dict[str, Any] = {"order": "o", "book": "alpha"}
ORDER: dict[str, Any] = {"key": "alpha", "operator": "test"}
GOOD: tuple[tuple[type[Event], dict[str, Any]], ...] = (
    (TradeTicked, {"price": 9.0, "size": 1.0}),
    (QuoteTicked, {"bid": 9.0, "ask": 9.5, "bid_size": 1.0, "ask_size": 1.0}),
    (BarClosed, BAR),
    (TweetPosted, {"key": "BTC", "author": "a", "text": "up"}),
    (NewsPublished, {"key": "ETH", "source": "s", "title": "down"}),
    (VerdictGiven, ASKED | {"action": "BUY", "confidence": 0.9}),
    (VerdictFailed, ASKED | {"reason": "timeout"}),
    (OrderAccepted, FILL),
    (OrderRejected, FILL | {"reason": "no"}),
    (
        OrderFilled,
        FILL
        | {
            "side": "buy",
            "quantity": Decimal(1),
            "price": Decimal(9),
            "fee": Decimal(0),
            "leaves_quantity": Decimal(0),
        },
    ),
    (OrderCanceled, FILL),
    (OrderExpired, FILL),
    (BookPaused, ORDER),
    (BookResumed, ORDER),
    (KillSwitchPulled, ORDER),
    (TradeConfirmed, ORDER | {"confirmation": "c"}),
    (TradeDeclined, ORDER | {"confirmation": "c"}),
    (TextAccepted, ORDER | {"text": "t"}),
    (TextRejected, ORDER | {"text": "t"}),
    (RulesChanged, ORDER | {"changes": {"no_such_limit": 1.0}}),
)
"""One of each type that an input topic carries. None fits what the book has asked or ordered, which it must bear."""
WITHOUT_BOOK = ("ticks", "bars", "tweets", "news")


def good(kind: type[Event], fields: dict[str, Any], name: str, *, age_s: float = 0.0) -> Event:
    now = time.time_ns() - int(age_s * NS_PER_S)
    envelope: dict[str, Any] = {"id": name, "key": BTC, "occurred_at": now, "observed_at": now}
    return kind(**envelope | fields)


def spoilt(kind: type[Event], fields: dict[str, Any]) -> Iterator[tuple[bytes | None, str]]:
    """Give bad records of a type, and what the dead letter must say of each."""
    name = kind.__name__
    written = encode(good(kind, fields, f"{name}-spoilt"))
    plain: dict[str, Any] = msgspec.json.decode(written)
    yield b"\xff\xfe" + name.encode(), r"not JSON|not UTF-8"
    yield written[:-1], "not JSON"
    yield None, "is empty"
    yield b"", "not JSON"
    yield msgspec.json.encode(plain | {"id": 7}), r"\.id"
    yield msgspec.json.encode(plain | {"v": 99}), "version 99 is not known"
    yield msgspec.json.encode(plain | {"colour": "red"}), r"colour.*is not a field"
    yield msgspec.json.encode({field: value for field, value in plain.items() if field != "observed_at"}), "is missing"
    yield msgspec.json.encode(plain | {"type": "Nonsense"}), "is not a type of event"
    yield written[:-1] + b" " * MAX_RECORD_BYTES + b"}", "is longer than"
    yield encode(good(kind, fields, f"{name}-future", age_s=-60)), "lies in the future"
    foreign = TradeTicked if TOPIC_OF[kind] != "ticks" else BarClosed
    stray = good(foreign, BAR if foreign is BarClosed else {"price": 1.0, "size": 1.0}, f"{name}-stray")
    yield encode(stray), "belongs on topic"
    if TOPIC_OF[kind] not in TIMELESS:
        yield encode(good(kind, fields, f"{name}-stale", age_s=1000)), "is stale"
    yield encode(good(kind, fields | {"key": "DOGE/USD@x"}, f"{name}-unknown")), r"no book|there is no book"
    if TOPIC_OF[kind] not in WITHOUT_BOOK:
        yield encode(good(kind, fields | {"book": "nobody"}, f"{name}-nobody")), "there is no book nobody"


def await_letters(session: Session, wanted: int) -> list[RecordRefused]:
    letters: list[RecordRefused] = []

    def have_come() -> bool:
        letters[:] = [
            letter
            for message in read_back(session.kafka, DEAD_LETTERS, 0, 0)
            if isinstance(letter := decode(message.value() or b""), RecordRefused)
        ]
        return len(letters) >= wanted

    session.await_(f"{wanted} dead letters", have_come)
    return letters


def test_bad_input_on_every_topic_is_a_dead_letter_with_its_reason_and_the_rest_flows_on(
    kafka: Kafka, tmp_path: Path
) -> None:
    book = write_live_book(tmp_path / "alpha.yaml", "alpha")
    session = Session(kafka, tmp_path)
    session.books = [tmp_path / "alpha.yaml"]
    bad: list[tuple[str, bytes | None, str]] = []
    sent: list[str] = []

    try:
        session.start("worker", "sequencer")
        session.start("worker", "desk")
        for kind, fields in GOOD:
            topic = TOPIC_OF[kind]
            for value, reason in spoilt(kind, fields):
                session.send(topic, value)
                bad.append((topic, value, reason))
            event = good(kind, fields, f"{kind.__name__}-good")
            session.tell_as_it_is(event, event, event)
            bad += [(topic, encode(event), "is a duplicate")] * 2
            sent.append(event.id)
        late = good(*GOOD[9], "late-fill", age_s=2000)
        session.tell_as_it_is(late)
        sent.append(late.id)
        letters = await_letters(session, len(bad))
        session.await_("all are processed", lambda: session.processed(book) >= len(sent))
        done = export(kafka, book, tmp_path / "run")
    finally:
        session.close()
    assert len(letters) == len(bad)
    for topic, value, reason in bad:
        payload = (value or b"")[:MAX_PAYLOAD_BYTES]
        mine = [each for each in letters if each.payload == payload and each.position.startswith(f"{topic}/")]
        assert any(re.search(reason, each.reason) for each in mine), (topic, payload[:200], reason, mine[:3])
    assert {topic.name for topic in TOPICS if topic.is_input} == {letter.position.split("/")[0] for letter in letters}
    audited = audit(tmp_path / "run", (), book)
    assert audited.journal_entries == done.journal_entries
    types = session.types(tmp_path / "run")
    wanted = Counter(kind.__name__ for kind, _ in GOOD) + Counter({"OrderFilled": 1})
    assert {name: types[name] for name in wanted} == dict(wanted), "each that is good is journaled once"
    assert types["ProcessingFailed"] == 0


def test_what_was_taken_once_is_a_duplicate_after_the_sequencer_was_killed(kafka: Kafka, tmp_path: Path) -> None:
    book = write_live_book(tmp_path / "alpha.yaml", "alpha")
    session = Session(kafka, tmp_path)
    session.books = [tmp_path / "alpha.yaml"]
    first = good(*GOOD[2], "first")
    try:
        sequencer, _ = session.start("worker", "sequencer"), session.start("worker", "desk")
        session.tell_as_it_is(first)
        # More journal records than a new sequencer looks at for its position.
        for n in range(100):
            session.tell_as_it_is(good(*GOOD[2], f"bar-{n}"))
            time.sleep(0.02)
        session.await_("all are processed", lambda: session.processed(book) >= 101)
        session.kill(sequencer)
        session.start("worker", "sequencer")
        session.tell_as_it_is(first)
        (letter,) = await_letters(session, 1)
        export(kafka, book, tmp_path / "run")
    finally:
        session.close()
    assert "is a duplicate" in letter.reason
    assert session.types(tmp_path / "run")["BarClosed"] == 101
