"""A real Kafka for the tests that need one: Apache Kafka run by the JDK, or in a container where Docker runs.

Where neither can be had the tests skip and the end of the run says so; under QUORUM_REQUIRE_KAFKA=1 they fail.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec import structs

from deploy.kafka.broker import Broker, await_answer, free_port, what_is_missing
from schemas.errors import KafkaError
from streams.admin import create_topics, delete_topics
from streams.kafka import Kafka

NO_KAFKA = "no Kafka: "
IMAGE = "apache/kafka:4.1.1"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Where this session's broker is. It is everyone's: who kills one starts their own by `make_broker`."""
    with ExitStack() as stack:
        if not (reason := what_is_missing()):
            try:
                own = stack.enter_context(Broker(tmp_path_factory.mktemp("kafka")))
            except KafkaError as error:
                reason = str(error)
            else:
                yield Kafka(bootstrap=own.bootstrap)
                return
        if not _docker_runs():
            _miss(f"{reason}; and no Docker engine answers")
        yield Kafka(bootstrap=stack.enter_context(_container()))


@pytest.fixture
def kafka(broker: Kafka) -> Iterator[Kafka]:
    """The session's broker, in a namespace of the test's own, with its topics made."""
    kafka = structs.replace(broker, namespace=f"test-{secrets.token_hex(4)}.")
    create_topics(kafka)
    yield kafka
    delete_topics(kafka)


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start a broker of the test's own, which it may kill and start again; it is stopped at the end.

    Takes what `Broker` takes but its folder. Needs the JDK: a container is not killed as a process is.
    """
    if reason := what_is_missing():
        _miss(reason)
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Broker(tmp_path / f"kafka-{secrets.token_hex(4)}", **options))


def _miss(reason: str) -> NoReturn:
    if os.environ.get("QUORUM_REQUIRE_KAFKA") == "1":
        pytest.fail(f"{NO_KAFKA}{reason}")
    pytest.skip(f"{NO_KAFKA}{reason}")


def _docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - it asks for an engine when imported

    # The same port in and out: the transaction coordinator calls the broker by the address that clients use.
    port = free_port()
    settings = {
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_NODE_ID": "1",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    }
    container = DockerContainer(IMAGE).with_bind_ports(port, port)
    for name, value in settings.items():
        container.with_env(name, value)
    with container:
        await_answer(f"127.0.0.1:{port}", lambda: None)
        yield f"127.0.0.1:{port}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests lacked a broker, so that a green run without one does not pass for a full one."""
    reports = terminalreporter.getreports("skipped")
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    missed = [reason.partition(NO_KAFKA)[2] for reason in reasons if NO_KAFKA in reason]
    if missed:
        terminalreporter.section("kafka")
        terminalreporter.write_line(f"TESTS SKIPPED FOR WANT OF A KAFKA BROKER: {len(missed)}, because:")
        for reason in sorted(set(missed)):
            terminalreporter.write_line(f"  {reason}")
