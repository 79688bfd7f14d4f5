"""Turns a finished run's log into `summary.json`, `trades.csv`, `equity.parquet` and `report.html`.

A pure reader of the log: run twice, it writes the same bytes, but for what the host says under `timing`.
"""

from __future__ import annotations

from decimal import localcontext
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from agents.money import CONTEXT
from replay.curves import drawdowns
from replay.report import write_report
from replay.results import Ended, Results, Summary, read_results
from replay.rundir import RunDir
from schemas.codec import encode


def finish(run_dir: Path, facts: dict[str, object], *, report: bool = True) -> Summary:
    """Write what a run is turned into, and give the summary.

    `facts` is the host's: `interrupted`, `log_sha256`, `timing` (a dict of all that depends on wall time), and
    whatever else is to stand under `run` in `summary.json`. Raises ArchiveError where the folder is not a run's.
    """
    with localcontext(CONTEXT):
        results = read_results(RunDir(run_dir), facts)
        _write_equity(run_dir / "equity.parquet", results)
        write_summary(results.summary, run_dir)
        if report:
            write_report(results, run_dir / "report.html")
    return results.summary


def write_summary(summary: Ended, run_dir: Path) -> None:
    """Write `summary.json`."""
    (run_dir / "summary.json").write_bytes(msgspec.json.format(encode(summary), indent=2) + b"\n")


def _write_equity(path: Path, results: Results) -> None:
    marks = results.marks
    time = pa.array(marks.times, pa.timestamp("ns", tz="UTC"))
    columns = {name: pa.array(values) for name, values in zip(marks._fields[1:], marks[1:], strict=True)}
    table = {"time": time, **columns, "drawdown_pct": pa.array(drawdowns(marks.equity) * 100)}
    pq.write_table(pa.table(table | {"buy_and_hold": pa.array(results.held)}), path, compression="zstd")
