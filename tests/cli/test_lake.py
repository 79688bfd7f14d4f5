"""`quorum lake`: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.store import FolderStore
from tests.cli.commands import quorum, refusal
from tests.connectors.lake.lakes import small_lake


@pytest.fixture
def lake(tmp_path: Path) -> FolderStore:
    return small_lake(tmp_path / "lake")


def test_a_whole_lake_passes_and_what_a_chain_cannot_show_is_said(lake: FolderStore, tmp_path: Path) -> None:
    heads = tmp_path / "heads.json"
    ended = quorum("lake", "verify", lake.where, "--deep", "--save-heads", heads)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("whole: 13 segments, 117 records, 60 files, ")
    assert "keep the heads elsewhere" in ended.out
    again = quorum("lake", "verify", lake.where, "--heads", heads, "--topic", "ticks")
    assert (again.code, again.out.count("\n")) == (0, 1)


def test_a_fault_is_named_and_ends_with_1(lake: FolderStore) -> None:
    lake.delete("manifests/ticks/0000/00000000000000000010.json")
    ended = quorum("lake", "verify", lake.where)
    assert ended.code == 1
    assert "ticks/0 [10, 20): is missing\n" in ended.out
    assert "NOT whole: " in ended.out
    assert not quorum("lake", "verify", lake.where, "--topic", "control").code


def test_a_head_that_was_kept_is_asked_for(lake: FolderStore) -> None:
    ended = quorum("lake", "verify", lake.where, "--head", "ticks/0=00ff")
    assert ended.code == 1
    assert "ticks/0: the head 00ff… that you kept is not in its chain" in ended.out


def test_compaction_leaves_the_lake_whole(lake: FolderStore) -> None:
    assert quorum("lake", "compact", lake.where).out.endswith(": 32 files merged into 16\n")
    assert quorum("lake", "compact", lake.where).out.endswith(": 0 files merged into 0\n")
    assert quorum("lake", "verify", lake.where, "--deep").code == 0


def test_status_shows_each_topic(lake: FolderStore) -> None:
    rows = [line.split("│") for line in quorum("lake", "status", lake.where).out.splitlines() if line.startswith("│")]
    shown = {row[1].strip(): [cell.strip() for cell in row[2:6]] for row in rows}
    assert shown == {
        "control": ["1", "3", "27", "9"],
        "journal": ["1", "3", "27", "18"],
        "ticks": ["2", "7", "63", "33"],
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "--head", "ticks"], "write TOPIC/PARTITION=SHA"),
        (["verify", "--heads", "none.json"], "is no file of heads"),
        (["verify", "--topic", "tocks"], "holds nothing of topic 'tocks'; it has control, journal, ticks"),
        (["status", "--topic", "tocks"], "holds nothing of topic 'tocks'"),
        (["compact", "--before", "soon"], "is not a day or time"),
    ],
)
def test_a_mistake_is_one_sentence(lake: FolderStore, arguments: list[str], said: str) -> None:
    command, *rest = arguments
    assert said in refusal("lake", command, lake.where, *rest)


def test_what_is_no_lake_is_refused(tmp_path: Path) -> None:
    assert "is no lake: it holds no manifests" in refusal("lake", "verify", tmp_path)


def test_setup_writes_the_policy(tmp_path: Path) -> None:
    assert quorum("lake", "setup", tmp_path).code == 0
    assert (tmp_path / "lake.json").is_file()
