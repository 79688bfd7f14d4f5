"""Entries of an RSS or Atom feed, polled with ETag and Last-Modified, parsed by feedparser.

A feed that declares entities of its own is refused unread: they are what a bomb, or a look at our files, is made of.
An entry's id is its own, or the hash of its address where that is what the feed gives for one.
"""

from __future__ import annotations

import asyncio
import io
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from xml.parsers import expat

import aiohttp
import feedparser
from feedparser.encodings import convert_to_utf8

from connectors.feeds.http import REFUSED_S, Service, answer, asked_wait_s, header_secret
from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import RssFeed
from connectors.feeds.texts import Teller, Told, news, plain_text
from connectors.tidy import address_id, said_hash, text_hash
from schemas.base import NS_PER_S
from schemas.texts import NewsPublished

_MAX_BYTES = 4_000_000
_MAX_LOOSE_BYTES = 250_000
"""Of a feed that is not well-formed: feedparser's lenient parser may take long for one that is made to."""
_MAX_ENTRIES = 1_000
_DECLARATION = b"<!ENTITY"
_BROKEN_S = 30.0
_OK, _UNCHANGED, _UNAUTHORISED, _FORBIDDEN, _GONE, _LIMITED, _BROKEN = 200, 304, 401, 403, 410, 429, 500


