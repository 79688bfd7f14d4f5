"""The book's accounts against backtesting.py's broker on the same fills, to the cent: cash, fees, PnL, long and short.

The broker matches closing fills first in, first out, where the book averages costs: what is realised while a
position is open may differ by design, what the book is worth after any fill may not, nor what a closed position earned.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.features import Features
from agents.portfolio import Portfolio
from schemas.accounting import PositionChanged
from schemas.base import NS_PER_MIN
from schemas.book import Book, Instrument, VenueSettings
from schemas.codec import decode
from schemas.execution import OrderFilled
from tests.crosscheck.conftest import MISSING_PEER
from tests.replay.market import START, Market, book_of, replayed

backtesting = pytest.importorskip("backtesting", reason=MISSING_PEER)
pd = pytest.importorskip("pandas", reason=MISSING_PEER)  # comes with it

CASH = 1_000_000
FEE = Decimal("0.001")
LOT = Decimal("0.0001")
CENT = 0.005
"""Half a cent either way: what may be lost between decimals and floats."""
BTC = "BTC/USD@test"


class Trade(NamedTuple):
    """A signed quantity at a price."""

    quantity: Decimal
    price: Decimal


class Account(NamedTuple):
    """The broker's side after each trade."""

    equity: list[float]
    fees: float
    """Of all closed trades, entries and exits."""
    pnl: float
    """Of all closed trades, before fees."""


def brokered(trades: Sequence[Trade], lot: Decimal, cash: int) -> Account:
    """Have the broker execute the trades: one a bar, at its open; a unit is a lot."""
    prices = [float(trade.price * lot) for trade in trades]
    bars = [prices[0], prices[0], *prices]
    frame = pd.DataFrame(
        dict.fromkeys(("Open", "High", "Low", "Close"), bars),
        index=pd.date_range("2024-01-01", periods=len(bars), freq="min"),
    )
    equity: list[float] = []

    class Replay(backtesting.Strategy):  # type: ignore[misc, name-defined]
        def init(self) -> None:
            """Nothing to prepare."""

        def next(self) -> None:
            done = len(self.data) - 2
            if done > 0:
                equity.append(self.equity)
            if done < len(trades):
                units = int(trades[done].quantity / lot)
                (self.buy if units > 0 else self.sell)(size=abs(units))

    test = backtesting.Backtest(frame, Replay, cash=cash, commission=float(FEE), margin=1e-4)
    stats = test.run()
    closed = stats["_trades"]
    return Account(equity, float(closed["Commission"].sum()), float((closed["PnL"] + closed["Commission"]).sum()))


def booked(trades: Sequence[Trade], lot: Decimal) -> list[PositionChanged]:
    """Have the portfolio agent book the trades."""
    book = Book(name="b", cash=Decimal(CASH), instruments=(Instrument(id=BTC, lot_size=lot),))
    portfolio = Portfolio(book, Features(book))
    return [
        changed
        for number, trade in enumerate(trades)
        for changed in portfolio.on_order_filled(_fill(number, trade))
        if isinstance(changed, PositionChanged)
    ]


def _fill(number: int, trade: Trade) -> OrderFilled:
    at = START + number * NS_PER_MIN
    return OrderFilled(
        id=f"f{number}",
        key=BTC,
        occurred_at=at,
        observed_at=at,
        order=f"o{number}",
        side="buy" if trade.quantity > 0 else "sell",
        quantity=abs(trade.quantity),
        price=trade.price,
        fee=abs(trade.quantity) * trade.price * FEE,
        leaves_quantity=Decimal(0),
    )


