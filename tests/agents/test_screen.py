"""A cheap model is asked first: it ends a question or lets it through, and whatever fails lets it through."""

from __future__ import annotations

from typing import Any

import pytest

from agents.agent import NEVER
from schemas.book import parse_book
from schemas.codec import encode
from schemas.decisions import ConsensusFailed, ConsensusReached, QuestionScreened
from schemas.errors import BookError
from schemas.verdicts import VerdictRequested
from tests.agents.answers import no_verdict, verdict
from tests.agents.builders import BTC, ETH, at, bar, clock, make_book, tweet
from tests.agents.scene import Scene, all_of, kinds, only

OUTSIDE = {"screen": "m2", "models": ["m0", "m1"]}
VOTER = {"screen": "m2"}


def screened(analysts: dict[str, Any], **sections: Any) -> tuple[Scene, VerdictRequested]:
    """A book whose screen was put its first question at minute 15: 10 s for the screen, 30 s for all."""
    scene = Scene(make_book(analysts=analysts, **sections))
    scene.tell(clock(0), bar(14, 100.0))
    answers = scene.tell(clock(15))
    assert kinds(answers) == ["VerdictRequested"]
    request = only(VerdictRequested, answers)
    assert (request.model, request.deadline_at) == ("m2", at(15 + 10 / 60))
    return scene, request


def models_of(requests: list[VerdictRequested]) -> list[str]:
    return [request.model for request in requests]


@pytest.mark.parametrize("analysts", [OUTSIDE, VOTER])
@pytest.mark.parametrize("confidence", [0.0, 0.6, 1.0])
def test_a_screen_that_holds_surely_or_abstains_ends_the_question(analysts: dict[str, Any], confidence: float) -> None:
    scene, request = screened(analysts)
    answers = scene.tell(verdict(request, "HOLD", 15.1, confidence=confidence))
    assert kinds(answers) == ["QuestionScreened"]
    said = only(QuestionScreened, answers)
    assert (said.question, said.instrument, said.model) == (request.question, BTC, "m2")
    assert (said.confidence, said.spared) == (confidence, ("m0", "m1"))
    assert scene.desk.due > at(16), "nothing is waited for"
    assert scene.tell(clock(16), verdict(request, "BUY", 16.1, id="again")) == []


@pytest.mark.parametrize(("action", "confidence"), [("HOLD", 0.59), ("BUY", 0.0), ("BUY", 1.0), ("SELL", 0.9)], ids=str)
def test_a_screen_in_doubt_or_with_a_side_has_the_others_asked_the_very_same(action: str, confidence: float) -> None:
    scene, request = screened(OUTSIDE)
    asked = all_of(VerdictRequested, scene.tell(verdict(request, action, 15.05, confidence=confidence)))
    assert models_of(asked) == ["m0", "m1"]
    for one in asked:
        assert (one.prompt, one.prompt_sha256, one.question) == (
            request.prompt,
            request.prompt_sha256,
            request.question,
        )
        assert (one.observed_at, one.deadline_at) == (at(15.05), at(15.5)), "time runs from the first question"
    scene.tell(verdict(asked[0], "SELL", 15.2))
    reached = only(ConsensusReached, scene.tell(verdict(asked[1], "SELL", 15.3)))
    assert (reached.action, reached.agree, reached.of) == ("SELL", 2, 2)


def test_a_screen_that_fails_or_is_silent_or_late_has_the_others_asked() -> None:
    for when, event in (
        (15.05, lambda request: no_verdict(request, minutes=15.05)),
        (15.2, lambda _: clock(15.2)),
        (15.2, lambda request: verdict(request, "HOLD", 15.2)),
    ):
        scene, request = screened(OUTSIDE)
        asked = all_of(VerdictRequested, scene.tell(event(request)))
        assert models_of(asked) == ["m0", "m1"]
        assert {(one.observed_at, one.deadline_at) for one in asked} == {(at(when), at(15.5))}
        assert scene.tell(verdict(request, "HOLD", 15.3, id="late")) == []
        assert only(ConsensusFailed, scene.tell(clock(15.5))).reason == "no_quorum"


def test_the_clock_is_asked_for_at_the_screens_deadline() -> None:
    scene, request = screened(OUTSIDE)
    assert scene.desk.due == request.deadline_at
    assert scene.tell(clock(15.16)) == []
    assert len(scene.tell(clock(15.17))) == 2
    [screen] = [agent for agent in scene.desk.agents if agent.name == "screen"]
    assert screen.state.due == NEVER


# The screen's own vote


