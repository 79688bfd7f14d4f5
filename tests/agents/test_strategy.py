"""What position each moment calls for, in the three modes; and that each is asked for once."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from agents import features as f
from agents import layout
from agents.agent import NEVER
from agents.layout import Rules, Signal
from agents.rules import fast_brain, target_of
from schemas.base import Event
from schemas.decisions import TradeApproved, TradeProposed, TradeRejected
from schemas.execution import CancelRequested, OrderRequested
from tests.agents.answers import canceled, filled, rejected, vote
from tests.agents.builders import BTC, ETH, at, bar, clock, kill, make_book, pause, resume
from tests.agents.scene import Scene, all_of, only

RISING, FALLING = [100.0, 101.0, 102.0, 103.0], [100.0, 99.0, 98.0, 97.0]
"""Four bars are what the fast brain needs here; after them its fast average stands over or under its slow one."""


def scene_of(mode: str, fast: str = "ema_cross", models: int = 3, **sections: Any) -> Scene:
    strategy = {"mode": mode, "fast_brain": fast, **sections.pop("strategy", {})}
    risk = {"max_price_age_s": 10**6, **sections.pop("risk", {})}
    scene = Scene(make_book(models=models, strategy=strategy, risk=risk, **sections))
    scene.tell(clock(0))
    return scene


def targets(answers: list[Event]) -> list[str]:
    return [proposal.target for proposal in all_of(TradeProposed, answers)]


def fill_all(scene: Scene, answers: list[Event], price: float = 100.0) -> list[Event]:
    return scene.tell(*(filled(o, price) for o in all_of(OrderRequested, answers) if o.order_type == "market"))


# The rule, in full


def expected_target(mode: str, fast: bool, cross: int, bias: int, strong: bool, intent: int, hold_exits: bool) -> int:
    """What the module's docstring promises, said without the code's arithmetic."""
    if mode == "advisory":
        if cross in (0, intent):
            return intent
        vetoed = bias in (layout.BUY, layout.SELL) and bias == -cross
        return 0 if vetoed else cross
    if bias == layout.NO_BIAS:
        return intent
    if bias == layout.HOLD:
        return 0 if hold_exits else intent
    agreed = not fast or cross == bias
    overridden = mode == "override" and strong
    if agreed or overridden:
        return bias
    return 0 if intent == -bias else intent


@pytest.mark.parametrize("mode", ["consensus", "override", "advisory"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("hold_exits", [True, False])
def test_every_moment_calls_for_one_position(mode: str, fast: bool, hold_exits: bool) -> None:
    rules = Rules(("consensus", "override", "advisory").index(mode), int(fast), 4, int(hold_exits))
    biases = (layout.NO_BIAS, layout.BUY, layout.SELL, layout.HOLD)
    sides = (-1, 0, 1)
    for cross, bias, strong, intent in product(sides if fast else (0,), biases, (False, True), sides):
        target = expected_target(mode, fast, cross, bias, strong, intent, hold_exits)
        for shortable, killed in product((True, False), (True, False)):
            signal = Signal(bias, int(strong), intent, int(shortable), int(killed))
            allowed = 0 if killed or (target == -1 and not shortable) else target
            assert target_of(cross, signal, rules) == allowed


@pytest.mark.parametrize(
    ("closes", "points"), [(RISING, 1), (FALLING, -1), ([100.0] * 4, 0), (RISING[:3], 0), ([*RISING, 90.0], -1)]
)
def test_the_fast_brain_points_where_the_fast_average_stands(closes: list[float], points: int) -> None:
    scene = scene_of("advisory", models=0)
    scene.market(closes)
    bars, fast, slow = scene.desk.features.state.rows[0, [f.BARS, f.EMA_FAST, f.EMA_SLOW]].tolist()
    assert fast_brain(bars, fast, slow, Rules(layout.ADVISORY, 1, 4, 0)) == points
    assert fast_brain(bars, fast, slow, Rules(layout.ADVISORY, 0, 4, 0)) == 0


# Mode consensus


def test_consensus_enters_when_both_brains_agree_whoever_comes_first() -> None:
    fast_first = scene_of("consensus")
    assert targets(fast_first.market(RISING)) == []
    assert targets(fast_first.tell(vote(4, "BUY"))) == ["long"]
    slow_first = scene_of("consensus")
    assert targets(slow_first.tell(vote(0.5, "BUY"))) == []
    assert targets(slow_first.market(RISING)) == ["long"]


def test_consensus_leaves_when_the_vote_turns_and_enters_the_other_way_when_both_do() -> None:
    scene = scene_of("consensus")
    scene.market(RISING)
    fill_all(scene, scene.tell(vote(4, "BUY")), 103)
    answers = scene.tell(vote(5, "SELL"))
    assert targets(answers) == ["flat"]
    fill_all(scene, answers, 103)
    assert targets(scene.market([103.0], 6)) == []
    assert targets(scene.market([90.0], 7)) == ["short"]


@pytest.mark.parametrize(("hold_exits", "expected"), [(True, ["flat"]), (False, [])])
def test_a_vote_to_hold_closes_only_where_the_book_says_so(hold_exits: bool, expected: list[str]) -> None:
    scene = scene_of("consensus", "none", strategy={"hold_exits": hold_exits})
    scene.market(RISING)
    fill_all(scene, scene.tell(vote(4, "SELL")), 103)
    assert targets(scene.tell(vote(5, "HOLD"))) == expected


def test_nothing_is_proposed_before_a_bar_has_closed() -> None:
    scene = scene_of("consensus", "none")
    assert targets(scene.tell(vote(0.5, "BUY"))) == []
    assert targets(scene.market([100.0])) == ["long"]


# Mode override


@pytest.mark.parametrize(("confidence", "expected"), [(0.8, ["long"]), (0.79, [])])
def test_override_acts_at_once_on_a_confident_vote_against_the_fast_brain(
    confidence: float, expected: list[str]
) -> None:
    scene = scene_of("override")
    scene.market(FALLING)
    assert targets(scene.tell(vote(4, "BUY", confidence=confidence))) == expected


# Mode advisory


def test_advisory_follows_the_fast_brain_and_reverses_with_it() -> None:
    scene = scene_of("advisory", models=0)
    answers = scene.market(RISING)
    assert targets(answers) == ["long"]
    fill_all(scene, answers, 103)
    answers = scene.market([90.0], 5)
    assert targets(answers) == ["short"]
    assert only(TradeApproved, answers).reduce_only is False


def test_advisory_lets_the_vote_veto_an_entry_but_not_hold_a_position_back() -> None:
    scene = scene_of("advisory", strategy={"bias_ttl_min": 3})
    scene.tell(vote(3.5, "SELL"))
    assert targets(scene.market(RISING)) == []
    scene.tell(clock(6.5))
    answers = scene.market([104.0], 7)
    assert targets(answers) == ["long"], "the vote has lapsed"
    fill_all(scene, answers, 104)
    assert targets(scene.tell(vote(8, "SELL"))) == []
    scene.tell(vote(8.5, "BUY"))
    assert targets(scene.market([80.0], 9)) == ["flat"], "an exit whose reversal is vetoed"


# Once, and no more


def test_a_refused_proposal_is_not_made_again_until_the_next_vote() -> None:
    scene = scene_of("consensus", "none")
    scene.market(RISING)
    scene.tell(pause(4))
    assert targets(scene.tell(vote(4, "BUY"))) == ["long"]
    scene.tell(resume(5))
    assert targets(scene.market([104.0, 105.0, 106.0], 5)) == []
    assert targets(scene.tell(vote(9, "BUY"))) == ["long"]


def test_nothing_is_proposed_while_an_order_is_under_way() -> None:
    scene = scene_of("advisory", models=0)
    order = only(OrderRequested, scene.market(RISING))
    assert targets(scene.market([90.0, 80.0], 5)) == []
    scene.tell(filled(order, 103))
    assert targets(scene.market([79.0], 7)) == ["short"]


@pytest.mark.parametrize(("action", "hold_exits"), [("SELL", False), ("HOLD", True)])
def test_a_vote_that_turns_while_the_entry_is_under_way_closes_it_once_filled(action: str, hold_exits: bool) -> None:
    scene = scene_of("consensus", strategy={"hold_exits": hold_exits})
    scene.market(RISING)
    order = only(OrderRequested, scene.tell(vote(4, "BUY")))
    assert targets(scene.tell(vote(4.1, action))) == []
    scene.tell(filled(order, 103))
    assert targets(scene.market([104.0], 5)) == ["flat"]


def test_a_stop_uses_up_the_vote_and_only_a_new_one_enters_again() -> None:
    scene = scene_of("consensus", "none", strategy={"stop_atr": 1.0})
    scene.market(RISING)
    [entry] = all_of(OrderRequested, scene.tell(vote(4, "BUY")))
    stop = only(OrderRequested, scene.tell(filled(entry, 103)))
    assert stop.role == "stop"
    scene.tell(filled(stop, 100))
    assert scene.desk.strategy.state.votes == [None]
    assert targets(scene.market([101.0, 102.0, 103.0], 5)) == []
    assert targets(scene.tell(vote(8, "BUY"))) == ["long"]


def test_a_reversal_that_fills_in_two_halves_keeps_the_vote_behind_it() -> None:
    scene = scene_of("consensus", "none", risk={"scale_by_conviction": False, "order_quantity": "10"})
    scene.market(RISING)
    fill_all(scene, scene.tell(vote(4, "BUY")), 103)
    order = only(OrderRequested, scene.tell(vote(5, "SELL")))
    assert order.quantity == 20
    scene.tell(filled(order, 103, "10"))
    assert scene.desk.portfolio.quantity(0) == 0
    assert scene.desk.strategy.state.votes[0] is not None
    scene.tell(filled(order, 103, "10", number=1))
    assert scene.desk.strategy.state.votes[0] is not None


# Time


def test_a_bias_lapses_unless_a_vote_renews_it() -> None:
    scene = scene_of("consensus", strategy={"bias_ttl_min": 10})
    scene.tell(vote(1, "BUY"), clock(9))
    assert scene.desk.strategy.state.due == at(11)
    scene.tell(vote(9, "BUY"), clock(18.9))
    assert targets(scene.market(RISING, 10)) == ["long"]
    lapsed = scene_of("consensus", strategy={"bias_ttl_min": 10})
    lapsed.tell(vote(1, "BUY"), clock(11))
    assert lapsed.desk.strategy.state.due == NEVER
    assert targets(lapsed.market(RISING, 12)) == []


def test_a_bias_of_one_instrument_is_none_of_another() -> None:
    book = make_book([BTC, ETH], strategy={"mode": "consensus", "bias_ttl_min": 10})
    scene = Scene(book)
    scene.tell(clock(0), bar(1, 100.0), bar(1, 10.0, key=ETH))
    assert [p.key for p in all_of(TradeProposed, scene.tell(vote(1, "BUY", ETH), vote(3, "SELL", BTC)))] == [ETH, BTC]
    scene.tell(clock(11))
    assert scene.desk.strategy.state.due == at(13)


# The proposal


@pytest.mark.parametrize(
    ("action", "given", "stop", "target"),
    [
        ("BUY", {}, 103.0 - 2.0, 103.0 + 3.0),
        ("SELL", {}, 103.0 + 2.0, 103.0 - 3.0),
        ("BUY", {"stop_price": 99.0}, 99.0, 106.0),
        ("BUY", {"target_price": 110.0}, 101.0, 110.0),
        ("BUY", {"stop_price": 110.0, "target_price": 90.0}, None, None),
        ("SELL", {"stop_price": 103.0}, None, 100.0),
    ],
)
def test_levels_come_from_the_vote_or_from_the_range_and_lie_on_their_side(
    action: str, given: dict[str, Any], stop: float | None, target: float | None
) -> None:
    scene = scene_of("consensus", "none", strategy={"stop_atr": 2.0, "target_atr": 3.0})
    scene.market(RISING)
    proposal = only(TradeProposed, scene.tell(vote(4, action, **given)))
    atr = float(scene.desk.features.state.rows[0, f.ATR])
    assert atr > 0.0

    def scaled(level: float | None) -> float | None:
        return level if level is None or level in given.values() else 103.0 + (level - 103.0) * atr

    assert (proposal.stop_price, proposal.target_price) == pytest.approx((scaled(stop), scaled(target)))


@pytest.mark.parametrize(
    ("mode", "models", "given", "conviction"),
    [
        ("consensus", 3, {"confidence": 0.6}, 0.6),
        ("consensus", 3, {"confidence": 0.6, "size_hint": 0.5}, 0.3),
        ("consensus", 3, {"confidence": 0.6, "size_hint": 0.0}, 0.0),
        ("advisory", 3, None, 0.5),
        ("advisory", 0, None, 1.0),
    ],
)
def test_conviction_is_the_confidence_of_the_vote(
    mode: str, models: int, given: dict[str, Any] | None, conviction: float
) -> None:
    scene = scene_of(mode, models=models)
    answers = scene.market(RISING)
    if given is not None:
        answers = scene.tell(vote(4, "BUY", **given))
    proposal = only(TradeProposed, answers)
    assert proposal.conviction == pytest.approx(conviction)
    assert (proposal.price, proposal.mode) == (103.0, mode)
    assert "EMA 2 above EMA 4" in proposal.reason
    assert bool(proposal.consensus) == (given is not None)


# The kill switch


def killed_scene(**sections: Any) -> Scene:
    scene = scene_of("consensus", "none", **sections)
    scene.market(RISING)
    return scene


def test_the_kill_switch_closes_what_is_open_and_opens_nothing() -> None:
    scene = killed_scene(strategy={"stop_atr": 1.0})
    fill_all(scene, scene.tell(vote(4, "BUY")), 103)
    stop = scene.said[-1]
    answers = scene.tell(kill(5))
    proposal = only(TradeProposed, answers)
    assert (proposal.target, proposal.reason) == ("flat", "kill switch: drill")
    assert only(CancelRequested, answers).order == stop.id
    fill_all(scene, answers, 103)
    assert targets(scene.tell(vote(6, "BUY", confidence=1.0)) + scene.market([110.0, 120.0], 7)) == []
    scene.tell(resume(9))
    assert targets(scene.market([121.0], 10)) == ["long"], "the vote holds"


def test_the_longest_reason_for_the_kill_switch_still_makes_a_valid_proposal() -> None:
    scene = killed_scene()
    fill_all(scene, scene.tell(vote(4, "BUY")), 103)
    proposal = only(TradeProposed, scene.tell(kill(5, reason="because " * 250)))
    assert len(proposal.reason) == 2000


@pytest.mark.parametrize("partly", [False, True])
def test_a_fill_that_crossed_the_kill_switch_is_closed(partly: bool) -> None:
    scene = killed_scene()
    entry = only(OrderRequested, scene.tell(vote(4, "BUY")))
    assert targets(scene.tell(kill(4.1))) == []
    if partly:
        scene.tell(filled(entry, 103, "1"))
        assert targets(scene.tell(canceled(entry))) == []
        answers = scene.market([102.0], 5)
    else:
        answers = scene.tell(filled(entry, 103))
    assert targets(answers) == ["flat"]
    fill_all(scene, answers, 102)
    assert scene.desk.portfolio.quantity(0) == 0
    assert targets(scene.market([101.0, 100.0], 6)) == []


def test_an_exit_that_fails_after_the_kill_switch_is_asked_for_again_at_the_next_bar() -> None:
    scene = killed_scene()
    fill_all(scene, scene.tell(vote(4, "BUY")), 103)
    for minute in (5, 6, 7):
        answers = scene.tell(kill(minute)) if minute == 5 else scene.market([100.0], minute)
        assert targets(answers) == ["flat"]
        scene.tell(rejected(all_of(OrderRequested, answers)[-1]))
    fill_all(scene, scene.market([99.0], 8), 99)
    assert targets(scene.market([98.0], 9)) == []


def test_an_exit_under_way_is_not_doubled_by_the_kill_switch() -> None:
    scene = killed_scene(strategy={"hold_exits": True})
    fill_all(scene, scene.tell(vote(4, "BUY")), 103)
    exit_order = only(OrderRequested, scene.tell(vote(5, "HOLD")))
    answers = scene.tell(kill(5.1))
    assert only(TradeRejected, answers).reason == "already closing"
    assert all_of(OrderRequested, answers) == []
    scene.tell(filled(exit_order, 103))
    assert targets(scene.market([100.0], 6)) == []
