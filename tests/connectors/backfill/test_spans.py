from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from connectors.archive import NS_PER_HOUR
from connectors.backfill.spans import Span, hours, merged, months, without
from connectors.importers.report import utc
from schemas.base import NS_PER_DAY

TIMES = st.integers(0, 60)
SPANS = st.lists(st.tuples(TIMES, TIMES), max_size=8)


def held(spans: list[Span]) -> set[int]:
    return {at for lo, hi in spans for at in range(lo, hi)}


@given(SPANS)
def test_merging_keeps_every_moment_and_parts_nothing_that_touches(spans: list[Span]) -> None:
    found = merged(spans)
    assert held(found) == held(spans)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


@given(st.tuples(TIMES, TIMES), SPANS)
def test_what_is_left_is_what_was_wanted_and_not_there(wanted: Span, whole: list[Span]) -> None:
    left = without(wanted, whole)
    assert held(left) == held([wanted]) - held(whole)
    assert left == merged(left)


@given(st.integers(10_000, 20_000), st.integers(1, 900), st.integers(0, NS_PER_DAY - 1))
def test_portions_cover_a_span_and_lie_in_one_month_or_hour_each(day: int, days: int, offset: int) -> None:
    span = (day * NS_PER_DAY + offset, (day + days) * NS_PER_DAY + offset // 2)
    found = list(months(span))
    assert merged(found) == [span]
    assert all(utc(lo)[:7] == utc(hi - 1)[:7] for lo, hi in found)
    assert len({utc(lo)[:7] for lo, _ in found}) == len(found)
    short = (span[0], span[0] + 5 * NS_PER_HOUR)
    assert merged(hours(short)) == [short]
    assert all(lo // NS_PER_HOUR == (hi - 1) // NS_PER_HOUR for lo, hi in hours(short))
