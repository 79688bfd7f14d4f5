"""The webhook: who may post, what may be posted, and that it counts once."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.feeds.settings import WebhookFeed
from connectors.feeds.webhook import SIGNATURE, TIMESTAMP, Webhook, sign
from connectors.tidy import address_id
from schemas.base import NS_PER_S
from schemas.codec import encode
from schemas.control import KillSwitchPulled
from schemas.errors import FeedError, KafkaError
from schemas.market import TradeTicked
from schemas.texts import NewsPublished, TweetPosted
from tests.connectors.feeds.texts_told import Kept, failure, running, until

SECRET = "a secret of the test's own"
KEYS = {"BTC": ("bitcoin",), "ETH": ("ethereum",)}
Answer = tuple[int, Any]


@pytest.fixture(autouse=True)
def _secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUORUM_WEBHOOK_SECRET", SECRET)
        yield


def webhook(**settings: Any) -> Webhook:
    return Webhook("hook", WebhookFeed(**dict[str, Any]({"keys": KEYS, "port": 0} | settings)))


def signed(body: bytes, *, secret: str = SECRET, at: float = 0) -> dict[str, str]:
    stamp = str(int(time.time() + at))
    return {TIMESTAMP: stamp, SIGNATURE: sign(secret, stamp, body)}


def posted(*requests: tuple[bytes, dict[str, str] | None], **settings: Any) -> tuple[list[Answer], Kept]:
    """Post bodies, with headers of their own or signed; give the answers, and what was told."""

    async def run() -> tuple[list[Answer], Kept]:
        sink, hook, answers = Kept(), webhook(**settings), []
        async with running(hook, sink) as task, aiohttp.ClientSession() as session:
            await until(lambda: hook.port, task)
            for body, headers in requests:
                sent = signed(body) if headers is None else headers
                async with session.post(f"http://127.0.0.1:{hook.port}/", data=body, headers=sent) as response:
                    answers.append((response.status, await response.json()))
        return answers, sink

    return asyncio.run(run())


def answer(body: object, headers: dict[str, str] | None = None, **settings: Any) -> tuple[int, str, Kept]:
    """Post one body; give the status, the error and what was told."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    ((status, said),), sink = posted((data, headers), **settings)
    return status, said.get("error", ""), sink


def trade(**others: Any) -> dict[str, Any]:
    now = time.time_ns()
    times = {"occurred_at": now, "observed_at": now}
    event = {"type": "TradeTicked", "id": "BTC/USD@x/trade/1", "key": "BTC/USD@x", "price": 1.5, "size": 2.0}
    return event | times | others


def test_a_text_is_told_as_news() -> None:
    text = {"title": "<b>Bitcoin</b> &amp; gold", "text": "so", "url": "https://e.org/1", "source": "me"}
    status, _, sink = answer(text | {"published_at": "2024-01-02T10:00:00+01:00"})
    assert status == 202
    assert sink.told == [
        NewsPublished(
            id=address_id("https://e.org/1"),
            key="BTC",
            occurred_at=1_704_186_000 * NS_PER_S,
            observed_at=sink.told[0].observed_at,
            source="me",
            title="Bitcoin & gold",
            text="so",
            url="https://e.org/1",
        )
    ]


def test_a_text_of_an_author_without_a_title_is_told_as_a_post_under_the_key_it_names() -> None:
    _, _, sink = answer({"text": "to the moon", "author": "ann", "key": "DOGE", "id": "7"})
    (told,) = sink.told
    assert isinstance(told, TweetPosted)
    assert (told.id, told.key, told.author, told.occurred_at) == ("7", "DOGE", "ann", told.observed_at)


def test_several_are_told_at_once_and_what_concerns_no_key_is_said() -> None:
    items = [{"title": "Bitcoin, Ethereum"}, {"title": "lunch"}, trade()]
    ((status, said),), sink = posted((json.dumps(items).encode(), None))
    assert (status, said) == (202, {"told": 3, "unmatched": 1})
    assert [event.key for event in sink.told] == ["BTC", "ETH", "BTC/USD@x"]
    assert sink.skipped == {"no key": 1}
    assert isinstance(sink.told[2], TradeTicked)


