"""Datasets: that no outcome overlaps a split, no question stands twice, and each line is what its service reads."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.models.answers import parse
from connectors.models.prompts import render, sent_sha256
from replay.dataset import FORMATS, LABELS, Example, answer_of, export, read_examples, split
from replay.rundir import RunDir
from schemas.accounting import OutcomeMeasured
from schemas.base import NS_PER_MIN
from schemas.errors import ArchiveError
from schemas.verdicts import VerdictGiven, VerdictRequested
from tests.cli.commands import SESSION
from tests.replay.fake_run import START, FakeRun, book_of

RUN = RunDir(SESSION)
MODELS = sorted(RUN.book().analysts.models)


def example(asked_min: int, horizon_min: int | None, number: int = 0) -> Example:
    """A question asked so many minutes after the start, measured after a horizon, or not at all."""
    at = START + asked_min * NS_PER_MIN
    base: dict[str, Any] = {"key": "A@x", "occurred_at": at, "observed_at": at}
    shared: dict[str, Any] = {"question": "q", "instrument": "A@x", "model": "m"}
    request = VerdictRequested(
        id=f"r{asked_min}-{number}",
        prompt=next(RUN.events("verdict-requests", VerdictRequested)).prompt,
        prompt_version="v1",
        prompt_sha256="0" * 64,
        deadline_at=at,
        trigger="cadence",
        **base,
        **shared,
    )
    verdict = VerdictGiven(id=f"v{asked_min}-{number}", action="BUY", confidence=0.5, **base, **shared)
    outcome = None
    if horizon_min is not None:
        base["observed_at"] = at + horizon_min * NS_PER_MIN
        outcome = OutcomeMeasured(
            id=f"o{asked_min}-{number}",
            instrument="A@x",
            prediction=verdict.id,
            model="m",
            action="BUY",
            confidence=0.5,
            horizon_ms=max(horizon_min, 1) * 60_000,
            return_pct=0.1,
            correct=True,
            **base,
        )
    return Example(request, verdict, outcome, render(request))


TIMES = st.lists(st.tuples(st.integers(0, 500), st.none() | st.integers(0, 120)), min_size=1, max_size=40)


@given(TIMES, st.floats(0, 0.9), st.none() | st.integers(-10, 510))
def test_no_outcome_of_training_is_known_after_validation_begins(
    times: list[tuple[int, int | None]], share: float, at_min: int | None
) -> None:
    examples = [example(asked, horizon, number) for number, (asked, horizon) in enumerate(times)]
    at = None if at_min is None else START + at_min * NS_PER_MIN
    try:
        parts = split(examples, share, at)
    except ArchiveError:  # nothing is left on one side
        return
    for each in parts.train:
        assert all(each.until < other.asked_at for other in parts.validation)
    assert len(parts.train) + len(parts.validation) + parts.purged == len(examples)
    kept = {each.request.id for each in (*parts.train, *parts.validation)}
    assert len(kept) == len(parts.train) + len(parts.validation)
    longest = max(each.until - each.asked_at for each in examples)
    assert parts.gap_ns == longest
    if parts.validation:
        left_out = [each.asked_at for each in examples if each.request.id not in kept]
        assert all(parts.at - longest <= asked_at < parts.at for asked_at in left_out)


@given(st.permutations(range(8)))
def test_a_split_does_not_depend_on_the_order_of_the_examples(order: list[int]) -> None:
    examples = [example(60 * n, 30) for n in range(8)]
    assert split([examples[n] for n in order], 0.25) == split(examples, 0.25)


def test_a_share_of_nothing_makes_no_validation() -> None:
    parts = split([example(0, 30), example(1, 30)], 0.0)
    assert (len(parts.train), parts.validation, parts.at, parts.purged) == (2, [], 0, 0)


def test_a_question_stands_once_with_the_answer_that_fared_best() -> None:
    every = {model: read_examples([SESSION], model) for model in MODELS}
    best = read_examples([SESSION, SESSION])
    keys = [sent_sha256(each.prompt) for each in best]
    assert len(keys) == len(set(keys))
    by_key: dict[str, list[Example]] = {}
    for found in every.values():
        for each in found:
            by_key.setdefault(sent_sha256(each.prompt), []).append(each)
    assert set(keys) == set(by_key)
    for key, each in zip(keys, best, strict=True):
        assert LABELS.index(each.label) == min(LABELS.index(other.label) for other in by_key[key])
    assert [each.asked_at for each in best] == sorted(each.asked_at for each in best)


def test_an_answer_is_one_that_a_model_could_have_given() -> None:
    for each in read_examples([SESSION]):
        said = parse(json.dumps(answer_of(each.verdict)))
        assert all(getattr(said, name) == getattr(each.verdict, name) for name in said.__struct_fields__)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_chat_holds_the_outcome_and_what_was_asked(tmp_path: Path) -> None:
    export([SESSION], tmp_path / "out", "chat", 0.2, None, "all", "trend")
    examples = {each.prompt.user: each for each in read_examples([SESSION], "trend")}
    found = [*lines(tmp_path / "out" / "train.jsonl"), *lines(tmp_path / "out" / "validation.jsonl")]
    assert found
    for line in found:
        system, user, assistant = line["messages"]
        each = examples[user["content"]]
        assert [part["role"] for part in line["messages"]] == ["system", "user", "assistant"]
        assert system["content"] == each.prompt.system
        assert json.loads(assistant["content"]) == json.loads(msgspec.json.encode(answer_of(each.verdict)))
        assert line["metadata"]["label"] == each.label
        assert (line["metadata"]["outcome"] or {}).get("return_pct") == (
            each.outcome.return_pct if each.outcome else None
        )


def test_a_service_gets_its_own_form_and_no_word_of_outcomes() -> None:
    each = read_examples([SESSION])[0]
    answer = json.dumps(answer_of(each.verdict), separators=(",", ":"), ensure_ascii=False)
    assert FORMATS["openai"](each) == {
        "messages": [
            {"role": "system", "content": each.prompt.system},
            {"role": "user", "content": each.prompt.user},
            {"role": "assistant", "content": answer},
        ]
    }
    assert FORMATS["bedrock"](each) == {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": each.prompt.system}],
        "messages": [
            {"role": "user", "content": [{"text": each.prompt.user}]},
            {"role": "assistant", "content": [{"text": answer}]},
        ],
    }


def test_the_manifest_tells_what_the_files_hold_and_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (export([SESSION], tmp_path / name, "openai", 0.2, None, "all", "") for name in "ab")
    assert first == second
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()
    for file in first.files:
        data = (tmp_path / "a" / file.name).read_bytes()
        assert (file.sha256, file.bytes, file.lines) == (sha256(data).hexdigest(), len(data), data.count(b"\n"))
        assert sum(sum(counts.values()) for counts in file.counts.values()) == file.lines
    assert first.runs == (sha256((SESSION / "log" / "SHA256SUMS").read_bytes()).hexdigest(),)


def test_only_correct_answers_are_taken_where_that_is_asked(tmp_path: Path) -> None:
    manifest = export([SESSION], tmp_path / "out", "bedrock", 0.2, None, "correct", "")
    assert all(set(counts) == {"correct"} for file in manifest.files for counts in file.counts.values())


@pytest.mark.parametrize(
    ("model", "only", "reason"),
    [
        ("nobody", "all", "none of 'nobody'; there are answers of "),
        ("textblob", "correct", "no answer in the runs turned out correct"),
    ],
)
def test_nothing_to_export_is_a_sentence(model: str, only: str, reason: str, tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "fake", book_of("A@x"))
    fake.price("A@x", START, 100.0)
    fake.question("A@x", START, [("BUY", 0.8, "up"), ("HOLD", 0.6, "so"), ("", 0.0, "")], [])
    with pytest.raises(ArchiveError, match=reason):
        export([fake.write()], tmp_path / "out", "chat", 0.1, None, only, model)
    assert not (tmp_path / "out").exists()
