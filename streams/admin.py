"""Making the topics: what the table of topics says, on a cluster.

Idempotent: what is there is left as it is, and refused where the workers could not use it. Topics with a namespace
keep everything, for what is rehearsed is old, and old records would be deleted at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from schemas.errors import KafkaError
from schemas.topics import TOPICS, Topic
from streams.kafka import MAX_MESSAGE_BYTES, Kafka
from streams.wire import JOURNAL, SNAPSHOTS

MS_PER_DAY = 86_400_000
MAX_REPLICATION = 3
KEPT_BEFORE_COMPACTION_MS = 3_600_000
"""A desk may restart at a position older than the newest snapshot, and then needs one from before."""
COMPACTED_SEGMENT_BYTES = 64 << 20
"""Compaction spares the newest segment, which by default holds 1 GiB."""
ANSWER_S = 15.0
DONE_S = 60.0


def create_topics(kafka: Kafka, *, replication: int | None = None) -> list[str]:
    """Create the topics that are missing and give their names; all can be used when this returns.

    `replication` is the number of brokers that keep each record, by default 3, or as many as there are. Raises
    KafkaError where no broker answers or one refuses, and where a topic has another number of partitions than the
    table says: a book would then not be where its worker looks.
    """
    cluster = _Cluster(kafka)
    there, brokers = cluster.partitions()
    _check(kafka, there)
    copies = replication or min(MAX_REPLICATION, brokers)
    missing = [
        NewTopic(
            kafka.name(topic.name),
            num_partitions=topic.partitions,
            replication_factor=copies,
            config=_config(kafka, topic, copies),
        )
        for topic in TOPICS
        if kafka.name(topic.name) not in there
    ]
    made: list[str] = []
    if missing:
        made = cluster.finish("create", cluster.admin.create_topics(missing, operation_timeout=DONE_S))
        cluster.wait_until(lambda now: all(now.get(new.topic) for new in missing))
        _check(kafka, cluster.partitions()[0])  # what another has made meanwhile
    return made


def delete_topics(kafka: Kafka) -> list[str]:
    """Delete the namespace's topics with all that is in them, and give their names; they are gone when this returns.

    Raises KafkaError for the live namespace, and where the brokers do not answer or refuse.
    """
    if not kafka.namespace:
        raise KafkaError(
            "topics without a namespace are the live ones and are not deleted; name one with its namespace"
        )
    cluster = _Cluster(kafka)
    there, _ = cluster.partitions()
    doomed = [name for topic in TOPICS if (name := kafka.name(topic.name)) in there]
    if doomed:
        cluster.finish("delete", cluster.admin.delete_topics(doomed, operation_timeout=DONE_S))
        cluster.wait_until(lambda now: now.keys().isdisjoint(doomed))
    return doomed


def keep_all(kafka: Kafka, topics: Sequence[str]) -> None:
    """Have topics keep their records whatever their age. Raises KafkaError where the brokers refuse."""
    forever = [ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)]
    wanted = [ConfigResource(ResourceType.TOPIC, kafka.name(topic), incremental_configs=forever) for topic in topics]
    answers = _Cluster(kafka).admin.incremental_alter_configs(wanted) if wanted else {}
    for resource, answer in answers.items():
        try:
            answer.result(DONE_S)
        except KafkaException as error:
            raise KafkaError(f"Kafka did not change topic {resource.name}: {error.args[0].str()}") from None


def trim(kafka: Kafka, topic: str, partition: int, offset: int) -> None:
    """Delete a partition's records before an offset. Raises KafkaError where the brokers refuse."""
    place = TopicPartition(kafka.name(topic), partition, offset)
    for answer in _Cluster(kafka).admin.delete_records([place]).values():
        try:
            answer.result(DONE_S)
        except KafkaException as error:
            raise KafkaError(f"Kafka did not trim {place.topic}/{partition}: {error.args[0].str()}") from None


class _Cluster:
    """The cluster as its administrator sees it; its trouble as one sentence each."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._trouble: list[str] = []
        settings = {"log_level": 0, "error_cb": self._met}
        try:
            self.admin = AdminClient(kafka.client() | settings)
        except KafkaException as error:
            raise KafkaError(f"the settings of Kafka cannot be used: {error.args[0].str()}") from None

    def _met(self, error: ClientError) -> None:
        if error.code() != ClientError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the binding's own name for it
            self._trouble.append(error.str())

    def partitions(self) -> tuple[dict[str, int], int]:
        """Give the number of partitions of every topic, and of brokers."""
        try:
            found = self.admin.list_topics(timeout=ANSWER_S)
        except KafkaException as error:
            self.admin.poll(0)  # what the client met on its way says more than that it gave up
            reason = self._trouble[0] if self._trouble else error.args[0].str()
            raise KafkaError(
                f"no Kafka broker answers at {self._kafka.bootstrap} ({reason}); start one (`make kafka`), or set "
                "QUORUM_KAFKA_BOOTSTRAP and the other QUORUM_KAFKA_* settings to what it asks for"
            ) from None
        return {name: len(topic.partitions) for name, topic in found.topics.items()}, len(found.brokers)

    def finish(self, verb: str, futures: Mapping[str, Future[None]]) -> list[str]:
        """Wait for the answers to a change of topics; give those that it was this change that changed."""
        changed = []
        for name, future in futures.items():
            try:
                future.result()
                changed.append(name)
            except KafkaException as error:
                reason = error.args[0]
                # Another worker that starts at the same time does the same.
                if reason.name() not in {"TOPIC_ALREADY_EXISTS", "UNKNOWN_TOPIC_OR_PART"}:
                    where = f"Kafka at {self._kafka.bootstrap}"
                    raise KafkaError(f"{where} did not {verb} topic {name}: {reason.str()}") from None
        return changed

    def wait_until(self, done: Callable[[Mapping[str, int]], bool]) -> None:
        """Wait until the brokers' picture has caught up with what the controller did."""
        until = time.monotonic() + DONE_S
        while not done(self.partitions()[0]):
            if time.monotonic() > until:
                raise KafkaError(f"Kafka at {self._kafka.bootstrap} did not finish changing topics in {DONE_S:g} s")
            time.sleep(0.05)


def _config(kafka: Kafka, topic: Topic, copies: int) -> dict[str, str]:
    keeps_all = topic.retention_days < 0 or bool(kafka.namespace)
    config = {
        "retention.ms": "-1" if keeps_all else str(topic.retention_days * MS_PER_DAY),
        "min.insync.replicas": str(max(1, copies - 1)),
    }
    if topic.compacted:
        config |= {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(KEPT_BEFORE_COMPACTION_MS),
            "segment.bytes": str(COMPACTED_SEGMENT_BYTES),
        }
    if topic.name in {JOURNAL, SNAPSHOTS}:
        config["max.message.bytes"] = str(MAX_MESSAGE_BYTES)
    return config


def _check(kafka: Kafka, there: Mapping[str, int]) -> None:
    wrong = [
        f"{name} has {there[name]}, not {topic.partitions}"
        for topic in TOPICS
        if there.get(name := kafka.name(topic.name), topic.partitions) != topic.partitions
    ]
    if wrong:
        raise KafkaError(
            f"topics exist with another number of partitions than the workers need ({'; '.join(wrong)}); delete them "
            "if nothing in them is wanted, or choose another QUORUM_KAFKA_NAMESPACE"
        )