def test_a_text_without_an_id_has_the_same_one_whenever_it_comes() -> None:
    _, sink = posted((b'{"title": "bitcoin"}', None), (b'{"title": "bitcoin" }', None))
    assert len(sink.told) == 2
    assert len(set(sink.ids)) == 1


def test_the_same_request_is_taken_once() -> None:
    body = json.dumps({"title": "bitcoin"}).encode()
    headers = signed(body)
    answers, sink = posted(
        (body, headers), (body, headers), (body, headers | {SIGNATURE: "sha256=" + headers[SIGNATURE]})
    )
    assert [status for status, _ in answers] == [202, 409, 409]
    assert answers[1][1] == {"error": "this very request was taken before: it counts once"}
    assert len(sink.told) == 1


def test_a_request_that_was_refused_may_come_again() -> None:
    body = b'{"title": 7}'
    headers = signed(body)
    answers, _ = posted((body, headers), (body, headers))
    assert [status for status, _ in answers] == [422, 422]


def test_a_signature_is_what_openssl_makes_of_it() -> None:
    """By: printf '1700000000.{}' | openssl dgst -sha256 -hmac 'a secret of the test'"""
    assert sign("a secret of the test", "1700000000", b"{}") == (
        "77015228df40a44ad02ef65e70e770c10f1bf3a669df86866f995388ea6846a8"
    )


BODY = b'{"title": "bitcoin"}'


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (dict, "the header X-Quorum-Timestamp must hold the Unix time in seconds"),
        (lambda: {TIMESTAMP: "now"}, "must hold the Unix time in seconds"),
        (lambda: {TIMESTAMP: "9" * 40}, "must hold the Unix time in seconds"),
        (lambda: {TIMESTAMP: "²"}, "must hold the Unix time in seconds"),
        (lambda: {TIMESTAMP: str(int(time.time()))}, "is not that of this body and timestamp: check the secret"),
        (lambda: signed(BODY, at=-302), "is more than 300 s from this machine's clock: sign each request anew"),
        (lambda: signed(BODY, at=330), "is more than 300 s from this machine's clock"),
        (lambda: signed(BODY, secret="another secret, as long"), "check the secret"),
        (lambda: signed(BODY + b" "), "check the secret"),
        (lambda: signed(BODY) | {TIMESTAMP: str(int(time.time()) - 9)}, "check the secret"),
        (lambda: signed(BODY) | {SIGNATURE: "ü"}, "check the secret"),
        (lambda: signed(BODY) | {SIGNATURE: signed(BODY)[SIGNATURE][:-1]}, "check the secret"),
    ],
)
def test_who_does_not_sign_is_refused(headers: Callable[[], dict[str, str]], why: str) -> None:
    status, said, sink = answer(BODY, headers())
    assert status == 401
    assert why in said
    assert sink.told == []
    assert [reason for reason, _ in sink.refused] == [said]
    assert SECRET not in said + sink.said


