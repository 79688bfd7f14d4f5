from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.frame import BAR, QUOTE, TRADE
from connectors.archive import NS_PER_HOUR, SCHEMAS, write
from replay.sources import Archive, open_archive
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_S
from schemas.errors import ArchiveError
from tests.replay.archives import (
    BTC,
    DAY,
    ETH,
    Row,
    archive,
    bar,
    book,
    quote,
    sequence,
    table,
    trade,
)

KINDS = {BAR: "bars", TRADE: "trades", QUOTE: "quotes"}


@st.composite
def markets(draw: st.DrawFn) -> list[tuple[str, int, Row]]:
    """Draw rows of distinct ids, many at equal times, over three days: (kind, source, row)."""
    drawn: dict[tuple[Any, ...], tuple[str, int, Row]] = {}
    for number in range(draw(st.integers(1, 40))):
        key = draw(st.sampled_from((BTC, ETH)))
        at = DAY + draw(st.integers(0, 5)) * NS_PER_DAY // 2 + draw(st.integers(0, 2))
        kind = draw(st.sampled_from(("bars", "trades", "quotes")))
        source = draw(st.integers(0, 2))
        if kind == "trades":
            drawn[kind, key, number] = kind, source, trade(key, number, at)
        elif kind == "quotes":
            drawn[kind, key, number] = kind, source, quote(key, number, at)
        else:
            opened, span = draw(st.integers(0, 3)), draw(st.sampled_from((1, 60))) * NS_PER_S
            row = bar(key, number=opened, occurred_at=at, observed_at=at, interval_ns=span)
            drawn[kind, key, opened, span] = kind, source, row
    return list(drawn.values())


def expected(rows: list[tuple[str, int, Row]]) -> list[Row]:
    """Sort by the rule as the contract words it, row by row."""
    instruments = [BTC, ETH]
    found = []
    for kind, _, row in rows:
        key, number, occurred_at, observed_at, *values = row
        detail = values[5] if kind == "bars" else ["trades", "quotes"].index(kind)
        rank = 4 if kind == "bars" else 3
        code = next(code for code, name in KINDS.items() if name == kind)
        padded = (*map(float, values), *[0.0] * (6 - len(values)))
        place = (observed_at, rank, instruments.index(key), number, detail)
        found.append((place, (code, key, number, occurred_at, observed_at, *padded)))
    return [row for _, row in sorted(found)]


