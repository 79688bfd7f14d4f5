"""What other programs post to us: events, or texts; each request signed, fresh, bounded and taken once.

A request is taken whole or refused whole, with one sentence that says why. What it says is data.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from connectors.feeds.http import NO_JSON, header_secret
from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import WebhookFeed
from connectors.feeds.texts import Teller, TextEvent, iso_ns, news, plain_text, tweet
from connectors.importers.report import printable
from connectors.tidy import address_id, said_hash
from schemas import codec
from schemas.base import NS_PER_S, Event
from schemas.checks import MAX_CLOCK_SKEW_NS, check
from schemas.errors import FeedError, QuorumError, RefusedError
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted

TAKEN = (TradeTicked, QuoteTicked, BarClosed, TweetPosted, NewsPublished)
"""Events that may come from outside: what the market did and what was said, never an order, a fill or a command."""
TIMESTAMP, SIGNATURE = "X-Quorum-Timestamp", "X-Quorum-Signature"
MIN_SECRET_CHARS = 16
_MAX_ITEMS = 1_000
_BODY_S = 10.0
_REMEMBERED = 100_000
"""Requests within the tolerance; where there are more, later ones wait until earlier ones are too old to come again."""


class _Posted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text as anybody may post it: news if it has a title, else a post of its author."""

    title: str = ""
    text: str = ""
    url: str = ""
    source: str = ""
    author: str = ""
    id: str = ""
    key: str = ""
    published_at: str = ""
    """ISO 8601."""


class _Head(msgspec.Struct, frozen=True):
    type: object = None


