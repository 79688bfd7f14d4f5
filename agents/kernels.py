"""The one way to compile a numeric rule. A kernel is plain Python over floats and arrays; compiled or not, same bits.

No fast-math, no fused operations, no library function but square root: every result is correctly rounded by
IEEE 754, so a log has the same hash on every machine. `NUMBA_DISABLE_JIT=1` runs the very same source uncompiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(rule: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop with numba, cached on disk beside its source. Division by zero gives inf or NaN, as in numpy.

    The cache looks at the kernel's own file alone, so the rules that it calls must stand in that file.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", fastmath=False)(rule))


def inlined(rule: Callable[P, R]) -> Callable[P, R]:
    """Let kernels take a rule over scalars into their own code; otherwise it is one itself.

    A call would move the rule's many scalars through memory, which costs more than most rules do.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", fastmath=False, inline="always")(rule))
