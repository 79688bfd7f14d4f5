"""How the workers reach Kafka: where it is, under which names, with which rights.

Secrets come from the environment or AWS Secrets Manager, and no text that this module makes holds one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from logging import getLogger
from typing import Any, Literal
from zlib import crc32

import msgspec

from schemas.errors import KafkaError
from schemas.topics import PARTITIONS

ENVIRONMENT = "QUORUM_KAFKA_"
CLIENT_LOG = getLogger("librdkafka")
"""What the clients say themselves goes where all logs go, not raw to standard error."""
SESSION_MS = 8_000
"""A worker that is silent for so long has lost its partitions."""
METADATA_MS = 10_000
"""How often a client asks who leads its partitions, if nothing tells it to: after a restart of a broker librdkafka may
hold a partition for leaderless, and would ask again after five minutes."""
MAX_MESSAGE_BYTES = 16_000_000
"""Of what the workers send: a snapshot is the largest."""


class Kafka(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster and the namespace in it: topics, groups and transactions of two namespaces never meet."""

    bootstrap: str = "127.0.0.1:9092"
    namespace: str = ""
    """Before every name, as in `rehearsal.`; empty is the live one."""
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""

    def __rich_repr__(self) -> list[tuple[str, str]]:
        """Show no secret."""
        return [("bootstrap", self.bootstrap), ("namespace", self.namespace), ("security", self.security)]

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Kafka({self.bootstrap!r}, namespace={self.namespace!r}, security={self.security!r})"

    def name(self, name: str) -> str:
        """Give a topic, a group or a transaction its name in this namespace."""
        return f"{self.namespace}{name}"

    def client(self, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - librdkafka's own values
        """Give the settings of a librdkafka client."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security,
            "topic.metadata.refresh.interval.ms": METADATA_MS,
        }
        files = {
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file,
            "ssl.key.location": self.key_file,
        }
        config |= {name: path for name, path in files.items() if path}
        if self.security.startswith("sasl"):
            config |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        return config | {name.replace("_", "."): value for name, value in settings.items()}

    def consumer(self, group: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Give the settings of a consumer that keeps its positions itself and sees committed records alone."""
        return self.client(
            group_id=self.name(group),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="error",
            fetch_wait_max_ms=100,
            fetch_queue_backoff_ms=5,
            queued_max_messages_kbytes=65_536,
            logger=CLIENT_LOG,
            **settings,
        )

    def member(self, group: str, worker: str, reset: str) -> dict[str, Any]:
        """Give the settings of a consumer that shares partitions with its group; `worker` keeps a named one's place.

        `reset` is where a partition without a position begins: earliest or latest.
        """
        return self.consumer(
            group,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 4,
            partition_assignment_strategy="cooperative-sticky",
            **({"group_instance_id": f"{self.name(group)}-{worker}"} if worker else {}),
        ) | {"auto.offset.reset": reset}

    def producer(self, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Give the settings of an idempotent producer that sends at once.

        Nothing is compressed unless asked for: programs in any language read what the workers send, and not every
        client knows lz4 (kafkajs knows gzip alone).
        """
        return self.client(
            enable_idempotence=True,
            linger_ms=0,
            message_max_bytes=MAX_MESSAGE_BYTES,
            logger=CLIENT_LOG,
            **settings,
        )


def kafka_from(environment: Mapping[str, str] = os.environ) -> Kafka:
    """Read `QUORUM_KAFKA_BOOTSTRAP`, `_NAMESPACE`, `_SECURITY` and so on.

    `QUORUM_KAFKA_PASSWORD_SECRET` names a secret of AWS Secrets Manager that holds the password, alone or with the
    username as Amazon MSK keeps them. Raises KafkaError for what is no setting, and for a secret that cannot be read.
    """
    given = {
        name.removeprefix(ENVIRONMENT).lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT)
    }
    secret = given.pop("password_secret", "")
    if secret:
        if "password" in given:
            raise KafkaError(f"{ENVIRONMENT}PASSWORD and {ENVIRONMENT}PASSWORD_SECRET are both set; keep one")
        given = _read_secret(secret) | given
    unknown = sorted(set(given) - set(Kafka.__struct_fields__))
    if unknown:
        known = ", ".join(f"{ENVIRONMENT}{name.upper()}" for name in (*Kafka.__struct_fields__, "password_secret"))
        raise KafkaError(f"{ENVIRONMENT}{unknown[0].upper()}: no such setting; there are {known}")
    try:
        return msgspec.convert(given, Kafka)
    except msgspec.ValidationError as error:
        raise KafkaError(f"the environment's {ENVIRONMENT}* settings: {error}") from None


class _Login(msgspec.Struct):
    password: str
    username: str = ""


def _read_secret(name: str) -> dict[str, str]:
    """Give the password, and the username if the secret tells it. No error quotes the secret."""
    import boto3  # noqa: PLC0415 - slow to import, and most have no need of it
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        answer = boto3.client("secretsmanager").get_secret_value(SecretId=name)
    except (BotoCoreError, ClientError) as error:
        raise KafkaError(f"{ENVIRONMENT}PASSWORD_SECRET: the secret {name} cannot be read: {error}") from None
    text = answer.get("SecretString", "")
    if not text:
        raise KafkaError(f"{ENVIRONMENT}PASSWORD_SECRET: the secret {name} holds no text")
    try:
        login = msgspec.json.decode(text, type=_Login)
    except msgspec.DecodeError as error:
        if isinstance(error, msgspec.ValidationError) and text.lstrip().startswith("{"):
            raise KafkaError(
                f'{ENVIRONMENT}PASSWORD_SECRET: the secret {name} is a JSON object without a text "password"'
            ) from None
        return {"password": text}
    return {"password": login.password} | ({"username": login.username} if login.username else {})


def partition_of(book: str) -> int:
    """Give the partition of journal, orders, snapshots and all else that belongs to a book."""
    return crc32(book.encode()) % PARTITIONS
