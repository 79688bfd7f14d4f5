"""Files taken apart: every line is a row or is counted, and each row knows where it stood."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.importers.raw import ROW, read_raw
from connectors.importers.report import Report
from tests.connectors.importers.files import text_file


def read(path: Path, *columns: str) -> tuple[pa.Table, Report]:
    report = Report(source=path.name, path=path.name, source_sha256="", kind="bars")
    return read_raw(path, columns, report, lambda _: None), report


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    csv, _ = read(text_file(tmp_path / "a.csv", "\ufeffts,open\r\n1,2\r\n"))
    assert csv.to_pylist() == [{"ts": "1", "open": "2", ROW: 1}]
    bare, _ = read(text_file(tmp_path / "b.csv", "\ufeff1,2\n"), "ts", "open")
    assert bare.to_pylist() == [{"ts": "1", "open": "2", ROW: 1}]
    lines, _ = read(text_file(tmp_path / "a.jsonl", '\ufeff{"ts":1}\n'))
    assert lines.to_pylist() == [{"ts": 1, ROW: 1}]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_quotes_are_found(tmp_path: Path, separator: str) -> None:
    content = f'ts{separator}"the {"," if separator != "," else ""} text"\n1{separator}"two\nlines {separator} ""x"""\n'
    table, _ = read(text_file(tmp_path / "a.csv", content))
    assert table.num_rows == 1
    assert table[1].to_pylist() == [f'two\nlines {separator} "x"']


def test_rows_of_another_length_are_counted_and_the_others_keep_their_place(tmp_path: Path) -> None:
    table, report = read(text_file(tmp_path / "a.csv", "a,b\n1,1\n2\n3,3\n4,4,4\n5,5\n"))
    assert (table["a"].to_pylist(), table[ROW].to_pylist()) == (["1", "3", "5"], [1, 3, 5])
    (dropped,) = report.dropped.values()
    assert (dropped.rows, dropped.example) == (2, "row 2: 2")
    table, report = read(text_file(tmp_path / "b.csv", "1,1\n2\n3,3\n"), "a", "b")
    assert table[ROW].to_pylist() == [1, 3]
    assert next(iter(report.dropped.values())).example == "row 2: 2"


def test_words_for_nothing_are_texts_like_others(tmp_path: Path) -> None:
    table, _ = read(text_file(tmp_path / "a.csv", "text\nnull\nNone\nnan\n"))
    assert table["text"].to_pylist() == ["null", "None", "nan"]


@pytest.mark.parametrize(
    "content",
    [
        '{"a":1}\n\n{"a":2}\n',
        '[{"a":1},{"a":2}]',
        '[\n {"a":1},\n {"a":2}\n]\n',
        '[{"a":1},\n{"a":2}]',
    ],
)
def test_json_comes_as_lines_or_as_one_array(tmp_path: Path, content: str) -> None:
    table, report = read(text_file(tmp_path / "a.json", content))
    assert table["a"].to_pylist() == [1, 2]
    assert report.dropped == {}


@pytest.mark.parametrize("content", ["[1,2]\n[3,4]\n", "[[1,2],[3,4]]", "[[1,2],\n[3,4]]"])
def test_arrays_take_their_names_from_the_option(tmp_path: Path, content: str) -> None:
    table, _ = read(text_file(tmp_path / "a.json.gz" if "]\n[" in content else tmp_path / "a.json", content), "a", "b")
    assert table.select(["a", "b"]).to_pylist() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_lines_that_are_no_json_are_counted_with_a_printable_example(tmp_path: Path) -> None:
    table, report = read(text_file(tmp_path / "a.jsonl", b'{"a":1}\n\x1b[2J\xff\xe2\x80\xae\n7\n{"a":"x","a":2}\n'))
    assert table["a"].to_pylist() == [1, 2]
    assert {reason: dropped.rows for reason, dropped in report.dropped.items()} == {
        "a line that is no JSON": 1,
        "a line that is no JSON object": 1,
    }
    assert report.dropped["a line that is no JSON"].example == "row 2: \\x1b[2J\ufffd\\u202e"


def test_lines_may_end_as_on_old_machines(tmp_path: Path) -> None:
    table, _ = read(text_file(tmp_path / "a.csv", "a,b\r1,2\r3,4\r"))
    assert table["b"].to_pylist() == ["2", "4"]


def test_columns_of_mixed_types_become_text(tmp_path: Path) -> None:
    table, _ = read(text_file(tmp_path / "a.jsonl", '{"a":1}\n{"a":"x"}\n{"b":[1,{}]}\n'))
    assert table["a"].to_pylist() == ["1", "x", None]


def test_parquet_reads_gzipped_and_with_dictionaries(tmp_path: Path) -> None:
    table = pa.table({"side": pa.array(["buy", "sell", "buy"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    text_file(tmp_path / "b.parquet.gz", (tmp_path / "a.parquet").read_bytes())
    for name in ("a.parquet", "b.parquet.gz"):
        found, _ = read(tmp_path / name)
        assert found["side"].to_pylist() == ["buy", "sell", "buy"]
        assert found[ROW].to_pylist() == [1, 2, 3]


def test_what_was_read_of_the_file_on_disk_is_told(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.csv.gz", "a,b\n" + "1,2\n" * 10_000)
    counts: list[int] = []
    read_raw(path, (), Report(source="", path="", source_sha256="", kind="bars"), counts.append)
    assert sum(counts) == path.stat().st_size
