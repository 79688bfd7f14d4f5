"""Where Kafka is, and under which names: settings from the environment, and no secret in any text."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.stub import Stubber
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from deploy.kafka.broker import free_port
from schemas.errors import KafkaError
from schemas.topics import PARTITIONS
from streams.admin import create_topics, delete_topics
from streams.kafka import Kafka, kafka_from, partition_of

SECRET = "hunter2-Zq9"


def test_without_settings_it_is_the_broker_of_this_machine() -> None:
    assert kafka_from({"PATH": "/bin"}) == Kafka(bootstrap="127.0.0.1:9092", namespace="", security="plaintext")


def test_settings_come_from_the_environment() -> None:
    environment = {
        "QUORUM_KAFKA_BOOTSTRAP": "a:1,b:2",
        "QUORUM_KAFKA_NAMESPACE": "rehearsal.",
        "QUORUM_KAFKA_SECURITY": "sasl_ssl",
        "QUORUM_KAFKA_USERNAME": "desk",
        "QUORUM_KAFKA_PASSWORD": SECRET,
        "QUORUM_KAFKA_CA_FILE": "ca.pem",
    }
    kafka = kafka_from(environment)
    assert kafka.client(client_id="x") == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "sasl_ssl",
        "topic.metadata.refresh.interval.ms": 10_000,
        "ssl.ca.location": "ca.pem",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "desk",
        "sasl.password": SECRET,
        "client.id": "x",
    }
    assert kafka.name("orders") == "rehearsal.orders"
    assert kafka.consumer("g")["group.id"] == "rehearsal.g"


def test_a_password_is_given_only_where_it_is_used() -> None:
    assert "sasl.password" not in Kafka(security="ssl", username="desk", password=SECRET).client()


def test_no_text_holds_the_password() -> None:
    kafka = Kafka(security="sasl_ssl", username="desk", password=SECRET)
    assert not any(SECRET in text for text in (repr(kafka), str(kafka), f"{kafka}", str(kafka.__rich_repr__())))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("QUORUM_KAFKA_BOOTSTRAPS", "x", "QUORUM_KAFKA_BOOTSTRAPS: no such setting; there are QUORUM_KAFKA_BOOTSTRAP,"),
        ("QUORUM_KAFKA_SECURITY", "tls", "security"),
        ("QUORUM_KAFKA_SASL_MECHANISM", "GSSAPI", "sasl_mechanism"),
    ],
)
def test_what_is_no_setting_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(KafkaError, match=said) as refused:
        kafka_from({name: value, "QUORUM_KAFKA_PASSWORD": SECRET})
    assert SECRET not in str(refused.value)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """AWS Secrets Manager, answering as it is told to."""
    client = boto3.client("secretsmanager", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(boto3, "client", lambda service: {"secretsmanager": client}[service])
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


NAMED = {"QUORUM_KAFKA_PASSWORD_SECRET": "kafka/desk", "QUORUM_KAFKA_USERNAME": "desk"}


@pytest.mark.parametrize(
    "text", [SECRET, f'{{"username": "other", "password": "{SECRET}"}}', f'{{"password":"{SECRET}"}}']
)
def test_a_password_comes_from_a_named_secret(vault: Stubber, text: str) -> None:
    vault.add_response("get_secret_value", {"SecretString": text}, {"SecretId": "kafka/desk"})
    kafka = kafka_from(NAMED)
    assert (kafka.username, kafka.password) == ("desk", SECRET)


def test_a_secret_may_tell_the_username_too(vault: Stubber) -> None:
    vault.add_response("get_secret_value", {"SecretString": f'{{"username": "msk", "password": "{SECRET}"}}'})
    assert kafka_from({"QUORUM_KAFKA_PASSWORD_SECRET": "AmazonMSK_desk"}).username == "msk"


def test_a_secret_that_cannot_be_read_is_one_clear_sentence(vault: Stubber) -> None:
    vault.add_client_error("get_secret_value", "ResourceNotFoundException", "Secrets Manager can't find it.")
    with pytest.raises(KafkaError, match=r"^QUORUM_KAFKA_PASSWORD_SECRET: the secret kafka/desk .*ResourceNotFound"):
        kafka_from(NAMED)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"SecretBinary": SECRET.encode()}, "holds no text"),
        ({"SecretString": f'{{"key": "{SECRET}"}}'}, 'without a text "password"'),
        ({"SecretString": f'{{"password": ["{SECRET}"]}}'}, 'without a text "password"'),
    ],
)
def test_a_secret_without_a_password_is_refused(vault: Stubber, answer: dict[str, object], said: str) -> None:
    vault.add_response("get_secret_value", answer)
    with pytest.raises(KafkaError, match=said) as refused:
        kafka_from(NAMED)
    assert SECRET not in str(refused.value)


def test_a_password_and_a_secret_are_one_too_many() -> None:
    with pytest.raises(KafkaError, match="keep one") as refused:
        kafka_from(NAMED | {"QUORUM_KAFKA_PASSWORD": SECRET})
    assert SECRET not in str(refused.value)


def test_the_client_takes_every_setting() -> None:
    kafka = Kafka(security="sasl_ssl", username="desk", password=SECRET)
    Producer(kafka.producer(transactional_id="x"))


def test_a_broker_that_is_not_there_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.admin.ANSWER_S", 0.5)
    port = free_port()
    with pytest.raises(KafkaError, match=rf"^no Kafka broker answers at 127.0.0.1:{port} .*; start one .*BOOTSTRAP"):
        create_topics(Kafka(bootstrap=f"127.0.0.1:{port}"))


def test_settings_that_do_not_go_together_are_one_clear_sentence() -> None:
    with pytest.raises(KafkaError, match=r"^the settings of Kafka cannot be used: .*ssl[.]ca[.]location"):
        create_topics(Kafka(security="ssl", ca_file="/nowhere/ca.pem"))


def test_the_live_topics_are_never_deleted() -> None:
    with pytest.raises(KafkaError, match="namespace"):
        delete_topics(Kafka())


# A book's partition is part of the format: were it to change, a book's journal would go on elsewhere.
@pytest.mark.parametrize(("book", "partition"), [("btc", 4), ("pair", 1), ("main", 4), ("", 0)])
def test_a_books_partition_is_fixed(book: str, partition: int) -> None:
    assert partition_of(book) == partition


@given(st.text())
def test_every_book_has_a_partition(book: str) -> None:
    assert 0 <= partition_of(book) < PARTITIONS
