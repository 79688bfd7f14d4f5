"""Tweets and news: who and what they are about, what is cut or taken out, and which id each gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.importers.report import Report
from connectors.importers.settings import Settings
from schemas.checks import check
from schemas.errors import ArchiveError
from schemas.fields import MAX_TEXT_CHARS
from schemas.texts import NewsPublished, TweetPosted
from tests.connectors.importers.files import NEWS, TWEETS, imported, rows, text_file


def brought(folder: Path, settings: Settings, *records: dict[str, Any]) -> tuple[list[dict[str, Any]], Report]:
    lines = "".join(json.dumps({"ts": "2017-03-01T12:00:00Z"} | record) + "\n" for record in records)
    (report,) = imported(text_file(folder / "t.jsonl.gz", lines), settings)
    return rows(folder / "archive", settings.kind), report


def test_a_tweet_keeps_its_fields(tmp_path: Path) -> None:
    (tweet,), _ = brought(
        tmp_path,
        TWEETS,
        {"id": "9", "author": "a", "text": "RT @b up\n🚀", "followers": 5, "retweets": None, "url": "u"},
    )
    assert tweet == {
        "id": "9",
        "key": "BTC",
        "occurred_at": 1_488_369_600 * 10**9,
        "observed_at": 1_488_369_600 * 10**9,
        "author": "a",
        "text": "RT @b up\n🚀",
        "followers": 5,
        "retweets": 0,
        "is_retweet": True,
        "url": "u",
    }


def test_the_source_names_those_alone_who_are_not_named(tmp_path: Path) -> None:
    found, _ = brought(
        tmp_path,
        TWEETS,
        {"id": "1", "author": "a", "text": "x"},
        {"id": "2", "author": " ", "text": "y"},
        {"id": "3", "text": "z"},
    )
    assert [row["author"] for row in found] == ["a", "someone", "someone"]


def test_texts_of_nobody_or_about_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="whom the texts are from; name it with --source"):
        brought(tmp_path, Settings(kind="tweets", key="BTC"), {"id": "1", "text": "x"})
    with pytest.raises(ArchiveError, match="what the texts concern; name it with --key"):
        brought(tmp_path, Settings(kind="tweets", source="s"), {"id": "1", "text": "x"})


def test_without_a_key_each_row_has_its_own_symbol_and_one_tweet_may_have_two(tmp_path: Path) -> None:
    found, report = brought(
        tmp_path,
        Settings(kind="tweets", source="s"),
        {"id": "1", "symbol": "AAPL", "text": "x"},
        {"id": "1", "symbol": "JPM", "text": "x"},
        {"id": "2", "symbol": None, "text": "x"},
    )
    assert [(row["id"], row["key"]) for row in found] == [("1", "AAPL"), ("1/JPM", "JPM")]
    assert report.dropped["key is missing or cannot be read"].rows == 1


def test_what_steers_a_terminal_is_taken_out_and_what_turns_writing_round_leaves_names(tmp_path: Path) -> None:
    (tweet,), report = brought(
        tmp_path, TWEETS, {"id": "1\u202e", "author": "\u202eevil\x1b", "text": "a\x1b[2Jb\u202ec\x00"}
    )
    assert (tweet["id"], tweet["author"], tweet["text"]) == ("1", "evil", "a[2Jb\u202ec")
    assert "author: control characters taken out of 1 rows" in report.notes
    assert "text: control characters taken out of 1 rows" in report.notes


def test_a_text_over_the_limit_is_cut_and_an_empty_one_dropped(tmp_path: Path) -> None:
    found, report = brought(
        tmp_path, TWEETS, {"id": "1", "text": "x" * 30_000}, {"id": "2", "text": " \x00"}, {"id": "3", "text": None}
    )
    assert [len(row["text"]) for row in found] == [MAX_TEXT_CHARS]
    assert "text: cut at 20,000 characters in 1 rows" in report.notes
    assert (report.rows_read, report.rows_kept, report.dropped["text is empty"].rows) == (3, 1, 2)


def test_of_doubled_ids_the_first_stays(tmp_path: Path) -> None:
    found, report = brought(tmp_path, TWEETS, *({"id": "1", "text": text} for text in ("x", "x", "other")))
    assert [row["text"] for row in found] == ["x"]
    assert report.dropped["an exact double of an earlier row"].example == "row 2: 1, as row 1"
    assert (
        report.dropped["the id of an earlier row with other values: the first is kept"].example == "row 3: 1, as row 1"
    )


def test_ids_are_made_from_the_words_or_the_address(tmp_path: Path) -> None:
    found, report = brought(
        tmp_path, NEWS, {"title": "x", "url": "http://a"}, {"title": "x"}, {"title": "y"}, {"title": " "}
    )
    assert len({row["id"] for row in found}) == 3
    assert report.dropped["title is empty"].rows == 1
    again, _ = brought(tmp_path, NEWS, {"title": "y"})
    assert again[0]["id"] in {row["id"] for row in found}


@given(st.lists(st.tuples(st.text(), st.text(), st.text(max_size=9)), min_size=1, max_size=8))
def test_whatever_a_row_says_what_is_kept_passes_the_checks(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str, str]]
) -> None:
    for settings, kind, field in ((TWEETS, TweetPosted, "text"), (NEWS, NewsPublished, "title")):
        who = "author" if kind is TweetPosted else "source"
        found, report = brought(
            tmp_path_factory.mktemp("any"),
            settings,
            *({who: name, field: words, "id": id_} for name, words, id_ in said),
        )
        for row in found:
            check(msgspec.convert(row, kind))
        assert report.rows_read == report.rows_kept + report.rows_dropped == len(said)
