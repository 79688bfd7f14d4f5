"""What came of predictions: measured once, at a boundary, against prices that came after them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.agent import NEVER
from agents.outcomes import MAX_HORIZON_NS, Outcomes
from schemas.accounting import OutcomeMeasured
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_MS
from schemas.verdicts import VerdictRequested
from tests.agents.answers import no_verdict, verdict, vote
from tests.agents.builders import BTC, ETH, at, bar, clock, make_book
from tests.agents.scene import Scene, all_of, only

MINUTE_MS = NS_PER_MIN // NS_PER_MS


def asked_scene(bias_ttl_min: int = 60, models: int = 1) -> tuple[Scene, VerdictRequested]:
    """A book that asks every 10 minutes, at its first question, with the price at 100."""
    book = make_book(
        [BTC, ETH],
        models,
        analysts={"every_min": 10, "deadline_s": 120},
        consensus={"agree": models},
        strategy={"bias_ttl_min": bias_ttl_min},
    )
    scene = Scene(book)
    scene.tell(clock(0), bar(9, 100.0))
    return scene, all_of(VerdictRequested, scene.tell(clock(10)))[0]


def outcomes_of(scene: Scene) -> Outcomes:
    [outcomes] = [agent for agent in scene.desk.agents if isinstance(agent, Outcomes)]
    return outcomes


@pytest.mark.parametrize(
    ("action", "price", "return_pct", "correct"),
    [
        ("BUY", 110.0, 10.0, True),
        ("BUY", 90.0, -10.0, False),
        ("BUY", 100.0, 0.0, False),
        ("SELL", 110.0, 10.0, False),
        ("SELL", 90.0, -10.0, True),
        ("SELL", 100.0, 0.0, False),
    ],
)
def test_a_prediction_is_right_where_the_price_went_its_way(
    action: str, price: float, return_pct: float, correct: bool
) -> None:
    scene, request = asked_scene(models=2)
    answer = verdict(request, action, 11, confidence=0.7, horizon_ms=5 * MINUTE_MS)
    scene.tell(answer, bar(12, 50.0), bar(15, price))
    outcome = only(OutcomeMeasured, scene.tell(clock(20)))
    assert (outcome.prediction, outcome.model, outcome.action, outcome.confidence) == (answer.id, "m0", action, 0.7)
    assert outcome.return_pct == pytest.approx(return_pct)
    assert (outcome.correct, outcome.horizon_ms, outcome.instrument) == (correct, 9 * MINUTE_MS, BTC)
    assert outcome.cause == clock(20).id
    scene.tell(bar(21, 100.0))
    assert all_of(OutcomeMeasured, scene.tell(clock(30), clock(40))) == [], "once"


def test_the_vote_as_a_whole_is_measured_when_its_bias_lapses() -> None:
    scene, request = asked_scene(bias_ttl_min=15)
    answer = verdict(request, "BUY", 11, horizon_ms=60 * MINUTE_MS)
    consensus = scene.tell(answer)[0]
    scene.tell(bar(12, 101.0))
    assert all_of(OutcomeMeasured, scene.tell(clock(20), clock(26))) == []
    by_vote = only(OutcomeMeasured, scene.tell(clock(30)))
    assert (by_vote.model, by_vote.prediction, by_vote.horizon_ms) == ("consensus", consensus.id, 19 * MINUTE_MS)
    by_model = only(OutcomeMeasured, scene.tell(clock(40), clock(50), clock(60), clock(70), clock(80)))
    assert (by_model.model, by_model.prediction, by_model.horizon_ms) == ("m0", answer.id, 69 * MINUTE_MS)


def test_without_a_horizon_a_verdict_has_that_of_the_vote() -> None:
    scene, request = asked_scene(bias_ttl_min=25, models=2)
    scene.tell(verdict(request, "SELL", 10), bar(12, 99.0), clock(20), clock(30))
    assert only(OutcomeMeasured, scene.tell(clock(40))).horizon_ms == 30 * MINUTE_MS


def test_hold_predicts_nothing_and_neither_does_a_failure() -> None:
    scene, request = asked_scene()
    scene.tell(verdict(request, "HOLD"), vote(10, "HOLD"), no_verdict(request))
    assert outcomes_of(scene).state.open == []
    assert outcomes_of(scene).state.due == NEVER


def test_a_verdict_on_what_the_book_does_not_trade_or_has_not_seen_is_not_measured() -> None:
    scene, request = asked_scene(models=2)
    for number, instrument in enumerate(("DOGE/USDT@x", ETH)):
        scene.tell(verdict(request, "BUY", id=f"stray-{number}", instrument=instrument))
    assert outcomes_of(scene).state.open == []


def test_a_market_that_has_not_traded_since_is_waited_for() -> None:
    scene, request = asked_scene(models=2)
    scene.tell(verdict(request, "BUY", 11, horizon_ms=MINUTE_MS))
    for minutes in (20, 30, 40):
        assert all_of(OutcomeMeasured, scene.tell(clock(minutes))) == []
        assert outcomes_of(scene).state.due == at(minutes + 10)
    scene.tell(bar(45, 102.0))
    assert only(OutcomeMeasured, scene.tell(clock(50))).correct


def test_a_late_verdict_is_a_prediction_too() -> None:
    scene, request = asked_scene(models=2)
    scene.tell(clock(12), verdict(request, "BUY", 13, horizon_ms=1), bar(14, 101.0))
    assert only(OutcomeMeasured, scene.tell(clock(20))).horizon_ms == 7 * MINUTE_MS


def test_predictions_that_end_at_one_time_are_measured_in_the_order_in_which_they_were_made() -> None:
    scene, request = asked_scene(models=2)
    for number, horizon_min in enumerate((25, 1, 12, 2)):
        horizon_ms = horizon_min * MINUTE_MS
        scene.tell(verdict(request, "BUY", 11, id=f"slow-{number}", horizon_ms=horizon_ms))
    late = verdict(request, "SELL", 31, id="waits", horizon_ms=MINUTE_MS)
    scene.tell(late, verdict(request, "SELL", 32, id="waits-too", horizon_ms=MINUTE_MS), bar(33, 101.0))
    measured = all_of(OutcomeMeasured, scene.tell(clock(47)))
    assert [outcome.prediction for outcome in measured] == [
        *(f"slow-{number}" for number in range(4)),
        "waits",
        "waits-too",
    ]
    scene.tell(verdict(request, "BUY", 48, id="first", horizon_ms=MINUTE_MS), clock(50), clock(60))
    scene.tell(verdict(request, "BUY", 61, id="second", horizon_ms=MINUTE_MS), bar(62, 102.0))
    measured = all_of(OutcomeMeasured, scene.tell(clock(70)))
    assert [outcome.prediction for outcome in measured] == ["first", "second"], "the one that waited longer comes first"


@given(st.lists(st.one_of(st.integers(1, 200 * MINUTE_MS), st.integers(1, 2**63 - 1)), min_size=1, max_size=8))
def test_each_is_measured_at_its_own_boundary_and_no_later_than_the_longest_horizon(horizons: list[int]) -> None:
    scene, request = asked_scene(models=2)
    ends: dict[str, int] = {}
    for number, horizon_ms in enumerate(horizons):
        answer = verdict(request, "BUY", 11, id=f"answer-{number}", horizon_ms=horizon_ms)
        scene.tell(answer)
        ends[answer.id] = at(11) + min(horizon_ms * NS_PER_MS, MAX_HORIZON_NS)
    scene.tell(bar(11.5, 101.0))
    assert MAX_HORIZON_NS == 7 * NS_PER_DAY
    every = 10 * NS_PER_MIN
    while ends:
        due = outcomes_of(scene).state.due
        measured = all_of(OutcomeMeasured, scene.tell(clock((due - at(0)) / NS_PER_MIN)))
        assert measured
        for outcome in measured:
            end = ends.pop(outcome.prediction)
            assert 0 <= due - end < every
            assert due % every == 0
            assert outcome.horizon_ms == (due - at(11)) // NS_PER_MS
    assert outcomes_of(scene).state.due == NEVER
