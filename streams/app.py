"""The Faust application: the desk as an agent on the journal.

Faust gives membership, partitions and positions; what happens to a record is `streams.desk`'s. The journal is written
in transactions, so it is read committed only, which Faust ties to a mode of its own: the transport below unties it.
A record is acknowledged once its outputs have arrived. What raises ends the worker, for Faust's default would
acknowledge the record and go on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiokafka
import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from mode import CrashingSupervisor

from schemas.book import Book
from schemas.topics import PARTITIONS
from streams.desk import DeskPartition
from streams.kafka import Kafka
from streams.publisher import Publisher
from streams.wire import JOURNAL


class _CommittedThread(AIOKafkaConsumerThread):
    """Makes consumers that see no record of an aborted transaction."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ANN401
        self.consumer.in_transaction = True
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = False


class _CommittedConsumer(Consumer):
    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Keep no list of the offsets that hold no record: marks of transactions, aborted records."""

    def _new_offset(self, tp: TP) -> int | None:
        """Give the position behind the last record that is done; before it all are, for one agent takes them in order.

        Faust looks for the first offset that is missing instead. It counts the record after a mark among the missing
        ones, has it twice once it is done, and so comes one transaction further a commit, while those done pile up.
        """
        done = self._acked[tp]
        if not done:
            return None
        position = max(done) + 1
        done.clear()
        self._acked_index[tp].clear()
        return position


class CommittedTransport(Transport):
    """Faust's transport, reading committed records alone."""

    Consumer = _CommittedConsumer


def make_app(kafka: Kafka, desk: DeskAgent, *, worker: str = "", data_dir: Path | None = None) -> faust.App:
    """Build the application. `worker` names this worker for good, so that it is back at once after a crash."""
    app = faust.App(
        kafka.name("desk"),
        broker=f"aiokafka://{kafka.bootstrap}",
        broker_credentials=_credentials(kafka),
        datadir=data_dir,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{kafka.name('desk')}-{worker}" if worker else None,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        broker_commit_interval=1.0,
        broker_max_poll_records=50,
        stream_wait_empty=False,
        web_enabled=False,
        agent_supervisor=CrashingSupervisor,
        producer_acks=-1,
    )
    app.transport = CommittedTransport([app.conf.broker_consumer[0]], app)
    journal = app.topic(
        kafka.name(JOURNAL), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    @app.agent(journal, concurrency=1)
    async def decide(stream: faust.StreamT[bytes]) -> None:
        loop = asyncio.get_running_loop()
        async for event in stream.events():
            message = event.message
            await loop.run_in_executor(None, desk.take, message.partition, message.offset, event.value)

    return app


def _credentials(kafka: Kafka) -> faust.auth.Credentials | None:
    """Give Faust's form of how this cluster is entered. Raises OSError for a file that is not there."""
    context = None
    if kafka.security.endswith("ssl"):
        context = ssl.create_default_context(cafile=kafka.ca_file or None)
        if kafka.certificate_file:
            context.load_cert_chain(kafka.certificate_file, kafka.key_file or None)
    if kafka.security.startswith("sasl"):
        return faust.SASLCredentials(
            username=kafka.username, password=kafka.password, mechanism=kafka.sasl_mechanism, ssl_context=context
        )
    return None if context is None else faust.SSLCredentials(context)


class DeskAgent:
    """The partitions of this worker."""

    def __init__(self, kafka: Kafka, books: Sequence[Book]) -> None:
        """Nothing is read or sent yet."""
        self._kafka, self._books = kafka, books
        self._publisher = Publisher(kafka)
        self.partitions: dict[int, DeskPartition] = {}

    def take(self, partition: int, offset: int, value: bytes) -> None:
        """Take a journal record."""
        desk = self.partitions.get(partition)
        if desk is None:
            desk = self.partitions[partition] = DeskPartition(self._kafka, partition, self._books, self._publisher)
        desk.take(offset, value)
