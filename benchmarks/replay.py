"""Quorum's replay beside its peers: one book, one market, each run alone in a fresh process, in turns.

Prints a table and leaves with status 1, and one sentence for each promise broken, where an engine's orders or equity
are not those of the plain loop, or where Quorum is too slow or its memory grows. A missing peer is said and left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Nothing of the project is imported, so this program may be started by its path.
ROOT = Path(__file__).parents[1]
PEERS_VENV = ROOT / ".venv-peers"

RECORD = Path(__file__).with_name("recorded.json")
"""The ratios to NautilusTrader's bars per processor second that were last recorded, by setting."""
KEPT = 0.7
"""Of a recorded ratio, what must be reached again: a shared machine moves such figures by a quarter."""
MEMORY_MARGIN = 1.25
"""Quorum's peak memory over the long market may be at most this many times its peak over the short one."""
RUN_LIMIT_S = 3_600
RATIO_TO = "NautilusTrader"

OUT = Console(width=None if sys.stdout.isatty() else 130)
NOTES = Console(stderr=True, highlight=False, soft_wrap=True)


class Setting(NamedTuple):
    """The periods of the two averages, in bars."""

    name: str
    fast: int
    slow: int


SETTINGS = (Setting("usual", 400, 1000), Setting("loud", 20, 50))


class Engine(NamedTuple):
    """A program that takes a workload's arguments and leaves a report, as benchmarks/README.md describes."""

    name: str
    command: tuple[str, ...]


class Report(msgspec.Struct, frozen=True):
    """What a program reports of one run."""

    engine: str
    version: str
    bars: int
    orders: int
    final_equity: float
    load_s: float
    run_s: float
    run_cpu_s: float
    bars_per_s: int
    bars_per_cpu_s: int
    peak_rss_mb: int | None
    log_sha256: str | None = None
    run_loaded_s: float | None = None
    run_loaded_cpu_s: float | None = None
    run_recorded_s: float | None = None
    run_recorded_cpu_s: float | None = None
    run_folded_s: float | None = None
    run_folded_cpu_s: float | None = None


class Run(msgspec.Struct, frozen=True):
    """One run of one engine."""

    engine: str
    setting: str
    report: Report
    own_trades: bool = False
    """Whether the book has stops or models besides, so that its trades are rightly others than the plain loop's."""


class Row(msgspec.Struct, frozen=True):
    """A line of the table: one engine on one workload, the medians over its runs."""

    engine: str
    bars: int
    setting: str
    orders: int
    final_equity: float
    bars_per_s: float
    bars_per_cpu_s: float
    peak_rss_mb: float | None
    ratio: float | None
    """Bars per processor second over `RATIO_TO`'s on the same workload."""


class EngineFailedError(Exception):
    """An engine's program ended without a report."""


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """Gather the runs of each engine on each workload into a row, in order of bars and setting."""
    cells: dict[tuple[int, str, str], list[Report]] = {}
    for run in runs:
        cells.setdefault((run.report.bars, run.setting, run.engine), []).append(run.report)
    speed = {cell: median(report.bars_per_cpu_s for report in found) for cell, found in cells.items()}
    rows = []
    for (bars, setting, engine), found in cells.items():
        base = speed.get((bars, setting, RATIO_TO))
        peaks = [report.peak_rss_mb for report in found if report.peak_rss_mb is not None]
        rows.append(
            Row(
                engine=engine,
                bars=bars,
                setting=setting,
                orders=found[0].orders,
                final_equity=found[0].final_equity,
                bars_per_s=median(report.bars_per_s for report in found),
                bars_per_cpu_s=speed[bars, setting, engine],
                peak_rss_mb=median(peaks) if peaks else None,
                ratio=speed[bars, setting, engine] / base if base else None,
            )
        )
    settings = [setting.name for setting in SETTINGS]
    return sorted(rows, key=lambda row: (row.bars, settings.index(row.setting)))


