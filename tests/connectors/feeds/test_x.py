"""X: its rules, its refusals, what was missed, and lines of every making."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.feeds.settings import XFeed
from connectors.feeds.x import X
from connectors.feeds.xwire import at_id, id_at
from schemas.base import NS_PER_S
from schemas.errors import FeedError
from schemas.texts import TweetPosted
from tests.connectors.feeds.recorded_texts import START_NS, Said
from tests.connectors.feeds.text_servers import TOKEN, XServer, line, post, problem, tweet_id
from tests.connectors.feeds.texts_told import Kept, failure, running, stood, until

KEYS = {"BTC": ("bitcoin", "btc"), "ETH": ("ethereum",)}
BTC_RULE = '("bitcoin" OR "btc") -is:retweet'
ETH_RULE = '("ethereum") -is:retweet'


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", TOKEN)


def feed(server: XServer, **settings: Any) -> X:
    return X("x", XFeed(**dict[str, Any]({"keys": KEYS, "url": server.url} | settings)))


def said(second: int, text: str) -> Said:
    return Said(START_NS + second * NS_PER_S, "who", "", text, "")


def on_the_stream(*messages: bytes, **settings: Any) -> Kept:
    """Give what a feed tells of messages; a post ends them."""

    async def run() -> Kept:
        server, sink = XServer(), Kept()
        async with server.listening(), running(feed(server, **settings), sink) as task:
            for message in (*messages, line(said(50, "the end of bitcoin"))):
                await server.send(message)
            await until(lambda: "the end of bitcoin" in [event.text for event in sink.told], task)
        sink.told.pop()
        return sink

    return asyncio.run(run())


def test_a_post_keeps_what_x_says_of_it() -> None:
    (told,) = on_the_stream(line(said(1, "Bitcoin > gold\n& so on"))).told
    now = told.observed_at
    assert told == TweetPosted(
        id=tweet_id(said(1, "")),
        key="BTC",
        occurred_at=START_NS + NS_PER_S,
        observed_at=now,
        author="who",
        text="Bitcoin > gold\n& so on",
        followers=1_200,
        retweets=4,
        url=f"https://x.com/who/status/{tweet_id(said(1, ''))}",
    )


def test_a_post_on_two_keys_is_told_for_each_and_one_on_none_is_counted() -> None:
    sink = on_the_stream(line(said(1, "Bitcoin and Ethereum")), line(said(2, "lunch")))
    first = tweet_id(said(1, ""))
    assert [(event.id, event.key) for event in sink.told] == [(first, "BTC"), (f"{first}/ETH", "ETH")]
    assert sink.skipped == {"no key": 1}


def test_a_long_post_is_told_whole_and_a_retweet_as_one() -> None:
    long = {"data": post(said(1, "btc …")) | {"note_tweet": {"text": "btc " + "word " * 100}}}
    again = {"data": post(said(2, "btc")) | {"referenced_tweets": [{"type": "retweeted", "id": "1"}]}}
    found = on_the_stream(*(json.dumps(each).encode() + b"\r\n" for each in (long, again))).told
    assert [len(event.text) for event in found] == [504, 3]
    assert [event.is_retweet for event in found] == [False, True]
    assert found[0].author == post(said(1, ""))["author_id"]


def test_a_post_without_its_time_occurred_when_its_id_was_made() -> None:
    message = {"data": {"id": tweet_id(said(3, "")), "text": "btc"}}
    (told,) = on_the_stream(json.dumps(message).encode() + b"\r\n").told
    assert told.occurred_at == START_NS + 3 * NS_PER_S == at_id(id_at(told.occurred_at))


@pytest.mark.parametrize(
    "garbled",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"data": 7}',
        b'{"data": {"id": "1"}}',
        b'{"data": {"id": "one", "text": "btc"}}',
        b"[" * 5_000,
        b"\x00",
    ],
)
def test_a_line_that_is_no_post_is_reported_and_passed_over(garbled: bytes) -> None:
    sink = on_the_stream(garbled + b"\r\n")
    assert sink.told == []
    assert len(sink.refused) == 1


def test_what_a_line_says_of_the_token_is_not_reported() -> None:
    ((_, message),) = on_the_stream(f'{{"data": "{TOKEN}"}}\r\n'.encode()).refused
    assert message == '{"data": "(hidden)"}'


def test_control_characters_do_not_pass() -> None:
    (told,) = on_the_stream(line(said(1, "btc \x1b[31m\x00 up"))).told
    assert told.text == "btc [31m up"


def test_a_line_may_come_in_pieces_and_keep_alives_between_lines() -> None:
    message = line(said(1, "bitcoin ☃"))
    cut = message.index("☃".encode()) + 1
    sink = on_the_stream(b"\r\n", message[:cut], message[cut:], b"\r\n\r\n")
    assert [event.text for event in sink.told] == ["bitcoin ☃"]
    assert sink.refused == []
    assert sink.heards >= 4


@given(st.lists(st.integers(1, 400), max_size=20))
def test_however_the_bytes_of_a_stream_are_cut_its_posts_are_the_same(steps: list[int]) -> None:
    data = b"\r\n".join(line(said(n, f"bitcoin ☃ {n}")) for n in range(3))

    class Response:
        content: Any

        async def iter_any(self) -> AsyncIterator[bytes]:
            at = 0
            for step in [*steps, len(data)]:
                yield data[at : at + step]
                at += step

    async def run() -> Kept:
        response, sink = Response(), Kept()
        response.content = response
        with pytest.raises(FeedError, match="X ended the stream"):
            await X("x", XFeed(keys=KEYS))._read(cast("aiohttp.ClientResponse", response), sink)
        return sink

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("X_BEARER_TOKEN", TOKEN)
        assert [event.text for event in asyncio.run(run()).told] == [f"bitcoin ☃ {n}" for n in range(3)]


def test_rules_follow_the_settings_and_those_of_others_stay() -> None:
    async def run() -> list[dict[str, str]]:
        server = XServer()
        server.rules = [
            {"id": "1", "value": "cats", "tag": "somebody's"},
            {"id": "2", "value": "litecoin", "tag": "quorum/x/LTC"},
            {"id": "3", "value": BTC_RULE, "tag": "quorum/x/BTC"},
            {"id": "4", "value": "other", "tag": "quorum/other/BTC"},
        ]
        for _ in range(2):
            async with server.listening(), running(feed(server), Kept()):
                await server.send(b"\r\n")
        assert server.requests["POST /2/tweets/search/stream/rules"] == 2  # one removes, one adds, in the first run
        return server.rules

    assert [(rule["value"], rule.get("tag")) for rule in asyncio.run(run())] == [
        ("cats", "somebody's"),
        (BTC_RULE, "quorum/x/BTC"),
        ("other", "quorum/other/BTC"),
        (ETH_RULE, "quorum/x/ETH"),
    ]


def test_a_rule_that_x_has_already_is_no_failure_and_one_that_it_refuses_is() -> None:
    async def run() -> FeedError:
        server = XServer()
        server.rule_errors = [{"title": "DuplicateRule", "value": BTC_RULE}]
        async with server.listening():
            async with running(feed(server), Kept()):
                await server.send(b"\r\n")
            server.rules, server.rule_errors = [], [{"title": "RulesCapExceeded", "detail": "Rule cap is 5"}]
            return await failure(feed(server))

    error = asyncio.run(run())
    assert "X refuses a rule: RulesCapExceeded: Rule cap is 5" in str(error)
    assert error.retry_after_s == 300


def answered(*responses: web.Response) -> tuple[list[FeedError], str]:
    """Give the failures of one feed that gets these answers one after the other, all at START_NS."""

    async def run() -> tuple[list[FeedError], str]:
        server, sink = XServer(), Kept(lambda: START_NS)
        async with server.listening():
            asked = feed(server)
            server.refusals = list(responses)
            return [await failure(asked, sink) for _ in responses], sink.said

    return asyncio.run(run())


def test_a_wrong_token_is_said_without_it() -> None:
    for status in (401, 403):
        (error,), said_too = answered(problem(status, "Unauthorized", f"Bearer {TOKEN} is not known"))
        assert f"X refuses us ({status} Unauthorized: Bearer (hidden) is not known)" in str(error)
        assert "X_BEARER_TOKEN" in str(error)
        assert TOKEN not in str(error) + said_too
        assert error.retry_after_s == 300


def test_a_limit_says_how_long_to_wait() -> None:
    reset = str(START_NS // NS_PER_S + 595)
    (error,), _ = answered(problem(429, "Too Many Requests", "Too Many Requests", **{"x-rate-limit-reset": reset}))
    assert error.retry_after_s == 595
    full = "This stream is currently at the maximum allowed connection limit."
    connections = problem(429, "ConnectionException", full)
    errors, _ = answered(connections, web.Response(status=429), web.Response(status=429))
    assert [error.retry_after_s for error in errors] == [60, 120, 240]
    assert full in str(errors[0])


def test_other_failures_wait_twice_as_long_each_time() -> None:
    errors, _ = answered(*(web.Response(status=503, body=b"<html>") for _ in range(8)))
    assert [error.retry_after_s for error in errors] == [5, 10, 20, 40, 80, 160, 320, 320]


def test_an_answer_that_is_no_json_is_a_failure() -> None:
    (error,), _ = answered(web.Response(body=b"<html>it works</html>"))
    assert "no JSON of its API" in str(error)


def test_a_server_that_is_away_is_tried_at_once_and_then_by_steps_of_250_ms() -> None:
    async def run() -> list[FeedError]:
        server = XServer()
        async with server.listening():
            asked = feed(server)
        return [await failure(asked) for _ in range(4)]

    errors = asyncio.run(run())
    assert [error.retry_after_s for error in errors] == [0, 0.25, 0.5, 0.75]
    assert TOKEN not in str(errors)


def test_a_stream_that_ends_with_a_problem_says_which() -> None:
    async def run() -> FeedError:
        server = XServer()
        async with server.listening(), running(feed(server), Kept()) as task:
            ends = {"errors": [{"title": "operational-disconnect", "detail": "disconnected upstream"}]}
            await server.send(json.dumps(ends).encode() + b"\r\n")
            with pytest.raises(FeedError) as raised:
                await asyncio.wait_for(task, 5)
            return raised.value

    error = asyncio.run(run())
    assert "X ends the stream: operational-disconnect: disconnected upstream" in str(error)
    assert error.retry_after_s == 0


def test_a_line_that_was_cut_is_not_told_by_half_but_searched_for() -> None:
    async def run() -> tuple[Kept, FeedError]:
        server, sink = XServer(), Kept()
        async with server.listening():
            async with running(feed(server), sink) as task:
                await server.stream(said(1, "bitcoin one"))
                await server.send(line(said(2, "bitcoin two"))[:-30])
                await until(lambda: sink.told, task)
                await server.cut()
                with pytest.raises(FeedError) as raised:
                    await asyncio.wait_for(task, 5)
            assert [event.text for event in sink.told] == ["bitcoin one"]
            server.said = [said(1, "bitcoin one"), said(2, "bitcoin two")]
            async with running(feed(server), sink, stood(TweetPosted, "BTC", START_NS + NS_PER_S)) as task:
                await until(lambda: len(sink.told) > 2, task)
        return sink, raised.value

    sink, error = asyncio.run(run())
    assert [event.text for event in sink.told] == ["bitcoin one", "bitcoin one", "bitcoin two"]
    assert len(set(sink.ids)) == 2
    assert "connection failed" in str(error)


def test_silence_beyond_the_keep_alive_ends_the_connection() -> None:
    async def run() -> FeedError:
        server = XServer()
        async with server.listening(), running(feed(server, stale_s=0.2), Kept()) as task:
            await server.send(b"\r\n")
            with pytest.raises(FeedError) as raised:
                await asyncio.wait_for(task, 5)
            return raised.value

    assert "no answer in time" in str(asyncio.run(run()))


def test_what_was_missed_is_searched_for_page_by_page_and_told_in_order() -> None:
    async def run() -> tuple[Kept, XServer]:
        server, sink = XServer(), Kept()
        server.said, server.page_size = [said(n, f"bitcoin {n}") for n in range(7)], 3
        since = stood(TweetPosted, "BTC", START_NS + 31 * NS_PER_S)
        async with server.listening(), running(feed(server), sink, since) as task:
            await server.stream(said(50, "bitcoin now"))
            await until(lambda: len(sink.told) == 7, task)
        return sink, server

    sink, server = asyncio.run(run())
    # 30 s before the newest are asked for again: posts do not come in the order of their ids
    assert [event.text for event in sink.told] == [*(f"bitcoin {n}" for n in range(1, 7)), "bitcoin now"]
    assert {search["query"] for search in server.searches} == {BTC_RULE}
    assert {search["since_id"] for search in server.searches} == {str(id_at(START_NS + NS_PER_S))}
    assert len(server.searches) == 2


def test_a_gap_of_over_a_week_is_searched_for_as_far_as_x_goes() -> None:
    async def run() -> XServer:
        server = XServer()
        since = stood(TweetPosted, "ETH", START_NS - 30 * 86_400 * NS_PER_S)
        async with server.listening(), running(feed(server), Kept(), since) as task:
            await until(lambda: server.searches, task)
        return server

    (search,) = asyncio.run(run()).searches
    assert "since_id" not in search
    assert search["start_time"].endswith("Z")


def test_a_gap_that_is_too_long_is_reported() -> None:
    async def run() -> Kept:
        server, sink = XServer(), Kept()
        server.said, server.page_size = [said(n, f"bitcoin {n}") for n in range(7)], 2
        since = stood(TweetPosted, "BTC", START_NS)
        async with server.listening(), running(feed(server, repair_pages=2), sink, since) as task:
            await until(lambda: len(sink.told) == 4, task)
        return sink

    sink = asyncio.run(run())
    assert [event.text for event in sink.told] == [f"bitcoin {n}" for n in range(3, 7)]
    assert "a gap of over 2 pages" in sink.refused[0][0]


def test_a_rule_longer_than_x_takes_is_refused_before_it_is_sent() -> None:
    with pytest.raises(FeedError, match="the rule of BTC has 2,872 characters, X takes 1,024: name fewer words"):
        X("x", XFeed(keys={"BTC": tuple(f"{n:0100}" for n in range(27))}))


@pytest.mark.parametrize(
    ("token", "why"), [("", "is not set"), ("a\nb", "holds what no header may"), ("tö", "no header")]
)
def test_a_token_that_cannot_be_one_is_not_shown(monkeypatch: pytest.MonkeyPatch, token: str, why: str) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", token)
    with pytest.raises(FeedError, match=why) as raised:
        X("x", XFeed(keys=KEYS))
    assert not token or token not in str(raised.value)
