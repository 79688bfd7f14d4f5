"""The topics of the table, made on a real broker."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from msgspec import structs

from deploy.kafka.broker import Broker
from schemas.errors import KafkaError
from schemas.topics import TOPICS
from streams.admin import MS_PER_DAY, create_topics, delete_topics
from streams.kafka import Kafka


@pytest.fixture
def empty(broker: Kafka) -> Iterator[Kafka]:
    kafka = structs.replace(broker, namespace=f"test-{secrets.token_hex(4)}.")
    yield kafka
    delete_topics(kafka)


def partitions(kafka: Kafka) -> dict[str, int]:
    topics = AdminClient(kafka.client()).list_topics(timeout=10).topics
    return {
        name.removeprefix(kafka.namespace): len(topic.partitions)
        for name, topic in topics.items()
        if name.startswith(kafka.namespace) and not name.startswith("__")
    }


def make(kafka: Kafka, topics: dict[str, int]) -> None:
    """Make topics, and wait until the broker tells of them: it answers before it does."""
    new = [NewTopic(kafka.name(name), count, 1) for name, count in topics.items()]
    admin = AdminClient(kafka.client())  # kept until all have been answered
    for future in admin.create_topics(new, operation_timeout=10).values():
        future.result()
    end = time.monotonic() + 30
    while partitions(kafka) != topics:
        assert time.monotonic() < end, f"the broker tells of {partitions(kafka)}"
        time.sleep(0.05)


def configs(kafka: Kafka) -> dict[str, dict[str, str]]:
    wanted = [ConfigResource(ResourceType.TOPIC, kafka.name(topic.name)) for topic in TOPICS]
    admin = AdminClient(kafka.client())
    answers = admin.describe_configs(wanted)
    return {
        resource.name.removeprefix(kafka.namespace): {name: str(entry.value) for name, entry in future.result().items()}
        for resource, future in answers.items()
    }


def test_every_topic_of_the_table_is_made_once(empty: Kafka) -> None:
    assert create_topics(empty) == [empty.name(topic.name) for topic in TOPICS]
    assert partitions(empty) == {topic.name: topic.partitions for topic in TOPICS}
    assert create_topics(empty) == []


def test_what_is_missing_is_made_beside_what_is_there(empty: Kafka) -> None:
    make(empty, {"orders": 8})
    assert create_topics(empty) == [empty.name(topic.name) for topic in TOPICS if topic.name != "orders"]


def test_a_rehearsal_keeps_everything(kafka: Kafka) -> None:
    found = configs(kafka)
    assert {config["retention.ms"] for config in found.values()} == {"-1"}
    assert {name for name, config in found.items() if config["cleanup.policy"] == "compact"} == {
        topic.name for topic in TOPICS if topic.compacted
    }
    assert {name for name, config in found.items() if config["max.message.bytes"] == "16000000"} == {
        "journal",
        "snapshots",
    }


def test_other_partitions_than_the_table_says_are_refused(empty: Kafka) -> None:
    make(empty, {"ticks": 3, "orders": 16})
    with pytest.raises(KafkaError) as refused:
        create_topics(empty)
    assert f"{empty.name('ticks')} has 3, not 8; {empty.name('orders')} has 16, not 8" in str(refused.value)
    assert partitions(empty) == {"ticks": 3, "orders": 16}


def test_more_copies_than_brokers_are_refused_in_a_sentence(empty: Kafka) -> None:
    with pytest.raises(KafkaError, match=rf"did not create topic {empty.name('ticks')}: .*replication factor"):
        create_topics(empty, replication=2)


def test_deleting_leaves_other_namespaces_alone(kafka: Kafka, empty: Kafka) -> None:
    create_topics(empty)
    assert len(delete_topics(empty)) == len(TOPICS)
    assert partitions(empty) == {}
    assert delete_topics(empty) == []
    assert len(partitions(kafka)) == len(TOPICS)


def test_the_live_topics_are_kept_as_the_table_says_and_outlive_a_killed_broker(
    make_broker: Callable[..., Broker],
) -> None:
    broker = make_broker()
    live = Kafka(bootstrap=broker.bootstrap)
    create_topics(live)
    broker.kill()
    assert broker.pid == 0
    broker.start()
    assert create_topics(live) == []
    assert partitions(live) == {topic.name: topic.partitions for topic in TOPICS}
    assert {name: int(config["retention.ms"]) for name, config in configs(live).items()} == {
        topic.name: topic.retention_days * MS_PER_DAY if topic.retention_days > 0 else -1 for topic in TOPICS
    }
    with pytest.raises(KafkaError, match="not deleted"):
        delete_topics(live)
    with pytest.raises(KafkaError, match=f"port {broker.port} is taken"):
        make_broker(port=broker.port)


def test_a_broker_that_cannot_start_says_why(make_broker: Callable[..., Broker]) -> None:
    with pytest.raises(KafkaError, match=r"could not be laid out in .*process[.]roles"):
        make_broker(settings={"process.roles": "no.such"})
    broker = make_broker()
    broker.stop()
    meta = broker.folder / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(KafkaError, match=r"ended at its start with status 1: .*node[.]id|7"):
        broker.start()
    assert broker.pid == 0
