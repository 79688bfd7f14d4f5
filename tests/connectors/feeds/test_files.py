"""Files that are followed: whole lines, rotation, truncation, and rows of every making."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.feeds.files import Files
from connectors.feeds.settings import FilesFeed
from connectors.feeds.tail import MAX_LINE_BYTES, Tail, record_of
from connectors.importers.settings import Settings
from connectors.tidy import said_hash
from schemas.base import NS_PER_S
from schemas.errors import FeedError
from schemas.texts import NewsPublished, TweetPosted
from tests.connectors.feeds.recorded_texts import START_NS
from tests.connectors.feeds.texts_told import Kept, failure, running, stood, until
from tests.connectors.importers.files import imported, rows, text_file

KEYS = {"BTC": ("bitcoin",), "ETH": ("ethereum",)}
NEWS: dict[str, Any] = {"source": "s", "key": "BTC"}


def row(title: str, second: float = 0, **others: Any) -> dict[str, Any]:
    return {"ts": START_NS // NS_PER_S + second, "title": title} | others


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def reached(told: int, sink: Kept, task: asyncio.Task[None]) -> None:
    await until(lambda: len(sink.told) >= told, task)


def followed(path: Path, *steps: Callable[[], int], told: int = 0, **settings: Any) -> Kept:
    """Run a feed through steps, each of which says how many events there are after it, and to the end."""

    async def run() -> Kept:
        sink = Kept()
        feed = Files("files", FilesFeed(path=str(path), **(NEWS | settings)))
        async with running(feed, sink) as task:
            for step in steps:
                await reached(step(), sink, task)
            await reached(told, sink, task)
            await asyncio.sleep(0.1)
        return sink

    return asyncio.run(run())


def titles(sink: Kept) -> list[str]:
    return [event.title for event in sink.told]


def test_what_is_there_and_what_comes_is_told_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    data = lines(row("a", 1), row("b", 2), row("c ☃", 3))
    path.write_bytes(data[:20])

    def all_by_bytes() -> int:
        for at in range(20, len(data) - 1):
            append(path, data[at : at + 1])
        return 2

    def the_end() -> int:
        append(path, b"\n")
        return 3

    sink = followed(path, all_by_bytes, the_end)
    assert titles(sink) == ["a", "b", "c ☃"]
    assert sink.refused == []


def test_a_row_is_the_event_that_an_import_makes_of_it(tmp_path: Path) -> None:
    records = [
        row("T1", 1, text="x\u0007y", url="https://e.org/1", source="Reuters"),
        row("T2", 2),
        row("T" * 3_000, 3, symbol="ETH"),
    ]
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(*records))
    told = followed(path, told=3).told
    imported(text_file(tmp_path / "n.jsonl.gz", lines(*records).decode()), Settings(kind="news", key="BTC", source="s"))
    archived = rows(tmp_path / "archive", "news")
    for event, each in zip(told, archived, strict=True):
        del each["observed_at"]
        assert {name: getattr(event, name) for name in each} == each
    assert told[1].id == said_hash("s", told[1].occurred_at, "T2")
    assert isinstance(told[0], NewsPublished)


def test_posts_and_their_symbols(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(
        b"\xef\xbb\xbfcreated_at;tweet_id;symbol;user;tweet;followers\r\n"
        b'2024-01-02 10:00:00;9;BTC;ann;"up; or\r\n""down""";12\r\n'
        b"2024-01-02 10:00:01;9;ETH;ann;again;12\r\n"
    )
    told = followed(path, told=2, tell="tweets", key="", source="").told
    assert [(event.id, event.key, event.author, event.followers) for event in told] == [
        ("9", "BTC", "ann", 12),
        ("9/ETH", "ETH", "ann", 12),
    ]
    assert isinstance(told[0], TweetPosted)
    assert told[0].text == 'up; or\r\n"down"'
    assert told[0].occurred_at == 1_704_189_600 * NS_PER_S


