"""What the desk's consumer commits of a journal, and what it keeps in mind meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.app import DeskAgent, make_app
from streams.kafka import Kafka
from streams.wire import JOURNAL

PLACE = TP(JOURNAL, 0)
TURN = 10
"""Records between two commits."""


@dataclass(eq=False)
class Message:
    """A record, as far as reading and acknowledging it needs one."""

    topic: ClassVar[str] = JOURNAL
    tp: ClassVar[TP] = PLACE
    offset: int
    acked: bool = False


async def positions(offsets: list[int]) -> tuple[list[int], list[int]]:
    """Let the desk's consumer read records at these offsets, each done at once.

    Give what it would commit after each `TURN` of them, and how many offsets it then still has in mind.
    """
    app: Any = make_app(Kafka(), cast("DeskAgent", None))
    app.loop = asyncio.get_running_loop()
    app.finalize()
    app.topics.acks_enabled_for = lambda _: True  # as once the agent listens
    consumer, fetcher = app.consumer, SimpleNamespace(_stopped=asyncio.Event())
    committed, kept = [], []

    async def getmany(**_: float) -> AsyncIterator[tuple[TP, Message]]:
        for number, offset in enumerate(offsets, start=1):
            yield PLACE, Message(offset)
            if number % TURN == 0:
                consumer._committed_offset |= consumer._filter_committable_offsets([PLACE])
                committed.append(consumer._committed_offset[PLACE])
                kept.append(len(consumer._acked[PLACE]) + len(consumer._acked_index[PLACE]))
        fetcher._stopped.set()

    async def done(message: Message) -> None:
        consumer.ack(message)

    consumer.getmany, consumer.callback = getmany, done
    try:
        await consumer._drain_messages(fetcher)
    finally:
        consumer._thread.thread_loop.close()  # of a thread that was never started
    return committed, kept


@given(st.lists(st.integers(1, 3), min_size=4 * TURN, max_size=12 * TURN))
def test_marks_of_transactions_keep_no_position_back_and_leave_nothing_in_mind(steps: list[int]) -> None:
    """A mark follows each transaction and takes an offset: 2 from record to record, more where one was aborted."""
    offsets = [sum(steps[:number]) for number in range(len(steps))]
    committed, kept = asyncio.run(positions(offsets))
    assert committed == [offset + 1 for offset in offsets[TURN - 1 :: TURN]]
    assert not any(kept)