@given(rows=markets(), batch_rows=st.integers(1, 50), skip=st.integers(0, 45))
def test_the_order_is_total_whatever_the_sources_and_the_cuts(
    rows: list[tuple[str, int, Row]],
    batch_rows: int,
    skip: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("archive")
    for kind, name in sorted({(kind, name) for kind, name, _ in rows}):
        write(root, kind, table(kind, [row for k, n, row in rows if (k, n) == (kind, name)]), str(name))
    source = open_archive(root, book())
    whole = sequence(source)
    assert whole == expected(rows)
    assert sequence(source, batch_rows) == whole
    assert sequence(source, batch_rows, skip) == whole[skip:]
    assert source.dropped == 0


@pytest.mark.parametrize("read_rows", [5, 300])
def test_how_much_is_read_at_a_time_changes_nothing(
    read_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(
        tmp_path,
        bars=[bar(key, minute, 100 + minute % 7) for key in (ETH, BTC) for minute in range(1000)],
        trades=[trade(BTC, i, DAY + i // 50 * NS_PER_MIN) for i in range(2000)],
    )
    whole = sequence(open_archive(tmp_path, book()))
    assert len(whole) == 4000
    monkeypatch.setattr("replay.sources.LANES_ROWS", read_rows)
    monkeypatch.setattr("replay.sources.GROUP_BYTES", 1)
    monkeypatch.setattr("replay.files.READ_ROWS", read_rows)
    assert sequence(open_archive(tmp_path, book())) == whole


def test_frames_are_what_agents_take(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar(ETH, 1), bar(BTC, 1)], trades=[trade(ETH, 9, DAY, side=-1)])
    (frame,) = open_archive(tmp_path, book()).frames()
    assert frame.instruments == (BTC, ETH)
    assert frame.instrument.tolist() == [1, 0, 1]
    assert frame.id(0) == f"{ETH}/trade/9"
    assert frame.id(1) == f"{BTC}/bar60/{DAY + NS_PER_MIN}"
    assert frame.values.flags.c_contiguous
    assert frame.values.dtype == "float64"
    assert {frame.kind.dtype.name, frame.number.dtype.name, frame.observed_at.dtype.name} == {"int64"}


def test_only_the_books_instruments_are_read(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar(BTC, 0), bar(ETH, 0), bar(ETH, 1, close=float("nan"))])
    assert [row[1] for row in sequence(open_archive(tmp_path, book(BTC)))] == [BTC]


def test_an_archive_without_the_books_instruments_says_what_it_has(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar(BTC), bar(ETH)])
    with pytest.raises(ArchiveError, match=f"no row of XRP/USD@test .*it holds {BTC}, {ETH}"):
        open_archive(tmp_path, book("XRP/USD@test"))


def test_time_bounds_cut_rows_and_leave_other_hours_unread(tmp_path: Path) -> None:
    minutes = [60 * hour + minute for hour in range(4) for minute in (0, 40)]
    archive(tmp_path, trades=[trade(BTC, minute, DAY + minute * NS_PER_MIN) for minute in minutes])
    for hour in (0, 3):
        (path,) = tmp_path.glob(f"ticks/*/*/*/hour={hour:02}/*.parquet")
        path.write_bytes(b"not parquet")
    start, end = DAY + 100 * NS_PER_MIN, DAY + 160 * NS_PER_MIN
    source = open_archive(tmp_path, book(BTC), start, end)
    assert [row[4] for row in sequence(source)] == [start, end - 40 * NS_PER_MIN]
    assert source.span == (start, end)


def test_what_comes_later_is_not_read_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.sources.GROUP_BYTES", 1)
    archive(tmp_path, trades=[trade(BTC, hour, DAY + hour * NS_PER_HOUR) for hour in range(12)])
    *_, last = sorted(tmp_path.glob("ticks/**/*.parquet"))
    last.write_bytes(b"not parquet")
    frames = open_archive(tmp_path, book(BTC)).frames()
    assert [len(next(frames)) for _ in range(7)] == [1] * 7
    with pytest.raises(ArchiveError, match="cannot be read as parquet of trades"):
        list(frames)


def test_a_double_counts_once(tmp_path: Path) -> None:
    first = [trade(BTC, i, DAY + i) for i in range(10)]
    later = [trade(BTC, i, DAY + i, observed_at=DAY + i + 3) for i in range(5, 15)]
    write(tmp_path, "trades", table("trades", first), "a")
    write(tmp_path, "trades", table("trades", [*first[:3], *later]), "b")
    source = open_archive(tmp_path, book(BTC))
    for batch_rows in (1, 4, 100):
        rows = sequence(source, batch_rows)
        assert sorted(row[2] for row in rows) == list(range(15))
        assert [row[4] for row in rows if row[2] < 10] == [DAY + i for i in range(10)]
        assert source.dropped == 8


def test_two_rows_of_one_id_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "bars", table("bars", [bar(BTC, 3, close=100.0)]), "a")
    write(tmp_path, "bars", table("bars", [bar(BTC, 3, close=100.5)]), "b")
    with pytest.raises(ArchiveError, match=rf"two rows with the id {BTC}/bar60/\d+ differ"):
        sequence(open_archive(tmp_path, book(BTC)))


def test_bars_of_two_lengths_are_no_doubles(tmp_path: Path) -> None:
    long = bar(BTC, 0, occurred_at=DAY + 5 * NS_PER_MIN, observed_at=DAY + 5 * NS_PER_MIN)
    archive(tmp_path, bars=[*(bar(BTC, minute) for minute in range(5)), (*long[:-1], 5 * NS_PER_MIN)])
    rows = sequence(open_archive(tmp_path, book(BTC)))
    assert [row[-1] for row in rows[-2:]] == [5 * NS_PER_MIN, NS_PER_MIN]


