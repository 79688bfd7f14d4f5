"""A book's money in the gateway: what it tells of, what it shows, and that nothing is spent while it is closed."""

from __future__ import annotations

import secrets
from decimal import Decimal

import msgspec
import pytest

from connectors.models.purse import OverBudgetError
from schemas.base import NS_PER_DAY, NS_PER_S
from schemas.book import Book
from schemas.errors import KafkaError
from schemas.operations import AlertRaised
from schemas.verdicts import ModelCallEnded, ModelCallStarted, VerdictGiven
from streams import metrics
from streams.accounts import Account
from streams.recall import Recall, repeated
from tests.integration.minds import COST, WORST, paid_book
from tests.replay.test_gateway import request, verdict
from tests.schemas.samples import full

T0 = 1_700_000_000 * NS_PER_S


class Scene:
    """An account, its alerts, and a clock that stands still."""

    def __init__(self, **caps: str) -> None:
        self.now = T0
        self.book = paid_book(f"book-{secrets.token_hex(4)}", **caps)
        self.alerts: list[AlertRaised] = []
        self.account = Account(self.book, self.alerts.append, lambda: self.now)

    def call(self, number: int, at: int) -> tuple[ModelCallStarted, ModelCallEnded]:
        """Give a call that another process made."""
        envelope = {"book": self.book.name, "model": "a", "observed_at": at, "occurred_at": at}
        started = msgspec.structs.replace(
            full(ModelCallStarted), id=f"s{number}", attempt=1, worst_cost_usd=WORST, **envelope
        )
        ended = msgspec.structs.replace(
            full(ModelCallEnded), id=f"e{number}", cause=started.id, cost_usd=COST, **envelope
        )
        return started, ended


def test_an_account_that_is_closed_lets_no_call_through() -> None:
    scene = Scene()
    started, ended = scene.call(0, T0)
    with pytest.raises(KafkaError, match=r"no call was made: book .* belongs to another gateway now"):
        scene.account.tell(started)
    scene.account.tell(ended)  # its answer is paid for, and as good as it is


def test_what_others_have_spent_counts_and_a_call_without_an_end_counts_its_worst() -> None:
    scene = Scene(per_day_usd="1.1")
    for event in (*scene.call(0, T0 - NS_PER_S), scene.call(1, T0)[0]):
        scene.account.take(event)
    assert Decimal("1.1") - COST - WORST < WORST
    with pytest.raises(OverBudgetError, match="all models per day"):
        scene.account.reserve("a", WORST, T0)
    scene.account.reserve("a", WORST, T0 + NS_PER_DAY)


def test_a_cap_is_told_of_when_it_is_nearly_spent_and_when_it_stops_a_call_under_ids_that_stay() -> None:
    ids = []
    for _ in range(2):
        scene = Scene(per_day_usd="0.6")
        scene.account.book = scene.book = msgspec.structs.replace(scene.book, name="b")
        for number in range(3):
            for event in scene.call(number, T0):
                scene.account.take(event)
        with pytest.raises(OverBudgetError):
            scene.account.reserve("a", WORST, T0)
        assert [alert.severity for alert in scene.alerts] == ["warning", "critical"]
        assert {alert.book for alert in scene.alerts} == {"b"}
        ids.append([alert.id for alert in scene.alerts])
    assert ids[0] == ids[1], "what is told again after a restart is the same alert"


def test_yesterdays_caps_are_not_told_of_today() -> None:
    scene = Scene(per_day_usd="0.2", per_hour_usd="0.2")
    for event in scene.call(0, T0 - NS_PER_DAY):
        scene.account.take(event)
    assert scene.alerts == []


def test_the_share_of_a_cap_is_shown() -> None:
    scene = Scene(per_day_usd="2", per_run_usd="0")
    scene.account.reserve("a", Decimal(0), T0)
    started, ended = scene.call(0, T0)
    scene.account.take(started)
    scene.account.show()

    def share(span: str) -> float | None:
        labels = {"book": scene.book.name, "model": "", "span": span}
        return metrics.REGISTRY.get_sample_value("quorum_cap_spent_share", labels)

    assert (share("day"), share("run"), share("hour")) == (0.25, 1.0, None)
    scene.account.take(ended)
    scene.account.show()
    assert share("day") == 0.1
    metrics.unspent([scene.book.name])
    assert share("day") is None


def test_a_call_is_counted_by_what_came_of_it() -> None:
    model = f"m-{secrets.token_hex(4)}"
    call = msgspec.structs.replace(
        full(ModelCallEnded), model=model, outcome="throttled", prompt_tokens=7, reply_tokens=2, cost_usd=COST
    )
    metrics.model_call("openai", call)

    def value(name: str, **labels: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, {"model": model, "provider": "openai", **labels})

    assert value("quorum_model_calls_total", outcome="throttled") == 1.0
    assert value("quorum_model_tokens_total", part="prompt") == 7.0
    assert value("quorum_model_cost_usd_total") == float(COST)


# What was answered before


def outside() -> Book:
    return paid_book()


def test_the_key_is_the_prompt_as_sent_the_model_and_its_parameters() -> None:
    book = outside()
    recall = Recall([book])
    asked = request(0, "a")
    later = request(0, "a", id="later", observed_at=asked.observed_at + 5)
    assert recall.key(asked) == recall.key(later)
    keys = {recall.key(asked), recall.key(request(1, "a")), recall.key(request(0, "c"))}
    warmer = msgspec.structs.replace(book.models["a"], temperature=1.0)
    other = msgspec.structs.replace(book, models={**book.models, "a": warmer})
    keys.add(Recall([other]).key(asked))
    assert len(keys) == 4
    assert recall.key(request(0, "a", prompt=())) is None


def test_the_answer_that_was_used_longest_ago_makes_room() -> None:
    recall = Recall([outside()], kept=2)
    asked = [request(number, "a") for number in range(3)]
    keys = [recall.key(one) for one in asked]
    for one, key in zip(asked[:2], keys[:2], strict=True):
        assert key is not None
        recall.learn(key, verdict(one))
    assert keys[0] is not None
    assert keys[2] is not None
    assert recall.find(keys[0]) == verdict(asked[0])
    recall.learn(keys[2], verdict(asked[2]))
    assert [key is not None and recall.find(key) is not None for key in keys] == [True, False, True]


def test_a_repetition_costs_nothing_names_its_source_and_is_not_repeated_itself() -> None:
    first, second = request(0, "a"), request(0, "a", id="second", question="another")
    recorded = msgspec.structs.replace(verdict(first), cost_usd=COST, prompt_tokens=9, model_version="v7")
    said = repeated(recorded, second, 3)
    assert isinstance(said, VerdictGiven)
    assert (said.repeats, said.cause, said.question, said.latency_ms) == (recorded.id, "second", "another", 3)
    assert (said.cost_usd, said.prompt_tokens, said.model_version) == (Decimal(0), 0, "v7")
    recall = Recall([outside()])
    key = recall.key(second)
    assert key is not None
    recall.learn(key, said)
    assert len(recall) == 0
