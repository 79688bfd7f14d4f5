"""What every feed keeps, proved against a server that speaks the source's wire format and says what the test asks.

A kind of feed brings a `Source` of its own and runs `CHECKS` over it; see tests/connectors/feeds/test_contract.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import pytest

from connectors.feeds.protocol import Feed
from schemas.base import Event
from schemas.errors import FeedError
from streams.feeding import HostSink
from streams.metrics import FeedMeter

PATIENCE_S = 20.0
"""How long a check waits for what must come; a pass waits for nothing."""
QUIET_S = 0.3
"""How long a check watches that nothing more comes."""


class Source(Protocol):
    """A server on this machine that speaks a source's wire format. It holds a recording of several items."""

    @property
    def expected(self) -> Sequence[str]:
        """The ids of the events that the items make, in order."""
        ...

    def feed(self) -> Feed:
        """Make the feed that listens to this server."""
        ...

    async def say(self, first: int, end: int) -> None:
        """Let items [first, end) happen: whoever listens is told, whoever asks later finds them."""
        ...

    async def miss(self, first: int, end: int) -> None:
        """Let items [first, end) happen while nobody is told; whoever asks finds them."""
        ...

    async def repeat(self, first: int, end: int) -> None:
        """Tell items that have happened once more, to whoever listens; a source that is polled does it anyway."""
        ...

    async def swap(self, first: int) -> None:
        """Let items first and first + 1 happen, told the wrong way round."""
        ...

    async def garble(self) -> None:
        """Say something that is no message of this source, or make the next answer one."""
        ...

    async def cut(self) -> None:
        """Break off all connections."""
        ...

    async def hush(self) -> None:
        """Say and answer nothing more, while connections stay."""
        ...

    def refuse(self, status: int, retry_after_s: int) -> None:
        """Answer the next request, or attempt to connect, with `status` and a Retry-After."""
        ...


@dataclass(frozen=True)
class FeedCase:
    """A kind of feed, and what its source can do at all."""

    name: str
    serve: Callable[[], AbstractAsyncContextManager[Source]]
    repairs: bool = True
    """What happened while the connection was down can be had afterwards."""
    reorders: bool = True
    """Order can be mended: the source numbers what it says."""
    refuses: bool = True
    """The source is a server that may answer 429."""

    def __str__(self) -> str:
        return self.name


