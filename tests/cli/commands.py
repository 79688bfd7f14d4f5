"""Calls `quorum` as a shell does: arguments in, exit code and what was printed out."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from cli.main import run

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SESSION = ROOT / "tests" / "golden" / "session"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def quorum(*args: str | Path) -> Ended:
    """Run a command by its entry point, in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", ["quorum", *map(str, args)]):
        try:
            run()
            code: object = 0
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int), code
    return Ended(code, out.getvalue(), err.getvalue())


def refusal(*args: str | Path) -> str:
    """Give the one sentence with which a command refuses bad input; a traceback would fail here."""
    ended = quorum(*args)
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("quorum: ")
    assert ended.err.count("\n") == 1
    return ended.err.removeprefix("quorum: ").rstrip("\n")
