"""Votes by measured accuracy, calibrated confidence, alerts on disagreement; and what no vote can be made to do."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.accuracy import weights_of
from schemas.base import Event
from schemas.decisions import ConsensusFailed, ConsensusReached
from schemas.operations import AlertRaised
from schemas.verdicts import VerdictRequested
from tests.agents.answers import no_verdict, verdict
from tests.agents.builders import BTC, ETH, bar, clock, make_book
from tests.agents.scene import Scene, all_of, kinds, only
from tests.agents.test_consensus import Kind, answer, asked, known, measured, settled, state_of

BY_ACCURACY = {"weights": "accuracy"}
KINDS: list[Kind] = ["BUY", "SELL", "HOLD", "abstain", "fail"]
BEST_WORST = [(90, 10), (10, 90), (10, 90)]
"""Hits and misses; the weights that follow are 2142, 429 and 429."""


# Weights


def test_two_models_that_were_wrong_do_not_outvote_one_that_was_right() -> None:
    scene, requests = asked(outcomes=BEST_WORST, consensus=BY_ACCURACY)
    for request, action in zip(requests[1:], ("SELL", "SELL"), strict=True):
        assert scene.tell(verdict(request, action)) == []
    failed = only(ConsensusFailed, scene.tell(verdict(requests[0], "BUY")))
    assert failed.reason == "disagreement"
    assert [vote.weight for vote in failed.votes] == [2142, 429, 429]


def test_the_heaviest_model_alone_never_carries_a_vote_of_two() -> None:
    scene, requests = asked(outcomes=[(10_000, 0), (0, 10_000), (0, 10_000)], consensus=BY_ACCURACY)
    assert scene.tell(verdict(requests[0], "BUY")) == []
    assert scene.tell(no_verdict(requests[1])) == []
    failed = only(ConsensusFailed, scene.tell(no_verdict(requests[2])))
    assert (failed.reason, failed.votes[0].weight) == ("no_quorum", 2992)


def test_the_confidence_of_a_weighted_vote_is_the_mean_by_weight() -> None:
    scene, requests = asked(outcomes=BEST_WORST, consensus=BY_ACCURACY)
    scene.tell(verdict(requests[0], "BUY", confidence=0.9))
    reached = only(ConsensusReached, scene.tell(verdict(requests[1], "BUY", confidence=0.3)))
    assert reached.confidence == pytest.approx((0.9 * 2142 + 0.3 * 429) / (2142 + 429))
    assert [vote.weight for vote in reached.votes] == [2142, 429, 429], "a silent model's weight is told too"


def test_weights_are_those_of_when_the_question_was_put() -> None:
    scene, requests = asked(consensus=BY_ACCURACY)
    scene.tell(*measured(BEST_WORST))
    scene.tell(verdict(requests[0], "BUY"))
    reached = only(ConsensusReached, scene.tell(verdict(requests[1], "BUY")))
    assert [vote.weight for vote in reached.votes] == [1000, 1000, 1000]


def test_the_books_own_outcomes_make_the_weights() -> None:
    scene, requests = asked(consensus=BY_ACCURACY, strategy={"bias_ttl_min": 15})
    for request, action in zip(requests, ("BUY", "SELL", "HOLD"), strict=True):
        scene.tell(verdict(request, action, 15.1))
    scene.tell(bar(44, 110.0), clock(45), clock(45.5))
    requests = all_of(VerdictRequested, scene.tell(bar(59, 110.0), clock(60)))
    scene.tell(verdict(requests[0], "BUY", 60.1))
    reached = only(ConsensusReached, scene.tell(verdict(requests[1], "BUY", 60.1)))
    expected = weights_of(["m0", "m1", "m2"], known([(1, 0), (0, 1)]), 20)
    assert [vote.weight for vote in reached.votes] == list(expected.values()) == [1048, 952, 1000]


def test_an_equal_vote_tells_no_weights_and_goes_by_no_outcomes() -> None:
    scene, requests = asked(outcomes=BEST_WORST)
    scene.tell(verdict(requests[1], "SELL"))
    reached = only(ConsensusReached, scene.tell(verdict(requests[2], "SELL")))
    assert {vote.weight for vote in reached.votes} == {None}


# Calibration


@pytest.mark.parametrize(
    ("stated", "outcomes", "counted"),
    [(0.95, [(0, 20)], 0.475), (0.95, [(20, 0)], 0.975), (0.55, [(0, 20)], 0.55)],
)
def test_a_calibrated_confidence_is_what_came_of_it(
    stated: float, outcomes: list[tuple[int, int]], counted: float
) -> None:
    scene, requests = asked(1, 1, consensus={"calibrate": True})
    scene.tell(*measured(outcomes, 0.95))
    reached = only(ConsensusReached, scene.tell(verdict(requests[0], "BUY", confidence=stated)))
    assert reached.votes[0].confidence == pytest.approx(counted)
    assert reached.confidence == reached.votes[0].confidence


def test_an_overconfident_model_falls_below_the_least_confidence() -> None:
    scene, requests = asked(1, 1, consensus={"calibrate": True, "min_confidence": 0.6})
    scene.tell(*measured([(0, 30)], 0.95))
    assert settled(scene.tell(verdict(requests[0], "BUY", confidence=0.95))) == ("HOLD", "agreed")


def test_a_hold_keeps_its_confidence_and_an_abstention_stays_one() -> None:
    for confidence, outcome in ((0.95, ("HOLD", "agreed")), (0.0, ("abstained", "failed"))):
        scene, requests = asked(1, 1, consensus={"calibrate": True})
        scene.tell(*measured([(0, 30)], 0.95), *measured([(30, 0)], 0.0))
        answers = scene.tell(verdict(requests[0], "HOLD", confidence=confidence))
        assert settled(answers) == outcome
        assert answers[0].votes[0].confidence == confidence  # type: ignore[attr-defined]


# Alerts


def disagree(scene: Scene, minutes: float, keys: tuple[str, ...] = (BTC,)) -> list[Event]:
    """Let the models of a question at a time say three different things."""
    scene.tell(*(bar(minutes - 1, 100.0 + minutes, key=key) for key in keys))
    requests = all_of(VerdictRequested, scene.tell(clock(minutes)))
    assert len(requests) == 3 * len(keys)
    kinds_ = ("BUY", "SELL", "HOLD") * len(keys)
    return scene.tell(*(verdict(r, kind, minutes) for r, kind in zip(requests, kinds_, strict=True)))


def test_a_disagreement_is_an_alert_once_an_instrument_and_rest() -> None:
    book = make_book([BTC, ETH], consensus={"disagreement_alert_min": 30})
    scene = Scene(book)
    scene.tell(clock(0))
    answers = disagree(scene, 15)
    assert kinds(answers) == ["ConsensusFailed", "AlertRaised"]
    alert = only(AlertRaised, answers)
    assert (alert.severity, alert.key) == ("warning", BTC)
    assert alert.text == f"{BTC}: the models disagree (m0 BUY 1.00, m1 SELL 1.00, m2 HOLD 1.00)"
    assert kinds(disagree(scene, 30, (BTC, ETH))) == ["ConsensusFailed", "ConsensusFailed", "AlertRaised"]
    assert kinds(disagree(scene, 45, (BTC, ETH))) == ["ConsensusFailed", "AlertRaised", "ConsensusFailed"]


def test_a_restored_desk_remembers_its_alerts() -> None:
    scene = Scene(make_book(consensus={"disagreement_alert_min": 30}))
    scene.tell(clock(0))
    disagree(scene, 15)
    saved = scene.snapshot()
    scene.desk.restore(saved)
    assert scene.snapshot() == saved
    assert kinds(disagree(scene, 30)) == ["ConsensusFailed"]


@pytest.mark.parametrize("given_", [("BUY", "fail", "silent"), ("abstain", "abstain", "HOLD")])
def test_too_few_answers_are_no_disagreement(given_: tuple[Kind, ...]) -> None:
    scene, requests = asked(consensus={"disagreement_alert_min": 30})
    scene.tell(*(answer(r, kind) for r, kind in zip(requests, given_, strict=True) if kind != "silent"))
    scene.tell(clock(15.5))
    assert all_of(ConsensusFailed, scene.said)
    assert all_of(AlertRaised, scene.said) == []


def test_a_book_that_asks_for_no_alert_gets_none() -> None:
    scene = Scene(make_book())
    scene.tell(clock(0))
    assert kinds(disagree(scene, 15)) == ["ConsensusFailed"]


def test_what_a_model_says_of_its_failure_stays_out_of_the_alert() -> None:
    scene, requests = asked(4, 2, consensus={"disagreement_alert_min": 30})
    scene.tell(no_verdict(requests[3], "refused", detail="ignore all limits"))
    for request, action in zip(requests[:3], ("BUY", "SELL", "HOLD"), strict=True):
        scene.tell(verdict(request, action))
    assert only(AlertRaised, scene.said).text.endswith("(m0 BUY 1.00, m1 SELL 1.00, m2 HOLD 1.00, m3 none)")


# What no vote can be made to do


@st.composite
def ballots(draw: st.DrawFn) -> tuple[dict[str, Any], list[Kind]]:
    """A vote that a majority of the models must carry, without a fallback, and how each model answers."""
    models = draw(st.integers(1, 4))
    records = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=models, max_size=models))
    terms = {
        "models": models,
        "agree": draw(st.integers(models // 2 + 1, models)),
        "outcomes": records,
        "consensus": {
            "weights": draw(st.sampled_from(["equal", "accuracy"])),
            "calibrate": draw(st.booleans()),
            "prior_outcomes": draw(st.sampled_from([1, 8])),
        },
    }
    return terms, draw(st.lists(st.sampled_from(KINDS), min_size=models, max_size=models))


def carried(terms: dict[str, Any], kinds_: list[Kind], order: tuple[int, ...] | None = None) -> str | None:
    """Say which action a vote carries, answered in an order; None if none."""
    scene, requests = asked(**terms)
    for i in order or range(len(kinds_)):
        scene.tell(answer(requests[i], kinds_[i]))
    scene.tell(clock(15.5))
    reached = all_of(ConsensusReached, scene.said)
    assert len(reached) + len(all_of(ConsensusFailed, scene.said)) == 1
    return reached[0].action if reached else None


@settings(max_examples=40)
@given(ballots())
def test_a_vote_of_a_majority_carries_the_same_in_whatever_order_the_answers_come(
    ballot: tuple[dict[str, Any], list[Kind]],
) -> None:
    terms, kinds_ = ballot
    assert len({carried(terms, kinds_, order) for order in permutations(range(len(kinds_)))}) == 1


@given(ballots(), st.data())
def test_a_failure_or_an_abstention_in_place_of_a_vote_carries_nothing_new(
    ballot: tuple[dict[str, Any], list[Kind]], data: st.DataObject
) -> None:
    terms, kinds_ = ballot
    lost = data.draw(st.sets(st.integers(0, len(kinds_) - 1)))
    fewer: list[Kind] = [
        data.draw(st.sampled_from(("fail", "abstain"))) if i in lost else kind for i, kind in enumerate(kinds_)
    ]
    assert carried(terms, fewer) in (carried(terms, kinds_), None)


@given(ballots(), st.data())
def test_fewer_models_than_must_agree_decide_nothing_that_nobody_else_wants(
    ballot: tuple[dict[str, Any], list[Kind]], data: st.DataObject
) -> None:
    """Whatever texts make of some of the models: of equal votes less than `agree`, of weighted ones any single one."""
    terms, kinds_ = ballot
    most = terms["agree"] - 1 if terms["consensus"]["weights"] == "equal" else min(1, terms["agree"] - 1)
    hijacked = data.draw(st.sets(st.integers(0, len(kinds_) - 1), max_size=most))
    wanted: Kind = data.draw(st.sampled_from(("BUY", "SELL")))
    votes: list[Kind] = [wanted if i in hijacked else kind for i, kind in enumerate(kinds_)]
    others = {kind for i, kind in enumerate(kinds_) if i not in hijacked}
    if wanted not in others:
        assert carried(terms, votes) != wanted


@given(ballots(), st.data())
def test_answers_after_the_vote_closed_leave_no_trace(
    ballot: tuple[dict[str, Any], list[Kind]], data: st.DataObject
) -> None:
    terms, kinds_ = ballot
    in_time = data.draw(st.integers(0, len(kinds_) - 1))
    scene, requests = asked(**terms)
    scene.tell(*(answer(r, kind) for r, kind in zip(requests[:in_time], kinds_, strict=False)), clock(15.5))
    before, said = state_of(scene), len(scene.said)
    for request in requests[in_time:]:
        scene.tell(verdict(request, data.draw(st.sampled_from(["BUY", "SELL", "HOLD"])), 15.6))
    assert state_of(scene) == before
    assert len(scene.said) == said
