"""What every test may lean on: repeatable properties, and real data that is either found or loudly missed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
MISSING_DATA = "missing data: "

# No deadlines: a slow machine is no fault. `ci` draws the same examples on every run, so a red run can be
# repeated; HYPOTHESIS_PROFILE=deep searches anew each time, and keeps what it found in .hypothesis.
settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.register_profile("deep", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the path of a real data file, named relative to `../shared/data`; skip the test without it."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"{MISSING_DATA}{name}, expected at {path}")
        return path

    return find


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests lacked their data, so that a green run without it does not pass for a full one."""
    reports = terminalreporter.getreports("skipped")
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    missed = [reason for reason in reasons if MISSING_DATA in reason]
    if missed:
        terminalreporter.section("real data")
        terminalreporter.write_line(f"tests skipped for missing data: {len(missed)}; not under {SHARED_DATA}:")
        for name in sorted({reason.partition(MISSING_DATA)[2].partition(",")[0] for reason in missed}):
            terminalreporter.write_line(f"  {name}")
