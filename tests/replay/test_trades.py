from __future__ import annotations

import csv
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.outputs import finish
from replay.results import Results, read_results
from replay.rundir import RunDir
from replay.trades import CSV_COLUMNS, iso
from schemas.base import NS_PER_MIN
from schemas.errors import ArchiveError
from tests.replay.fake_run import START, FakeRun, book_of
from tests.replay.plausible import HOSTILE, plausible

BTC, ETH = "BTC/USD@x", "ETH/USD@x"


class Session:
    """A run of a few orders, a minute apart, each filled at its price."""

    def __init__(self, root: Path, *instruments: str) -> None:
        self.run = FakeRun(root / "run", book_of(*(instruments or (BTC,))))
        self.at = START
        for name in self.run.last:
            self.run.price(name, START, 100.0)

    def trade(self, side: str, quantity: str, price: str, fee: str = "0", instrument: str = BTC) -> str:
        self.at += NS_PER_MIN
        order = self.run.order(instrument, self.at, side, quantity)
        self.run.fill(order, self.at, price, fee=fee)
        return order.id

    def read(self) -> Results:
        self.run.mark(self.at + NS_PER_MIN)
        return read_results(RunDir(self.run.write()), {})

    def rows(self) -> list[dict[str, str]]:
        with (self.run.root / "trades.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def test_a_round_trip_runs_from_flat_to_flat(tmp_path: Path) -> None:
    session = Session(tmp_path)
    first, second = session.trade("buy", "2", "100", "1"), session.trade("buy", "2", "110", "1")
    third, fourth = session.trade("sell", "1", "120", "0.5"), session.trade("sell", "3", "130", "1.5")
    (trip,) = session.read().ledger.closed
    assert (trip.side, trip.quantity, trip.fills) == ("long", Decimal(4), 4)
    assert (trip.entry_price, trip.exit_price) == (Decimal(105), Decimal("127.5"))
    assert (trip.gross, trip.fees, trip.net) == (Decimal(90), Decimal(4), Decimal(86))
    assert (trip.opened_at, trip.closed_at) == (START + NS_PER_MIN, START + 4 * NS_PER_MIN)
    assert (trip.entry_orders, trip.exit_orders) == ((first, second), (third, fourth))


def test_a_short_earns_when_the_price_falls(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.trade("sell", "2", "100", "1")
    session.trade("buy", "2", "90", "1")
    (trip,) = session.read().ledger.closed
    assert (trip.side, trip.gross, trip.net) == ("short", Decimal(20), Decimal(18))


def test_a_fill_that_turns_a_position_splits_its_fee(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.trade("buy", "1", "100", "1")
    session.trade("sell", "4", "110", "4")
    results = session.read()
    (closed,), (still,) = results.ledger.closed, results.ledger.open()
    assert (closed.side, closed.gross, closed.fees) == ("long", Decimal(10), Decimal(2))
    assert (still.side, still.quantity, still.fees) == ("short", Decimal(3), Decimal(3))
    assert still.closed_at is None
    assert results.summary.open_trades == 1
    assert results.summary.metrics["trades"] == 1


def test_instruments_have_their_own_round_trips(tmp_path: Path) -> None:
    session = Session(tmp_path, BTC, ETH)
    session.trade("buy", "1", "100")
    session.trade("sell", "1", "100", instrument=ETH)
    session.trade("sell", "1", "101")
    session.trade("buy", "1", "102", instrument=ETH)
    nets = {trip.instrument: trip.net for trip in session.read().ledger.closed}
    assert nets == {BTC: Decimal(1), ETH: Decimal(-2)}


def test_time_in_market_counts_any_open_position_once(tmp_path: Path) -> None:
    session = Session(tmp_path, BTC, ETH)
    session.trade("buy", "1", "100")  # minute 1
    session.trade("buy", "1", "100", instrument=ETH)
    session.trade("sell", "1", "100")
    session.trade("sell", "1", "100", instrument=ETH)  # minute 4
    assert session.read().summary.metrics["time_in_market_pct"] == 60.0


@given(
    st.lists(
        st.tuples(st.sampled_from(("buy", "sell")), st.integers(1, 9), st.integers(50, 150)),
        min_size=1,
        max_size=15,
    )
)
def test_round_trips_add_up_to_the_books_totals(
    tmp_path_factory: pytest.TempPathFactory, orders: list[tuple[str, int, int]]
) -> None:
    session = Session(tmp_path_factory.mktemp("run"))
    for side, quantity, price in orders:
        session.trade(side, str(quantity), str(price), "0.7")
    ledger = session.read().ledger
    trips = [*ledger.closed, *ledger.open()]
    assert sum(trip.gross for trip in trips) == pytest.approx(session.run.realised, abs=Decimal("1e-6"))
    assert sum(trip.fees for trip in trips) == pytest.approx(session.run.fees, abs=Decimal("1e-20"))
    assert sum(trip.fills for trip in trips) == len(orders) + sum(  # a turning fill belongs to two
        bool(set(a.exit_orders) & set(b.entry_orders)) for a, b in pairwise(trips)
    )


def test_a_row_says_when_what_and_what_it_left(tmp_path: Path) -> None:
    session = Session(tmp_path, BTC, ETH)
    session.trade("buy", "2", "100.5", "0.25", instrument=ETH)
    order = session.trade("buy", "1.50", "110", "0.1")
    session.trade("sell", "1.5", "120", "0.1")
    session.read()
    row = session.rows()[1]
    assert tuple(row) == CSV_COLUMNS
    assert row == {
        "timestamp": "2017-01-01T00:02:00.000Z",
        "instrument": BTC,
        "action": "BUY",
        "quantity": "1.5",
        "price": "110",
        "fee": "0.1",
        "pnl": "0",
        "equity": "99998.65",  # the fees, and 2 ETH that are back from 100.5 to their mark of 100
        "reasoning": "entry: EMA 20 crossed above EMA 50 while the vote says BUY",
        "verdict_ids": "",
        "order_id": order,
    }
    assert (session.rows()[2]["pnl"], session.rows()[2]["equity"]) == ("15", "100013.55")


def test_a_row_names_the_votes_and_their_verdicts(tmp_path: Path) -> None:
    session = Session(tmp_path)
    votes = [("BUY", 0.7, "good\nnews"), ("BUY", 0.6, "x" * 500), ("", 0.0, "")]
    signal = session.run.question(BTC, session.at, votes, [])
    order = session.run.order(BTC, session.at + NS_PER_MIN, "buy", "1", consensus=signal.id)
    session.run.fill(order, session.at + NS_PER_MIN, "100")
    session.read()
    (row,) = session.rows()
    words, ids = row["reasoning"], row["verdict_ids"].split(" ")
    assert " | vader BUY 0.70 (good news); textblob BUY 0.60 (xxx" in words
    assert words.endswith("…); trend did not answer (timeout)")
    assert ids == [vote.verdict for vote in signal.votes]


def test_no_cell_can_be_read_as_a_formula_and_no_row_is_torn(tmp_path: Path) -> None:
    root = plausible(tmp_path / "run", BTC, days=5)
    results = read_results(RunDir(root), {})
    with (root / "trades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + results.ledger.fills
    assert len((root / "trades.csv").read_text(encoding="utf-8").splitlines()) == len(rows)
    assert any(HOSTILE[:20] in row[8] for row in rows)
    assert all(row[8][:1] not in "=+-@" for row in rows[1:])


def test_exact_money_does_not_depend_on_the_callers_decimal_context(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.trade("buy", "3", "100.123456789", "1")
    session.trade("sell", "3", "100.987654321", "1")
    root = session.run.root
    session.run.mark(session.at)
    session.run.write()
    with localcontext(prec=5):
        finish(root, {}, report=False)
    assert session.rows()[1]["equity"] == "100000.5925926"


@pytest.mark.parametrize(
    ("ns", "text"),
    [(START, "2017-01-01T00:00:00.000Z"), (START + 1, "2017-01-01T00:00:00.000000001Z")],
)
def test_times_are_iso_8601(ns: int, text: str) -> None:
    assert iso(ns) == text


def test_a_position_without_its_fill_is_refused(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.trade("buy", "1", "100")
    root = session.run.write()
    journal = root / "log" / "journal.jsonl"
    kept = [line for line in journal.read_bytes().splitlines(keepends=True) if b"OrderFilled" not in line]
    journal.write_bytes(b"".join(kept))
    with pytest.raises(ArchiveError, match="names a fill that the journal lacks"):
        read_results(RunDir(root), {})
