"""Where Kafka is, for the commands that ask it: what its clients say on the way stands on standard error, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.kafka import Kafka


def cluster() -> Kafka:
    """Read QUORUM_KAFKA_*, and have logs written for a person. Raises KafkaError for what is no setting."""
    from streams import logs
    from streams.kafka import kafka_from

    kafka = kafka_from()
    logs.configure_command(secrets=[kafka.password])
    return kafka
