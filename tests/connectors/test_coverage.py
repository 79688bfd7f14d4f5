from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.archive import NS_PER_HOUR, write
from connectors.coverage import CELL_HOURS, Covered, cells, coverage, rows_in, series_name, shares
from connectors.store import FolderStore
from schemas.base import NS_PER_DAY, NS_PER_MIN
from tests.replay.archives import BTC, DAY, archive, bar, table, trade, tweet


def covered(hours: dict[int, int], interval_ns: int = 0) -> Covered:
    rising = sorted(hours)
    kind = "bars" if interval_ns else "trades"
    return Covered(BTC, kind, interval_ns, np.array(rising), np.array([hours[hour] for hour in rising]))


HOURS = st.dictionaries(st.integers(400_000, 440_000), st.integers(1, 60), min_size=1, max_size=30)


@given(st.lists(HOURS, min_size=1, max_size=3), st.integers(1, 200))
def test_no_row_is_lost_however_time_is_cut(found: list[dict[int, int]], most: int) -> None:
    series = [covered(hours) for hours in found]
    grid = cells(series, most)
    assert 1 <= grid.size <= most
    for hours, each in zip(found, series, strict=True):
        assert rows_in(each, grid).sum() == sum(hours.values())
        assert ((shares(each, grid) > 0) == (rows_in(each, grid) > 0)).all()
        assert shares(each, grid).max() <= 1.0


@given(st.integers(1, 100_000), st.integers(1, 300))
def test_cells_are_as_short_as_the_room_allows(span: int, most: int) -> None:
    grid = cells([covered({420_000: 1, 420_000 + span: 1})], most)
    shorter = [hours for hours in CELL_HOURS if hours < grid.hours]
    assert all((420_000 + span - 420_000 // each * each) // each + 1 > most for each in shorter)
    assert grid.first <= 420_000 < 420_000 + span < grid.first + grid.hours * grid.size


def test_a_bar_counts_where_it_opens_and_ticks_where_they_were_seen(tmp_path: Path) -> None:
    archive(
        tmp_path,
        bars=[bar(minute=minute) for minute in range(120) if minute != 70],
        trades=[trade(number=i, at=DAY + NS_PER_HOUR + i) for i in range(7)],
        tweets=[tweet("a", DAY)],
    )
    bars, ticks, tweets = sorted(
        coverage(FolderStore(tmp_path)), key=lambda each: ("bars", "trades", "tweets").index(each.kind)
    )
    hour = DAY // NS_PER_HOUR
    assert (bars.hours.tolist(), bars.rows.tolist()) == ([hour, hour + 1], [60, 59])
    assert (ticks.hours.tolist(), ticks.rows.tolist()) == ([hour + 1], [7])
    assert tweets.rows.tolist() == [1]
    assert shares(bars, cells([bars], 10)).tolist() == [1.0, 59 / 60]


def test_an_hour_that_two_sources_have_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", [bar(minute=minute) for minute in range(50)]), "one")
    write(tmp_path, "bars", table("bars", [bar(minute=minute) for minute in range(20, 90)]), "other")
    (found,) = coverage(FolderStore(tmp_path))
    assert found.rows.tolist() == [50, 30]


def test_no_bar_is_longer_than_a_cell() -> None:
    grid = cells([covered({420_000: 1, 420_024: 1}, NS_PER_DAY)], 100)
    assert grid.hours == 24


@pytest.mark.parametrize(
    ("interval_ns", "name"),
    [(NS_PER_MIN, "BTC bars 1m"), (15 * NS_PER_MIN, "BTC bars 15m"), (4 * NS_PER_HOUR, "BTC bars 4h"), (0, "BTC bars")],
)
def test_a_series_is_named_with_the_length_of_its_bars(interval_ns: int, name: str) -> None:
    assert series_name("BTC", "bars", interval_ns) == name
