"""Which worker has which partitions: a consumer group on the topic by whose partitions the work is divided.

The group's consumer reads nothing; it is there for the assignment. Each partition gets a part of its own, in a thread,
as long as this worker has it. A part that fails is started anew after a pause, from what Kafka holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as Code

from schemas.errors import QuorumError
from streams.health import Health
from streams.kafka import Kafka

POLL_S = 0.2
log = getLogger("quorum.worker")


class Part(Protocol):
    """What runs for one partition."""

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set, or raise."""


class Membership:
    """One worker in the group `group` over the partitions of `topic`."""

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        topic: str,
        make: Callable[[int], Part | None],
        *,
        health: Health,
        worker: str = "",
    ) -> None:
        """`make` gives a partition's part, None where there is nothing to do.

        `worker` names the place that this one keeps over a restart.
        """
        self._kafka, self._group, self._topic, self._make = kafka, group, topic, make
        self._worker, self._health = worker, health
        self._running: dict[int, tuple[threading.Thread, threading.Event]] = {}

    def run(self, stopping: threading.Event) -> None:
        """Take part until `stopping` is set; then every part has ended."""
        consumer = Consumer(self._kafka.member(self._group, self._worker, "latest"))
        consumer.subscribe(
            [self._kafka.name(self._topic)], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken
        )
        try:
            while not stopping.is_set():
                message = consumer.poll(POLL_S)
                error = message.error() if message is not None else None
                # A fatal error that is read as a message does not call itself fatal, but by its code.
                if error is not None and (error.fatal() or error.code() == Code._FATAL):  # noqa: SLF001
                    raise KafkaException(error)
        finally:
            self._end(list(self._running))
            consumer.close()

    def _given(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        consumer.incremental_assign(list(partitions))
        consumer.pause(list(partitions))
        for each in partitions:
            if self._make(each.partition) is None:
                continue
            stop = threading.Event()
            name = f"{self._group}-{each.partition}"
            thread = threading.Thread(target=self._keep, args=(each.partition, stop), name=name, daemon=True)
            self._running[each.partition] = thread, stop
            thread.start()

    def _taken(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._end([each.partition for each in partitions])
        consumer.incremental_unassign(list(partitions))

    def _end(self, partitions: Sequence[int]) -> None:
        mine = [self._running.pop(partition) for partition in partitions if partition in self._running]
        for _, stop in mine:
            stop.set()
        for thread, _ in mine:
            thread.join()

    def _keep(self, partition: int, stop: threading.Event) -> None:
        """Run a partition's part, and again when it fails, until it is to stop."""
        name = f"{self._group}-{partition}"
        while not stop.is_set():
            part = self._make(partition)
            try:
                if part is not None:
                    self._health.running(name)
                    part.run(stop)
                break
            except (KafkaException, QuorumError) as error:
                pause_s = self._health.restarting(name, str(error))
                log.warning("started anew", extra={"part": name, "error": str(error)})
            except BaseException as error:
                self._health.failed(name, f"{type(error).__name__}: {error}")
                log.critical("failed", extra={"part": name}, exc_info=True)
                raise
            stop.wait(pause_s)
        self._health.gone(name)
