"""The gap finder against what was taken out."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.importers.measures import GapCounter, gaps
from connectors.importers.report import utc
from schemas.base import NS_PER_MIN

COUNT = 60


@given(
    out=st.sets(st.integers(0, COUNT - 1), max_size=40),
    cuts=st.lists(st.integers(0, COUNT), max_size=4),
    random=st.randoms(use_true_random=False),
)
def test_what_was_taken_out_is_found_however_the_rest_is_cut(out: set[int], cuts: list[int], random: object) -> None:
    counter = GapCounter("minutes")
    counter.expect(0, 0)
    borders = sorted({0, *cuts, COUNT})
    for lo, hi in pairwise(borders):
        part = np.array([number for number in range(lo, hi) if number not in out], np.int64)
        random.shuffle(part)  # type: ignore[attr-defined]
        counter.add(part, part * NS_PER_MIN)
    counter.end(COUNT)
    found = counter.gaps()
    runs = [len(list(run)) for missing, run in groupby(range(COUNT), lambda number: number in out) if missing]
    assert (found.holes, found.missing, found.longest) == (len(runs), len(out), max(runs, default=0))


def test_the_longest_hole_is_named_by_what_was_last_seen_before_it() -> None:
    numbers = np.array([1, 2, 5, 9], np.int64)
    assert gaps(numbers, numbers * NS_PER_MIN, "ids").longest_at == utc(5 * NS_PER_MIN)
