"""Stretches of time: which are whole, which are still to be fetched, and in what portions.

A span is [from, to) in ns; a list of spans is sorted, and no two of them touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeAlias

from connectors.archive import NS_PER_HOUR
from schemas.base import NS_PER_S

Span: TypeAlias = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Put spans in order and join those that touch or overlap; empty ones fall away."""
    found: list[Span] = []
    for lo, hi in sorted(span for span in spans if span[0] < span[1]):
        if found and lo <= found[-1][1]:
            found[-1] = (found[-1][0], max(hi, found[-1][1]))
        else:
            found.append((lo, hi))
    return found


def without(wanted: Span, whole: Iterable[Span]) -> list[Span]:
    """Give what of a span lies in none of the others."""
    left, (at, end) = [], wanted
    for lo, hi in merged(whole):
        left.append((at, min(lo, end)))
        at = max(at, hi)
    return merged([*left, (at, end)])


def months(span: Span) -> Iterator[Span]:
    """Cut a span where a month, UTC, begins."""
    at, end = span
    while at < end:
        day = datetime.fromtimestamp(at // NS_PER_S, UTC)
        year, month = divmod(day.year * 12 + day.month, 12)  # of the month after
        border = int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
        yield at, min(border, end)
        at = border


def hours(span: Span) -> Iterator[Span]:
    """Cut a span where an hour begins."""
    at, end = span
    while at < end:
        border = (at // NS_PER_HOUR + 1) * NS_PER_HOUR
        yield at, min(border, end)
        at = border