def broken_promises(runs: Sequence[Run], recorded: Mapping[str, float]) -> list[str]:
    """Say in one sentence each what these runs do not bear out of what Quorum claims; nothing where all holds.

    `recorded` are ratios by setting, as `RECORD` holds them.
    """
    rows = rows_of(runs)
    return [*_wrong_trades(runs), *_other_logs(runs), *_too_slow(rows, recorded), *_memory_grown(rows)]


def _wrong_trades(runs: Sequence[Run]) -> list[str]:
    right = {(run.report.bars, run.setting): run.report for run in runs if run.engine == PLAIN_LOOP.name}
    broken = []
    for run in runs:
        report, loop = run.report, right.get((run.report.bars, run.setting))
        if run.own_trades or loop is None:
            continue
        # Each was rounded to the cent by itself.
        if report.orders != loop.orders or abs(round(100 * report.final_equity) - round(100 * loop.final_equity)) > 1:
            broken.append(
                f"{run.engine} ended {_workload(report.bars, run.setting)} with {report.orders:,} orders and an equity "
                f"of {report.final_equity:,.2f}, but the plain loop, which says what is right, with {loop.orders:,} "
                f"and {loop.final_equity:,.2f}."
            )
    return broken


def _other_logs(runs: Sequence[Run]) -> list[str]:
    logs: dict[tuple[str, int, str], list[str | None]] = {}
    for run in runs:
        logs.setdefault((run.engine, run.report.bars, run.setting), []).append(run.report.log_sha256)
    return [
        f"{engine} left different logs in two runs over {_workload(bars, setting)}."
        for (engine, bars, setting), found in logs.items()
        if any(log != found[0] for log in found)
    ]


def _too_slow(rows: Sequence[Row], recorded: Mapping[str, float]) -> list[str]:
    return [
        f"{QUORUM.name} is {row.ratio:.1f} times as fast as {RATIO_TO} over {_workload(row.bars, row.setting)}; "
        f"{recorded[row.setting]:.1f} times was recorded."
        for row in rows
        if row.engine == QUORUM.name and row.ratio is not None and row.ratio < KEPT * recorded.get(row.setting, 0.0)
    ]


def _memory_grown(rows: Sequence[Row]) -> list[str]:
    """Compare each row of Quorum with its own row over the shortest market."""
    broken = []
    shortest: dict[tuple[str, str], tuple[int, float]] = {}
    for row in rows:
        if row.engine != QUORUM.name or row.peak_rss_mb is None:
            continue
        bars, peak = shortest.setdefault((row.engine, row.setting), (row.bars, row.peak_rss_mb))
        if row.peak_rss_mb > peak * MEMORY_MARGIN:
            broken.append(
                f"{row.engine} needed {row.peak_rss_mb:,.0f} MB over {_workload(row.bars, row.setting)}, more than "
                f"{MEMORY_MARGIN:g} times the {peak:,.0f} MB that it needed over {bars:,} bars."
            )
    return broken


def _workload(bars: int, setting: str) -> str:
    return f"{bars:,} bars ({setting})"


QUORUM = Engine("Quorum", (sys.executable, "-m", "benchmarks.quorum_ema"))
PLAIN_LOOP = Engine("plain loop", (sys.executable, "benchmarks/peers/plain_loop_ema.py"))
LOADED, GUARDED, ASKED = "Quorum, from Parquet", "Quorum, guarded", "Quorum, guarded, models asked"
RECORDED, FOLDED = "Quorum, guarded, verdicts recorded", "Quorum, guarded, verdicts folded"
PEERS = {
    RATIO_TO: "nautilus_ema.py",
    "NautilusTrader (Rust)": "nautilus_rust_ema.py",
    "backtrader": "backtrader_ema.py",
}


def found_peers(venv: Path) -> tuple[list[Engine], list[str]]:
    """Try each peer in its environment; return those that start, and one sentence for each that does not."""
    python, engines, missing = venv / "bin" / "python", [], []
    for name, program in PEERS.items():
        engine = Engine(name, (str(python), f"benchmarks/peers/{program}"))
        if not python.exists():
            missing.append(f"{name} is missing: there is no environment {venv}.")
            continue
        tried = _run([*engine.command, "--help"])
        if tried.returncode == 0:
            engines.append(engine)
        else:
            missing.append(f"{name} is missing: it does not start in {venv} ({_last_line(tried.stderr)}).")
    return engines, missing


