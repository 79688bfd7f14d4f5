"""RSS and Atom: what is unchanged, what is broken, and what is made to do harm."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.feeds.rss import Rss, examined, parse
from connectors.feeds.settings import RssFeed
from connectors.tidy import address_id, text_hash
from schemas.base import NS_PER_S
from schemas.errors import FeedError
from schemas.texts import NewsPublished
from tests.connectors.feeds.recorded_texts import START_NS, Said
from tests.connectors.feeds.text_servers import TOKEN, RssServer, rss
from tests.connectors.feeds.texts_told import Kept, failure, running, until

KEYS: dict[str, tuple[str, ...]] = {"BTC": ("bitcoin",), "ETH": ("ethereum",)}
HEAD = '<?xml version="1.0"?>'


def feed(server: RssServer, path: str = "/rss", **settings: Any) -> Rss:
    return Rss("site", RssFeed(**dict[str, Any]({"keys": KEYS, "url": server.url + path, "poll_s": 0.02} | settings)))


def said(n: int, title: str = "Bitcoin") -> Said:
    return Said(START_NS + n * NS_PER_S, "who", title, "It is so.", f"https://example.org/{n}?a=1&b=2")


def polled(server: RssServer, *, polls: int = 3, **settings: Any) -> Kept:
    """Give what a feed tells in some polls."""

    async def run() -> Kept:
        sink = Kept()
        async with server.listening(), running(feed(server, **settings), sink) as task:
            await until(lambda: sink.heards >= polls, task)
        return sink

    return asyncio.run(run())


def of(document: bytes | str) -> Kept:
    """Give what a feed tells of one document."""
    server = RssServer()
    server.document = document.encode() if isinstance(document, str) else document
    return polled(server, polls=1)


def refused(document: bytes, **settings: Any) -> FeedError:
    async def run() -> FeedError:
        server = RssServer()
        server.document = document
        async with server.listening():
            return await failure(feed(server, **settings))

    return asyncio.run(run())


def channel(items: str) -> str:
    return f'{HEAD}<rss version="2.0"><channel><title>Site</title>{items}</channel></rss>'


@pytest.mark.parametrize("path", ["/rss", "/atom"])
def test_an_entry_keeps_what_the_feed_says_of_it(path: str) -> None:
    server = RssServer()
    server.said = [said(1, "Bitcoin & gold > all")]
    (told,) = polled(server, path=path).told
    by_its_own = text_hash("127.0.0.1/atom|tag:example.org,2024:0")
    assert told == NewsPublished(
        id=address_id("https://example.org/1?a=1&b=2") if path == "/rss" else by_its_own,
        key="BTC",
        occurred_at=START_NS + NS_PER_S,
        observed_at=told.observed_at,
        source="A site of news",
        title="Bitcoin & gold > all",
        text="It is so.",
        url="https://example.org/1?a=1&b=2",
    )


def test_a_feed_that_is_unchanged_is_not_sent_again() -> None:
    server = RssServer()
    server.said = [said(2), said(1, "Lunch")]
    sink = polled(server, polls=5)
    assert len(sink.told) == 1
    assert sink.skipped == {"no key": 1}
    assert server.unchanged >= 4
    assert "If-None-Match" not in server.headers[0]
    assert server.headers[1]["If-Modified-Since"] == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_new_entries_are_told_the_oldest_first() -> None:
    sink = of(rss([said(3, "Bitcoin c"), said(1, "Bitcoin a"), said(2, "Bitcoin b")]))
    assert [event.title for event in sink.told] == ["Bitcoin a", "Bitcoin b", "Bitcoin c"]


def test_entries_without_an_id_an_address_or_a_time_are_told_all_the_same() -> None:
    items = "<item><title>Bitcoin 1</title></item><item><title>Bitcoin 2</title><guid>7</guid></item>"
    items += "<item><title>Bitcoin 3</title><link>http://a/b</link><pubDate>yesterday</pubDate></item>"
    sink = of(channel(items))
    assert {event.title for event in sink.told} == {"Bitcoin 1", "Bitcoin 2", "Bitcoin 3"}
    assert all(event.occurred_at == event.observed_at for event in sink.told)
    assert len(set(sink.ids)) == 3


def test_markup_is_taken_out_and_what_steers_a_terminal() -> None:
    body = "<![CDATA[<p>It <script>alert(1)</script>is&nbsp;so<img src=x onerror=y></p>\u202e]]>"
    (told,) = of(
        channel(f"<item><title>&lt;b&gt;Bitcoin&lt;/b&gt;</title><description>{body}</description></item>")
    ).told
    assert told.title == "Bitcoin"
    assert told.text == "It is so \u202e".replace(" \u202e", "\u202e") or "script" not in told.text
    assert "<" not in told.text
    assert "alert" not in told.text


def test_a_feed_that_is_not_well_formed_is_reported_and_read_as_far_as_it_goes() -> None:
    sink = of(rss([said(1), said(2)]).encode()[:-60])
    assert len(sink.told) == 2
    assert "not well-formed" in sink.refused[0][0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "iso-8859-1", "windows-1252", "utf-8-sig"])
def test_a_feed_in_another_encoding_is_read(encoding: str) -> None:
    name = encoding.removesuffix("-sig")
    document = f'<?xml version="1.0" encoding="{name}"?><rss version="2.0"><channel><title>Site</title>'
    document += "<item><title>Bitcoin in Zürich</title></item></channel></rss>"
    (told,) = of(document.encode(encoding)).told
    assert told.title == "Bitcoin in Zürich"


def test_bytes_that_are_not_of_the_encoding_said_are_reported() -> None:
    document = channel("<item><title>Bitcoin in Zürich</title></item>").encode("latin-1")
    sink = of(document)
    assert [event.title for event in sink.told] == ["Bitcoin in Zürich"]
    assert len(sink.refused) == 1


BOMB = '<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">'
HARMFUL = {
    "a bomb": f"<!DOCTYPE rss [{BOMB}]>{{}}&c;",
    "a bomb by lines": f"<!DOCTYPE rss [\n{BOMB.replace('><', '>' + chr(10) + '<')}\n]>{{}}&c;",
    "a file of ours": '<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]>{}&x;',
    "an address": '<!DOCTYPE rss [<!ENTITY x SYSTEM "http://127.0.0.1/">]>{}&x;',
    "a parameter entity": '<!DOCTYPE rss [<!ENTITY % x SYSTEM "http://127.0.0.1/"> %x;]>{}',
    "a harmless entity": '<!DOCTYPE rss [<!ENTITY copy "(c)">]>{}&copy;',
}


def harmful(kind: str) -> str:
    before, _, reference = HARMFUL[kind].partition("{}")
    return f'{before}<rss version="2.0"><channel><item><title>Bitcoin {reference}</title></item></channel></rss>'


@pytest.mark.parametrize("kind", HARMFUL)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-7"])
def test_a_feed_that_declares_entities_is_not_read(kind: str, encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>{harmful(kind)}'.encode(encoding)
    if encoding == "utf-7":  # what declares the encoding is read before it is known
        document = b'<?xml version="1.0" encoding="utf-7"?>' + harmful(kind).encode("utf-7")
    assert "declares entities of its own" in str(refused(document))


@pytest.mark.parametrize("spoilt", ["\n\n" + HEAD, " <!-- -->" + HEAD, HEAD + "<?x?>", "\x00" + HEAD, "&" + HEAD])
def test_nor_is_one_that_hides_it_in_what_is_not_well_formed(spoilt: str) -> None:
    assert "declares entities of its own" in str(refused((spoilt + harmful("a bomb")).encode()))


def test_a_document_type_alone_does_no_harm() -> None:
    type_ = '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://example.org/rss-0.91.dtd">'
    sink = of(f'{HEAD}{type_}<rss version="0.91"><channel><item><title>Bitcoin</title></item></channel></rss>')
    assert len(sink.told) == 1


def test_a_feed_is_never_taken_for_a_file_or_an_address() -> None:
    assert parse(b"/etc/passwd", "").entries == []
    assert parse(b"http://127.0.0.1:9/", "").entries == []
    assert "neither RSS nor Atom" in str(refused(b"/etc/passwd"))


@pytest.mark.parametrize("document", [b"", b"<html><body>hello</body></html>", b"{}", b"\x00\xff"])
def test_what_is_no_feed_says_so(document: bytes) -> None:
    assert "neither RSS nor Atom; is its url right?" in str(refused(document))


def test_a_feed_without_end_is_cut_off() -> None:
    error = refused(channel("<item><title>Bitcoin</title></item>" * 150_000).encode())
    assert "longer than 4,000,000 bytes" in str(error)


def test_a_broken_feed_that_would_take_long_to_read_is_not_read() -> None:
    error = refused(b"<rss><channel>" + b"<a " * 100_000)
    assert "not well-formed, and too long" in str(error)


@given(st.data())
def test_a_feed_that_is_spoilt_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever bytes stand where, a poll ends with events that are whole, or with a sentence."""
    document = bytearray(rss([said(1), said(2, "Bitcoin <b>& gold</b>")]).encode())
    parts = b'< > & ]]> <![CDATA[ \x00 \xff <!-- <?xml &#x0; </item> " 99999999999999999 <pubDate>'.split()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document)))
        document[at : at + data.draw(st.integers(0, 40))] = data.draw(st.sampled_from(parts))
    with contextlib.suppress(FeedError):
        asyncio.run(told_of(bytes(document)))


