"""Whatever a topic holds comes back from the lake's files exactly, and a replay can read what are events."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from connectors.lake.kept import packed
from connectors.lake.manifests import Chain
from connectors.lake.records import Kept, content_sha256, files_of, records_of
from connectors.store import FolderStore
from replay.files import find_files, tables
from schemas.codec import decode, encode
from schemas.errors import RefusedError
from schemas.market import TradeTicked
from schemas.topics import TOPIC_OF
from schemas.wire import key_of
from tests.connectors.lake.lakes import ours
from tests.connectors.lake.odd import START_NS, records

TOPICS = ("ticks", "bars", "tweets", "news", "control", "journal")
fresh = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)


def store_in(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / secrets.token_hex(4))


@pytest.mark.parametrize("topic", TOPICS)
def test_any_records_come_back_exactly(topic: str, tmp_path: Path) -> None:
    @fresh
    @given(records(topic))
    def come_back(given_records: list[Kept]) -> None:
        store = store_in(tmp_path)
        manifest = Chain(store, topic, 2).commit(100, 200, given_records)
        assert list(records_of(store, manifest)) == given_records
        assert manifest.content_sha256 == content_sha256(given_records)
        assert manifest.rows == len(given_records)
        again = files_of(topic, 2, 100, given_records)
        assert [(file.name, store.get(file.name)) for file in again] == [(file.name, file.data) for file in again]

    come_back()


@pytest.mark.parametrize("topic", ["ticks", "bars", "tweets", "news", "control"])
def test_a_replay_reads_each_event_once_and_nothing_else(topic: str, tmp_path: Path) -> None:
    @fresh
    @given(records(topic))
    def are_read(given_records: list[Kept]) -> None:
        store = store_in(tmp_path)
        Chain(store, topic, 2).commit(100, 200, given_records)
        events = [event for record in given_records if (event := event_of(topic, record)) is not None]
        root = Path(store.where) / "raw"
        found = find_files(root, 0, 2**62) if (root / topic).is_dir() else []
        rows = [table for file in found for table in tables(file)]
        assert sum(table.num_rows for table in rows) == len(events)
        for file in found:
            times = [at for table in tables(file) for at in table["observed_at"].to_pylist()]
            assert times == sorted(times)
            assert not times or file.lo <= times[0] <= times[-1] < file.hi

    are_read()


def event_of(topic: str, record: Kept) -> object:
    try:
        event = decode(record.value or b"")
    except RefusedError:
        return None
    return event if TOPIC_OF[type(event)] == topic else None


@given(st.lists(st.sampled_from(["offset", "timestamp_ms", "timestamp_type", "key", "headers", "value"]), min_size=1))
def test_each_part_of_a_record_is_digested(parts: list[str]) -> None:
    record = Kept(1, 2, 1, b"", b"", b"")
    changed: dict[str, Any] = {
        "offset": 3,
        "timestamp_ms": 9,
        "timestamp_type": 2,
        "key": None,
        "headers": packed([("a", None)]),
        "value": None,
    }
    other = replace(record, **{part: changed[part] for part in parts})
    assert content_sha256([record]) != content_sha256([other])


def test_the_digest_tells_where_a_part_ends() -> None:
    assert content_sha256([Kept(1, 2, 1, b"ab", b"", b"c")]) != content_sha256([Kept(1, 2, 1, b"a", b"", b"bc")])


def test_a_clean_tick_stores_nothing_twice(tmp_path: Path) -> None:
    event = TradeTicked(
        id="BTC/USDT@binance/trade/5",
        key="BTC/USDT@binance",
        occurred_at=START_NS,
        observed_at=START_NS,
        price=1.0,
        size=2.0,
    )
    record = Kept(0, 1, 1, key_of(event), ours(event), encode(event))
    store = store_in(tmp_path)
    manifest = Chain(store, "ticks", 0).commit(0, 1, [record])
    table = pq.read_table(Path(store.where) / manifest.files[0].name)
    assert [table[name].null_count for name in ("record_key", "headers", "value")] == [1, 1, 1]
    assert list(records_of(store, manifest)) == [record]


def test_one_odd_record_makes_no_other_odd(tmp_path: Path) -> None:
    events = [
        TradeTicked(
            id=f"A@x/trade/{n}", key="A@x", occurred_at=START_NS + n, observed_at=START_NS + n, price=1.0, size=2.0
        )
        for n in range(5_000)
    ]
    found = [Kept(n, 1, 1, key_of(event), b"", encode(event)) for n, event in enumerate(events)]
    found[17] = replace(found[17], value=b"no event")
    found[4_500] = replace(found[4_500], value=(found[4_500].value or b"") + b" ")
    store = store_in(tmp_path)
    manifest = Chain(store, "ticks", 0).commit(0, 5_000, found)
    assert [(file.name.rpartition("/")[2].split("-")[0], file.rows) for file in manifest.files] == [
        ("_refused", 1),
        ("trades", 4_999),
    ]
    table = pq.read_table(Path(store.where) / manifest.files[1].name)
    assert table["value"].null_count == 4_998
    assert list(records_of(store, manifest)) == found
