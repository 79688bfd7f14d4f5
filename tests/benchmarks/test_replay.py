"""The benchmark's gates: it must fail on wrong trades, a lost lead or grown memory, and say which peer is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import replay
from benchmarks.replay import ASKED, PLAIN_LOOP, QUORUM, RATIO_TO, RECORDED, Engine, Report, Run, broken_promises, main

SMALL = ("--bars", "2000", "--long-bars", "0", "--models", "--peers")

PLANTED = """
import json, sys
out = sys.argv[sys.argv.index("--out-json") + 1]
given = {given!r}
{instead}
with open(out, "w") as report:
    json.dump(given, report)
"""


def report(*, bars: int = 1_000, speed: int = 100, orders: int = 7, equity: float = 99.5, peak: int = 300) -> Report:
    return Report(
        engine="",
        version="1",
        bars=bars,
        orders=orders,
        final_equity=equity,
        load_s=0.0,
        run_s=bars / speed,
        run_cpu_s=bars / speed,
        bars_per_s=speed,
        bars_per_cpu_s=speed,
        peak_rss_mb=peak,
        log_sha256="a" * 64,
    )


def run(engine: str, found: Report, *, own_trades: bool = False) -> Run:
    return Run(engine, "loud", found, own_trades)


def promises_of(runs: list[Run]) -> list[str]:
    return broken_promises(runs, {"loud": 10 / replay.KEPT})


LOOP = run(PLAIN_LOOP.name, report())
PEER = run(RATIO_TO, report(speed=10))


def planted(monkeypatch: pytest.MonkeyPatch, found: Report, instead: str = "") -> None:
    """Let a program that reports `found`, without running anything, stand for Quorum."""
    program = PLANTED.format(given=msgspec.to_builtins(found), instead=instead)
    monkeypatch.setattr(replay, "QUORUM", Engine(QUORUM.name, (sys.executable, "-c", program)))


def test_what_holds_breaks_nothing() -> None:
    long = report(bars=10_000, peak=375)
    quorum = [run(QUORUM.name, report()), run(QUORUM.name, long)]
    assert promises_of([LOOP, PEER, *quorum, run(PLAIN_LOOP.name, long)]) == []


@pytest.mark.parametrize("engine", [QUORUM.name, RATIO_TO])
@pytest.mark.parametrize(("wrong", "told"), [({"orders": 8}, "with 8 orders"), ({"equity": 99.52}, "99.52")])
def test_other_trades_than_the_plain_loop_s_are_told(engine: str, wrong: dict[str, int], told: str) -> None:
    (sentence,) = promises_of([LOOP, run(engine, report(**wrong))])
    assert sentence.startswith(f"{engine} ended 1,000 bars (loud) ")
    assert told in sentence


def test_any_of_several_runs_can_break_a_promise() -> None:
    right, wrong = run(QUORUM.name, report()), run(QUORUM.name, report(orders=8))
    assert len(promises_of([LOOP, right, wrong, right])) == 1


def test_a_rounded_cent_is_no_other_equity() -> None:
    assert promises_of([LOOP, run(QUORUM.name, report(equity=99.51))]) == []


def test_models_may_trade_otherwise() -> None:
    voted = report(orders=9, equity=98.0)
    assert promises_of([LOOP, run(ASKED, voted, own_trades=True), run(RECORDED, voted, own_trades=True)]) == []


def test_a_lost_lead_is_told_by_processor_time() -> None:
    (sentence,) = promises_of([LOOP, PEER, run(QUORUM.name, report(speed=99))])
    assert "9.9 times as fast as NautilusTrader over 1,000 bars (loud)" in sentence


def test_grown_memory_is_told() -> None:
    runs = [run(QUORUM.name, report(peak=300)), run(QUORUM.name, report(bars=10_000, peak=376))]
    (sentence,) = promises_of(runs)
    assert "376 MB over 10,000 bars (loud)" in sentence
    assert "300 MB" in sentence


def test_a_log_that_differs_from_run_to_run_is_told() -> None:
    other = msgspec.structs.replace(report(), log_sha256="b" * 64)
    (sentence,) = promises_of([run(QUORUM.name, report()), run(QUORUM.name, other)])
    assert sentence == "Quorum left different logs in two runs over 1,000 bars (loud)."


def test_a_run_without_peers_checks_the_trades_and_says_what_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, str(tmp_path / "nowhere"), "--json", str(tmp_path / "told.json")]) == 0
    out, err = capfd.readouterr()
    told = msgspec.json.decode((tmp_path / "told.json").read_bytes())
    rows = {(row["engine"], row["setting"]): (row["orders"], row["final_equity"]) for row in told["rows"]}
    for setting in ("usual", "loud"):
        assert rows[QUORUM.name, setting] == rows[PLAIN_LOOP.name, setting]
    assert rows[QUORUM.name, "loud"][0] > rows[QUORUM.name, "usual"][0] > 0
    assert "2,000" in out
    for name in replay.PEERS:
        assert f"{name} is missing" in err
    assert "make bench" in err
    assert "Not checked: the ratio to NautilusTrader" in err


def test_wrong_orders_leave_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, report(bars=2_000))
    assert main([*SMALL, str(tmp_path)]) == 1
    err = capfd.readouterr().err
    assert "Quorum ended 2,000 bars (loud) with 7 orders" in err


def test_an_engine_that_fails_leaves_with_status_1_and_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, report(), "sys.exit('out of luck')")
    assert main([*SMALL, str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert "Quorum failed with status 1 (loud): out of luck" in err
    assert PLAIN_LOOP.name in out


def test_a_peer_that_does_not_start_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\necho 'no module named nautilus' >&2\nexit 1\n")
    python.chmod(0o755)
    engines, missing = replay.found_peers(tmp_path)
    assert engines == []
    assert len(missing) == len(replay.PEERS)
    assert "no module named nautilus" in missing[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bars", "999"], "--bars must be at least 1000"),
        (["--bars", "2000", "--long-bars", "2000"], "--long-bars must be more than --bars"),
        (["--repeat", "0"], "--repeat must be at least 1"),
        (["--json", "nowhere/at/all.json"], "--json: no folder nowhere/at"),
    ],
)
def test_a_bad_argument_is_told_in_a_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert told in capsys.readouterr().err
