"""The EMA-cross book in Quorum's replay, whole: archive in, merge, agents, risk, simulated exchange, log out.

It takes the same arguments and leaves the same report as the peers. `--guarded` adds stops, targets, circuit breakers,
slippage and delay to the book, `--models` offline models that are asked every 15 minutes. Run it from the repository's
root: `python -m benchmarks.quorum_ema`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from agents.frame import Frame
from agents.pipeline import Desk
from benchmarks.peers.peer import (
    COLUMNS,
    QUANTITY,
    STARTING_CASH,
    TAKER_FEE,
    Lap,
    Stopwatch,
    Workload,
    checked_workload,
    peak_rss_mb,
    workload_parser,
    write_report,
)
from connectors.archive import ROW_GROUP_ROWS, SCHEMAS
from connectors.voters import VOTERS, offline_voters
from replay.cassette import RecordedVerdicts
from replay.collector import collector_paused
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.gateway import ReplayGateway
from replay.log import DecisionLog, FileLog
from replay.questions import Sheet, load_sheet
from replay.rundir import BOOK
from replay.sources import open_archive
from replay.synthetic.walk import Bars, bars_table
from schemas.book import Book, parse_book
from schemas.codec import encode
from schemas.execution import OrderFilled

INSTRUMENT = "BTC/USDT@sim"
WARM_UP_FRAMES = 2
"""Replayed before the clock starts, so that the kernels are compiled or read from numba's cache."""
SCALAR_ROWS = 30_000
"""Replayed once more event by event: the log must be the same."""
UNLIMITED_PCT = 1e6


GUARDS: dict[str, dict[str, Any]] = {
    "strategy": {"stop_atr": 60.0, "target_atr": 120.0},
    "breakers": {
        "max_drawdown_pct": 90.0,
        "max_daily_loss_pct": 50.0,
        "flash_move_pct": 20.0,
        "max_losing_streak": 1_000,
        "max_failed_votes": 1_000_000,
    },
    "venue": {"slippage_bps": 1.0, "latency_ms": 100},
}
"""Every guard is on and looks at every bar; those that would end the trading are set so far out that none trips."""


def ema_book(fast: int, slow: int, models: Sequence[str] = (), *, guarded: bool = False) -> Book:
    """Build the book of benchmarks/README.md; each of `models` may veto an entry, as mode advisory has it.

    Unless it is `guarded`, the limits are wide open, and the venue neither delays, slips nor caps: an order fills at
    the next bar's open.
    """
    asked: dict[str, Any] = {
        "models": {name: {"kind": name} for name in models},
        "analysts": {"models": list(models), "every_min": 15},
        "consensus": {"agree": 1},
    }
    data: dict[str, Any] = {
        "name": "ema-cross",
        "instruments": [{"id": INSTRUMENT, "lot_size": "0.001", "tick_size": "0.01", "min_notional": "0"}],
        "cash": str(STARTING_CASH),
        "features": {"ema_fast": fast, "ema_slow": slow},
        "strategy": {"mode": "advisory"},
        "risk": {
            "order_quantity": str(QUANTITY),
            "max_position_pct": UNLIMITED_PCT,
            "max_exposure_pct": UNLIMITED_PCT,
        },
        "venue": {"taker_bps": TAKER_FEE * 1e4, "slippage_bps": 0.0, "latency_ms": 0, "max_volume_pct": None},
        **(asked if models else {}),
    }
    for section, settings in GUARDS.items() if guarded else ():
        data[section] = data.get(section, {}) | settings
    return parse_book(data)


def archived(bars: Path) -> Path:
    """Convert a market to one Parquet file in the columns of an archive, beside it, unless that was done before."""
    path = bars.with_suffix(".archive.parquet")
    if path.exists() and path.stat().st_mtime >= bars.stat().st_mtime:
        return path
    part = path.with_suffix(".part")
    times = dict.fromkeys(("number", "occurred_at", "observed_at"), "DELTA_BINARY_PACKED")
    with (
        pq.ParquetFile(bars) as source,
        pq.ParquetWriter(
            part, SCHEMAS["bars"], compression="zstd", use_dictionary=["key", "interval_ns"], column_encoding=times
        ) as archive,
    ):
        for batch in source.iter_batches(ROW_GROUP_ROWS):
            bars_read = Bars(*(column.to_numpy() for column in batch.select(COLUMNS).columns))
            archive.write_table(bars_table(bars_read, INSTRUMENT))
    part.replace(path)
    return path


class Replay(NamedTuple):
    """What one run came to, and how long it took from the archive's first byte to the log's digest."""

    time: Lap
    bars: int
    orders: int
    equity: Decimal
    log_events: int
    """Lines of the log: inputs that are not market data, and all that was derived."""
    log_sha256: str


def replayed(
    book: Book,
    frames: Iterable[Frame],
    out: Path,
    recorded: RecordedVerdicts,
    *,
    kept: type[FileLog] = FileLog,
    sheet: Sheet | None = None,
) -> Replay:
    """Replay frames through the whole pipeline, with the log written below `out`: the complete one, unless it says.

    A log of decisions may have the questions of a `sheet` folded.
    """
    watch = Stopwatch()
    log = kept(out)
    gateway = ReplayGateway(book, recorded, offline_voters(book))
    engine = Engine(Desk(book), SimulatedExchange(book), gateway, log, sheet)
    with collector_paused():  # as every replay runs
        for _ in engine.run(frames):
            pass
        log_sha256 = log.close()
    time = watch.lap()
    log_events, orders = _counted(log.root)
    return Replay(time, engine.rows, orders, engine.desk.portfolio.equity(), log_events, log_sha256)


