"""Which rows a reader calls a run: only those that need neither sorting nor a search for doubles."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from replay.files import EVERYTHING, find_files
from replay.reading import RowReader
from schemas.base import NS_PER_MIN
from tests.replay.archives import BTC, DAY, ETH, Row, bar, table, trade

FIRST = [trade(BTC, number, DAY + number // 2) for number in range(4)]


@pytest.mark.parametrize(
    ("kind", "rows", "run"),
    [
        ("trades", FIRST, True),
        ("trades", [*FIRST, trade(BTC, 9, DAY + 9)], True),
        ("trades", [*FIRST, trade(ETH, 9, DAY + 9)], False),
        ("trades", [*FIRST, trade(BTC, 3, DAY + 9)], False),
        ("trades", [*FIRST, trade(BTC, 0, DAY + 9)], False),
        ("bars", [bar(BTC, 0), bar(BTC, 1)], True),
        ("bars", [bar(BTC, 0), bar(BTC, 1, interval_ns=5 * NS_PER_MIN)], False),
    ],
)
@pytest.mark.parametrize("groups", [1, 100])
def test_a_run_is_of_one_series_and_its_numbers_rise(
    kind: str, rows: list[Row], groups: int, run: bool, tmp_path: Path
) -> None:
    path = tmp_path / "own.parquet"
    pq.write_table(table(kind, rows), path, row_group_size=groups)
    files = find_files(path, *EVERYTHING[1:])
    (found,) = RowReader((ETH, BTC), EVERYTHING, lambda _file, _data: None).rows(files, 1000)
    assert len(found) == len(rows)
    assert found.run == ({"bars": (60 * 64 + 1) * 4, "trades": 1 * 4 + 1}[kind] if run else -1)


def test_what_a_reader_gives_may_be_written_to(tmp_path: Path) -> None:
    """So every frame has columns of one sort, and what takes frames is compiled for one."""
    pq.write_table(table("trades", FIRST), tmp_path / "own.parquet")
    files = find_files(tmp_path / "own.parquet", *EVERYTHING[1:])
    (found,) = RowReader((BTC,), EVERYTHING, lambda _file, _data: None).rows(files, 1000)
    columns = (found.kind, found.instrument, found.number, found.occurred_at, found.observed_at, found.values)
    assert all(column.flags.writeable and column.flags.c_contiguous for column in columns)