def measured(engine: Engine, setting: Setting, market: Path, out: Path) -> Report:
    """Run an engine once in a fresh process; raise `EngineFailedError` where it leaves no report."""
    out.unlink(missing_ok=True)
    periods = ("--fast", str(setting.fast), "--slow", str(setting.slow))
    try:
        done = _run([*engine.command, "--bars", str(market), *periods, "--out-json", str(out)])
    except subprocess.TimeoutExpired:
        raise EngineFailedError(f"{engine.name} was still running after {RUN_LIMIT_S} s ({setting.name}).") from None
    if done.returncode != 0:
        reason = _last_line(done.stderr)
        raise EngineFailedError(f"{engine.name} failed with status {done.returncode} ({setting.name}): {reason}")
    return msgspec.json.decode(out.read_bytes(), type=Report)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of our own programs to its end, from the repository's root, whatever its status."""
    return subprocess.run(  # noqa: S603 - no shell, and every part is ours or a path
        command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _runs(engine: Engine, setting: Setting, report: Report) -> list[Run]:
    """Take apart what one call reports: the run in memory, and those that Quorum makes besides."""
    own = engine.name in (GUARDED, ASKED)
    loaded = (LOADED, report.run_loaded_s if engine.name == QUORUM.name else None, report.run_loaded_cpu_s)
    runs = [Run(engine.name, setting.name, report, own)]
    recorded = (RECORDED, report.run_recorded_s, report.run_recorded_cpu_s)
    folded = (FOLDED, report.run_folded_s, report.run_folded_cpu_s)
    for name, wall_s, cpu_s in (loaded, recorded, folded):
        if wall_s and cpu_s:
            rates = {"bars_per_s": round(report.bars / wall_s), "bars_per_cpu_s": round(report.bars / cpu_s)}
            again = msgspec.structs.replace(report, run_s=wall_s, run_cpu_s=cpu_s, peak_rss_mb=None, **rates)
            runs.append(Run(name, setting.name, again, own))
    return runs


class Plan(NamedTuple):
    """Which engines run over how many bars."""

    bars: int
    engines: Sequence[Engine]


def all_runs(plans: Sequence[Plan], repeat: int, scratch: Path) -> tuple[list[Run], list[str]]:
    """Run every plan `repeat` times, engine after engine within a setting; return the runs and what failed."""
    runs: list[Run] = []
    failed: list[str] = []
    for plan in plans:
        with TemporaryDirectory(dir=scratch) as folder:
            market, out = Path(folder) / "market.parquet", Path(folder) / "report.json"
            NOTES.print(f"writing {plan.bars:,} bars")
            done = _run([sys.executable, "-m", "benchmarks.market", "--bars", str(plan.bars), "--out", str(market)])
            if done.returncode != 0:
                failed.append(f"No market of {plan.bars:,} bars could be written: {_last_line(done.stderr)}")
                continue
            for turn, setting, engine in product(range(1, repeat + 1), SETTINGS, plan.engines):
                NOTES.print(f"{engine.name} over {_workload(plan.bars, setting.name)}, {turn} of {repeat}")
                try:
                    runs += _runs(engine, setting, measured(engine, setting, market, out))
                except EngineFailedError as error:
                    failed.append(str(error))
                    NOTES.print(f"[bold red]{escape(failed[-1])}[/]")
    return runs, failed


def print_table(rows: Sequence[Row]) -> None:
    """Print the rows, with a line between one workload and the next."""
    table = Table(caption="bars/s cpu: bars per second of processor time; ratio: of those, to NautilusTrader's")
    columns: dict[str, Callable[[Row], str]] = {
        "bars": lambda row: f"{row.bars:,}",
        "setting": lambda row: row.setting,
        "engine": lambda row: row.engine,
        "orders": lambda row: f"{row.orders:,}",
        "final equity": lambda row: f"{row.final_equity:,.2f}",
        "bars/s cpu": lambda row: f"{row.bars_per_cpu_s:,.0f}",
        "bars/s wall": lambda row: f"{row.bars_per_s:,.0f}",
        "peak MB": lambda row: "-" if row.peak_rss_mb is None else f"{row.peak_rss_mb:,.0f}",
        "ratio": lambda row: "-" if row.ratio is None else f"{row.ratio:.1f}",
    }
    for name in columns:
        table.add_column(name, justify="left" if name in ("setting", "engine") else "right", no_wrap=True)
    for row, below in zip(rows, [*rows[1:], None], strict=True):
        ends = below is None or (below.bars, below.setting) != (row.bars, row.setting)
        table.add_row(*(cell(row) for cell in columns.values()), end_section=ends)
    OUT.print(table)


def _machine() -> dict[str, object]:
    """Describe where the figures come from; the load says whether anything else was running."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.partition(": ")[2] for line in cpus if line.startswith("model name")), platform.machine()),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _plans(arguments: argparse.Namespace, peers: Sequence[Engine]) -> list[Plan]:
    guarded = Engine(GUARDED, (*QUORUM.command, "--guarded"))
    asked = Engine(ASKED, (*guarded.command, "--models", *arguments.models))
    ours = (PLAIN_LOOP, QUORUM)
    short = Plan(arguments.bars, (*ours, *peers, guarded, *((asked,) if arguments.models else ())))
    long = Plan(arguments.long_bars, (*ours, *(peers if arguments.peers_at_10m else ())))
    return [short, long] if arguments.long_bars else [short]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Quorum's replay beside other engines on one market.")
    parser.add_argument("--bars", type=int, default=1_000_000, metavar="N", help="the market all run over")
    parser.add_argument(
        "--long-bars", type=int, default=10_000_000, metavar="N", help="a longer one, for Quorum alone; 0 for none"
    )
    parser.add_argument(
        "--peers-at-10m", action="store_true", help="run the peers over the longer one too: minutes each, 9 GB"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs each; the medians are printed")
    models = ["vader", "textblob", "trend"]
    parser.add_argument("--models", nargs="*", default=models, help="offline models that Quorum's further rows ask")
    parser.add_argument("--peers", type=Path, default=PEERS_VENV, metavar="VENV", help="the peers' environment")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and runs here as well")
    parser.add_argument("--record", action="store_true", help=f"keep the ratios in {RECORD.name} for later runs")
    arguments = parser.parse_args(argv)
    slowest = max(setting.slow for setting in SETTINGS)
    if arguments.bars < slowest:
        parser.error(f"--bars must be at least {slowest}, the slow average's period, not {arguments.bars}")
    if arguments.long_bars and arguments.long_bars <= arguments.bars:
        parser.error(f"--long-bars must be more than --bars, or 0, not {arguments.long_bars}")
    if arguments.repeat < 1:
        parser.error(f"--repeat must be at least 1, not {arguments.repeat}")
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: no folder {arguments.json.parent}; make it first")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for, print it, and return the exit status: 1 where a promise is broken."""
    arguments = _arguments(argv)
    machine = _machine()
    peers, missing = found_peers(arguments.peers.absolute())
    for sentence in missing:
        NOTES.print(f"[bold yellow]{escape(sentence)} `make bench` builds it. Going on without.[/]")
    with TemporaryDirectory(prefix="quorum-benchmark-") as scratch:
        runs, failed = all_runs(_plans(arguments, peers), arguments.repeat, Path(scratch))
    rows = rows_of(runs)
    ratios = {row.setting: row.ratio for row in rows if row.engine == QUORUM.name and row.ratio is not None}
    broken = [*failed, *broken_promises(runs, msgspec.json.decode(RECORD.read_bytes(), type=dict[str, float]))]
    if arguments.record:
        RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(ratios)) + b"\n")
    if arguments.json:
        told = {"machine": machine, "missing": missing, "broken": broken, "rows": rows, "runs": runs}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    print_table(rows)
    OUT.print(", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    if not ratios:
        NOTES.print(f"[bold yellow]Not checked: the ratio to {RATIO_TO}, which did not run.[/]")
    for sentence in broken:
        NOTES.print(f"[bold red]{escape(sentence)}[/]")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
