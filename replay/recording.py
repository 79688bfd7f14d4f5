"""Asking models for a replay before it runs: the questions that have no recorded answer, at once, within the budget.

What is answered is written before the next call of its thread begins, so whatever ends a recording, nothing that was
paid for and answered is lost. What could not be paid for, or not be reached, is no answer: a later run asks again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from logging import getLogger
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from connectors.models.prices import price_of, worst_cost
from connectors.models.prompts import render
from connectors.models.purse import BudgetPurse, CapAlert, Purse
from connectors.voters import Failure, Voter
from replay.cassette import RecordedVerdicts, Verdict
from replay.gateway import Asked, answered, failed, parameters_of
from replay.run import Reached
from replay.tape import RunMark, TapeWriter, read_entries
from schemas.base import NS_PER_S
from schemas.book import Book
from schemas.checks import check
from schemas.errors import QuorumError, RefusedError
from schemas.verdicts import NOTHING, ModelCallEnded, ModelCallStarted, VerdictFailed, VerdictGiven, VerdictRequested

Call = ModelCallStarted | ModelCallEnded
Minds = Callable[[Book, Purse, Callable[[Call], None], Callable[[], int]], Mapping[str, Voter]]
"""Makes the outside models of a book."""
UNKEPT = frozenset({"over_budget", "unavailable", "not_recorded"})
"""Failures that say nothing of the model's answer: a later run asks again."""
MOST_UNAVAILABLE = 20
"""Questions in a row on which a model could not be reached, after which nothing more is asked."""
SHOWN_EVERY_S = 0.1
SECONDS_PER_MIN = 60.0
log = getLogger("quorum.recording")


class InterruptedRecordingError(QuorumError):
    """Ctrl-C while models were asked; what was answered is kept."""

    exit_code = 130


def recorded_run(book: Book, archive: object, start_ns: int | None, end_ns: int | None) -> str:
    """Name the recording of a book over a span of an archive; interrupted, it goes on with the rest of its budget."""
    return sha256(repr((book.name, str(archive), start_ns, end_ns)).encode()).hexdigest()[:32]


