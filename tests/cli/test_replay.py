"""`quorum replay`: what it leaves behind, what it refuses in one sentence, and how it ends when it is stopped."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli import main
from schemas import errors
from tests.cli.commands import EXAMPLES, ROOT, SESSION, quorum, refusal

BTC = EXAMPLES / "btc.yaml"
DAY = ("--to", "2024-01-02")
MADE = {"book.json", "summary.json", "trades.csv", "equity.parquet", "prices.parquet", "report.html", "log"}
PATIENCE_S = 60


def book(folder: Path, change: tuple[str, str] = ("", "")) -> Path:
    """Write the example's book, changed, with its archive."""
    path = folder / "book.yaml"
    text = BTC.read_text().replace("archive: archive", f"archive: {EXAMPLES / 'archive'}", 1)
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    return path


# What it leaves behind


def test_the_golden_session_gives_its_log_its_figures_and_its_report(tmp_path: Path) -> None:
    ended = quorum("replay", SESSION / "book.yaml", "--out", tmp_path / "run")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == str(tmp_path / "run" / "report.html")
    assert {path.name for path in (tmp_path / "run").iterdir()} == MADE
    sums = (SESSION / "log" / "SHA256SUMS").read_bytes()
    assert (tmp_path / "run" / "log" / "SHA256SUMS").read_bytes() == sums
    assert f"log_sha256 {sha256(sums).hexdigest()}" in ended.out


def test_json_is_the_summary_and_nothing_else(tmp_path: Path) -> None:
    ended = quorum("replay", SESSION / "book.yaml", "--out", tmp_path, "--json", "--no-report")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (tmp_path / "summary.json").read_text()
    assert json.loads(ended.out)["interrupted"] is False
    assert not (tmp_path / "report.html").exists()


def test_from_and_to_bound_what_is_observed_and_the_end_is_left_out(tmp_path: Path) -> None:
    args = ("--from", "2024-01-02", "--to", "2024-01-02T06:00", "--no-report", "--json")
    ended = quorum("replay", BTC, "--out", tmp_path, *args)
    summary = json.loads(ended.out)
    assert summary["run"]["market_events"] == 360
    assert summary["start"].startswith("2024-01-02T00:0")
    assert summary["end"] <= "2024-01-02T07"


