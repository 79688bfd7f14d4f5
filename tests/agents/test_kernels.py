"""A kernel's compiled code is found again by its name, so the name tells of all that it does."""

from __future__ import annotations

import sys

import pytest

from agents.kernels import inlined, kernel

STEP = 1.0


def _step(x: float) -> float:
    return x + STEP


_rule = _step


def _two_steps(x: float) -> float:
    return _rule(_rule(x))


def _named(step: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name the kernel of two steps of a length."""
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "STEP", step)
    monkeypatch.setattr(here, "_rule", inlined(_step))
    assert kernel(_two_steps)(1.0) == 1.0 + 2.0 * step
    return _two_steps.__qualname__


def test_a_rule_that_a_kernel_calls_changes_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    once, again, other = (_named(step, monkeypatch) for step in (1.0, 1.0, 2.0))
    assert once == again != other
