"""`quorum control` against a real broker and a real sequencer: what is said of a command is what became of it."""

from __future__ import annotations

import time
from decimal import Decimal

import msgspec
import pytest

from schemas.base import NS_PER_S
from schemas.codec import decode_own
from schemas.control import BookPaused, KillSwitchPulled, TextAccepted, TextRejected, TradeConfirmed, TradeDeclined
from schemas.decisions import ConfirmationRequested, NewsFlagged
from streams.kafka import Kafka
from streams.publisher import Publisher
from streams.reading import read_back
from streams.wire import JOURNAL, unpack
from tests.cli.commands import Ended, quorum
from tests.integration.test_status import BOOK, PARTITION, await_leaders, sequencing
from tests.schemas.samples import full


@pytest.fixture(autouse=True)
def _environment(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORUM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("QUORUM_KAFKA_NAMESPACE", kafka.namespace)
    await_leaders(kafka)


def entry(kafka: Kafka, seq: int) -> object:
    """Give an entry of the book's journal."""
    frames = (message.value() or b"" for message in read_back(kafka, JOURNAL, PARTITION, 0))
    return next(event for frame in frames for event in map(decode_own, unpack(frame)) if event.seq == seq)


def seq_said(ended: Ended) -> int:
    # A sequencer in the same process may say there that it waits for a broker that has just started.
    said = [line for line in ended.err.splitlines() if "librdkafka: GETPID" not in line]
    assert (ended.code, said) == (0, []), ended
    return int(ended.out.partition("journal entry ")[2].partition(" of btc")[0].replace(",", ""))


def ask(kafka: Kafka, name: str, expires_in_s: float = 600.0) -> None:
    """Let the book ask for a person."""
    asked = msgspec.structs.replace(
        full(ConfirmationRequested),
        id=name,
        key=BOOK.name,
        book=BOOK.name,
        quantity=Decimal(3),
        expires_at=time.time_ns() + round(expires_in_s * NS_PER_S),
    )
    publisher = Publisher(kafka)
    publisher.send(asked)
    publisher.confirm()


def test_a_command_is_the_journal_entry_that_is_named(kafka: Kafka) -> None:
    with sequencing(kafka):
        paused = quorum("control", "pause", "btc", "--reason", "lunch", "--operator", "ann")
        killed = quorum("control", "kill", "btc", "--yes")
    event = entry(kafka, seq_said(paused))
    assert isinstance(event, BookPaused)
    assert (event.book, event.operator, event.reason) == ("btc", "ann", "lunch")
    assert isinstance(entry(kafka, seq_said(killed)), KillSwitchPulled)
    assert seq_said(killed) > seq_said(paused)


def test_two_commands_alike_are_two(kafka: Kafka) -> None:
    with sequencing(kafka):
        assert seq_said(quorum("control", "resume", "btc")) < seq_said(quorum("control", "resume", "btc"))


def test_without_a_sequencer_it_says_that_the_command_waits_and_it_does(kafka: Kafka) -> None:
    with sequencing(kafka):
        pass
    waits = quorum("control", "pause", "btc", "--wait", "0.5", "--operator", "ann")
    assert (waits.code, waits.out) == (3, "")
    assert "was not in the journal after 0.5 s" in waits.err
    with sequencing(kafka):
        later = seq_said(quorum("control", "resume", "btc"))
    assert any(
        isinstance(event := entry(kafka, seq), BookPaused) and event.operator == "ann" for seq in range(1, later)
    )


def test_a_book_that_is_not_there_is_refused_in_a_sentence(kafka: Kafka) -> None:
    with sequencing(kafka):
        ended = quorum("control", "kill", "btd", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("quorum: KillSwitchPulled for btd was refused: ")
    assert "there is no book btd" in ended.err
    letters = quorum("letters", "list")
    assert "there is no book btd" in letters.out
    position = letters.out.split()[2]
    shown = quorum("letters", "show", position)
    assert shown.code == 0
    assert '"type":"KillSwitchPulled"' in shown.out


def test_trades_that_wait_are_listed_and_answered_by_how_their_id_begins(kafka: Kafka) -> None:
    for name, expires_in_s in (("aa1", 600.0), ("bb2", 600.0), ("cc3", -1.0)):
        ask(kafka, name, expires_in_s)
    listed = quorum("control", "confirm", "btc")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["aa1", "bb2"]
    with sequencing(kafka):
        confirmed = entry(kafka, seq_said(quorum("control", "confirm", "btc", "aa")))
        declined = entry(kafka, seq_said(quorum("control", "decline", "btc", "bb2", "--reason", "too large")))
    assert isinstance(confirmed, TradeConfirmed)
    assert confirmed.confirmation == "aa1"
    assert isinstance(declined, TradeDeclined)
    assert (declined.confirmation, declined.reason) == ("bb2", "too large")
    assert quorum("control", "confirm", "btc").out == "no trade of btc waits for a person\n"


def flag(kafka: Kafka, text: str, expires_in_s: float) -> None:
    """Let the book keep a text from the models."""
    flagged = msgspec.structs.replace(
        full(NewsFlagged),
        id=f"flagged-{text}",
        book=BOOK.name,
        cause=text,
        expires_at=time.time_ns() + round(expires_in_s * NS_PER_S),
    )
    publisher = Publisher(kafka)
    publisher.send(flagged)
    publisher.confirm()


def test_texts_that_wait_are_listed_and_decided_by_how_their_id_begins(kafka: Kafka) -> None:
    for name, expires_in_s in (("tweet-1", 600.0), ("tweet-22", 600.0), ("news-3", -1.0)):
        flag(kafka, name, expires_in_s)
    listed = quorum("review", "list", "btc")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["tweet-1", "tweet-22"]
    assert "2 waiting texts of btc begin with 'tweet'" in quorum("review", "accept", "btc", "tweet").err
    with sequencing(kafka):
        accepted = entry(kafka, seq_said(quorum("review", "accept", "btc", "tweet-1", "--operator", "ann")))
        rejected = entry(kafka, seq_said(quorum("review", "reject", "btc", "tweet-2", "--reason", "a hoax")))
    assert isinstance(accepted, TextAccepted)
    assert (accepted.operator, accepted.text) == ("ann", "tweet-1")
    assert isinstance(rejected, TextRejected)
    assert (rejected.text, rejected.reason) == ("tweet-22", "a hoax")
    assert quorum("review", "list", "btc").out == "no text of btc waits for a person\n"
    assert "no waiting text of btc begins with 'news-3'" in quorum("review", "accept", "btc", "news-3").err


@pytest.mark.parametrize("name", ["cc3", "aa1"])
def test_what_lapsed_or_is_of_another_book_cannot_be_confirmed(kafka: Kafka, name: str) -> None:
    ask(kafka, "cc3", -1.0)
    ended = quorum("control", "confirm", "btc", name)
    assert (ended.code, ended.out) == (2, "")
    assert "no open confirmation of btc begins with" in ended.err


def test_no_letters_is_a_sentence(kafka: Kafka) -> None:
    assert quorum("letters", "list").out == "no dead letters\n"
    assert "no dead letter came from news/0/1" in quorum("letters", "show", "news/0/1").err
