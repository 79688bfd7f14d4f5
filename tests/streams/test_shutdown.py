"""The first signal asks, the second ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from streams.shutdown import SIGNALS, stop_on_signal
from tests.architecture.tree import ROOT

STUBBORN = """
import os, signal, sys, threading
from streams.shutdown import stop_on_signal
with stop_on_signal() as stopping:
    os.kill(os.getpid(), signal.{first})
    stopping.wait()
    print("asked", flush=True)
    os.kill(os.getpid(), signal.{second})
    threading.Event().wait()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_sets_the_event_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with stop_on_signal() as stopping:
        assert not stopping.is_set()
        signal.raise_signal(number)
        assert stopping.wait(10)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize(("first", "second", "code"), [("SIGTERM", "SIGINT", 130), ("SIGINT", "SIGTERM", 143)])
def test_the_second_signal_ends_a_process_that_does_not_stop(first: str, second: str, code: int) -> None:
    script = STUBBORN.format(first=first, second=second)
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (code, "asked\n")
