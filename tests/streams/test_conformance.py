"""Each rule of the executor's contract is kept by an honest executor, and catches the one that breaks it."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from schemas.execution import CancelRequested
from streams.conformance import RULES, judge
from tests.streams.executors import BROKEN, CancelsWhatIsFilled, Honest, Idle, Script


def verdicts(executor: Honest) -> dict[str, str]:
    return {finding.rule: finding.verdict for finding in judge(*Script(executor).play())}


def test_an_honest_executor_keeps_and_shows_every_rule() -> None:
    assert verdicts(Honest()) == {rule.name: "kept" for rule in RULES}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_executor_is_caught_by_the_right_rule(kind: type[Honest]) -> None:
    assert {rule for rule, verdict in verdicts(kind()).items() if verdict == "broken"} == BROKEN[kind]


def test_every_rule_catches_somebody() -> None:
    assert set().union(*BROKEN.values()) == {rule.name for rule in RULES}


def test_what_is_written_again_with_new_times_counts_once() -> None:
    played, words = Script(Honest()).play()
    later = [
        msgspec.structs.replace(
            word, answer=msgspec.structs.replace(word.answer, observed_at=word.at, occurred_at=word.at)
        )
        for word in words
        if word.answer is not None
    ]
    assert {finding.verdict for finding in judge(played, words + later)} == {"kept"}


def test_a_fill_that_crossed_a_cancel_is_allowed() -> None:
    class Crossed(Honest):
        def cancel(self, request: CancelRequested) -> None:
            order = self.open.get(request.order)
            super().cancel(request)
            if order is not None:
                self.fill(order, order.quantity, Decimal(0), 1)

    assert set(verdicts(Crossed()).values()) == {"kept"}


def test_what_a_play_did_not_show_is_said() -> None:
    played, words = Script(Honest()).play()
    findings = judge(msgspec.structs.replace(played, restarted=False), words)
    assert {finding.rule for finding in findings if finding.verdict == "not shown"} == {"restart"}
    not_shown = {rule for rule, verdict in verdicts(Idle()).items() if verdict == "not shown"}
    assert not_shown == {"unasked", "expiry", "reduce-only"}


def test_a_breach_names_order_scenario_and_record() -> None:
    findings = judge(*Script(CancelsWhatIsFilled()).play())
    (breach,) = [breach for finding in findings for breach in finding.breaches]
    assert breach.scenario == "market"
    assert breach.text == "OrderCanceled, but the order is filled"
    assert json.loads(breach.record)["order"] == breach.order
    assert breach.position.startswith("fills/3/")
