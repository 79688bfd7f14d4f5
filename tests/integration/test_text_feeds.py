"""From the wire of X to a real Kafka: the topic equals what was posted, through cuts and a restart."""

from __future__ import annotations

import asyncio

from schemas.texts import TweetPosted
from streams.feeding import stands
from streams.kafka import Kafka
from tests.connectors.feeds.text_sources import XSource
from tests.integration.feeding import fed, told, until_told

COUNT = 300


def test_posts_equal_what_was_posted_through_a_cut_and_a_restart(kafka: Kafka) -> None:
    async def scenario() -> XSource:
        source = XSource(COUNT)
        async with source.listening():
            with fed(kafka, source.feed(), stale_s=25.0):
                await source.say(0, 100)
                await source.repeat(90, 100)
                await until_told(kafka, "tweets", 100)
                await source.cut()
                await source.miss(100, 150)
                await source.say(150, 160)
                await until_told(kafka, "tweets", 160)
            await source.miss(160, 280)  # while no feed runs at all
            with fed(kafka, source.feed(), stale_s=25.0):
                await source.say(280, COUNT)
                await until_told(kafka, "tweets", COUNT)
        return source

    source = asyncio.run(scenario())
    events = told(kafka, "tweets")
    assert [event.id for event in events] == list(source.expected)
    for event, said in zip(events, source.items, strict=True):
        assert isinstance(event, TweetPosted)
        assert (event.author, event.occurred_at) == (said.who, said.at_ns)
        assert event.text == said.text
    newest, _ = stands(kafka, [(TweetPosted, "BTC")])
    assert newest[TweetPosted, "BTC"].id == source.expected[-1]
