"""How a mind pays, tells, waits and gives up, whatever provider stands behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.models import deadline, mind
from connectors.models.prompts import Rendered
from connectors.models.provider import CallError, Reply
from connectors.voters.protocol import Answer, Failure, Opinion
from replay.gateway import answered
from schemas.book import ModelSettings
from schemas.decisions import TradeProposed
from schemas.execution import OrderRequested
from schemas.verdicts import ModelCallEnded, ModelCallStarted, VerdictRequested
from tests.agents.builders import clock, make_book
from tests.agents.scene import Scene, all_of
from tests.connectors.models.asking import PRICES, Desk, question
from tests.connectors.models.faults import FAULTS, GOOD, vote

SETTINGS = msgspec.convert({"kind": "openai", "model_id": "x", **PRICES}, ModelSettings)
GOOD_REPLY = Reply(arguments=GOOD, text=GOOD, prompt_tokens=1000, reply_tokens=50)
UNFIT_REPLY = Reply(arguments=vote(confidence=1.7), text="1.7", prompt_tokens=1000, reply_tokens=50)
Act = Reply | Exception | Callable[[], Reply]


class Stub:
    """A provider that does what its script says; the last line holds for all calls after it."""

    name = "stub"

    def __init__(self, *script: Act) -> None:
        self.script = script
        self.corrections: list[str] = []

    def call(self, rendered: Rendered, correction: str, within_s: float) -> Reply:
        self.corrections.append(correction)
        act = self.script[min(len(self.corrections), len(self.script)) - 1]
        if isinstance(act, Exception):
            raise act
        return act if isinstance(act, Reply) else act()


def ask(*script: Act, within_s: float = 30.0, **budget: Any) -> tuple[Answer, Desk, Stub]:
    stub = Stub(*script)
    desk = Desk(SETTINGS, stub, **budget)
    return desk.ask(within_s), desk, stub


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mind, "WAIT_S", 0.01)


def failed(answer: Answer) -> Failure:
    assert isinstance(answer.said, Failure)
    return answer.said


def test_an_answer_costs_what_the_provider_tells() -> None:
    answer, desk, _ = ask(GOOD_REPLY)
    assert isinstance(answer.said, Opinion)
    assert answer.cost_usd == Decimal("0.0015")
    assert desk.starts[0].id == f"{question().id}/call/1/{desk.starts[0].observed_at}"
    assert desk.ends[0].request == question().id


def test_a_question_costs_two_calls_at_most() -> None:
    throttled = CallError("throttled", "", may_retry=True, prompt_tokens=0, reply_tokens=0)
    for script in ([UNFIT_REPLY], [throttled], [throttled, UNFIT_REPLY], [UNFIT_REPLY, throttled]):
        answer, desk, stub = ask(*script)
        failed(answer)
        assert len(stub.corrections) == len(desk.starts) == 2


def test_what_was_wrong_is_told_once_and_what_was_not_taken_on_is_asked_as_it_was() -> None:
    _, _, stub = ask(UNFIT_REPLY, GOOD_REPLY)
    assert stub.corrections[0] == ""
    assert "1.7 is not between 0 and 1" in stub.corrections[1]
    _, _, stub = ask(CallError("throttled", "slow down", may_retry=True), GOOD_REPLY)
    assert stub.corrections == ["", ""]


def test_unknown_usage_is_charged_at_its_worst() -> None:
    answer, desk, _ = ask(CallError("unavailable", "cut"))
    assert answer.cost_usd == desk.starts[0].worst_cost_usd > 0
    answer, desk, _ = ask(Reply(arguments=GOOD, text=GOOD))
    assert isinstance(answer.said, Opinion)
    assert answer.cost_usd == desk.starts[0].worst_cost_usd
    assert (answer.prompt_tokens, answer.reply_tokens) == (0, 0)


def test_a_mistake_in_a_provider_is_a_failure_whose_words_are_not_told() -> None:
    answer, desk, _ = ask(RuntimeError("the key is hunter2"))
    assert failed(answer).reason == "unavailable"
    assert failed(answer).detail == "the call failed by a RuntimeError"
    assert answer.cost_usd == desk.starts[0].worst_cost_usd


def test_over_the_budget_nothing_is_called_and_nothing_is_told() -> None:
    answer, desk, stub = ask(GOOD_REPLY, per_call_usd=Decimal("0.001"))
    assert failed(answer).reason == "over_budget"
    assert "0.001" in failed(answer).detail
    assert (stub.corrections, desk.told) == ([], [])


def test_a_second_call_that_the_budget_does_not_hold_leaves_the_first_one_s_word() -> None:
    _, desk, _ = ask(UNFIT_REPLY)
    just_one = desk.starts[0].worst_cost_usd + Decimal("0.001")
    answer, desk, stub = ask(UNFIT_REPLY, per_run_usd=just_one)
    assert failed(answer).reason == "unparsable"
    assert len(stub.corrections) == 1


@pytest.mark.parametrize("within_s", [-1.0, 0.0, 0.3])
def test_without_time_nothing_is_called(within_s: float) -> None:
    answer, desk, stub = ask(GOOD_REPLY, within_s=within_s)
    assert failed(answer).reason == "timeout"
    assert (stub.corrections, desk.told) == ([], [])


def test_a_wait_that_leaves_no_time_is_not_waited() -> None:
    answer, _, stub = ask(CallError("throttled", "later", may_retry=True, retry_after_s=600.0))
    assert failed(answer).reason == "unavailable"
    assert len(stub.corrections) == 1


def test_a_provider_that_never_ends_is_left_behind_at_the_deadline() -> None:
    over = threading.Event()

    def hang() -> Reply:
        over.wait(20)
        return GOOD_REPLY

    begun = time.monotonic()
    answer, desk, _ = ask(hang, within_s=0.8)
    took_s = time.monotonic() - begun
    over.set()
    assert took_s < 10
    assert failed(answer).reason == "timeout"
    assert answer.cost_usd == desk.starts[0].worst_cost_usd


def test_with_many_calls_that_hang_no_more_are_made_until_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "MAX_LEFT", 1)
    over, ended = threading.Event(), threading.Event()

    def hang() -> Reply:
        over.wait(20)
        ended.set()
        return GOOD_REPLY

    stub = Stub(hang, GOOD_REPLY)
    desk = Desk(SETTINGS, stub)
    assert failed(desk.ask(0.6)).reason == "timeout"
    refused = desk.ask()
    assert failed(refused).detail == "1 calls to it hang"
    assert refused.cost_usd == 0
    over.set()
    ended.wait(20)
    until = time.monotonic() + 20
    while isinstance(desk.ask().said, Failure) and time.monotonic() < until:
        time.sleep(0.01)
    assert isinstance(desk.ask().said, Opinion)


def test_a_start_that_cannot_be_kept_stops_the_call_and_frees_the_money() -> None:
    stub = Stub(GOOD_REPLY)
    desk = Desk(SETTINGS, stub)

    def full(_: object) -> None:
        raise OSError("no space left")

    desk.mind._tell = full
    with pytest.raises(OSError, match="no space"):
        desk.mind.answer(question(), 5.0)
    assert stub.corrections == []
    assert desk.purse.spent() == 0


def test_a_start_that_takes_all_the_time_to_keep_makes_no_call() -> None:
    stub = Stub(GOOD_REPLY)
    desk = Desk(SETTINGS, stub)
    keep = desk.mind._tell

    def slow(event: ModelCallStarted | ModelCallEnded) -> None:
        keep(event)
        time.sleep(0.8 if isinstance(event, ModelCallStarted) else 0.0)

    desk.mind._tell = slow
    answer = desk.ask(0.7)
    assert failed(answer).reason == "timeout"
    assert answer.cost_usd == 0
    assert stub.corrections == []


def test_threads_share_a_mind() -> None:
    desk = Desk(SETTINGS, Stub(GOOD_REPLY), per_run_usd=Decimal(1))
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda i: desk.mind.answer(question(id=f"q{i}"), 5.0), range(64)))
    assert all(isinstance(answer.said, Opinion) for answer in answers)
    assert desk.purse.spent() == sum(answer.cost_usd for answer in answers) == 64 * Decimal("0.0015")
    assert len({event.id for event in desk.told}) == 128


REASONS = sorted({fault.event for fault in FAULTS} - {"VerdictGiven"} | {"over_budget"})


@pytest.mark.parametrize("reason", [*REASONS, ""])
def test_no_failure_makes_a_trade(reason: Any) -> None:
    """Nor a proposal; the same desk trades on the answer of the last case, which shows that it can."""
    said = Failure(reason=reason) if reason else Opinion(action="BUY", confidence=1.0, reasoning="So.")
    scene = Scene(make_book(models=3, analysts={"every_min": 1, "on_news": False}, consensus={"agree": 1}))
    asked = 0
    for minute in range(1, 40):
        scene.market([100.0 + minute], start=minute)
        requests = all_of(VerdictRequested, scene.tell(clock(minute)))
        asked += len(requests)
        scene.tell(*(answered(request, Answer(said=said), 100) for request in requests))
    assert asked > 30
    assert bool(all_of(TradeProposed, scene.said)) is bool(all_of(OrderRequested, scene.said)) is (not reason)
