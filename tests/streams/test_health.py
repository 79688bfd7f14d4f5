"""The pages tell the truth of the parts, over real HTTP, and one process can have none."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from schemas.errors import QuorumError
from streams import metrics
from streams.health import HEALTHY_S, LOCAL, TROUBLED_S, Health, serve


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind((LOCAL, 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def health(port: int) -> Iterator[Health]:
    health = Health("w1")
    with serve(health, port):
        yield health


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(LOCAL, port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def page(port: int, path: str) -> tuple[int, dict[str, object]]:
    status, body = get(port, path)
    return status, json.loads(body)


def test_a_worker_without_parts_is_alive_and_not_ready(health: Health, port: int) -> None:
    assert page(port, "/healthz") == (200, {"status": "ok", "worker": "w1", "parts": {}})
    status, said = page(port, "/readyz")
    assert (status, said["reasons"]) == (503, {"worker": "no part has started"})


def test_it_is_ready_once_every_part_runs_and_no_probe_objects(health: Health, port: int) -> None:
    behind = ["journal partition 3 is 512 offsets behind"]
    health.probe("desk", lambda: behind[0])
    health.starting("sequencer-3")
    assert page(port, "/readyz")[1]["reasons"] == {"sequencer-3": "starting", "desk": behind[0]}
    health.running("sequencer-3")
    assert page(port, "/readyz")[1]["reasons"] == {"desk": behind[0]}
    behind[0] = ""
    assert page(port, "/readyz")[0] == 200


def test_a_restart_is_not_ready_yet_healthy_and_is_counted(health: Health, port: int) -> None:
    before = metrics.REGISTRY.get_sample_value("quorum_part_restarts_total", {"part": "gateway-1"}) or 0
    health.running("gateway-1")
    health.restarting("gateway-1", "KafkaError: gone")
    assert page(port, "/healthz")[0] == 200
    status, said = page(port, "/readyz")
    assert (status, said["reasons"]) == (503, {"gateway-1": "restarting KafkaError: gone"})
    health.running("gateway-1")
    parts = page(port, "/readyz")[1]["parts"]
    assert isinstance(parts, dict)
    assert parts["gateway-1"]["restarts"] == 1
    assert metrics.REGISTRY.get_sample_value("quorum_part_restarts_total", {"part": "gateway-1"}) == before + 1


def test_a_part_that_failed_for_good_makes_the_worker_unhealthy(health: Health, port: int) -> None:
    health.failed("executor", "fenced")
    status, said = page(port, "/healthz")
    assert (status, said["status"]) == (503, "failed")
    health.gone("executor")
    assert page(port, "/healthz")[0] == 200


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_part_that_is_restarted_for_ever_makes_the_worker_unhealthy(port: int) -> None:
    clock = Clock()
    health = Health("w1", clock)
    with serve(health, port):
        health.running("sequencer-3")
        for _ in range(4):  # each fails after half a minute: the cluster is away, or another has its place
            clock.now += 30
            assert page(port, "/healthz")[0] == 200
            health.restarting("sequencer-3", "KafkaError: gone")
            health.running("sequencer-3")
        clock.now += 30
        health.restarting("sequencer-3", "KafkaError: gone")
        status, said = page(port, "/healthz")
        assert (status, said["status"]) == (503, "restarting")
        health.running("sequencer-3")
        clock.now += HEALTHY_S
        assert page(port, "/healthz")[0] == 200
        health.restarting("sequencer-3", "KafkaError: gone")
        assert page(port, "/healthz")[0] == 200, "that trouble was over"


def test_a_restart_waits_twice_as_long_each_time_until_the_part_has_worked() -> None:
    clock = Clock()
    health = Health("w1", clock)
    pauses = [health.restarting("desk", "KafkaError: gone") for _ in range(30)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, *[15.0] * 25]
    health.running("desk")
    clock.now += HEALTHY_S
    assert health.restarting("desk", "KafkaError: gone") == 0.5


def test_a_part_whose_restart_hangs_makes_the_worker_unhealthy(port: int) -> None:
    clock = Clock()
    health = Health("w1", clock)
    with serve(health, port):
        health.restarting("desk", "KafkaError: gone")
        clock.now += TROUBLED_S - 1
        assert page(port, "/healthz")[0] == 200
        clock.now += 1
        assert page(port, "/healthz")[0] == 503


def test_restarts_between_which_it_works_are_no_trouble(port: int) -> None:
    clock = Clock()
    health = Health("w1", clock)
    with serve(health, port):
        for _ in range(20):
            health.running("gateway")
            clock.now += HEALTHY_S
            health.restarting("gateway", "KafkaError: gone")
            assert page(port, "/healthz")[0] == 200


def test_a_part_that_runs_at_last_after_an_outage_is_left_alone(port: int) -> None:
    clock = Clock()
    health = Health("w1", clock)
    with serve(health, port):
        health.restarting("executor-3", "KafkaError: gone")
        clock.now += TROUBLED_S - 10
        health.running("executor-3")
        clock.now += 20
        assert page(port, "/healthz")[0] == 200


def test_metrics_are_in_prometheus_form(health: Health, port: int) -> None:
    metrics.restarted("for-the-page")
    status, body = get(port, "/metrics")
    assert status == 200
    assert 'quorum_part_restarts_total{part="for-the-page"} 1.0' in body.splitlines()
    assert get(port, "/")[0] == 404


def test_port_0_serves_nothing() -> None:
    with serve(Health("w1"), 0):
        pass


def test_a_taken_port_is_told_in_a_sentence(health: Health, port: int) -> None:
    with pytest.raises(QuorumError, match=rf"127\.0\.0\.1:{port}: .*choose another port"), serve(health, port):
        pytest.fail("served twice")