def test_a_screen_among_the_models_is_asked_once_and_its_vote_counts() -> None:
    scene, request = screened(VOTER)
    asked = all_of(VerdictRequested, scene.tell(verdict(request, "BUY", 15.05, confidence=0.8)))
    assert models_of(asked) == ["m0", "m1"]
    reached = only(ConsensusReached, scene.tell(verdict(asked[0], "BUY", 15.2, confidence=0.6)))
    assert [(vote.model, vote.action) for vote in reached.votes] == [("m2", "BUY"), ("m0", "BUY"), ("m1", "HOLD")]
    assert (reached.agree, reached.of) == (2, 3)
    assert reached.confidence == pytest.approx(0.7)


def test_the_failure_of_a_screen_among_the_models_is_a_failed_vote() -> None:
    scene, request = screened(VOTER, consensus={"agree": 3})
    asked = all_of(VerdictRequested, scene.tell(no_verdict(request, "refused", 15.05)))
    failed = only(ConsensusFailed, scene.tell(verdict(asked[0], "BUY", 15.2)))
    assert (failed.reason, failed.votes[0].failure) == ("no_quorum", "refused")


def test_a_screen_among_the_models_that_is_late_for_its_share_still_votes_in_time() -> None:
    scene, request = screened(VOTER)
    asked = all_of(VerdictRequested, scene.tell(clock(15.2)))
    scene.tell(verdict(asked[0], "SELL", 15.25))
    assert only(ConsensusReached, scene.tell(verdict(request, "SELL", 15.3))).agree == 2


def test_a_screen_outside_of_the_models_has_no_vote() -> None:
    scene, request = screened(OUTSIDE)
    asked = all_of(VerdictRequested, scene.tell(verdict(request, "BUY", 15.05)))
    assert scene.tell(verdict(asked[0], "BUY", 15.2)) == []
    assert only(ConsensusFailed, scene.tell(clock(15.5))).reason == "no_quorum"


# Several questions


def test_questions_on_two_instruments_and_on_news_are_screened_each_by_itself() -> None:
    scene = Scene(make_book([BTC, ETH], analysts=OUTSIDE, text={"sources": []}))
    scene.tell(clock(0), bar(14, 100.0), bar(14, 10.0, key=ETH))
    first, second = all_of(VerdictRequested, scene.tell(clock(15)))
    [news] = all_of(VerdictRequested, scene.tell(tweet(15.02, "Bitcoin: quiet markets everywhere")))
    assert {first.model, second.model, news.model} == {"m2"}
    assert kinds(scene.tell(verdict(first, "HOLD", 15.05))) == ["QuestionScreened"]
    assert len(scene.tell(verdict(second, "BUY", 15.06))) == 2
    assert {one.question for one in all_of(VerdictRequested, scene.tell(clock(15.19)))} == {news.question}


@pytest.mark.parametrize("analysts", [OUTSIDE, VOTER])
@pytest.mark.parametrize("cut", range(4))
def test_a_desk_restored_at_any_point_of_a_screened_question_goes_on(analysts: dict[str, Any], cut: int) -> None:
    def play(restore_at: int) -> list[bytes]:
        scene, request = screened(analysts)
        for step in range(4):
            if step == restore_at:
                saved = scene.snapshot()
                fresh = Scene(scene.desk.book)
                fresh.desk.restore(saved)
                assert fresh.snapshot() == saved
                scene.desk.restore(saved)
            if step == 0:
                asked = all_of(VerdictRequested, scene.tell(verdict(request, "BUY", 15.05)))
            elif step < 3:
                scene.tell(verdict(asked[step - 1], "BUY", 15.1 + step / 10))
            else:
                scene.tell(clock(15.5))
        return [encode(event) for event in scene.said]

    assert play(cut) == play(-1)


# Books


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"analysts": {"screen": "m9"}}, "model 'm9' is not in `models`, which holds m0, m1, m2"),
        (
            {"analysts": {"screen": "m0", "models": ["m0"]}, "consensus": {"agree": 1}},
            "there is nobody to ask after it",
        ),
        ({"analysts": {"screen": "m0"}, "consensus": {"agree": 1}}, "'m0' would decide alone"),
        ({"analysts": {"screen": "m0", "screen_deadline_s": 30}}, "must be shorter than deadline_s"),
    ],
    ids=str,
)
def test_a_screen_that_cannot_be_meant_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BookError, match=r"analysts\.screen") as refused:
        make_book(**changes)
    assert told in str(refused.value)


def test_no_model_has_the_name_of_the_vote() -> None:
    with pytest.raises(BookError, match=r"models\.consensus"):
        parse_book(
            {
                "name": "b",
                "instruments": [{"id": BTC}],
                "analysts": {"models": ["consensus"]},
                "consensus": {"agree": 1},
                "models": {"consensus": {"kind": "trend"}},
            }
        )
