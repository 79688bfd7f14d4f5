"""Servers on this machine that speak the wire formats of X, NewsAPI and RSS, and say what a test asks of them."""

from __future__ import annotations

import asyncio
import html
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from connectors.feeds import xwire
from schemas.base import NS_PER_S
from tests.connectors.feeds.recorded_texts import Said

TOKEN = "s3cr3t-bearer-token"
PATIENCE_S = 10.0


class Server:
    """What the servers have in common: refusals, silence, and connections that can be cut."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        """What has happened so far, in order."""
        self.requests: Counter[str] = Counter()
        self.refusals: list[web.Response] = []
        """Answers that the next requests get instead of their own."""
        self.is_hushed = False
        self.url = ""
        self._runner: web.AppRunner | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application(middlewares=[self._meet])
        self.route(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        try:
            yield
        finally:
            await self._runner.cleanup()

    def route(self, router: web.UrlDispatcher) -> None:
        raise NotImplementedError

    @web.middleware
    async def _meet(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests[f"{request.method} {request.path}"] += 1
        if self.is_hushed:
            await asyncio.Event().wait()
        if self.refusals:
            return self.refusals.pop(0)
        response: web.StreamResponse = await handler(request)
        return response

    def refuse(self, status: int, retry_after_s: int) -> None:
        self.refusals.append(web.Response(status=status, headers={"Retry-After": str(retry_after_s)}))

    async def cut(self) -> None:
        assert self._runner is not None
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def hush(self) -> None:
        self.is_hushed = True


def problem(status: int, title: str, detail: str, **headers: str) -> web.Response:
    """An error, as X describes it."""
    body = {"title": title, "detail": detail, "type": "about:blank", "status": status}
    return web.json_response(body, status=status, headers=headers)


class XServer(Server):
    """X's filtered stream, its rules, and recent search."""

    def __init__(self) -> None:
        super().__init__()
        self.rules: list[dict[str, str]] = []
        self.rule_errors: list[dict[str, str]] = []
        self.searches: list[dict[str, str]] = []
        self.page_size = 100
        self._streams: list[tuple[web.Request, web.StreamResponse]] = []

    def route(self, router: web.UrlDispatcher) -> None:
        router.add_get("/2/tweets/search/stream", self._stream)
        router.add_get("/2/tweets/search/stream/rules", self._rules)
        router.add_post("/2/tweets/search/stream/rules", self._change_rules)
        router.add_get("/2/tweets/search/recent", self._recent)

    async def _rules(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "Unauthorized", "Unauthorized")
        meta = {"sent": "2026-01-01T00:00:00.000Z", "result_count": len(self.rules)}
        return web.json_response({"data": self.rules, "meta": meta} if self.rules else {"meta": meta})

    async def _change_rules(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if "delete" in asked:
            ids = asked["delete"]["ids"]
            self.rules = [rule for rule in self.rules if rule["id"] not in ids]
            return web.json_response({"meta": {"summary": {"deleted": len(ids), "not_deleted": 0}}})
        errors, made = list(self.rule_errors), []
        for rule in asked["add"]:
            same = next((each for each in self.rules if each["value"] == rule["value"]), None)
            if same:
                kind = "https://api.twitter.com/2/problems/duplicate-rules"
                errors.append({"value": rule["value"], "id": same["id"], "title": "DuplicateRule", "type": kind})
            else:
                made.append({"id": str(1_000 + len(self.rules)), **rule})
                self.rules.append(made[-1])
        return web.json_response({"data": made, "meta": {}, **({"errors": errors} if errors else {})}, status=201)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        await response.prepare(request)
        self._streams.append((request, response))
        await asyncio.Event().wait()
        return response

    def _listening(self) -> list[web.StreamResponse]:
        return [
            stream
            for request, stream in self._streams
            if request.transport is not None and not request.transport.is_closing()
        ]

    async def _recent(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.searches.append(asked)
        since = int(asked.get("since_id", "0"))
        found = sorted((said for said in set(self.said) if int(tweet_id(said)) > since), key=tweet_id, reverse=True)
        first = int(asked.get("next_token", "0"))
        page, end = found[first : first + self.page_size], first + self.page_size
        meta = {"result_count": len(page), **({"next_token": str(end)} if end < len(found) else {})}
        if not page:
            return web.json_response({"meta": meta})
        users = {user_id(said): user(said) for said in page}
        return web.json_response(
            {"data": [post(said) for said in page], "includes": {"users": [*users.values()]}, "meta": meta}
        )

    async def send(self, data: bytes) -> None:
        """Write to whoever streams; wait for somebody to."""
        async with asyncio.timeout(PATIENCE_S):
            while not (streams := self._listening()):  # noqa: ASYNC110 - nothing tells when a connection is gone
                await asyncio.sleep(0.005)
        for stream in streams:
            await stream.write(data)

    async def stream(self, said: Said) -> None:
        await self.send(line(said))


def tweet_id(said: Said) -> str:
    return str(xwire.id_at(said.at_ns) + 7)


def user_id(said: Said) -> str:
    return str(int(sha256(said.who.encode()).hexdigest()[:12], 16))


def user(said: Said) -> dict[str, Any]:
    metrics = {"followers_count": 1_200, "following_count": 3, "tweet_count": 9, "listed_count": 0}
    return {"id": user_id(said), "name": said.who, "username": said.who, "public_metrics": metrics}


def post(said: Said) -> dict[str, Any]:
    return {
        "author_id": user_id(said),
        "created_at": said.iso.replace("Z", ".000Z"),
        "edit_history_tweet_ids": [tweet_id(said)],
        "id": tweet_id(said),
        "public_metrics": {"retweet_count": 4, "reply_count": 0, "like_count": 2, "quote_count": 0},
        "text": html.escape(said.text, quote=False),
    }


def line(said: Said) -> bytes:
    """A line of the stream."""
    message = {
        "data": post(said),
        "includes": {"users": [user(said)]},
        "matching_rules": [{"id": "1000", "tag": "quorum/x/BTC"}],
    }
    return json.dumps(message, ensure_ascii=False).encode() + b"\r\n"


class NewsServer(Server):
    """NewsAPI's two endpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.extra: list[Any] = []
        """What stands among the articles besides."""
        self.asked: list[dict[str, str]] = []
        self.is_developer = False

    def route(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v2/everything", self._articles)
        router.add_get("/v2/top-headlines", self._articles)

    async def _articles(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if request.headers.get("X-Api-Key") != TOKEN:
            return newsapi_error(401, "apiKeyInvalid", "Your API key is invalid or incorrect.")
        page, size = int(request.query["page"]), int(request.query["pageSize"])
        if self.is_developer and page > 1:
            return newsapi_error(426, "maximumResultsReached", "You have requested too many results.")
        found = [article(said) for said in reversed(self.said)]
        shown = [*self.extra, *found][(page - 1) * size : page * size]
        return web.json_response({"status": "ok", "totalResults": len(found), "articles": shown})


def newsapi_error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"status": "error", "code": code, "message": message}, status=status)


def article(said: Said) -> dict[str, Any]:
    return {
        "source": {"id": None, "name": said.who},
        "author": None,
        "title": said.title,
        "description": f"<p>{said.text}</p>",
        "url": said.url,
        "urlToImage": None,
        "publishedAt": said.iso,
        "content": f"{said.text[:150]}… [+1234 chars]",
    }


class RssServer(Server):
    """A site with an RSS feed at /rss and an Atom feed at /atom, both with ETag and Last-Modified."""

    def __init__(self) -> None:
        super().__init__()
        self.document: bytes | None = None
        """What is answered in place of the feed, once."""
        self.unchanged = 0
        self.headers: list[dict[str, str]] = []

    def route(self, router: web.UrlDispatcher) -> None:
        router.add_get("/rss", self._feed)
        router.add_get("/atom", self._feed)

    async def _feed(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if self.document is not None:
            document, self.document = self.document, None
            return web.Response(body=document, content_type="application/xml")
        body = (rss if request.path == "/rss" else atom)(self.said).encode()
        tag = f'W/"{sha256(body).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == tag:
            self.unchanged += 1
            return web.Response(status=304)
        marks = {"ETag": tag, "Last-Modified": formatdate(1_700_000_000, usegmt=True)}
        return web.Response(body=body, content_type="application/xml", charset="utf-8", headers=marks)


def rss(said: list[Said]) -> str:
    items = "".join(
        f"<item><title>{html.escape(each.title)}</title><link>{html.escape(each.url)}</link>"
        f"<guid isPermaLink='true'>{html.escape(each.url)}</guid>"
        f"<pubDate>{formatdate(each.at_ns / NS_PER_S, usegmt=True)}</pubDate>"
        f"<description><![CDATA[<p>{html.escape(each.text)}</p>]]></description></item>"
        for each in reversed(said)
    )
    channel = "<title>A site of news</title><link>http://example.org/</link><description>d</description>"
    return f'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel>{channel}{items}</channel></rss>'


def atom(said: list[Said]) -> str:
    entries = "".join(
        f"<entry><title type='html'>{html.escape(html.escape(each.title))}</title>"
        f"<link href='{html.escape(each.url)}'/><id>tag:{urlsplit(each.url).hostname},2024:{place}</id>"
        f"<updated>{each.iso}</updated><summary>{html.escape(each.text)}</summary></entry>"
        for place, each in reversed(list(enumerate(said)))
    )
    head = "<title>A site of news</title><id>urn:x</id><updated>2024-01-01T00:00:00Z</updated>"
    return f'<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom">{head}{entries}</feed>'