def test_verdicts_of_another_run_are_all_found_and_give_the_same_log(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    assert quorum("replay", BTC, *DAY, "--out", first, "--no-report").code == 0
    strict = book(tmp_path, ("on_unrecorded: ask ", "on_unrecorded: fail"))
    ended = quorum("replay", strict, *DAY, "--out", again, "--no-report", "--json", "--verdicts", first)
    assert ended.code == 0, ended.err
    assert all(model["asked"] == 0 < model["recorded"] for model in json.loads(ended.out)["run"]["coverage"].values())
    assert (again / "log" / "SHA256SUMS").read_bytes() == (first / "log" / "SHA256SUMS").read_bytes()


@pytest.mark.parametrize(("kept", "says"), [("decisions", "log holds decisions alone"), ("none", "o log was kept")])
def test_a_run_without_a_full_log_says_once_that_it_cannot_be_audited(kept: str, says: str, tmp_path: Path) -> None:
    assert quorum("replay", SESSION / "book.yaml", "--out", tmp_path).code == 0
    ended = quorum("replay", SESSION / "book.yaml", "--out", tmp_path, "--log", kept)
    assert (ended.code, ended.err) == (0, "")
    assert re.findall(rf"{says}, so this run cannot be audited\.\n", ended.out)
    assert ended.out.splitlines()[-1] == str(tmp_path / ("summary.json" if kept == "none" else "report.html"))
    assert (tmp_path / "report.html").exists() == (kept == "decisions")
    assert says in refusal("audit", tmp_path, "--archive", SESSION / "archive")


def test_a_report_of_decisions_says_that_answers_were_not_logged(tmp_path: Path) -> None:
    assert quorum("replay", SESSION / "book.yaml", "--out", tmp_path, "--log", "decisions").code == 0
    page = (tmp_path / "report.html").read_text()
    assert "Questions and answers were not logged" in page
    assert "it holds decisions alone" in page.lower()
    assert "No model was asked" not in page
    assert "texts passed the checks" not in page


def test_a_rehearsal_keeps_the_full_log(tmp_path: Path) -> None:
    args = ("--engine", "kafka", "--log", "none", "--out", tmp_path / "run")
    assert "--engine kafka keeps the full log" in refusal("replay", SESSION / "book.yaml", *args)
    assert not (tmp_path / "run").exists()


# Where it writes


def test_a_run_replaces_an_earlier_one_whole(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert quorum("replay", BTC, *DAY, "--out", run).code == 0
    strict = book(tmp_path, ("on_unrecorded: ask ", "on_unrecorded: fail"))
    assert "no recorded verdict" in refusal("replay", strict, *DAY, "--out", run)
    assert {path.name for path in run.iterdir()} == {"book.json", "log"}, "figures of the earlier run are left"


@pytest.mark.parametrize("there", ["notes.txt", "log/journal.jsonl", "log/mine/a.txt", ".git/config"])
def test_a_folder_that_no_run_wrote_is_left_alone(there: str, tmp_path: Path) -> None:
    mine = tmp_path / "out" / there
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert re.search(r"out: is not empty.*another folder", refusal("replay", BTC, *DAY, "--out", tmp_path / "out"))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert quorum("replay", SESSION / "book.yaml", "--out", tmp_path, "--no-report").code == 0


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_place_that_cannot_be_written_is_one_sentence(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = refusal("replay", BTC, *DAY, "--out", tmp_path / out)
    assert "cannot be written" in said
    assert (tmp_path / "file").read_text() == "mine"


# What it refuses


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, r"no such file; `quorum new"),
        ("", r"is empty; `quorum new"),
        ("name: [", r"not YAML: "),
        ("name: a\n\tb: c", r"not YAML: "),
        ("- a", r"holds no settings of a book; `quorum new"),
        ("name: '\xff'", r"cannot be read: .*utf-8"),
        ("!!python/object/apply:os.system ['true']", r"not YAML: "),
    ],
)
def test_what_is_no_book_is_refused(text: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    said = refusal("replay", path, "--out", tmp_path / "run")
    assert said.startswith(f"{path}: ")
    assert re.search(says, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("max_drawdown_pct", "max_drawdwn_pct"), r"`max_drawdwn_pct`, at `breakers`; did you mean max_drawdown_pct\?"),
        (("\n  every_min:", "\n  evry_min:"), r"`evry_min`, at `analysts`; did you mean every_min\?"),
        (("venue:", "vanue:"), r"`vanue`; did you mean venue\?"),
        (("agree: 2", "agree: 9"), r"asks 9 of 3 models to agree, at `consensus.agree`"),
        (("mode: consensus", "mode: whim"), r"'whim', at `strategy.mode`"),
        (("cash: 100000", "cash: .nan"), r"must be a finite number, at `cash`"),
        (("lot_size: 0.0001", "lot_size: .inf"), r"must be a finite number, at `instruments\[0\].lot_size`"),
        (("stop_atr: 10.0", "stop_atr: .nan"), r"must be a finite number, at `strategy.stop_atr`"),
        (("order_pct: 20.0", "order_pct: -1"), r"at `risk.order_pct`"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(change: tuple[str, str], says: str, tmp_path: Path) -> None:
    path = book(tmp_path, change)
    said = refusal("replay", path, "--out", tmp_path / "run")
    assert said.startswith(f"{path}: ")
    assert re.search(says, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--archive", "none"), r"none: there is no such archive; `quorum import` makes one"),
        (("--archive", "tests/cli"), r"tests/cli: holds none of the folders of an archive"),
        (("--archive", "README.md"), r"README.md: an archive holds Parquet, CSV or JSON lines"),
        (("--verdicts", "none"), r"none: there is no such archive"),
        (("--from", "yesterday"), r"'yesterday' is not a day or time; write 2017-03-01"),
        (("--from", "2024-01-03", "--to", "2024-01-03"), r"--to 2024-01-03 is not after --from 2024-01-03"),
        (("--from", "2030-01-01"), r"no row of BTC/USD@synthetic in the time asked for: it holds no market data then"),
        (("--speed", "0x"), r"--speed '0x' is neither max nor a number above zero"),
        (("--speed", "nanx"), r"--speed 'nanx'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(
    args: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert re.search(says, refusal("replay", BTC, "--out", tmp_path / "run", *args))
    assert not (tmp_path / "run").exists()


def test_bars_of_another_length_than_the_books_are_refused(tmp_path: Path) -> None:
    other = book(tmp_path, ("bar_s: 60 ", "bar_s: 300 "))
    said = refusal("replay", other, "--archive", EXAMPLES / "archive", *DAY, "--out", tmp_path / "run")
    assert "holds bars of 60 s" in said
    assert "features.bar_s is 300" in said


def test_an_unknown_instrument_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    path = book(tmp_path, ("BTC/USD@synthetic", "XRP/USD@synthetic"))
    said = refusal("replay", path, "--out", tmp_path / "run")
    assert re.search(r"archive: has no row of XRP/USD@synthetic .* it holds BTC/USD@synthetic, ETH/USD@synthetic", said)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def _overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes(400) + data[400:])


def _with_close(change: Callable[[pa.Table], pa.Array | None]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        table = pq.ParquetFile(path).read()
        place, close = table.schema.get_field_index("close"), change(table)
        table = table.remove_column(place)
        pq.write_table(table if close is None else table.add_column(place, "close", close), path)

    return spoil


def _spoiled(value: float) -> Callable[[pa.Table], pa.Array]:
    return lambda table: pa.array(np.where(np.arange(len(table)) == 100, value, table["close"].to_numpy()))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, r"cannot be read as parquet of bars: .*; put a whole copy there, or import it again"),
        (_overwrite, r"cannot be read as parquet of bars: .*; put a whole copy there, or import it again"),
        (lambda path: path.write_bytes(b""), r"cannot be read as parquet of bars: Parquet file size is 0 bytes;"),
        (_with_close(_spoiled(float("nan"))), r"row 101: close nan is not a price between .*quorum import"),
        (_with_close(_spoiled(-1.0)), r"row 101: close -1.0 is not a price between 1e-18 and 1e12; .*quorum import"),
        (_with_close(lambda table: pa.array(["1"] * len(table))), r"column close is string.*quorum import"),
        (_with_close(lambda _: None), r"column close is missing"),
    ],
    ids="cut overwritten empty nan negative text missing".split(),
)
def test_a_spoiled_file_is_named_with_the_place_and_the_mend(
    spoil: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    archive = Path(shutil.copytree(EXAMPLES / "archive", tmp_path / "archive"))
    (bars,) = (
        path
        for path in archive.glob("bars/**/day=03/*.parquet")
        if pq.ParquetFile(path).read(["key"])["key"][0].as_py().startswith("BTC")
    )
    spoil(bars)
    said = refusal("replay", BTC, "--archive", archive, "--out", tmp_path / "run", "--no-report")
    assert said.startswith(f"{bars}: ")
    assert re.search(says, said)


# How it ends


def test_every_exit_code_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.QuorumError)]
    codes = {0, 130, *(kind.exit_code for kind in kinds)}
    (table,) = re.findall(r"^\| exit code \|.*?\n\n", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes
    assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", main.EXIT_CODES)} == codes


def test_ctrl_c_in_mid_run_leaves_a_partial_result_that_can_be_checked_and_audited(tmp_path: Path) -> None:
    run = tmp_path / "run"
    main_module = [sys.executable, "-c", "from cli.main import run; run()"]
    command = [*main_module, "replay", str(BTC), "--speed", "20000x", "--out", str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        began = time.monotonic()
        while not (run / "log" / "verdict-requests.jsonl").exists() and process.poll() is None:
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.05)
        time.sleep(1)  # some hours of the market; less or more would do
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "")
    assert "Partial" in out
    assert out.splitlines()[-1] == str(run / "report.html")
    assert {path.name for path in run.iterdir()} == MADE
    summary = json.loads((run / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert 0 < summary["run"]["market_events"] < 8_640
    assert "interrupted" in (run / "report.html").read_text().lower()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=run / "log", check=True)
    assert quorum("audit", run, "--archive", EXAMPLES / "archive").code == 0
