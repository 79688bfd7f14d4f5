"""Foreign values: each reads exactly or is null, and a bad one spoils none of the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.importers.settings import TimeUnit
from connectors.importers.values import booleans, floats, integers, sides, strings, times
from schemas.errors import ArchiveError

NS = 1_723_161_256_361_176_367
"""A float does not hold it: the next ones are 256 apart."""


def column(*values: Any, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def test_numbers_read_from_text_or_are_null() -> None:
    read = floats(column(" 1.5 ", "1e-3", "-.5", "+2.", "", "0x10", "1,5", "1_000", "inf", None)).to_pylist()
    assert read == [1.5, 0.001, -0.5, 2.0, None, None, None, None, None, None]
    assert floats(column(True, False)).to_pylist() == [None, None]


def test_nan_stays_what_it_is_for_the_rules_to_refuse() -> None:
    (read,) = floats(column("NaN")).to_pylist()
    assert read != read  # noqa: PLR0124


def test_integers_are_exact_and_never_rounded() -> None:
    assert integers(column(str(NS), "1.5", "-7", "9" * 19)).to_pylist() == [NS, None, -7, None]
    assert integers(column(2.0, 2.5)).to_pylist() == [2, None]


@pytest.mark.parametrize(
    ("said", "side"),
    [("buy", 1), ("B", 1), (" SELL", -1), ("s", -1), ("1", 1), ("-1", -1), ("", 0), ("up", 0), (None, 0)],
)
def test_sides(said: str | None, side: int) -> None:
    assert sides(column(said, kind=pa.string())).to_pylist() == [side]


def test_booleans_and_strings() -> None:
    assert booleans(column("True", "1", "no", None)).to_pylist() == [True, True, False, False]
    assert strings(column(1, None)).to_pylist() == ["1", None]


@pytest.mark.parametrize(("unit", "scale"), [("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)])
def test_the_unit_of_times_shows_by_itself(unit: TimeUnit, scale: int) -> None:
    counts = [NS // scale, NS // scale + 1]
    for values in (column(*counts), column(*map(str, counts))):
        for said in (unit, "auto"):
            assert times(values, said, "").to_pylist() == [count * scale for count in counts]


def test_one_bad_time_costs_the_others_no_digit() -> None:
    assert times(column(str(NS), "soon", "1.5", None), "auto", "").to_pylist()[:2] == [NS, None]
    read = times(column("2024-08-08T23:54:16.361176367Z", "2024-02-30T00:00:00Z", "never"), "auto", "").to_pylist()
    assert read == [NS, None, None]


def test_fractions_of_a_second_count() -> None:
    assert times(column("1500000000.25", "1500000001"), "auto", "").to_pylist() == [
        1_500_000_000_250_000_000,
        1_500_000_001 * 10**9,
    ]


def test_times_of_no_unit_are_refused() -> None:
    with pytest.raises(ArchiveError, match="say --time-unit"):
        times(column(7, 8), "auto", "")


def test_a_time_that_names_its_zone_ignores_ours() -> None:
    read = times(
        column("2013-10-07 04:00:00", "2013-10-07T04:00:00+02:00", "2013-10-07T04:00Z"), "auto", "America/New_York"
    )
    hours = [int(at) // 3_600_000_000_000 % 24 for at in read.to_pylist()]
    assert hours == [8, 2, 4]


def test_the_hour_that_comes_twice_is_the_earlier_and_the_one_that_never_comes_is_after() -> None:
    read = times(column("2013-11-03 01:30:00", "2013-03-10 02:30:00"), "auto", "America/New_York").to_pylist()
    assert [datetime.fromtimestamp(at / 1e9, UTC).strftime("%H:%M") for at in read] == ["05:30", "07:00"]


@given(st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001
def test_iso_times_read_to_the_microsecond(at: datetime) -> None:
    expected = (at - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1_000  # noqa: DTZ001
    for text in (at.isoformat(), at.isoformat(" ") + "Z", at.replace(tzinfo=UTC).isoformat()):
        assert times(column(text), "auto", "UTC").to_pylist() == [expected]


@given(st.lists(st.text() | st.integers().map(str) | st.floats().map(str), min_size=1))
def test_any_text_reads_or_is_null(values: list[str]) -> None:
    texts = column(*values, kind=pa.string())
    for read in (floats, integers, sides, booleans):
        assert len(read(texts)) == len(values)
    assert len(times(texts, "iso", "")) == len(times(texts, "ms", "")) == len(values)