class Recording:
    """One recording into one cassette."""

    def __init__(self, book: Book, root: Path, run: str, minds: Minds, clock: Callable[[], int] = time.time_ns) -> None:
        """Open the cassette and count what it says was spent. `run` names the recording; see `recorded_run`.

        Raises ArchiveError where the cassette cannot be used, BookError where a model's price is not known.
        """
        self._book, self._parameters = book, parameters_of(book)
        self.alerts: list[CapAlert] = []
        self._purse = BudgetPurse(book.budget, self.alerts.append)
        self._worst: dict[str, Decimal] = {}
        self._telling = threading.Lock()
        self._tape = TapeWriter(root, run)
        try:
            self.asked = Asked(RecordedVerdicts())
            self._read(root, run)
            self._prices = {name: price_of(book.models[name]) for name in self._parameters}
            self._voters = minds(book, self._purse, self._tell, clock)
        except BaseException:
            self._tape.close()
            raise

    def _read(self, root: Path, run: str) -> None:
        """Take the recorded verdicts, and what was spent: by this recording, if it has no end yet, and by others."""
        calls: list[Call] = []
        ours: set[str] = set()
        for place, of_run, what in read_entries(root):
            if isinstance(what, VerdictGiven | VerdictFailed):
                self.asked.recorded.add(place, what)
            elif isinstance(what, ModelCallStarted | ModelCallEnded):
                calls.append(what)
                if of_run == run:
                    ours.add(what.id)
            elif isinstance(what, RunMark) and what.ended and what.run == run:
                ours.clear()
        self._is_open = bool(ours)
        for call in calls:
            self._purse.take(call, in_run=call.id in ours)

    def __enter__(self) -> Self:
        """Give itself; the cassette is closed at the end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tape.close()

    def complete(self) -> None:
        """Say that every question is answered: the next recording of that name has its whole budget."""
        if self._is_open or self.asked.calls:
            self._tape.end_run()

    def ask(
        self, requests: Iterable[VerdictRequested], show: Callable[[Reached], None], stopping: threading.Event
    ) -> None:
        """Ask all models at once, each no more than it takes, until every question has an answer or cannot be paid.

        `stopping` lets what is under way come to its end and begins nothing more. Raises QuorumError where a model
        cannot be reached, or the cassette not be written; what was answered is kept.
        """
        round_ = _Round(self, list(requests), stopping)
        round_.run(show)
        while not stopping.is_set() and (left := round_.unpaid()):
            before, round_ = round_, _Round(self, left, stopping)
            if not before.came_to:
                break
            round_.run(show)

    def put(self, request: VerdictRequested) -> Verdict:
        """Ask one question and keep the answer."""
        began = time.monotonic()
        within_s = (request.deadline_at - request.observed_at) / NS_PER_S
        try:
            answer = self._voters[request.model].answer(request, within_s)
            verdict = answered(request, answer, _ms_since(began))
        except QuorumError:  # our own trouble, as a disk that is full
            raise
        except Exception as error:  # noqa: BLE001 - whatever an outside model raises is its failure, not ours
            kind = type(error).__name__  # its message may quote a header or an address with a secret
            log.warning("a model failed", extra={"model": request.model, "request": request.id, "error": kind})
            return failed(request, "unavailable", _ms_since(began), kind)
        try:
            check(verdict)
        except RefusedError as error:
            verdict = replace(
                failed(request, "unparsable", verdict.latency_ms, str(error)),
                parameters_sha256=verdict.parameters_sha256,
                prompt_tokens=verdict.prompt_tokens,
                reply_tokens=verdict.reply_tokens,
                cost_usd=verdict.cost_usd,
            )
        if not verdict.parameters_sha256:
            verdict = replace(verdict, parameters_sha256=self._parameters[request.model])
        if not _is_unkept(verdict):
            self._tape.append(verdict)
        return verdict

    def take(self, request: VerdictRequested, verdict: Verdict) -> None:
        """Take an answer into what the replay finds. For one thread."""
        key = request.model, self._parameters[request.model], request.prompt_sha256
        if isinstance(verdict, VerdictFailed) and verdict.reason in UNKEPT:
            self.asked.failed[key] = Failure(reason=verdict.reason, detail=verdict.detail)
        else:
            self.asked.failed.pop(key, None)
            self.asked.recorded.add(f"the answer to {request.id}", verdict)
            self.asked.requests.add(request.id)

    def worst_of(self, request: VerdictRequested) -> Decimal:
        """Give the most that one call for a question can cost."""
        read = sum(len(part.encode("utf-8", "surrogatepass")) for part in render(request))
        return worst_cost(self._prices[request.model], read, self._book.models[request.model].max_reply_tokens)

    def paid(self) -> Decimal:
        """Give what calls of this process cost so far, those under way at their worst."""
        with self._telling:
            return sum(self.asked.cost_usd.values(), NOTHING)

    def terms(self, model: str) -> tuple[int, int | None]:
        """Give how many calls to a model may be made at once, and in a minute."""
        settings = self._book.models[model]
        return settings.max_concurrent, settings.max_calls_per_min

    def _tell(self, event: Call) -> None:
        """Write down a call, and what it costs."""
        self._tape.append(event)
        with self._telling:
            costs = self.asked.cost_usd
            if isinstance(event, ModelCallStarted):
                self.asked.calls[event.model] += 1
                self._worst[event.id] = event.worst_cost_usd
                costs[event.model] = costs.get(event.model, NOTHING) + event.worst_cost_usd
            else:
                costs[event.model] += event.cost_usd - self._worst.pop(event.cause)


class _Queue:
    """The questions to one model, in the order of time."""

    def __init__(self, requests: Iterable[VerdictRequested], terms: tuple[int, int | None]) -> None:
        self._left = deque(requests)
        self._lock = threading.Lock()
        self.max_concurrent, per_min = terms
        self._apart_s = 0.0 if per_min is None else SECONDS_PER_MIN / per_min
        self._next_at = 0.0
        self.unavailable = 0
        self.settled = 0
        self.is_refused = False

    def __len__(self) -> int:
        return len(self._left)

    def take(self, stopping: threading.Event) -> VerdictRequested | None:
        """Give the next question when the model's rate allows; None where there is none, or no money for it."""
        with self._lock:
            if not self._left or self.is_refused:
                return None
            request = self._left.popleft()
            now = time.monotonic()
            at = self._next_at = max(now, self._next_at)
            self._next_at += self._apart_s
        if at > now and stopping.wait(at - now):
            self.give_back(request)
            return None
        return request

    def give_back(self, request: VerdictRequested) -> None:
        """Put back a question that was not put."""
        with self._lock:
            self._left.appendleft(request)


