"""Models are asked once: before the replay, within the budget, and never again for what they said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.stubmodel import StubModel, stub_model
from replay.audit import audit
from replay.cassette import RecordedVerdicts
from replay.gateway import Coverage, NotRecordedError
from replay.record import Span, estimate
from replay.recording import InterruptedRecordingError
from replay.results import Summary
from replay.rundir import RunDir
from replay.sources import open_archive
from replay.sweep import Ground, Sources, ask_for_all, book_with, settings_of
from replay.tape import read_tape
from schemas.book import BudgetSettings, Caps
from schemas.errors import ArchiveError, QuorumError
from schemas.verdicts import ModelCallEnded, ModelCallStarted, VerdictFailed, VerdictGiven, VerdictRequested
from tests.replay.cassettes import MODELS, bars, book, model, record, replay

D = Decimal
QUESTIONS = 40
"""On one instrument, every 15 minutes of 600; the last on the boundary that ends them."""


@dataclass
class Scene:
    root: Path
    stub: StubModel

    def calls(self) -> int:
        return self.stub.calls

    def spent(self) -> Decimal:
        return spent(self.root / "cassette")


def spent(cassette: Path) -> Decimal:
    """Add up what the calls on a cassette have cost; one without an end, its worst."""
    worst: dict[str, Decimal] = {}
    for _, event in read_tape(cassette):
        if isinstance(event, ModelCallStarted):
            worst[event.id] = event.worst_cost_usd
        elif isinstance(event, ModelCallEnded):
            worst[event.cause] = event.cost_usd
    return sum(worst.values(), D(0))


def coverage(summary: Summary) -> dict[str, Coverage]:
    held = summary.run["coverage"]
    assert isinstance(held, dict)
    return held


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    bars(tmp_path / "archive")
    with stub_model() as stub:
        yield Scene(tmp_path, stub)


def test_the_second_run_calls_nobody_costs_nothing_and_leaves_the_same_log(scene: Scene) -> None:
    rules = book(scene.stub)
    first = replay(rules, scene.root, "first")
    asked = {name: coverage(first)[name] for name in MODELS}
    questions = asked["one"].requests
    assert questions >= QUESTIONS
    for name in MODELS:
        assert (asked[name].asked, asked[name].calls) == (questions, questions)
        assert asked[name].cost_usd > 0 == asked[name].recorded_cost_usd
    assert scene.calls() == 2 * questions
    paid = sum((each.cost_usd for each in asked.values()), D(0))
    assert paid == scene.spent() == D(scene.stub.prompt_tokens * 2 + scene.stub.reply_tokens * 10) / 1_000_000

    second = replay(rules, scene.root, "second")
    assert scene.calls() == 2 * questions
    assert second.log_sha256 == first.log_sha256
    for name in MODELS:
        again = coverage(second)[name]
        assert again == Coverage(requests=questions, recorded=questions, recorded_cost_usd=asked[name].cost_usd)
    audit(scene.root / "second", open_archive(scene.root / "archive", rules).frames(), rules)


def test_a_second_run_needs_no_model_to_be_there(scene: Scene) -> None:
    rules = book(scene.stub)
    first = replay(rules, scene.root, "first")
    elsewhere = {**rules.models, **{name: model(None) for name in MODELS}}
    again = replay(replace(rules, models=elsewhere), scene.root, "second")
    assert again.log_sha256 == first.log_sha256


def test_a_verdict_arrives_after_the_latency_it_really_had(tmp_path: Path) -> None:
    bars(tmp_path / "archive", 60)
    with stub_model(delay_s=0.05) as stub:
        replay(book(stub), tmp_path, "run")
    given = [one for one in RunDir(tmp_path / "run").events("journal", VerdictGiven) if one.model in MODELS]
    asked_at = {
        cause.id: cause.observed_at for cause in RunDir(tmp_path / "run").events("verdict-requests", VerdictRequested)
    }
    assert given
    for one in given:
        assert one.latency_ms >= 50
        assert one.observed_at == asked_at[one.cause] + one.latency_ms * 1_000_000


def test_other_parameters_are_other_answers(scene: Scene) -> None:
    rules = book(scene.stub)
    record(rules, scene.root)
    calls = scene.calls()
    warmer = replace(rules, models={**rules.models, "two": model(scene.stub, temperature=0.7)})
    asked = record(warmer, scene.root)
    assert asked.calls.keys() == {"two"}
    assert scene.calls() == calls + calls // 2
    dearer = replace(rules, models={**rules.models, "two": model(scene.stub, usd_per_million_prompt_tokens=D(9))})
    assert not record(dearer, scene.root).calls  # what a call costs steers nothing


class TestPolicies:
    def test_without_a_cassette_nobody_is_asked(self, scene: Scene) -> None:
        with pytest.raises(NotRecordedError, match=r"'one' has no recorded answer .* give --cassette DIR"):
            replay(book(scene.stub), scene.root, "run", cassette=None)
        assert not scene.calls()

    def test_fallback_asks_offline_voters_alone(self, scene: Scene) -> None:
        rules = book(scene.stub, on_unrecorded="fallback")
        came = coverage(replay(rules, scene.root, "run", cassette=None))
        assert came["trend"].asked == came["trend"].requests > 0
        assert came["one"].unanswered == came["one"].requests > 0
        failures = RunDir(scene.root / "run").events("journal", VerdictFailed)
        assert {failure.reason for failure in failures} == {"not_recorded"}
        assert not scene.calls()

    def test_hold_asks_nobody_at_all(self, scene: Scene) -> None:
        came = coverage(replay(book(scene.stub, on_unrecorded="hold"), scene.root, "run", cassette=None))
        assert all(each.unanswered == each.requests > 0 for each in came.values())

    def test_fail_stops_and_says_so(self, scene: Scene) -> None:
        with pytest.raises(QuorumError, match="no recorded verdict of model 'one'"):
            replay(book(scene.stub, on_unrecorded="fail"), scene.root, "run")
        assert not scene.calls()

    @pytest.mark.parametrize("policy", ["fallback", "hold", "fail"])
    def test_what_is_recorded_is_used_by_all(self, policy: str, scene: Scene) -> None:
        record(book(scene.stub), scene.root)
        rules = book(scene.stub, on_unrecorded=policy, analysts=replace(book(scene.stub).analysts, models=MODELS))
        came = coverage(replay(rules, scene.root, "run"))
        assert all(each.recorded == each.requests > 0 for each in came.values())


class TestBudget:
    @pytest.mark.parametrize("cap", ["0.05", "0.10"])
    def test_a_cap_is_never_passed_and_what_it_stops_is_asked_when_there_is_more(self, cap: str, scene: Scene) -> None:
        rules = book(scene.stub, budget=BudgetSettings(per_run_usd=D(cap)))
        first = coverage(replay(rules, scene.root, "first"))
        assert 0 < scene.spent() <= D(cap)
        stopped = sum(first[name].over_budget for name in MODELS)
        assert stopped == sum(first[name].unanswered for name in MODELS) > 0
        reasons = [one.reason for one in RunDir(scene.root / "first").events("journal", VerdictFailed)]
        assert reasons == ["over_budget"] * stopped

        calls = scene.calls()
        same = replay(rules, scene.root, "same")  # an unfinished recording has the rest of its budget, not a new one
        assert scene.spent() <= D(cap)
        assert scene.calls() - calls <= 1
        assert sum(coverage(same)[name].over_budget for name in MODELS) == stopped - (scene.calls() - calls)

        more = coverage(replay(replace(rules, budget=BudgetSettings(per_run_usd=D(5))), scene.root, "more"))
        assert not any(more[name].unanswered for name in MODELS)
        assert sum(more[name].recorded + more[name].asked for name in MODELS) == 2 * more["one"].requests

    def test_the_run_says_what_was_not_asked(self, scene: Scene) -> None:
        asked = record(book(scene.stub, budget=BudgetSettings(per_run_usd=D("0.05"))), scene.root)
        assert {failure.reason for failure in asked.failed.values()} == {"over_budget"}
        assert all("budget of all models per run" in failure.detail for failure in asked.failed.values())

    def test_a_model_of_its_own_cap_stops_alone(self, scene: Scene) -> None:
        rules = book(scene.stub, budget=BudgetSettings(models={"one": Caps(per_run_usd=D("0.03"))}))
        asked = record(rules, scene.root)
        assert {model for model, _, _ in asked.failed} == {"one"}
        assert asked.calls["two"] >= QUESTIONS

    def test_a_complete_recording_leaves_the_next_its_whole_budget(self, scene: Scene) -> None:
        rules = book(scene.stub, budget=BudgetSettings(per_run_usd=D("0.40")))
        assert not record(rules, scene.root).failed
        once = scene.spent()
        assert once > D("0.10")
        warmer = {name: model(scene.stub, temperature=0.5) for name in MODELS}
        assert not record(replace(rules, models={**rules.models, **warmer}), scene.root).failed
        assert scene.spent() == 2 * once

    @pytest.mark.parametrize("fault_pct", [0, 40])
    def test_a_dollar_is_not_passed_by_fifty_at_once_with_random_failures(self, fault_pct: int, tmp_path: Path) -> None:
        bars(tmp_path / "archive", 1_500)
        dear = {"usd_per_million_prompt_tokens": D(20), "usd_per_million_reply_tokens": D(100), "max_concurrent": 50}
        with stub_model(delay_s=0.005, fault_pct=fault_pct) as stub:
            rules = book(stub, budget=BudgetSettings(per_run_usd=D(1)))
            models = {**rules.models, **{name: model(stub, **dear) for name in MODELS}}
            asked = record(replace(rules, models=models), tmp_path)
        assert asked.failed
        assert D("0.80") < spent(tmp_path / "cassette") <= 1


class TestWhatIsNoAnswer:
    def test_a_model_that_cannot_be_reached_ends_the_recording_and_what_others_said_is_kept(self, scene: Scene) -> None:
        rules = book(scene.stub)
        models = {**rules.models, "one": model(None, max_concurrent=4)}
        with pytest.raises(QuorumError, match="model 'one' could not be reached on 20 questions in a row"):
            record(replace(rules, models=models), scene.root)
        kept = RecordedVerdicts.load(scene.root / "cassette")
        assert len(kept) == scene.calls()
        assert record(rules, scene.root).calls["two"] == QUESTIONS - len(kept)
        assert scene.calls() == 2 * QUESTIONS

    def test_a_failure_of_the_model_is_an_answer_and_one_to_reach_it_is_asked_again(self, tmp_path: Path) -> None:
        bars(tmp_path / "archive", 300)
        with stub_model(fault_pct=100) as stub:  # the first call of every question fails
            first = replay(book(stub), tmp_path, "first")
            calls, missed = stub.calls, sum(coverage(first)[name].unanswered for name in MODELS)
            second = replay(book(stub), tmp_path, "second")
            assert stub.calls == calls + missed
            third = replay(book(stub), tmp_path, "third")
            assert stub.calls == calls + missed
        assert third.log_sha256 == second.log_sha256
        assert sum(coverage(first)[name].calls for name in MODELS) == calls > 2 * coverage(first)["one"].requests


def test_ctrl_c_keeps_what_was_answered_and_the_next_run_asks_the_rest(scene: Scene) -> None:
    rules = book(scene.stub, models={name: model(scene.stub, max_concurrent=2) for name in MODELS})
    rules = replace(rules, analysts=replace(rules.analysts, models=MODELS))
    stopping = threading.Event()
    scene.stub.delay_s = 0.02
    with pytest.raises(InterruptedRecordingError, match="are kept in"):
        record(rules, scene.root, stopping, lambda _: stopping.set())
    kept = len(RecordedVerdicts.load(scene.root / "cassette"))
    assert 0 < kept == scene.calls() < 2 * QUESTIONS
    asked = record(rules, scene.root)
    assert len(asked.requests) == scene.calls() - kept
    assert not record(rules, scene.root).calls


def test_what_an_interrupted_recording_spent_counts_when_it_goes_on(scene: Scene) -> None:
    rules = book(scene.stub, budget=BudgetSettings(per_run_usd=D("0.30")))
    assert record(replace(rules, budget=BudgetSettings(per_run_usd=D("0.10"))), scene.root).failed
    before = scene.spent()
    assert record(rules, scene.root).requests
    assert before < scene.spent() <= D("0.30")


def test_an_estimate_asks_nobody_and_bounds_what_is_then_paid(scene: Scene) -> None:
    rules = book(scene.stub)
    one, two = estimate(rules, Span(scene.root / "archive", None, None), scene.root / "cassette", lambda _: None)
    assert not scene.calls()
    assert not (scene.root / "cassette").exists()
    asked = record(rules, scene.root)
    for each in (one, two):
        assert each.questions == asked.calls[each.model]
        assert asked.cost_usd[each.model] <= each.worst_usd
        assert D("0.3") < asked.cost_usd[each.model] / each.likely_usd < 3
    left = estimate(rules, Span(scene.root / "archive", None, None), scene.root / "cassette", lambda _: None)
    assert [(each.questions, each.worst_usd) for each in left] == [(0, D(0))] * 2


def test_a_screen_is_asked_first_and_the_others_only_where_it_lets_them(scene: Scene) -> None:
    rules = book(scene.stub)
    rules = replace(rules, analysts=replace(rules.analysts, screen="one", models=("two", "trend")))
    asked = record(rules, scene.root)
    assert asked.calls["one"] == QUESTIONS
    first = replay(rules, scene.root, "run")
    assert 0 < asked.calls["two"] == coverage(first)["two"].requests < QUESTIONS
    assert not any(coverage(first)[name].calls for name in MODELS)
    assert scene.calls() == asked.calls["one"] + asked.calls["two"]


def test_a_sweep_asks_once_for_all_settings_and_its_runs_ask_nothing(scene: Scene) -> None:
    data = {
        "name": "minds",
        "instruments": [{"id": "BTC/USD@test"}],
        "features": {"ema_fast": 5, "ema_slow": 12},
        "analysts": {"models": ["one"]},
        "consensus": {"agree": 1},
        "models": {
            "one": {
                "kind": "openai",
                "model_id": "stub-1",
                "endpoint": scene.stub.url,
                "usd_per_million_prompt_tokens": 2,
                "usd_per_million_reply_tokens": 10,
            }
        },
    }
    settings = settings_of({"risk.order_pct": (5, 10, 20)})
    sources = Sources(archive=scene.root / "archive", cassette=scene.root / "cassette")
    ask_for_all(data, settings, sources, lambda _: None, lambda _: None, threading.Event())
    calls = scene.calls()
    assert calls >= QUESTIONS
    ground = Ground(sources, book_with(data, settings[0]))
    outcomes = [ground.outcome(book_with(data, setting), setting) for setting in settings]
    assert not any(outcome.failure for outcome in outcomes)
    assert scene.calls() == calls


def test_a_sweep_does_not_compare_runs_that_miss_answers(scene: Scene) -> None:
    data = {
        "name": "minds",
        "instruments": [{"id": "BTC/USD@test"}],
        "analysts": {"models": ["one"]},
        "consensus": {"agree": 1},
        "budget": {"per_run_usd": 0.001},
        "models": {"one": {"kind": "openai", "model_id": "gpt-4o-mini", "endpoint": scene.stub.url}},
    }
    sources = Sources(archive=scene.root / "archive", cassette=scene.root / "cassette")
    with pytest.raises(QuorumError, match="questions to model 'one' have no answer, over budget"):
        ask_for_all(data, [{}], sources, lambda _: None, lambda _: None, threading.Event())


def test_a_damaged_cassette_is_an_error_and_nobody_is_asked(scene: Scene) -> None:
    rules = book(scene.stub)
    record(rules, scene.root)
    calls = scene.calls()
    (tape,) = (scene.root / "cassette").glob("*.cassette")
    tape.write_bytes(tape.read_bytes().replace(b'"confidence":0.', b'"confidence":0.1', 1))
    for ask in (lambda: replay(rules, scene.root, "run"), lambda: record(rules, scene.root)):
        with pytest.raises(ArchiveError, match=r"00000001\.cassette, line \d+: not a whole entry"):
            ask()
    assert scene.calls() == calls