_head, _posted = msgspec.json.Decoder(_Head).decode, msgspec.json.Decoder(_Posted).decode
_items = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Give the signature of a request: HMAC-SHA256, in hex, over the timestamp, a full stop and the body."""
    return hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()


class _Refusal(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """What a request is answered with instead."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Webhook:
    """A server that other programs post to."""

    def __init__(self, name: str, settings: WebhookFeed) -> None:
        """Raises FeedError where the secret is not there, or is short enough to be guessed."""
        self.name = name
        self._settings, self._secret = settings, header_secret(settings.secret_env)
        if len(self._secret) < MIN_SECRET_CHARS:
            raise FeedError(f"feed {name}: the secret in {settings.secret_env} has under {MIN_SECRET_CHARS} characters")
        self._news, self._tweets = Teller(NewsPublished, settings.keys), Teller(TweetPosted, settings.keys)
        self._taken: dict[str, int] = {}
        self.port = settings.port
        """Where it listens, once it runs; a free port is chosen for 0."""

    @property
    def streams(self) -> Sequence[Stream]:
        """Texts under each key; events that are posted whole are not known before."""
        return [*self._news.streams, *self._tweets.streams]

    async def run(self, sink: Sink, since: Since) -> None:
        """Listen until cancelled. Raises FeedError where nobody may listen there."""
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def answer(request: web.Request) -> web.Response:
            try:
                return await self._answer(request, sink)
            except QuorumError as error:  # the host's own, as of a broker that is away: the feed ends with it
                if not failed.done():
                    failed.set_exception(error)
                return web.json_response({"error": "nothing can be taken now: send it again later"}, status=503)

        app = web.Application(client_max_size=self._settings.max_body_bytes)
        app.router.add_post(self._settings.path, answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._settings.host, self._settings.port)
            await site.start()
            self.port = runner.addresses[0][1]
            await failed
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            raise FeedError(f"feed {self.name}: cannot listen on {where}: {error.strerror or error}") from None
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request, sink: Sink) -> web.Response:
        try:
            body, signature, ends = await self._verified(request, sink)
            self._require_new(signature, sink.now())
            told, unmatched = self._take(body, sink)
            self._taken[signature] = ends
        except _Refusal as refusal:
            sink.refuse(refusal.why)
            return web.json_response({"error": refusal.why}, status=refusal.status)
        return web.json_response({"told": told, "unmatched": unmatched}, status=202)

    async def _verified(self, request: web.Request, sink: Sink) -> tuple[bytes, str, int]:
        """Give the body of a request that is signed and fresh, its signature, and until when it would be taken, ns."""
        timestamp = request.headers.get(TIMESTAMP, "")
        signature = request.headers.get(SIGNATURE, "").removeprefix("sha256=")
        now = sink.now()
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004 - of s
            raise _Refusal(401, f"the header {TIMESTAMP} must hold the Unix time in seconds")
        if abs(int(timestamp) * NS_PER_S - now) > self._settings.tolerance_s * NS_PER_S:
            bound = f"{self._settings.tolerance_s:g} s"
            raise _Refusal(401, f"{TIMESTAMP} is more than {bound} from this machine's clock: sign each request anew")
        body = await self._body(request)
        right = sign(self._secret, timestamp, body)
        if not hmac.compare_digest(right.encode(), signature.encode("utf-8", "replace")):
            raise _Refusal(401, f"{SIGNATURE} is not that of this body and timestamp: check the secret")
        return body, right, int((int(timestamp) + self._settings.tolerance_s) * NS_PER_S)

    async def _body(self, request: web.Request) -> bytes:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Refusal(415, "the body must not be compressed: leave out Content-Encoding")
        try:
            async with asyncio.timeout(_BODY_S):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _Refusal(413, f"the body is longer than {self._settings.max_body_bytes:,} bytes: send less") from None
        except TimeoutError:
            raise _Refusal(408, f"the body did not come within {_BODY_S:g} s") from None

    def _require_new(self, signature: str, now: int) -> None:
        """Refuse a request that was taken before: its signature is remembered for as long as it would be taken."""
        if signature in self._taken:
            raise _Refusal(409, "this very request was taken before: it counts once")
        if len(self._taken) >= _REMEMBERED:
            self._taken = {each: ends for each, ends in self._taken.items() if ends >= now}
        if len(self._taken) >= _REMEMBERED:
            raise _Refusal(429, f"over {_REMEMBERED:,} requests within the tolerance: send more in each")

    def _take(self, body: bytes, sink: Sink) -> tuple[int, int]:
        """Tell all that a body holds; return how many events were told, and how many texts concern no key."""
        try:
            parts = _items(body) if body.lstrip().startswith(b"[") else (msgspec.Raw(body),)
        except NO_JSON:
            raise _Refusal(422, "the body is no JSON: send one object, or an array of them") from None
        if len(parts) > _MAX_ITEMS:
            raise _Refusal(422, f"the body holds over {_MAX_ITEMS:,} items: send less at a time")
        items = [
            self._item(bytes(part), f"item {place}: " if len(parts) > 1 else "", sink)
            for place, part in enumerate(parts)
        ]
        told = unmatched = 0
        for event, keys in items:
            count = self._tell(event, keys, sink)
            told += count
            unmatched += not count
        return told, unmatched

    def _tell(self, event: Event, keys: Sequence[str] | None, sink: Sink) -> int:
        if isinstance(event, TextEvent) and not event.key:
            teller = self._news if isinstance(event, NewsPublished) else self._tweets
            return teller.tell(sink, event, keys)
        sink.put(event)
        return 1

    def _item(self, data: bytes, where: str, sink: Sink) -> tuple[Event, Sequence[str] | None]:
        """Read an event or a text; of a text, with the key that it names itself."""
        try:
            head = _head(data)
        except NO_JSON:
            raise _Refusal(422, f"{where}no JSON object") from None
        try:
            if head.type is not None:
                return self._event(data, where, sink), None
            posted = _posted(data)
            event = self._text(posted, where, sink)
            check(msgspec.structs.replace(event, key=posted.key or "any"))
        except RefusedError as error:
            raise _Refusal(422, f"{where}{error}") from None
        except NO_JSON as error:
            raise _Refusal(422, f"{where}{printable(str(error))}") from None
        return event, [posted.key] if posted.key else None

    def _event(self, data: bytes, where: str, sink: Sink) -> Event:
        event = codec.decode(data)
        if not isinstance(event, TAKEN):
            names = ", ".join(kind.__name__ for kind in TAKEN)
            raise _Refusal(422, f"{where}a {type(event).__name__} is not taken from outside: send {names}")
        if event.observed_at > sink.now() + MAX_CLOCK_SKEW_NS:
            raise _Refusal(422, f"{where}observed_at lies in the future: correct the sender's clock")
        if event.book or event.seq or event.cause:
            raise _Refusal(422, f"{where}book, seq and cause are written behind the journal: leave them out")
        return event

    def _text(self, posted: _Posted, where: str, sink: Sink) -> TextEvent:
        published_at = iso_ns(posted.published_at) if posted.published_at else None
        if posted.published_at and published_at is None:
            raise _Refusal(422, f"{where}published_at is no time: write it as 2024-01-02T10:00:00Z")
        who = posted.source or posted.author or self._settings.source or self.name
        title, text = plain_text(posted.title), plain_text(posted.text)
        if not title and not text:
            raise _Refusal(422, f"{where}a text needs a title, or a text and its author")
        own: dict[str, Any] = {"text": text, "url": posted.url}
        own["id"] = posted.id or (address_id(posted.url) if posted.url else said_hash(who, published_at, title or text))
        if title:
            return news(sink, **own, source=who, title=title, published_at=published_at)
        return tweet(sink, **own, author=posted.author or who, posted_at=published_at)
