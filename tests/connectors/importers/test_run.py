"""A whole import: what lands in the archive, what a second import of the same file does, what bad input leaves."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.importers.report import Report
from connectors.importers.run import REPORTS, import_files
from connectors.importers.settings import Settings
from schemas.errors import ArchiveError
from tests.connectors.importers.files import (
    BARS,
    MINUTE,
    START,
    TICKS,
    TWEETS,
    bar_lines,
    contents,
    imported,
    rows,
    text_file,
)


def test_bars_close_one_interval_after_they_open(tmp_path: Path) -> None:
    (report,) = imported(text_file(tmp_path / "b.csv", bar_lines(0, 1, 2)), BARS)
    held = rows(tmp_path / "archive", "bars")
    assert [row["number"] for row in held] == [START, START + MINUTE, START + 2 * MINUTE]
    assert held[0] == {
        "key": "BTC/USD@test",
        "number": START,
        "occurred_at": START + MINUTE,
        "observed_at": START + MINUTE,
        "open": 10.0,
        "high": 12.0,
        "low": 9.0,
        "close": 11.0,
        "volume": 5.0,
        "interval_ns": MINUTE,
    }
    assert (report.rows_read, report.rows_kept, report.dropped) == (3, 3, {})


def test_the_report_is_kept_beside_the_archive(tmp_path: Path) -> None:
    (report,) = imported(text_file(tmp_path / "b.csv", bar_lines(0, 1, 5)), BARS)
    (kept,) = (tmp_path / "archive" / REPORTS).iterdir()
    assert msgspec.json.decode(kept.read_bytes(), type=Report) == report
    assert report.gaps is not None
    assert (report.gaps.holes, report.gaps.missing) == (1, 3)


@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=40, unique=True))
def test_the_same_file_imported_twice_counts_once(tmp_path_factory: pytest.TempPathFactory, minutes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("twice")
    settings = msgspec.structs.replace(BARS, interval_ns=MINUTE)
    path = text_file(folder / "b.csv", bar_lines(*minutes))
    imported(path, settings)
    once = contents(folder / "archive")
    imported(path, settings)
    assert contents(folder / "archive") == once
    assert [row["number"] for row in rows(folder / "archive", "bars")] == [
        START + at * MINUTE for at in sorted(minutes)
    ]


def test_a_longer_version_of_a_file_replaces_the_shorter(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1, 3_000))
    imported(path, BARS)
    text_file(path, bar_lines(0, 1, 2))
    (report,) = imported(path, BARS)
    assert [row["number"] for row in rows(tmp_path / "archive", "bars")] == [START, START + MINUTE, START + 2 * MINUTE]
    assert "replaces the import of an earlier version of this file (3 rows)" in report.notes
    assert len(list((tmp_path / "archive" / REPORTS).iterdir())) == 1


def test_a_narrower_second_import_leaves_no_day_of_the_first(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1, 3_000))
    settings = msgspec.structs.replace(BARS, interval_ns=MINUTE)
    imported(path, settings)
    (report,) = imported(path, msgspec.structs.replace(settings, end_ns=START + 10 * MINUTE))
    assert len(rows(tmp_path / "archive", "bars")) == 2
    assert (report.rows_outside, report.rows_kept, report.rows_dropped) == (1, 2, 0)


def test_two_instruments_of_one_file_stand_side_by_side(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1))
    imported(path, BARS)
    imported(path, msgspec.structs.replace(BARS, instrument="ETH/USD@test"))
    assert {row["key"] for row in rows(tmp_path / "archive", "bars")} == {"BTC/USD@test", "ETH/USD@test"}
    assert len(rows(tmp_path / "archive", "bars")) == 4


def test_a_dry_run_and_a_strict_one_with_a_bad_row_write_nothing(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1) + f"{START // 10**9 + 600},nan,12,9,11,5\n")
    (dry,) = imported(path, BARS, dry=True)
    (strict,) = imported(path, BARS, strict=True)
    assert dry.rows_dropped == strict.rows_dropped == 1
    assert not (tmp_path / "archive").exists()
    imported(text_file(tmp_path / "good.csv", bar_lines(0, 1)), BARS, strict=True)
    assert len(rows(tmp_path / "archive", "bars")) == 2


DAMAGED = {
    "empty.csv": b"",
    "empty.jsonl": b"",
    "empty.csv.gz": gzip.compress(b""),
    "empty.parquet": b"",
    "truncated.csv.gz": gzip.compress(bar_lines(*range(1_000)).encode())[:-500],
    "mangled.csv.gz": gzip.compress(bar_lines(*range(1_000)).encode())[:200] + b"\xff" * 200,
    "no.csv.gz": b"not gzipped",
    "no.parquet": b"PAR1 not parquet PAR1",
    "latin.csv": bar_lines(0, 1).encode() + b"\xe9\xe9\xe9,1,1,1,1,1\n",
    "other.csv": b"a,b\n1,2\n",
    "header.csv": b"ts,open,high,low,close,volume\n",
    "lines.jsonl": b"no json\nat all\n",
    "reserved.csv": b"#row,ts,open,high,low,close,volume\n1,1,1,1,1,1,1\n",
    "deep.jsonl": b"[" * 100_000 + b"\n",
    "epoch.csv": b"ts,open,high,low,close,volume\n1,1,1,1,1,1\n",
    "doubled.csv": b"ts,open,open,high,low,close,volume\n1,1,1,1,1,1,1\n",
    "20131007_trade.zip": b"PK not a zip",
    "some.zip": b"PK",
    "no_name": b"1,2,3",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_cannot_be_read_is_refused_in_one_printable_sentence_and_writes_nothing(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    root = tmp_path / "archive"
    with pytest.raises(ArchiveError) as caught:
        imported(path, BARS, root)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert not root.exists()


def test_a_missing_file_is_refused_before_the_others_are_read(tmp_path: Path) -> None:
    good = text_file(tmp_path / "b.csv", bar_lines(0, 1))
    with pytest.raises(ArchiveError, match="there is no such file"):
        list(import_files([good, tmp_path / "no.csv"], tmp_path / "archive", BARS))
    assert not (tmp_path / "archive").exists()


def test_a_damaged_report_of_the_archive_is_named_before_anything_is_written(tmp_path: Path) -> None:
    path = text_file(tmp_path / "b.csv", bar_lines(0, 1))
    folder = tmp_path / "archive" / REPORTS
    folder.mkdir(parents=True)
    (folder / "bars-0.json").write_text("{")
    with pytest.raises(ArchiveError, match=r"bars-0\.json: is no report"):
        imported(path, BARS)
    assert rows(tmp_path / "archive", "bars") == []


@pytest.mark.parametrize(
    ("settings", "changed", "told"),
    [
        (BARS, {"key": "BTC"}, "--key means nothing for bars"),
        (BARS, {"keep_suspicious": True}, "--keep-suspicious means nothing"),
        (TICKS, {"source": "x"}, "--source means nothing"),
        (TICKS, {"interval_ns": MINUTE}, "--interval means nothing"),
        (TWEETS, {"instrument": "A@b"}, "--instrument means nothing for tweets"),
        (BARS, {"instrument": ""}, r"--instrument \(none\)"),
        (BARS, {"instrument": "BTC"}, "name it SYMBOL@venue"),
        (BARS, {"tz": "Mars/Olympus"}, "no such zone"),
        (BARS, {"mapping": {"close": "Zu"}}, "has no such column; it has ts, open"),
        (BARS, {"mapping": {"bid": "open"}}, "bars have no such column; they have ts"),
        (BARS, {"time_unit": "iso"}, "not times"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(
    tmp_path: Path, settings: Settings, changed: dict[str, object], told: str
) -> None:
    lines = bar_lines(0, 1).replace("1500000000", "2017-07-14 02:40:00").replace("1500000060", "2017-07-14 02:41:00")
    path = text_file(tmp_path / "b.csv", lines)
    if "time_unit" in changed:
        path = text_file(tmp_path / "b.jsonl", '{"ts":1500000000,"open":1,"high":1,"low":1,"close":1,"volume":1}\n')
    with pytest.raises(ArchiveError, match=told):
        imported(path, msgspec.structs.replace(settings, **changed))
    assert not (tmp_path / "archive").exists()


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    trade = b'{"s":"B","t":1,"p":"1","q":"1","m":true,"T":1723161256361}'
    line = b'1723161256361176367 {"stream":"btcusdt@trade","data":%b}\n' % trade
    path = tmp_path / "r.raw"
    path.write_bytes(line)
    with pytest.raises(ArchiveError, match="holds trades, not bars; import them as ticks"):
        imported(path, BARS)
