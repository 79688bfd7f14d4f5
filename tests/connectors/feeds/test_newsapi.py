"""NewsAPI: what is asked for, its pages, its refusals, and articles of every making."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web

from connectors.feeds.newsapi import NewsApi
from connectors.feeds.settings import NewsApiFeed
from connectors.tidy import address_id
from schemas.base import NS_PER_S
from schemas.errors import FeedError
from schemas.texts import NewsPublished
from tests.connectors.feeds.recorded_texts import START_NS, Said
from tests.connectors.feeds.text_servers import TOKEN, NewsServer, article, newsapi_error
from tests.connectors.feeds.texts_told import Kept, failure, running, stood, until

KEYS = {"BTC": ("bitcoin", "digital gold"), "ETH": ("ethereum",)}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSAPI_KEY", TOKEN)


def feed(server: NewsServer, **settings: Any) -> NewsApi:
    return NewsApi("news", NewsApiFeed(**dict[str, Any]({"keys": KEYS, "url": server.url, "poll_s": 0.02} | settings)))


def said(n: int, title: str = "Bitcoin") -> Said:
    return Said(START_NS + n * NS_PER_S // 10, "Reuters", title, "It is so.", f"https://example.org/{n}")


def polled(server: NewsServer, polls: int = 2, **settings: Any) -> Kept:
    """Give what a feed tells in some polls."""

    async def run() -> Kept:
        sink = Kept()
        async with server.listening(), running(feed(server, **settings), sink) as task:
            await until(lambda: sink.heards >= polls, task)
        return sink

    return asyncio.run(run())


def test_an_article_keeps_what_newsapi_says_of_it() -> None:
    server = NewsServer()
    server.said = [said(10, "Bitcoin &amp; <b>gold</b>")]
    (told,) = polled(server).told
    assert told == NewsPublished(
        id=address_id("https://example.org/10"),
        key="BTC",
        occurred_at=START_NS + NS_PER_S,
        observed_at=told.observed_at,
        source="Reuters",
        title="Bitcoin & gold",
        text="It is so.",
        url="https://example.org/10",
    )


def test_articles_are_told_once_though_every_poll_says_them_again_and_counted_once() -> None:
    server = NewsServer()
    server.said = [said(1), said(2, "Bitcoin and Ethereum"), said(3, "Lunch")]
    sink = polled(server, polls=4)
    both = address_id(said(2).url)
    assert [(event.id, event.key) for event in sink.told] == [
        (address_id(said(1).url), "BTC"),
        (both, "BTC"),
        (f"{both}/ETH", "ETH"),
    ]
    assert sink.skipped == {"no key": 1}


def test_what_is_asked_for() -> None:
    server = NewsServer()
    polled(server, language="en", sources=("reuters", "bbc-news"))
    asked = server.asked[0]
    assert asked.pop("from") < said(0).iso
    assert asked == {
        "q": '"bitcoin" OR "digital gold" OR "ethereum"',
        "sortBy": "publishedAt",
        "language": "en",
        "sources": "reuters,bbc-news",
        "pageSize": "100",
        "page": "1",
    }


def test_headlines_are_asked_for_by_country_and_chosen_by_their_words() -> None:
    server = NewsServer()
    server.said = [said(1), said(2, "Lunch")]
    sink = polled(server, endpoint="top-headlines", country="us", category="business")
    assert server.asked[0] == {"country": "us", "category": "business", "pageSize": "100", "page": "1"}
    assert server.requests.keys() == {"GET /v2/top-headlines"}
    assert len(sink.told) == 1


def test_a_longer_absence_is_asked_for_from_where_the_topics_stand() -> None:
    async def run() -> str:
        server = NewsServer()
        since = stood(NewsPublished, "BTC", START_NS - 5 * 86_400 * NS_PER_S)
        async with server.listening(), running(feed(server), Kept(), since) as task:
            await until(lambda: server.asked, task)
        return server.asked[0]["from"]

    hour_before = said(0)._replace(at_ns=START_NS - (5 * 86_400 + 3_600) * NS_PER_S)
    assert asyncio.run(run()) == hour_before.iso


def test_pages_are_read_until_one_says_nothing_new() -> None:
    server = NewsServer()
    server.said = [said(n) for n in range(250)]
    sink = polled(server, max_pages=5)
    assert sink.ids == [address_id(said(n).url) for n in range(250)]
    assert [asked["page"] for asked in server.asked[:4]] == ["1", "2", "3", "1"]


def test_more_pages_than_allowed_are_left_out_and_counted() -> None:
    server = NewsServer()
    server.said = [said(n) for n in range(250)]
    sink = polled(server, polls=1, max_pages=2)
    assert sink.ids == [address_id(said(n).url) for n in range(50, 250)]
    assert sink.skipped == {"more pages than max_pages": 1}


def test_what_a_page_said_is_told_though_the_next_is_refused() -> None:
    async def run() -> tuple[Kept, FeedError]:
        server, sink = NewsServer(), Kept()
        server.said, server.is_developer = [said(n) for n in range(150)], True
        async with server.listening():
            error = await failure(feed(server, max_pages=3), sink)
        return sink, error

    sink, error = asyncio.run(run())
    assert len(sink.told) == 100
    assert "426 maximumResultsReached: You have requested too many results." in str(error)
    assert error.retry_after_s == 900


@pytest.mark.parametrize(
    ("answer", "said_is", "wait_s"),
    [
        (lambda: newsapi_error(401, "apiKeyInvalid", f"{TOKEN} is invalid"), "401 apiKeyInvalid: (hidden) is inv", 300),
        (lambda: newsapi_error(429, "rateLimited", "Too many requests"), "429 rateLimited: Too many requests", 900),
        (lambda: web.Response(status=429, headers={"Retry-After": "77"}), "answers 429", 77),
        (lambda: newsapi_error(400, "parameterInvalid", "q is bad"), "400 parameterInvalid: q is bad", 300),
        (lambda: newsapi_error(500, "unexpectedError", "oops"), "500 unexpectedError: oops", 30),
        (lambda: web.Response(status=502, body=b"<html>"), "answers 502", 30),
        (lambda: web.Response(body=b"<html>it works"), "no JSON of its API", 30),
        (lambda: web.Response(body=b"\xff"), "no JSON of its API", 30),
        (lambda: web.Response(status=302, headers={"Location": "http://elsewhere.example"}), "answers 302", 300),
    ],
)
def test_a_refusal_is_said_without_the_key(answer: Any, said_is: str, wait_s: float) -> None:
    async def run() -> FeedError:
        server = NewsServer()
        server.refusals = [answer()]
        async with server.listening():
            return await failure(feed(server))

    error = asyncio.run(run())
    assert said_is in str(error)
    assert TOKEN not in str(error)
    assert error.retry_after_s == wait_s


def test_an_answer_without_end_is_cut_off() -> None:
    async def run() -> FeedError:
        server = NewsServer()
        server.refusals = [web.Response(body=b" " * 9_000_000)]
        async with server.listening():
            return await failure(feed(server))

    assert "no JSON of its API" in str(asyncio.run(run()))


def test_articles_that_are_none_are_reported_and_removed_ones_counted() -> None:
    server = NewsServer()
    removed = article(said(1)) | {"title": "[Removed]", "url": "https://removed.com"}
    server.extra = [7, {}, article(said(2)) | {"title": None}, article(said(3)) | {"url": ""}, removed]
    server.said = [said(9)]
    sink = polled(server, polls=1)
    assert sink.ids == [address_id(said(9).url)]
    assert len(sink.refused) == 4
    assert sink.skipped == {"removed by its publisher": 1}


def test_an_article_of_the_future_or_of_no_time_occurred_when_we_had_it() -> None:
    server = NewsServer()
    server.extra = [
        article(said(1)) | {"publishedAt": "2099-01-01T00:00:00Z"},
        article(said(2)) | {"publishedAt": "soon"},
        article(said(3)) | {"description": None, "source": {"id": None, "name": None}},
    ]
    told = {event.url[-1]: event for event in polled(server, polls=1).told}
    assert [told[n].occurred_at == told[n].observed_at for n in "123"] == [True, True, False]
    assert (told["3"].text, told["3"].source) == ("It is so.…", "example.org")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"country": "us"}, "are for the endpoint top-headlines"),
        ({"endpoint": "top-headlines"}, "needs a country"),
        ({"endpoint": "top-headlines", "country": "us", "language": "en"}, "language is for the endpoint everything"),
        ({"endpoint": "top-headlines", "country": "us", "sources": ["x"]}, "not both"),
        ({"stale_s": 60, "poll_s": 60}, "stale_s must be longer than poll_s"),
        ({"keys": {}}, "length >= 1"),
        ({"keys": {"BTC": ['bit"coin']}}, "matching regex"),
        ({"token": "x"}, "unknown field `token`"),
    ],
)
def test_settings_that_newsapi_would_refuse_are_refused_before(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert({"kind": "newsapi", "keys": {"BTC": ["btc"]}} | settings, NewsApiFeed)


def test_more_words_than_a_query_holds_are_refused() -> None:
    with pytest.raises(FeedError, match="NewsAPI takes 500: make two feeds of it"):
        NewsApi("news", NewsApiFeed(keys={"BTC": tuple(f"{n:090}" for n in range(9))}))
