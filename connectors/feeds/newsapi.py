"""Articles that NewsAPI finds (https://newsapi.org/docs/endpoints): polled, paged, within a key's requests.

An article's id is the hash of its address, so what another source told already counts once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import aiohttp
from msgspec import Raw, Struct
from msgspec.json import Decoder

from connectors.feeds.http import REFUSED_S, Service, answer, asked_wait_s, decoded, header_secret
from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import NewsApiFeed
from connectors.feeds.texts import OVERLAP_NS, Teller, Told, any_of, iso, iso_ns, news, plain_text
from connectors.tidy import address_id
from schemas.base import NS_PER_S
from schemas.errors import FeedError
from schemas.texts import NewsPublished

_PAGE_ARTICLES = 100
_MAX_QUERY_CHARS = 500
_SEARCHABLE_NS = 28 * 86_400 * NS_PER_S
"""A developer's key looks back for a month."""
_CUT = re.compile(r"\s*\[\+\d+ chars\]$")
"""What stands behind a content that NewsAPI cut."""
_REMOVED = "[Removed]"
"""Title of an article that its publisher took back."""
_LIMITED_S = 900.0
"""A key's requests are counted by the day, or by twelve hours: asking again soon only uses them up."""
_BROKEN_S = 30.0
_REFUSED = {"apiKeyDisabled", "apiKeyExhausted", "apiKeyInvalid", "apiKeyMissing"}
_OK, _UNAUTHORISED, _FORBIDDEN, _PLAN, _LIMITED, _BROKEN = 200, 401, 403, 426, 429, 500


class _Source(Struct, frozen=True):
    name: str | None = None


class _Article(Struct, frozen=True, rename="camel"):
    url: str
    title: str
    description: str | None = None
    content: str | None = None
    published_at: str = ""
    source: _Source = _Source()


class _Answer(Struct, frozen=True):
    status: str
    articles: tuple[Raw, ...] = ()
    code: str = ""
    message: str = ""


_answer, _article = Decoder(_Answer).decode, Decoder(_Article).decode


class NewsApi:
    """The articles that concern some keys."""

    def __init__(self, name: str, settings: NewsApiFeed) -> None:
        """Raises FeedError where the key is not there, or the words are more than NewsAPI takes."""
        key = header_secret(settings.api_key_env)
        self.name = name
        self._settings = settings
        self._url = f"{settings.url.rstrip('/')}/v2/{settings.endpoint}"
        self._service = Service(name, self._url, key)
        self._headers = {"X-Api-Key": key}
        self._teller = Teller(NewsPublished, settings.keys)
        self._query = any_of(sorted({word for words in settings.keys.values() for word in words}))
        if len(self._query) > _MAX_QUERY_CHARS:
            found = f"its words make a query of {len(self._query):,} characters, NewsAPI takes {_MAX_QUERY_CHARS}"
            raise FeedError(f"feed {name}: {found}: make two feeds of it")
        self._told = Told()

    @property
    def streams(self) -> Sequence[Stream]:
        """Articles under each key."""
        return self._teller.streams

    async def run(self, sink: Sink, since: Since) -> None:
        """Poll for ever; each poll tells the articles that are new, the oldest first."""
        async with self._service.session(self._headers) as session:
            while True:
                await self._poll(session, sink, since)
                await asyncio.sleep(self._settings.poll_s)

    async def _poll(self, session: aiohttp.ClientSession, sink: Sink, since: Since) -> None:
        found: dict[str, _Article] = {}
        try:
            await self._find(session, sink, since, found)
        finally:  # a page that fails takes nothing from those before it
            oldest_first = reversed(found.items())
            for id_, article in sorted(oldest_first, key=lambda each: iso_ns(each[1].published_at) or 0):
                self._tell(sink, id_, article)
                self._told.add(id_)
        sink.heard()

    async def _find(self, session: aiohttp.ClientSession, sink: Sink, since: Since, found: dict[str, _Article]) -> None:
        """Ask for pages until one says nothing new."""
        for page in range(1, self._settings.max_pages + 1):
            articles = await self._page(session, sink, self._asked(sink.now(), since) | {"page": str(page)})
            new = {id_: each for id_, each in self._read(articles, sink) if id_ not in self._told and id_ not in found}
            found |= new
            if len(articles) < _PAGE_ARTICLES or not new:
                return
        sink.skip("more pages than max_pages")

    def _asked(self, now_ns: int, since: Since) -> dict[str, str]:
        settings = self._settings
        asked = {"pageSize": str(_PAGE_ARTICLES), "sources": ",".join(settings.sources)}
        if settings.endpoint == "top-headlines":
            asked |= {"country": settings.country, "category": settings.category}
        else:
            begin = now_ns - int(settings.backfill_s * NS_PER_S)
            told = [since[stream].occurred_at - OVERLAP_NS for stream in self.streams if stream in since]
            begin = max(min(begin, *told) if told else begin, now_ns - _SEARCHABLE_NS)
            asked |= {"q": self._query, "sortBy": "publishedAt", "language": settings.language, "from": iso(begin)}
        return {name: value for name, value in asked.items() if value}

    async def _page(self, session: aiohttp.ClientSession, sink: Sink, asked: dict[str, str]) -> Sequence[Raw]:
        async with session.get(self._url, params=asked, allow_redirects=False) as response:
            data = await answer(response)
            said: _Answer | None = decoded(_answer, data) if data is not None else None
            if response.status == _OK and said is not None and said.status == "ok":
                return said.articles
            raise self._failed(response, said, sink)

    def _failed(self, response: aiohttp.ClientResponse, said: _Answer | None, sink: Sink) -> FeedError:
        code = said.code if said else ""
        reason = f"NewsAPI answers {response.status} {f'{code}: {said.message}' if said else ''}".strip()
        asked_s = asked_wait_s(response.headers, sink.now())
        if code in _REFUSED or response.status in (_UNAUTHORISED, _FORBIDDEN):
            mend = f"; check the key in {self._settings.api_key_env}"
            return self._service.error(reason + mend, max(asked_s, REFUSED_S))
        if code == "rateLimited" or response.status in (_LIMITED, _PLAN):
            return self._service.error(reason, asked_s or _LIMITED_S)
        if response.status == _OK:
            return self._service.error("NewsAPI answers what is no JSON of its API", _BROKEN_S)
        return self._service.error(reason, asked_s or (_BROKEN_S if response.status >= _BROKEN else REFUSED_S))

    def _read(self, articles: Sequence[Raw], sink: Sink) -> Iterator[tuple[str, _Article]]:
        for raw in articles:
            article: _Article | None = decoded(_article, bytes(raw))
            if article is None or not article.url:
                sink.refuse(
                    "an article without address or title", self._service.hidden(bytes(raw).decode("utf-8", "replace"))
                )
            elif article.title == _REMOVED:
                sink.skip("removed by its publisher")
            else:
                yield address_id(article.url), article

    def _tell(self, sink: Sink, id_: str, article: _Article) -> None:
        event = news(
            sink,
            id=id_,
            source=article.source.name or urlsplit(article.url).hostname or "NewsAPI",
            published_at=iso_ns(article.published_at),
            title=plain_text(article.title),
            text=plain_text(article.description or _CUT.sub("", article.content or "")),
            url=article.url,
        )
        self._teller.tell(sink, event)
