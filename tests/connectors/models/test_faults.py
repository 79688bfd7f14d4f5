"""Whatever a service does, the real SDK in front of it, comes to an event that says so; none of it makes a trade."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.models import mind
from connectors.voters.protocol import Failure, Opinion
from replay.gateway import answered
from schemas.checks import check
from schemas.codec import encode
from tests.connectors.models.asking import KEY, USED_USD, Desk, keys, question, settings_of
from tests.connectors.models.faults import FAULTS, GOOD, Fault, fault_table
from tests.connectors.models.servers import VOTE, WIRES, Server, Wire, serving

__all__ = ["keys"]
PAGE = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mind, "WAIT_S", 0.01)
    monkeypatch.setattr(mind, "MIN_CALL_S", 0.01)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_a_fault_comes_to_its_event(wire: Wire, fault: Fault, server: Server) -> None:
    server.plays(fault.script(wire))
    elsewhere = {} if server.script else {"endpoint": "http://127.0.0.1:9"}
    desk = Desk(settings_of(wire, server, **elsewhere))
    begun = time.monotonic()

    answer = desk.ask(fault.within_s)

    assert time.monotonic() - begun < fault.within_s + 5  # the drip and the silence last for 20 s and more
    verdict = answered(question(), answer, 100)
    check(verdict)
    assert getattr(verdict, "reason", "VerdictGiven") == fault.event
    assert len(desk.starts) == fault.calls
    assert len(server.heard) in (fault.calls, 0 if not server.script else fault.calls)
    worst = sum((start.worst_cost_usd for start in desk.starts), Decimal(0))
    unfit = fault.event == "unparsable" or "fit" in fault.what
    told = USED_USD * (fault.calls if unfit else 1)
    assert answer.cost_usd == {"told": told, "worst": worst, "nothing": Decimal(0)}[fault.charged]
    assert all(secret not in encode(event).decode() for event in (verdict, *desk.told) for secret in (KEY, "sk-te"))


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_an_answer_in_the_form_is_the_opinion_that_it_says(wire: Wire, server: Server) -> None:
    server.plays([wire.votes(GOOD)])
    desk = Desk(settings_of(wire, server))

    answer = desk.ask()

    assert answer.said == Opinion(**{**VOTE, "key_factors": tuple(VOTE["key_factors"])})
    assert (answer.prompt_tokens, answer.reply_tokens, answer.model_version) == (1000, 50, wire.model_version)
    [end] = desk.ends
    assert (end.outcome, end.reply, end.reply_sha256) == ("answered", GOOD, answer.reply_sha256)


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_an_answer_that_does_not_fit_is_told_what_is_wrong_with_it(wire: Wire, server: Server) -> None:
    server.plays([wire.votes(GOOD.replace("0.7", "1.7")), wire.votes(GOOD)])
    desk = Desk(settings_of(wire, server))
    desk.ask()
    first, second = (str(heard.body["messages"]) for heard in server.heard)
    assert "1.7 is not between 0 and 1" not in first
    assert "1.7 is not between 0 and 1" in second
    assert [end.outcome for end in desk.ends] == ["unparsable", "answered"]
    assert len({start.sent_sha256 for start in desk.starts}) == 2


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_what_a_model_said_in_prose_is_on_record_and_no_vote(wire: Wire, server: Server) -> None:
    server.plays([wire.votes(text="I'd say BUY \x1b[31m!")])
    desk = Desk(settings_of(wire, server))
    assert isinstance(desk.ask().said, Failure)
    assert desk.ends[0].reply == "I'd say BUY [31m!"


def test_the_page_shows_this_table() -> None:
    assert fault_table() in PAGE.read_text("utf-8"), f"docs/models.md lacks this table:\n{fault_table()}"