class Listener:
    """The host's own sink over a list, and the feed running into it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.told: list[Event] = []
        self.refused: list[str] = []
        self.failures: list[str] = []
        self.sink = HostSink(self.told.append, FeedMeter("contract", feed.streams))
        report = self.sink.refuse

        def refuse(reason: str, message: str = "") -> None:
            self.refused.append(reason)
            report(reason, message)

        self.sink.refuse = refuse  # type: ignore[method-assign]

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.told]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the feed, calling it again when its source fails, as the host does but at once."""
        task = asyncio.create_task(self._run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            try:
                await self.feed.run(self.sink, dict(self.sink.since))
            except FeedError as error:
                self.failures.append(str(error))
                await asyncio.sleep(0.05)

    async def until(self, is_so: Callable[[], bool], task: asyncio.Task[None], what: str) -> None:
        """Wait until something is so. Fails when the feed ends, or after `PATIENCE_S`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while not is_so():
            if task.done():
                task.result()
            assert loop.time() < end, (
                f"{what} has not come; told {self.ids}, refused {self.refused}, {self.failures[-2:]}"
            )
            await asyncio.sleep(0.01)

    async def until_told(self, ids: Sequence[str], task: asyncio.Task[None]) -> None:
        await self.until(lambda: len(self.told) >= len(ids), task, f"{len(ids)} events")
        await asyncio.sleep(QUIET_S)
        assert self.ids == list(ids)


async def what_was_recorded_is_told_once_and_in_order(case: FeedCase) -> None:
    async with case.serve() as source:
        listener = Listener(source.feed())
        async with listener.running() as task:
            await source.say(0, len(source.expected))
            await listener.until_told(source.expected, task)
            assert not listener.refused
        for event in listener.told:
            assert event.observed_at >= event.occurred_at
            assert (type(event), event.key) in listener.feed.streams or not listener.feed.streams


async def a_second_call_counts_once(case: FeedCase) -> None:
    async with case.serve() as source:
        listener = Listener(source.feed())
        for _ in range(2):
            async with listener.running() as task:
                if not listener.told:
                    await source.say(0, len(source.expected))
                else:
                    await source.repeat(0, len(source.expected))
                await listener.until_told(source.expected, task)


async def a_cut_connection_comes_back_and_nothing_is_missing(case: FeedCase) -> None:
    async with case.serve() as source:
        listener, half, end = Listener(source.feed()), len(source.expected) // 2, len(source.expected)
        async with listener.running() as task:
            await source.say(0, half)
            await listener.until_told(source.expected[:half], task)
            await source.cut()
            if case.repairs:
                await source.miss(half, end - 1)
            await source.say(end - 1 if case.repairs else half, end)
            await listener.until_told(source.expected, task)


async def what_is_said_twice_counts_once(case: FeedCase) -> None:
    async with case.serve() as source:
        listener, half = Listener(source.feed()), len(source.expected) // 2
        async with listener.running() as task:
            await source.say(0, half)
            await listener.until_told(source.expected[:half], task)
            await source.repeat(0, half)
            await source.say(half, len(source.expected))
            await listener.until_told(source.expected, task)


async def what_is_said_out_of_order_is_told_in_order(case: FeedCase) -> None:
    if not case.reorders:
        pytest.skip(f"{case}: nothing that its source says tells the order")
    async with case.serve() as source:
        listener, end = Listener(source.feed()), len(source.expected)
        async with listener.running() as task:
            await source.say(0, end - 2)
            await listener.until_told(source.expected[: end - 2], task)
            await source.swap(end - 2)
            await listener.until_told(source.expected, task)


async def a_source_that_asks_for_patience_is_heeded(case: FeedCase) -> None:
    if not case.refuses:
        pytest.skip(f"{case}: its source answers no requests")
    async with case.serve() as source:
        listener = Listener(source.feed())
        source.refuse(429, 7)
        with pytest.raises(FeedError) as refused:
            await asyncio.wait_for(listener.feed.run(listener.sink, {}), PATIENCE_S)
        assert 6 < refused.value.retry_after_s <= 7
        async with listener.running() as task:
            await source.say(0, len(source.expected))
            await listener.until_told(source.expected, task)


async def what_cannot_be_read_is_reported_and_passed_over(case: FeedCase) -> None:
    async with case.serve() as source:
        listener, half = Listener(source.feed()), len(source.expected) // 2
        async with listener.running() as task:
            await source.say(0, half)
            await listener.until_told(source.expected[:half], task)
            await source.garble()
            await listener.until(lambda: bool(listener.refused or listener.failures), task, "the report of it")
            await source.say(half, len(source.expected))
            await listener.until_told(source.expected, task)


async def a_silent_source_is_not_heard(case: FeedCase) -> None:
    async with case.serve() as source:
        listener = Listener(source.feed())
        async with listener.running() as task:
            await source.say(0, len(source.expected))
            await listener.until_told(source.expected, task)
            await source.hush()
            await asyncio.sleep(QUIET_S)
            last = listener.sink.heard_at
            await asyncio.sleep(QUIET_S)
            assert listener.sink.heard_at == last


Check = Callable[[FeedCase], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    what_was_recorded_is_told_once_and_in_order,
    a_second_call_counts_once,
    a_cut_connection_comes_back_and_nothing_is_missing,
    what_is_said_twice_counts_once,
    what_is_said_out_of_order_is_told_in_order,
    a_source_that_asks_for_patience_is_heeded,
    what_cannot_be_read_is_reported_and_passed_over,
    a_silent_source_is_not_heard,
)
