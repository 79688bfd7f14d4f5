"""Clock skew: found from the least latency, not from one glitch, and never guessed where it is absurd."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.importers.batch import clock_skew_ms
from schemas.errors import ArchiveError

MS = 1_000_000
Latencies = st.lists(st.integers(0, 500 * MS), min_size=20, max_size=200)


@given(Latencies, st.integers(0, 50_000))
def test_a_clock_behind_is_put_right_so_that_nothing_arrives_early(latencies: list[int], behind_ms: int) -> None:
    true = np.array([0, *([3 * MS] * 10), *latencies])  # some messages are always fast
    assert clock_skew_ms([true - behind_ms * MS]) == behind_ms


@given(Latencies)
def test_a_clock_that_is_right_or_ahead_is_left_alone(latencies: list[int]) -> None:
    assert clock_skew_ms([np.array(latencies)]) == 0


def test_one_glitch_sets_nothing() -> None:
    usual = np.full(1_000, -1_200 * MS)
    assert clock_skew_ms([np.append(usual, -40_000 * MS)]) == 1_200


def test_part_of_a_millisecond_is_rounded_up() -> None:
    assert clock_skew_ms([np.full(20, -MS // 2)]) == 1


def test_without_receive_times_there_is_no_skew() -> None:
    assert clock_skew_ms([]) == clock_skew_ms([np.empty(0, np.int64)]) == 0


def test_a_zone_misread_is_no_skew() -> None:
    with pytest.raises(ArchiveError, match="receive times lie 3,600 s before the events"):
        clock_skew_ms([np.full(20, -3_600_000 * MS)])
