"""`quorum demo` and the committed examples: a market, a book and a report, the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from cli import demo
from cli.books import load_book
from examples import make_sample
from schemas.errors import QuorumError

EXAMPLES = Path(make_sample.__file__).parent


def run(out: Path, *args: str) -> Result:
    app = typer.Typer()
    demo.register(app)
    return CliRunner().invoke(app, ["--out", str(out), *args])


def test_the_demo_ends_with_the_path_of_its_report(tmp_path: Path) -> None:
    result = run(tmp_path, "--days", "2", "--fake-news")
    assert result.exit_code == 0, result.output
    report = Path(result.stdout.splitlines()[-1])
    assert report == tmp_path / "run" / "report.html"
    assert report.read_text("utf-8").startswith("<!")
    assert "synthetic" in result.stdout
    assert load_book(tmp_path / "book.yaml").instruments[0].id.endswith("@synthetic")


def test_the_demo_again_is_the_same_run_and_another_seed_is_not(tmp_path: Path) -> None:
    digests = []
    for seed in ("1", "1", "2"):
        assert run(tmp_path, "--days", "2", "--seed", seed).exit_code == 0
        digests.append(json.loads((tmp_path / "run" / "summary.json").read_text())["log_sha256"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("option", "value"), [("--days", "0"), ("--seed", "-1"), ("--mode", "whim")])
def test_an_impossible_demo_is_refused_in_a_sentence(option: str, value: str, tmp_path: Path) -> None:
    result = run(tmp_path, option, value)
    assert isinstance(result.exception, QuorumError)
    assert "\n" not in str(result.exception)
    assert value in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_the_examples_are_what_their_generator_makes(tmp_path: Path) -> None:
    make_sample.main(tmp_path)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(EXAMPLES) for path in (EXAMPLES / "archive").rglob("*.parquet")}
    assert made == kept | {Path(name) for name in make_sample.BOOKS}
    for name in made:
        if name.suffix == ".parquet":
            assert pq.ParquetFile(tmp_path / name).read().equals(pq.ParquetFile(EXAMPLES / name).read()), name
        else:
            assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes(), name


def test_the_sample_archive_stays_small() -> None:
    assert sum(path.stat().st_size for path in (EXAMPLES / "archive").rglob("*.parquet")) < 1_000_000


@pytest.mark.parametrize("name", make_sample.BOOKS)
def test_an_example_finds_its_archive(name: str) -> None:
    book = load_book(EXAMPLES / name)
    assert (EXAMPLES / book.archive / "bars").is_dir()
    assert {instrument.id for instrument in book.instruments} <= set(make_sample.SAMPLE.instruments)