def _counted(log: Path) -> tuple[int, int]:
    """Count a log's events, and among its inputs the fills: this venue fills an order whole."""
    fill = b'{"type":"%b"' % OrderFilled.__name__.encode()
    events = fills = 0
    for path in log.glob("*.jsonl"):
        with path.open("rb") as lines:
            for line in lines:
                events += 1
                fills += line.startswith(fill)
    return events, fills


def cut(frame: Frame, lo: int, hi: int) -> Frame:
    """Give rows [lo, hi) as a frame."""
    kind, instrument, number, occurred_at, observed_at = (column[lo:hi] for column in frame.columns[:-1])
    values = frame.values[lo:hi]
    return Frame(frame.instruments, kind, instrument, number, occurred_at, observed_at, values, frame.ids[lo:hi])


def _measure(workload: Workload, book: Book, out: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as other_process:  # so that its memory is not counted here
        path = other_process.submit(archived, workload.bars).result()
    nothing = RecordedVerdicts()
    replayed(book, islice(open_archive(path, book).frames(), WARM_UP_FRAMES), out / "warm-up", nothing)
    loaded = replayed(book, open_archive(path, book).frames(), out / "loaded", nothing)
    peak = peak_rss_mb()
    watch = Stopwatch()
    frames = list(open_archive(path, book).frames())
    load = watch.lap()
    whole = replayed(book, frames, out / "whole", nothing)
    again = {"loaded": loaded}
    folded: dict[str, Replay] = {}
    if book.models:
        recorded = RecordedVerdicts.load(out / "whole")
        again["recorded"] = replayed(book, frames, out / "recorded", recorded)
        folded = _folded(book, frames, out, recorded)
    if any(other.log_sha256 != whole.log_sha256 for other in again.values()):
        raise RuntimeError(f"a second run left another log: {whole}, {again}")
    _check_scalar(book, frames[0], out)
    again |= folded
    more = {f"run_{name}_cpu_s": round(other.time.cpu_s, 3) for name, other in again.items()}
    more |= {f"run_{name}_s": round(other.time.wall_s, 3) for name, other in again.items()}
    write_report(
        workload.out_json,
        engine="Quorum",
        version=version("quorum"),
        fills_at="open of the next bar",
        bars=whole.bars,
        orders=whole.orders,
        load=load,
        run=whole.time,
        final_equity=float(whole.equity),
        peak_rss_mb=peak,
        log_events=whole.log_events,
        log_sha256=whole.log_sha256,
        **more,
    )


def _folded(book: Book, frames: Sequence[Frame], out: Path, recorded: RecordedVerdicts) -> dict[str, Replay]:
    """Replay with the decisions logged, and the questions of the run in `whole` folded; then all of them put.

    Raises RuntimeError where the log is another than that of a replay in which every question is put, or where the
    first rows come to something else one by one.
    """
    (out / "whole" / BOOK).write_bytes(encode(book))
    sheet = load_sheet(out / "whole", book, recorded)
    if sheet is None:
        raise RuntimeError("the run left no questions to fold")
    folded = replayed(book, frames, out / "folded", recorded, kept=DecisionLog, sheet=sheet)
    put = replayed(book, frames, out / "put", recorded, kept=DecisionLog)
    _demand_equal(put, folded)
    rows = min(len(frames[0]), SCALAR_ROWS)
    first = replayed(book, [cut(frames[0], 0, rows)], out / "first", recorded, kept=DecisionLog, sheet=sheet)
    one_by_one = (cut(frames[0], row, row + 1) for row in range(rows))
    _demand_equal(replayed(book, one_by_one, out / "one-by-one", recorded, kept=DecisionLog), first)
    return {"folded": folded, "put": put}


def _demand_equal(put: Replay, folded: Replay) -> None:
    if (put.log_sha256, put.orders, put.equity) != (folded.log_sha256, folded.orders, folded.equity):
        raise RuntimeError(f"with folded questions the rows come to something else: {put}, {folded}")


def _check_scalar(book: Book, frame: Frame, out: Path) -> None:
    """Replay the first rows in spans and one by one. Raises RuntimeError where orders, equity or any event differ."""
    rows = min(len(frame), SCALAR_ROWS)
    spans = replayed(book, [cut(frame, 0, rows)], out / "spans", RecordedVerdicts())
    scalar = replayed(book, (cut(frame, row, row + 1) for row in range(rows)), out / "scalar", RecordedVerdicts())
    if (scalar.log_sha256, scalar.orders, scalar.equity) != (spans.log_sha256, spans.orders, spans.equity):
        raise RuntimeError(f"one by one the rows come to something else: {spans}, {scalar}")


def _main() -> None:
    parser = workload_parser("Quorum")
    parser.add_argument(
        "--models", nargs="*", default=[], choices=sorted(VOTERS), help="offline models to ask every 15 minutes"
    )
    parser.add_argument("--guarded", action="store_true", help="with stops, targets, breakers, slippage and delay")
    arguments = parser.parse_args()
    workload = checked_workload(parser, arguments)
    book = ema_book(workload.fast, workload.slow, arguments.models, guarded=arguments.guarded)
    with TemporaryDirectory(prefix="quorum-benchmark-") as out:
        _measure(workload, book, Path(out))


if __name__ == "__main__":
    _main()
