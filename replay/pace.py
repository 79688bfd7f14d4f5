"""Wall time for a replay that is to run at N times the speed of the original."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.base import NS_PER_S

SLICE_S = 0.05
"""How long a paced replay runs on before it looks at the clock again, in wall time."""


class WallPacer:
    """Holds a replay to `speed` times real time; one that is too slow to keep up runs as fast as it can."""

    def __init__(self, speed: float, on_wait: Callable[[], None]) -> None:
        """`on_wait` is called at each look at the clock, so that progress can be shown."""
        self._speed = speed
        self._on_wait = on_wait
        self._origin: tuple[int, float] | None = None

    def horizon(self, now: int) -> int:
        """Sleep until the wall has come as far as the replay; give the time up to which it may run on."""
        if self._origin is None:
            self._origin = (now, time.monotonic())
        start, wall = self._origin
        ahead_s = (now - start) / NS_PER_S / self._speed - (time.monotonic() - wall)
        self._on_wait()
        if ahead_s > 0:
            time.sleep(ahead_s)
        return now + max(1, int(SLICE_S * self._speed * NS_PER_S))
