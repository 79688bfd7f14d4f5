"""How often a model may be called, and whether its provider is called at all while it fails.

Pure: the time, in ns, is told. Each object belongs to one thread; others may read a circuit's state.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.book import Book, ModelSettings

State = Literal["closed", "half_open", "open"]
CONCURRENT_CALLS = 16
"""To an offline voter; a book says it of a model that is called over a network."""
FAILURES_IN_A_ROW = 5
"""So many open a circuit,"""
FAILED_SHARE, FEWEST = 0.5, 20
"""and so does this share of at least so many calls within the window."""
WINDOW_NS = NS_PER_MIN
OPEN_NS = 30 * NS_PER_S
"""How long nothing is sent before one call may try."""


class Rate:
    """At most so many calls in any minute."""

    def __init__(self, calls_per_min: int) -> None:
        """None was made yet."""
        self.calls_per_min = calls_per_min
        self._calls: deque[int] = deque(maxlen=calls_per_min)

    def called(self, at: int) -> None:
        """A call was made."""
        self._calls.append(at)

    def free_at(self) -> int:
        """Give the time from which the next call may be made; 0 where any will do."""
        return self._calls[0] + NS_PER_MIN if len(self._calls) == self.calls_per_min else 0


class Circuit:
    """A breaker between us and one endpoint of a provider.

    Closed, all calls pass. Failures open it, and none passes; after `OPEN_NS` it is half open: one call passes, and
    what comes of it closes the circuit or opens it again. Calls that were under way as it opened change nothing.
    """

    def __init__(self, endpoint: str) -> None:
        """It is closed."""
        self.endpoint = endpoint
        self.reason = ""
        """Why it is open."""
        self._results: deque[tuple[int, bool]] = deque()
        self._in_a_row = 0
        self._opened_at = 0
        self._probe = ""

    def state(self, now: int) -> State:
        """Tell how it is."""
        if not self._opened_at:
            return "closed"
        return "open" if now < self._opened_at + OPEN_NS else "half_open"

    def admits(self, now: int) -> bool:
        """Tell whether a call may be made."""
        state = self.state(now)
        return state == "closed" or (state == "half_open" and not self._probe)

    def began(self, request: str, now: int) -> None:
        """A call was admitted and begins; in a half-open circuit it is the one that tries."""
        if self.state(now) == "half_open":
            self._probe = request

    def ended(self, request: str, worked: bool | None, now: int) -> None:  # noqa: FBT001 - three-valued
        """A call ended: it worked, or not; None says nothing of the provider, as where a cap forbade the call."""
        if self._opened_at:
            if request == self._probe:
                self._probe = ""
                if worked is True:
                    self._close()
                elif worked is False:
                    self._open(now, "the call that tried it again failed")
        elif worked is not None:
            self._count(now, worked)

    def _count(self, now: int, worked: bool) -> None:  # noqa: FBT001
        self._results.append((now, worked))
        while self._results[0][0] <= now - WINDOW_NS:
            self._results.popleft()
        self._in_a_row = 0 if worked else self._in_a_row + 1
        failed = sum(not good for _, good in self._results)
        if self._in_a_row >= FAILURES_IN_A_ROW:
            self._open(now, f"{self._in_a_row} calls in a row failed")
        elif len(self._results) >= FEWEST and failed >= FAILED_SHARE * len(self._results):
            self._open(now, f"{failed} of {len(self._results)} calls in {WINDOW_NS // NS_PER_S} s failed")

    def _open(self, now: int, reason: str) -> None:
        self._opened_at, self.reason = now, reason

    def _close(self) -> None:
        self._opened_at, self.reason, self._in_a_row = 0, "", 0
        self._results.clear()


class Terms(NamedTuple):
    """On which one model may be asked."""

    max_concurrent: int = CONCURRENT_CALLS
    rate: Rate | None = None
    circuit: Circuit | None = None

    def may_call(self, now: int) -> bool:
        """Tell whether the rate allows a call."""
        return self.rate is None or self.rate.free_at() <= now


def endpoint_of(model: ModelSettings) -> str:
    """Name the provider and the endpoint that a model is called at; no more of an address than its host and port."""
    address = urlsplit(model.endpoint)
    where = address.netloc.rpartition("@")[2] or model.region
    return f"{model.kind}/{where}" if where else model.kind


def terms_of(books: list[Book]) -> dict[tuple[str, str], Terms]:
    """Give the terms of each book's outside models; those at one endpoint share its circuit."""
    outside = {(book.name, name): model for book in books for name, model in book.models.items() if model.is_outside}
    circuits = {endpoint: Circuit(endpoint) for endpoint in map(endpoint_of, outside.values())}
    return {
        name: Terms(
            model.max_concurrent,
            None if model.max_calls_per_min is None else Rate(model.max_calls_per_min),
            circuits[endpoint_of(model)],
        )
        for name, model in outside.items()
    }
