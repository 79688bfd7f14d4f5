"""Real texts, as the servers of these tests say them: what was said is recorded, when and under which id is not.

A feed is for the present, so the ids and times are of the last ten minutes.
"""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from schemas.base import NS_PER_S
from tests.conftest import MISSING_DATA, SHARED_DATA

KEYS: dict[str, tuple[str, ...]] = {"BTC": ("bitcoin", "btc"), "ETH": ("ethereum", "eth")}
COUNT = 8
START_NS = (time.time_ns() // NS_PER_S - 600) * NS_PER_S
"""Of the first text; the others follow by the second."""


class Said(NamedTuple):
    """One text."""

    at_ns: int
    who: str
    title: str
    text: str
    url: str

    @property
    def iso(self) -> str:
        return datetime.fromtimestamp(self.at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def recorded(name: str, count: int) -> list[Said]:
    """Give texts that concern bitcoin alone, so that each makes one event."""
    path = SHARED_DATA / "text" / name
    if not path.exists():
        pytest.skip(f"{MISSING_DATA}text/{name}, expected at {path}")
    found: list[Said] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            said = f"{row.get('title', '')} {row['text']}".lower()
            if "bitcoin" in said.split() and "eth" not in said and row.get("title", "x"):
                at = START_NS + len(found) * NS_PER_S
                who = row.get("author") or row.get("source") or "someone"
                found.append(Said(at, who, row.get("title", ""), row["text"], row.get("url", "")))
            if len(found) == count:
                return found
    raise AssertionError(f"{path} has under {count} texts on bitcoin alone")


def tweets(count: int = COUNT) -> list[Said]:
    return recorded("tweets_bitcoin_2017_jan_feb.jsonl.gz", count)


def articles(count: int = COUNT) -> list[Said]:
    return recorded("cryptonews_2021_10_to_2022_04.jsonl.gz", count)
