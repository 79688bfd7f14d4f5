"""What `quorum models` says of a book's models, and what it asks before it spends money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

import connectors.models
from cli.books import load_book
from cli.live import _keys_of
from connectors.voters import Answer, Failure, Opinion, Voter
from schemas.verdicts import VerdictRequested
from tests.cli.commands import quorum, refusal

BOOK = """
name: b
instruments: [{id: A@x}]
models:
  words: {kind: vader}
  big: {kind: openai, model_id: large, usd_per_million_prompt_tokens: 2.50, usd_per_million_reply_tokens: 10}
  own: {kind: openai, model_id: mine, endpoint: "http://127.0.0.1:1/v1"}
analysts: {models: [words, big]}
strategy: {mode: advisory}
budget: {per_day_usd: 5, models: {big: {per_call_usd: 0.10, per_hour_usd: 1}}}
"""


class Saying:
    """A model that says one thing, and notes what it was asked."""

    def __init__(self, said: Opinion | Failure) -> None:
        self._said = said
        self.asked: list[VerdictRequested] = []

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        self.asked.append(request)
        cost = Decimal("0.00125")
        return Answer(said=self._said, model_version="large-7", prompt_tokens=1_300, reply_tokens=20, cost_usd=cost)


HOLD = Opinion(action="HOLD", confidence=0.0, reasoning="I am there.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "book.yaml"
    file.write_text(BOOK, "utf-8")
    return file


def answering(monkeypatch: pytest.MonkeyPatch, **said: Opinion | Failure) -> dict[str, Saying]:
    voters = {name: Saying(each) for name, each in said.items()}

    def minds(*_: object) -> Mapping[str, Voter]:
        return voters

    monkeypatch.setattr(connectors.models, "minds", minds)
    return voters


def test_the_list_says_what_each_model_is_and_may_cost(path: Path) -> None:
    ended = quorum("models", "list", path)
    assert (ended.code, ended.err) == (0, "")
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[0] == "model kind model id price in/out caps parameters".split()
    assert rows[1] == "words vader - free - -".split()
    assert rows[2][:-1] == "big openai large $2.5/$10 $0.1 a call, $1 a hour".split()
    assert rows[3][:-1] == "own openai mine not known -".split()
    assert len(rows[2][-1]) == 12
    assert rows[2][-1] != rows[3][-1]
    assert rows[4] == "all models together: $5 a day".split()


def test_a_model_that_answers_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, big=HOLD)
    ended = quorum("models", "test", path, "--model", "big", "--yes")
    assert ended.code == 0
    assert "at worst" in ended.err
    assert "answers (HOLD, confidence 0)" in ended.out
    assert "1,300/20" in ended.out
    assert "$0.00125" in ended.out
    assert "large-7" in ended.out
    (request,) = asked["big"].asked
    assert (request.model, request.book, request.instrument) == ("big", "b", "A@x")


def test_a_model_that_fails_is_named_and_ends_with_code_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, big=Failure(reason="unavailable", detail="503\x1b[2J"))
    ended = quorum("models", "test", path, "--model", "big", "--yes")
    assert ended.code == 1
    assert "failed: unavailable: 503\\x1b[2J" in ended.out


def test_a_free_model_is_tested_without_a_question(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    ended = quorum("models", "test", path, "--model", "words")
    assert (ended.code, ended.err) == (0, "")


def test_nothing_is_spent_where_nobody_is_there_to_ask(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, big=HOLD)
    ended = quorum("models", "test", path, "--model", "big")
    assert (ended.code, ended.out, asked["big"].asked) == (2, "", [])
    assert ended.err.endswith("a test that costs money asks first, and here is nobody to ask; give --yes\n")


def test_bad_input_is_one_sentence(path: Path, tmp_path: Path) -> None:
    assert refusal("models", "test", path, "--model", "huge") == "book b has no model 'huge'; there are big, own, words"
    assert "the price of openai model 'mine' is not known" in refusal("models", "test", path)
    bare = tmp_path / "bare.yaml"
    bare.write_text("name: b\ninstruments: [{id: A@x}]\nstrategy: {mode: advisory}\n", "utf-8")
    assert refusal("models", "test", bare) == "book b names no models, so there is none to test"
    assert quorum("models", "list", bare).out == "b names no models\n"
    assert "no such file" in refusal("models", "list", tmp_path / "none.yaml")


def test_books_whose_models_cannot_be_called_are_not_traded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    said = "book b: models.big: the key of openai is missing: set the environment variable OPENAI_API_KEY"
    assert refusal("live", path) == said
    assert refusal("worker", "gateway", path) == said


def test_a_model_that_stands_by_and_is_not_asked_needs_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path.write_text(
        BOOK.replace("[words, big]", "[words, words2]").replace("models:\n", "models:\n  words2: {kind: trend}\n", 1)
    )
    assert _keys_of([load_book(path)]) == []


def test_no_log_shows_a_models_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    path.write_text(BOOK.replace('/v1"}', '/v1", usd_per_million_prompt_tokens: 0, usd_per_million_reply_tokens: 0}'))
    assert _keys_of([load_book(path)]) == ["sk-test-0123456789"]