BAD_ROWS: list[tuple[str, Row, str]] = [
    ("bars", bar(close=100.0, open=float("nan")), "open nan is not a price between 1e-18 and 1e12"),
    ("bars", bar(high=float("inf")), "high inf is not a price between 1e-18 and 1e12"),
    ("bars", bar(low=0.0), "low 0.0 is not a price between 1e-18 and 1e12"),
    ("bars", bar(volume=-1.0), "volume -1.0 is not a size between 0 and 1e18"),
    ("bars", bar(high=98.0), "high 98.0 is below low"),
    ("bars", bar(high=100.5, close=100.9), "close 100.9 lies outside low to high"),
    ("bars", bar(interval_ns=0), "interval_ns 0 is not above zero"),
    ("bars", bar(occurred_at=DAY + NS_PER_MIN * 2), r"observed_at \d+ lies more than 1 s before occurred_at"),
    ("trades", trade(price=-1.0), "price -1.0 is not a price between 1e-18 and 1e12"),
    ("trades", trade(size=0.0), "size 0.0 is not a size between 1e-18 and 1e18"),
    ("trades", trade(side=3), "side 3 is not 1, -1 or 0"),
    ("quotes", quote(bid=102.0), "bid 102.0 is above ask: a crossed quote"),
    ("quotes", quote(bid_size=float("nan")), "bid_size nan is not a size between 0 and 1e18"),
]


@pytest.mark.parametrize(("kind", "row", "message"), BAD_ROWS, ids=[message for _, _, message in BAD_ROWS])
def test_a_bad_row_is_named(kind: str, row: Row, message: str, tmp_path: Path) -> None:
    good = {"bars": bar(ETH), "trades": trade(ETH), "quotes": quote(ETH)}[kind]
    rows = [good, good, row]  # of equal time and number, so the writer leaves them in this order
    archive(tmp_path, **{kind: rows})
    with pytest.raises(ArchiveError, match=rf"{kind}-\w+\.parquet: row 3: {message}"):
        sequence(open_archive(tmp_path, book(BTC)))