def test_rows_may_be_told_by_their_words(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(row("Bitcoin and Ethereum", id="7"), row("Lunch"), row("Ethereum", 1)))
    sink = followed(path, told=3, keys=KEYS, key="")
    assert [(event.key, event.title) for event in sink.told] == [
        ("BTC", "Bitcoin and Ethereum"),
        ("ETH", "Bitcoin and Ethereum"),
        ("ETH", "Ethereum"),
    ]
    assert sink.told[1].id == f"{sink.told[0].id}/ETH"
    assert sink.skipped == {"no key": 1}


def test_a_file_that_is_moved_away_is_read_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "news.jsonl"
    path.write_bytes(lines(row("a")))

    def rotate() -> int:
        append(path, lines(row("b", 1)))
        path.rename(folder / "news.jsonl.1")
        path.write_bytes(lines(row("c", 2)))
        return 3

    assert sorted(titles(followed(path, lambda: 1, rotate))) == ["a", "b", "c"]


def test_a_file_that_is_truncated_or_rewritten_is_read_anew_with_the_same_ids(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(row("a", 1), row("b", 2)))

    def truncate() -> int:
        os.truncate(path, 0)
        append(path, lines(row("c", 3)))
        return 3

    def rewrite() -> int:
        """Longer than it was, in the same place."""
        path.write_bytes(lines(row("a", 1), row("b", 2), row("d", 4)))
        return 6

    sink = followed(path, lambda: 2, truncate, rewrite)
    assert titles(sink) == ["a", "b", "c", "a", "b", "d"]
    assert sink.ids[3:5] == sink.ids[:2]
    assert len(set(sink.ids)) == 4


def test_what_is_rewritten_between_two_blocks_is_not_taken_for_growth(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(row("c", 3)))
    tail = Tail(path)
    blocks = tail.blocks()
    assert len(next(blocks)) == 1
    path.write_bytes(lines(row("a", 1), row("b", 2), row("d", 4)))
    assert list(blocks) == []
    assert tail.is_rewritten()
    assert [len(block) for block in tail.blocks()] == [3]
    tail.close()


def test_a_second_run_gives_the_same_ids_and_passes_over_what_is_long_told(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(row("old", -7_200), row("a", 1), row("b", 2)))
    first = followed(path, told=3)

    async def again() -> Kept:
        sink = Kept()
        feed = Files("files", FilesFeed(path=str(path), **NEWS))
        async with running(feed, sink, stood(NewsPublished, "BTC", START_NS)) as task:
            await until(lambda: len(sink.told) == 2, task)
            append(path, lines(row("late", -7_200)))  # what comes now is new, whenever it was
            await until(lambda: len(sink.told) == 3, task)
        return sink

    second = asyncio.run(again())
    assert second.ids[:2] == first.ids[1:]
    assert titles(second)[2] == "late"
    assert second.skipped == {"told before": 1}


def test_a_folder_is_followed_and_other_files_in_it_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(row("a")))
    (tmp_path / "notes.txt").write_bytes(lines(row("no")))

    def more() -> int:
        (tmp_path / "b.csv").write_bytes(b"ts,title\n2024-01-02,b\n")
        (tmp_path / "sub").mkdir()
        return 2

    def removed() -> int:
        (tmp_path / "a.jsonl").unlink()
        append(tmp_path / "b.csv", b"2024-01-03,c\n")
        return 3

    assert titles(followed(tmp_path, lambda: 1, more, removed)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{", "a line that is no JSON"),
        (b"7", "a line that is no JSON object"),
        (b"\xff\xfe", "a line that is no JSON"),
        (b"[" * 5_000, "a line that is no JSON"),
        (b'{"title": "t"}', "ts is missing or cannot be read"),
        (b'{"ts": 1704189600}', "title is missing or cannot be read"),
        (b'{"ts": "soon", "title": "t"}', "missing or cannot be read"),
        (b'{"ts": 1704189600, "title": null}', "title is missing"),
        (b'{"ts": 1704189600, "title": {"a": 1}}', "title is missing or cannot be read"),
        (b'{"ts": true, "title": "t"}', "ts is missing or cannot be read"),
    ],
)
def test_a_line_that_is_no_row_is_reported_with_its_place(tmp_path: Path, bad: bytes, why: str) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(row("a")) + bad + b"\n\n" + lines(row("b", 1)))
    sink = followed(path, told=2)
    assert titles(sink) == ["a", "b"]
    ((reason, _),) = sink.refused
    assert why in reason
    assert reason.startswith(f"{path}")
    assert ":2: " in reason


