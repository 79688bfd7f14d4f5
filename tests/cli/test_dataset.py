"""`quorum dataset export`: what it prints, and one sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import SESSION, quorum, refusal


def test_counts_stand_by_file_model_and_label(tmp_path: Path) -> None:
    ended = quorum("dataset", "export", SESSION, "--out", tmp_path / "out", "--validation-share", "0.2")
    assert ended.code == 0
    heads = [line.split()[0] for line in ended.out.splitlines()]
    assert heads[0] == "file"
    assert {"train.jsonl", "validation.jsonl", "split"} <= set(heads)
    assert ended.out.endswith("manifest.json\n")
    written = sum(
        len((tmp_path / "out" / name).read_bytes().splitlines()) for name in ("train.jsonl", "validation.jsonl")
    )
    told = sum(int(line.split()[-1].replace(",", "")) for line in ended.out.splitlines() if ".jsonl" in line)
    assert told == written


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("nowhere",), "nowhere"),
        (
            (SESSION, "--validation-share", "0.2", "--split-at", "2024-01-01"),
            "--validation-share or --split-at, not both",
        ),
        ((SESSION, "--split-at", "soon"), "'soon' is not a day or time"),
        ((SESSION, "--split-at", "1999-01-01"), "a split at 1999-01-01T00:00:00Z leaves nothing to train on"),
        ((SESSION, "--split-at", "2050-01-01"), "leaves nothing to validate on: the questions reach from "),
        ((SESSION, "--model", "gpt"), "none of 'gpt'; there are answers of "),
    ],
)
def test_bad_input_gets_a_sentence(args: tuple[str | Path, ...], reason: str, tmp_path: Path) -> None:
    assert reason in refusal("dataset", "export", *args, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert "is not empty; choose another folder" in refusal("dataset", "export", SESSION, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
