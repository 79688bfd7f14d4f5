"""`quorum why`: a verdict and an order explained from run, cassette and lake, and a record that contradicts itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from connectors.models.prompts import render, sent_sha256
from connectors.models.provider import corrected
from replay.rundir import RunDir
from replay.sources import open_archive
from schemas.accounting import OutcomeMeasured
from schemas.base import Event
from schemas.codec import encode
from schemas.decisions import ConsensusFailed, ConsensusReached
from schemas.execution import OrderRequested
from schemas.texts import NewsPublished, TweetPosted
from schemas.verdicts import (
    ModelCallEnded,
    ModelCallStarted,
    PricePart,
    TextPart,
    VerdictGiven,
    VerdictRequested,
)
from tests.cli.commands import SESSION, quorum, refusal
from tests.connectors.processed.lakes import write_lake
from tests.replay.fake_run import START, FakeRun, book_of

UNFIT = "The answer does not fit the form: it is not JSON."
REPLY = 'I think\x1b[2J BUY.\nNo: {"action": "SELL"}'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(SESSION, folder)
    return folder


def shown_texts(run: Path) -> VerdictGiven:
    """Give a verdict that was measured, on a question that shows a text."""
    folder = RunDir(run)
    requests = {r.id for r in folder.events("verdict-requests", VerdictRequested) if type(r.prompt[-1]) is TextPart}
    measured = {outcome.prediction for outcome in folder.events("portfolio", OutcomeMeasured)}
    return next(v for v in folder.events("journal", VerdictGiven) if v.cause in requests and v.id in measured)


def request_of(run: Path, verdict: VerdictGiven) -> VerdictRequested:
    return RunDir(run).pick("verdict-requests", [verdict.cause], VerdictRequested)[verdict.cause]


def calls_of(request: VerdictRequested, sent: tuple[str, str]) -> list[Event]:
    """Two calls: an answer that did not fit, and the one after it."""
    events: list[Event] = []
    for attempt, digest in enumerate(sent, start=1):
        at = request.observed_at + attempt
        started = ModelCallStarted(
            id=f"{request.id}/call/{attempt}/{at}",
            key="golden",
            occurred_at=at,
            observed_at=at,
            cause=request.id,
            model=request.model,
            provider="bedrock",
            model_id="nova",
            attempt=attempt,
            prompt_sha256=request.prompt_sha256,
            parameters_sha256="p" * 64,
            sent_sha256=digest,
            worst_cost_usd=Decimal("0.5"),
        )
        ended = ModelCallEnded(
            id=f"{started.id}/end",
            key="golden",
            occurred_at=at,
            observed_at=at,
            cause=started.id,
            model=request.model,
            request=request.id,
            outcome="unparsable" if attempt == 1 else "answered",
            detail=UNFIT if attempt == 1 else "",
            reply=REPLY.replace("\x1b", "") if attempt == 1 else "{}",
            model_version="nova-7",
            prompt_tokens=812,
            cost_usd=Decimal("0.0012"),
            latency_ms=345,
        )
        events += [started, ended]
    return events


def digests(request: VerdictRequested) -> tuple[str, str]:
    rendered = render(request)
    return sent_sha256(rendered), sent_sha256(corrected(rendered, UNFIT))


def write(path: Path, events: Iterable[Event], before: bytes = b"", after: bytes = b"\n") -> None:
    path.write_bytes(b"".join(before + encode(event) + after for event in events))


def test_a_verdict_is_explained_from_its_run(run: Path) -> None:
    verdict = shown_texts(run)
    request = request_of(run, verdict)
    write(run / "log" / "model-calls.jsonl", calls_of(request, digests(request)))
    ended = quorum("why", "verdict", verdict.id[:12], "--run", run, "--archive", SESSION / "archive")
    assert (ended.code, ended.err) == (0, "")
    rendered = render(request)
    for line in (rendered.system + "\n" + rendered.user).split("\n"):
        assert f"    {line}\n" in ended.out
    for words in (
        f"verdict {verdict.id}\n",
        f"  {verdict.action} with confidence {verdict.confidence:g}",
        "call 2\n  bedrock nova, ",
        "unparsable, model version nova-7\n",
        "tokens 812 read, 0 said; cost 0.0012 USD; latency 345 ms",
        '    No: {"action": "SELL"}\n',
        f"  detail: {UNFIT}\n",
        f"cited {request.prompt[1].cites}\n  BarClosed, observed",  # type: ignore[union-attr]
        f"cited {request.prompt[-1].cites}\n  ",  # type: ignore[union-attr]
        "  this verdict was counted\n",
        ": the price moved ",
    ):
        assert words in ended.out, words
    assert ended.out.count("is the prompt above") == 2
    assert "not in the archive" not in ended.out
    assert all(character.isprintable() or character == "\n" for character in ended.out)


def test_json_is_one_object(run: Path) -> None:
    verdict = shown_texts(run)
    told = json.loads(quorum("why", "verdict", verdict.id, "--run", run, "--json").out)
    rendered = render(request_of(run, verdict))
    assert (told["system"], told["user"]) == rendered
    assert told["verdict"]["id"] == verdict.id
    assert told["outcome"]["prediction"] == verdict.id


def test_a_call_that_sent_something_else_is_said_and_fails(run: Path) -> None:
    verdict = shown_texts(run)
    request = request_of(run, verdict)
    calls = calls_of(request, (digests(request)[0], "0" * 64))
    write(run / "log" / "model-calls.jsonl", calls)
    ended = quorum("why", "verdict", verdict.id, "--run", run)
    assert ended.code == 1
    assert f"call {calls[2].id}: what was sent is not the prompt as it is rendered now" in ended.err
    assert "IS NOT the prompt above" in ended.out


def test_a_question_that_was_changed_in_the_log_is_said_and_fails(run: Path) -> None:
    verdict = shown_texts(run)
    request = request_of(run, verdict)
    text = request.prompt[-1]
    assert isinstance(text, TextPart)
    changed = msgspec.structs.replace(request, prompt=(*request.prompt[:-1], msgspec.structs.replace(text, text="No.")))
    path = run / "log" / "verdict-requests.jsonl"
    path.write_bytes(path.read_bytes().replace(encode(request), encode(changed)))
    ended = quorum("why", "verdict", verdict.id, "--run", run)
    assert ended.code == 1
    assert "its question is not the one whose digest was recorded" in ended.err


def test_the_calls_behind_a_repeated_verdict_are_in_the_cassette(run: Path, tmp_path: Path) -> None:
    verdict = shown_texts(run)
    request = request_of(run, verdict)
    first = msgspec.structs.replace(verdict, id="recorded", cause="first-request", repeats="")
    path = run / "log" / "journal.jsonl"
    path.write_bytes(
        path.read_bytes().replace(encode(verdict), encode(msgspec.structs.replace(verdict, repeats="recorded")))
    )
    cassette = tmp_path / "cassette"
    cassette.mkdir()
    asked = msgspec.structs.replace(request, id="first-request")
    events = [first, *calls_of(asked, digests(request))]
    write(cassette / "one.cassette", events, b'{"sum":"0","event":', b"}\n")
    out = quorum("why", "verdict", verdict.id, "--run", run, "--cassette", cassette).out
    assert "repeats the recorded verdict recorded, without a call" in out
    assert out.count("is the prompt above") == 2


def test_a_verdict_without_calls_says_so(run: Path) -> None:
    verdict = shown_texts(run)
    assert "none on record: a voter without a network" in quorum("why", "verdict", verdict.id, "--run", run).out


def test_a_lake_explains_a_verdict_as_the_run_does(run: Path, tmp_path: Path) -> None:
    verdict = shown_texts(run)
    request = request_of(run, verdict)
    write(run / "log" / "model-calls.jsonl", calls_of(request, digests(request)))
    folder = RunDir(run)
    price, text = request.prompt[1], request.prompt[-1]
    assert isinstance(price, PricePart)
    assert isinstance(text, TextPart)
    shown = next(event for event in folder.events("journal", TweetPosted, NewsPublished) if event.id == text.cites)
    archive = open_archive(SESSION / "archive", folder.book(), price.observed_at, price.observed_at + 1)
    bars = [frame.event(row, "", 0) for frame in archive.frames() for row in range(len(frame))]
    events = [
        *bars,
        msgspec.structs.replace(shown, book="", seq=0),
        *folder.events("journal", VerdictGiven),
        *folder.events("verdict-requests", VerdictRequested),
        *folder.events("signals", ConsensusReached, ConsensusFailed),
        *folder.events("portfolio", OutcomeMeasured),
        *calls_of(request, digests(request)),
    ]
    write_lake(tmp_path / "lake", events)
    args = ("why", "verdict", verdict.id, "--json")
    places = (("--run", run, "--archive", SESSION / "archive"), ("--lake", tmp_path / "lake"))
    told = [json.loads(quorum(*args, *place).out) for place in places]
    assert told[0]["calls"]
    assert told[0] == told[1]


def test_an_order_is_explained(run: Path) -> None:
    order = next(iter(RunDir(run).events("orders", OrderRequested)))
    ended = quorum("why", "order", order.id[:14], "--run", run)
    assert ended.code == 0
    for words in (f"order {order.id}\n", "proposal ", "approval ", "OrderFilled "):
        assert words in ended.out, words
    assert json.loads(quorum("why", "order", order.id, "--run", run, "--json").out)["order"]["id"] == order.id


def test_an_order_of_a_vote_names_what_each_model_said(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "fake", book_of("A@x"))
    fake.price("A@x", START, 100.0)
    vote = fake.question("A@x", START, [("BUY", 0.8, "up\x1b[2J"), ("BUY", 0.6, "so"), ("", 0.0, "")], [])
    order = fake.order("A@x", START, "buy", "1", consensus=vote.id)
    out = quorum("why", "order", order.id, "--run", fake.write()).out
    assert "prompt v1\n" in out
    assert "  BUY by 2 of 3, confidence 0.7\n  vader: BUY 0.8\n  textblob: BUY 0.6\n  trend: none (timeout)\n" in out
    assert "  up\\x1b[2J\n" in out


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("verdict", "abc"), "say where to look: --run RUN, --lake WHERE or --live"),
        (("verdict", "zzz", "--run", SESSION), "holds no verdict whose id begins with 'zzz'"),
        (("verdict", "", "--run", SESSION), "have an id that begins with '': "),
        (("verdict", "a", "--run", "nowhere"), "nowhere: is not the folder of a run"),
        (("verdict", "a", "--run", SESSION, "--cassette", SESSION), "holds no *.cassette file"),
        (("order", "zzz", "--run", SESSION), "holds no order whose id begins with 'zzz'"),
    ],
)
def test_bad_input_gets_a_sentence(args: tuple[str | Path, ...], reason: str) -> None:
    assert reason in refusal("why", *args)
