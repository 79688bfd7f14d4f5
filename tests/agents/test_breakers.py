"""What trips a breaker, what that forbids and what it leaves alone, and when it closes again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.agent import NEVER
from schemas.codec import decode, encode
from schemas.decisions import BreakerReset, BreakerTripped, TradeApproved, TradeRejected
from schemas.execution import OrderRequested
from schemas.fields import MAX_PRICE, MIN_PRICE
from schemas.verdicts import VerdictRequested
from tests.agents.answers import filled, no_verdict, proposal, verdict
from tests.agents.builders import BTC, ETH, at, bar, clock, make_book, resume
from tests.agents.scene import Scene, all_of, kinds, only

DAY = 1440


def breaker_scene(start: float = 0, price: float = 100.0, **breakers: Any) -> Scene:
    """A book of 100,000 in two instruments that trades half of its equity at a time, nothing open yet."""
    risk = {"order_pct": 50.0, "max_position_pct": 90.0, "max_exposure_pct": 200.0, "max_price_age_s": 10**6}
    scene = Scene(make_book([BTC, ETH], 2, risk=risk, breakers={"cooldown_min": 10} | breakers))
    scene.tell(clock(start), bar(start + 1, price), bar(start + 1, price, key=ETH))
    return scene


def trade_at(scene: Scene, minutes: float, target: str, price: float, fee: str = "0", parts: int = 1) -> None:
    """Get into a position at a price, in so many fills."""
    order = only(OrderRequested, scene.tell(bar(minutes, price), proposal(minutes, target, price)))
    share = order.quantity / parts
    for number in range(parts):
        scene.tell(filled(order, price, share, fee=fee, number=number))


def refused(scene: Scene, minutes: float, key: str = BTC, price: float = 100.0) -> str:
    """Name the breaker that refuses an entry; empty where it is let through."""
    answers = scene.tell(proposal(minutes, "long", price, key))
    if all_of(TradeApproved, answers):
        return ""
    rejected = only(TradeRejected, answers)
    assert rejected.reason == "breaker"
    return rejected.limit


# The worth of the book


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_daily_loss_trips_once_past_the_limit_and_holds_until_midnight(side: str) -> None:
    sign = 1 if side == "long" else -1
    scene = breaker_scene(max_daily_loss_pct=1.0)
    trade_at(scene, 2, side, 100.0)
    assert scene.desk.portfolio.quantity(0) == sign * 500
    assert scene.tell(bar(3, 100.0 - sign * 2.0)) == [], "a loss of exactly the limit is no breach"
    tripped = only(BreakerTripped, scene.tell(bar(4, 100.0 - sign * 2.5)))
    assert (tripped.rule, tripped.limit, tripped.until, tripped.key) == ("daily_loss", 1.0, at(DAY), "book")
    assert tripped.value == pytest.approx(1.25)
    assert scene.tell(bar(5, 100.0 - sign * 9.0)) == [], "once"
    assert refused(scene, 6, ETH) == "daily_loss"
    assert only(TradeApproved, scene.tell(proposal(7, "flat", 100.0 - sign * 9.0))).reduce_only
    assert all_of(BreakerReset, scene.tell(clock(DAY - 0.01))) == []
    reset = only(BreakerReset, scene.tell(clock(DAY)))
    assert (reset.rule, reset.reason) == ("daily_loss", "new_day")
    assert refused(scene, DAY + 1, ETH) == ""


def test_a_day_counts_from_its_own_midnight() -> None:
    scene = breaker_scene(max_daily_loss_pct=1.0)
    trade_at(scene, 2, "long", 100.0)
    scene.tell(bar(3, 98.5), clock(DAY))
    assert all_of(BreakerTripped, scene.tell(bar(DAY + 1, 97.0))) == []
    assert only(BreakerTripped, scene.tell(bar(DAY + 2, 96.0))).value == pytest.approx(100 * 1_250 / 99_250)


def test_a_drawdown_counts_from_the_highest_worth_and_waits_for_an_operator() -> None:
    scene = breaker_scene(max_drawdown_pct=5.0)
    trade_at(scene, 2, "long", 100.0)
    scene.tell(bar(3, 120.0))
    assert scene.tell(bar(4, 109.0)) == []
    tripped = only(BreakerTripped, scene.tell(bar(5, 108.9)))
    assert (tripped.rule, tripped.until) == ("drawdown", 0)
    assert tripped.value == pytest.approx(100 * (1 - 104_450 / 110_000))
    assert all_of(BreakerReset, scene.tell(clock(3 * DAY))) == []
    assert refused(scene, 3 * DAY + 1, ETH) == "drawdown"
    answers = scene.tell(resume(3 * DAY + 2))
    assert only(BreakerReset, answers).reason == "operator"
    assert scene.tell(bar(3 * DAY + 3, 108.0)) == [], "the drawdown counts from where the operator looked"
    assert refused(scene, 3 * DAY + 4, ETH) == ""
    assert only(BreakerTripped, scene.tell(bar(3 * DAY + 5, 98.0))).rule == "drawdown"


def test_one_fall_may_trip_several_rules_and_the_operator_resets_them_all() -> None:
    scene = breaker_scene(max_drawdown_pct=5.0, max_daily_loss_pct=5.0, flash_move_pct=5.0)
    trade_at(scene, 2, "long", 100.0)
    answers = scene.tell(bar(3, 50.0))
    assert [trip.rule for trip in all_of(BreakerTripped, answers)] == ["drawdown", "daily_loss", "flash_move"]
    resets = all_of(BreakerReset, scene.tell(resume(4)))
    assert [(reset.rule, reset.key) for reset in resets] == [
        ("drawdown", "book"),
        ("daily_loss", "book"),
        ("flash_move", BTC),
    ]
    assert scene.tell(bar(5, 50.0)) == []


# Spikes


@pytest.mark.parametrize("move", [1.04, 0.96])
def test_a_spike_halts_its_instrument_for_a_while_and_no_other(move: float) -> None:
    scene = breaker_scene(flash_move_pct=3.0)
    tripped = only(BreakerTripped, scene.tell(bar(2, 100.0 * move)))
    assert (tripped.rule, tripped.key, tripped.until, tripped.limit) == ("flash_move", BTC, at(12), 3.0)
    assert tripped.value == pytest.approx(4.0)
    assert scene.desk.due <= at(12)
    assert scene.tell(bar(3, 200.0)) == [], "halted already"
    assert refused(scene, 3, BTC, 200.0) == "flash_move"
    assert refused(scene, 3, ETH) == ""
    assert all_of(BreakerReset, scene.tell(clock(11.99))) == []
    assert only(BreakerReset, scene.tell(clock(12))).reason == "cooldown"
    assert refused(scene, 13, BTC, 200.0) == ""


def test_a_halted_instrument_may_still_be_left() -> None:
    scene = breaker_scene(flash_move_pct=3.0)
    trade_at(scene, 2, "long", 100.0)
    scene.tell(bar(3, 90.0))
    approval = only(TradeApproved, scene.tell(proposal(3, "short", 90.0)))
    assert approval.reduce_only, "a reversal becomes an exit"
    assert [clamp.limit for clamp in approval.clamps] == ["breaker"]


def test_a_move_within_the_limit_is_no_spike() -> None:
    scene = breaker_scene(flash_move_pct=3.0)
    assert scene.tell(bar(2, 102.9), bar(3, 100.0)) == []


# Streaks


def test_losing_trades_in_a_row_trip_and_a_winner_ends_the_row() -> None:
    scene = breaker_scene(max_losing_streak=2)
    minute = 2.0
    for entry, leave in ((100.0, 99.0), (99.0, 100.0), (100.0, 99.0)):
        trade_at(scene, minute, "long", entry)
        trade_at(scene, minute + 1, "flat", leave)
        minute += 2
    assert all_of(BreakerTripped, scene.said) == []
    trade_at(scene, minute, "short", 99.0)
    trade_at(scene, minute + 1, "flat", 99.5)
    tripped = only(BreakerTripped, scene.said)
    assert (tripped.rule, tripped.limit, tripped.value) == ("losing_streak", 2.0, 2.0)
    assert tripped.until == at(minute + 1 + 10)
    assert refused(scene, minute + 2, BTC, 99.5) == "losing_streak"
    scene.tell(clock(minute + 11))
    assert refused(scene, minute + 12, BTC, 99.5) == ""


def test_a_trade_that_is_closed_in_many_fills_is_one_trade() -> None:
    scene = breaker_scene(max_losing_streak=2)
    trade_at(scene, 2, "long", 100.0, parts=5)
    trade_at(scene, 3, "flat", 99.0, parts=5)
    assert all_of(BreakerTripped, scene.said) == []
    trade_at(scene, 4, "long", 99.0)
    trade_at(scene, 5, "flat", 98.0, parts=4)
    assert only(BreakerTripped, scene.said).value == 2


@pytest.mark.parametrize(("fee", "lost"), [("0", False), ("200", False), ("300", True)])
def test_a_gain_that_the_fees_eat_up_is_a_loss(fee: str, lost: bool) -> None:
    scene = breaker_scene(max_losing_streak=1)
    trade_at(scene, 2, "long", 100.0, fee=fee)
    trade_at(scene, 3, "flat", 101.0, fee=fee)
    assert scene.desk.portfolio.state.realised == Decimal(500)
    assert bool(all_of(BreakerTripped, scene.said)) is lost


def test_a_reversal_ends_one_trade_and_begins_the_next() -> None:
    scene = breaker_scene(max_losing_streak=2)
    trade_at(scene, 2, "long", 100.0)
    trade_at(scene, 3, "short", 99.0)
    assert all_of(BreakerTripped, scene.said) == []
    trade_at(scene, 4, "flat", 100.0)
    assert only(BreakerTripped, scene.said).rule == "losing_streak"


# Models


def ask_all(scene: Scene, minutes: float, kind: str) -> list[str]:
    """Put a question and have it answered so; give the rules that this trips."""
    scene.tell(bar(minutes - 0.1, 100.0))
    requests = all_of(VerdictRequested, scene.tell(clock(minutes)))
    assert len(requests) == 2
    answers = [
        no_verdict(request) if kind == "fail" else verdict(request, "BUY" if i and kind == "split" else "HOLD")
        for i, request in enumerate(requests)
    ]
    return [trip.rule for trip in all_of(BreakerTripped, scene.tell(*answers, clock(minutes + 0.5)))]


def test_models_that_fail_in_a_row_are_an_outage_until_it_has_cooled_down() -> None:
    scene = breaker_scene(max_failed_votes=2)
    scene.tell(clock(15))
    assert [ask_all(scene, 30 + 15 * i, kind) for i, kind in enumerate(["fail", "split", "fail", "agree", "fail"])] == [
        []
    ] * 5
    assert ask_all(scene, 105, "fail") == ["model_outage"]
    assert refused(scene, 106) == "model_outage"
    assert "BreakerReset" in kinds(scene.tell(clock(116)))
    assert refused(scene, 116) == ""


# Off


def test_without_limits_nothing_trips_and_nothing_is_waited_for() -> None:
    scene = breaker_scene()
    trade_at(scene, 2, "long", 100.0)
    scene.tell(bar(3, 10.0), bar(4, 1000.0))
    trade_at(scene, 5, "flat", 1.0)
    assert all_of(BreakerTripped, scene.said) == []
    assert scene.desk.breakers.state.due == NEVER


# Against the definitions


@given(st.lists(st.floats(0.9, 1.1), min_size=1, max_size=30), st.sampled_from(["long", "short"]))
def test_breakers_trip_at_the_first_price_past_their_limit(moves: list[float], side: str) -> None:
    scene = breaker_scene(max_drawdown_pct=4.0, max_daily_loss_pct=3.0)
    trade_at(scene, 2, side, 100.0)
    sign = 500 if side == "long" else -500
    price, peak, open_rules = 100.0, 100_000.0, {"drawdown", "daily_loss"}
    for minute, move in enumerate(moves, start=3):
        price *= move
        equity = 100_000.0 + sign * (price - 100.0)
        peak = max(peak, equity)
        falls = {"drawdown": 100 * (1 - equity / peak) - 4.0, "daily_loss": 100 * (1 - equity / 100_000.0) - 3.0}
        answers = {trip.rule for trip in all_of(BreakerTripped, scene.tell(bar(minute, price)))}
        for rule, past in falls.items():
            if abs(past) > 1e-9:
                assert (rule in answers) == (past > 0 and rule in open_rules)
        open_rules -= answers


@pytest.mark.parametrize("end", [0.99, 1.0])
def test_prices_at_their_bounds_neither_stop_a_book_nor_make_an_event_that_cannot_be_read(end: float) -> None:
    """A price of 1e300 after one of 1e-300 made an infinite move, which no log can hold."""
    lowest, highest = MIN_PRICE / end, MAX_PRICE * end
    strategy = {"fast_brain": "ema_cross", "stop_atr": 50.0, "target_atr": 99.0}
    scene = Scene(make_book([BTC], models=0, breakers={"flash_move_pct": 20.0}, strategy=strategy))
    said = scene.market([lowest, highest, lowest, 1.0, highest, highest, 1e-12, 1e7, lowest] * 20)
    assert {"BreakerTripped", "TradeProposed"} <= set(kinds(said))
    for event in said:
        assert decode(encode(event)) == event
