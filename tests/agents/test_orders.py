"""An order's life, pair by pair of the table; stops and targets that are as large as what they protect."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any, get_args

import pytest

from agents.agent import pack
from agents.orders import MAX_DONE, TRANSITIONS, Order, Status
from agents.pipeline import Desk
from schemas.accounting import PositionChanged
from schemas.base import Event
from schemas.execution import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)
from schemas.operations import AlertRaised
from tests.agents.answers import accepted, approval, canceled, expired, filled, rejected
from tests.agents.builders import BTC, ETH, bar, clock, kill, make_book
from tests.agents.scene import Scene, all_of, cancels, kinds, only

VENUE = (OrderAccepted, OrderRejected, OrderFilled, OrderCanceled, OrderExpired)


def order_scene() -> Scene:
    scene = Scene(make_book([BTC, ETH]))
    scene.tell(clock(0), bar(1, 100.0), bar(1, 100.0, key=ETH))
    return scene


def enter(scene: Scene, side: str, quantity: str, minutes: float = 1, **other: Any) -> OrderRequested:
    """Have an order requested; of both levels unless told otherwise."""
    stop, target = ("90", "120") if side == "buy" else ("110", "80")
    levels = {"stop_price": Decimal(stop), "target_price": Decimal(target)}
    answers = scene.tell(approval(minutes, side, quantity, **(levels | other)))
    return all_of(OrderRequested, answers)[-1]


def working(scene: Scene) -> dict[str, tuple[str, Decimal]]:
    """Give side and quantity of the orders that work and are not being canceled, by role."""
    orders = scene.desk.orders.state.working.values()
    return {order.role: (order.side, order.quantity) for order in orders if not order.canceling}


def venue_says(kind: type[Event], order: OrderRequested, *, last: bool = False) -> Event:
    if kind is OrderFilled:
        return filled(order, 100, None if last else "1", number=99)
    makers = {OrderAccepted: accepted, OrderRejected: rejected, OrderCanceled: canceled, OrderExpired: expired}
    return makers[kind](order)


def bring_to(scene: Scene, order: OrderRequested, status: Status) -> None:
    """Lead an order of quantity 10 to a status, by other events than those that `venue_says` makes."""
    ways: dict[Status, list[Event]] = {
        "requested": [],
        "accepted": [accepted(order)],
        "partly_filled": [filled(order, 100, "4")],
        "filled": [filled(order, 100)],
        "canceled": [canceled(order)],
        "rejected": [rejected(order)],
        "expired": [expired(order)],
    }
    for number, event in enumerate(ways[status]):
        scene.tell(type(event)(**{f: getattr(event, f) for f in event.__struct_fields__} | {"id": f"way-{number}"}))
    assert status_of(scene.desk, order) == status


def record_of(desk: Desk, order: OrderRequested) -> Order:
    state = desk.orders.state
    return state.working.get(order.id) or state.done[order.id]


def status_of(desk: Desk, order: OrderRequested) -> Status:
    return record_of(desk, order).status


# The table


@pytest.mark.parametrize(("status", "kind"), list(product(get_args(Status), VENUE)))
def test_every_pair_moves_as_the_table_says_or_is_an_alert(status: Status, kind: type[Event]) -> None:
    scene = order_scene()
    order = enter(scene, "buy", "10")
    bring_to(scene, order, status)
    before, busy = pack(record_of(scene.desk, order)), int(scene.desk.orders.busy[0])
    assert busy == (status in ("requested", "accepted", "partly_filled"))
    answers = scene.tell(venue_says(kind, order))
    broken = [alert for alert in all_of(AlertRaised, answers) if alert.text.endswith("reconcile the executor")]
    if (status, kind) in TRANSITIONS:
        assert status_of(scene.desk, order) == TRANSITIONS[status, kind]
        assert broken == []
    else:
        assert pack(record_of(scene.desk, order)) == before
        assert broken[0].severity == "critical"
        assert f"the order is {status}" in broken[0].text
        assert scene.desk.orders.busy[0] == busy
    if kind is OrderFilled and status not in ("requested", "accepted", "partly_filled"):
        held = scene.desk.portfolio.quantity(0)
        assert working(scene) == {"stop": ("sell", held), "target": ("sell", held)}, "what moved all the same is safe"


@pytest.mark.parametrize("status", ["requested", "accepted", "partly_filled"])
def test_the_last_fill_ends_an_order(status: Status) -> None:
    scene = order_scene()
    order = enter(scene, "buy", "10")
    bring_to(scene, order, status)
    left = Decimal(6 if status == "partly_filled" else 10)
    scene.tell(filled(order, 100, left, number=99))
    assert status_of(scene.desk, order) == "filled"
    assert scene.desk.orders.busy[0] == 0


@pytest.mark.parametrize("kind", VENUE)
def test_an_order_that_the_book_never_made_is_an_alert(kind: type[Event]) -> None:
    scene, other = order_scene(), order_scene()
    order = enter(other, "buy", "10")
    answers = scene.tell(venue_says(kind, order))
    assert "the book knows no such order" in only(AlertRaised, answers).text
    assert len(all_of(PositionChanged, answers)) == (kind is OrderFilled), "money moved all the same"


def test_more_filled_than_ordered_is_counted_and_is_an_alert() -> None:
    scene = order_scene()
    order = enter(scene, "buy", "10")
    answers = scene.tell(filled(order, 100, "11"))
    assert only(AlertRaised, answers).severity == "critical"
    assert scene.desk.portfolio.quantity(0) == 11
    assert working(scene)["stop"] == ("sell", Decimal(11))


def test_a_fill_that_is_sent_twice_counts_once() -> None:
    scene = order_scene()
    order = enter(scene, "buy", "10")
    fill = filled(order, 100, "4")
    scene.tell(fill)
    before = scene.snapshot()
    assert scene.tell(fill) == []
    assert scene.snapshot() == before


def test_only_so_many_finished_orders_are_remembered_the_last_ones() -> None:
    scene = order_scene()
    orders = []
    for i in range(MAX_DONE + 5):
        orders.append(enter(scene, "buy", "10", minutes=1 + i / 1000))
        scene.tell(rejected(orders[-1]))
    assert list(scene.desk.orders.state.done) == [order.id for order in orders[5:]]
    assert not scene.desk.orders.state.working


# Protection


def test_an_entry_is_protected_once_it_is_filled() -> None:
    scene = order_scene()
    order = enter(scene, "buy", "10")
    assert all_of(OrderRequested, scene.tell(accepted(order), filled(order, 100, "4"))) == []
    stop, target = all_of(OrderRequested, scene.tell(filled(order, 100, "6", number=1)))
    assert (stop.role, stop.order_type, stop.side) == ("stop", "stop", "sell")
    assert (stop.trigger_price, stop.quantity, stop.reduce_only) == (Decimal(90), Decimal(10), True)
    assert (target.role, target.order_type, target.trigger_price) == ("target", "take_profit", Decimal(120))
    assert stop.approval == target.approval == order.approval


@pytest.mark.parametrize("end", [canceled, expired])
def test_an_entry_that_ends_half_filled_is_protected_for_what_it_filled(end: Any) -> None:
    scene = order_scene()
    order = enter(scene, "sell", "10")
    scene.tell(filled(order, 100, "4"), end(order))
    assert working(scene) == {"stop": ("buy", Decimal(4)), "target": ("buy", Decimal(4))}


def test_an_entry_without_levels_is_left_without() -> None:
    scene = order_scene()
    scene.tell(filled(enter(scene, "buy", "10", stop_price=None), 100))
    assert set(working(scene)) == {"target"}


@pytest.mark.parametrize("role", ["stop", "target"])
def test_one_cancels_the_other(role: str) -> None:
    scene = order_scene()
    orders = {o.role: o for o in all_of(OrderRequested, scene.tell(filled(enter(scene, "buy", "10"), 100)))}
    hit, other = orders.pop(role), orders.popitem()[1]  # type: ignore[call-overload]
    assert cancels(scene.tell(filled(hit, 90, "3"))) == set()
    answers = scene.tell(filled(hit, 90, "7", number=1))
    assert cancels(answers) == {other.id}
    assert all_of(OrderRequested, answers) == []
    assert kinds(scene.tell(canceled(other))) == []
    assert not scene.desk.orders.state.working


def test_one_instruments_stop_does_not_cancel_anothers() -> None:
    scene = order_scene()
    stops = {}
    for key in (BTC, ETH):
        order = enter(scene, "buy", "10", key=key)
        stops[key] = all_of(OrderRequested, scene.tell(filled(order, 100)))[0]
    answers = scene.tell(filled(stops[ETH], 90))
    assert {scene.desk.orders.state.working[order].index for order in cancels(answers)} == {1}


def test_a_reversal_cancels_the_old_protection_and_is_protected_for_its_own_size() -> None:
    scene = order_scene()
    old = all_of(OrderRequested, scene.tell(filled(enter(scene, "buy", "10"), 100)))
    reversal = enter(scene, "sell", "25", minutes=2)
    assert cancels(scene.said[-3:]) == {order.id for order in old}
    assert all_of(OrderRequested, scene.tell(filled(reversal, 100, "5"))) == []
    assert all_of(OrderRequested, scene.tell(filled(reversal, 100, "5", number=1))) == []
    scene.tell(filled(reversal, 100, "15", number=2))
    assert working(scene) == {"stop": ("buy", Decimal(15)), "target": ("buy", Decimal(15))}


def test_an_exit_cancels_the_protection_and_needs_none() -> None:
    scene = order_scene()
    old = all_of(OrderRequested, scene.tell(filled(enter(scene, "buy", "10"), 100)))
    order = enter(scene, "sell", "10", minutes=2, reduce_only=True, stop_price=None, target_price=None)
    assert (order.role, order.reduce_only) == ("exit", True)
    assert cancels(scene.said) == {o.id for o in old}
    assert all_of(OrderRequested, scene.tell(filled(order, 100))) == []


@pytest.mark.parametrize("first", ["0", "4"])
def test_a_fill_that_crossed_a_cancel_is_counted_and_protected(first: str) -> None:
    scene = order_scene()
    order = enter(scene, "buy", "10")
    if first != "0":
        scene.tell(filled(order, 100, first))
    scene.tell(canceled(order))
    answers = scene.tell(filled(order, 100, "5", number=1))
    assert scene.desk.portfolio.quantity(0) == Decimal(first) + 5
    assert len(cancels(answers)) == (2 if first != "0" else 0)
    assert working(scene) == {"stop": ("sell", Decimal(first) + 5), "target": ("sell", Decimal(first) + 5)}
    assert all_of(AlertRaised, answers) == []


# Alerts


@pytest.mark.parametrize("end", [rejected, canceled, expired])
def test_a_stop_that_ends_by_itself_is_an_alert_a_target_is_not(end: Any) -> None:
    scene = order_scene()
    stop, target = all_of(OrderRequested, scene.tell(filled(enter(scene, "buy", "10"), 100)))
    assert all_of(AlertRaised, scene.tell(end(target))) == []
    alert = only(AlertRaised, scene.tell(end(stop)))
    assert alert.severity == "critical"
    assert f"the stop of {BTC} ended" in alert.text


@pytest.mark.parametrize("end", [rejected, canceled, expired])
@pytest.mark.parametrize("role", ["exit", "entry"])
def test_an_exit_or_a_reversal_that_fails_leaves_a_bare_position_and_an_alert(role: str, end: Any) -> None:
    scene = order_scene()
    scene.tell(filled(enter(scene, "buy", "10"), 100))
    order = enter(scene, "sell", "10" if role == "exit" else "20", minutes=2, reduce_only=role == "exit")
    assert order.role == role
    answers = scene.tell(filled(order, 100, "3"), end(order)) if end is not rejected else scene.tell(end(order))
    alert = only(AlertRaised, answers)
    assert alert.severity == "critical"
    assert f"the {role} of {BTC} ended ({type(end(order)).__name__}): the position is not protected" in alert.text


def test_an_entry_that_fails_leaves_nothing_to_alert_of() -> None:
    scene = order_scene()
    assert kinds(scene.tell(rejected(enter(scene, "buy", "10")))) == []


def test_a_protection_that_finds_the_position_closed_leaves_nothing_to_alert_of() -> None:
    scene = order_scene()
    stop, target = all_of(OrderRequested, scene.tell(filled(enter(scene, "buy", "10"), 100)))
    scene.tell(filled(target, 120))
    assert kinds(scene.tell(rejected(stop))) == []


# The kill switch


def test_the_kill_switch_cancels_entries_once() -> None:
    scene = order_scene()
    entry = enter(scene, "buy", "10")
    assert cancels(scene.tell(kill(2))) == {entry.id}
    assert cancels(scene.tell(kill(3))) == set()
    assert kinds(scene.tell(canceled(entry))) == []
    assert not scene.desk.orders.state.working
