"""Says aloud that the accounts went unchecked where the independent implementation is missing."""

from __future__ import annotations

import pytest

MISSING_PEER = "backtesting.py is not installed in this environment; `make crosscheck` builds one that has it"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the missing implementation, so that a green run without it does not pass for a full one."""
    reports = terminalreporter.getreports("skipped")
    if any(isinstance(report.longrepr, tuple) and MISSING_PEER in report.longrepr[2] for report in reports):
        terminalreporter.section("cross-check")
        terminalreporter.write_line(f"accounting not cross-checked: {MISSING_PEER}")