class _Round:
    """Asks each of some questions once, all models at the same time."""

    def __init__(self, recording: Recording, requests: Sequence[VerdictRequested], stopping: threading.Event) -> None:
        self._recording, self._stopping = recording, stopping
        self._queues = {
            model: _Queue((one for one in requests if one.model == model), recording.terms(model))
            for model in sorted({one.model for one in requests})
        }
        self._whole = len(requests)
        self._done: SimpleQueue[tuple[VerdictRequested, Verdict] | None] = SimpleQueue()
        self._error: QuorumError | None = None
        self._unpaid: list[VerdictRequested] = []
        self.came_to = 0
        """Questions that were put, whatever came of them."""
        self._worst = {one.id: recording.worst_of(one) for one in requests}
        self._worst_left = sum(self._worst.values(), NOTHING)

    def unpaid(self) -> list[VerdictRequested]:
        """Give the questions for which there was no money."""
        return self._unpaid

    def run(self, show: Callable[[Reached], None]) -> None:
        """Ask until all is done; answers are taken in by this thread alone."""
        for queue in self._queues.values():
            threading.Thread(target=self._manage, args=(queue,), daemon=True).start()
        open_, done, shown_at = len(self._queues), 0, 0.0
        while open_:
            try:
                came = self._done.get(timeout=SHOWN_EVERY_S)
            except Empty:
                continue
            if came is None:
                open_ -= 1
                continue
            request, verdict = came
            self._recording.take(request, verdict)
            done += 1
            self._worst_left -= self._worst[request.id]
            if isinstance(verdict, VerdictFailed) and verdict.reason == "over_budget":
                self._unpaid.append(request)
            else:
                self.came_to += 1
            if (now := time.monotonic()) >= shown_at + SHOWN_EVERY_S or done == self._whole:
                shown_at = now
                show(Reached(done, self._whole, self._recording.paid(), self._worst_left))
        if self._error is not None:
            raise self._error

    def _manage(self, queue: _Queue) -> None:
        """Ask one model: many at once while there is money for them, and one by one while others have it."""
        while len(queue) and not self._stopping.is_set():
            before, queue.is_refused = queue.settled, False
            crew = [
                threading.Thread(target=self._work, args=(queue,), daemon=True)
                for _ in range(min(queue.max_concurrent, len(queue)))
            ]
            for each in crew:
                each.start()
            for each in crew:
                each.join()
            if queue.is_refused and queue.settled == before:
                self._alone(queue)
        self._done.put(None)

    def _work(self, queue: _Queue) -> None:
        while not self._stopping.is_set() and (request := queue.take(self._stopping)) is not None:
            verdict = self._put(queue, request)
            if verdict is None or _is_over_budget(verdict):
                queue.give_back(request)
                queue.is_refused = True
                return
            queue.settled += 1
            self._done.put((request, verdict))

    def _alone(self, queue: _Queue) -> None:
        """Nothing of this model is under way, and the next question cannot be paid: nor can those after it, or one."""
        queue.is_refused = False
        while not self._stopping.is_set() and (request := queue.take(self._stopping)) is not None:
            verdict = self._put(queue, request)
            if verdict is None:
                return
            self._done.put((request, verdict))
            if not _is_over_budget(verdict):
                queue.settled += 1
                return

    def _put(self, queue: _Queue, request: VerdictRequested) -> Verdict | None:
        """Ask a question; None where nothing more is to be asked."""
        try:
            verdict = self._recording.put(request)
        except QuorumError as error:
            self._stop(error)
            return None
        if isinstance(verdict, VerdictFailed) and verdict.reason == "unavailable":
            queue.unavailable += 1
            if queue.unavailable >= MOST_UNAVAILABLE:
                told = f" ({verdict.detail})" if verdict.detail else ""
                self._stop(
                    QuorumError(
                        f"model {request.model!r} could not be reached on {queue.unavailable} questions in a row{told};"
                        " what was answered is kept, so record again once it can"
                    )
                )
        else:
            queue.unavailable = 0
        return verdict

    def _stop(self, error: QuorumError) -> None:
        self._error = self._error or error
        self._stopping.set()


def _is_over_budget(verdict: Verdict) -> bool:
    return isinstance(verdict, VerdictFailed) and verdict.reason == "over_budget"


def _is_unkept(verdict: Verdict) -> bool:
    return isinstance(verdict, VerdictFailed) and verdict.reason in UNKEPT


def _ms_since(began: float) -> int:
    """Give the time since in whole ms, rounded up."""
    return -int((began - time.monotonic()) * 1000 // 1)
