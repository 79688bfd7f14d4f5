"""What of an archive is touched: files by their folders, row groups by what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.archive import NS_PER_HOUR, write
from replay import files as files_module
from replay.rowgroups import Wanted, groups, zones
from replay.sources import open_archive
from schemas.base import NS_PER_MIN
from schemas.errors import ArchiveError
from tests.replay.archives import BTC, DAY, ETH, Row, bar, book, sequence, table, trade

GROUP_ROWS = 10


class Touched:
    """What was opened, and how many row groups were decoded."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.footers: list[Path] = []
        self.groups = 0


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> Touched:
    seen = Touched()

    class Counted(pq.ParquetFile):  # type: ignore[misc]
        def __init__(self, content: object, **options: object) -> None:
            super().__init__(content, **options)
            seen.read.append(content)

        def read_row_groups(self, places: list[int], **options: object) -> pa.Table:
            seen.groups += len(places)
            return super().read_row_groups(places, **options)

        def iter_batches(self, rows: int, row_groups: list[int], **options: object) -> Iterator[pa.RecordBatch]:
            seen.groups += len(row_groups)
            return iter(super().iter_batches(rows, row_groups=row_groups, **options))

    def footer(path: Path) -> pq.FileMetaData:
        seen.footers.append(path)
        return metadata(path)

    metadata = pq.read_metadata
    monkeypatch.setattr(pq, "ParquetFile", Counted)
    monkeypatch.setattr(pq, "read_metadata", footer)
    return seen


def in_groups(path: Path, rows: list[Row], group_rows: int = GROUP_ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table("bars", rows), path, row_group_size=group_rows)
    return path


def two_hours_of(root: Path, hours: int) -> list[Row]:
    """Ask an archive of so many hours for its second and third one."""
    trades = [
        trade(BTC, 4 * hour + i, DAY + (4 * hour + i) * NS_PER_HOUR // 4) for hour in range(hours) for i in range(4)
    ]
    write(root, "trades", table("trades", trades), "a")
    return sequence(open_archive(root, book(BTC), DAY + NS_PER_HOUR, DAY + 3 * NS_PER_HOUR))


def test_two_hours_cost_the_same_whatever_the_archive_holds_besides(tmp_path: Path, touched: Touched) -> None:
    short = two_hours_of(tmp_path / "short", hours=4)
    in_short = len(touched.read), len(touched.footers), touched.groups
    assert in_short[0] == in_short[2] == 2
    assert two_hours_of(tmp_path / "long", hours=80) == short
    assert (len(touched.read), len(touched.footers), touched.groups) == tuple(2 * count for count in in_short)


def test_row_groups_outside_the_time_asked_for_are_not_decoded(tmp_path: Path, touched: Touched) -> None:
    rows = [bar(BTC, minute) for minute in range(100)]
    path = in_groups(tmp_path / "own.parquet", rows)
    start, end = DAY + 36 * NS_PER_MIN, DAY + 52 * NS_PER_MIN
    found = sequence(open_archive(path, book(BTC), start, end))
    assert [row[4] for row in found] == [row[3] for row in rows if start <= row[3] < end]
    assert touched.groups == 3


def test_row_groups_of_other_instruments_are_not_decoded(tmp_path: Path, touched: Touched) -> None:
    keys = [ETH] * 25 + [BTC] * 13 + [ETH] * 12  # so group 2 and 3 hold both
    path = in_groups(tmp_path / "own.parquet", [bar(key, minute) for minute, key in enumerate(keys)])
    metadata = pq.read_metadata(path)
    assert zones(metadata, "key") == [(ETH, ETH), (ETH, ETH), (BTC, ETH), (BTC, ETH), (ETH, ETH)]
    found = groups(metadata, Wanted(frozenset({BTC}), 0, 2**63 - 1))
    assert [(group.place, group.row, group.key) for group in found] == [(2, 20, None), (3, 30, None)]
    found = groups(metadata, Wanted(frozenset({BTC, ETH}), 0, 2**63 - 1))
    assert [group.key for group in found] == [ETH, ETH, None, None, ETH]
    for instrument in (BTC, ETH):
        source = open_archive(path, book(instrument))
        touched.groups = 0
        assert [row[2] for row in sequence(source)] == [
            bar(minute=minute)[1] for minute, key in enumerate(keys) if key == instrument
        ]
        assert touched.groups == (2 if instrument == BTC else 5)


@pytest.mark.parametrize("small", [True, False])
def test_a_file_of_other_instruments_is_not_read(
    small: bool, tmp_path: Path, touched: Touched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one is in memory as soon as its footer was looked at."""
    monkeypatch.setattr(files_module, "FOOTER_BYTES", 10**6 if small else 100)
    for key in (BTC, ETH):
        write(tmp_path, "bars", table("bars", [bar(key, minute) for minute in range(30)]), key)
    source = open_archive(tmp_path, book(BTC))
    touched.read.clear()
    touched.groups = 0
    before = source.inputs()
    assert len(sequence(source)) == 30
    assert (len(touched.read), touched.groups) == (2 if small else 1, 1)
    assert source.inputs() == before
    assert before[0].files == len(touched.read)


def test_a_bad_row_behind_row_groups_that_were_passed_over_is_named(tmp_path: Path) -> None:
    rows = [bar(BTC, minute) for minute in range(40)]
    rows[33] = bar(BTC, 33, volume=-1.0)
    path = in_groups(tmp_path / "own.parquet", rows)
    with pytest.raises(ArchiveError, match=r"row 34: volume -1\.0 is not"):
        sequence(open_archive(path, book(BTC), DAY + 25 * NS_PER_MIN))
    rows[2:30] = [bar(ETH, minute) for minute in range(2, 30)]
    path = in_groups(tmp_path / "own.parquet", rows)
    with pytest.raises(ArchiveError, match=r"row 34: volume -1\.0 is not"):
        sequence(open_archive(path, book(BTC)))


def test_a_group_with_a_missing_name_is_read_and_refused(tmp_path: Path) -> None:
    """Its least and greatest key are one, and yet not all rows have it."""
    content = table("bars", [bar(BTC, minute) for minute in range(3)])
    content = content.set_column(0, "key", pa.array([BTC, None, BTC]))
    pq.write_table(content, tmp_path / "own.parquet")
    assert zones(pq.read_metadata(tmp_path / "own.parquet"), "key") == [None]
    with pytest.raises(ArchiveError, match="row 2: key is missing"):
        sequence(open_archive(tmp_path / "own.parquet", book(BTC)))


def test_a_file_without_statistics_is_read_whole(tmp_path: Path, touched: Touched) -> None:
    rows = [bar(BTC, minute) for minute in range(50)]
    path = tmp_path / "own.parquet"
    pq.write_table(table("bars", rows), path, row_group_size=GROUP_ROWS, write_statistics=False)
    source = open_archive(path, book(BTC), DAY + 5 * NS_PER_MIN, DAY + 9 * NS_PER_MIN)
    touched.groups = 0
    assert len(sequence(source)) == 4
    assert touched.groups == 5


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars" / "year=2017" / "own.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table("bars", [bar(BTC)]).drop_columns(["key"]), path)
    with pytest.raises(ArchiveError, match=r"own\.parquet: column key is missing"):
        open_archive(tmp_path, book(BTC))
