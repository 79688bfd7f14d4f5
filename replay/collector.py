"""The garbage collector, kept still where there is nothing for it: it goes over all that a run holds, each time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no cycles meanwhile, for what runs to an end and drops hardly any: imports, a replay, an audit."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
