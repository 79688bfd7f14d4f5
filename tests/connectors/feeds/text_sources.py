"""The sources of texts as the contract of feeds knows them: each tells real texts in its own wire format."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from connectors.feeds.files import Files
from connectors.feeds.newsapi import NewsApi
from connectors.feeds.protocol import Feed
from connectors.feeds.rss import Rss
from connectors.feeds.settings import FilesFeed, NewsApiFeed, RssFeed, WebhookFeed, XFeed
from connectors.feeds.webhook import SIGNATURE, TIMESTAMP, Webhook, sign
from connectors.feeds.x import X
from connectors.tidy import address_id, text_hash
from tests.connectors.feeds import text_servers as servers
from tests.connectors.feeds.recorded_texts import COUNT, KEYS, Said, articles, tweets
from tests.contracts.feeds import FeedCase, Source

POLL_S = 0.05
GARBLED = b'{"data": {"id": "1", "te'
os.environ |= {"X_BEARER_TOKEN": servers.TOKEN, "NEWSAPI_KEY": servers.TOKEN, "QUORUM_WEBHOOK_SECRET": servers.TOKEN}


class XSource(servers.XServer):
    def __init__(self, count: int = COUNT) -> None:
        super().__init__()
        self.items = tweets(count)
        self.expected: Sequence[str] = [servers.tweet_id(said) for said in self.items]

    def feed(self) -> Feed:
        return X("x", XFeed(keys=KEYS, url=self.url))

    async def say(self, first: int, end: int) -> None:
        for said in self.items[first:end]:
            self.said.append(said)
            await self.stream(said)
            await self.send(b"\r\n")

    async def miss(self, first: int, end: int) -> None:
        self.said += self.items[first:end]

    async def repeat(self, first: int, end: int) -> None:
        for said in self.items[first:end]:
            await self.stream(said)

    async def swap(self, first: int) -> None:
        raise NotImplementedError

    async def garble(self) -> None:
        await self.send(GARBLED + b"\r\n")


class Polled(servers.Server):
    """A source that is asked."""

    items: list[Said]

    async def say(self, first: int, end: int) -> None:
        self.said += self.items[first:end]

    miss = say

    async def repeat(self, first: int, end: int) -> None:
        """Each poll says all again."""

    async def swap(self, first: int) -> None:
        self.said += [self.items[first + 1], self.items[first]]


class NewsSource(servers.NewsServer, Polled):
    def __init__(self) -> None:
        super().__init__()
        self.items = articles()
        self.expected: Sequence[str] = [address_id(said.url) for said in self.items]

    def feed(self) -> Feed:
        return NewsApi("news", NewsApiFeed(keys=KEYS, url=self.url, poll_s=POLL_S))

    async def garble(self) -> None:
        self.extra.append({"title": 7, "url": None})


class RssSource(servers.RssServer, Polled):
    def __init__(self) -> None:
        super().__init__()
        self.items = articles()
        self.expected: Sequence[str] = [address_id(said.url) for said in self.items]

    def feed(self) -> Feed:
        return Rss("rss", RssFeed(keys=KEYS, url=f"{self.url}/rss", poll_s=POLL_S))

    async def garble(self) -> None:
        self.document = servers.rss(self.said).encode()[:-20]


class AtomSource(RssSource):
    @property
    def _place(self) -> str:
        return "127.0.0.1/atom"

    def __init__(self) -> None:
        super().__init__()
        hosts = [said.url.split("/")[2] for said in self.items]
        self.expected: Sequence[str] = [text_hash(f"{self._place}|tag:{host},2024:{n}") for n, host in enumerate(hosts)]

    def feed(self) -> Feed:
        return Rss("atom", RssFeed(keys=KEYS, url=f"{self.url}/atom", poll_s=POLL_S))

    async def garble(self) -> None:
        self.document = servers.atom(self.said).encode()[:-20]

    async def swap(self, first: int) -> None:
        """Entries have ids by their place in time, whatever the order in which the feed says them."""
        self.said += self.items[first : first + 2]


class FileSource:
    """A program that appends to a file; it moves the file away where others lose a connection."""

    def __init__(self, folder: Path, *, is_csv: bool) -> None:
        self.folder, self._is_csv = folder, is_csv
        self.items = articles()
        self.expected: Sequence[str] = [address_id(said.url) for said in self.items]
        self.path = folder / f"news.{'csv' if is_csv else 'jsonl'}"
        self._begin()

    def _begin(self) -> None:
        self.path.write_bytes(b"ts,source,headline,summary,link\r\n" if self._is_csv else b"")

    def feed(self) -> Feed:
        return Files("files", FilesFeed(path=str(self.path), keys=KEYS, map={"title": "headline"}))

    def line(self, said: Said) -> bytes:
        row = {"ts": said.iso, "source": said.who, "headline": said.title, "summary": said.text, "link": said.url}
        if not self._is_csv:
            return json.dumps(row).encode() + b"\n"
        written = io.StringIO(newline="")
        csv.writer(written).writerow(row.values())
        return written.getvalue().encode()

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    async def say(self, first: int, end: int) -> None:
        for said in self.items[first:end]:
            data = self.line(said)
            self.append(data[: len(data) // 2])
            self.append(data[len(data) // 2 :])

    miss = repeat = say

    async def swap(self, first: int) -> None:
        raise NotImplementedError

    async def garble(self) -> None:
        self.append(b'"\xff\xfe",x\n' if self._is_csv else GARBLED + b"\n")

    async def cut(self) -> None:
        self.path.rename(self.path.with_name("news.old"))
        self._begin()

    async def hush(self) -> None:
        pass

    def refuse(self, status: int, retry_after_s: int) -> None:
        raise NotImplementedError


class WebhookSource:
    """A program that posts to us, and posts again what was not taken."""

    def __init__(self) -> None:
        self.items = articles()
        self.expected: Sequence[str] = [address_id(said.url) for said in self.items]
        self._webhook = Webhook("hook", WebhookFeed(keys=KEYS, port=0))
        self._posted = 0

    def feed(self) -> Feed:
        return self._webhook

    async def post(self, body: bytes, **headers: str) -> tuple[int, Any]:
        stamp = str(int(time.time()))
        signed = {TIMESTAMP: stamp, SIGNATURE: sign(servers.TOKEN, stamp, body)} | headers
        for _ in range(200):
            try:
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(f"http://127.0.0.1:{self._webhook.port}/", data=body, headers=signed) as response,
                ):
                    return response.status, await response.json()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
        raise AssertionError("nobody listens")

    async def say(self, first: int, end: int) -> None:
        for said in self.items[first:end]:
            self._posted += 1  # no request is the same as another
            text = {"title": said.title, "text": said.text + " " * self._posted, "url": said.url, "source": said.who}
            status, answer = await self.post(json.dumps(text | {"published_at": said.iso}).encode())
            assert (status, answer) == (202, {"told": 1, "unmatched": 0})

    miss = repeat = say

    async def swap(self, first: int) -> None:
        raise NotImplementedError

    async def garble(self) -> None:
        assert (await self.post(GARBLED))[0] == 422

    async def cut(self) -> None:
        pass

    async def hush(self) -> None:
        pass

    def refuse(self, status: int, retry_after_s: int) -> None:
        raise NotImplementedError


def served(make: Callable[[], Any]) -> Callable[[], AbstractAsyncContextManager[Source]]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[Source]:
        server = make()
        async with server.listening():
            yield server

    return serve


def filed(*, is_csv: bool) -> Callable[[], AbstractAsyncContextManager[Source]]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[Source]:
        with tempfile.TemporaryDirectory() as folder:
            yield FileSource(Path(folder), is_csv=is_csv)

    return serve


@asynccontextmanager
async def hooked() -> AsyncIterator[Source]:
    yield WebhookSource()


CASES: Sequence[FeedCase] = (
    FeedCase("x", served(XSource), reorders=False),
    FeedCase("newsapi", served(NewsSource)),
    FeedCase("rss", served(RssSource)),
    FeedCase("atom", served(AtomSource)),
    FeedCase("files as JSON lines", filed(is_csv=False), reorders=False, refuses=False),
    FeedCase("files as CSV", filed(is_csv=True), reorders=False, refuses=False),
    FeedCase("webhook", hooked, reorders=False, refuses=False),
)
