"""The one way to compile a numeric rule. A kernel is plain Python over floats and arrays; compiled or not, same bits.

No fast-math, no fused operations, no library function but square root: every result is correctly rounded by
IEEE 754, so a log has the same hash on every machine. `NUMBA_DISABLE_JIT=1` runs the very same source uncompiled.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import ParamSpec, TypeVar, cast

import numba

_digests: dict[object, str] = {}
"""Of every rule, and of those that it calls."""

P = ParamSpec("P")
R = TypeVar("R")


def kernel(rule: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop with numba, cached on disk beside its source. Division by zero gives inf or NaN, as in numpy.

    The cache looks at the kernel's own file alone, so the kernel's name there tells of the rules that it calls.
    """
    digest = _digest(rule)
    rule.__qualname__ = f"{rule.__name__}_{digest}"
    made = cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", fastmath=False)(rule))
    _digests[made] = digest
    return made


def inlined(rule: Callable[P, R]) -> Callable[P, R]:
    """Let kernels take a rule over scalars into their own code; otherwise it is one itself.

    A call would move the rule's many scalars through memory, which costs more than most rules do.
    """
    compiled = numba.njit(cache=True, error_model="numpy", fastmath=False, inline="always")
    made = cast("Callable[P, R]", compiled(rule))
    _digests[made] = _digest(rule)
    return made


def _digest(rule: Callable[P, R]) -> str:
    """Digest what a rule does: its code, the constants and records that it names, and the rules that it calls."""
    code = rule.__code__
    read = [rule.__globals__.get(name) for name in code.co_names]
    told = [_digests.get(each) if callable(each) else each for each in read]
    fields = [getattr(each, "_fields", None) for each in read]
    text = repr((code.co_code, code.co_consts, code.co_names, told, fields))
    return blake2b(text.encode(), digest_size=8).hexdigest()
