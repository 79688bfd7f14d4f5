"""The gateway of a replay: recorded answers come back byte for byte, and damage is never taken for a missing answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import archive
from connectors.voters import Answer, Opinion, Voter, computed, offline_voters
from replay.cassette import RecordedVerdicts
from replay.gateway import Coverage, ReplayGateway
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S, Event
from schemas.book import AnalystSettings, Book, Instrument, ModelSettings
from schemas.checks import check
from schemas.codec import decode, encode
from schemas.control import ClockTicked
from schemas.errors import ArchiveError, BookError, QuorumError
from schemas.fields import UNPRINTABLE_IN_NAME, UNPRINTABLE_IN_TEXT
from schemas.verdicts import InstructionPart, TextPart, VerdictFailed, VerdictGiven, VerdictRequested

T0 = 1_700_000_000 * NS_PER_S


def book(on_unrecorded: Literal["ask", "hold", "fail"] = "ask") -> Book:
    models = {"words": ModelSettings(kind="vader", latency_ms=250), "chart": ModelSettings(kind="trend")}
    return Book(
        name="b",
        instruments=(Instrument(id="A@x"),),
        analysts=AnalystSettings(models=("words", "chart")),
        models=models,
        on_unrecorded=on_unrecorded,
    )


def request(number: int = 0, model: str = "words", **changes: object) -> VerdictRequested:
    at = T0 + number * NS_PER_MIN
    text = TextPart(cites="t", observed_at=at, source="wire", text=f"A great win, number {number}", sentiment=1)
    prompt = (InstructionPart(text="Vote."), text)
    asked = VerdictRequested(
        id=f"request-{number}-{model}",
        key="A@x",
        occurred_at=at,
        observed_at=at,
        book="b",
        seq=number + 1,
        question=f"question-{number}",
        instrument="A@x",
        model=model,
        prompt=prompt,
        prompt_version="v1",
        prompt_sha256=sha256(b"\n".join(map(encode, prompt))).hexdigest(),
        deadline_at=at + 30 * NS_PER_S,
        trigger="cadence",
    )
    return msgspec.structs.replace(asked, **changes)


def gateway(on_unrecorded: Literal["ask", "hold", "fail"], *recorded: VerdictGiven | VerdictFailed) -> ReplayGateway:
    rules = book(on_unrecorded)
    cassette = RecordedVerdicts((f"entry {i}", verdict) for i, verdict in enumerate(recorded))
    return ReplayGateway(rules, cassette, offline_voters(rules))


def verdict(asked: VerdictRequested, **changes: object) -> VerdictGiven:
    """Give what a paid model, asked live, left in the journal of another book."""
    at = asked.observed_at + 1_800 * NS_PER_MS
    given = VerdictGiven(
        id=f"verdict-of-{asked.id}",
        key=asked.key,
        occurred_at=at,
        observed_at=at,
        book="live",
        seq=77,
        cause=asked.id,
        question=asked.question,
        instrument=asked.instrument,
        model=asked.model,
        action="SELL",
        confidence=0.7,
        reasoning="As recorded.",
        prompt_sha256=asked.prompt_sha256,
        reply_sha256="f" * 64,
        prompt_tokens=900,
        reply_tokens=80,
        cost_usd=Decimal("0.0123"),
        latency_ms=1_800,
    )
    return msgspec.structs.replace(given, **changes)


def write_run(folder: Path, events: Iterable[Event]) -> Path:
    (folder / "log").mkdir(parents=True)
    (folder / "log" / "journal.jsonl").write_bytes(b"".join(encode(event) + b"\n" for event in events))
    return folder


def write_archive(folder: Path, events: list[Event]) -> Path:
    columns: dict[str, list[object]] = {"id": [], "key": [], "occurred_at": [], "observed_at": []}
    for event in events:
        for name, values in columns.items():
            values.append(getattr(event, name))
    table = pa.table(columns | {"event": pa.array([encode(event) for event in events], pa.binary())})
    archive.write(folder, "verdicts", table, "recorded")
    return folder


def test_an_offline_voter_answers_at_its_latency() -> None:
    asked = request()
    answer = gateway("ask").answer(asked)
    assert isinstance(answer, VerdictGiven)
    assert answer.observed_at == answer.occurred_at == asked.observed_at + 250 * NS_PER_MS
    assert (answer.cause, answer.book, answer.key, answer.question) == (asked.id, "b", "A@x", asked.question)
    assert (answer.action, answer.cost_usd, answer.latency_ms) == ("BUY", Decimal(0), 250)
    opinion = msgspec.convert(
        {name: getattr(answer, name) for name in Opinion.__struct_fields__}, Opinion, from_attributes=True
    )
    assert answer.reply_sha256 == sha256(encode(opinion)).hexdigest()


@given(
    st.text(max_size=80).filter(lambda text: not re.search(UNPRINTABLE_IN_TEXT, text)),
    st.text(min_size=1, max_size=20).filter(lambda name: not re.search(UNPRINTABLE_IN_NAME, name)),
)
def test_whatever_a_text_says_the_verdict_on_it_passes_the_checks(said: str, source: str) -> None:
    text = TextPart(cites="t", observed_at=T0, source=source, text=said, sentiment=0.0)
    answer = gateway("ask").answer(request(prompt=(text,)))
    check(answer)
    assert decode(encode(answer)) == answer


def test_ids_differ_by_request_and_model_and_repeat() -> None:
    asked = [request(number, model) for number in (0, 1) for model in ("words", "chart")]
    ids = [gateway("ask").answer(one).id for one in asked]
    assert len(set(ids)) == 4
    assert ids == [gateway("hold").answer(one).id for one in asked]


@pytest.mark.parametrize("kept", ["run", "archive"])
def test_a_replay_of_a_recorded_run_is_the_same_log_byte_for_byte(kept: str, tmp_path: Path) -> None:
    asked = [request(number, model) for number in range(20) for model in ("words", "chart")]
    live = gateway("ask")
    first = [live.answer(one) for one in asked]
    journaled = [msgspec.structs.replace(answer, seq=n + 1) for n, answer in enumerate(first)]
    tick = ClockTicked(id="c", key="b", occurred_at=T0, observed_at=T0, book="b", seq=99)
    if kept == "run":
        recorded = RecordedVerdicts.load(write_run(tmp_path / "run", [tick, *journaled]))
    else:
        recorded = RecordedVerdicts.load(write_archive(tmp_path / "archive", list(journaled)))
    assert len(recorded) == 40
    replayed = ReplayGateway(book("fail"), recorded, {})
    assert [encode(replayed.answer(one)) for one in asked] == [encode(answer) for answer in first]
    assert replayed.coverage == {name: Coverage(requests=20, recorded=20) for name in ("chart", "words")}


def test_a_recorded_answer_keeps_its_content_and_takes_the_new_envelope() -> None:
    old = request(0)
    asked = request(0, id="another", question="new", book="b", observed_at=T0 + NS_PER_S)
    answer = gateway("fail", verdict(old)).answer(asked)
    assert isinstance(answer, VerdictGiven)
    assert (answer.action, answer.confidence, answer.reasoning) == ("SELL", 0.7, "As recorded.")
    assert (answer.cost_usd, answer.latency_ms, answer.reply_sha256) == (Decimal("0.0123"), 1_800, "f" * 64)
    assert (answer.cause, answer.question, answer.book, answer.seq) == ("another", "new", "b", 0)
    assert answer.observed_at == asked.observed_at + 1_800 * NS_PER_MS


def test_a_recorded_failure_is_an_answer_but_a_gap_is_none() -> None:
    asked = request()
    failure = VerdictFailed(
        id="f",
        key="A@x",
        occurred_at=T0 + 30 * NS_PER_S,
        observed_at=T0 + 30 * NS_PER_S,
        cause=asked.id,
        question="q",
        instrument="A@x",
        model="words",
        reason="timeout",
        detail="30 s",
        prompt_sha256=asked.prompt_sha256,
        latency_ms=30_000,
    )
    again = gateway("fail", failure).answer(asked)
    assert isinstance(again, VerdictFailed)
    assert (again.reason, again.detail, again.observed_at) == ("timeout", "30 s", T0 + 30 * NS_PER_S)
    gap = msgspec.structs.replace(failure, reason="not_recorded")
    assert isinstance(gateway("ask", gap).answer(asked), VerdictGiven)


def test_hold_says_that_nothing_was_recorded() -> None:
    held = gateway("hold")
    answer = held.answer(request())
    assert isinstance(answer, VerdictFailed)
    assert (answer.reason, answer.latency_ms) == ("not_recorded", 250)
    assert answer.observed_at == T0 + 250 * NS_PER_MS
    assert held.coverage == {"words": Coverage(requests=1, unanswered=1)}


def test_fail_names_the_model_the_question_and_the_mend() -> None:
    with pytest.raises(QuorumError, match=r"model 'words' for question question-0 .*on_unrecorded") as caught:
        gateway("fail").answer(request())
    assert "\n" not in str(caught.value)


def test_another_prompt_or_another_model_is_a_miss() -> None:
    recorded = verdict(request(0))
    assert gateway("ask", recorded).answer(request(1)).id != ""
    for other in (request(1), request(0, "chart")):
        with pytest.raises(QuorumError, match="no recorded verdict"):
            gateway("fail", recorded).answer(other)


@pytest.mark.parametrize("policy", ["ask", "hold"])
def test_a_model_that_the_book_does_not_describe_is_named(policy: Literal["ask", "hold"]) -> None:
    with pytest.raises(BookError, match="'oracle', but models holds chart, words"):
        gateway(policy).answer(request(model="oracle"))


def test_an_answer_past_the_deadline_comes_late_not_early() -> None:
    asked = request(deadline_at=T0 + NS_PER_S)
    answer = gateway("fail", verdict(asked)).answer(asked)
    assert answer.observed_at == T0 + 1_800 * NS_PER_MS > asked.deadline_at


def test_a_prompt_put_twice_gives_each_request_its_own_answer_in_any_order() -> None:
    early, late = request(0), request(0, id="late", observed_at=T0 + 60 * NS_PER_MIN)
    tape = (verdict(late, action="BUY", id="v2"), verdict(early, id="v1"))
    for order in ((early, late), (late, early)):
        one = gateway("fail", *tape)
        actions = {asked.id: one.answer(asked) for asked in order}
        assert isinstance(first := actions[early.id], VerdictGiven)
        assert isinstance(second := actions["late"], VerdictGiven)
        assert (first.action, second.action) == ("SELL", "BUY")


@pytest.mark.parametrize(("after_min", "action"), [(-5, "SELL"), (0, "SELL"), (30, "SELL"), (60, "BUY"), (90, "BUY")])
def test_a_stranger_to_the_record_gets_the_last_answer_asked_for_by_then(after_min: int, action: str) -> None:
    early, late = request(0), request(0, id="late", observed_at=T0 + 60 * NS_PER_MIN)
    tape = (verdict(late, action="BUY", id="v2"), verdict(early, id="v1"))
    asked = request(0, id="stranger", observed_at=T0 + after_min * NS_PER_MIN)
    answer = gateway("fail", *tape).answer(asked)
    assert isinstance(answer, VerdictGiven)
    assert answer.action == action


def test_the_same_entry_twice_counts_once_and_a_contradiction_is_refused() -> None:
    asked = request()
    twice = RecordedVerdicts([("a", verdict(asked)), ("b", verdict(asked, book="other", seq=5))])
    assert len(twice) == 1
    with pytest.raises(ArchiveError, match=r"^entry 1: .* contradicts"):
        gateway("ask", verdict(asked), verdict(asked, action="BUY"))


def test_an_entry_without_the_hash_of_its_prompt_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"^entry 0: .* names no prompt_sha256"):
        gateway("ask", verdict(request(), prompt_sha256=""))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda line: line[:40] + b"\n", "not a whole event"),
        (lambda line: b"#" + line[1:], "not a whole event"),
        (lambda line: line.replace(b"VerdictGiven", b"VerdictG\xffven"), "not a whole event"),
        (lambda line: line.replace(b'"confidence":0.7', b'"confidence":7.0'), "confidence"),
        (lambda line: line.replace(b'"SELL"', b'"DUMP"'), "action"),
        (lambda line: line[:-1], "cut off"),
    ],
)
def test_a_damaged_journal_is_an_error_with_its_line(
    damage: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    lines = [encode(verdict(request(number))) + b"\n" for number in range(3)]
    lines[2] = damage(lines[2])
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "journal.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(ArchiveError, match=reason) as caught:
        RecordedVerdicts.load(tmp_path)
    assert "journal.jsonl, line 3" in str(caught.value)


def test_a_damaged_archive_is_an_error_with_its_place(tmp_path: Path) -> None:
    folder = write_archive(tmp_path, [verdict(request(0)), verdict(request(1))])
    (file,) = folder.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ArchiveError, match=file.name):
        RecordedVerdicts.load(folder)


def test_a_damaged_row_is_an_error_with_its_place(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a"],
            "key": ["A@x"],
            "occurred_at": [T0],
            "observed_at": [T0],
            "event": pa.array([b'{"type":"VerdictGiven"'], pa.binary()),
        }
    )
    archive.write(tmp_path, "verdicts", table, "recorded")
    with pytest.raises(ArchiveError, match=r"parquet, row 1: not a whole event"):
        RecordedVerdicts.load(tmp_path)


def test_an_archive_without_verdicts_has_none(tmp_path: Path) -> None:
    (tmp_path / "bars").mkdir()
    assert len(RecordedVerdicts.load(tmp_path)) == 0


def test_what_is_no_record_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no such archive"):
        RecordedVerdicts.load(tmp_path / "nowhere")
    (tmp_path / "log").mkdir()
    with pytest.raises(ArchiveError, match=r"journal\.jsonl: there is no such file"):
        RecordedVerdicts.load(tmp_path)


def test_a_voter_that_answers_differently_each_time_is_tamed_by_its_record() -> None:
    class Moody:
        """Like a hosted model: no two answers alike."""

        def __init__(self) -> None:
            self.calls = 0

        def answer(self, request: VerdictRequested, within_s: float) -> Answer:
            self.calls += 1
            return computed(Opinion(action="BUY", confidence=1 / self.calls, reasoning=f"Call {self.calls}."))

    moody: Voter = Moody()
    asked = [request(number) for number in range(5)]
    first = ReplayGateway(book(), RecordedVerdicts(), {"words": moody})
    tape = RecordedVerdicts(("first run", first.answer(one)) for one in asked)
    again = ReplayGateway(book(), tape, {"words": moody})
    other = ReplayGateway(book(), RecordedVerdicts(), {"words": moody})
    kept = [again.answer(one) for one in asked]
    assert [encode(v) for v in kept] == [encode(v) for v in map(again.answer, asked)]
    assert [encode(v) for v in kept] != [encode(v) for v in map(other.answer, asked)]
