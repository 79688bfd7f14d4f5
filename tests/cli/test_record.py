"""`quorum record`, and the cassette of `quorum replay` and `quorum sweep`: what they print, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks.stubmodel import StubModel, stub_model
from replay.cassette import RecordedVerdicts
from replay.tape import read_tape
from schemas.verdicts import VerdictGiven
from tests.cli.commands import ROOT, quorum, refusal
from tests.replay.archives import BTC
from tests.replay.cassettes import bars

QUESTIONS = 20


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubModel]:
    bars(tmp_path / "archive", 300)
    with stub_model() as model:
        yield model


def write_book(folder: Path, stub: StubModel, **changes: object) -> Path:
    data = {
        "name": "minds",
        "archive": "archive",
        "instruments": [{"id": BTC}],
        "analysts": {"models": ["one"]},
        "consensus": {"agree": 1},
        "models": {"one": {"kind": "openai", "model_id": "gpt-4o-mini", "endpoint": stub.url}},
    }
    path = folder / "book.yaml"
    path.write_text(yaml.safe_dump({**data, **changes}))
    return path


def test_an_estimate_prints_what_it_would_cost_and_asks_nobody(tmp_path: Path, stub: StubModel) -> None:
    ended = quorum("record", write_book(tmp_path, stub), "--cassette", tmp_path / "c", "--estimate")
    assert (ended.code, ended.err) == (0, "")
    assert f" {QUESTIONS} " in ended.out
    assert "$10 per day" in ended.out
    boundless = quorum(
        "record", write_book(tmp_path, stub, budget={"per_day_usd": None}), "--cassette", tmp_path / "c", "--estimate"
    )
    assert "nothing limits what may be spent" in boundless.out
    assert not stub.calls
    assert not (tmp_path / "c").exists()


def test_what_is_recorded_is_replayed_for_nothing(tmp_path: Path, stub: StubModel) -> None:
    book = write_book(tmp_path, stub)
    ended = quorum("record", book, "--cassette", tmp_path / "c")
    assert ended.code == 0, ended
    assert ended.out.startswith(f"{QUESTIONS} questions answered by {QUESTIONS} calls for $0.")
    again = quorum("record", book, "--cassette", tmp_path / "c")
    assert again.out.startswith("0 questions answered by 0 calls for $0.000000;")
    ended = quorum("replay", book, "--cassette", tmp_path / "c", "--out", tmp_path / "run")
    assert (ended.code, ended.err) == (0, "")
    came = json.loads((tmp_path / "run" / "summary.json").read_text())["run"]["coverage"]["one"]
    assert (came["recorded"], came["calls"], came["cost_usd"]) == (QUESTIONS, 0, "0")
    assert float(came["recorded_cost_usd"]) > 0
    assert "Paid when recorded, USD" in (tmp_path / "run" / "report.html").read_text()
    assert stub.calls == QUESTIONS
    ended = quorum("replay", book, "--verdicts", tmp_path / "c", "--out", tmp_path / "other")
    assert ended.code == 0, ended
    assert stub.calls == QUESTIONS


def test_a_run_that_is_short_of_money_says_so_and_ends_well(tmp_path: Path, stub: StubModel) -> None:
    book = write_book(tmp_path, stub, budget={"per_run_usd": 0.002})
    ended = quorum("replay", book, "--cassette", tmp_path / "c", "--out", tmp_path / "run")
    assert ended.code == 0
    assert "questions to model 'one' have no answer, over budget (the call may cost $0." in ended.err
    came = json.loads((tmp_path / "run" / "summary.json").read_text())["run"]["coverage"]["one"]
    assert came["over_budget"] == came["unanswered"] == QUESTIONS - came["asked"] > 0
    recorded = quorum("record", book, "--cassette", tmp_path / "c")
    assert recorded.code == 1
    assert "have no answer, over budget" in recorded.err


def test_a_sweep_asks_once(tmp_path: Path, stub: StubModel) -> None:
    book = write_book(tmp_path, stub)
    vary = ("--vary", "risk.order_pct=5,10", "--workers", "1", "--out", tmp_path / "sweep")
    for _ in range(2):
        ended = quorum("sweep", book, *vary, "--cassette", tmp_path / "c")
        assert ended.code == 0, ended
        assert "failed" not in ended.out
        assert stub.calls == QUESTIONS


class TestRefusals:
    def test_without_a_cassette(self, tmp_path: Path, stub: StubModel) -> None:
        said = refusal("replay", write_book(tmp_path, stub), "--out", tmp_path / "run")
        assert "give --cassette DIR to ask it" in said

    def test_a_book_that_asks_nobody(self, tmp_path: Path, stub: StubModel) -> None:
        book = write_book(tmp_path, stub, models={"one": {"kind": "trend"}})
        assert "asks no model over a network" in refusal("record", book, "--cassette", tmp_path / "c")

    def test_a_model_without_a_price(self, tmp_path: Path, stub: StubModel) -> None:
        book = write_book(tmp_path, stub, models={"one": {"kind": "openai", "model_id": "mine", "endpoint": stub.url}})
        for more in ((), ("--estimate",)):
            said = refusal("record", book, "--cassette", tmp_path / "c", *more)
            assert "usd_per_million_prompt_tokens and usd_per_million_reply_tokens" in said

    def test_a_damaged_cassette(self, tmp_path: Path, stub: StubModel) -> None:
        book = write_book(tmp_path, stub)
        quorum("record", book, "--cassette", tmp_path / "c")
        (path,) = (tmp_path / "c").glob("*.cassette")
        path.write_bytes(path.read_bytes().replace(b"digest", b"DIGEST", 1))
        for command in ("record", "replay"):
            said = refusal(command, book, "--cassette", tmp_path / "c")
            assert f"{path}, line " in said
        assert stub.calls == QUESTIONS

    def test_kafka(self, tmp_path: Path, stub: StubModel) -> None:
        book = write_book(tmp_path, stub)
        assert "--verdicts" in refusal("replay", book, "--engine", "kafka", "--cassette", tmp_path / "c")


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_a_recording_what_was_answered_is_never_asked_again(
    blow: signal.Signals, tmp_path: Path, stub: StubModel
) -> None:
    """A process is stopped while calls are under way: what it had answered is there, and only the rest is asked."""
    stub.delay_s = 0.05
    model = {"kind": "openai", "model_id": "gpt-4o-mini", "endpoint": stub.url, "max_concurrent": 2}
    book = write_book(tmp_path, stub, models={"one": model})
    command = [sys.executable, "-m", "cli", "record", str(book), "--cassette", str(tmp_path / "c")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while stub.calls < 6 and process.poll() is None:
        pass
    os.kill(process.pid, blow)
    _, said = process.communicate()
    answered = [event for _, event in read_tape(tmp_path / "c") if isinstance(event, VerdictGiven)]
    if blow == signal.SIGINT:
        assert process.returncode == 130, said
        assert "are kept in" in said
        assert len(answered) == stub.calls
    assert 2 <= len(answered) < QUESTIONS
    asked = stub.calls
    ended = quorum("record", book, "--cassette", tmp_path / "c")
    assert ended.code == 0, ended
    assert stub.calls - asked == QUESTIONS - len(answered)
    assert len(RecordedVerdicts.load(tmp_path / "c")) == QUESTIONS
