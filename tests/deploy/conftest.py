"""Says aloud that the composition went unchecked where there is no Docker Compose."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not asked, so that a green run without it does not pass for a full one."""
    reports = terminalreporter.getreports("skipped")
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    for reason in reasons:
        if "no Docker Compose" in reason:
            terminalreporter.section("docker compose")
            terminalreporter.write_line(reason)
