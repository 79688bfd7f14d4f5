"""Archivers that are killed at moments drawn over the whole of their work: at any of their requests to the store."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from streams.kafka import Kafka
from tests.faultproxy import Fault, FaultProxy
from tests.integration.lakes import Teller, assert_same, await_, behind, start_archiver

ARCHIVER = ("--topics", "ticks", "--every", "0.2", "--worker", "archiver")
LIFE_REQUESTS = 300
"""Among so many requests of an archiver the one is drawn at which it ends: forty are to look up where it goes on, a
segment takes about eight."""
AT_ONCE_SHARE = 0.5
"""Of the kills happen before the request is passed on, the others up to `LATE_S` behind it."""
LATE_S = 0.3
PATIENCE_S = 300.0
_PUTS = {"plan": "plans a segment", "json": "commits", "head": "moves the head"}


class Killed(NamedTuple):
    """What was withstood."""

    records: int
    """On Kafka, each of them once in the lake."""
    moments: Counter[str]
    """What the archivers were about when they were killed."""


class _AtRequest:
    """Ends an archiver at its `number`-th request to the store, or `late_s` behind it."""

    def __init__(
        self,
        worker: subprocess.Popen[bytes],
        number: int,
        late_s: float,
        network: Callable[[str, str], Fault],
    ) -> None:
        self._worker, self._left, self._late_s, self._network = worker, number, late_s, network
        self._lock = threading.Lock()
        self.moment = ""
        self.reached = threading.Event()

    def __call__(self, method: str, path: str) -> Fault:
        """Count a request; give what becomes of it."""
        with self._lock:
            self._left -= 1
            ends = self._left == 0
        if not ends:
            return self._network(method, path)
        self.moment = moment_of(method, path) if not self._late_s else "between requests"
        if not self._late_s:
            self._worker.kill()
        self.reached.set()
        return "" if self._late_s else "reset"


def moment_of(method: str, path: str) -> str:
    """Say what an archiver is about by a request of it."""
    ending = path.partition("?")[0].rpartition("/")[2].rpartition(".")[2]
    if method == "PUT":
        return _PUTS.get(ending, "writes a file")
    return "ends a segment" if method == "DELETE" else "looks up"


def kill_at_random(kafka: Kafka, lake: str, log: Path, rng: Random, kills: int, proxy: FaultProxy) -> Killed:
    """Archive what is told meanwhile, through the proxy, and kill the archiver again and again.

    The moments are drawn evenly over its requests, from the first look at the lake on. At the end all is in the lake,
    as it stands on Kafka.
    """
    teller, network, moments = Teller(kafka, Random(rng.random())), proxy.fault, Counter[str]()
    for _ in range(kills):
        number, late_s = rng.randrange(1, LIFE_REQUESTS), rng.uniform(0.01, LATE_S)
        with _archiver(kafka, lake, log, proxy) as worker:
            at = _AtRequest(worker, number, 0 if rng.random() < AT_ONCE_SHARE else late_s, network)
            proxy.fault = at
            teller.ticks(500)
            teller.oddities()
            teller.transactions(count=2)
            until = time.monotonic() + PATIENCE_S
            while not at.reached.wait(0.2):
                assert worker.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, f"request {number} did not come"
                teller.ticks(50)
            if at.moment == "between requests":
                time.sleep(late_s)
                assert worker.poll() is None, log.read_text()[-2000:]
            moments[at.moment] += 1
    proxy.fault = network
    with _archiver(kafka, lake, log, proxy) as worker:
        await_("the rest is archived", lambda: not behind(kafka, lake), PATIENCE_S)
        worker.terminate()
        assert worker.wait(30) == 0
    return Killed(assert_same(kafka, lake), moments)


@contextmanager
def _archiver(kafka: Kafka, lake: str, log: Path, proxy: FaultProxy) -> Iterator[subprocess.Popen[bytes]]:
    """Run an archiver that reaches its store through the proxy, and kill it at the end."""
    worker = start_archiver(kafka, lake, log, *ARCHIVER, AWS_ENDPOINT_URL_S3=proxy.url)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()
