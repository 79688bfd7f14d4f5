"""However streams are cut into batches, the merge gives one sequence, and doubles are found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.frame import TRADE
from replay.merge import Doubles, Stream, merge
from replay.rows import Rows, series_code
from tests.replay.archives import BTC, ETH

Tick = tuple[int, int, int]
"""Time, instrument, number; a tick of equal instrument and number is the same tick."""
TICKS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 12)), min_size=1, max_size=30)


def rows(ticks: Sequence[Tick]) -> Rows:
    """Give ticks as a source gives them: a run where they are one."""
    times, instruments, numbers = (np.array(column, np.int64) for column in zip(*ticks, strict=True))
    n = len(ticks)
    one = len(set(instruments.tolist())) == 1 and (np.diff(numbers) > 0).all()
    run = series_code(TRADE, int(instruments[0]), 0) if one else -1
    values = np.zeros((n, 6))
    values[:, 0] = numbers + 1.0
    return Rows(np.full(n, TRADE), instruments, numbers, times, times, values, run)


def stream(ticks: Sequence[Tick], cuts: set[int]) -> Stream:
    """Give ticks in order of their times alone, in batches that end at the cuts."""
    ordered = sorted(ticks, key=lambda tick: tick[0])
    edges = [0, *sorted(cut for cut in cuts if cut < len(ordered)), len(ordered)]
    batches = [ordered[lo:hi] for lo, hi in pairwise(edges)]
    return Stream(ordered[0][0], (rows(batch) for batch in batches if batch))


def merged(streams: Sequence[Stream]) -> Iterator[Tick]:
    for part in merge(streams):
        yield from zip(part.observed_at.tolist(), part.instrument.tolist(), part.number.tolist(), strict=True)


@given(sources=st.lists(TICKS, min_size=1, max_size=3), cuts=st.sets(st.integers(1, 29)))
def test_the_merge_sorts_by_time_then_instrument_then_number(sources: list[list[Tick]], cuts: set[int]) -> None:
    found = list(merged([stream(ticks, cuts) for ticks in sources]))
    assert found == sorted(tick for ticks in sources for tick in ticks)


def test_a_number_that_falls_back_within_one_time_is_sorted_across_batches() -> None:
    """Each batch is a run, and the third would follow the first, were the second not between them."""
    ticks = [(0, 0, 1), (1, 0, 10), (1, 0, 5), (1, 0, 20), (1, 0, 11), (1, 0, 12), (2, 0, 30)]
    assert list(merged([stream(ticks, {2, 4, 6})])) == sorted(ticks)


def test_batches_of_one_stream_are_passed_on_as_they_were_read() -> None:
    batches = [rows([(time, 0, 10 * time + i) for i in range(3)]) for time in (1, 2, 2, 3)]
    for first, second in ((1, 2), (2, 3)):
        batches[second] = rows([(batches[second].observed_at[0], 0, 100 * second + i) for i in range(3)])
        assert batches[first].number[-1] < batches[second].number[0]
    passed = list(merge([Stream(0, iter(batches))]))
    assert len(passed) == len(batches)
    assert all(np.shares_memory(one.values, other.values) for one, other in zip(passed, batches, strict=True))


@given(sources=st.lists(TICKS, min_size=1, max_size=3), cuts=st.sets(st.integers(1, 29)))
def test_of_ticks_that_are_the_same_the_first_stays(sources: list[list[Tick]], cuts: set[int]) -> None:
    timeless = [[(time, instrument, number) for time, instrument, number in ticks] for ticks in sources]
    doubles = Doubles((BTC, ETH))
    found = []
    for part in merge([stream(ticks, cuts) for ticks in timeless]):
        part.occurred_at[:] = 0  # observed at several times, but one event
        kept = doubles.distinct(part)
        found += list(zip(kept.instrument.tolist(), kept.number.tolist(), strict=True))
    expected = dict.fromkeys(
        (instrument, number) for _, instrument, number in sorted(tick for ticks in timeless for tick in ticks)
    )
    assert found == list(expected)
    assert doubles.dropped == sum(len(ticks) for ticks in timeless) - len(expected)
