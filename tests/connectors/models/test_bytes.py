"""Whatever bytes a service answers with, a mind gives an opinion that a verdict may hold, or a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.models import mind
from connectors.voters.protocol import Failure, Opinion
from replay.gateway import answered
from schemas.checks import check
from tests.connectors.models.asking import Desk, keys, question, settings_of
from tests.connectors.models.faults import GOOD, vote
from tests.connectors.models.servers import PROSE, VOTE, WIRES, Says, Server, Wire, serving

__all__ = ["keys"]

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_arguments = st.one_of(
    st.just(GOOD),
    st.builds(lambda name, value: vote(**{name: value}), st.sampled_from([*VOTE, "order"]), _json),
    _json.map(json.dumps),
)


def _damaged(body: bytes, at: int, there: bytes) -> bytes:
    return body[: at % len(body)] + there + body[at % len(body) + len(there) :]


def _answers(wire: Wire) -> st.SearchStrategy[Says]:
    """Good answers, good answers damaged, other JSON, other bytes, and what is not HTTP at all."""
    stops = st.sampled_from(["", "stop", "end_turn", "tool_use", "max_tokens", "refusal", "guardrail_intervened", "?"])
    good = st.builds(
        lambda arguments, text, stop, tool: wire.votes(*arguments, text=text, stop=stop, tool=tool),
        st.lists(_arguments, max_size=2),
        st.sampled_from(["", PROSE, "\x00\ud800"]),
        stops,
        st.sampled_from(["vote", "trade"]),
    )
    at, there = st.integers(0, 5000), st.binary(min_size=1, max_size=3)
    statuses = st.sampled_from([200, 200, 201, 204, 301, 400, 401, 404, 418, 429, 500, 503, 529, 599])
    bodies = st.one_of(
        good.map(lambda says: says.body), _json.map(lambda value: json.dumps(value).encode()), st.binary()
    )
    return st.one_of(
        good,
        st.builds(lambda says, at, there: Says(_damaged(says.body, at, there)), good, at, there),
        st.builds(lambda status, body: Says(body, status), statuses, bodies),
        st.builds(lambda body: Says(body, raw=True), st.binary(max_size=300)),
        st.builds(lambda body: Says(b"HTTP/1.1 200 OK\r\n" + body, raw=True), st.binary(max_size=100)),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_any_bytes_come_to_an_opinion_or_a_failure(wire: Wire, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mind, "WAIT_S", 0.001)
    desk = Desk(settings_of(wire, server))
    seen: dict[type[Any], int] = {Opinion: 0, Failure: 0}

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_answers(wire), min_size=1, max_size=2))
    def holds(script: list[Says]) -> None:
        server.plays(script)
        answer = desk.ask(20.0)
        check(answered(question(), answer, 7))
        assert 1 <= len(desk.starts) <= 2
        if isinstance(answer.said, Opinion):
            assert desk.ends[-1].outcome == "answered"
        else:
            assert all(end.outcome != "answered" for end in desk.ends)
            assert answer.said.reason != "timeout"
        seen[type(answer.said)] += 1

    holds()
    assert all(seen.values()), "both must be met, or the property says nothing"
