"""Whatever ends a run, its log is closed, its sums are right, and the audit rebuilds it up to there."""

from __future__ import annotations

import csv
import errno
import gc
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.pipeline import Desk
from agents.portfolio import Portfolio
from cli.books import load_book
from replay.audit import audit
from replay.exchange import SimulatedExchange
from replay.gateway import ReplayGateway
from replay.log import FileLog, Kept
from replay.results import Summary, Unlogged
from replay.run import Run, Settings
from replay.sources import open_archive
from schemas.base import Event
from schemas.errors import ArchiveError, QuorumError, StoppedError
from schemas.execution import OrderFilled

SESSION = Path(__file__).parents[1] / "golden" / "session"
BOOK = load_book(SESSION / "book.yaml")


def _run(out: Path, log: Kept = "full", **changes: Any) -> Summary | Unlogged:
    settings = Settings(archive=SESSION / "archive", out=out, report=False, log=log)
    return Run(msgspec.structs.replace(BOOK, **changes), settings).run(lambda _: None)


def _failing_at(call: int, error: BaseException, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that one of its calls raises instead."""
    calls = 0

    def wrapped(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return method(*args)

    return wrapped


def _assert_closed(out: Path) -> None:
    lines = (out / "log" / "SHA256SUMS").read_text().splitlines()
    assert {line[66:] for line in lines} == {path.name for path in (out / "log").glob("*.jsonl")}
    for line in lines:
        assert sha256((out / "log" / line[66:]).read_bytes()).hexdigest() == line[:64]


@pytest.mark.parametrize(
    ("owner", "method", "call"),
    [
        (ReplayGateway, "answer", 1),
        (ReplayGateway, "answer", 2),
        (ReplayGateway, "answer", 20),
        (SimulatedExchange, "submit", 1),
        (SimulatedExchange, "submit", 3),
        (SimulatedExchange, "on_row", 2),
        (SimulatedExchange, "absorb", 30),
    ],
)
@pytest.mark.parametrize("error", [QuorumError("no"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_what_ends_a_run_outside_its_agents_leaves_a_log_that_is_proved(
    owner: type, method: str, call: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, _failing_at(call, error, getattr(owner, method)))
        with pytest.raises(type(error)):
            _run(tmp_path)
    _assert_closed(tmp_path)
    assert not (tmp_path / "summary.json").exists()
    archive = open_archive(SESSION / "archive", BOOK)
    audit(tmp_path, archive.frames(), BOOK)


def test_a_missing_verdict_ends_a_run_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(QuorumError, match="record one, or set on_unrecorded to ask or hold") as ended:
        _run(tmp_path, on_unrecorded="fail")
    assert ended.value.exit_code == 2
    _assert_closed(tmp_path)
    audited = audit(tmp_path, open_archive(SESSION / "archive", BOOK).frames(), BOOK)
    assert audited.derived_events > 0


@pytest.mark.parametrize(("method", "call"), [("apply", 40), ("speak", 3)])
def test_a_failed_agent_ends_the_run_with_an_alert(
    method: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = StoppedError("risk", "some-event", 40, "ZeroDivisionError")
    monkeypatch.setattr(Desk, method, _failing_at(call, error, getattr(Desk, method)))
    with pytest.raises(StoppedError) as ended:
        _run(tmp_path)
    assert ended.value.exit_code == 4
    _assert_closed(tmp_path)
    last = (tmp_path / "log" / "alerts.jsonl").read_bytes().splitlines()[-1]
    assert msgspec.json.decode(last)["type"] == "ProcessingFailed"


def test_an_agent_that_failed_fails_again_in_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_order_filled(_: Portfolio, fill: OrderFilled) -> Iterator[Event]:
        raise ZeroDivisionError(fill.id)

    monkeypatch.setattr(Portfolio, "on_order_filled", on_order_filled)
    with pytest.raises(StoppedError, match="agent portfolio failed on") as ended:
        _run(tmp_path)
    with pytest.raises(StoppedError) as again:
        audit(tmp_path, open_archive(SESSION / "archive", BOOK).frames(), BOOK)
    assert str(again.value) == str(ended.value)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(FileLog, "journal", _failing_at(40, full, FileLog.journal))
    with pytest.raises(ArchiveError, match="cannot be written: No space left on device"):
        _run(tmp_path)


def test_a_disk_that_is_full_behind_the_runs_back_is_one_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(log: FileLog, run_dir: Path) -> None:
        begin(log, run_dir)
        log._files["portfolio"].close()
        log._files["portfolio"] = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - the log closes it

    begin = FileLog.__init__
    monkeypatch.setattr(FileLog, "__init__", on_a_full_disk)
    with pytest.raises(ArchiveError, match=r"log/portfolio\.jsonl: cannot be written: No space left on device"):
        _run(tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_the_garbage_collector_is_as_before_however_a_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    during: list[bool] = []

    def answer(*_: Any) -> None:
        during.append(gc.isenabled())
        raise QuorumError("no")

    monkeypatch.setattr(ReplayGateway, "answer", answer)
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            with pytest.raises(QuorumError):
                _run(tmp_path)
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
    assert during == [False, False]


MONEY = ("start", "end", "days", "start_equity", "end_equity", "open_trades", "metrics", "buy_and_hold", "risk", "run")


def test_a_log_of_decisions_gives_the_same_money_and_says_what_it_lacks(tmp_path: Path) -> None:
    full, decisions = _run(tmp_path / "full"), _run(tmp_path / "decisions", log="decisions")
    assert isinstance(full, Summary)
    assert isinstance(decisions, Summary)
    for name in MONEY:
        assert getattr(decisions, name) == getattr(full, name), name
    assert full.metrics["trades"]
    assert (decisions.models, decisions.questions, decisions.texts) == (None, None, None)
    assert full.models
    for name in ("equity.parquet", "prices.parquet"):
        assert (tmp_path / "decisions" / name).read_bytes() == (tmp_path / "full" / name).read_bytes()
    ours, theirs = (_trades(tmp_path / kept) for kept in ("decisions", "full"))
    for mine, other in zip(ours, theirs, strict=True):
        assert other.pop("reasoning").startswith(mine.pop("reasoning")), "the votes alone are missing"
        del other["verdict_ids"]
        assert mine.pop("verdict_ids") == ""
        assert mine == other
    _assert_closed(tmp_path / "decisions")


def _trades(run: Path) -> list[dict[str, str]]:
    with (run / "trades.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_without_a_log_tells_what_the_engine_knew_and_no_more(tmp_path: Path) -> None:
    full, none = _run(tmp_path / "full"), _run(tmp_path / "none", log="none")
    assert isinstance(full, Summary)
    assert isinstance(none, Unlogged)
    assert {path.name for path in (tmp_path / "none").iterdir()} == {"book.json", "summary.json"}
    assert (none.end_equity, none.fills, none.orders) == (
        full.end_equity,
        full.metrics["fills"],
        full.metrics["orders"],
    )
    assert none.run == full.run
    told = msgspec.json.decode((tmp_path / "none" / "summary.json").read_bytes())
    assert told.keys().isdisjoint({"metrics", "models", "risk", "questions", "open_trades"})


@pytest.mark.parametrize(
    ("kept", "says"), [("decisions", "the log holds decisions alone"), ("none", "no log was kept")]
)
def test_a_run_without_a_full_log_is_not_audited_and_does_not_diverge(kept: Kept, says: str, tmp_path: Path) -> None:
    _run(tmp_path)
    _run(tmp_path, log=kept)
    with pytest.raises(ArchiveError, match=f"{says}, so this run cannot be audited; replay the book with --log full"):
        audit(tmp_path, open_archive(SESSION / "archive", BOOK).frames(), BOOK)


@pytest.mark.parametrize("kept", ["decisions", "none"])
def test_an_agent_that_fails_ends_a_run_of_any_log(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = StoppedError("risk", "some-event", 40, "ZeroDivisionError")
    monkeypatch.setattr(Desk, "apply", _failing_at(40, error, Desk.apply))
    with pytest.raises(StoppedError):
        _run(tmp_path, log=kept)
    assert (tmp_path / "log" / "alerts.jsonl").exists() == (kept == "decisions")


def test_a_run_that_is_stopped_before_it_begins_is_partial_and_proved(tmp_path: Path) -> None:
    run = Run(BOOK, Settings(archive=SESSION / "archive", out=tmp_path))
    run.stop()
    assert run.run(lambda _: None).interrupted
    _assert_closed(tmp_path)
    assert audit(tmp_path, open_archive(SESSION / "archive", BOOK).frames(), BOOK).derived_events == 0
