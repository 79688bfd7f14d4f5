"""A query reads the folders that it asks for, and can do nothing else; the worked ones give what they say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from connectors.processed.build import build
from connectors.query.database import over_lake, over_run
from connectors.query.worked import WORKED
from connectors.store import FolderStore, Listed, Store
from schemas.errors import ArchiveError, QueryError, StoreError
from tests.connectors.processed.lakes import write_lake
from tests.connectors.processed.test_build import EVENTS

ROOT = Path(__file__).parents[3]
SESSION = ROOT / "tests" / "golden" / "session"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    store = write_lake(tmp_path_factory.mktemp("lake"), EVENTS)
    build(store)
    return store


class Bucket:
    """A store that is no folder, and remembers what was read of it."""

    def __init__(self, inner: Store) -> None:
        self.where, self._inner = "s3://test/lake", inner
        self.read_keys: set[str] = set()
        self.bytes_read = 0

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        return self._inner.list(prefix, after)

    def read(self, key: str, start: int, size: int) -> bytes:
        self.read_keys.add(key)
        self.bytes_read += size
        return self._inner.read(key, start, size)


def asked(store: Any, query: str) -> list[tuple[Any, ...]]:
    with over_lake(store, query) as database:
        return list(database.run(query).rows())


def ran(root: Path, query: str) -> list[tuple[Any, ...]]:
    with over_run(root) as database:
        return list(database.run(query).rows())


@pytest.mark.parametrize(
    ("where", "folders"),
    [
        ("day = 3", {"day=03"}),
        ("year = 2024 AND month = 1 AND day = 2 AND hour = 23", {"day=02"}),
        ("observed_at >= 1704240000000000000", {"day=03"}),
        ("observed_at < 1704240000000000000", {"day=02"}),
        ("year = 2023", set()),
        ("true", {"day=02", "day=03"}),
    ],
)
def test_only_the_hours_that_are_asked_for_are_read(lake: FolderStore, where: str, folders: set[str]) -> None:
    bucket = Bucket(lake)
    query = f'SELECT count(*), sum("offset") FROM trade_ticked WHERE {where}'
    found = asked(bucket, query)
    assert {key.split("/")[4] for key in bucket.read_keys} == folders
    assert all("/trades-" in key for key in bucket.read_keys)
    assert found == asked(lake, query), "a bucket gives what a folder gives"


def test_only_the_columns_that_are_asked_for_are_read(lake: FolderStore) -> None:
    few, all_ = Bucket(lake), Bucket(lake)
    asked(few, "SELECT sum(price) FROM trade_ticked")
    asked(all_, "SELECT * FROM trade_ticked")
    assert few.bytes_read < all_.bytes_read


def test_ticks_have_both_kinds_and_processed_bars_their_interval(lake: FolderStore) -> None:
    (trades,) = asked(lake, "SELECT count(*) FROM ticks WHERE kind = 'trades'")
    assert trades[0] == sum("TradeTicked" in type(event).__name__ for event in EVENTS)
    bucket = Bucket(lake)
    (bars,) = asked(bucket, "SELECT count(*) FROM processed_bars WHERE interval = '5m'")
    assert bars[0] > 0
    assert {key.split("/")[2] for key in bucket.read_keys} == {"interval=5m"}
    (texts,) = asked(
        lake, "SELECT sum(tweets + news), any_value(sources) FROM processed_sentiment WHERE lexicon='VADER'"
    )
    assert texts[0] == 78, "the last hour is not over"
    assert isinstance(texts[1], dict)


HOSTILE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('{root}/book.yaml')",
    "SELECT * FROM '{root}/archive/bars/bars.jsonl'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM read_parquet('https://example.com/x.parquet')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{tmp}/made'",
    "SELECT * FROM lake",
    "SELECT * FROM parquet_metadata('/etc/passwd')",
    "SELECT content FROM read_blob('/proc/self/environ')",
]
CHANGES = [
    "COPY (SELECT 1) TO '{tmp}/made'",
    "ATTACH '{tmp}/made'",
    "CREATE TABLE made AS SELECT 1",
    "DROP VIEW ticks",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "EXPORT DATABASE '{tmp}/made'",
    "CALL pragma_version()",
    "PREPARE p AS SELECT 1",
    "BEGIN",
]


@pytest.mark.parametrize("query", HOSTILE + CHANGES)
def test_a_query_reaches_nothing_else_and_changes_nothing(lake: FolderStore, tmp_path: Path, query: str) -> None:
    text = query.format(root=SESSION, tmp=tmp_path)
    for ask in (partial(asked, lake), partial(ran, SESSION)):
        with pytest.raises(QueryError) as refusal:
            ask(text)
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1; SELECT 2", "one statement is run at a time, and 2 were given"),
        ("", "and 0 were given"),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT nothing FROM ticks", "Binder Error: Referenced column"),
        ("SELECT * FROM no_such_view", "Catalog Error: Table with name no_such_view does not exist!"),
        ("SELECT CAST(key AS INT) FROM trade_ticked", "Conversion Error"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_in_one_line(lake: FolderStore, query: str, reason: str) -> None:
    with pytest.raises(QueryError) as refusal:
        asked(lake, query)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_damaged_file_of_a_lake_is_named(tmp_path: Path) -> None:
    store = write_lake(tmp_path, EVENTS)
    path = next(tmp_path.rglob("trades-*.parquet"))
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(QueryError, match=path.name):
        asked(store, "SELECT count(size) FROM trade_ticked")


def test_a_file_in_no_folder_of_a_time_is_named(tmp_path: Path) -> None:
    store = write_lake(tmp_path, EVENTS)
    path = next(tmp_path.rglob("trades-*.parquet"))
    path.rename(tmp_path / "raw/ticks" / path.name)
    with pytest.raises(StoreError, match="lies in no folder of year/month/day/hour"):
        asked(store, "SELECT count(*) FROM trade_ticked")


def test_a_folder_without_a_log_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no log of a run"):
        over_run(tmp_path)


@pytest.mark.parametrize("name", WORKED)
def test_a_worked_query_runs_on_a_lake_and_on_a_run(lake: FolderStore, name: str) -> None:
    rows = ran(SESSION, WORKED[name].sql)
    assert rows or name in ("volume", "rejects"), "a run's log has no market data, and this one no refused trade"
    rows = asked(lake, WORKED[name].sql)
    assert bool(rows) == (name in ("volume", "texts")), "this lake holds ticks and texts alone"


def test_the_page_shows_the_worked_queries_as_they_are() -> None:
    page = (ROOT / "docs" / "sql.md").read_text()
    for name, worked in WORKED.items():
        assert f"### {name}\n\n{worked.about}\n\n```sql\n{worked.sql}\n```\n" in page
