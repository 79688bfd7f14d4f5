"""Asking voters at once, each in a thread of its own: an answer or a failure for every request, by its deadline.

Pure of Kafka. A voter that hangs costs its thread and nothing else: the request fails with `timeout` at its deadline,
its place is given to the next, and the thread does not keep the process alive. All methods but the threads' own work
belong to one thread, the owner's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from logging import getLogger
from queue import Empty, SimpleQueue
from typing import Literal

from connectors.voters import Voter
from replay.cassette import Verdict
from replay.gateway import answered, failed
from schemas.base import NS_PER_MS, NS_PER_S
from schemas.checks import check
from schemas.errors import RefusedError
from schemas.verdicts import VerdictRequested

CONCURRENT_CALLS = 16
"""To one model; more wait for their turn."""
MAX_HANGING = 100
"""Calls to one model that came to no end in time and still hold a thread; with more it is asked no further."""
log = getLogger("quorum.gateway")
Name = tuple[str, str]
"""Book and model."""


class _Model:
    """What is under way with one model."""

    def __init__(self, voter: Voter) -> None:
        self.voter = voter
        self.waiting: deque[VerdictRequested] = deque()
        self.running: set[str] = set()
        self.hanging = 0


class Asking:
    """The questions that are open."""

    def __init__(self, voters: Mapping[Name, Voter], clock: Callable[[], int]) -> None:
        """`clock`, in ns, tells what is past its deadline and when an answer came."""
        self._clock = clock
        self._models = {name: _Model(voter) for name, voter in voters.items()}
        self._open: dict[str, VerdictRequested] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._ready: list[Verdict] = []
        self._done: SimpleQueue[tuple[VerdictRequested, Verdict]] = SimpleQueue()

    def __len__(self) -> int:
        """Count the open requests."""
        return len(self._open)

    def ask(self, request: VerdictRequested) -> None:
        """Open a request, unless its deadline is past or nobody is there to ask: then it fails at once.

        A request that is open already is asked once.
        """
        if request.id in self._open:
            return
        model = self._models.get((request.book, request.model))
        if request.deadline_at <= self._clock():
            self._fail(request, "timeout", "read after its deadline")
        elif model is None:
            self._fail(request, "unavailable", "no such model of this book is known here")
        elif model.hanging >= MAX_HANGING:
            self._fail(request, "unavailable", f"{model.hanging} calls to it hang")
        else:
            self._open[request.id] = request
            heappush(self._deadlines, (request.deadline_at, request.id))
            model.waiting.append(request)
            self._start(model)

    def answers(self) -> list[Verdict]:
        """Give each request's verdict, once, as it comes or its time is over."""
        while True:
            try:
                request, verdict = self._done.get_nowait()
            except Empty:
                break
            self._finished(request, verdict)
        self._expire()
        for model in self._models.values():
            self._start(model)
        ready, self._ready = self._ready, []
        return ready

    def _finished(self, request: VerdictRequested, verdict: Verdict) -> None:
        model = self._models[request.book, request.model]
        if request.id in model.running:
            model.running.remove(request.id)
            del self._open[request.id]
            self._ready.append(verdict)
        else:
            model.hanging -= 1

    def _expire(self) -> None:
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            request = self._open.pop(heappop(self._deadlines)[1], None)
            if request is None:
                continue
            model = self._models[request.book, request.model]
            if request.id in model.running:
                model.running.remove(request.id)
                model.hanging += 1
            self._fail(request, "timeout", "")

    def _fail(self, request: VerdictRequested, reason: Literal["timeout", "unavailable"], detail: str) -> None:
        self._ready.append(failed(request, reason, _latency_ms(request, self._clock()), detail))

    def _start(self, model: _Model) -> None:
        while model.waiting and len(model.running) < CONCURRENT_CALLS:
            request = model.waiting.popleft()
            if request.id in self._open:
                model.running.add(request.id)
                threading.Thread(target=self._call, args=(model.voter, request), daemon=True).start()

    def _call(self, voter: Voter, request: VerdictRequested) -> None:
        self._done.put((request, self._verdict(voter, request)))

    def _verdict(self, voter: Voter, request: VerdictRequested) -> Verdict:
        """Ask, and make whatever comes of it a verdict that every reader will take."""
        try:
            within_s = (request.deadline_at - self._clock()) / NS_PER_S
            answer = voter.answer(request, within_s)
            verdict = answered(request, answer, _latency_ms(request, self._clock()))
            check(verdict)
        except RefusedError as error:
            return failed(request, "unparsable", _latency_ms(request, self._clock()), str(error))
        except Exception as error:  # noqa: BLE001 - whatever an outside model raises is its failure, not ours
            kind = type(error).__name__  # its message may quote a header or an address with a secret
            log.warning("a model failed", extra={"model": request.model, "request": request.id, "error": kind})
            return failed(request, "unavailable", _latency_ms(request, self._clock()), kind)
        return verdict


def _latency_ms(request: VerdictRequested, now: int) -> int:
    """Give the time since a request in whole ms, rounded up: so the answer's time is not before it was given."""
    return max(0, -((request.observed_at - now) // NS_PER_MS))
