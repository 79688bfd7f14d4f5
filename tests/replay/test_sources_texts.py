from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from connectors.archive import write
from replay.sources import open_archive
from schemas.base import NS_PER_DAY, NS_PER_S, Event
from schemas.codec import encode
from schemas.control import BookPaused, BookResumed
from schemas.errors import ArchiveError
from schemas.texts import NewsPublished, TweetPosted
from tests.replay.archives import BTC, DAY, archive, bar, book, news, table, tweet


def ids(events: object) -> list[str]:
    assert hasattr(events, "__iter__")
    return [event.id for event in events]


def test_texts_come_as_events_in_the_total_order(tmp_path: Path) -> None:
    archive(
        tmp_path,
        bars=[bar()],
        tweets=[tweet("t3", DAY + 5), tweet("t9", DAY), tweet("t1", DAY, key="ETH"), tweet("t2", DAY)],
        news=[news("n1", DAY), news("n2", DAY + 5), news("n3", DAY - 1)],
    )
    write(tmp_path, "tweets", table("tweets", [tweet("t0", DAY + 5), tweet("t4", DAY + NS_PER_DAY)]), "more")
    events = list(open_archive(tmp_path, book()).texts())
    assert ids(events) == ["n3", "t2", "t9", "t1", "n1", "t0", "t3", "n2", "t4"]
    assert events[1] == TweetPosted(
        id="t2", key="BTC", occurred_at=DAY, observed_at=DAY, author="somebody", text="to the moon", followers=5
    )
    assert events[4] == NewsPublished(
        id="n1",
        key="BTC",
        occurred_at=DAY,
        observed_at=DAY,
        source="paper",
        title="A headline",
        url="https://example.com/1",
    )


def test_a_book_hears_the_keys_it_names(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar()], tweets=[tweet("1"), tweet("2", key="ETH"), tweet("3", key="AAPL")])
    assert ids(open_archive(tmp_path, book(texts=("ETH", "BTC"))).texts()) == ["1", "2"]


def test_texts_outside_the_time_asked_for_are_left_out(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar()], tweets=[tweet(str(i), DAY + i * NS_PER_S) for i in range(100, 200)])
    source = open_archive(tmp_path, book(), DAY, DAY + 103 * NS_PER_S)
    assert ids(source.texts()) == ["100", "101", "102"]


def test_an_id_counts_once(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar()], tweets=[tweet("1", DAY, text="first")])
    write(tmp_path, "tweets", table("tweets", [tweet("1", DAY + 7, text="again"), tweet("2")]), "other")
    texts = [event for event in open_archive(tmp_path, book()).texts() if isinstance(event, TweetPosted)]
    assert [(text.id, text.text) for text in texts] == [("1", "first"), ("2", "to the moon")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (tweet("1", text="  "), "row 1: TweetPosted.text .*is empty"),
        (tweet("", text="x"), "row 1: TweetPosted.id.* is empty"),
        (tweet("1", text="x" * 30_000), "row 1: TweetPosted.text .*over the limit"),
    ],
)
def test_a_text_that_cannot_be_is_named(row: tuple[object, ...], message: str, tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar()], tweets=[row])
    with pytest.raises(ArchiveError, match=message):
        list(open_archive(tmp_path, book()).texts())


def test_texts_out_of_order_are_refused(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar()])
    (tmp_path / "tweets").mkdir()
    pq.write_table(table("tweets", [tweet("1", DAY + 1), tweet("2", DAY)]), tmp_path / "tweets" / "a.parquet")
    with pytest.raises(ArchiveError, match=r"row 2: observed_at .* lies before that of the row above it"):
        list(open_archive(tmp_path, book()).texts())


def commands() -> list[Event]:
    def pause(id_: str, at: int, key: str = "test") -> Event:
        return BookPaused(id=id_, key=key, occurred_at=at, observed_at=at, operator="me")

    resume = BookResumed(id="r", key="test", occurred_at=DAY + 9, observed_at=DAY + 9, operator="me")
    return [pause("a", DAY), pause("other", DAY, key="other-book"), pause("b", DAY + 1), resume]


def test_commands_are_read_as_they_were_given(tmp_path: Path) -> None:
    rows = [(e.id, e.key, e.occurred_at, e.observed_at, encode(e)) for e in commands()]
    archive(tmp_path, bars=[bar()], control=rows)
    assert list(open_archive(tmp_path, book()).control()) == [e for e in commands() if e.id != "other"]


def test_commands_may_be_written_by_hand_one_event_a_line(tmp_path: Path) -> None:
    archive(tmp_path, bars=[bar()])
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "mine.jsonl").write_bytes(b"\n".join(map(encode, commands())))
    assert ids(open_archive(tmp_path, book()).control()) == ["a", "b", "r"]
    (tmp_path / "control" / "mine.jsonl").write_bytes(encode(commands()[0]) + b'\n{"type":"BookStopped"}\n')
    with pytest.raises(ArchiveError, match=r"mine\.jsonl: line 2: .*'BookStopped'"):
        list(open_archive(tmp_path, book()).control())


def test_texts_alone_are_no_market(tmp_path: Path) -> None:
    archive(tmp_path, tweets=[tweet("1")])
    with pytest.raises(ArchiveError, match=f"has no row of {BTC}, .*it holds no market data"):
        open_archive(tmp_path, book())
