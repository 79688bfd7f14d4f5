"""A recorded answer belongs to a model, its parameters and the prompt; what nobody was asked is no answer."""

from __future__ import annotations

import msgspec
import pytest

from replay.cassette import RecordedVerdicts
from schemas.errors import ArchiveError
from schemas.verdicts import FailReason, VerdictFailed
from tests.replay.test_gateway import T0, request, verdict


def failure(reason: FailReason, **changes: object) -> VerdictFailed:
    asked = request()
    failed = VerdictFailed(
        id="f",
        key="A@x",
        occurred_at=T0,
        observed_at=T0,
        cause=asked.id,
        question="q",
        instrument="A@x",
        model="words",
        reason=reason,
        prompt_sha256=asked.prompt_sha256,
    )
    return msgspec.structs.replace(failed, **changes)


def recorded(*verdicts: object) -> RecordedVerdicts:
    return RecordedVerdicts((f"entry {n}", one) for n, one in enumerate(verdicts))  # type: ignore[misc]


def test_an_answer_by_other_parameters_is_none() -> None:
    record = recorded(verdict(request(), parameters_sha256="a"))
    assert record.find(request(), "a") is not None
    assert record.find(request(), "b") is None
    assert record.find(request()) is None
    assert record.only("words", request().prompt_sha256, "a") is not None
    assert record.only("words", request().prompt_sha256) is None


def test_an_answer_that_names_no_parameters_is_one_of_a_voter_without_a_network() -> None:
    record = recorded(verdict(request()))
    assert record.find(request()) is not None
    assert record.find(request(), "a") is None


def test_two_parameters_answer_one_request_each_in_its_way() -> None:
    record = recorded(verdict(request(), parameters_sha256="a"), verdict(request(), parameters_sha256="b", id="v2"))
    found = record.find(request(), "b")
    assert found is not None
    assert found.id == "v2"
    with pytest.raises(ArchiveError, match="contradicts"):
        record.add("entry 2", verdict(request(), parameters_sha256="b", id="v3", action="BUY"))


def test_a_failure_before_the_call_answers_its_very_request_alone() -> None:
    record = recorded(failure("timeout"))
    assert record.find(request(), "a") is not None
    assert record.find(request(id="another"), "a") is None


@pytest.mark.parametrize("reason", ["not_recorded", "over_budget"])
def test_where_nobody_was_asked_there_is_no_answer(reason: FailReason) -> None:
    record = recorded(failure(reason, parameters_sha256="a"))
    assert record.find(request(), "a") is None
    assert len(record) == 0


def test_answers_that_come_one_by_one_are_found_as_those_that_came_at_once() -> None:
    tape = [verdict(request(0, id=f"r{n}", observed_at=T0 + n), id=f"v{n}") for n in (3, 1, 2)]
    grown = RecordedVerdicts()
    for number, one in enumerate(tape):
        grown.add(f"entry {number}", one)
    for at in range(5):
        asked = request(0, id="stranger", observed_at=T0 + at)
        assert grown.find(asked) == recorded(*tape).find(asked)
