"""The accounts against a second set of books, kept in fractions and written from the definition of average cost."""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.pipeline import Desk
from schemas.accounting import EquityMarked, PositionChanged
from schemas.base import Event
from schemas.execution import OrderFilled
from tests.agents.builders import BTC, ETH, at, bar, clock, make_book, make_input, trade
from tests.agents.scene import Scene, all_of, only

MULTIPLIERS = {BTC: "1", ETH: "50"}
CENT = Fraction(1, 100)


class Ledger:
    """Cash and positions by hand: a quantity and an average price, which closing leaves as it is."""

    def __init__(self) -> None:
        self.cash = Fraction(100_000)
        self.quantity = dict.fromkeys(MULTIPLIERS, Fraction(0))
        self.average = dict.fromkeys(MULTIPLIERS, Fraction(0))
        self.realised = self.fees = Fraction(0)

    def fill(self, key: str, change: Fraction, price: Fraction, fee: Fraction) -> Fraction:
        """Take a fill; give what it realises."""
        held, multiplier = self.quantity[key], Fraction(MULTIPLIERS[key])
        closed = min(abs(held), abs(change)) if held * change < 0 else Fraction(0)
        side = 1 if held > 0 else -1
        realised = side * closed * (price - self.average[key]) * multiplier
        opened = abs(change) - closed
        total = held + change
        if opened:
            still_held = abs(held) - closed
            self.average[key] = (self.average[key] * still_held + price * opened) / (still_held + opened)
        if not total:
            self.average[key] = Fraction(0)
        self.quantity[key] = total
        self.cash -= change * price * multiplier + fee
        self.realised += realised
        self.fees += fee
        return realised

    def unrealised(self, prices: dict[str, Fraction]) -> Fraction:
        return sum(
            (q * (prices[key] - self.average[key]) * Fraction(MULTIPLIERS[key]) for key, q in self.quantity.items()),
            Fraction(0),
        )


def account_scene() -> Scene:
    book = make_book([{"id": key, "multiplier": m} for key, m in MULTIPLIERS.items()], models=0, mark_every_min=1)
    scene = Scene(book)
    scene.tell(clock(0), bar(0.1, 100.0), bar(0.1, 100.0, key=ETH))
    return scene


def fill_of(
    number: int, key: str, side: str, quantity: str, price: str, fee: str = "0", minutes: float = 0.2
) -> OrderFilled:
    fields: dict[str, Any] = {"order": f"order-{number}", "side": side, "leaves_quantity": Decimal(0)}
    money = {"quantity": Decimal(quantity), "price": Decimal(price), "fee": Decimal(fee)}
    return make_input(OrderFilled, minutes, key, **fields, **money)


# By hand


def after(*fills: tuple[str, str, str]) -> PositionChanged:
    """Give the last change of a position after fills of side, quantity and price."""
    scene = account_scene()
    for number, (side, quantity, price) in enumerate(fills):
        answers = scene.tell(fill_of(number, BTC, side, quantity, price))
    return only(PositionChanged, answers)


@pytest.mark.parametrize(
    ("fills", "quantity", "average", "realised", "cash"),
    [
        ([("buy", "10", "100")], "10", "100", "0", "99000"),
        ([("buy", "10", "100"), ("buy", "30", "120")], "40", "115", "0", "95400"),
        ([("buy", "10", "100"), ("sell", "4", "110")], "6", "100", "40", "99440"),
        ([("buy", "10", "100"), ("sell", "10", "90")], "0", "0", "-100", "99900"),
        ([("sell", "10", "100")], "-10", "100", "0", "101000"),
        ([("sell", "10", "100"), ("sell", "10", "110")], "-20", "105", "0", "102100"),
        ([("sell", "10", "100"), ("buy", "4", "90")], "-6", "100", "40", "100640"),
        ([("buy", "10", "100"), ("sell", "25", "110")], "-15", "110", "100", "101750"),
        ([("sell", "10", "100"), ("buy", "25", "110")], "15", "110", "-100", "98250"),
    ],
)
def test_positions_are_kept_at_average_cost(
    fills: list[tuple[str, str, str]], quantity: str, average: str, realised: str, cash: str
) -> None:
    changed = after(*fills)
    assert (changed.quantity, changed.average_price) == (Decimal(quantity), Decimal(average))
    assert (changed.realised_pnl, changed.cash) == (Decimal(realised), Decimal(cash))


def test_fees_leave_the_cash_and_are_no_part_of_realised_pnl_even_as_rebates() -> None:
    scene = account_scene()
    scene.tell(fill_of(0, BTC, "buy", "10", "100", "1.25"))
    changed = only(PositionChanged, scene.tell(fill_of(1, BTC, "sell", "10", "101", "-0.25")))
    assert (changed.realised_pnl, changed.fee) == (Decimal(10), Decimal("-0.25"))
    assert (changed.total_realised_pnl, changed.total_fees, changed.cash) == (Decimal(10), Decimal(1), Decimal(100_009))


