"""A broker that lets in only who shows a password, over TLS: every client of ours is such a one."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from msgspec import structs

from deploy.kafka.broker import Broker, free_port
from schemas.errors import KafkaError
from schemas.topics import TOPICS
from streams import app as application
from streams.admin import create_topics
from streams.kafka import Kafka
from streams.reading import read_back

PASSWORD = "hunter2-Zq9"


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a key and its certificate for 127.0.0.1: the broker's store, and what a client trusts."""
    store, certificate = folder / "broker.p12", folder / "ca.pem"
    keytool = ["keytool", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", "broker"]
    make = ["-genkeypair", "-keyalg", "RSA", "-dname", "CN=localhost", "-ext", "SAN=ip:127.0.0.1", "-ext", "BC=ca:true"]
    subprocess.run([*keytool, *make], check=True, capture_output=True)
    subprocess.run([*keytool, "-exportcert", "-rfc", "-file", str(certificate)], check=True, capture_output=True)
    return store, certificate


@pytest.fixture
def guarded(make_broker: Callable[..., Broker], tmp_path: Path) -> Kafka:
    store, certificate = certify(tmp_path)
    port = free_port()
    make_broker(
        scram={"desk": PASSWORD},
        settings={
            "listeners": f"PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port,SAFE://127.0.0.1:{port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:$port,SAFE://127.0.0.1:{port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SAFE:SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.safe.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": PASSWORD,
        },
    )
    return Kafka(
        bootstrap=f"127.0.0.1:{port}",
        namespace="safe.",
        security="sasl_ssl",
        ca_file=str(certificate),
        username="desk",
        password=PASSWORD,
    )


async def first_record(kafka: Kafka, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Run the desk's application until it is handed a journal record."""
    came: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def take(_desk: object, _partition: int, _offset: int, value: bytes) -> None:
        loop.call_soon_threadsafe(came.put_nowait, value)

    monkeypatch.setattr(application.DeskAgent, "take", take)
    app = application.make_app(kafka, application.DeskAgent(kafka, []), data_dir=folder)
    app.in_worker, app.loop = True, loop
    app.finalize()
    await app.start()
    try:
        return await asyncio.wait_for(came.get(), 60)
    finally:
        await app.stop()


def test_every_client_enters_with_password_and_tls_and_none_without(
    guarded: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert len(create_topics(guarded)) == len(TOPICS)

    producer = Producer(guarded.producer(transactional_id="safe"))
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(guarded.name("journal"), partition=3, value=b"entry")
    producer.commit_transaction(30)

    assert [message.value() for message in read_back(guarded, "journal", 3, 0)] == [b"entry"]
    assert asyncio.run(first_record(guarded, tmp_path / "faust", monkeypatch)) == b"entry"
    assert PASSWORD not in caplog.text

    monkeypatch.setattr("streams.admin.ANSWER_S", 3.0)
    for stranger, reason in (
        (structs.replace(guarded, password="wrong-" + PASSWORD), "SASL"),
        (structs.replace(guarded, ca_file=""), "certificate"),
        (structs.replace(guarded, security="plaintext"), "transport failure|Disconnected"),
    ):
        with pytest.raises(KafkaError, match=rf"^no Kafka broker answers at .* \(.*(?:{reason}).*\); ") as refused:
            create_topics(stranger)
        assert PASSWORD not in str(refused.value)