def test_rows_of_csv_that_do_not_fit_their_header_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes(b'ts,title\n2024-01-02,a\n2024-01-02\n2024-01-02,"b"c\n2024-01-02,\xff\n2024-01-02,d\n')
    sink = followed(path, told=2)
    assert titles(sink) == ["a", "d"]
    assert [reason.partition(": ")[2] for reason, _ in sink.refused] == [
        "a row of another number of fields than the 2 of the header",
        "a line that is no row of CSV",
        "a line that is not UTF-8",
    ]


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(lines(row("a"), row("x" * 3 * MAX_LINE_BYTES), row("b", 1)))
    sink = followed(path, told=2)
    assert titles(sink) == ["a", "b"]
    assert [reason.partition(": ")[2] for reason, _ in sink.refused] == ["a line of over 1,000,000 bytes"]


def test_a_quote_that_is_never_closed_does_not_stop_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes(b'ts,title\n2024-01-02,"a\n' + b"2024-01-02,b\n" * 90_000)
    tail = Tail(path)
    found = [line for block in tail.blocks() for line in block]
    tail.close()
    assert found[1][1] == b'2024-01-02,"a'
    assert len(found) == 90_002


def test_a_file_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    error = asyncio.run(failure(Files("files", FilesFeed(path=str(tmp_path / "none"), **NEWS))))
    assert "there is no such file or folder" in str(error)


def test_a_folder_that_is_removed_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()

    async def run() -> str:
        async with running(Files("files", FilesFeed(path=str(folder), **NEWS)), Kept()) as task:
            await asyncio.sleep(0.2)
            folder.rmdir()
            with pytest.raises(FeedError) as raised:
                await asyncio.wait_for(task, 10)
            return str(raised.value)

    assert str(folder) in asyncio.run(run())


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path) -> None:
    for n in range(501):
        (tmp_path / f"{n}.csv").touch()
    error = asyncio.run(failure(Files("files", FilesFeed(path=str(tmp_path), **NEWS))))
    assert "holds 501 files, 500 are followed at most" in str(error)


@given(st.lists(st.integers(1, 60), max_size=30), st.booleans())
def test_however_a_file_grows_its_rows_are_told_once(steps: list[int], is_csv: bool) -> None:
    """Bytes come by any steps, within characters and line ends too; what is told does not depend on them."""
    said = [f'Zür"ich, {n}\r\n☃' for n in range(9)]
    quoted = "".join('"{}"\r\n'.format(each.replace('"', '""')) for each in said)
    data = f"title\r\n{quoted}".encode() if is_csv else lines(*({"title": each} for each in said))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("n.csv" if is_csv else "n.jsonl")
        path.touch()
        tail, found, at = Tail(path), [], 0
        for step in [*steps, len(data)]:
            append(path, data[at : at + step])
            at += step
            for block in tail.blocks():
                found += [record_of(tail, text) for _, text in block if text is not None]
        tail.close()
    assert [record["title"] for record in found if record is not None] == said


def test_keys_and_key_together_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="name keys or key, not both"):
        msgspec.convert({"kind": "files", "path": "x", "key": "BTC", "keys": {"BTC": ["btc"]}}, FilesFeed)
