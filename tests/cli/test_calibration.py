"""`quorum models calibration`: the measures of the report, over one run or several; and who has none is told so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from cli.calibration import register
from replay.calibration import calibrations
from replay.rundir import RunDir
from schemas.accounting import OutcomeMeasured
from schemas.errors import ArchiveError
from tests.replay.plausible import plausible

BTC = "BTC/USDT@x"


def run(*arguments: str | Path) -> str:
    models = typer.Typer()
    models.callback()(lambda: None)
    register(models)
    done = CliRunner().invoke(models, ["calibration", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plausible(tmp_path_factory.mktemp("runs") / "run", BTC, days=20)


def test_the_measures_are_printed_by_model(root: Path) -> None:
    found = calibrations(RunDir(root).events("portfolio", OutcomeMeasured))
    printed = run(root)
    for name, one in found.items():
        assert name in printed
        assert f"{one.brier:.4f}" in printed
        for bin_ in one.bins:
            assert bin_.hit_rate is None or f"{bin_.hit_rate:.0%} of {bin_.predictions}" in printed


def test_several_runs_count_together(root: Path) -> None:
    once, twice = (msgspec.json.decode(run(*roots, "--json")) for roots in ([root], [root, root]))
    assert list(once) == list(twice) == ["textblob", "trend", "vader"]
    for name, one in once.items():
        assert twice[name]["predictions"] == 2 * one["predictions"]
        assert twice[name]["brier"] == one["brier"]


def test_a_run_without_outcomes_says_so(root: Path, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "book.json").write_bytes((root / "book.json").read_bytes())
    with pytest.raises(ArchiveError, match="no log was kept, and so no outcomes"):
        run(tmp_path)
    (tmp_path / "log" / "journal.jsonl").touch()
    assert "no prediction was measured" in run(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="not the book of a run"):
        run(tmp_path)
