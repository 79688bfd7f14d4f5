"""The model gateway on a real broker: every request is answered, whoever is killed or hangs meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from random import Random
from typing import cast

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.voters import Answer, Opinion, Voter, computed, offline_voters
from replay.cassette import RecordedVerdicts
from replay.gateway import ReplayGateway
from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.codec import decode, encode
from schemas.operations import RecordRefused
from schemas.topics import PARTITIONS
from schemas.verdicts import VerdictFailed, VerdictGiven, VerdictRequested
from streams.gateway import GROUP, Gateway
from streams.kafka import Kafka
from streams.reading import bounds, read_back
from streams.wire import DEAD_LETTERS, REQUESTS, headers_of, key_of
from tests.replay.test_gateway import book, request

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
HOLD = Opinion(action="HOLD", confidence=0.5, reasoning="Wait.")
CHILD = """
import json, sys, threading, time
from connectors.voters import Opinion, computed
from streams.gateway import Gateway
from streams.kafka import Kafka
from tests.replay.test_gateway import book

told = json.loads(sys.argv[1])

class Slow:
    def answer(self, request, within_s):
        time.sleep(0.05 + hash(request.id) % 10 * 0.1)
        return computed(Opinion(action="HOLD", confidence=0.5, reasoning="Wait."))

kafka = Kafka(bootstrap=told["bootstrap"], namespace=told["namespace"])
gateway = Gateway(kafka, [book()], worker=told["worker"], voters=lambda _: {"words": Slow(), "chart": Slow()})
gateway.run(threading.Event())
"""


class Hanging:
    def answer(self, _: VerdictRequested, within_s: float) -> Answer:
        threading.Event().wait()
        raise AssertionError


class Quick:
    def answer(self, _: VerdictRequested, within_s: float) -> Answer:
        return computed(HOLD)


def requests(count: int, *, deadline_s: float = PATIENCE_S) -> list[VerdictRequested]:
    """Questions of this moment, to both models of the book."""
    now = time.time_ns()
    return [
        request(number, model, observed_at=now, occurred_at=now, deadline_at=now + round(deadline_s * NS_PER_S))
        for number in range(count)
        for model in ("words", "chart")
    ]


def publish(kafka: Kafka, asked: Sequence[VerdictRequested], *, pause_s: float = 0.0) -> None:
    producer = Producer(kafka.producer())
    for number, one in enumerate(asked):
        producer.produce(
            kafka.name(REQUESTS),
            partition=number % PARTITIONS,
            key=key_of(one),
            value=encode(one),
            headers=headers_of(one),
        )
        if pause_s:
            producer.flush()
            time.sleep(pause_s)
    producer.flush()


def everything(kafka: Kafka, topic: str, partitions: int) -> list[Event]:
    return [
        decode(message.value() or b"")
        for message in chain.from_iterable(read_back(kafka, topic, n, 0) for n in range(partitions))
    ]


def verdicts(kafka: Kafka) -> list[VerdictGiven | VerdictFailed]:
    return cast("list[VerdictGiven | VerdictFailed]", everything(kafka, "verdicts", 4))


def await_verdicts(kafka: Kafka, asked: Sequence[VerdictRequested]) -> dict[str, VerdictGiven | VerdictFailed]:
    """Wait until each request has its verdict; give the first of each."""
    found: dict[str, VerdictGiven | VerdictFailed] = {}

    def is_all() -> bool:
        for verdict in verdicts(kafka):
            found.setdefault(verdict.cause, verdict)
        return found.keys() >= {one.id for one in asked}

    _await(is_all)
    return found


def lag(kafka: Kafka) -> int:
    """Count the records that the group has not committed."""
    consumer = Consumer(kafka.consumer(GROUP))
    places = [TopicPartition(kafka.name(REQUESTS), n) for n in range(PARTITIONS)]
    committed = {place.partition: max(0, place.offset) for place in consumer.committed(places, 10)}
    consumer.close()
    return sum(bounds(kafka, REQUESTS, n)[1] - committed[n] for n in range(PARTITIONS))


def _await(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@contextmanager
def running(*gateways: Gateway) -> Iterator[None]:
    stop = threading.Event()
    failures: list[BaseException] = []

    def run(gateway: Gateway) -> None:
        try:
            gateway.run(stop)
        except Exception as error:  # noqa: BLE001 - asserted below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(gateway,)) for gateway in gateways]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def with_voters(**voters: Voter) -> Callable[[Book], Mapping[str, Voter]]:
    return lambda _: voters


def test_two_gateways_share_the_work_and_answer_each_request_once(kafka: Kafka) -> None:
    pair = [Gateway(kafka, [book()], worker=name) for name in "ab"]
    with running(*pair):
        _await(lambda: [len(gateway.partitions) for gateway in pair] == [PARTITIONS // 2] * 2)
        asked = requests(40)
        publish(kafka, asked)
        publish(kafka, asked[:8])
        found = await_verdicts(kafka, asked)
        _await(lambda: lag(kafka) == 0)
    assert {type(verdict) for verdict in found.values()} == {VerdictGiven}
    assert [gateway.answered for gateway in pair] == [len(asked) // 2] * 2
    assert len(verdicts(kafka)) == len(asked)


def test_a_model_that_hangs_holds_up_no_other_and_no_position(kafka: Kafka) -> None:
    gateway = Gateway(kafka, [book()], voters=with_voters(words=Hanging(), chart=Quick()))
    with running(gateway):
        _await(lambda: len(gateway.partitions) == PARTITIONS)
        asked = requests(20, deadline_s=6.0)
        publish(kafka, asked)
        quick = [one for one in asked if one.model == "chart"]
        early = await_verdicts(kafka, quick)
        assert time.time_ns() < asked[0].deadline_at, "the machine is too slow for this test"
        assert len(early) == len(quick)
        assert lag(kafka) >= len(quick)
        found = await_verdicts(kafka, asked)
        _await(lambda: lag(kafka) == 0)
    failed = [verdict for verdict in found.values() if isinstance(verdict, VerdictFailed)]
    assert {(verdict.model, verdict.reason) for verdict in failed} == {("words", "timeout")}
    assert len(failed) == len(asked) - len(quick)
    assert all(asked[0].deadline_at <= verdict.observed_at for verdict in failed)


def test_a_killed_gateway_leaves_no_request_unanswered(kafka: Kafka) -> None:
    rng = Random(1)
    asked = requests(150)
    feed = threading.Thread(target=publish, args=(kafka, asked), kwargs={"pause_s": 0.02})
    feed.start()
    told = {"bootstrap": kafka.bootstrap, "namespace": kafka.namespace}
    for _ in range(4):
        arguments = json.dumps(told | {"worker": "a"})
        child = subprocess.Popen([sys.executable, "-c", CHILD, arguments], cwd=ROOT)
        time.sleep(rng.uniform(2.0, 4.0))
        child.kill()
        assert child.wait() == -signal.SIGKILL
    feed.join()
    with running(Gateway(kafka, [book()], worker="a", voters=with_voters(words=Quick(), chart=Quick()))):
        found = await_verdicts(kafka, asked)
        _await(lambda: lag(kafka) == 0)
    assert {type(verdict) for verdict in found.values()} == {VerdictGiven}
    ids = {(verdict.cause, verdict.id) for verdict in verdicts(kafka)}
    assert len(ids) == len(asked), "a request that is asked again is answered under the same id"


def test_what_is_no_request_goes_to_the_dead_letters_and_the_rest_flows_on(kafka: Kafka) -> None:
    asked = requests(1)
    producer = Producer(kafka.producer())
    for value in (b"\xff\x00", b"{}", encode(msgspec.structs.replace(asked[0], deadline_at=-1)), None):
        producer.produce(kafka.name(REQUESTS), partition=0, key=b"bad", value=value)
    producer.flush()
    publish(kafka, asked)
    with running(Gateway(kafka, [book()])):
        await_verdicts(kafka, asked)
        _await(lambda: lag(kafka) == 0)
    letters = cast("list[RecordRefused]", everything(kafka, DEAD_LETTERS, 1))
    assert [letter.position for letter in letters] == [f"{REQUESTS}/0/{offset}" for offset in range(4)]
    assert letters[0].payload == b"\xff\x00"


def test_a_rehearsal_answers_as_a_replay_does(kafka: Kafka) -> None:
    asked = [request(number, model) for number in range(20) for model in ("words", "chart")]
    publish(kafka, asked)
    rules = book()
    with running(Gateway(kafka, [rules], rehearsal=RecordedVerdicts())):
        found = await_verdicts(kafka, asked)
    replay = ReplayGateway(rules, RecordedVerdicts(), offline_voters(rules))
    assert [encode(found[one.id]) for one in asked] == [encode(replay.answer(one)) for one in asked]