def compare(trades: Sequence[Trade], positions: Sequence[PositionChanged], lot: Decimal, cash: int) -> None:
    """Demand the same worth after each fill, and the same fees and PnL whenever the book is flat."""
    theirs = brokered(trades, lot, cash)
    ours = [float(p.cash + p.quantity * t.price) for p, t in zip(positions, trades, strict=True)]
    assert ours == pytest.approx(theirs.equity, abs=CENT)
    totals = [
        cash + p.total_realised_pnl - p.total_fees + _unrealised(p, t) for p, t in zip(positions, trades, strict=True)
    ]
    assert [float(total) for total in totals] == pytest.approx(theirs.equity, abs=CENT)
    if not positions[-1].quantity:
        assert float(positions[-1].total_fees) == pytest.approx(theirs.fees, abs=CENT)
        assert float(positions[-1].total_realised_pnl) == pytest.approx(theirs.pnl, abs=CENT)


def _unrealised(position: PositionChanged, trade: Trade) -> Decimal:
    return (trade.price - position.average_price) * position.quantity


def flat_at_the_end(trades: list[Trade]) -> list[Trade]:
    left = sum((trade.quantity for trade in trades), Decimal(0))
    return [*trades, Trade(-left, Decimal("123.45"))] if left else trades


SCENARIOS = {
    "long": [(1, "100"), (2, "110"), (-3, "120")],
    "short": [(-5, "100"), (2, "90"), (3, "95")],
    "partial exits": [(9, "100"), (-2, "101"), (-3, "99"), (4, "98"), (-8, "103")],
    "long, turned short, turned long": [(3, "100"), (-7, "105"), (9, "95"), (-5, "101")],
    "still open": [(3, "100"), (-7, "105"), (9, "95")],
}


@pytest.mark.filterwarnings("ignore")  # pandas and bokeh deprecate in their own time; open trades are meant
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_comes_out_the_same(name: str) -> None:
    trades = [Trade(Decimal(quantity), Decimal(price)) for quantity, price in SCENARIOS[name]]
    compare(trades, booked(trades, Decimal(1)), Decimal(1), CASH)


@pytest.mark.filterwarnings("ignore")
@given(
    st.lists(
        st.builds(
            Trade,
            st.integers(-50_000, 50_000).filter(bool).map(lambda lots: lots * LOT),
            st.integers(5_000, 25_000).map(lambda cents: Decimal(cents) / 100),
        ),
        min_size=1,
        max_size=25,
    ).map(flat_at_the_end)
)
def test_any_fills_come_out_the_same(trades: list[Trade]) -> None:
    compare(trades, booked(trades, LOT), LOT, CASH)


@pytest.mark.filterwarnings("ignore")
def test_a_replayed_markets_fills_come_out_the_same() -> None:
    venue = VenueSettings(taker_bps=10, maker_bps=10)  # the broker knows one fee
    book = book_of(instruments=1, venue=venue, cash=Decimal(CASH))
    log = replayed(book, Market(seed=3, minutes=1500, instruments=1))
    trades, positions = _read(log.lines)
    assert len(trades) > 20
    assert {p.quantity > 0 for p in positions if p.quantity} == {True, False}
    compare(trades, positions, book.instruments[0].lot_size, CASH)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("field", ["cash", "total_fees", "total_realised_pnl"])
def test_a_planted_cent_is_found(field: str) -> None:
    trades = [Trade(Decimal(3), Decimal(100)), Trade(Decimal(-3), Decimal(105))]
    first, last = booked(trades, Decimal(1))
    planted = msgspec.structs.replace(last, **{field: getattr(last, field) + Decimal("0.01")})
    with pytest.raises(AssertionError):
        compare(trades, [first, planted], Decimal(1), CASH)


def _read(lines: dict[str, list[bytes]]) -> tuple[list[Trade], list[PositionChanged]]:
    events: list[Any] = [decode(line) for line in (*lines["journal"], *lines["portfolio"])]
    fills = {e.id: e for e in events if isinstance(e, OrderFilled)}
    positions = [e for e in events if isinstance(e, PositionChanged)]
    trades = [
        Trade(f.quantity if f.side == "buy" else -f.quantity, f.price) for f in (fills[p.cause] for p in positions)
    ]
    return trades, positions