def place(root: Path, content: pa.Table, name: str = "bars/year=2017/month=07/day=14/own.parquet") -> Path:
    """Put a file into an archive past the writer, which would sort it."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, root / name)
    return root


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    place(tmp_path, table("bars", [bar(BTC, 5), bar(BTC, 3)]))
    with pytest.raises(ArchiveError, match=r"own\.parquet: row 2: observed_at \d+ lies before that of the row"):
        sequence(open_archive(tmp_path, book(BTC)))


def test_rows_of_another_day_are_refused(tmp_path: Path) -> None:
    place(tmp_path, table("bars", [bar(BTC, 5), bar(BTC, 5, day=1)]))
    with pytest.raises(ArchiveError, match=r"row 2: observed_at \d+ lies outside the times of the folder"):
        sequence(open_archive(tmp_path, book(BTC)))


def test_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    content = table("bars", [bar(BTC, 5)])
    times = content["observed_at"].cast(pa.timestamp("ns")).cast(pa.timestamp("ms"))
    place(tmp_path, content.set_column(3, "observed_at", times))
    with pytest.raises(ArchiveError, match=r"observed_at is timestamp\[ms\], where an archive holds int64"):
        sequence(open_archive(tmp_path, book(BTC)))


def test_a_missing_column_and_a_missing_value_are_named(tmp_path: Path) -> None:
    content = table("bars", [bar(BTC, 5), bar(BTC, 6)])
    place(tmp_path / "a", content.drop_columns(["volume"]))
    with pytest.raises(ArchiveError, match="column volume is missing"):
        sequence(open_archive(tmp_path / "a", book(BTC)))
    place(tmp_path / "b", content.set_column(7, "close", pa.array([100.0, None])))
    with pytest.raises(ArchiveError, match="row 2: close is missing"):
        sequence(open_archive(tmp_path / "b", book(BTC)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bars/notes.txt", "an archive holds Parquet, CSV or JSON lines"),
        ("ticks/own.parquet", "is named trades-… or quotes-…"),
        ("bars/month=07/own.parquet", "is not a folder of a year, month, day or hour"),
        ("bars/year=2017/month=13/own.parquet", "is not a folder of a year, month, day or hour"),
        ("prices/own.parquet", "holds none of the folders of an archive"),
    ],
)
def test_what_does_not_belong_in_an_archive_is_refused(name: str, message: str, tmp_path: Path) -> None:
    place(tmp_path, table("bars", [bar(BTC)]), name)
    with pytest.raises(ArchiveError, match=message):
        open_archive(tmp_path, book(BTC))


def test_there_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such archive; `quorum import` makes one"):
        open_archive(tmp_path / "none", book(BTC))


@pytest.mark.parametrize("name", ["own.parquet", "own.csv", "own.csv.gz", "own.jsonl", "own.jsonl.gz"])
@pytest.mark.parametrize("folder", ["", "bars/", "bars/year=2017/"])
def test_every_format_gives_the_same_rows(name: str, folder: str, tmp_path: Path) -> None:
    rows = [bar(BTC, minute, 100.1 + minute) for minute in range(5)]
    content = table("bars", rows)
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in name:
        pq.write_table(content, path)
    else:
        text = as_csv(content) if ".csv" in name else as_json_lines(content)
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    source = open_archive(tmp_path if folder else path, book(BTC))
    assert sequence(source) == expected([("bars", 0, row) for row in rows])
    assert source.span == (DAY + NS_PER_MIN, DAY + 5 * NS_PER_MIN)


def as_csv(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(content, sink)
    return bytes(sink.getvalue())


def as_json_lines(content: pa.Table) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in content.to_pylist())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", b"", "has the columns"),
        ("a.csv", b"time,price\n1,2\n", "has the columns time, price, which are not those of an archive"),
        ("a.jsonl", b"{]\n", "cannot be read as jsonl"),
        ("a.jsonl.gz", b"not gzip", "cannot be read as jsonl"),
        ("a.parquet", b"PAR1", "cannot be read as parquet"),
        ("a.xlsx", b"", "an archive holds Parquet, CSV or JSON lines"),
    ],
)
def test_a_lone_file_of_another_sort_is_refused(name: str, text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ArchiveError, match=message):
        open_archive(tmp_path / name, book(BTC))


def test_a_value_of_the_wrong_type_in_a_csv_is_named(tmp_path: Path) -> None:
    text = as_csv(table("bars", [bar(BTC, 0)])).replace(b",99,", b",cheap,")
    assert b"cheap" in text
    (tmp_path / "own.csv").write_bytes(text)
    with pytest.raises(ArchiveError, match=r"own\.csv: cannot be read as csv of bars: .*'cheap'"):
        open_archive(tmp_path / "own.csv", book(BTC))


def test_inputs_are_described_by_what_they_hold(tmp_path: Path) -> None:
    rows = {"bars": [bar(BTC, 0), bar(BTC, 1, day=31)], "trades": [trade(BTC)]}
    one, two = (open_archive(archive(tmp_path / name, **rows), book(BTC)) for name in "ab")
    assert [(each.kind, each.files) for each in one.inputs()] == [("bars", 2), ("trades", 1)]
    read = open_archive(tmp_path / "a", book(BTC))
    sequence(read)
    assert read.inputs() == one.inputs()
    assert [each.sha256 for each in one.inputs()] == [each.sha256 for each in two.inputs()]
    archive(tmp_path / "b", bars=[bar(BTC, 0, close=100.5)])
    assert one.inputs()[0].sha256 != open_archive(tmp_path / "b", book(BTC)).inputs()[0].sha256


def test_schemas_name_every_value_of_a_frame(tmp_path: Path) -> None:
    archive(tmp_path, quotes=[quote(BTC, 4, DAY, bid=99.5)])
    source: Archive = open_archive(tmp_path, book(BTC))
    assert sequence(source) == [(QUOTE, BTC, 4, DAY, DAY, 99.5, 101.0, 1.0, 2.0, 0.0, 0.0)]
    assert SCHEMAS["quotes"].names[4:] == ["bid", "ask", "bid_size", "ask_size"]
