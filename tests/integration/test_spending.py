"""Outside models on a real broker: no call that is not written down, no cap that is passed, nothing paid twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.voters import Failure, Opinion
from schemas.base import NS_PER_S, derived_id
from schemas.book import Book
from schemas.codec import encode
from schemas.errors import KafkaError
from schemas.operations import AlertRaised
from schemas.topics import PARTITIONS
from schemas.verdicts import ModelCallEnded, ModelCallStarted, VerdictFailed, VerdictGiven, VerdictRequested
from streams.calls import CallLog
from streams.gateway import GROUP, Gateway
from streams.health import Health
from streams.kafka import Kafka, partition_of
from streams.limits import FAILURES_IN_A_ROW
from streams.reading import read_back
from streams.wire import CALLS, REQUESTS, headers_of, key_of
from tests.integration.minds import BUY, COST, WORST, Call, paid_book, paying
from tests.integration.test_gateway import _await, await_verdicts, everything, lag, running, verdicts
from tests.replay.test_gateway import request

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
CHILD = """
import json, sys, threading
from streams.gateway import Gateway
from streams.kafka import Kafka
from tests.integration.minds import paid_book, paying

told = json.loads(sys.argv[1])

def hang(_):
    print("called", flush=True)
    threading.Event().wait()

kafka = Kafka(bootstrap=told["bootstrap"], namespace=told["namespace"])
Gateway(kafka, [paid_book(per_day_usd="0.9")], outside=paying(hang)).run(threading.Event())
"""


def ask(number: int, model: str = "a", book: str = "b", name: str = "") -> VerdictRequested:
    """Give a question of this moment; the same number asks the same."""
    now = time.time_ns()
    return request(
        number,
        model,
        id=name or f"{book}-{number}-{model}",
        book=book,
        observed_at=now,
        occurred_at=now,
        deadline_at=now + round(PATIENCE_S * NS_PER_S),
    )


def publish(kafka: Kafka, *asked: VerdictRequested) -> None:
    """Send requests as a desk does: each to its book's partition."""
    producer = Producer(kafka.producer())
    for one in asked:
        producer.produce(
            kafka.name(REQUESTS),
            partition=partition_of(one.book),
            key=key_of(one),
            value=encode(one),
            headers=headers_of(one),
        )
    producer.flush()


def gateway(kafka: Kafka, call: Call, *books: Book, health: Health | None = None) -> Gateway:
    return Gateway(kafka, books or [paid_book()], outside=paying(call), health=health)


def calls(kafka: Kafka) -> list[ModelCallStarted | ModelCallEnded]:
    found = everything(kafka, CALLS, PARTITIONS)
    return cast("list[ModelCallStarted | ModelCallEnded]", found)


def starts(kafka: Kafka) -> list[ModelCallStarted]:
    return [call for call in calls(kafka) if isinstance(call, ModelCallStarted)]


def begin_anew(kafka: Kafka, offset: int = 0) -> None:
    """Take the group back to an offset, as if nothing since had been committed."""
    consumer = Consumer(kafka.consumer(GROUP))
    places = [TopicPartition(kafka.name(REQUESTS), n, offset) for n in range(PARTITIONS)]
    _await(lambda: _committed(consumer, places))
    consumer.close()


def _committed(consumer: Consumer, places: list[TopicPartition]) -> bool:
    try:
        consumer.commit(offsets=places, asynchronous=False)
    except Exception:  # noqa: BLE001 - the group's members have not all left yet
        return False
    return True


def test_a_call_stands_on_kafka_before_it_is_made(kafka: Kafka) -> None:
    before: list[list[str]] = []

    def look(_: VerdictRequested) -> Opinion:
        before.append([call.cause for call in calls(kafka)])
        return BUY

    asked = ask(0)
    with running(gateway(kafka, look)):
        publish(kafka, asked)
        (given,) = await_verdicts(kafka, [asked]).values()
    assert before == [[asked.id]]
    assert isinstance(given, VerdictGiven)
    assert (given.cost_usd, given.repeats) == (COST, "")
    started, ended = calls(kafka)
    assert (ended.cause, ended.key, started.key) == (started.id, "b", "b")


