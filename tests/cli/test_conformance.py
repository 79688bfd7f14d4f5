"""What the conformance kit refuses before it plays, how it keeps an executor running, and what it prints."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from cli.conformance import Supervised, print_findings
from schemas.errors import QuorumError
from streams.conformance import judge
from tests.cli.commands import EXAMPLES, refusal
from tests.streams.executors import CancelsWhatIsFilled, Forgets, Honest, Script, Unreadable

BOOK = EXAMPLES / "btc.yaml"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--price", "0", "--price 0: is not a number above zero"),
        ("--price", "much", "--price much: is not a number above zero"),
        ("--quantity", "-1", "--quantity -1: is not a number of zero or more"),
        ("--quantity", "nan", "--quantity nan: is not a number of zero or more"),
    ],
)
def test_an_amount_that_is_none_is_refused(option: str, value: str, said: str) -> None:
    assert refusal("conformance", "executor", BOOK, option, value) == said


def test_a_book_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal("conformance", "executor", tmp_path / "none.yaml")


def test_a_command_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(QuorumError, match="--run no-such-program"):
        Supervised(["no-such-program"], dict(os.environ))


def test_an_executor_that_ends_is_started_again_until_the_kit_ends(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = f"import os, time; open({str(starts)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"
    with Supervised([sys.executable, "-c", program], dict(os.environ)) as executor:
        _await(lambda: starts.exists() and len(starts.read_text().split()) == 1)
        executor.kill()
        _await(lambda: len(starts.read_text().split()) == 2)
    for pid in map(int, starts.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _await(condition: object) -> None:
    until = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Honest, []),
        (CancelsWhatIsFilled, ["life (market, order market-0): OrderCanceled, but the order is filled", "fills/3/"]),
        (Forgets, ["restart (restart, order restart-): was forgotten over the restart: it is accepted still"]),
        (Unreadable, ["readable: OrderFilled.price", "more (--json gives all)"]),
    ],
)
def test_what_was_broken_is_printed_with_order_and_record(
    kind: type[Honest], said: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    findings = judge(*Script(kind()).play())
    print_findings(findings)
    out = capsys.readouterr().out
    assert all(finding.rule in out and finding.promise in out for finding in findings)
    assert ("broken" in out) == bool(said)
    assert all(text in out for text in said)