class Rss:
    """The entries of one feed that concern some keys."""

    def __init__(self, name: str, settings: RssFeed) -> None:
        """Raises FeedError for what is no address, or where the header is not there."""
        secret = header_secret(settings.authorization_env) if settings.authorization_env else ""
        self.name = name
        self._settings = settings
        self._service = Service(name, settings.url, secret)
        parts = urlsplit(settings.url)
        self._host, self._place = parts.hostname or "", f"{parts.hostname}{parts.path}"
        self._headers = {"Authorization": secret} if secret else {}
        self._headers |= {"Accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"}
        self._teller = Teller(NewsPublished, settings.keys)
        self._told = Told()
        self._seen: dict[str, str] = {}

    @property
    def streams(self) -> Sequence[Stream]:
        """Entries under each key."""
        return self._teller.streams

    async def run(self, sink: Sink, since: Since) -> None:
        """Poll for ever; each poll tells the entries that are new, the oldest first."""
        async with self._service.session(self._headers) as session:
            while True:
                await self._poll(session, sink)
                await asyncio.sleep(self._settings.poll_s)

    async def _poll(self, session: aiohttp.ClientSession, sink: Sink) -> None:
        async with session.get(self._settings.url, headers=self._seen, max_redirects=5) as response:
            if response.status != _UNCHANGED:
                self._require(response, sink)
                data = await answer(response, _MAX_BYTES)
                if data is None:
                    raise self._service.error(f"the feed is longer than {_MAX_BYTES:,} bytes", REFUSED_S)
                kind = response.headers.get("Content-Type", "")
                entries, source = await self._entries(data, kind, sink)
                self._tell(sink, entries, source)
                marks = (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since"))
                self._seen = {ours: response.headers[theirs] for theirs, ours in marks if theirs in response.headers}
        sink.heard()

    def _require(self, response: aiohttp.ClientResponse, sink: Sink) -> None:
        """Raise FeedError for an answer that is no feed."""
        status, asked_s = response.status, asked_wait_s(response.headers, sink.now())
        if status == _OK:
            return
        if status in (_UNAUTHORISED, _FORBIDDEN):
            mend = "check the variable of authorization_env" if self._settings.authorization_env else "it wants a login"
            raise self._service.error(f"the feed refuses us ({status}): {mend}", max(asked_s, REFUSED_S))
        if status == _LIMITED or status >= _BROKEN:
            raise self._service.error(f"the feed answers {status}", asked_s or _BROKEN_S)
        why = "it is gone for ever" if status == _GONE else "is its url right?"
        raise self._service.error(f"the feed answers {status}: {why}", max(asked_s, REFUSED_S))

    async def _entries(self, data: bytes, content_type: str, sink: Sink) -> tuple[list[Any], str]:
        """Parse a feed; one that is not well-formed is reported, and read as far as it goes."""
        is_well_formed, declares = await self._reading(examined, data, content_type)
        if declares:
            raise self._service.error("the feed declares entities of its own: it is not read", REFUSED_S)
        if len(data) > _MAX_LOOSE_BYTES and not is_well_formed:
            raise self._service.error("the feed is not well-formed, and too long to be read all the same", REFUSED_S)
        parsed = await self._reading(parse, data, content_type)
        if not parsed.get("version") and not parsed.entries:
            raise self._service.error("what is there is neither RSS nor Atom; is its url right?", REFUSED_S)
        if parsed.bozo:
            why = str(parsed.get("bozo_exception", ""))
            sink.refuse("the feed is not well-formed: it is read as far as it goes", self._service.hidden(why))
        source = self._settings.source or plain_text(parsed.feed.get("title", "")) or self._host
        return parsed.entries[:_MAX_ENTRIES], source

    async def _reading(self, read: Callable[[bytes, str], Any], data: bytes, content_type: str) -> Any:  # noqa: ANN401
        """Read in a thread: it takes what it takes."""
        try:
            return await asyncio.to_thread(read, data, content_type)
        except Exception as error:  # noqa: BLE001 - feedparser says of nothing what it may raise
            raise self._service.error(f"the feed cannot be read ({type(error).__name__})", REFUSED_S) from None

    def _tell(self, sink: Sink, entries: Sequence[Any], source: str) -> None:
        found = []
        for entry in reversed(entries):  # feeds begin with the newest
            title, url = plain_text(_string(entry, "title")), _string(entry, "link")
            published_at = _published_ns(entry)
            id_ = self._id(_string(entry, "id"), url) or said_hash(source, published_at, title)
            if id_ not in self._told:
                found.append((published_at, id_, title, url, entry))
        now = sink.now()
        for published_at, id_, title, url, entry in sorted(found, key=lambda each: each[0] or now):
            text = plain_text(_string(entry, "summary") or _content(entry))
            event = news(sink, id=id_, source=source, published_at=published_at, title=title, text=text, url=url)
            self._teller.tell(sink, event)
            self._told.add(id_)

    def _id(self, own: str, url: str) -> str:
        """An entry that is known by its address has the id that any source gives it; else its own, within this feed."""
        if own and own != url:
            return text_hash(f"{self._place}|{own}")
        return address_id(url) if url else ""


def _published_ns(entry: Mapping[str, Any]) -> int | None:
    at = entry.get("published_parsed")
    if at is None and "updated_parsed" in entry:  # to ask for one that is not there is a warning
        at = entry["updated_parsed"]
    try:
        return timegm(at) * NS_PER_S if at else None
    except (ValueError, OverflowError):
        return None


def _string(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name, "")
    return value if isinstance(value, str) else ""


def _content(entry: Mapping[str, Any]) -> str:
    contents = entry.get("content") or [{}]
    return _string(contents[0], "value")


def parse(data: bytes, content_type: str) -> Any:  # noqa: ANN401 - feedparser's own dictionary
    """Parse a feed's bytes. They are wrapped, for feedparser takes a bare text for a file or an address to open."""
    headers = {"content-type": content_type} if content_type else {}
    return feedparser.parse(
        io.BytesIO(data), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
    )


def examined(data: bytes, content_type: str) -> tuple[bool, bool]:
    """Tell whether a document is well-formed, and whether it declares an entity, in whatever encoding it comes.

    feedparser opens no external entity, but puts in those declared within the document, one inside the other.
    """
    read = convert_to_utf8({"content-type": content_type}, data, {})  # what feedparser goes on with
    entities: list[str] = []
    parser = expat.ParserCreate("utf-8")
    parser.EntityDeclHandler = lambda name, *_: entities.append(name)
    try:
        parser.Parse(read, True)  # noqa: FBT003 - expat's own
    except expat.ExpatError:
        return False, bool(entities) or _DECLARATION in read
    return True, bool(entities)
