"""The pure core reads no clock, file, socket or chance, computes alike everywhere, and lets no set choose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.architecture.purity import (
    arithmetic_violations,
    call_violations,
    import_violations,
    set_order_violations,
)
from tests.architecture.tree import Source, parse, sources

Check = Callable[[Source], list[str]]


@pytest.mark.parametrize("package", ["schemas", "agents"])
@pytest.mark.parametrize("check", [import_violations, call_violations, arithmetic_violations, set_order_violations])
def test_the_core_is_pure(check: Check, package: str) -> None:
    found = sources(package)
    assert found
    assert [violation for source in found for violation in check(source)] == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (import_violations, "import time"),
        (import_violations, "from datetime import datetime"),
        (import_violations, "def f():\n    import random"),
        (import_violations, "import numpy, os.path"),
        (import_violations, "from pathlib import Path"),
        (import_violations, "import aiokafka"),
        (import_violations, "from importlib import import_module"),
        (call_violations, "open('prices.csv')"),
        (call_violations, "key = hash(event)"),
        (call_violations, "print(x)"),
        (call_violations, "__import__('os')"),
        (call_violations, "sorted(events, key=id)"),
        (call_violations, "list(map(hash, events))"),
        (arithmetic_violations, "import math\ny = math.log(x)"),
        (arithmetic_violations, "import math as m\ny = m.exp(x)"),
        (arithmetic_violations, "from math import sqrt, pow"),
        (arithmetic_violations, "import numpy as np\nf = np.exp"),
        (arithmetic_violations, "import numpy as np\nx = np.random.default_rng(1)"),
        (arithmetic_violations, "import numpy as np\nx = np.log.reduce(y)"),
        (arithmetic_violations, "from numpy.linalg import norm"),
        (arithmetic_violations, "from numpy import random"),
        (arithmetic_violations, "y = weights @ returns"),
        (arithmetic_violations, "y = weights.dot(returns)"),
        (arithmetic_violations, "y = x ** 0.5"),
        (arithmetic_violations, "y **= 2"),
        (arithmetic_violations, "y = pow(x, 2)"),
        (arithmetic_violations, "y = sum(returns)"),
        (arithmetic_violations, "y = sum(returns, 0.0)"),
        (arithmetic_violations, "@njit(cache=True, fastmath=True)\ndef f(x): ..."),
        (set_order_violations, "for x in {1, 2}: pass"),
        (set_order_violations, "for x in set(xs): pass"),
        (set_order_violations, "ys = [x for x in frozenset(xs)]"),
        (set_order_violations, "ys = {x: 1 for x in {y for y in xs}}"),
        (set_order_violations, "ys = tuple(set(xs))"),
        (set_order_violations, "ys = list(a.keys() & b.keys())"),
        (set_order_violations, "ys = [*set(xs)]"),
        (set_order_violations, "text = ','.join(set(xs))"),
        (set_order_violations, "a, b = {1, 2}"),
        (set_order_violations, "def f(seen: frozenset[str]):\n    yield from seen"),
        (
            set_order_violations,
            "class S:\n    seen: set[str]\n    def f(self):\n        for x in self.seen: pass",
        ),
        (set_order_violations, "seen = set()\nx = seen.pop()"),
        (set_order_violations, "for x in seen.union(more): pass"),
        (set_order_violations, "seen: set[str] | None = None\ny = enumerate(seen)"),
    ],
)
def test_a_planted_violation_is_found(check: Check, text: str) -> None:
    violations = check(parse(text))
    assert len(violations) == 1
    assert violations[0].startswith(f"planted.py:{_blamed_line(text)}: ")


def _blamed_line(text: str) -> int:
    """Return the line at fault: in these plants, the last that does something."""
    lines = text.splitlines()
    return len(lines) - (lines[-1].startswith("def f(x)"))


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (
            import_violations,
            "from __future__ import annotations\nimport numpy.typing as npt\nfrom . import frame",
        ),
        (call_violations, "x = event.id\ny = make(id=x, print=1)\nz = book.open()\nw = re.compile('a')"),
        (call_violations, "def f(id: str):\n    return derived(id)"),
        (
            arithmetic_violations,
            "import math\nfrom math import isfinite, sqrt\ny = math.fsum(x) + 10**9 + 2**63",
        ),
        (arithmetic_violations, "import numpy as np\ny = np.sqrt(np.maximum(x, np.float64(0)))"),
        (arithmetic_violations, "n = sum(1 for x in xs) + sum(len(x) for x in xs) + sum(x > 0 for x in xs)"),
        (arithmetic_violations, "@njit(cache=True, fastmath=False)\ndef f(x): ..."),
        (arithmetic_violations, "cash = sum(fees, ZERO) + sum(fees, start=Decimal(0))"),
        (set_order_violations, "for x in sorted({1, 2}): pass"),
        (set_order_violations, "if x in {1, 2} or any(y in seen for y in set(ys)): pass"),
        (set_order_violations, "seen: set[str] = set()\nn = len(seen)\nlow = min(x for x in seen)"),
        (set_order_violations, "seen = {x for x in set(xs)}\ny = sorted(x.lower() for x in seen)"),
        (set_order_violations, "for x in book.keys(): pass\nlast = stack.pop()"),
        (set_order_violations, "for x in (first, *rest): pass\na, b = pair"),
    ],
)
def test_what_is_allowed_passes(check: Check, text: str) -> None:
    assert check(parse(text, "agents/planted.py")) == []
