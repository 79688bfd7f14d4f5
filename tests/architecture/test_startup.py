"""The command line is at once there: help loads nothing that a command needs, and a replay nothing that it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

SLOW = frozenset("jinja2 msgspec nltk numba numpy pandas plotly pyarrow rich textblob yaml".split())
"""Packages that take long to load."""
NEEDED_LATER = SLOW | {"agents", "connectors", "replay", "streams"}
UNUSED = frozenset("aiohttp boto3 confluent_kafka faust nltk pandas prometheus_client unittest".split())
"""What a replay on this machine never needs, with the lexicons and the report."""

PROBE = """
import sys
from cli.main import run
sys.argv = ["quorum", *sys.argv[1:]]
try:
    run()
finally:
    sys.stderr.write(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded(*args: str, prints: str = "Usage: quorum") -> frozenset[str]:
    """Give the packages that a command has loaded when it ends."""
    command = [sys.executable, "-c", PROBE, *args]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert prints in ended.stdout
    return frozenset(ended.stderr.split())


@pytest.mark.parametrize("args", ["--help", "replay --help", "schema --help"])
def test_help_loads_nothing_slow(args: str) -> None:
    assert loaded(*args.split()) & NEEDED_LATER == frozenset()


def test_a_replay_with_its_report_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    used = loaded("replay", "examples/btc.yaml", "--to", "2024-01-02", "--out", str(tmp_path), prints="report.html")
    assert used >= {"jinja2", "numba", "vaderSentiment"}
    assert used & UNUSED == frozenset()


def test_the_slow_packages_would_be_seen() -> None:
    probe = f"import sys; from cli import progress; print(*({SLOW!r} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"numba", "numpy", "pyarrow", "rich"} <= set(ended.stdout.split())