def test_a_contract_of_fifty_moves_fifty_times_the_money() -> None:
    scene = account_scene()
    scene.tell(fill_of(0, ETH, "buy", "2", "100"), trade(0.5, 103.0, 1, ETH))
    mark = only(EquityMarked, scene.tell(clock(1)))
    assert (mark.cash, mark.unrealised_pnl, mark.equity) == (Decimal(90_000), Decimal(300), Decimal(100_300))
    assert mark.gross_exposure == Decimal(10_300)


def test_the_book_is_marked_on_each_boundary_once() -> None:
    scene = account_scene()
    marked: list[int] = []
    for minutes in (0.5, 1.0, 1.5, 4.2, 4.9, 5.0):
        marked += [mark.observed_at for mark in all_of(EquityMarked, scene.tell(clock(minutes)))]
    assert marked == [at(1), at(4.2), at(5)]


# Against the second set of books


amounts = st.decimals("0.0001", "500", places=4)
prices = st.decimals("0.01", "2000", places=2)
fills = st.lists(
    st.tuples(
        st.sampled_from([BTC, ETH]),
        st.sampled_from(["buy", "sell"]),
        st.one_of(amounts, st.sampled_from(["close", "turn"])),
        prices,
        st.decimals("-1", "5", places=4),
    ),
    min_size=1,
    max_size=25,
)


def check_mark(scene: Scene, ledger: Ledger, minute: int, last: dict[str, Fraction]) -> None:
    marks = all_of(EquityMarked, scene.tell(clock(minute)))
    assert len(marks) == 1
    mark = marks[0]
    unrealised = ledger.unrealised(last)
    assert abs(Fraction(mark.unrealised_pnl) - unrealised) < CENT / 1000
    assert abs(Fraction(mark.realised_pnl) - ledger.realised) < CENT / 1000
    assert Fraction(mark.fees) == ledger.fees
    worth = sum((q * last[key] * Fraction(MULTIPLIERS[key]) for key, q in ledger.quantity.items()), Fraction(0))
    assert Fraction(mark.equity) == ledger.cash + worth, "to the last digit"
    assert abs(Fraction(mark.equity) - (100_000 + ledger.realised + unrealised - ledger.fees)) < CENT / 1000


@given(fills)
def test_the_accounts_agree_with_a_second_set_of_books(fills: list[tuple[str, str, Any, Decimal, Decimal]]) -> None:
    scene, ledger = account_scene(), Ledger()
    last = dict.fromkeys(MULTIPLIERS, Fraction(100))
    for number, (key, side, size, price, fee) in enumerate(fills, start=1):
        held = scene.desk.portfolio.quantity(scene.desk.features.index_of[key])
        quantity = abs(held) * (2 if size == "turn" else 1) if isinstance(size, str) else size
        if isinstance(size, str):
            side = "sell" if held > 0 else "buy"  # noqa: PLW2901
        if not quantity:
            continue
        event = fill_of(number, key, side, str(quantity), str(price), str(fee), minutes=number - 0.5)
        changed = only(PositionChanged, scene.tell(event))
        sign = 1 if side == "buy" else -1
        realised = ledger.fill(key, sign * Fraction(quantity), Fraction(price), Fraction(fee))
        assert Fraction(changed.quantity) == ledger.quantity[key]
        assert Fraction(changed.cash) == ledger.cash, "to the last digit"
        assert Fraction(changed.total_fees) == ledger.fees
        assert abs(Fraction(changed.realised_pnl) - realised) < CENT / 1000
        assert abs(Fraction(changed.total_realised_pnl) - ledger.realised) < CENT / 1000
        assert abs(Fraction(changed.average_price) - ledger.average[key]) < CENT / 1000
        last[key] = Fraction(price)
        scene.tell(trade(number - 0.4, float(price), number, key))
        check_mark(scene, ledger, number, last)


@given(fills)
def test_no_context_of_the_program_around_changes_the_accounts(
    fills: list[tuple[str, str, Any, Decimal, Decimal]],
) -> None:
    def run() -> list[Event]:
        desk, said = Desk(account_scene().desk.book), list[Event]()
        for number, (key, side, size, price, fee) in enumerate(fills):
            quantity = "1.5" if isinstance(size, str) else str(size)
            said += desk.apply(fill_of(number, key, side, quantity, str(price), str(fee)))
        return said

    usual = run()
    with localcontext(Context(prec=4, rounding=ROUND_UP)):
        assert run() == usual
