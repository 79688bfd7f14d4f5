"""Asking models: an answer or a failure for every request, whatever a model does; and what may be committed when."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.voters import Answer, Failure, Opinion, Voter, computed, offline_voters
from replay.cassette import RecordedVerdicts, Verdict
from replay.gateway import ReplayGateway
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S
from schemas.checks import check
from schemas.codec import decode, encode
from schemas.verdicts import FailReason, VerdictFailed, VerdictGiven, VerdictRequested
from streams import asking, limits
from streams.asking import Asking
from streams.gateway import Places
from streams.limits import FAILURES_IN_A_ROW, OPEN_NS, Circuit, Rate, Terms
from tests.replay.test_gateway import book, request

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
HOLD = Opinion(action="HOLD", confidence=0.5, reasoning="Wait.")


class Fake:
    """A voter that does as the test says, and counts its calls."""

    def __init__(self, do: Callable[[VerdictRequested], Opinion]) -> None:
        self._do = do
        self.calls = 0

    def answer(self, asked: VerdictRequested, within_s: float) -> Answer:
        self.calls += 1
        return computed(self._do(asked))


class Scene:
    """Voters `words` and `chart` of a book, and a clock that stands still unless moved."""

    def __init__(self, words: Voter, chart: Voter | None = None, **terms: Any) -> None:
        self.now = request().observed_at + 40 * NS_PER_MS
        voters = {("b", "words"): words, ("b", "chart"): chart or Fake(lambda _: HOLD)}
        self.asking = Asking(voters, lambda: self.now, {("b", "words"): Terms(**terms)})

    def answers(self, count: int) -> list[Verdict]:
        """Wait for so many answers."""
        found: list[Verdict] = []
        until = time.monotonic() + PATIENCE_S
        while len(found) < count:
            assert time.monotonic() < until, found
            found += self.asking.answers()
            time.sleep(0.001)
        assert len(found) == count
        return found


def blocked() -> tuple[Fake, threading.Event]:
    """A voter that answers nobody until the event is set."""
    free = threading.Event()

    def wait(_: VerdictRequested) -> Opinion:
        free.wait(PATIENCE_S)
        return HOLD

    return Fake(wait), free


def test_an_answer_is_that_of_a_replay_at_the_latency_that_it_took() -> None:
    rules = book()
    scene = Scene(offline_voters(rules)["words"])
    asked = request()
    scene.asking.ask(asked)
    (answer,) = scene.answers(1)
    replayed = ReplayGateway(rules, RecordedVerdicts(), offline_voters(rules)).answer(asked)
    at = {"latency_ms": 40, "observed_at": scene.now, "occurred_at": scene.now}
    assert answer == msgspec.structs.replace(replayed, **at)
    again = ReplayGateway(book("fail"), RecordedVerdicts([("live", answer)]), {}).answer(asked)
    assert encode(again) == encode(answer)


@pytest.mark.parametrize(("late_ns", "latency_ms"), [(-5, 0), (0, 0), (1, 1), (NS_PER_MS, 1), (NS_PER_MS + 1, 2)])
def test_an_answer_is_never_observed_before_it_was_given(late_ns: int, latency_ms: int) -> None:
    scene = Scene(Fake(lambda _: HOLD))
    asked = request()
    scene.now = asked.observed_at + late_ns
    scene.asking.ask(asked)
    (answer,) = scene.answers(1)
    assert answer.latency_ms == latency_ms
    assert scene.now <= answer.observed_at < max(scene.now, asked.observed_at) + NS_PER_MS


def test_a_model_that_hangs_fails_at_the_deadline_and_holds_up_nobody() -> None:
    stuck, free = blocked()
    scene = Scene(stuck)
    asked = [request(0), request(0, "chart")]
    for one in asked:
        scene.asking.ask(one)
    (given_by_chart,) = scene.answers(1)
    assert isinstance(given_by_chart, VerdictGiven)
    scene.now = asked[0].deadline_at - 1
    assert scene.asking.answers() == []
    scene.now += 1
    (late,) = scene.answers(1)
    assert isinstance(late, VerdictFailed)
    assert (late.reason, late.cause, late.observed_at) == ("timeout", asked[0].id, asked[0].deadline_at)
    assert len(scene.asking) == 0
    free.set()
    _await(lambda: scene.asking.answers() == [] and scene.asking._models["b", "words"].hanging == 0)
    assert scene.asking.answers() == []


def test_a_model_that_hangs_does_not_keep_its_places() -> None:
    stuck, free = blocked()
    scene = Scene(stuck)
    many = 3 * limits.CONCURRENT_CALLS
    for number in range(many):
        scene.asking.ask(request(0, id=f"r{number}", deadline_at=scene.now + (number + 1) * NS_PER_S))
    _await(lambda: stuck.calls == limits.CONCURRENT_CALLS)
    scene.now += limits.CONCURRENT_CALLS * NS_PER_S
    failures = scene.answers(limits.CONCURRENT_CALLS)
    assert {verdict.cause for verdict in failures} == {f"r{number}" for number in range(limits.CONCURRENT_CALLS)}
    _await(lambda: stuck.calls == 2 * limits.CONCURRENT_CALLS)
    free.set()
    assert {type(verdict) for verdict in scene.answers(many - limits.CONCURRENT_CALLS)} == {VerdictGiven}


def test_a_model_of_which_too_many_calls_hang_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_HANGING", 3)
    stuck, free = blocked()
    scene = Scene(stuck)
    for number in range(3):
        scene.asking.ask(request(0, id=f"r{number}"))
    scene.now = request().deadline_at
    scene.answers(3)
    scene.asking.ask(request(9))
    (refused,) = scene.answers(1)
    assert isinstance(refused, VerdictFailed)
    assert (refused.reason, refused.detail, stuck.calls) == ("unavailable", "3 calls to it hang", 3)
    free.set()
    _await(lambda: scene.asking.answers() == [] and scene.asking._models["b", "words"].hanging == 0)
    scene.asking.ask(request(9))
    assert isinstance(scene.answers(1)[0], VerdictGiven)


def test_a_model_that_raises_fails_without_its_message() -> None:
    def leak(_: VerdictRequested) -> Opinion:
        raise OSError("https://models.test/?key=SECRET")

    scene = Scene(Fake(leak))
    scene.asking.ask(request())
    (failure,) = scene.answers(1)
    assert isinstance(failure, VerdictFailed)
    assert (failure.reason, failure.detail) == ("unavailable", "OSError")
    assert b"SECRET" not in encode(failure)


@pytest.mark.parametrize(
    "opinion",
    [
        Opinion(action="BUY", confidence=7.0, reasoning=""),
        Opinion(action="BUY", confidence=float("nan"), reasoning=""),
        Opinion(action="DUMP", confidence=0.5, reasoning=""),  # type: ignore[arg-type]
        Opinion(action="BUY", confidence=0.5, reasoning="\x1b[2J"),
        Opinion(action="BUY", confidence=0.5, reasoning="x" * 30_000),
        None,
    ],
)
def test_what_is_no_opinion_is_a_failure_that_every_reader_takes(opinion: Opinion) -> None:
    scene = Scene(Fake(lambda _: opinion))
    scene.asking.ask(request())
    (failure,) = scene.answers(1)
    assert isinstance(failure, VerdictFailed)
    assert failure.reason in {"unparsable", "unavailable"}
    check(failure)
    assert decode(encode(failure)) == failure


def test_a_request_read_after_its_deadline_fails_unasked() -> None:
    words = Fake(lambda _: HOLD)
    scene = Scene(words)
    scene.asking.ask(request(0, deadline_at=scene.now))
    (failure,) = scene.asking.answers()
    assert isinstance(failure, VerdictFailed)
    assert (failure.reason, failure.observed_at, words.calls) == ("timeout", scene.now, 0)


@pytest.mark.parametrize("changes", [{"model": "oracle"}, {"book": "stranger"}])
def test_nobody_to_ask_is_said(changes: dict[str, str]) -> None:
    scene = Scene(Fake(lambda _: HOLD))
    scene.asking.ask(msgspec.structs.replace(request(), **changes))
    (failure,) = scene.asking.answers()
    assert isinstance(failure, VerdictFailed)
    assert failure.reason == "unavailable"


def test_a_request_sent_again_while_it_is_open_is_asked_once() -> None:
    stuck, free = blocked()
    scene = Scene(stuck)
    for _ in range(3):
        scene.asking.ask(request())
    free.set()
    scene.answers(1)
    assert stuck.calls == 1


# Terms


def test_no_more_calls_run_at_once_than_the_terms_allow() -> None:
    stuck, free = blocked()
    scene = Scene(stuck, max_concurrent=2)
    for number in range(5):
        scene.asking.ask(request(0, id=f"r{number}"))
    _await(lambda: stuck.calls == 2)
    assert scene.asking.answers() == []
    assert stuck.calls == 2
    free.set()
    scene.answers(5)


def test_a_request_waits_for_the_rate_while_its_deadline_allows_and_fails_at_once_where_it_does_not() -> None:
    words = Fake(lambda _: HOLD)
    scene = Scene(words, rate=Rate(2))
    start = scene.now
    for number, patience_s in enumerate((30, 30, 59, 61)):
        scene.asking.ask(request(0, id=f"r{number}", deadline_at=start + patience_s * NS_PER_S))
    found = scene.answers(3)
    (failure,) = [verdict for verdict in found if isinstance(verdict, VerdictFailed)]
    assert (failure.cause, failure.reason) == ("r2", "unavailable")
    assert failure.detail == "over 2 calls a minute until after its deadline"
    assert (words.calls, len(scene.asking)) == (2, 1)
    scene.now = start + NS_PER_MIN
    (late,) = scene.answers(1)
    assert isinstance(late, VerdictGiven)


def test_calls_made_elsewhere_count_against_the_rate() -> None:
    scene = Scene(Fake(lambda _: HOLD), rate=Rate(1))
    scene.asking.called(("b", "words"), scene.now)
    scene.asking.ask(request())
    (failure,) = scene.answers(1)
    assert isinstance(failure, VerdictFailed)
    assert failure.reason == "unavailable"


def test_a_provider_that_fails_is_left_alone_and_tried_again_by_one_request() -> None:
    works = False

    def flaky(_: VerdictRequested) -> Opinion:
        if not works:
            raise OSError
        return HOLD

    words, circuit = Fake(flaky), Circuit("openai/models.test")
    scene = Scene(words, circuit=circuit)
    for number in range(FAILURES_IN_A_ROW):
        scene.asking.ask(request(0, id=f"r{number}"))
        scene.answers(1)
    scene.asking.ask(request(0, id="refused"))
    (refused,) = scene.asking.answers()
    assert isinstance(refused, VerdictFailed)
    assert (refused.reason, words.calls) == ("unavailable", FAILURES_IN_A_ROW)
    assert refused.detail == f"circuit open: {FAILURES_IN_A_ROW} calls in a row failed at openai/models.test"
    scene.now += OPEN_NS
    works = True
    for number in range(3):
        scene.asking.ask(request(0, id=f"again{number}", deadline_at=scene.now + NS_PER_S))
    found = {verdict.cause: verdict for verdict in scene.answers(3)}
    assert words.calls == FAILURES_IN_A_ROW + 1, "one tried, the others failed at once"
    assert isinstance(found["again0"], VerdictGiven)
    assert circuit.state(scene.now) == "closed"


def test_a_circuit_that_opens_fails_those_that_wait_behind_calls_that_hang() -> None:
    stuck, free = blocked()
    scene = Scene(stuck, max_concurrent=FAILURES_IN_A_ROW, circuit=Circuit("openai"))
    for number in range(FAILURES_IN_A_ROW):
        scene.asking.ask(request(0, id=f"r{number}"))
    for number in range(3):
        scene.asking.ask(request(0, id=f"later{number}", deadline_at=request().deadline_at + NS_PER_S))
    scene.now = request().deadline_at
    reasons = [verdict.reason for verdict in scene.answers(FAILURES_IN_A_ROW + 3) if isinstance(verdict, VerdictFailed)]
    assert sorted(reasons) == ["timeout"] * FAILURES_IN_A_ROW + ["unavailable"] * 3
    free.set()


@pytest.mark.parametrize(("reason", "opens"), [("over_budget", False), ("refused", False), ("unavailable", True)])
def test_only_what_the_provider_is_at_fault_for_opens_its_circuit(reason: FailReason, opens: bool) -> None:
    class Failing:
        def answer(self, asked: VerdictRequested, within_s: float) -> Answer:
            return Answer(said=Failure(reason=reason))

    circuit = Circuit("openai")
    scene = Scene(Failing(), circuit=circuit)
    for number in range(FAILURES_IN_A_ROW):
        scene.asking.ask(request(0, id=f"r{number}"))
        scene.answers(1)
    assert circuit.admits(scene.now) is not opens


def test_requests_that_another_answers_are_dropped_unless_they_are_under_way() -> None:
    stuck, free = blocked()
    scene = Scene(stuck, max_concurrent=1)
    for number in range(3):
        scene.asking.ask(request(0, id=f"r{number}"))
    _await(lambda: stuck.calls == 1)
    assert scene.asking.drop({"r0", "r2"}) == ["r2"]
    free.set()
    assert sorted(verdict.cause for verdict in scene.answers(2)) == ["r0", "r1"]
    assert len(scene.asking) == 0


def test_a_process_ends_while_a_model_hangs() -> None:
    code = """
import threading, time
from tests.streams.test_gateway import *
started = threading.Event()
def hang(_):
    started.set()
    threading.Event().wait()
scene = Scene(Fake(hang))
scene.asking.ask(request())
started.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=PATIENCE_S, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def _await(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


# What may be committed


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30)), max_size=60), st.integers(1, 30))
def test_a_position_passes_nothing_that_is_not_done(done: list[tuple[int, int]], count: int) -> None:
    places = Places()
    for partition in (0, 1):
        for offset in range(count):
            places.read(partition, 2 * offset)
    for partition, offset in done:
        places.done(partition, 2 * offset)
    for partition, position in places.positions().items():
        left = [2 * offset for offset in range(count) if (partition, offset) not in done]
        assert position == min(left, default=2 * count - 1)


def test_a_partition_that_was_given_away_is_not_committed() -> None:
    places = Places()
    places.read(3, 7)
    places.drop(3)
    places.done(3, 7)
    assert places.positions() == {}
    places.read(3, 5)
    assert places.positions() == {3: 5}
