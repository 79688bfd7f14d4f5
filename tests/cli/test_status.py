"""The table and the document say the same, and outside text does nothing in either."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from cli.status import document
from cli.status_table import table_of
from schemas.accounting import EquityMarked, PositionChanged
from schemas.decisions import BreakerTripped, ConfirmationRequested
from schemas.errors import KafkaError
from schemas.execution import OrderRequested
from schemas.operations import AlertRaised, ProcessingFailed
from streams.kafka import partition_of
from streams.overview import Overview
from tests.agents.builders import BTC, at
from tests.cli.commands import quorum
from tests.streams.test_overview import event, processed

HOSTILE = "[bold]buy[/bold]\x1b[2J\nall"
NOW = at(20)


def shown(overview: Overview, now: int = NOW, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table_of(overview, now))
    return out.getvalue()


def books(overview: Overview) -> list[dict[str, object]]:
    read: list[dict[str, object]] = json.loads(json.dumps(document(overview, NOW)))["books"]
    return read


def busy() -> Overview:
    overview = Overview()
    for each in (
        processed(19),
        event(EquityMarked, 19, equity=Decimal("101234.567")),
        event(PositionChanged, 18, instrument=BTC, quantity=Decimal("-0.25")),
        event(BreakerTripped, 17, key=BTC, rule="flash_move", until=at(30)),
        event(BreakerTripped, 17, rule="drawdown", until=0),
        event(OrderRequested, 18),
        event(ConfirmationRequested, 18, expires_at=at(25)),
        event(AlertRaised, 18, severity="warning", text=HOSTILE),
    ):
        overview.take(each)
    overview.at_end_of_journal({"b": 1019})
    return overview


def test_the_table_fits_80_columns_and_holds_what_one_looks_for() -> None:
    text = shown(busy())
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "running",
        "1,000",
        "1 min",
        "101,234.57",
        f"-0.25 {BTC}",
        f"takes no new risk: flash_move {BTC} until 01-01 00:30:00",
        "drawdown until an operator resumes",
        "trades that wait for a person: 1",
    ):
        assert part in text


def test_outside_text_steers_no_terminal_and_styles_nothing() -> None:
    text = shown(busy(), width=200)
    assert "[bold]buy[/bold]\\x1b[2J\\nall" in text
    assert "\x1b" not in text


def test_a_stopped_book_says_why() -> None:
    overview = busy()
    overview.take(event(ProcessingFailed, 20, agent="risk", error="boom"))
    text = shown(overview, width=200)
    assert "b stopped: agent risk failed at entry 20: boom" in text


def test_what_is_not_known_is_not_shown_as_zero() -> None:
    overview = Overview()
    overview.at_end_of_journal({"b": 5})
    (book,) = books(overview)
    for field in ("seq", "lag", "entry_at", "age_s", "equity", "cash", "alert"):
        assert book[field] is None, field
    assert "flat" not in shown(overview)


def test_no_book_is_a_sentence() -> None:
    assert shown(Overview()).startswith("No book has a journal here yet")


def test_records_that_were_not_read_are_told() -> None:
    overview = busy()
    assert "only the newest records" not in shown(overview)
    overview.partial.add(partition_of("b"))
    assert "only the newest records" in shown(overview)
    assert books(overview)[0]["partial"] is True


def test_the_document_is_json_with_exact_money() -> None:
    (book,) = books(busy())
    assert (book["lag"], book["age_s"], book["equity"]) == (1000, 60.0, "101234.567")
    assert book["positions"] == {BTC: "-0.25"}
    assert book["breakers"] == {"drawdown": 0, f"flash_move {BTC}": at(30)}
    for field, kind in (("orders", "OrderRequested"), ("confirmations", "ConfirmationRequested")):
        assert [each["id"] for each in book[field]] == [f"{kind}-18"]  # type: ignore[attr-defined]
    assert book["alert"]["text"] == HOSTILE  # type: ignore[index]


@pytest.mark.parametrize("command", [("status", "--once"), ("letters", "list"), ("control", "pause", "my")])
def test_what_the_client_of_kafka_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("QUORUM_KAFKA_SECURITY", "ssl")
    monkeypatch.setenv("QUORUM_KAFKA_CA_FILE", str(tmp_path / "missing.pem"))
    ended = quorum(*command)
    assert (ended.code, ended.out) == (KafkaError.exit_code, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("quorum: Kafka: ")
    assert "ssl.ca.location" in line


def test_a_wrong_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORUM_KAFKA_BOOTSTRAPS", "x")
    ended = quorum("status", "--once")
    assert (ended.code, ended.out) == (KafkaError.exit_code, "")
    assert ended.err.startswith("quorum: QUORUM_KAFKA_BOOTSTRAPS: no such setting")