@given(st.binary(max_size=64), st.integers(0, 63), st.integers(0, 15))
def test_a_signature_with_one_digit_changed_is_another(body: bytes, place: int, digit: int) -> None:
    right = sign(SECRET, "1700000000", body)
    wrong = f"{right[:place]}{digit:x}{right[place + 1 :]}"
    assert (wrong == right) == (right[place] == f"{digit:x}")
    assert sign(SECRET, "170000000", b"0" + body) != right


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON object"),
        (b"{", "no JSON object"),
        (b"[1", "the body is no JSON"),
        (b"7", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"[" * 5_000, "the body is no JSON"),
        ([{"title": "bitcoin"}, 7], "item 1: no JSON object"),
        ([{"title": "x"}] * 1_001, "the body holds over 1,000 items"),
        ({}, "a text needs a title, or a text and its author"),
        ({"title": "<p></p>"}, "a text needs a title"),
        ({"title": "bitcoin", "tilte": "x"}, "unknown field `tilte`"),
        ({"title": 7}, "Expected `str`, got `int`"),
        ({"title": "bitcoin", "published_at": "yesterday"}, "published_at is no time"),
        ({"type": "Nonsense"}, "'Nonsense' is not a type of event"),
        (trade(price=-1), "TradeTicked.price"),
        (trade(observed_at=1), "TradeTicked.observed_at"),
        (trade(occurred_at=time.time_ns() + 10**15, observed_at=time.time_ns() + 10**15), "lies in the future"),
        (trade(book="mine"), "book, seq and cause are written behind the journal"),
        (trade(colour="red"), "TradeTicked.colour"),
    ],
)
def test_what_cannot_be_read_is_refused_whole(body: object, why: str) -> None:
    status, said, sink = answer(body)
    assert (status, sink.told) == (422, [])
    assert why in said
    assert "\n" not in said


def test_a_command_is_not_taken_though_it_is_signed() -> None:
    now = time.time_ns()
    pulled = KillSwitchPulled(id="1", key="mine", occurred_at=now, observed_at=now, operator="x")
    status, said, sink = answer(encode(pulled))
    assert (status, sink.told) == (422, [])
    assert "a KillSwitchPulled is not taken from outside" in said


def test_of_many_nothing_is_told_where_one_is_wrong() -> None:
    status, said, sink = answer([{"title": "bitcoin"}, {"title": 7}])
    assert (status, sink.told) == (422, [])
    assert said.startswith("item 1: ")


def test_a_body_that_is_too_long_is_refused() -> None:
    status, said, _ = answer({"title": "x" * 5_000}, max_body_bytes=2_000)
    assert (status, said) == (413, "the body is longer than 2,000 bytes: send less")


def test_a_compressed_body_is_refused() -> None:
    status, said, _ = answer(BODY, signed(BODY) | {"Content-Encoding": "x-own"})
    assert status == 415
    assert "must not be compressed" in said


def test_another_method_or_path_is_not_found() -> None:
    async def run() -> list[int]:
        hook, sink = webhook(path="/in"), Kept()
        async with running(hook, sink) as task, aiohttp.ClientSession() as session:
            await until(lambda: hook.port, task)
            where = f"http://127.0.0.1:{hook.port}"
            statuses = []
            for method, path in (("GET", "/in"), ("PUT", "/in"), ("POST", "/"), ("POST", "/in/../")):
                async with session.request(method, where + path, data=BODY, headers=signed(BODY)) as response:
                    statuses.append(response.status)
            return statuses

    assert asyncio.run(run()) == [405, 405, 404, 404]


def test_a_host_that_can_take_nothing_ends_the_feed_and_the_sender_may_try_again() -> None:
    class Full(Kept):
        def put(self, event: Any) -> None:
            raise KafkaError("the broker takes nothing")

    async def run() -> int:
        hook = webhook()
        async with running(hook, Full()) as task, aiohttp.ClientSession() as session:
            await until(lambda: hook.port, task)
            async with session.post(f"http://127.0.0.1:{hook.port}/", data=BODY, headers=signed(BODY)) as response:
                status = response.status
            with pytest.raises(KafkaError, match="the broker takes nothing"):
                await asyncio.wait_for(task, 5)
            return status

    assert asyncio.run(run()) == 503


def test_a_port_that_is_taken_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = asyncio.run(failure(webhook(port=port)))
    assert f"feed hook: cannot listen on 127.0.0.1:{port}: " in str(error)


def test_a_secret_that_is_short_or_absent_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORUM_WEBHOOK_SECRET", "hunter2")
    with pytest.raises(FeedError, match="has under 16 characters") as raised:
        webhook()
    assert "hunter2" not in str(raised.value)
    monkeypatch.delenv("QUORUM_WEBHOOK_SECRET")
    with pytest.raises(FeedError, match="QUORUM_WEBHOOK_SECRET is not set"):
        webhook()
