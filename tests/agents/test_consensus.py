"""Who wins a vote, and when it is sure; that late, silent, failed and uninvited models change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.accuracy import Accuracy, weights_of
from agents.agent import NEVER
from agents.consensus import Consensus
from schemas.accounting import OutcomeMeasured
from schemas.base import Event
from schemas.decisions import ConsensusFailed, ConsensusReached, TradeProposed
from schemas.verdicts import VerdictFailed, VerdictGiven, VerdictRequested
from tests.agents.answers import no_verdict, verdict
from tests.agents.builders import BTC, ETH, at, bar, clock, make_book, make_input
from tests.agents.scene import Scene, all_of, kinds, only

Kind = Literal["BUY", "SELL", "HOLD", "abstain", "fail", "silent"]
Outcome = tuple[str, str] | None
"""What a question came to, and how: action and "agreed" or "fallback", or a reason and "failed"."""


def asked(
    models: int = 3, agree: int = 2, outcomes: Sequence[tuple[int, int]] = (), **sections: Any
) -> tuple[Scene, list[VerdictRequested]]:
    """A book at its first question, put at minute 15; answers are due half a minute later.

    By then `outcomes` of each model were measured, so many hits and misses.
    """
    consensus = {"agree": agree, **sections.pop("consensus", {})}
    scene = Scene(make_book(models=models, consensus=consensus, **sections))
    scene.tell(clock(0), *measured(outcomes), bar(14, 100.0))
    return scene, all_of(VerdictRequested, scene.tell(clock(15)))


def measured(outcomes: Sequence[tuple[int, int]], confidence: float = 0.5) -> Iterator[OutcomeMeasured]:
    """Say how often each model was right, and how often wrong."""
    for i, (hits, misses) in enumerate(outcomes):
        for n in range(hits + misses):
            yield make_input(
                OutcomeMeasured,
                1,
                BTC,
                instrument=BTC,
                prediction=f"p{i}-{n}-{confidence}",
                model=f"m{i}",
                action="BUY",
                confidence=confidence,
                horizon_ms=60_000,
                return_pct=0.1,
                correct=n < hits,
            )


def known(outcomes: Sequence[tuple[int, int]]) -> dict[str, Accuracy]:
    """Count outcomes as the vote does."""
    records: dict[str, Accuracy] = {}
    for outcome in measured(outcomes):
        records.setdefault(outcome.model, Accuracy()).add(outcome)
    return records


def state_of(scene: Scene) -> dict[str, bytes]:
    """The state of all who decide; outcomes are only measured."""
    return {agent.name: agent.snapshot() for agent in scene.desk.agents if agent.name != "outcomes"}


def open_questions(scene: Scene) -> int:
    [consensus] = [agent for agent in scene.desk.agents if isinstance(agent, Consensus)]
    return len(consensus.state.open)


def answer(request: VerdictRequested, kind: Kind) -> VerdictGiven | VerdictFailed:
    if kind == "fail":
        return no_verdict(request)
    return verdict(request, "HOLD", confidence=0.0) if kind == "abstain" else verdict(request, kind)


def settled(answers: Sequence[Event]) -> Outcome:
    """Say what the one consensus among the answers came to; None where there is none."""
    found = [event for event in answers if isinstance(event, ConsensusReached | ConsensusFailed)]
    assert len(found) <= 1
    for event in found:
        if isinstance(event, ConsensusReached):
            return event.action, "fallback" if event.fallback else "agreed"
        return event.reason, "failed"
    return None


# k of n


@pytest.mark.parametrize("models", [1, 2, 3, 5])
def test_the_vote_is_won_by_the_kth_model_that_agrees_and_not_before(models: int) -> None:
    for agree in range(1, models + 1):
        for action in ("BUY", "SELL", "HOLD"):
            scene, requests = asked(models, agree)
            for request in requests[: agree - 1]:
                assert scene.tell(verdict(request, action)) == []
            reached = only(ConsensusReached, scene.tell(verdict(requests[agree - 1], action)))
            assert (reached.action, reached.agree, reached.of) == (action, agree, models)
            assert [vote.failure for vote in reached.votes[agree:]] == ["no answer before the vote closed"] * (
                models - agree
            )
            assert [vote.model for vote in reached.votes] == [f"m{i}" for i in range(models)]


def test_a_split_vote_is_a_disagreement_which_is_said_and_trades_nothing() -> None:
    scene, requests = asked(4, 3)
    for request, action in zip(requests[:3], ("BUY", "BUY", "SELL"), strict=True):
        assert scene.tell(verdict(request, action)) == []
    answers = scene.tell(verdict(requests[3], "SELL"))
    assert kinds(answers) == ["ConsensusFailed"]
    failed = only(ConsensusFailed, answers)
    assert (failed.reason, failed.instrument) == ("disagreement", BTC)
    assert [vote.action for vote in failed.votes] == ["BUY", "BUY", "SELL", "SELL"]
    assert scene.market([101.0, 102.0], 16) == []


def test_a_vote_that_cannot_be_won_any_more_is_not_waited_for() -> None:
    scene, requests = asked(3, 3)
    scene.tell(verdict(requests[0], "BUY"))
    assert settled(scene.tell(verdict(requests[1], "SELL"))) == ("no_quorum", "failed")
    assert open_questions(scene) == 0


@pytest.mark.parametrize(("confidence", "action"), [(0.6, "BUY"), (0.59, "HOLD")])
def test_a_vote_below_the_least_confidence_counts_as_hold(confidence: float, action: str) -> None:
    scene, requests = asked(2, 2, consensus={"min_confidence": 0.6})
    scene.tell(verdict(requests[0], action, confidence=0.9))
    assert settled(scene.tell(verdict(requests[1], "BUY", confidence=confidence))) == (action, "agreed")


def test_agreement_takes_the_mean_confidence_and_the_most_careful_of_all_else() -> None:
    for action, stop, target in (("BUY", 95.0, 110.0), ("SELL", 90.0, 120.0)):
        scene, requests = asked(4, 3)
        told = ((0.3, 0.5, 90.0, 120.0), (0.6, None, 95.0, 110.0), (0.9, 0.2, None, None))
        scene.tell(verdict(requests[3], "HOLD", stop_price=1.0, size_hint=0.01))
        for request, (confidence, size, low, high) in zip(requests, told, strict=False):
            levels = {"stop_price": low, "target_price": high, "size_hint": size}
            answers = scene.tell(verdict(request, action, confidence=confidence, **levels))
        reached = only(ConsensusReached, answers)
        assert reached.confidence == pytest.approx(0.6)
        assert (reached.size_hint, reached.stop_price, reached.target_price) == (0.2, stop, target)


# Time


@pytest.mark.parametrize("given", [0, 1])
def test_too_few_answers_in_time_are_no_signal_and_no_trade(given: int) -> None:
    scene, requests = asked()
    scene.tell(*(verdict(request, "BUY", 15.2) for request in requests[:given]))
    assert scene.desk.due == at(15.5)
    assert scene.tell(clock(15.49)) == []
    answers = scene.tell(clock(15.5))
    assert kinds(answers) == ["ConsensusFailed"]
    failed = only(ConsensusFailed, answers)
    assert failed.reason == "no_quorum"
    assert [bool(vote.failure) for vote in failed.votes] == [False] * given + [True] * (3 - given)
    assert {vote.failure for vote in failed.votes[given:]} == {"no answer before the vote closed"}
    assert scene.market([101.0, 102.0, 103.0], 16) == []


def test_an_answer_at_the_deadline_counts_and_one_after_it_does_not_whether_the_clock_ran_or_not() -> None:
    scene, requests = asked()
    scene.tell(verdict(requests[0], "BUY", 15.1))
    assert settled(scene.tell(verdict(requests[1], "BUY", 15.5))) == ("BUY", "agreed")
    scene, requests = asked()
    scene.tell(verdict(requests[0], "BUY", 15.1))
    before = state_of(scene)
    assert scene.tell(verdict(requests[1], "BUY", 15.51)) == []
    assert scene.tell(no_verdict(requests[2], minutes=15.51)) == []
    assert state_of(scene) == before
    assert settled(scene.tell(clock(16))) == ("no_quorum", "failed")


@pytest.mark.parametrize("action", ["SELL", "BUY"])
@pytest.mark.parametrize("decided", ["by vote", "by time"])
def test_a_verdict_after_the_decision_changes_nothing(decided: str, action: str) -> None:
    scene, requests = asked()
    if decided == "by vote":
        scene.tell(*(verdict(request, "BUY", 15.1) for request in requests[:2]))
    scene.tell(clock(15.5))
    before = state_of(scene)
    assert scene.tell(*(verdict(r, action, 15.6, id=f"late-{r.model}", confidence=1.0) for r in requests)) == []
    assert scene.tell(no_verdict(requests[2], minutes=15.7)) == []
    assert state_of(scene) == before
    assert all_of(ConsensusReached, scene.market([101.0, 99.0], 16)) == []


def test_questions_on_two_instruments_are_two_votes_each_with_its_deadline() -> None:
    scene = Scene(make_book([BTC, ETH], 2))
    scene.tell(clock(0), bar(14, 100.0), bar(14, 10.0, key=ETH))
    requests = {r.key + r.model: r for r in all_of(VerdictRequested, scene.tell(clock(15)))}
    scene.tell(verdict(requests[f"{BTC}m0"], "BUY"), verdict(requests[f"{ETH}m1"], "BUY"))
    assert open_questions(scene) == 2
    assert only(ConsensusReached, scene.tell(verdict(requests[f"{ETH}m0"], "BUY"))).instrument == ETH
    assert only(ConsensusFailed, scene.tell(clock(15.5))).instrument == BTC
    [consensus] = [agent for agent in scene.desk.agents if isinstance(agent, Consensus)]
    assert consensus.state.due == NEVER


# Who counts


def test_failures_and_abstentions_agree_with_nobody_not_even_with_hold() -> None:
    for kind, reason in (("fail", "no_quorum"), ("abstain", "abstained")):
        scene, requests = asked()
        for request, vote in zip(requests, ("HOLD", kind, kind), strict=True):
            answers = scene.tell(answer(request, vote))  # type: ignore[arg-type]
        assert settled(answers) == (reason, "failed")
        assert all_of(TradeProposed, scene.said) == []


def test_a_failure_says_why() -> None:
    scene, requests = asked()
    scene.tell(no_verdict(requests[0], "refused", detail="no opinion on markets"))
    failed = only(ConsensusFailed, scene.tell(no_verdict(requests[1], "timeout")))
    assert [vote.failure for vote in failed.votes] == [
        "refused: no opinion on markets",
        "timeout",
        "no answer before the vote closed",
    ]


@pytest.mark.parametrize("change", [{"model": "m9"}, {"question": "another"}, {"id": "again", "action": "BUY"}])
def test_who_was_not_asked_or_has_voted_has_no_vote(change: dict[str, Any]) -> None:
    scene, requests = asked()
    scene.tell(verdict(requests[0], "BUY"))
    before = state_of(scene)
    assert scene.tell(verdict(requests[0], **({"id": "stray", "action": "BUY"} | change))) == []
    assert state_of(scene) == before
    assert settled(scene.tell(clock(16))) == ("no_quorum", "failed")


# The whole rule, against all that could still come


def expected(
    given: Sequence[tuple[int, Kind]], models: int, fallback: int | None, suffice: Callable[[Sequence[int]], bool]
) -> tuple[int, Outcome]:
    """After how many answers it is sure what the question comes to, and to what; `suffice` says who carries a vote.

    By trying every way in which the models that are still out could vote; those who are silent stay so.
    """

    def result(votes: dict[int, Kind]) -> Outcome:
        sides = {a: [model for model, kind in votes.items() if kind == a] for a in ("BUY", "SELL", "HOLD")}
        for action, agreeing in sides.items():
            if suffice(agreeing):
                return action, "agreed"
        answered = suffice([model for agreeing in sides.values() for model in agreeing])
        own = votes.get(fallback, "silent") if fallback is not None else "silent"
        if not answered and own in sides:
            return own, "fallback"
        if answered:
            return "disagreement", "failed"
        out = [m for m in range(models) if votes.get(m, "silent") in ("silent", "fail")]
        return "no_quorum" if out else "abstained", "failed"

    votes: dict[int, Kind] = {}
    for count, (model, kind) in enumerate(given, start=1):
        votes[model] = kind
        out = [m for m in range(models) if m not in votes]
        kinds_of_future: tuple[Kind, ...] = ("BUY", "SELL", "HOLD", "fail")
        futures = [
            result(votes | dict(zip(out, future, strict=True))) for future in product(kinds_of_future, repeat=len(out))
        ]
        now = result(votes)
        agreed = now is not None and now[1] == "agreed"
        nobody_can = all(future is not None and future[1] != "agreed" for future in futures)
        fallback_is_known = fallback is None or fallback in votes
        if agreed or (nobody_can and (fallback_is_known or not out)):
            return count, now
    return len(given) + 1, result(votes)


@st.composite
def votes(draw: st.DrawFn) -> tuple[int, int, int | None, list[tuple[int, Kind]]]:
    models = draw(st.integers(1, 4))
    order = draw(st.permutations(range(models)))[: draw(st.integers(0, models))]
    kinds_: list[Kind] = ["BUY", "SELL", "HOLD", "abstain", "fail"]
    given: list[tuple[int, Kind]] = [(model, draw(st.sampled_from(kinds_))) for model in order]
    return models, draw(st.integers(1, models)), draw(st.none() | st.integers(0, models - 1)), given


@given(votes())
def test_a_question_is_settled_as_soon_as_it_is_sure_and_as_the_rule_says(
    drawn: tuple[int, int, int | None, list[tuple[int, Kind]]],
) -> None:
    models, agree, fallback, given = drawn
    scene, requests = asked(models, agree, consensus={"fallback": "" if fallback is None else f"m{fallback}"})
    sure_after, outcome = expected(given, models, fallback, lambda agreeing: len(agreeing) >= agree)
    settles(scene, requests, given, sure_after, outcome)


@given(votes(), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=4, max_size=4))
def test_a_weighted_question_is_settled_as_soon_as_it_is_sure_and_as_the_rule_says(
    drawn: tuple[int, int, int | None, list[tuple[int, Kind]]], records: list[tuple[int, int]]
) -> None:
    models, agree, fallback, given = drawn
    settings = {"weights": "accuracy", "prior_outcomes": 4, "fallback": "" if fallback is None else f"m{fallback}"}
    scene, requests = asked(models, agree, consensus=settings, outcomes=records[:models])
    weights = list(weights_of([f"m{i}" for i in range(models)], known(records[:models]), 4).values())

    def suffice(agreeing: Sequence[int]) -> bool:
        heavy = sum(weights[i] for i in agreeing) > 1000 * (agree - 0.5)
        return heavy and len(agreeing) >= min(2, agree)

    settles(scene, requests, given, *expected(given, models, fallback, suffice))


def settles(
    scene: Scene,
    requests: list[VerdictRequested],
    given: Sequence[tuple[int, Kind]],
    sure_after: int,
    outcome: Outcome,
) -> None:
    for count, (model, kind) in enumerate(given, start=1):
        said = settled(scene.tell(answer(requests[model], kind)))
        assert said == (outcome if count == sure_after else None)
    assert settled(scene.tell(clock(15.5))) == (None if sure_after <= len(given) else outcome)
    assert open_questions(scene) == 0
