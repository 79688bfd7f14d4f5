"""What a command refuses before it sends anything, and how it names the trade that is meant."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.control import chosen, described
from cli.letters import escaped, line_of
from schemas.decisions import ConfirmationRequested
from schemas.errors import QuorumError
from schemas.operations import RecordRefused
from tests.agents.builders import BTC, at
from tests.cli.commands import refusal
from tests.streams.test_overview import event

OPEN = ["aa11", "aa22", "bb33"]


def test_a_trade_is_named_by_its_id_or_how_that_begins() -> None:
    assert chosen(OPEN, "aa11", "b") == "aa11"
    assert chosen(OPEN, "b", "b") == "bb33"


@pytest.mark.parametrize(
    ("begins", "said"),
    [
        ("aa", "2 open confirmations of b begin with 'aa'"),
        ("c", "no open confirmation of b begins with 'c'; open are: aa11, aa22, bb33"),
    ],
)
def test_no_trade_is_chosen_by_guessing(begins: str, said: str) -> None:
    with pytest.raises(QuorumError, match=said):
        chosen(OPEN, begins, "b")
    with pytest.raises(QuorumError, match="open are: none"):
        chosen([], begins, "b")


def test_a_waiting_trade_is_described_by_what_a_person_must_know() -> None:
    asked = event(
        ConfirmationRequested,
        5,
        id="c1",
        instrument=BTC,
        side="sell",
        quantity=Decimal("0.50"),
        notional=Decimal("21000.5"),
        expires_at=at(1),
    )
    assert isinstance(asked, ConfirmationRequested)
    assert described(asked, at(0)) == f"c1  sell 0.50 {BTC}, notional 21,000.5, lapses in 60 s"


def test_the_kill_switch_asks_and_does_nothing_where_nobody_answers() -> None:
    assert "give --yes" in refusal("control", "kill", "btc")


@pytest.mark.parametrize(("verb", "name"), [("pause", "BookPaused"), ("resume", "BookResumed")])
def test_a_command_that_cannot_be_is_refused_before_it_is_sent(verb: str, name: str) -> None:
    assert refusal("control", verb, "btc", "--reason", "x" * 2_001).startswith(f"{name}.reason")


def test_a_dead_letter_steers_no_terminal() -> None:
    letter = event(RecordRefused, 1, position="news/0/7", reason="bad \x1b[2J", payload=b"\xff\x1b[2J\n")
    assert isinstance(letter, RecordRefused)
    assert line_of(letter) == "2024-01-01 00:01:00  news/0/7  bad \\x1b[2J"
    assert escaped(letter.payload) == "\\xff\\x1b[2J\\n"
