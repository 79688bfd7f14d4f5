"""The rules of `schemas.checks` for whole columns of market data: which rows break which rule.

Importers count and drop such rows; a replay refuses the file. One table of rules serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.checks import EARLIEST_NS, LATEST_NS, MAX_CLOCK_SKEW_NS
from schemas.fields import POSITIVE_INT, PRICE, SIZE, SIZE_OR_ZERO, Range

Columns = Mapping[str, npt.NDArray[Any]]
Mask = npt.NDArray[np.bool_]


class Rule(NamedTuple):
    """What one column must satisfy."""

    field: str
    reason: str
    """What is wrong with a value that breaks the rule; follows the value in a sentence."""
    broken: Callable[[Columns], Mask]


def _time(field: str) -> Rule:
    return Rule(
        field,
        "is not a time in nanoseconds since 1970 (before 2100)",
        lambda c: (c[field] <= EARLIEST_NS) | (c[field] >= LATEST_NS),
    )


def _bounded(field: str, bounds: Range) -> Rule:
    return Rule(field, bounds.refusal, lambda c: ~((c[field] >= bounds.low) & (c[field] <= bounds.high)))


def _in_range(field: str) -> Rule:
    return Rule(field, "lies outside low to high", lambda c: (c[field] < c["low"]) | (c[field] > c["high"]))


_TIMES = (
    _time("occurred_at"),
    _time("observed_at"),
    Rule(
        "observed_at",
        f"lies more than {MAX_CLOCK_SKEW_NS / 1e9:g} s before occurred_at",
        lambda c: c["observed_at"] < c["occurred_at"] - MAX_CLOCK_SKEW_NS,
    ),
)

RULES: dict[str, tuple[Rule, ...]] = {
    "bars": (
        *_TIMES,
        *(_bounded(field, PRICE) for field in ("open", "high", "low", "close")),
        _bounded("interval_ns", POSITIVE_INT),
        _bounded("volume", SIZE_OR_ZERO),
        Rule("high", "is below low", lambda c: c["high"] < c["low"]),
        _in_range("open"),
        _in_range("close"),
    ),
    "trades": (
        *_TIMES,
        _bounded("price", PRICE),
        _bounded("size", SIZE),
        Rule("side", "is not 1, -1 or 0", lambda c: (c["side"] < -1) | (c["side"] > 1)),
    ),
    "quotes": (
        *_TIMES,
        _bounded("bid", PRICE),
        _bounded("ask", PRICE),
        _bounded("bid_size", SIZE_OR_ZERO),
        _bounded("ask_size", SIZE_OR_ZERO),
        Rule("bid", "is above ask: a crossed quote", lambda c: c["bid"] > c["ask"]),
    ),
}
"""Kind of rows to what they must satisfy."""


def faults(kind: str, columns: Columns) -> Iterator[tuple[Rule, Mask]]:
    """Give each rule that some row breaks, with the mask of those rows; columns are named as in the archive."""
    for rule in RULES[kind]:
        broken = rule.broken(columns)
        if broken.any():
            yield rule, broken
