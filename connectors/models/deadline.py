"""Calls that end by their deadline, whatever the far end does.

A time limit of an SDK bounds one read, and a service that drips its answer never lets it pass. So a call has a thread
of its own, which is left behind at the deadline: it ends when its connection does, and keeps no process alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from connectors.models.provider import CallError
from connectors.models.refusals import silence

MAX_LEFT = 100
"""Threads left behind that have not ended; with more, no call is made."""
T = TypeVar("T")


class Calls(Generic[T]):
    """The calls to one model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0

    def run(self, call: Callable[[], T], within_s: float) -> T:
        """Give what a call gives, and raise what it raises. Raises CallError where it has not ended in time.

        It is not begun where there is no time, or too many hang: then it cost nothing.
        """
        if within_s <= 0:
            raise CallError("timeout", "no time is left for the call", prompt_tokens=0, reply_tokens=0)
        if self._left >= MAX_LEFT:
            raise CallError("unavailable", f"{self._left} calls to it hang", prompt_tokens=0, reply_tokens=0)
        done: SimpleQueue[T | BaseException] = SimpleQueue()
        over = threading.Event()  # one side is done with the other

        def work() -> None:
            try:
                done.put(call())
            except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
                done.put(error)
            with self._lock:
                self._left -= over.is_set()
                over.set()

        threading.Thread(target=work, name="model call", daemon=True).start()
        try:
            got = done.get(timeout=within_s)
        except Empty:
            with self._lock:
                self._left += not over.is_set()
                over.set()
            raise silence(within_s) from None
        if isinstance(got, BaseException):
            raise got
        return got
