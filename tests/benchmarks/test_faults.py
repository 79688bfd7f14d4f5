"""What the count of faults looks for: it must see a wrong position, a missing word and an id with two contents."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from benchmarks.fault_count import differing, wrong_positions
from benchmarks.fault_kinds import disturbed
from cli.books import load_book
from schemas.accounting import PositionChanged
from schemas.base import Event
from schemas.codec import encode
from schemas.execution import OrderFilled

T0 = 1_700_000_000_000_000_000
BOOK = load_book(Path(__file__).parents[2] / "examples" / "btc.yaml")
KEY = BOOK.instruments[0].id


def fill(seq: int, quantity: int, price: int) -> OrderFilled:
    return OrderFilled(
        id=f"fill{seq}",
        key=KEY,
        occurred_at=T0,
        observed_at=T0,
        book=BOOK.name,
        seq=seq,
        order="o",
        side="buy",
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(1),
        leaves_quantity=Decimal(0),
    )


def changed(seq: int, quantity: int, cash: Decimal) -> tuple[str, Event, bytes]:
    event = PositionChanged(
        id=f"p{seq}",
        key=KEY,
        occurred_at=T0,
        observed_at=T0,
        book=BOOK.name,
        seq=seq,
        instrument=KEY,
        order="o",
        quantity=Decimal(quantity),
        average_price=Decimal(10),
        realised_pnl=Decimal(0),
        fee=Decimal(1),
        cash=cash,
        total_realised_pnl=Decimal(0),
        total_fees=Decimal(1),
    )
    return "portfolio", event, encode(event)


FILLS = [fill(1, 2, 10), fill(5, 3, 20)]
CASH = BOOK.cash - 82


def test_a_position_that_its_fills_come_to_is_right() -> None:
    assert wrong_positions(BOOK, FILLS, [changed(1, 2, BOOK.cash - 21), changed(5, 5, CASH)]) == []


@pytest.mark.parametrize(
    "said",
    [[], [changed(1, 2, BOOK.cash - 21)], [changed(5, 4, CASH)], [changed(5, 5, CASH + 1)]],
    ids=["nothing", "not the last", "another quantity", "another sum"],
)
def test_a_position_that_its_fills_do_not_come_to_is_told(said: list[tuple[str, Event, bytes]]) -> None:
    assert len(wrong_positions(BOOK, FILLS, said)) == 1


def test_an_id_may_stand_twice_and_only_with_one_content() -> None:
    one, other = changed(1, 2, CASH), changed(1, 3, CASH)
    assert differing([one, one]) == []
    assert len(differing([one, other])) == 1


def test_a_disturbed_producer_sends_everything_some_of_it_again_and_not_in_order() -> None:
    events = [fill(n, 1, 1) for n in range(200)]
    sent = list(disturbed(Random(1), events))
    assert {event.id for event in sent} == {event.id for event in events}
    assert len(sent) > len(events)
    assert [event.seq for event in dict.fromkeys(sent)] != [event.seq for event in events]
