"""One worker process: the parts it was asked to run, each started anew when it fails, all ended in order.

All but the desk are threads with clients of their own; the desk is a Faust application in the main
thread's loop. None of them needs another in its process: on many machines each runs alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import faust
from confluent_kafka import KafkaException
from faust.exceptions import ConsumerNotStarted

from schemas.book import Book
from schemas.errors import KafkaError, QuorumError
from streams.app import DeskAgent, make_app
from streams.executor import PaperExecutor
from streams.health import Health
from streams.kafka import Kafka, partition_of
from streams.lag import JournalLag
from streams.membership import Membership, Part
from streams.sequencer import Sequencer
from streams.wire import JOURNAL, ORDERS

Role = Literal["sequencer", "desk", "gateway", "executor"]
ROLES: tuple[Role, ...] = ("sequencer", "desk", "gateway", "executor")
END_S = 20.0
log = getLogger("quorum.worker")


class Worker:
    """Some roles for some books, in this process."""

    def __init__(
        self,
        kafka: Kafka,
        books: Sequence[Book],
        roles: Sequence[Role],
        health: Health,
        *,
        name: str = "",
        start: Literal["earliest", "latest"] = "latest",
        others: Mapping[str, Callable[[], Part]] | None = None,
    ) -> None:
        """Nothing runs yet. `books` are all books of the cluster; `name` keeps this worker's place over a restart.

        `others` are roles that need no books: how each is made.
        """
        if len({book.name for book in books}) < len(books):
            raise KafkaError("two books have the same name; a book is known by it")
        self._kafka, self._books, self._roles, self._health = kafka, list(books), list(roles), health
        self._name, self._start, self._others = name, start, dict(others or {})
        self._desk: DeskPart | None = None

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set. Call it from the main thread if the desk is among the roles."""
        makers: dict[Role, Callable[[], Part]] = {
            "sequencer": lambda: Membership(
                self._kafka, "sequencer", JOURNAL, self._sequencer, worker=self._name, health=self._health
            ),
            "executor": lambda: Membership(
                self._kafka, "executor", ORDERS, self._executor, worker=self._name, health=self._health
            ),
            "gateway": self._gateway,
            "desk": self._make_desk,
        }
        threads = [
            threading.Thread(target=self._keep, args=(role, makers[role], stopping), name=role, daemon=True)
            for role in self._roles
            if role != "desk"
        ]
        threads += [
            threading.Thread(target=self._keep, args=(role, make, stopping), name=role, daemon=True)
            for role, make in self._others.items()
        ]
        if "desk" in self._roles:
            lag = JournalLag(self._kafka, self._books, lambda: self._desk.taken() if self._desk else {})
            self._health.probe("journal", lag.reason)
            threads.append(threading.Thread(target=lag.run, args=(stopping,), name="lag", daemon=True))
        for thread in threads:
            thread.start()
        if "desk" in self._roles:
            self._keep("desk", makers["desk"], stopping)
        stopping.wait()
        for thread in threads:
            thread.join(END_S)

    def _make_desk(self) -> DeskPart:
        self._desk = DeskPart(self._kafka, self._books, self._name)
        return self._desk

    def _sequencer(self, partition: int) -> Sequencer | None:
        mine = [book for book in self._books if partition_of(book.name) == partition]
        return Sequencer(self._kafka, partition, mine, self._books, start=self._start) if mine else None

    def _executor(self, partition: int) -> PaperExecutor | None:
        mine = [book for book in self._books if partition_of(book.name) == partition]
        return PaperExecutor(self._kafka, partition, mine) if mine else None

    def _gateway(self) -> Part:
        from streams.gateway import Gateway  # noqa: PLC0415 - it brings the voters' lexicons, which no other role needs

        return Gateway(self._kafka, self._books, worker=self._name, health=self._health)

    def _keep(self, role: str, make: Callable[[], Part], stopping: threading.Event) -> None:
        """Run a role, and again when it fails, until the worker is to stop."""
        self._health.starting(role)
        while not stopping.is_set():
            try:
                part = make()
                self._health.running(role)
                part.run(stopping)
            except (KafkaException, QuorumError, OSError) as error:
                pause_s = self._health.restarting(role, str(error))
                log.warning("started anew", extra={"part": role, "error": str(error)})
                stopping.wait(pause_s)
            except BaseException as error:
                self._health.failed(role, f"{type(error).__name__}: {error}")
                log.critical("failed", extra={"part": role}, exc_info=True)
                stopping.set()
                raise


class DeskPart:
    """The Faust application as a part."""

    def __init__(self, kafka: Kafka, books: Sequence[Book], name: str) -> None:
        self._kafka, self._name = kafka, name
        self._agent = DeskAgent(kafka, books)
        self._app: faust.App | None = None

    def taken(self) -> dict[int, int | None]:
        """Give the journal partitions that are assigned, each with the next offset to take; any thread may ask."""
        app = self._app
        if app is None:
            return {}
        try:
            assigned = [each.partition for each in app.consumer.assignment()]
        except ConsumerNotStarted:
            return {}
        desks = self._agent.partitions
        return {n: desks[n].offset if n in desks else None for n in assigned}

    def run(self, stopping: threading.Event) -> None:
        with TemporaryDirectory(prefix="quorum-desk-") as folder:
            asyncio.run(self._run(stopping, Path(folder)))

    async def _run(self, stopping: threading.Event, data_dir: Path) -> None:
        app = make_app(self._kafka, self._agent, worker=self._name, data_dir=data_dir)
        app.in_worker = True
        app.loop = asyncio.get_running_loop()
        app.finalize()
        await app.start()
        self._app = app
        try:
            while not stopping.is_set() and not app.crashed:  # noqa: ASYNC110 - set by threads, which wake no loop
                await asyncio.sleep(0.1)
        finally:
            self._app = None
            reason = app.crash_reason
            await app.stop()
        if reason is not None:
            raise KafkaError(f"the desk has ended: {type(reason).__name__}: {reason}")
