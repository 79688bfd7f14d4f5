"""`quorum sql`, `quorum lake build` and `quorum lake ddl`: what they print, and one sentence for what is wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
from io import StringIO
from pathlib import Path
from threading import Timer
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.processed.build import build
from connectors.query import database
from connectors.query.worked import WORKED
from connectors.store import open_store
from tests.cli.commands import SESSION, quorum, refusal
from tests.connectors.processed.lakes import write_lake
from tests.connectors.processed.test_build import EVENTS, contents

ORDERS = 'SELECT id, quantity, reduce_only, observed_at FROM order_requested ORDER BY seq, "id"'
SLOW = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range % 7 = b.range % 3"


def test_a_table_is_drawn_and_cut_where_it_is_long() -> None:
    ended = quorum("sql", ORDERS, "--run", SESSION, "--limit", "2")
    assert ended.code == 0
    assert "quantity" in ended.out
    assert ended.out.splitlines()[-1] == "2 rows, and there are more: --limit N, or --format csv for all of them"
    assert ended.err == ""


def test_all_formats_tell_the_same(tmp_path: Path) -> None:
    told = quorum("sql", ORDERS, "--run", SESSION, "--format", "csv")
    rows = list(csv.DictReader(StringIO(told.out)))
    lines = [json.loads(line) for line in quorum("sql", ORDERS, "--run", SESSION, "--format", "json").out.splitlines()]
    out = tmp_path / "orders.parquet"
    assert quorum("sql", ORDERS, "--run", SESSION, "--format", "parquet", "--out", out).code == 0
    table = pq.ParquetFile(out).read().to_pylist()
    assert len(rows) == len(lines) == len(table) > 1
    for row, line, stored in zip(rows, lines, table, strict=True):
        assert row["id"] == line["id"] == stored["id"]
        assert row["quantity"] == line["quantity"] == f"{stored['quantity'].normalize():f}"
        assert int(row["observed_at"]) == line["observed_at"] == stored["observed_at"]


def test_a_statement_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("SELECT 40 + 2 AS n"))
    assert quorum("sql", "-", "--run", SESSION, "--format", "csv").out == "n\n42\n"


def test_outside_text_cannot_steer_a_terminal() -> None:
    ended = quorum("sql", "SELECT chr(27) || '[2J[bold]x[/bold]' AS t", "--run", SESSION)
    assert "\x1b" not in ended.out
    assert "[bold]x[/bold]" in ended.out


def test_the_worked_queries_are_listed_and_run_by_name() -> None:
    listed = quorum("sql", "--query", "list").out
    assert [line.split()[0] for line in listed.splitlines()] == list(WORKED)
    ended = quorum("sql", "--query", "accuracy", "--run", SESSION, "--format", "csv")
    assert ended.out.startswith("model,predictions,")
    assert "vader," in ended.out


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("SELECT 1",), "say what to ask: --lake WHERE or --run RUN"),
        (("SELECT 1", "--lake", "x", "--run", "y"), "say what to ask: --lake WHERE or --run RUN"),
        (("--run", "y"), "say one statement, or one worked query"),
        (("SELECT 1", "--query", "cost", "--run", "y"), "say one statement, or one worked query"),
        (("--query", "costs", "--run", "y"), "no worked query is called 'costs'; did you mean cost?"),
        (("SELECT 1", "--run", str(SESSION), "--format", "parquet"), "Parquet is written to a file"),
        (("SELECT 1", "--run", str(SESSION), "--format", "csv", "--out", "/no/folder/x"), "cannot be written"),
        (("SELECT 1", "--run", "no-such-run"), "no-such-run: holds no log of a run"),
        (("SELECT nope", "--run", str(SESSION)), "Binder Error"),
        (("DROP VIEW ticks", "--run", str(SESSION)), "DROP is not run"),
    ],
)
def test_bad_input_gets_one_sentence(args: tuple[str, ...], reason: str) -> None:
    assert reason in refusal("sql", *args)


def test_an_interrupt_ends_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which never would end by itself; the signal comes as soon as it is run."""
    wait = database._patiently

    def interrupted(connection: Any, call: Any, *args: object) -> Any:
        if call.__name__ == "execute":
            Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return wait(connection, call, *args)

    monkeypatch.setattr(database, "_patiently", interrupted)
    ended = quorum("sql", SLOW, "--run", SESSION)
    assert (ended.code, ended.out, ended.err) == (130, "", "quorum: interrupted\n")


def test_a_lake_is_built_and_asked(tmp_path: Path) -> None:
    write_lake(tmp_path, EVENTS)
    ended = quorum("lake", "build", tmp_path, "--from", "2024-01-03", "--to", "2024-01-04")
    assert ended.code == 0, ended.err
    assert "bars of 1m" in ended.out
    assert "too late for their bar" in ended.out
    asked = quorum("sql", "SELECT DISTINCT day FROM processed_bars", "--lake", tmp_path, "--format", "csv")
    assert asked.out == "day\n3\n"
    assert "is no day" in refusal("lake", "build", tmp_path, "--from", "yesterday")
    assert "holds no ticks" in refusal("lake", "build", tmp_path / "none")


def test_a_bucket_gives_what_a_folder_gives(s3_lake: str, tmp_path: Path) -> None:
    folder = write_lake(tmp_path / "lake", EVENTS)
    bucket = open_store(s3_lake)
    for listed in folder.list("raw/"):
        bucket.put(listed.key, folder.get(listed.key) or b"")
    build(folder)
    build(bucket)
    assert {key: bucket.get(f"processed/{key}") for key in contents(tmp_path / "lake/processed")} == contents(
        tmp_path / "lake/processed"
    )
    for query in ("SELECT key, count(*) AS n FROM trade_ticked WHERE day = 3 GROUP BY ALL ORDER BY ALL", "SHOW TABLES"):
        there, here = (
            quorum("sql", query, "--lake", where, "--format", "csv") for where in (s3_lake, tmp_path / "lake")
        )
        assert there == here
        assert there.code == 0


def test_the_ddl_names_the_lake() -> None:
    ended = quorum("lake", "ddl", "s3://bucket/lake", "--database", "desk")
    assert ended.out.startswith("CREATE DATABASE IF NOT EXISTS `desk`;")
    assert "LOCATION 's3://bucket/lake/raw/ticks/'" in ended.out
    assert "Athena reads from a bucket" in refusal("lake", "ddl", "somewhere")


@pytest.mark.parametrize("extra", [("book.yaml",), ("--lake", "somewhere"), ("--topics", "ticks")])
@pytest.mark.parametrize("role", ["bars", "sentiment"])
def test_a_role_that_computes_takes_no_books(role: str, extra: tuple[str, ...]) -> None:
    assert f"{role} takes no books, no --lake and no --topics" in refusal("worker", role, *extra)


@pytest.mark.parametrize(
    "given",
    [
        ("sentiment", "--comprehend"),
        ("sentiment", "--per-day-usd", "1"),
        ("bars", "--comprehend", "--per-day-usd", "1"),
        ("desk", "book.yaml", "--comprehend", "--per-day-usd", "1"),
    ],
)
def test_comprehend_is_for_sentiment_and_needs_a_cap(given: tuple[str, ...]) -> None:
    assert "--comprehend and --per-day-usd go together" in refusal("worker", *given)


@pytest.mark.parametrize("usd", ["0", "-1", "nan", "inf", "much"])
def test_a_cap_is_an_amount(usd: str) -> None:
    assert "is no amount above 0" in refusal("worker", "sentiment", "--comprehend", "--per-day-usd", usd)
