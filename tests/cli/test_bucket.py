"""`--archive s3://…` and a book that names one: replayed, audited and swept as from a folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from connectors.policy import Policy
from connectors.s3 import S3Store
from tests.cli.commands import EXAMPLES, quorum, refusal

DAY = ("--to", "2024-01-02")


@pytest.fixture
def archive(s3_lake: str) -> str:
    """The archive of the examples, in a bucket."""
    store = S3Store(s3_lake, Policy())
    folder = EXAMPLES / "archive"
    for path in folder.rglob("*.parquet"):
        store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return s3_lake


def sha256_of(run: Path) -> str:
    return str(json.loads((run / "summary.json").read_bytes())["log_sha256"])


def test_a_book_is_replayed_and_audited_from_a_bucket(archive: str, tmp_path: Path) -> None:
    book = tmp_path / "bucket.yaml"
    told = (EXAMPLES / "btc.yaml").read_text(encoding="utf-8").replace("archive: archive", f"archive: {archive}")
    assert archive in told
    book.write_text(told, encoding="utf-8")
    for run, options in (
        ("folder", (EXAMPLES / "btc.yaml",)),
        ("given", (EXAMPLES / "btc.yaml", "--archive", archive)),
        ("named", (book,)),
    ):
        ended = quorum("replay", *options, *DAY, "--out", tmp_path / run, "--no-report")
        assert ended.code == 0, ended.err
    assert sha256_of(tmp_path / "folder") == sha256_of(tmp_path / "given") == sha256_of(tmp_path / "named")
    ended = quorum("replay", EXAMPLES / "btc.yaml", "--archive", archive, "--out", tmp_path / "whole", "--no-report")
    assert ended.code == 0, ended.err
    ended = quorum("audit", tmp_path / "whole", "--archive", archive)
    assert ended.code == 0, ended.err
    assert "every byte equal" in ended.out


def test_a_book_is_swept_from_a_bucket(archive: str, tmp_path: Path) -> None:
    found = []
    for name, options in (("folder", ()), ("bucket", ("--archive", archive))):
        varied = ("--vary", "risk.order_pct=5:10:5", *DAY, "--out", tmp_path / name, "--workers", "2")
        ended = quorum("sweep", EXAMPLES / "btc.yaml", *varied, *options)
        assert ended.code == 0, ended.err
        with (tmp_path / name / "sweep.csv").open(encoding="utf-8") as file:
            found.append(list(csv.DictReader(file)))
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_a_bucket_that_cannot_be_read_is_one_sentence(s3_lake: str, tmp_path: Path) -> None:
    book, out = EXAMPLES / "btc.yaml", tmp_path / "out"
    told = refusal("replay", book, "--archive", "s3://there-is-none/x", "--out", out)
    assert "s3://there-is-none/x: there is no such bucket; make it, or name another" in told
    assert "holds none of the folders" in refusal("replay", book, "--archive", s3_lake, "--out", out)
    assert not out.exists()
