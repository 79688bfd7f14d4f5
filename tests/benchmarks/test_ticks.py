"""The ticks that are measured are ticks as an archive holds them, and no encoding that is compared loses a bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import ticks
from benchmarks.ticks import BOOK, ENCODINGS, Encoding, as_imported, hours, stored
from connectors.archive import write
from connectors.columns import faults
from replay.sources import open_archive


def test_ticks_are_clean_in_order_and_of_their_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "HOUR_TICKS", 1_000)
    found = list(hours(2_500, seed=1))
    assert [hour.num_rows for hour in found] == [1_000, 1_000, 500]
    for hour in found:
        columns = {name: hour[name].to_numpy() for name in hour.column_names if name != "key"}
        assert list(faults("trades", columns)) == []
        assert (np.diff(columns["observed_at"]) >= 0).all()
        write(tmp_path, "trades", hour, "ticks")
    archive = open_archive(tmp_path, BOOK)
    numbers = np.concatenate([frame.number for frame in archive.frames()])
    assert numbers.tolist() == list(range(1, 2_501))
    assert len(archive.files) == 3
    assert pa.concat_tables(hours(2_500, seed=1)).equals(pa.concat_tables(found))
    assert not pa.concat_tables(hours(2_500, seed=2)).equals(pa.concat_tables(found))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=[encoding.name for encoding in ENCODINGS])
def test_every_encoding_gives_back_what_was_put_in(encoding: Encoding) -> None:
    table = next(hours(5_000, seed=1))
    written = io.BytesIO()
    pq.write_table(encoding.shaped(table), written, **encoding.options)
    found = pq.read_table(io.BytesIO(written.getvalue()), read_dictionary=["key"])
    assert found.equals(encoding.shaped(table))
    measured = stored(encoding, table)
    assert measured.bytes_a_tick == len(written.getvalue()) / 5_000


def test_prices_as_numbers_of_steps_are_exact_here() -> None:
    table = next(hours(5_000, seed=1))
    scaled = ticks._scaled(table)
    assert (scaled["price"].to_numpy() / 10).tobytes() == table["price"].to_numpy().tobytes()
    assert (scaled["size"].to_numpy() / 1000).tobytes() == table["size"].to_numpy().tobytes()


def test_what_the_importers_write_is_measured_by_its_files(tmp_path: Path) -> None:
    measured = as_imported(next(hours(5_000, seed=1)), tmp_path)
    (path,) = tmp_path.rglob("*.parquet")
    assert measured.bytes_a_tick == path.stat().st_size / 5_000
