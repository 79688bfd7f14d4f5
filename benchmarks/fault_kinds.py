"""The faults of `benchmarks.faults`: what goes wrong in a run, and when."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.base import Event
from streams.kafka import MAX_MESSAGE_BYTES, Kafka
from streams.wire import SNAPSHOTS

if TYPE_CHECKING:
    from benchmarks.faults import Run

ROLES = ("sequencer", "desk", "gateway", "executor")
WRITERS = ("sequencer", "desk", "executor")
DISTURBED = 0.3
"""Share of the events that a disturbed producer sends late, and again."""


def nothing(run: Run) -> list[Callable[[], None]]:
    """No fault: what the others are held against."""
    del run
    return []


def kill(role: str, run: Run) -> list[Callable[[], None]]:
    """Kill -9 a worker, start it at once, and kill it once more, perhaps while it still recovers."""

    def step() -> None:
        run.house.kill(role)
        run.house.start(role)

    return [step] * run.rng.randint(1, 2)


def kill_all(run: Run) -> list[Callable[[], None]]:
    """Kill -9 every worker, as a power cut would."""

    def step() -> None:
        run.house.kill(*ROLES)
        for role in ROLES:
            run.house.start(role)

    return [step]


def restart_broker(how: str, run: Run) -> list[Callable[[], None]]:
    """End the broker, and start it again on the same data."""
    broker = run.house.lane.broker

    def restart() -> None:
        broker.stop() if how == "SIGTERM" else broker.kill()
        time.sleep(run.rng.random())
        broker.start()

    def step() -> None:
        run.pending.append(threading.Thread(target=restart))
        run.pending[-1].start()

    return [step]


def rebalance(run: Run) -> list[Callable[[], None]]:
    """Let 1 worker of a role become 3, then 2: one of them is killed or asked to end."""
    role = run.rng.choice(ROLES)
    number = run.rng.choice((signal.SIGKILL, signal.SIGTERM))
    more: list[subprocess.Popen[bytes]] = []

    def grow() -> None:
        more.extend(run.house.join(role) for _ in range(2))

    def shrink() -> None:
        time.sleep(4)  # a worker takes so long until it has joined
        more.pop().send_signal(number)

    run.after.append(lambda: end(more))
    return [grow, shrink]


def end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask workers to end."""
    for worker in workers:
        worker.terminate()


def hang(roles: Sequence[str], run: Run) -> list[Callable[[], None]]:
    """Stop a worker without ending it, for longer than its session or shorter; another one stands by."""
    role = run.rng.choice(roles)
    hung_s = run.rng.uniform(2, 12)
    more: list[subprocess.Popen[bytes]] = []

    def wake() -> None:
        time.sleep(hung_s)
        run.house.signal(role, signal.SIGCONT)

    def stop() -> None:
        run.house.signal(role, signal.SIGSTOP)
        run.pending.append(threading.Thread(target=wake))
        run.pending[-1].start()

    if role == "gateway":
        return [stop]
    run.after.append(lambda: end(more))
    return [lambda: more.append(run.house.join(role)), stop]


def refuse_snapshots(run: Run) -> list[Callable[[], None]]:
    """Let the store of states take none, as a full disk would, and kill the desk, which then has but old ones."""
    limit = partial(limit_snapshots, run.house.kafka)
    run.after.append(lambda: limit(MAX_MESSAGE_BYTES))
    return [lambda: limit(100), *kill("desk", run)]


def limit_snapshots(kafka: Kafka, max_bytes: int) -> None:
    """Set how large a record of the states' topic may be."""
    entry = ConfigEntry("max.message.bytes", str(max_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, kafka.name(SNAPSHOTS), incremental_configs=[entry])
    admin = AdminClient(kafka.client())  # it must live as long as what it promises
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def disturbed(rng: Random, events: Sequence[Event]) -> Iterator[Event]:
    """Let a producer send in another order, and some events again, at once or much later."""
    late = sorted((n + (rng.randrange(60) if rng.random() < DISTURBED else 0), n) for n in range(len(events)))
    for place, (_, n) in enumerate(late):
        yield events[n]
        if rng.random() < DISTURBED:
            yield events[late[rng.randrange(place + 1)][1]]


FAULTS: dict[str, Callable[[Run], list[Callable[[], None]]]] = {
    "none": nothing,
    **{f"kill-{role}": partial(kill, role) for role in ROLES},
    "kill-all": kill_all,
    "broker-SIGTERM": partial(restart_broker, "SIGTERM"),
    "broker-SIGKILL": partial(restart_broker, "SIGKILL"),
    "producer": nothing,
    "rebalance": rebalance,
    "snapshots": refuse_snapshots,
    "hang-gateway": partial(hang, ["gateway"]),
    "hang-writer": partial(hang, WRITERS),
}
