from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.archive import SCHEMAS, discard, write
from connectors.store import FolderStore
from schemas.base import NS_PER_DAY, NS_PER_MIN
from schemas.errors import ArchiveError, StoreError
from tests.replay.archives import BTC, DAY, ETH, bar, table, trade, tweet


def written(root: Path, kind: str, rows: pa.Table, source: str) -> list[Path]:
    return [root / key for key in write(root, kind, rows, source)]


def listing(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.*"))}


def test_bars_lie_sorted_in_folders_of_their_utc_month(tmp_path: Path) -> None:
    last = bar(day=17, minute=1439)  # closes at midnight of 1 August, so it is that month's
    days = list(range(0, 17, 2)) + list(range(19, 33, 2))
    paths = written(tmp_path, "bars", table("bars", [last, *(bar(day=day) for day in reversed(days))]), "a")
    assert [path.parent.relative_to(tmp_path).as_posix() for path in paths] == [
        "bars/year=2017/month=07",
        "bars/year=2017/month=08",
    ]
    first, second = (pq.ParquetFile(path).read() for path in paths)
    assert first["number"].to_pylist() == [DAY + day * NS_PER_DAY for day in days if day < 18]
    assert second["number"].to_pylist()[:2] == [DAY + 17 * NS_PER_DAY + 1439 * NS_PER_MIN, DAY + 19 * NS_PER_DAY]
    assert first.schema.equals(SCHEMAS["bars"])


def test_bars_of_a_few_days_of_a_month_lie_in_folders_of_the_day(tmp_path: Path) -> None:
    rows = [bar(day=1, minute=5), bar(minute=1439), bar(minute=1), bar(), *(bar(day=day) for day in range(20, 25))]
    paths = written(tmp_path, "bars", table("bars", rows), "a")
    assert [path.parent.relative_to(tmp_path).as_posix() for path in paths] == [
        "bars/year=2017/month=07/day=14",
        "bars/year=2017/month=07/day=15",
        *(f"bars/year=2017/month=08/day={day:02}" for day in range(3, 8)),
    ]
    assert [pq.ParquetFile(path).read().num_rows for path in paths] == [2, 2, 1, 1, 1, 1, 1]


def test_texts_lie_in_folders_of_their_utc_day(tmp_path: Path) -> None:
    paths = written(tmp_path, "tweets", table("tweets", [tweet("b", DAY + NS_PER_DAY), tweet("a"), tweet("c")]), "a")
    assert [path.parent.relative_to(tmp_path).as_posix() for path in paths] == [
        "tweets/year=2017/month=07/day=14",
        "tweets/year=2017/month=07/day=15",
    ]


def test_ticks_lie_in_folders_of_their_hour(tmp_path: Path) -> None:
    rows = [trade(number=i, at=DAY + i * 30 * NS_PER_MIN) for i in range(4)]
    paths = written(tmp_path, "trades", table("trades", rows), "a")
    assert [str(path.parent.relative_to(tmp_path))[-15:] for path in paths] == [
        "/day=14/hour=00",
        "/day=14/hour=01",
    ]
    assert all(path.name.startswith("trades-") for path in paths)


def test_a_file_names_only_the_keys_it_holds(tmp_path: Path) -> None:
    paths = written(tmp_path, "bars", table("bars", [bar(BTC), bar(ETH, day=31)]), "a")
    assert [pq.ParquetFile(path).read()["key"].unique().to_pylist() for path in paths] == [[BTC], [ETH]]
    statistics = [pq.read_metadata(path).row_group(0).column(0).statistics for path in paths]
    assert [(each.min, each.max) for each in statistics] == [(BTC, BTC), (ETH, ETH)]


def encodings(path: Path) -> dict[str, tuple[bool, str]]:
    """Tell of each column whether it is a dictionary, and how it is compressed."""
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return {each.path_in_schema: (each.has_dictionary_page, each.compression) for each in columns}


def test_what_comes_again_is_stored_once_and_the_rest_is_compressed(tmp_path: Path) -> None:
    rows = [trade(BTC, i, DAY + i, price=100 + i % 20 / 10, size=i + 0.1) for i in range(100)]
    (path,) = written(tmp_path, "trades", table("trades", rows), "a")
    stored = encodings(path)
    assert stored["price"] == stored["key"] == stored["side"] == (True, "UNCOMPRESSED")
    assert stored["size"] == (False, "ZSTD")
    assert stored["observed_at"] == stored["occurred_at"] == stored["number"] == (False, "UNCOMPRESSED")
    group = pq.read_metadata(path).row_group(0)
    assert "DELTA_BINARY_PACKED" in group.column(1).encodings


@given(
    prices=st.lists(st.floats(allow_nan=False, width=64) | st.sampled_from((0.1, -0.0, 0.0)), min_size=1, max_size=40),
    again=st.integers(1, 6),
)
def test_every_bit_of_a_float_comes_back(
    prices: list[float], again: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [trade(BTC, i, DAY + i, price=price) for i, price in enumerate(prices * again)]
    (path,) = written(tmp_path_factory.mktemp("archive"), "trades", table("trades", rows), "a")
    found = pq.ParquetFile(path).read()["price"].to_numpy()
    assert found.tobytes() == np.array(prices * again).tobytes()


def test_the_same_source_twice_counts_once_and_another_is_added(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", [bar(), bar(minute=1)]), "a")
    before = listing(tmp_path)
    write(tmp_path, "bars", table("bars", [bar(), bar(minute=1)]), "a")
    assert listing(tmp_path) == before
    write(tmp_path, "bars", table("bars", [bar(ETH)]), "b")
    assert len(listing(tmp_path)) == 2


def test_what_a_source_no_longer_has_can_be_discarded(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", [bar(), bar(day=1)]), "a")
    write(tmp_path, "bars", table("bars", [bar()]), "b")
    kept = write(tmp_path, "bars", table("bars", [bar(day=1)]), "a")
    assert discard(tmp_path, "bars", "a", keep=kept) == 1
    assert len(listing(tmp_path)) == 2


def test_an_interrupt_leaves_no_part_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled: list[Path] = []

    def interrupted(_store: FolderStore, part: Path, _key: str, _data: bytes, *, synced: bool) -> None:
        part.parent.mkdir(parents=True)
        part.write_bytes(b"half a file")
        filled.append(part)
        if len(filled) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FolderStore, "_fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "bars", table("bars", [bar(day=31 * month) for month in range(4)]), "a")
    assert len(filled) == 2
    assert listing(tmp_path) == {}


def test_only_the_files_of_one_folder_can_be_discarded(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", [bar(), bar(day=31)]), "a")
    assert discard(tmp_path, "bars", "a", keep=[], within="year=2017/month=08/") == 1
    assert [path[:27] for path in listing(tmp_path)] == ["bars/year=2017/month=07/day"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table("bars", [bar()]).drop_columns(["volume", "low"]), "bars: column low, volume is missing"),
        (table("bars", [bar(close=100.0)]).set_column(4, "open", pa.array(["much"])), "is of the wrong type"),
        (table("bars", [bar()]).set_column(4, "open", pa.array([None], pa.float64())), "open has 1 missing"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(content: pa.Table, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=message):
        write(tmp_path, "bars", content, "a")
    assert listing(tmp_path) == {}


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    assert write(tmp_path, "tweets", table("tweets", []), "a") == []
    assert write(tmp_path, "tweets", table("tweets", [tweet("1")]), "a") != []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path, "bars", table("bars", [bar()]), "a")
