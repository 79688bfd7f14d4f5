"""Comprehend's own wire, the real SDK in front of it: every text has its score, or none has; and what a call costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from connectors.models.comprehend import Comprehend, cost, readable
from connectors.models.provider import CallError
from schemas.errors import BookError
from tests.connectors.models.asking import keys
from tests.connectors.models.comprehending import BAD, GOOD, failed, said, scored
from tests.connectors.models.servers import Says, Server, made, serving

__all__ = ["keys"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as made_server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_COMPREHEND", made_server.url)
        yield made_server


def result(index: int, **scores: object) -> dict[str, object]:
    return {"Index": index, "Sentiment": "POSITIVE", "SentimentScore": {**GOOD, **scores}}


def test_a_score_is_positive_less_negative_in_the_order_of_the_texts(server: Server) -> None:
    good, bad = result(1), {**result(0), "SentimentScore": BAD}
    server.plays([said([good, bad])])
    assert Comprehend().scores(["awful", "great"], 5.0) == pytest.approx([-0.6, 0.85])
    (heard,) = server.heard
    assert heard.headers["x-amz-target"] == "Comprehend_20171127.BatchDetectSentiment"
    assert heard.headers["content-type"] == "application/x-amz-json-1.1"
    assert heard.body == {"TextList": ["awful", "great"], "LanguageCode": "en"}


@pytest.mark.parametrize(
    ("says", "outcome", "is_free"),
    [
        (failed(400, "ThrottlingException"), "throttled", True),
        (failed(400, "TooManyRequestsException"), "throttled", True),
        (failed(400, "InvalidRequestException"), "unavailable", True),
        (failed(403, "AccessDeniedException"), "unavailable", True),
        (failed(500, "InternalServerException"), "unavailable", True),
        (failed(503, "ServiceUnavailable"), "unavailable", True),
        (failed(504, "GatewayTimeout"), "timeout", False),
        (said([result(0)], [{"Index": 1, "ErrorCode": "TEXT_SIZE", "ErrorMessage": "m"}]), "refused", False),
        (said([result(0)]), "unparsable", False),
        (said([result(0), result(0)]), "unparsable", False),
        (said([result(0), result(2)]), "unparsable", False),
        (said([result(0), result(1), result(2)]), "unparsable", False),
        (said([result(0), result(1, Positive=1.5)]), "unparsable", False),
        (said([result(0), result(1, Positive="0.5")]), "unparsable", False),
        (said([result(0), result(1, Positive=None)]), "unparsable", False),
        (said([result(0), result(1, Positive=float("nan"))]), "unparsable", False),
        (said([result(0), {"Index": 1, "Sentiment": "POSITIVE"}]), "unparsable", False),
        (said("none"), "unparsable", False),
        (said({"Index": 0}), "unparsable", False),
        (made({}), "unparsable", False),
        (made([1]), "unparsable", False),
        (made("text"), "unparsable", False),
        (Says(b"<html>"), "unparsable", False),
        (Says(b"{" * 100_000), "unparsable", False),
        (Says(b'{"ResultList": []}' * 9, cut=True), "unavailable", False),
        (Says(closed=True), "unavailable", False),
    ],
)
def test_what_is_no_answer_for_every_text_is_an_error_after_one_call(
    server: Server, says: Says, outcome: str, is_free: bool
) -> None:
    server.plays([says])
    with pytest.raises(CallError) as caught:
        Comprehend().scores(["one", "two"], 5.0)
    assert (caught.value.outcome, caught.value.prompt_tokens == 0) == (outcome, is_free)
    assert len(server.heard) == 1


@pytest.mark.parametrize("says", [Says(silent=True), Says(b"{}" * 1000, drip_s=0.1)], ids=["silent", "dripping"])
def test_a_slow_answer_is_not_waited_for(server: Server, says: Says) -> None:
    server.plays([says])
    begun = time.monotonic()
    with pytest.raises(CallError, match="no whole answer within") as caught:
        Comprehend().scores(["one"], 0.5)
    assert caught.value.outcome == "timeout"
    assert time.monotonic() - begun < 15.0  # the server would take a minute and more


def test_nothing_is_sent_where_no_time_is_left(server: Server) -> None:
    with pytest.raises(CallError, match="no time is left") as caught:
        Comprehend().scores(["one"], 0.0)
    assert (caught.value.outcome, caught.value.prompt_tokens, server.heard) == ("timeout", 0, [])


def test_nobody_there_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COMPREHEND", "http://127.0.0.1:9")
    with pytest.raises(CallError, match="no connection") as caught:
        Comprehend().scores(["one"], 5.0)
    assert caught.value.prompt_tokens == 0


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "set AWS_ACCESS_KEY_ID"),
        (["AWS_SECRET_ACCESS_KEY"], "PartialCredentialsError"),
        (["AWS_DEFAULT_REGION"], "set AWS_DEFAULT_REGION"),
    ],
)
def test_what_is_missing_is_named_before_a_call(monkeypatch: pytest.MonkeyPatch, missing: list[str], told: str) -> None:
    for name in (*missing, "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BookError, match=told):
        Comprehend()


def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COMPREHEND", "here")
    with pytest.raises(BookError, match="mend the settings of AWS"):
        Comprehend()


def test_a_long_text_is_cut_between_characters(server: Server) -> None:
    server.plays([scored(GOOD)])
    assert readable("é" * 2500) == "é" * 2500
    assert readable("a" + "é" * 2500) == "a" + "é" * 2499
    Comprehend().scores(["a" + "é" * 2500], 5.0)
    assert server.heard[0].body["TextList"] == ["a" + "é" * 2499]


def test_every_text_costs_begun_units_and_three_at_least() -> None:
    unit = Decimal("0.0001")
    assert cost(["a"]) == cost(["a" * 300]) == 3 * unit
    assert cost(["a" * 301]) == 4 * unit
    assert cost(["a", "a" * 401]) == 8 * unit
    assert cost(["a" * 9000]) == 50 * unit
    assert cost([]) == 0