async def told_of(document: bytes) -> Kept:
    """Tell a document without a server."""
    site, sink = Rss("site", RssFeed(keys=KEYS, url="http://example.org/rss")), Kept()
    site._tell(sink, *await site._entries(document, "application/xml", sink))
    return sink


def test_a_thousand_entries_are_read_of_a_feed_of_more() -> None:
    items = "".join(f"<item><title>Bitcoin {n}</title><guid>{n}</guid></item>" for n in range(1_200))
    assert len(of(channel(items)).told) == 1_000


@pytest.mark.parametrize(
    ("answer", "said_is", "wait_s"),
    [
        (lambda: web.Response(status=401), "refuses us (401): it wants a login", 300),
        (lambda: web.Response(status=403), "refuses us (403)", 300),
        (lambda: web.Response(status=404), "answers 404: is its url right?", 300),
        (lambda: web.Response(status=410), "answers 410: it is gone for ever", 300),
        (lambda: web.Response(status=429, headers={"Retry-After": "99"}), "answers 429", 99),
        (lambda: web.Response(status=503), "answers 503", 30),
        (lambda: web.Response(status=302, headers={"Location": "/rss?again"}), "", 0),
        (lambda: web.Response(status=302, headers={"Location": "file:///etc/passwd"}), "the connection failed", 0),
    ],
)
def test_an_answer_that_is_no_feed_is_said_without_what_the_address_hides(
    answer: Any, said_is: str, wait_s: float
) -> None:
    async def run() -> FeedError | None:
        server, sink = RssServer(), Kept()
        server.said, server.refusals = [said(1)], [answer()]
        async with server.listening():
            asked = feed(server, "/rss?token=pa55word")
            if not said_is:
                async with running(asked, sink) as task:
                    await until(lambda: sink.told, task)
                return None
            return await failure(asked, sink)

    error = asyncio.run(run())
    if error is not None:
        assert said_is in str(error)
        assert "pa55word" not in str(error)
        assert "/rss: " in str(error)
        assert error.retry_after_s == wait_s


def test_a_login_is_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE", f"Bearer {TOKEN}")
    server = RssServer()
    polled(server, polls=1, authorization_env="SITE")
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"

    async def run() -> FeedError:
        async with server.listening():
            asked = feed(server, authorization_env="SITE")
        return await failure(asked)

    assert TOKEN not in str(asyncio.run(run()))


@pytest.mark.parametrize(
    "url", ["ftp://example.org/x", "example.org/rss", "https://", "file:///etc/passwd", "http://h:99999/", "http://[x/"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(FeedError, match="its url is no address"):
        Rss("site", RssFeed(keys=KEYS, url=url))


def test_the_check_of_entities_reads_what_the_parser_goes_on_with() -> None:
    assert examined(channel("").encode(), "") == (True, False)
    assert examined(b"<rss>", "") == (False, False)
