"""Asking voters at once, each in a thread of its own: an answer or a failure for every request, by its deadline.

Pure of Kafka. A voter that hangs costs its thread and nothing else: the request fails with `timeout` at its deadline,
its place is given to the next, and the thread does not keep the process alive. A model's terms say how many calls are
made at once and in a minute; a request that its provider's circuit breaker or the rate leaves no chance fails at once.
All methods but the threads' own work belong to one thread, the owner's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container, Mapping
from heapq import heappop, heappush
from logging import getLogger
from queue import Empty, SimpleQueue
from typing import Literal

from connectors.voters import Voter
from replay.cassette import Verdict
from replay.gateway import answered, failed
from schemas.base import NS_PER_MS, NS_PER_S
from schemas.checks import check
from schemas.errors import QuorumError, RefusedError
from schemas.verdicts import VerdictFailed, VerdictRequested
from streams.limits import Terms

MAX_HANGING = 100
"""Calls to one model that came to no end in time and still hold a thread; with more it is asked no further."""
log = getLogger("quorum.gateway")
Name = tuple[str, str]
"""Book and model."""


class _Model:
    """What is under way with one model."""

    def __init__(self, voter: Voter, terms: Terms) -> None:
        self.voter, self.terms = voter, terms
        self.waiting: deque[VerdictRequested] = deque()
        self.running: set[str] = set()
        self.hanging = 0


class Asking:
    """The questions that are open."""

    def __init__(
        self, voters: Mapping[Name, Voter], clock: Callable[[], int], terms: Mapping[Name, Terms] | None = None
    ) -> None:
        """`clock`, in ns, tells what is past its deadline and when an answer came; `terms` are a few models' own."""
        self._clock = clock
        own = terms or {}
        self._models = {name: _Model(voter, own.get(name, Terms())) for name, voter in voters.items()}
        self._open: dict[str, VerdictRequested] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._ready: list[Verdict] = []
        self._done: SimpleQueue[tuple[VerdictRequested, Verdict, bool | None]] = SimpleQueue()

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
        elif why := _forbidden(model.terms, request, self._clock()):
            self._fail(request, "unavailable", why)
        else:
            self._open[request.id] = request
            heappush(self._deadlines, (request.deadline_at, request.id))
            model.waiting.append(request)
            self._start(model)

    def called(self, name: Name, at: int) -> None:
        """Count a call that was not begun here against the model's rate: a second attempt, or one made elsewhere."""
        model = self._models.get(name)
        if model is not None and model.terms.rate is not None:
            model.terms.rate.called(at)

    def drop(self, requests: Container[str]) -> list[str]:
        """Forget those of these requests that were not put yet, and name them: another answers them now.

        What is under way goes on, and its answer is given.
        """
        return [
            request.id
            for model in self._models.values()
            for request in model.waiting
            if request.id in requests and self._open.pop(request.id, None) is not None
        ]

    def answers(self) -> list[Verdict]:
        """Give each request's verdict, once, as it comes or its time is over."""
        while True:
            try:
                request, verdict, worked = self._done.get_nowait()
            except Empty:
                break
            self._finished(request, verdict, worked)
        self._expire()
        for model in self._models.values():
            self._start(model)
        ready, self._ready = self._ready, []
        return ready

    def _finished(self, request: VerdictRequested, verdict: Verdict, worked: bool | None) -> None:  # noqa: FBT001
        model = self._models[request.book, request.model]
        if request.id in model.running:
            model.running.remove(request.id)
            del self._open[request.id]
            self._ready.append(verdict)
            self._ended(model, request, worked)
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
                self._ended(model, request, worked=False)
                self._fail(request, "timeout", "")
            else:
                self._fail(request, "timeout", "its turn did not come")

    def _ended(self, model: _Model, request: VerdictRequested, worked: bool | None) -> None:  # noqa: FBT001
        if model.terms.circuit is not None:
            model.terms.circuit.ended(request.id, worked, self._clock())

    def _fail(self, request: VerdictRequested, reason: Literal["timeout", "unavailable"], detail: str) -> None:
        self._ready.append(failed(request, reason, latency_ms(request, self._clock()), detail))

    def _start(self, model: _Model) -> None:
        """Begin what the model's terms allow now; what they will not allow in time fails now."""
        terms = model.terms
        while model.waiting:
            now, request = self._clock(), model.waiting[0]
            if request.id in self._open:
                if why := _forbidden(terms, request, now):
                    del self._open[request.id]
                    self._fail(request, "unavailable", why)
                elif len(model.running) >= terms.max_concurrent or not terms.may_call(now):
                    return
                else:
                    self._begin(model, request, now)
            model.waiting.popleft()

    def _begin(self, model: _Model, request: VerdictRequested, now: int) -> None:
        if model.terms.rate is not None:
            model.terms.rate.called(now)
        if model.terms.circuit is not None:
            model.terms.circuit.began(request.id, now)
        model.running.add(request.id)
        threading.Thread(target=self._call, args=(model.voter, request), daemon=True).start()

    def _call(self, voter: Voter, request: VerdictRequested) -> None:
        self._done.put((request, *self._verdict(voter, request)))

    def _verdict(self, voter: Voter, request: VerdictRequested) -> tuple[Verdict, bool | None]:
        """Ask, and make whatever comes of it a verdict that every reader will take; tell whether the model works."""
        try:
            within_s = (request.deadline_at - self._clock()) / NS_PER_S
            answer = voter.answer(request, within_s)
            verdict = answered(request, answer, latency_ms(request, self._clock()))
            check(verdict)
        except RefusedError as error:
            return failed(request, "unparsable", latency_ms(request, self._clock()), str(error)), True
        except QuorumError as error:  # our own trouble, as a broker that takes no event
            return failed(request, "unavailable", latency_ms(request, self._clock()), str(error)), None
        except Exception as error:  # noqa: BLE001 - whatever an outside model raises is its failure, not ours
            kind = type(error).__name__  # its message may quote a header or an address with a secret
            log.warning("a model failed", extra={"model": request.model, "request": request.id, "error": kind})
            return failed(request, "unavailable", latency_ms(request, self._clock()), kind), False
        return verdict, _worked(verdict)


def _worked(verdict: Verdict) -> bool | None:
    """Tell whether a verdict speaks for its provider or against it; None where it says nothing of it."""
    if not isinstance(verdict, VerdictFailed) or verdict.reason in {"unparsable", "refused"}:
        return True
    return False if verdict.reason in {"timeout", "unavailable"} else None


def _forbidden(terms: Terms, request: VerdictRequested, now: int) -> str:
    """Say why a request cannot be put before its deadline; nothing if it may be, now or later."""
    if terms.circuit is not None and not terms.circuit.admits(now):
        return f"circuit open: {terms.circuit.reason} at {terms.circuit.endpoint}"
    if terms.rate is not None and terms.rate.free_at() >= request.deadline_at:
        return f"over {terms.rate.calls_per_min} calls a minute until after its deadline"
    return ""


def latency_ms(request: VerdictRequested, now: int) -> int:
    """Give the time since a request in whole ms, rounded up: so the answer's time is not before it was given."""
    return max(0, -((request.observed_at - now) // NS_PER_MS))
