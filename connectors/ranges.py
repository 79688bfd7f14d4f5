"""Ranges of an object's bytes: which are there, and which lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

GAP_BYTES = 256 << 10
"""Ranges no further apart are fetched as one."""
Ranges: TypeAlias = Sequence[tuple[int, int]]
"""Of bytes, from a start to before an end."""


def merged(ranges: Ranges, gap: int = 0) -> list[tuple[int, int]]:
    """Join ranges that overlap, touch, or lie no more than `gap` apart; sorted."""
    found: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if found and lo <= found[-1][1] + gap:
            found[-1] = found[-1][0], max(found[-1][1], hi)
        else:
            found.append((lo, hi))
    return found


def lacking(wanted: Ranges, there: Ranges) -> list[tuple[int, int]]:
    """Give what of `wanted` is not `there`, which is sorted; small gaps between are wanted too."""
    found = []
    for lo, hi in merged(wanted, GAP_BYTES):
        at = lo
        for start, end in there:
            if end <= at or start >= hi:
                continue
            if start > at:
                found.append((at, start))
            at = end
        if at < hi:
            found.append((at, hi))
    return found
