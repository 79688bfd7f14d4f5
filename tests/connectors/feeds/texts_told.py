"""Runs a feed of texts over a sink that keeps what it is told."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from connectors.feeds.protocol import Feed, Newest, Since
from schemas.base import Event
from schemas.checks import check
from schemas.errors import FeedError

PATIENCE_S = 10.0


class Kept:
    """A sink that keeps all, doubles too."""

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        """`now` gives ns."""
        self._now = now
        self.told: list[Any] = []
        self.skipped: Counter[str] = Counter()
        self.refused: list[tuple[str, str]] = []
        self.heards = 0

    def now(self) -> int:
        return self._now()

    def put(self, event: Event) -> None:
        check(event)
        self.told.append(event)

    def heard(self) -> None:
        self.heards += 1

    def skip(self, why: str) -> None:
        self.skipped[why] += 1

    def refuse(self, reason: str, message: str = "") -> None:
        self.refused.append((reason, message))

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.told]

    @property
    def said(self) -> str:
        """All words of the feed that a log would hold."""
        return repr((self.skipped, self.refused))


@asynccontextmanager
async def running(feed: Feed, sink: Kept, since: Since | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """Run a feed, once."""
    task = asyncio.create_task(feed.run(sink, since or {}))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(is_so: Callable[[], Any], task: asyncio.Task[None] | None = None) -> None:
    """Wait until something is so, and no longer than while the feed runs."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            if task is not None and task.done():
                task.result()
            await asyncio.sleep(0.005)


async def failure(feed: Feed, sink: Kept | None = None, since: Since | None = None) -> FeedError:
    """Run a feed until it fails, and give how."""
    try:
        await asyncio.wait_for(feed.run(sink or Kept(), since or {}), PATIENCE_S)
    except FeedError as error:
        return error
    raise AssertionError("the feed has ended")


def stood(kind: type[Event], key: str, at_ns: int) -> dict[tuple[type[Event], str], Newest]:
    """Where one stream stands."""
    return {(kind, key): Newest(at_ns, "an id")}
