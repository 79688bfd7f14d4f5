"""Sizes and limits: every cut recorded, every refusal named, exits let through, persons asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.agent import NEVER
from agents.risk import Risk
from schemas.base import Event
from schemas.book import Book
from schemas.decisions import Clamp, ConfirmationRequested, TradeApproved, TradeRejected
from schemas.execution import OrderRequested
from schemas.operations import AlertRaised
from tests.agents.answers import filled, proposal, rejected
from tests.agents.builders import (
    BTC,
    ETH,
    at,
    bar,
    clock,
    confirm,
    decline,
    kill,
    make_book,
    pause,
    resume,
    rules,
    trade,
)
from tests.agents.scene import Scene, all_of, kinds, only

BARE: dict[str, Any] = {"order_pct": 10.0, "max_position_pct": 1e6, "max_exposure_pct": 1e6}
"""Limits that cut nothing."""


def risk_scene(price: float = 100.0, *instruments: str | dict[str, Any], **risk: Any) -> Scene:
    """A book of 100,000 whose instruments have just been seen at a price."""
    scene = Scene(make_book(instruments or (BTC,), risk=BARE | risk))
    scene.tell(clock(0), *(bar(1, price, key=i.id) for i in scene.desk.book.instruments))
    return scene


def risk_of(scene: Scene) -> Risk:
    [risk] = [agent for agent in scene.desk.agents if isinstance(agent, Risk)]
    return risk


def hold(scene: Scene, target: str, minutes: float = 1, price: float = 100.0, key: str = BTC) -> Decimal:
    """Get the book into a position; give its size."""
    order = only(OrderRequested, scene.tell(proposal(minutes, target, price, key)))
    scene.tell(filled(order, price))
    return scene.desk.portfolio.quantity(scene.desk.features.index_of[key])


def denied(answers: list[Event]) -> tuple[str, str, str, str]:
    [answer] = answers
    assert isinstance(answer, TradeRejected)
    return answer.reason, answer.limit, answer.limit_value, answer.value


# Sizing


@pytest.mark.parametrize(
    ("risk", "conviction", "quantity"),
    [
        ({}, 1.0, "100"),
        ({}, 0.5, "50"),
        ({"scale_by_conviction": False}, 0.5, "100"),
        ({"order_quantity": "7.5"}, 0.5, "7.5"),
        ({"order_quantity": "0.0015"}, 1.0, None),
        ({"order_pct": 0.0019}, 1.0, "0.019"),
    ],
)
def test_conviction_asks_for_a_share_of_equity(risk: dict[str, Any], conviction: float, quantity: str | None) -> None:
    scene = risk_scene(**risk)
    answers = scene.tell(proposal(1, "long", 100.0, conviction=conviction))
    if quantity is None:
        assert denied(answers) == ("too small", "min_notional", "1", "0.15")
        return
    approval = only(TradeApproved, answers)
    assert (approval.side, approval.quantity, approval.clamps) == ("buy", Decimal(quantity), ())
    assert only(OrderRequested, answers).quantity == Decimal(quantity)


def test_a_size_is_cut_to_whole_lots() -> None:
    scene = risk_scene(3.0, {"id": BTC, "lot_size": "0.25"})
    assert only(TradeApproved, scene.tell(proposal(1, "long", 3.0))).quantity == Decimal("3333.25")


def test_a_multiplier_makes_a_contract_of_many_units() -> None:
    scene = risk_scene(50.0, {"id": BTC, "lot_size": "1", "multiplier": "50"})
    assert only(TradeApproved, scene.tell(proposal(1, "long", 50.0))).quantity == 4


def test_a_size_that_is_cut_to_nothing_is_refused_whatever_the_smallest_notional() -> None:
    scene = risk_scene(100.0, {"id": BTC, "lot_size": "1000", "min_notional": "0"})
    assert denied(scene.tell(proposal(1, "long", 100.0))) == ("too small", "min_notional", "0", "10000")


@pytest.mark.parametrize(
    ("risk", "clamps"),
    [
        ({"max_position_pct": 10.0}, ()),
        ({"max_position_pct": 4.0}, (("max_position_pct", "4.0", "10000", "4000"),)),
        ({"max_exposure_pct": 3.0}, (("max_exposure_pct", "3.0", "10000", "3000"),)),
        ({"max_order_notional": 2500.0}, (("max_order_notional", "2500.0", "10000", "2500"),)),
        (
            {"max_position_pct": 4.0, "max_exposure_pct": 3.0, "max_order_notional": 2500.0},
            (
                ("max_position_pct", "4.0", "10000", "4000"),
                ("max_exposure_pct", "3.0", "4000", "3000"),
                ("max_order_notional", "2500.0", "3000", "2500"),
            ),
        ),
    ],
)
def test_every_cut_is_recorded(risk: dict[str, Any], clamps: tuple[tuple[str, str, str, str], ...]) -> None:
    approval = only(TradeApproved, risk_scene(**risk).tell(proposal(1, "short", 100.0)))
    expected = tuple(
        Clamp(limit=limit, value=Decimal(value), before=Decimal(before), after=Decimal(after))
        for limit, value, before, after in clamps
    )
    assert approval.clamps == expected
    assert approval.quantity == (expected[-1].after if expected else 10000) / 100


def test_what_other_instruments_hold_uses_up_the_exposure() -> None:
    scene = risk_scene(100.0, BTC, ETH, max_exposure_pct=15.0)
    assert hold(scene, "short", key=BTC) == -100
    approval = only(TradeApproved, scene.tell(proposal(1, "long", 100.0, ETH)))
    assert (approval.quantity, approval.clamps[0].limit) == (Decimal(50), "max_exposure_pct")


def test_an_entry_that_is_not_yet_filled_uses_up_the_exposure_until_it_ends() -> None:
    scene = risk_scene(100.0, BTC, ETH, max_exposure_pct=15.0)
    order = only(OrderRequested, scene.tell(proposal(1, "long", 100.0, BTC)))
    approval = only(TradeApproved, scene.tell(proposal(1, "long", 100.0, ETH)))
    assert approval.quantity == 50
    scene.tell(rejected(only(OrderRequested, scene.said[-1:])), rejected(order))
    assert only(TradeApproved, scene.tell(proposal(1.1, "long", 100.0, ETH))).quantity == 100


def test_what_an_instrument_holds_itself_does_not_stand_in_the_way_of_its_reversal() -> None:
    scene = risk_scene(max_exposure_pct=10.0)
    assert hold(scene, "long") == 100
    approval = only(TradeApproved, scene.tell(proposal(1, "short", 100.0)))
    assert (approval.side, approval.quantity, approval.reduce_only, approval.clamps) == (
        "sell",
        Decimal(200),
        False,
        (),
    )


# Prices


def test_levels_are_rounded_to_the_tick_and_the_notional_is_not() -> None:
    scene = risk_scene(100.004, {"id": BTC, "tick_size": "0.01"}, confirm_above_notional=10_000.0)
    answers = scene.tell(proposal(1, "long", 100.004, stop_price=98.128, target_price=103.999))
    approval = only(TradeApproved, answers)
    assert (str(approval.price), str(approval.stop_price), str(approval.target_price)) == ("100", "98.13", "104")
    assert approval.quantity == Decimal("99.996")


def test_a_person_is_asked_by_the_price_itself_not_by_its_tick() -> None:
    scene = risk_scene(0.0149, {"id": BTC, "tick_size": "0.01"}, confirm_above_notional=8_000.0)
    assert only(ConfirmationRequested, scene.tell(proposal(1, "long", 0.0149))).notional == Decimal(10000)


def test_nothing_is_bought_below_one_tick_but_what_is_held_can_be_sold() -> None:
    scene = risk_scene(0.02, {"id": BTC, "tick_size": "0.01"})
    hold(scene, "long", price=0.02)
    scene.tell(bar(2, 0.004))
    reason = ("price below one tick", "tick_size", "0.01", "0.004")
    answers = scene.tell(proposal(2, "flat", 0.004))
    assert only(TradeApproved, answers).price == Decimal("0.01")
    scene.tell(filled(only(OrderRequested, answers), "0.01"))
    assert denied(scene.tell(proposal(2.1, "long", 0.004))) == reason


# Refusals


def test_a_position_that_is_there_is_not_proposed_again() -> None:
    scene = risk_scene()
    assert denied(scene.tell(proposal(1, "flat", 100.0)))[0] == "already flat"
    hold(scene, "long")
    assert denied(scene.tell(proposal(1.1, "long", 100.0)))[0] == "already long"


def test_a_paused_book_opens_nothing_until_it_is_resumed() -> None:
    scene = risk_scene()
    assert only(AlertRaised, scene.tell(pause(1))).severity == "warning"
    assert denied(scene.tell(proposal(1, "long", 100.0)))[0] == "paused"
    assert only(AlertRaised, scene.tell(resume(1))).severity == "info"
    only(TradeApproved, scene.tell(proposal(1.1, "long", 100.0)))


def test_the_kill_switch_stays_pulled_until_the_book_is_resumed() -> None:
    scene = risk_scene()
    assert only(AlertRaised, scene.tell(kill(1))).severity == "critical"
    assert denied(scene.tell(proposal(1, "long", 100.0)))[0] == "kill switch"
    scene.tell(resume(1))
    only(TradeApproved, scene.tell(proposal(1.1, "long", 100.0)))


def test_what_may_not_be_shorted_is_not() -> None:
    scene = risk_scene(100.0, {"id": BTC, "shortable": False})
    assert denied(scene.tell(proposal(1, "short", 100.0)))[0] == "not shortable"


def test_no_entry_on_a_price_older_than_allowed() -> None:
    scene = risk_scene(max_price_age_s=60)
    scene.tell(rejected(only(OrderRequested, scene.tell(proposal(2, "long", 100.0)))))
    denial = ("stale price", "max_price_age_s", "60", "61")
    assert denied(scene.tell(proposal(2 + 1 / 60, "long", 100.0))) == denial


def test_so_many_entries_a_day_and_no_more() -> None:
    scene = risk_scene(max_orders_per_day=2, max_price_age_s=10**6)
    for minutes in (1, 2):
        scene.tell(rejected(only(OrderRequested, scene.tell(proposal(minutes, "long", 100.0)))))
    assert denied(scene.tell(proposal(3, "long", 100.0))) == ("too many orders", "max_orders_per_day", "2", "2")
    only(OrderRequested, scene.tell(proposal(1440, "long", 100.0)))


def test_exits_and_protection_do_not_use_up_the_day() -> None:
    scene = risk_scene(max_orders_per_day=2)
    for minutes in (1, 2):
        [entry] = all_of(OrderRequested, scene.tell(proposal(minutes, "long", 100.0, stop_price=90.0)))
        scene.tell(filled(entry, 100))
        exit_order = all_of(OrderRequested, scene.tell(proposal(minutes + 0.5, "flat", 100.0)))[-1]
        assert exit_order.role == "exit"
        scene.tell(filled(exit_order, 100))
    assert denied(scene.tell(proposal(3, "long", 100.0)))[0] == "too many orders"


def test_one_order_at_a_time() -> None:
    scene = risk_scene()
    order = only(OrderRequested, scene.tell(proposal(1, "long", 100.0)))
    assert denied(scene.tell(proposal(1.1, "short", 100.0)))[0] == "an order is under way"
    scene.tell(filled(order, 100))
    only(OrderRequested, scene.tell(proposal(1.2, "flat", 100.0)))
    assert denied(scene.tell(proposal(1.3, "flat", 100.0)))[0] == "already closing"


@pytest.mark.parametrize("halt", [pause(1), kill(1)], ids=["paused", "killed"])
@pytest.mark.parametrize(
    ("held", "wanted"), [("long", "flat"), ("short", "flat"), ("long", "short"), ("short", "long")]
)
def test_exits_are_always_allowed_and_a_reversal_becomes_one(halt: Event, held: str, wanted: str) -> None:
    scene = risk_scene()
    quantity = hold(scene, held)
    answers = scene.tell(halt)
    if isinstance(halt, type(pause(1))):
        answers = scene.tell(proposal(9000, wanted, 100.0))
    approval = only(TradeApproved, answers)
    assert approval.reduce_only
    assert (approval.side, approval.quantity) == ("sell" if quantity > 0 else "buy", abs(quantity))
    assert (approval.stop_price, approval.target_price) == (None, None)
    assert [clamp.limit for clamp in approval.clamps] == (["paused"] if wanted != "flat" and halt.id[4] == "P" else [])


def test_a_reversal_too_small_to_open_closes_and_says_so() -> None:
    scene = risk_scene(100.0, {"id": BTC, "min_notional": "500"})
    assert hold(scene, "long") == 100
    approval = only(TradeApproved, scene.tell(proposal(1.1, "short", 100.0, conviction=0.01)))
    assert (approval.reduce_only, approval.quantity, approval.clamps[-1].limit) == (True, Decimal(100), "min_notional")


# Confirmation


def asked(
    scene: Scene, minutes: float = 1, target: str = "long", key: str = BTC, **other: Any
) -> ConfirmationRequested:
    return only(ConfirmationRequested, scene.tell(proposal(minutes, target, 100.0, key, **other)))


def confirm_scene(*instruments: str, **risk: Any) -> Scene:
    return risk_scene(100.0, *instruments, confirm_above_notional=5_000.0, **risk)


def test_a_large_trade_waits_for_a_person_and_is_approved_as_it_was() -> None:
    scene = confirm_scene(max_position_pct=8.0)
    request = asked(scene, stop_price=90.0)
    assert (request.side, request.quantity, request.notional) == ("buy", Decimal(80), Decimal(8000))
    assert request.expires_at == at(6) == scene.desk.due
    answers = scene.tell(confirm(2, request.id))
    assert kinds(answers) == ["TradeApproved", "OrderRequested"]
    approval = only(TradeApproved, answers)
    assert (approval.proposal, approval.quantity, approval.stop_price) == (request.proposal, Decimal(80), Decimal(90))
    assert [clamp.limit for clamp in approval.clamps] == ["max_position_pct"]
    assert not risk_of(scene).state.waiting


def test_a_small_trade_and_an_exit_wait_for_nobody() -> None:
    scene = confirm_scene()
    scene.tell(filled(only(OrderRequested, scene.tell(proposal(1, "long", 100.0, conviction=0.5))), 100))
    scene.tell(bar(2, 1000.0))
    assert only(OrderRequested, scene.tell(proposal(2, "flat", 1000.0))).role == "exit"


def test_a_declined_trade_is_rejected() -> None:
    scene = confirm_scene()
    request = asked(scene)
    assert denied(scene.tell(decline(2, request.id)))[0] == "declined by ann"
    assert only(AlertRaised, scene.tell(confirm(2, request.id))).severity == "warning"
    assert scene.tell(decline(3, request.id)) == []


def test_what_nobody_confirms_in_time_lapses() -> None:
    scene = confirm_scene(max_price_age_s=10**6)
    request = asked(scene)
    before = risk_of(scene).state.due
    assert before == request.expires_at
    assert all_of(TradeRejected, scene.tell(clock(5.99))) == []
    assert only(TradeRejected, scene.tell(clock(6))).reason == "not confirmed in time"
    assert risk_of(scene).state.due == NEVER
    assert only(AlertRaised, scene.tell(confirm(6.1, request.id))).text.endswith("nothing was traded")


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        ([pause(1.5)], "paused"),
        (
            [trade(1.4, 100.0, 1), rules(1.5, max_orders_per_day=1), proposal(1.6, "long", 100.0, ETH)],
            "too many orders",
        ),
        ([clock(1.5)], "stale price"),
    ],
)
def test_a_confirmed_trade_is_held_against_the_limits_of_the_moment(between: list[Event], reason: str) -> None:
    scene = confirm_scene(BTC, ETH, max_price_age_s=60)
    request = asked(scene)
    scene.tell(*between)
    if reason == "too many orders":
        scene.tell(confirm(1.7, only(ConfirmationRequested, scene.said[-1:]).id))
    late = 2.5 if reason == "stale price" else 1.8
    assert denied(scene.tell(confirm(late, request.id)))[0] == reason


def test_a_confirmed_trade_is_cut_to_what_is_left_of_the_exposure() -> None:
    scene = confirm_scene(BTC, ETH, max_exposure_pct=15.0)
    first, second = asked(scene, key=BTC), asked(scene, key=ETH)
    assert only(TradeApproved, scene.tell(confirm(1.5, first.id))).quantity == 100
    approval = only(TradeApproved, scene.tell(confirm(1.6, second.id)))
    assert (approval.quantity, approval.clamps[-1].limit) == (Decimal(50), "max_exposure_pct")


def test_a_confirmed_trade_is_cut_at_the_price_of_the_moment() -> None:
    scene = confirm_scene(max_position_pct=10.0)
    request = asked(scene)
    scene.tell(bar(2, 125.0))
    approval = only(TradeApproved, scene.tell(confirm(2, request.id)))
    assert (approval.quantity, approval.price) == (Decimal(80), Decimal(125))


def test_a_confirmed_trade_needs_the_position_that_it_was_sized_for() -> None:
    scene = confirm_scene()
    scene.tell(
        filled(only(OrderRequested, scene.tell(proposal(1, "long", 100.0, conviction=0.5, stop_price=90.0))), 100)
    )
    stop = only(OrderRequested, scene.said[-1:])
    request = asked(scene, 1.1, "short")
    assert (request.side, request.quantity) == ("sell", Decimal(150))
    scene.tell(filled(stop, 90))
    assert denied(scene.tell(confirm(1.2, request.id)))[0] == "the position has changed since"


def test_a_newer_proposal_takes_the_place_of_one_that_waits() -> None:
    scene = confirm_scene()
    first = asked(scene)
    answers = scene.tell(proposal(1.1, "long", 100.0))
    assert kinds(answers) == ["TradeRejected", "ConfirmationRequested"]
    assert only(TradeRejected, answers).proposal == first.proposal
    assert only(AlertRaised, scene.tell(confirm(1.2, first.id))).severity == "warning"
    only(OrderRequested, scene.tell(confirm(1.2, only(ConfirmationRequested, answers).id)))


def test_the_kill_switch_refuses_what_waits() -> None:
    scene = confirm_scene()
    request = asked(scene)
    assert only(TradeRejected, scene.tell(kill(2))).proposal == request.proposal
    assert risk_of(scene).state.due == NEVER


# Rules


def test_changed_rules_hold_from_here_on_and_after_a_restart() -> None:
    scene = risk_scene()
    assert scene.tell(rules(1, order_pct=5.0, max_orders_per_day=3.0, confirm_within_s=30.0)) == []
    other = Scene(scene.desk.book)
    other.desk.restore(scene.snapshot())
    for limits in (risk_of(scene).limits, risk_of(other).limits):
        assert (limits.order_pct, limits.max_orders_per_day, limits.confirm_within_s) == (5.0, 3, 30)
        assert type(limits.max_orders_per_day) is int
    assert only(TradeApproved, scene.tell(proposal(1, "long", 100.0))).quantity == 50


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"order_pct": 0.0}, "order_pct"),
        ({"order_pct": 5.0, "typo": 1.0}, "typo"),
        ({"order_quantity": 1.0}, "order_quantity"),
        ({"scale_by_conviction": 1.0}, "scale_by_conviction"),
        ({"max_orders_per_day": 0.5}, "max_orders_per_day"),
        ({"confirm_within_s": 0.0}, "confirm_within_s"),
        ({"x" * 500 + str(i): 1.0 for i in range(100)}, "xxx"),
    ],
)
def test_a_rule_that_cannot_be_changes_nothing_and_is_an_alert(changes: dict[str, float], named: str) -> None:
    scene = risk_scene()
    before = scene.desk.snapshot()
    alert = only(AlertRaised, scene.tell(rules(1, **changes)))
    assert alert.severity == "warning"
    assert named in alert.text
    assert risk_of(scene).limits == scene.desk.book.risk
    assert risk_of(scene).state.rules == {}
    assert len(scene.desk.snapshot()) - len(before) < 600, "only the id of the event is remembered"


# No approval past a limit, whatever is proposed: the witness of the scene checks each


@st.composite
def risky_books(draw: st.DrawFn) -> Book:
    steps = ["0.001", "0.25", "1", "3"]
    instruments = [
        {
            "id": name,
            "lot_size": draw(st.sampled_from(steps)),
            "tick_size": draw(st.sampled_from(["0.01", "5"])),
            "multiplier": draw(st.sampled_from(["1", "0.1", "50"])),
            "min_notional": draw(st.sampled_from(["0", "1", "700"])),
            "shortable": draw(st.booleans()),
        }
        for name in (BTC, ETH)
    ]
    limit = st.floats(0.1, 200.0)
    return make_book(
        instruments,
        risk={
            "order_pct": draw(limit),
            "order_quantity": draw(st.sampled_from([None, "0.5", "12"])),
            "max_position_pct": draw(limit),
            "max_exposure_pct": draw(limit),
            "max_order_notional": draw(st.none() | st.floats(1.0, 1e5)),
            "max_orders_per_day": draw(st.none() | st.integers(1, 3)),
            "confirm_above_notional": draw(st.none() | st.floats(1.0, 1e5)),
        },
    )


steps_of_a_day = st.tuples(
    st.sampled_from([BTC, ETH]),
    st.sampled_from(["long", "short", "flat"]),
    st.floats(0.0, 1.0),
    st.floats(0.5, 2.0),
    st.sampled_from(["fill", "fill", "wait", "reject", "pause", "resume", "confirm"]),
)


@given(risky_books(), st.lists(steps_of_a_day, min_size=1, max_size=25))
def test_no_approval_exceeds_any_limit(book: Book, day: list[tuple[str, str, float, float, str]]) -> None:
    scene = Scene(book)
    scene.tell(clock(0))
    prices = {BTC: 100.0, ETH: 3.0}
    waiting: list[str] = []
    for minute, (key, target, conviction, move, what) in enumerate(day, start=1):
        prices[key] = min(1e6, max(1e-3, prices[key] * move))
        scene.tell(*(bar(minute, price, key=name) for name, price in prices.items()))
        if what in ("pause", "resume"):
            scene.tell(pause(minute) if what == "pause" else resume(minute))
        answers = scene.tell(proposal(minute, target, prices[key], key, conviction=conviction))
        waiting += [request.id for request in all_of(ConfirmationRequested, answers)]
        if what == "confirm" and waiting:
            answers += scene.tell(confirm(minute, waiting.pop(0)))
        for order in all_of(OrderRequested, answers):
            if what != "wait":
                price = prices[order.instrument]
                scene.tell(rejected(order) if what == "reject" else filled(order, str(price)))


def test_the_scene_notices_an_approval_past_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = risk_scene(max_position_pct=5.0)
    monkeypatch.setattr(risk_of(scene), "_bounds", lambda *_: [])
    with pytest.raises(AssertionError):
        scene.tell(proposal(1, "long", 100.0))