def test_a_call_that_a_crash_cut_off_has_cost_its_worst(kafka: Kafka) -> None:
    asked = ask(0)
    publish(kafka, asked)
    told = json.dumps({"bootstrap": kafka.bootstrap, "namespace": kafka.namespace})
    child = subprocess.Popen([sys.executable, "-c", CHILD, told], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "called\n"
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    with running(gateway(kafka, lambda _: BUY, paid_book(per_day_usd="0.9"))):
        (failure,) = await_verdicts(kafka, [asked]).values()
    assert isinstance(failure, VerdictFailed)
    assert failure.reason == "over_budget"
    assert len(starts(kafka)) == 1


def test_caps_hold_over_a_restart(kafka: Kafka) -> None:
    book = paid_book(per_day_usd="1.0")
    for numbers in ((0, 1, 2), (3,)):
        for number in numbers:
            with running(gateway(kafka, lambda _: BUY, book)):
                publish(kafka, ask(number))
                await_verdicts(kafka, [ask(number)])
    reasons = {v.cause: v.reason if isinstance(v, VerdictFailed) else "" for v in verdicts(kafka)}
    assert reasons == {"b-0-a": "", "b-1-a": "", "b-2-a": "", "b-3-a": "over_budget"}, "3 * 0.2 + 0.5 is over 1.0"


def spent_at_most(kafka: Kafka, cap: Decimal) -> Decimal:
    """Hold the log of calls to a cap, call by call; give what it comes to. A start without an end costs its worst."""
    spent = Decimal(0)
    for call in calls(kafka):
        if isinstance(call, ModelCallStarted):
            spent += call.worst_cost_usd
            assert spent <= cap, call
        else:
            spent += call.cost_usd - WORST
    return spent


def test_gateways_that_take_over_from_each_other_never_pass_a_cap_together(kafka: Kafka) -> None:
    cap = Decimal(8)
    book = paid_book(per_day_usd=str(cap))
    book_at = partition_of(book.name)

    def slow(_: VerdictRequested) -> Opinion:
        time.sleep(0.05)
        return BUY

    numbers = [(number, "ac"[number % 2]) for number in range(120)]

    def feed() -> None:
        for first in range(0, len(numbers), 5):
            publish(kafka, *(ask(number, model) for number, model in numbers[first : first + 5]))
            time.sleep(0.5)

    thread = threading.Thread(target=feed)
    thread.start()
    with ExitStack() as stack:
        for _ in range(3):
            older = gateway(kafka, slow, book)
            with running(older):
                _await(lambda: bool(older.partitions))  # noqa: B023 - it is asked here and now
                stack.close()
                _await(lambda: older._accounts.is_open(book.name))  # noqa: B023
                time.sleep(0.5)
                stack.enter_context(running(gateway(kafka, slow, book)))
        found = await_verdicts(kafka, [ask(number, model) for number, model in numbers])
    thread.join()
    spent = spent_at_most(kafka, cap)
    assert spent > cap - WORST, "the caps are used, too"
    assert {v.reason for v in found.values() if isinstance(v, VerdictFailed)} >= {"over_budget"}
    assert len({dict(message.headers() or ())["writer"] for message in read_back(kafka, CALLS, book_at, 0)}) > 1


def test_a_gateway_that_was_thought_dead_can_let_no_call_through(kafka: Kafka) -> None:
    older = CallLog(kafka, 3, "older")
    template = ModelCallStarted(
        id="1",
        key="b",
        occurred_at=time.time_ns(),
        observed_at=time.time_ns(),
        book="b",
        cause="r",
        model="a",
        provider="openai",
        model_id="a",
        attempt=1,
        prompt_sha256="p",
        parameters_sha256="q",
        sent_sha256="s",
        worst_cost_usd=WORST,
    )
    older.tell(template)
    newer = CallLog(kafka, 3, "newer")
    with pytest.raises(KafkaError, match="no call was made: the log of model calls of partition 3 cannot be written"):
        older.tell(template)
    with pytest.raises(KafkaError):
        older.tell(template)
    newer.tell(template)
    newer.close()
    newer.join()
    writers = [dict(message.headers() or ())["writer"] for message in read_back(kafka, CALLS, 3, 0)]
    assert writers == [b"older", b"newer"]


def test_a_request_that_comes_again_is_not_paid_again(kafka: Kafka) -> None:
    asked = [ask(number) for number in range(5)]
    for _ in range(2):
        with running(gateway(kafka, lambda _: BUY)):
            publish(kafka, *asked)
            await_verdicts(kafka, asked)
            _await(lambda: lag(kafka) == 0)
        begin_anew(kafka)
    assert len(starts(kafka)) == len(verdicts(kafka)) == len(asked)


def test_a_question_that_was_answered_is_answered_again_without_a_call(kafka: Kafka) -> None:
    first, again, after_restart = ask(0, name="first"), ask(0, name="again"), ask(0, name="restarted")
    other_model, other_words = ask(0, "c"), ask(1)
    with running(gateway(kafka, lambda _: BUY)):
        publish(kafka, first)
        await_verdicts(kafka, [first])
        publish(kafka, again)
        await_verdicts(kafka, [again])
    with running(gateway(kafka, lambda _: Opinion(action="SELL", confidence=0.1, reasoning="Otherwise."))):
        publish(kafka, after_restart, other_model, other_words)
        found = await_verdicts(kafka, [first, again, after_restart, other_model, other_words])
    said = {name: cast("VerdictGiven", verdict) for name, verdict in found.items()}
    original = said["first"].id
    assert original == derived_id("first", "gateway:a", 0)
    for name in ("again", "restarted"):
        assert (said[name].action, said[name].repeats, said[name].cost_usd) == ("BUY", original, Decimal(0))
        assert said[name].parameters_sha256 == said["first"].parameters_sha256
    assert {said[other_model.id].action, said[other_words.id].action} == {"SELL"}
    assert [call.cause for call in starts(kafka)] == ["first", other_model.id, other_words.id]


def test_a_question_that_is_put_twice_at_once_is_paid_once(kafka: Kafka) -> None:
    free = threading.Event()

    def wait(_: VerdictRequested) -> Opinion:
        free.wait(PATIENCE_S)
        return BUY

    asked = [ask(0, name=f"copy-{number}") for number in range(4)]
    with running(gateway(kafka, wait)):
        publish(kafka, *asked)
        _await(lambda: len(starts(kafka)) == 1)
        free.set()
        found = await_verdicts(kafka, asked)
    assert len(starts(kafka)) == 1
    assert sorted(bool(cast("VerdictGiven", verdict).repeats) for verdict in found.values()) == [
        False,
        True,
        True,
        True,
    ]


def test_a_provider_that_fails_is_left_alone_and_the_book_told(kafka: Kafka) -> None:
    health = Health("w")
    made = 0

    def fail(_: VerdictRequested) -> Failure:
        nonlocal made
        made += 1
        return Failure(reason="unavailable", detail="503")

    with running(gateway(kafka, fail, health=health)):
        for number in range(FAILURES_IN_A_ROW):
            publish(kafka, ask(number))
            await_verdicts(kafka, [ask(number)])
        other = ask(0, "c")  # another model, the same endpoint
        publish(kafka, other)
        refused = await_verdicts(kafka, [other])[other.id]
        _await(lambda: bool(everything(kafka, "alerts", 1)))
        assert health.healthz()[1]["circuits"] == {"openai/models.test:1": "open"}
    assert isinstance(refused, VerdictFailed)
    assert refused.detail == f"circuit open: {FAILURES_IN_A_ROW} calls in a row failed at openai/models.test:1"
    assert made == FAILURES_IN_A_ROW
    (alert,) = cast("list[AlertRaised]", everything(kafka, "alerts", 1))
    assert (alert.book, alert.severity) == ("b", "warning")
    assert "openai/models.test:1 is called no more for now" in alert.text


def test_a_budget_that_is_nearly_spent_and_one_that_is_reached_are_told_once(kafka: Kafka) -> None:
    book = paid_book(per_day_usd="0.7")
    for numbers in ((0, 1, 2), (3, 4)):
        with running(gateway(kafka, lambda _: BUY, book)):
            for number in numbers:
                publish(kafka, ask(number))
                await_verdicts(kafka, [ask(number)])
    alerts = {alert.id: alert for alert in cast("list[AlertRaised]", everything(kafka, "alerts", 1))}
    assert [alert.severity for alert in alerts.values()] == ["critical"]
    (text,) = (alert.text for alert in alerts.values())
    assert "all models per day" in text


def test_a_request_in_another_partition_than_its_books_is_not_paid_for(kafka: Kafka) -> None:
    asked = ask(0)
    producer = Producer(kafka.producer())
    wrong = (partition_of(asked.book) + 1) % PARTITIONS
    producer.produce(kafka.name(REQUESTS), partition=wrong, key=key_of(asked), value=encode(asked))
    producer.flush()
    with running(gateway(kafka, lambda _: BUY)):
        (failure,) = await_verdicts(kafka, [asked]).values()
    assert isinstance(failure, VerdictFailed)
    assert (failure.reason, failure.detail) == ("unavailable", "lies in another partition than its book's")
    assert not starts(kafka)
