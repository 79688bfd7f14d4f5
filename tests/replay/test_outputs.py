from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from replay.decisions import (
    LISTED,
    read_alerts,
    read_calibrations,
    read_commands,
    read_models,
    read_rulings,
    read_signals,
)
from replay.outputs import finish
from replay.rundir import RunDir
from schemas.base import NS_PER_DAY, NS_PER_MIN
from schemas.control import BookPaused
from schemas.errors import ArchiveError
from schemas.operations import AlertRaised
from tests.replay.fake_run import START, FakeRun, book_of
from tests.replay.plausible import plausible

BTC, ETH = "BTC/USD@x", "ETH/USD@x"
WRITTEN = ("summary.json", "trades.csv", "equity.parquet", "report.html")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty days of two instruments, finished."""
    made = plausible(tmp_path_factory.mktemp("runs") / "run", BTC, ETH, days=20)
    finish(made, {"log_sha256": "f" * 64, "market_events": 7, "timing": {"replayed_s": 1.5}})
    return made


def test_a_run_is_turned_into_the_same_bytes_twice(root: Path) -> None:
    first = {name: (root / name).read_bytes() for name in WRITTEN}
    finish(root, {"log_sha256": "f" * 64, "market_events": 7, "timing": {"replayed_s": 1.5}})
    assert {name: (root / name).read_bytes() for name in WRITTEN} == first


def test_the_summary_holds_what_the_host_says_with_time_set_apart(root: Path) -> None:
    summary = json.loads((root / "summary.json").read_text(encoding="utf-8"))
    assert summary["run"] == {"market_events": 7}
    assert summary["timing"] == {"replayed_s": 1.5}
    assert (summary["log_sha256"], summary["interrupted"]) == ("f" * 64, False)
    assert (summary["start"], summary["end"]) == ("2017-01-01T00:00:00.000Z", "2017-01-21T00:00:00.000Z")
    assert summary["metrics"]["trades"] + summary["open_trades"] > 5


def test_only_timing_differs_on_a_slower_machine(root: Path, tmp_path: Path) -> None:
    again = plausible(tmp_path / "run", BTC, ETH, days=20)
    finish(again, {"log_sha256": "f" * 64, "market_events": 7, "timing": {"replayed_s": 99}}, report=False)
    ours, theirs = (json.loads((path / "summary.json").read_bytes()) for path in (root, again))
    assert ours.pop("timing") != theirs.pop("timing")
    assert ours == theirs
    assert not (again / "report.html").exists()


def test_the_equity_curve_starts_with_the_cash_and_ends_with_the_last_mark(root: Path) -> None:
    table = pq.read_table(root / "equity.parquet").to_pylist()
    summary = json.loads((root / "summary.json").read_text(encoding="utf-8"))
    assert table[0]["time"] == datetime(2017, 1, 1, tzinfo=UTC)
    assert (table[0]["equity"], table[0]["drawdown_pct"]) == (100_000.0, 0.0)
    assert table[-1]["equity"] == summary["end_equity"]
    assert max(row["drawdown_pct"] for row in table) == pytest.approx(summary["metrics"]["max_drawdown_pct"], abs=1e-6)
    held = summary["buy_and_hold"]["total_return_pct"]
    assert table[-1]["buy_and_hold"] / table[0]["buy_and_hold"] == pytest.approx(1 + held / 100, abs=1e-6)


def test_a_run_that_was_stopped_at_once_is_still_readable(tmp_path: Path) -> None:
    summary = finish(FakeRun(tmp_path / "run", book_of(BTC)).write(), {"interrupted": True})
    assert summary.interrupted
    assert summary.metrics["total_return_pct"] == 0
    assert summary.metrics["sharpe"] is None
    assert (tmp_path / "run" / "trades.csv").read_text(encoding="utf-8").count("\n") == 1


def test_a_run_without_any_event_says_so(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", book_of(BTC))
    run.logs["journal"].clear()
    with pytest.raises(ArchiveError, match="the run saw no event"):
        finish(run.write(), {})


def test_texts_from_before_the_first_price_do_not_lengthen_the_run(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", book_of(BTC))
    for day in range(1, 5):
        run.mark(START + day * NS_PER_DAY)
    run.price(BTC, START + 4 * NS_PER_DAY + 59 * NS_PER_MIN, 100.0)  # the last of its hour
    run.mark(START + 5 * NS_PER_DAY)
    summary = finish(run.write(), {}, report=False)
    assert (summary.start, summary.days) == ("2017-01-05T00:00:00.000Z", 1.0)
    assert pq.read_table(tmp_path / "run" / "equity.parquet").num_rows == 2


def test_of_two_marks_at_one_time_the_last_counts(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", book_of(BTC))
    run.price(BTC, START, 100.0)
    run.mark(START + 1)
    run.cash += 10
    run.mark(START + 1)
    assert finish(run.write(), {}, report=False).end_equity == 100_010.0


def test_counts_are_whole_and_lists_are_bounded(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", book_of(BTC))
    for n in range(LISTED + 20):
        run.add(AlertRaised, START + n, severity="info", text=str(n))
        run.add(BookPaused, START + n, operator="ann")
    read = RunDir(run.write())
    assert [alert.text for alert in read_alerts(read) if isinstance(alert, AlertRaised)] == [
        str(n) for n in range(LISTED)
    ]
    assert len(read_commands(read)) == LISTED
    assert read.counts("alerts") == {"AlertRaised": LISTED + 20}


def test_decisions_are_counted_by_reason(root: Path) -> None:
    run = RunDir(root)
    signals, rulings, models = read_signals(run), read_rulings(run), read_models(run, read_calibrations(run))
    assert signals.texts.vetted == sum(b"NewsVetted" in line for line in lines(root, "signals"))
    assert signals.texts.discarded == {"duplicate": 5}
    assert signals.texts.flagged == {"no_price_move": 5}
    assert len(signals.kept_out) == 10
    ended = sum(signals.questions.consensus.values()) + sum(signals.questions.none.values())
    assert ended == 2 * (20 * 24 // 6)
    assert rulings.record.approved == len(lines(root, "orders"))
    assert 0 < rulings.record.clamped < rulings.record.approved
    assert rulings.record.rejected == {"breaker: drawdown": 5}
    assert rulings.record.breakers == {"drawdown": 5}
    assert (len(rulings.refusals), len(rulings.breakers)) == (5, 10)
    assert list(models) == ["textblob", "trend", "vader"]


def test_a_models_record_adds_up(root: Path) -> None:
    run = RunDir(root)
    vader = read_models(run, read_calibrations(run))["vader"]
    assert vader.verdicts + sum(vader.failed.values()) == 2 * (20 * 24 // 6)
    assert sum(vader.actions.values()) == vader.verdicts
    assert vader.predictions == vader.actions["BUY"] + vader.actions["SELL"]
    assert vader.mean_latency_ms == 200.0
    assert str(vader.cost_usd) == f"{vader.verdicts * 4 / 10_000:.4f}"
    assert vader.correct_pct is not None
    assert 0 < vader.correct_pct < 100


def lines(root: Path, topic: str) -> list[bytes]:
    return (root / "log" / f"{topic}.jsonl").read_bytes().splitlines()
