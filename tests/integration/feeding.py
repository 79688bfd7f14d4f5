"""Runs a feed's host beside a test: until the block ends, and what the host raised is the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from connectors.feeds.protocol import Feed
from schemas.base import Event
from schemas.codec import decode
from schemas.topics import TOPICS
from streams.feeding import FeedHost
from streams.health import Health
from streams.kafka import Kafka
from streams.reading import read_back

PATIENCE_S = 60.0


@contextmanager
def fed(kafka: Kafka, feed: Feed, host: type[FeedHost] = FeedHost, *, stale_s: float = 0.0) -> Iterator[None]:
    """Run the host of a feed in a thread of its own. Raises what the host raises, TimeoutError if it does not end."""
    stopping, thread = threading.Event(), ThreadPoolExecutor(1)
    ended = thread.submit(host(kafka, type(feed).__name__, feed, Health("test"), stale_s=stale_s).run, stopping)
    thread.shutdown(wait=False)
    try:
        yield
    finally:
        stopping.set()
        ended.result(PATIENCE_S)


def told(kafka: Kafka, topic: str) -> list[Event]:
    """The events on a topic, partition by partition."""
    partitions = next(each.partitions for each in TOPICS if each.name == topic)
    return [decode(each.value() or b"") for n in range(partitions) for each in read_back(kafka, topic, n, 0)]


async def until_told(kafka: Kafka, topic: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(await asyncio.to_thread(told, kafka, topic)) < count:  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.2)
