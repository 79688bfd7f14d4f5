"""What holds for the simulated exchange whatever the market and the orders: random ones, coarse enough to collide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from agents.frame import BAR, QUOTE, TRADE, Frame
from replay.exchange import SimulatedExchange
from schemas.base import NS_PER_S, Event
from schemas.book import Book, Instrument
from schemas.codec import decode, encode
from schemas.execution import OrderAccepted, OrderCanceled, OrderExpired, OrderFilled, OrderRejected, OrderRequested
from tests.replay.venue import Command, Row, book_of, cancel, drive, frame_of, ns, order, send

STEP = Decimal("0.5")
INSTRUMENTS = (
    Instrument(id="COIN/USD@sim", lot_size=Decimal("0.1"), tick_size=STEP, min_notional=Decimal(10)),
    Instrument(id="SPOT/USD@sim", lot_size=Decimal("0.5"), tick_size=STEP, min_notional=Decimal(10), shortable=False),
)
IDS = tuple(instrument.id for instrument in INSTRUMENTS)
ENDS = (OrderRejected, OrderCanceled, OrderExpired)


class Case(NamedTuple):
    """A market, what is sent after which row, and how the rows are cut."""

    venue: dict[str, Any]
    rows: list[Row]
    commands: dict[int, list[Command]]
    cuts: list[int]

    @property
    def book(self) -> Book:
        return book_of(INSTRUMENTS, **self.venue)

    @property
    def frames(self) -> list[Frame]:
        edges = [0, *self.cuts, len(self.rows)]
        return [frame_of(self.rows[a:b], IDS) for a, b in pairwise(edges) if a < b]


def case_of(seed: int, row_count: int, order_count: int) -> Case:
    """A case from a seed: far quicker to draw than value by value, and the counts still shrink."""
    rng = Random(seed)
    venue = {
        "maker_bps": rng.choice([-1.0, 2.0]),
        "taker_bps": rng.choice([0.0, 7.5]),
        "slippage_bps": rng.choice([0.0, 30.0]),
        "latency_ms": rng.choice([0, 1000, 70_000]),
        "max_volume_pct": rng.choice([None, 10.0]),
    }
    kinds = rng.choice([[BAR], [TRADE], [QUOTE], [TRADE, QUOTE], [BAR, TRADE, QUOTE]])
    rows: list[Row] = []
    now = 60.0
    for _ in range(row_count):
        now += rng.choice([0.0, 0.5, 1.0, 30.0, 60.0])
        rows.append(_row(rng, kinds, now))
    rows.sort(key=lambda row: row.observed_at)
    commands: dict[int, list[Command]] = defaultdict(list)
    for i in range(order_count):
        after = rng.randrange(row_count)
        commands[after].append(_order(rng, f"o{i}"))
        if rng.random() < 0.3:
            commands[rng.randint(after, row_count)].append(cancel(f"o{i}"))
    cuts = sorted(rng.choices(range(row_count), k=3))
    return Case(venue, rows, dict(commands), cuts)


def _row(rng: Random, kinds: Sequence[int], occurred_s: float) -> Row:
    kind = rng.choice(kinds)
    low, a, b, high = sorted(rng.randint(190, 210) / 2 for _ in range(4))
    size = rng.choice([0.4, 3.0, 20.0, 1000.0])
    if kind == BAR:
        first, last = rng.choice([(a, b), (b, a)])
        values = (first, high, low, last, size, 60.0 * NS_PER_S)
    elif kind == TRADE:
        values = (a, size, 0.0, 0.0, 0.0, 0.0)
    else:
        values = (a, b, size, 10.0, 0.0, 0.0)
    return Row(kind, occurred_s, values, rng.randrange(2), rng.choice([0.0, 0.0, 0.5, 30.0]))


def _order(rng: Random, name: str) -> OrderRequested:
    price = str(Decimal(rng.randint(190, 210)) / 2)
    kind = rng.choice(["market", "limit", "stop", "target"])
    return order(
        name,
        rng.choice(["buy", "sell"]),
        rng.choice(["0.5", "1", "4", "0.3"]),
        limit=price if kind == "limit" else None,
        stop=price if kind == "stop" else None,
        target=price if kind == "target" else None,
        reduce=rng.random() < 0.4,
        expires_s=rng.choice([None, None, None, 400.0]),
        instrument=rng.choice(IDS),
    )


cases = st.builds(
    case_of,
    seed=st.integers(0, 2**32),
    row_count=st.integers(20, 80),
    order_count=st.integers(5, 25),
)


def run(case: Case, *, spans: bool = False) -> tuple[list[Event], SimulatedExchange]:
    exchange = SimulatedExchange(case.book)
    return drive(exchange, case.frames, case.commands, spans=spans), exchange


def fills_of(events: Sequence[Event]) -> list[OrderFilled]:
    return [event for event in events if isinstance(event, OrderFilled)]


def requests_of(case: Case) -> dict[str, OrderRequested]:
    return {c.id: c for sent in case.commands.values() for c in sent if isinstance(c, OrderRequested)}


@given(cases)
def test_spans_and_rows_give_the_same_events_and_the_same_state(case: Case) -> None:
    by_row, one = run(case)
    by_span, other = run(case, spans=True)
    whole, _ = run(case._replace(cuts=[]), spans=True)
    assert by_span == by_row == whole
    assert other.snapshot() == one.snapshot()
    note(f"fills: {min(len(fills_of(by_row)), 3)}")


@given(cases)
def test_a_quiet_row_would_have_been_answered_with_nothing_and_changes_no_order(case: Case) -> None:
    exchange = SimulatedExchange(case.book)
    frame = frame_of(case.rows, IDS)
    for row in range(len(frame)):
        for command in case.commands.get(row, ()):
            send(exchange, command, int(frame.observed_at[max(row - 1, 0)]))
        quiet = exchange.quiet_until(frame, row, row + 1) > row
        absorbing, answering = SimulatedExchange(case.book), SimulatedExchange(case.book)
        for copy in (absorbing, answering):
            copy.restore(exchange.snapshot())
        absorbing.absorb(frame, row, row + 1)
        assert answering.on_row(frame, row) == exchange.on_row(frame, row)
        if quiet:
            assert answering.snapshot() == absorbing.snapshot()
        note(f"quiet: {quiet}")


@given(cases, st.floats(0, 1))
def test_a_restored_exchange_goes_on_as_if_it_had_never_stopped(case: Case, share: float) -> None:
    whole, ended = run(case)
    cut = int(share * len(case.rows))
    first = SimulatedExchange(case.book)
    events = drive(
        first, [frame_of(case.rows[:cut], IDS)] if cut else [], {k: c for k, c in case.commands.items() if k <= cut}
    )
    second = SimulatedExchange(case.book)
    second.restore(first.snapshot())
    assert second.snapshot() == first.snapshot()
    assert second.due == first.due
    later = {k - cut: c for k, c in case.commands.items() if k > cut or (not cut and not k)}
    if cut < len(case.rows):
        events += drive(second, [frame_of(case.rows[cut:], IDS)], later)
    assert events == whole
    if cut < len(case.rows):
        assert second.snapshot() == ended.snapshot()


@given(cases, st.floats(0, 1))
def test_the_future_changes_nothing_in_the_past(case: Case, share: float) -> None:
    cut = max(1, int(share * len(case.rows)))
    noise = [
        row._replace(values=(*(value * 3 for value in row.values[:4]), *row.values[4:])) for row in case.rows[cut:]
    ]
    past = {k: c for k, c in case.commands.items() if k <= cut}
    known, _ = run(case._replace(rows=case.rows[:cut], commands=past, cuts=[]))
    other, _ = run(case._replace(rows=case.rows[:cut] + noise, commands=past, cuts=[]))
    assert other[: len(known)] == known


@given(cases)
def test_no_order_trades_more_than_it_asks_for_and_each_ends_once(case: Case) -> None:
    events, exchange = run(case)
    for name, request in requests_of(case).items():
        said: list[Any] = [event for event in events if event.cause == name]
        fills = fills_of(said)
        left = request.quantity
        for fill in fills:
            left -= fill.quantity
            assert fill.leaves_quantity == left >= 0
            assert fill.quantity % INSTRUMENTS[IDS.index(request.instrument)].lot_size == 0
        ended = [event for event in said if isinstance(event, ENDS)]
        assert len(ended) + (left == 0) <= 1
        assert (not ended and left > 0) == (name in exchange._state.orders)
        assert isinstance(said[0], OrderRejected if len(said) == 1 and ended else OrderAccepted)
        assert not ended or said[-1] is ended[0]


@given(cases)
def test_times_run_forward_and_every_answer_can_be_written_and_read(case: Case) -> None:
    events, _ = run(case)
    assert len({event.id for event in events}) == len(events)
    latency_ns = case.venue["latency_ms"] * 1_000_000
    for name in requests_of(case):
        said = [event for event in events if event.cause == name]
        observed = [event.observed_at for event in said]
        assert observed == sorted(observed)
        assert all(event.occurred_at >= said[0].occurred_at for event in said)
    for event in events:
        assert event.observed_at >= event.occurred_at + latency_ns
        assert decode(encode(event)) == event


@given(cases)
def test_positions_follow_from_the_fills_and_keep_their_promises(case: Case) -> None:
    events, exchange = run(case)
    requests = requests_of(case)
    held = dict.fromkeys(IDS, Decimal(0))
    for fill in fills_of(events):
        before = held[fill.key]
        after = before + (fill.quantity if fill.side == "buy" else -fill.quantity)
        held[fill.key] = after
        if requests[fill.order].reduce_only:
            assert before * after >= 0
            assert abs(after) < abs(before)
            note("a reduce-only order filled")
    assert list(held.values()) == exchange._state.positions
    assert held[IDS[1]] >= 0


@given(cases)
def test_a_fill_costs_at_least_what_the_rules_say(case: Case) -> None:
    events, _ = run(case)
    requests = requests_of(case)
    for fill in fills_of(events):
        request, sign = requests[fill.order], 1 if fill.side == "buy" else -1
        rate = Fraction(str(case.venue[f"{fill.liquidity}_bps"])) / 10_000
        assert abs(Fraction(fill.fee) - Fraction(fill.price) * Fraction(fill.quantity) * rate) <= Fraction(1, 2 * 10**8)
        assert fill.price % STEP == 0
        if request.limit_price is not None:
            assert sign * fill.price <= sign * request.limit_price
        if request.order_type == "take_profit" and case.venue["max_volume_pct"] is None and not _mixed(case):
            assert sign * fill.price >= sign * (request.trigger_price or 0)
        if request.order_type == "stop" and case.venue["max_volume_pct"] is None and not _mixed(case):
            assert sign * fill.price >= sign * (request.trigger_price or 0)


def _mixed(case: Case) -> bool:
    """Trades and quotes: a trade triggers, and a quote fills, later and at any price."""
    return len({row.kind for row in case.rows}) > 1


@given(cases)
def test_no_fill_is_better_than_the_best_price_of_its_row(case: Case) -> None:
    events, _ = run(case)
    for fill in fills_of(events):
        sign = 1 if fill.side == "buy" else -1
        best = [
            _best(row, fill.side)
            for row in case.rows
            if IDS[row.instrument] == fill.key
            and fill.occurred_at in (ns(row.occurred_s), ns(row.occurred_s) - int(row.values[5]))
        ]
        assert any(sign * float(fill.price) >= sign * price for price in best)


def _best(row: Row, side: str) -> float:
    if row.kind == BAR:
        return row.values[2 if side == "buy" else 1]
    return row.values[1 if row.kind == QUOTE and side == "buy" else 0]


@given(cases)
def test_the_arithmetic_does_not_depend_on_the_thread_s_decimal_context(case: Case) -> None:
    expected, _ = run(case)
    with localcontext() as context:
        context.prec, context.rounding = 2, ROUND_UP
        found, _ = run(case)
    assert found == expected


@pytest.mark.parametrize("kind", [BAR, TRADE, QUOTE])
def test_an_unmet_order_and_a_met_one_encode(kind: int) -> None:
    """A snapshot holds an order whole, whatever stage it is in."""
    exchange = SimulatedExchange(book_of(INSTRUMENTS))
    send(exchange, order("a", "buy", limit="50"), 0)
    unmet = exchange.snapshot()
    row = Row(kind, 60.0, (100.0, 100.0, 100.0, 100.0, 1.0, 60.0 * NS_PER_S))
    exchange.on_row(frame_of([row], IDS), 0)
    assert msgspec.msgpack.decode(exchange.snapshot())["orders"]["a"]["met"]
    assert not msgspec.msgpack.decode(unmet)["orders"]["a"]["met"]
