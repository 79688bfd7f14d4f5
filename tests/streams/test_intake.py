"""What may enter the journal, and what becomes of the rest."""

from __future__ import annotations

import msgspec
import pytest

from schemas.base import NS_PER_MS, NS_PER_S, Event, market_id
from schemas.book import Book, parse_book
from schemas.codec import encode
from schemas.control import BookPaused
from schemas.market import TradeTicked
from schemas.operations import RecordRefused
from schemas.texts import TweetPosted
from streams.intake import REMEMBERED_IDS, STALE_NS, Intake, Record

NOW = 1_700_000_000 * NS_PER_S


def book(name: str, instrument: str, keys: tuple[str, ...] = ("BTC",)) -> Book:
    return parse_book(
        {"name": name, "instruments": [{"id": instrument}], "text": {"keys": keys}, "strategy": {"mode": "advisory"}}
    )


ALPHA, BETA = book("alpha", "BTC/USD@x"), book("beta", "ETH/USD@x", ())


def trade(number: int = 1, key: str = "BTC/USD@x", at: int = NOW) -> TradeTicked:
    name = market_id(key, "trade", number)
    return TradeTicked(id=name, key=key, occurred_at=at, observed_at=at, price=1.0, size=1.0, side="buy")


def record(event: Event | bytes | None, topic: str = "ticks", written: int = NOW, offset: int = 0) -> Record:
    value = encode(event) if isinstance(event, Event) else event
    return Record(topic, 0, offset, written // NS_PER_MS, value)


def take(intake: Intake, given: Record) -> list[str] | str:
    """Give the books that a record is for, or why it is refused."""
    taken = intake.take(given, NOW)
    return taken.reason if isinstance(taken, RecordRefused) else taken[1]


def tweet(key: str) -> TweetPosted:
    return TweetPosted(id=f"t{key}", key=key, occurred_at=NOW, observed_at=NOW, author="a", text="up")


def test_an_event_reaches_the_books_that_it_concerns_and_that_are_ours() -> None:
    both, one = Intake([ALPHA, BETA], [ALPHA, BETA]), Intake([ALPHA], [ALPHA, BETA])
    assert take(both, record(trade())) == ["alpha"]
    assert take(both, record(tweet("BTC"), "tweets")) == ["beta", "alpha"], "no keys take every text"
    assert take(both, record(tweet("DOGE"), "tweets")) == ["beta"]
    assert take(one, record(trade(key="ETH/USD@x"))) == [], "another worker's book: not ours, and not refused"
    paused = BookPaused(id="p", key="alpha", book="alpha", occurred_at=NOW, observed_at=NOW, operator="o")
    assert take(one, record(paused, "control")) == ["alpha"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (record(None), "is empty"),
        (record(b"\xff\x00"), "not JSON"),
        (record(b'{"type":"Nonsense"}'), "is not a type of event"),
        (record(encode(trade()).replace(b'"price":1.0', b'"price":-1.0')), "is not a price between 1e-18 and 1e12"),
        (record(b"[" * 2_000_000), "is longer than"),
        (record(trade(), topic="bars"), "belongs on topic ticks"),
        (record(trade(at=NOW + 2 * NS_PER_S)), "lies in the future"),
        (record(trade(at=NOW - STALE_NS - NS_PER_S)), "is stale"),
        (record(trade(key="DOGE/USD@x")), "no book trades DOGE/USD@x"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_true_is_refused_with_its_place_and_reason(given: Record, reason: str) -> None:
    letter = Intake([ALPHA], [ALPHA]).take(given, NOW)
    assert isinstance(letter, RecordRefused)
    assert reason in letter.reason
    assert letter.position == f"{given.topic}/0/0"
    assert letter.payload == (given.value or b"")[:500_000]
    assert msgspec.json.decode(encode(letter))["type"] == "RecordRefused", "it can be written itself"


def test_an_old_event_of_an_old_record_is_not_stale() -> None:
    old = NOW - 10 * STALE_NS
    assert take(Intake([ALPHA], [ALPHA]), record(trade(at=old), written=old)) == ["alpha"], "we were away, not it"


def test_what_is_sent_twice_counts_once_for_as_long_as_it_is_remembered() -> None:
    intake = Intake([ALPHA], [ALPHA])
    assert take(intake, record(trade(0))) == ["alpha"]
    for number in range(1, REMEMBERED_IDS):
        intake.remember((trade(number).id,))
    assert "duplicate" in take(intake, record(trade(0)))
    assert "duplicate" in take(intake, record(trade(REMEMBERED_IDS - 1)))


def test_a_refused_event_may_come_again_mended() -> None:
    intake = Intake([ALPHA], [ALPHA])
    assert "future" in take(intake, record(trade(at=NOW + 5 * NS_PER_S)))
    assert take(intake, record(trade())) == ["alpha"]


def test_the_same_refusal_makes_the_same_letter() -> None:
    first, second = (Intake([ALPHA], [ALPHA]).take(record(b"?", offset=7), at) for at in (NOW, NOW + 1))
    assert isinstance(first, RecordRefused)
    assert isinstance(second, RecordRefused)
    assert first.id == second.id
