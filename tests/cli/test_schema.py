"""`quorum schema`: what it publishes is current, and what it says of a producer's file is exact."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cli import schema
from schemas.codec import MAX_RECORD_BYTES, encode
from schemas.errors import ArchiveError, QuorumError
from schemas.market import TradeTicked
from schemas.topics import EVENT_TYPES
from tests.schemas.samples import GOLDEN, sparse

DOCS = Path(__file__).parents[2] / "docs"
TRADE = encode(sparse(TradeTicked))


def run(*args: str | Path) -> Result:
    app = typer.Typer()
    schema.register(app)
    return CliRunner().invoke(app, ["schema", *(str(arg) for arg in args)])


def refusal(*args: str | Path) -> QuorumError:
    """Give the error that the command line prints as one sentence."""
    result = run(*args)
    assert isinstance(result.exception, QuorumError)
    assert "\n" not in str(result.exception)
    return result.exception


def exported(folder: Path) -> Path:
    assert run("export", "--out", folder).exit_code == 0
    return folder


def test_the_published_files_are_current() -> None:
    result = run("export", "--check", "--out", DOCS)
    assert (result.exit_code, result.stderr) == (0, "")


def test_an_export_is_complete_repeatable_and_writes_only_what_changed(tmp_path: Path) -> None:
    first = run("export", "--out", tmp_path / "a")
    assert (
        first.stdout == f"{tmp_path / 'a'}: {len(EVENT_TYPES) + 1} of {len(EVENT_TYPES) + 1} files written, 0 removed\n"
    )
    names = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*.*")}
    assert names == {"events.md", *(f"schemas/{kind.__name__}.json" for kind in EVENT_TYPES)}
    exported(tmp_path / "b")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert ": 0 of " in run("export", "--out", tmp_path / "a").stdout


@pytest.mark.parametrize("name", ["schemas/BarClosed.json", "events.md"])
@pytest.mark.parametrize("change", ["altered", "missing"])
def test_the_check_names_the_file_that_is_out_of_date_and_mends_nothing(tmp_path: Path, name: str, change: str) -> None:
    path = exported(tmp_path) / name
    whole = path.read_text()
    if change == "altered":
        path.write_text(whole.replace("bar", "bor"))
    else:
        path.unlink()
    result = run("export", "--check", "--out", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == f"quorum: {path} is out of date; run `quorum schema export --out {tmp_path}`\n"
    assert not path.exists() or path.read_text() != whole
    assert ": 1 of " in run("export", "--out", tmp_path).stdout
    assert path.read_text() == whole


def test_the_schema_of_an_event_that_is_gone_is_out_of_date_and_removed(tmp_path: Path) -> None:
    left_over = exported(tmp_path) / "schemas" / "BarOpened.json"
    left_over.write_text("{}")
    result = run("export", "--check", "--out", tmp_path)
    assert result.exit_code == 1
    assert str(left_over) in result.stderr
    assert left_over.exists()
    assert run("export", "--out", tmp_path).stdout.endswith("1 removed\n")
    assert not left_over.exists()


def test_an_export_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refusal("export", "--out", tmp_path / "file")
    assert isinstance(error, ArchiveError)
    assert str(tmp_path / "file") in str(error)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_show_prints_the_published_schema(kind: type) -> None:
    result = run("show", kind.__name__)
    assert result.exit_code == 0
    assert result.stdout == (DOCS / "schemas" / f"{kind.__name__}.json").read_text()


def test_show_knows_what_was_meant() -> None:
    assert str(refusal("show", "barclosed")) == "no event is called 'barclosed'; did you mean BarClosed?"
    assert refusal("show", "xyz").exit_code == 2
    assert "there are TradeTicked, QuoteTicked, BarClosed" in str(refusal("show", "xyz"))


def test_golden_events_pass_the_check_packed_or_not(tmp_path: Path) -> None:
    lines = b"".join(path.read_bytes() for path in sorted(GOLDEN.glob("v1/*.jsonl")))
    (tmp_path / "events.jsonl").write_bytes(lines)
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(lines))
    for name in ("events.jsonl", "events.jsonl.gz"):
        result = run("check", tmp_path / name)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.splitlines()[0] == "           2  TradeTicked (topic ticks)"
        assert result.stdout.endswith(f"{name}: {2 * len(EVENT_TYPES)} events are valid, 0 are refused\n")


def test_every_bad_line_is_named_with_event_field_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [
        TRADE,
        TRADE.replace(b"37000.5", b"-1.0"),
        b"",
        TRADE + b"\r",
        b"\xff\xfe",
        TRADE.replace(b"17000", b"40000"),
        b'{"id":"' + b"x" * (3 * MAX_RECORD_BYTES) + b'"}',
        TRADE,
    ]
    path.write_bytes(b"\n".join(lines))
    result = run("check", path)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}:2: TradeTicked.price (id trade-ticked-2): -1.0 is not a price between 1e-18 and 1e12",
        f"{path}:3: record: not JSON: Input data was truncated",
        f"{path}:5: record: not JSON: JSON is malformed: invalid character (byte 0)",
        f"{path}:6: TradeTicked.observed_at (id trade-ticked-2): lies in the future",
        f"{path}:7: record: is longer than 1,000,000 bytes",
    ]
    assert result.stdout.endswith("3 events are valid, 5 are refused\n")


def test_a_flood_of_refusals_is_counted_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"{}\n" * 1_234)
    result = run("check", path)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == schema.SHOWN_REFUSALS + 1
    assert result.stderr.endswith(f"{path}: 1,184 more refusals\n")


def test_an_empty_file_holds_no_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"")
    result = run("check", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}: 0 events are valid, 0 are refused\n")


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    assert "none.jsonl cannot be read" in str(refusal("check", tmp_path / "none.jsonl"))
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(TRADE + b"\n")[:-12])
    (tmp_path / "plain.jsonl.gz").write_bytes(TRADE + b"\n")
    damaged = bytearray(gzip.compress(TRADE + b"\n"))
    damaged[12:20] = b"\xff" * 8
    (tmp_path / "damaged.jsonl.gz").write_bytes(damaged)
    for name in ("torn.jsonl.gz", "plain.jsonl.gz", "damaged.jsonl.gz"):
        assert isinstance(refusal("check", tmp_path / name), ArchiveError)
    assert isinstance(refusal("check", tmp_path), ArchiveError)


def blocks(language: str) -> list[str]:
    page = (DOCS / "producing.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_guide_for_producers_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("python")
    Path("produce.py").write_text(program)
    for commands, shown in zip(blocks("sh"), blocks("text"), strict=True):
        *shell, check = commands.splitlines()
        for line in shell:
            subprocess.run(["/bin/sh", "-c", line.replace("python3", sys.executable)], check=True)
        assert check.startswith("quorum schema check ")
        result = run("check", check.rpartition(" ")[2])
        assert result.stderr + result.stdout == shown
        assert result.exit_code == ("0 are refused" not in shown)
    assert [json.loads(line)["type"] for line in Path("events.jsonl").read_text().splitlines()] == [
        "BarClosed",
        "NewsPublished",
    ]
