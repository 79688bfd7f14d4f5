"""Which keys a text concerns, HTML as plain text, times, waits, and what all text feeds hide."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.feeds.http import Service, asked_wait_s
from connectors.feeds.kinds import open_feed
from connectors.feeds.settings import load_feeds
from connectors.feeds.texts import Keys, Teller, iso, iso_ns, news, plain_text
from schemas.base import NS_PER_S
from schemas.fields import MAX_NOTE_CHARS, MAX_TEXT_CHARS
from schemas.texts import NewsPublished
from tests.connectors.feeds.texts_told import Kept

KEYS = Keys({"BTC": ("bitcoin", "btc", "digital gold"), "C++": ("c++",), "ETH": ("eth",), "ÖL": ("öl",)})


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ("Bitcoin falls", ["BTC"]),
        ("BITCOIN", ["BTC"]),
        ("$BTC, #eth!", ["BTC", "ETH"]),
        ("(btc)", ["BTC"]),
        ("bitcoins", []),
        ("altbitcoin", []),
        ("btc_usd", []),
        ("ethics, method, Ethereum", []),
        ("digital\n gold", ["BTC"]),
        ("digital goldfish", []),
        ("https://t.co/btc and http://eth/ too", []),
        ("c++ or C++.", ["C++"]),
        ("ÖL steigt", ["ÖL"]),
        ("", []),
    ],
)
def test_a_text_concerns_the_keys_of_its_whole_words(said: str, keys: list[str]) -> None:
    assert KEYS.of(said) == keys


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_word_is_found_between_whatever_is_no_word(before: str, after: str) -> None:
    left = before[-1:].isalnum() or before.endswith("_")
    right = after[:1].isalnum() or after.startswith("_")
    if not left and not right and "//" not in before:
        assert "BTC" in KEYS.of(f"{before}bTc{after}")


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        ("<p>one</p><p>two</p>", "one two"),
        ("a &lt; b &amp;&amp; c &#62; d", "a < b && c > d"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<script>if (a<b) x()</script>left", "left"),
        ("<STYLE type=x>p{}</STYLE >left", "left"),
        ("<script>never closed", ""),
        ("a<!-- <b>no</b> -->b", "a b"),
        ("a<!-- never closed", "a<!-- never closed"),
        ("a<!-- never > closed", "a"),
        ("<![CDATA[x]]>", ""),
        ("<?php x ?>y", "y"),
        ("price <x", "price <x"),
        ("<a href='x'>link</a>", "link"),
        ("&lt;script&gt;", "<script>"),
        ("&#0;&#x1b;x", "\ufffdx"),
        ("&nosuch; &amp", "&nosuch; &"),
    ],
)
def test_html_as_plain_text(markup: str, plain: str) -> None:
    assert plain_text(markup) == plain


@given(st.lists(st.sampled_from(["<", ">", "<a ", "</", "<!--", "-->", "<script>", "x", "&", " ", "'", '"', "/>"])))
def test_html_of_any_making_is_read_to_the_end(parts: list[str]) -> None:
    assert len(plain_text("".join(parts))) <= len("".join(parts))


@given(st.text())
def test_text_that_was_escaped_comes_back(text: str) -> None:
    assert plain_text(html.escape(text)) == " ".join(html.unescape(html.escape(text)).split())


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-01-02T10:00:00Z", 1_704_189_600 * NS_PER_S),
        ("2024-01-02T10:00:00.123456Z", 1_704_189_600 * NS_PER_S + 123_456_000),
        ("2024-01-02T11:00:00+01:00", 1_704_189_600 * NS_PER_S),
        (" 2024-01-02 10:00:00 ", 1_704_189_600 * NS_PER_S),
        ("soon", None),
        ("", None),
        ("0001-01-01T00:00:00+23:00", None),
    ],
)
def test_times(text: str, at: int | None) -> None:
    assert iso_ns(text) == at
    if at is not None and at % NS_PER_S == 0:
        assert iso(at) == "2024-01-02T10:00:00Z"


def test_a_text_is_cut_to_what_an_event_holds() -> None:
    sink = Kept()
    long = "bitcoin " * 5_000
    event = news(sink, id="i" * 900, source="s\n" * 900, published_at=None, title=long, text=long, url=long)
    Teller(NewsPublished, {"BTC": ("bitcoin",)}).tell(sink, event)
    (told,) = sink.told
    assert [len(part) for part in (told.id, told.source, told.title, told.text, told.url)] == [
        512,
        512,
        MAX_NOTE_CHARS,
        MAX_TEXT_CHARS,
        MAX_NOTE_CHARS,
    ]


def test_a_text_that_says_nothing_is_counted() -> None:
    sink = Kept()
    event = news(sink, id="1", source="s", published_at=None, title=" \x00", text="bitcoin", url="")
    assert Teller(NewsPublished, {"BTC": ("bitcoin",)}).tell(sink, event) == 0
    assert sink.skipped == {"says nothing": 1}


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:50 GMT"}, 10),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-7"}, 0),
        ({"Retry-After": "9" * 30}, 86_400),
        ({"x-rate-limit-reset": "130"}, 30),
        ({"x-rate-limit-reset": "1"}, 0),
        ({"x-rate-limit-reset": "never"}, 0),
        ({}, 0),
    ],
)
def test_how_long_a_service_asks_to_be_left_alone(headers: dict[str, str], wait_s: float) -> None:
    assert asked_wait_s(web.Response(headers=headers).headers, 100 * NS_PER_S) == wait_s


def test_what_a_service_says_is_shown_without_secrets_and_printable() -> None:
    service = Service("x", "https://ann:pa55@e.org:8443/feed?key=k3y", "t0ken")
    error = service.error("it says\x1b[31m t0ken, pa55 and key=k3y")
    assert str(error) == "feed x: https://e.org:8443/feed: it says\\x1b[31m (hidden), (hidden) and (hidden)"


FEEDS = """
feeds:
  posts: {kind: x, keys: {BTC: [bitcoin, btc]}}
  articles: {kind: newsapi, keys: {BTC: [bitcoin]}, language: en}
  site: {kind: rss, url: "https://example.org/rss", keys: {BTC: [bitcoin]}}
  lines: {kind: files, path: in, tell: tweets, key: BTC, source: me}
  hook: {kind: webhook, keys: {BTC: [bitcoin]}, port: 0}
"""


def test_feeds_of_texts_are_opened_by_their_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("X_BEARER_TOKEN", "NEWSAPI_KEY", "QUORUM_WEBHOOK_SECRET"):
        monkeypatch.setenv(variable, "a secret of some length")
    path = tmp_path / "feeds.yaml"
    path.write_text(FEEDS)
    opened: dict[str, Any] = {name: open_feed(name, settings) for name, settings in load_feeds(path).items()}
    assert [type(feed).__name__ for feed in opened.values()] == ["X", "NewsApi", "Rss", "Files", "Webhook"]
    assert all(feed.streams[0][1] == "BTC" for feed in opened.values())
