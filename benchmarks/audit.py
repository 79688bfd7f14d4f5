"""How fast a run is rebuilt for its audit, every derived byte compared: `python -m benchmarks.audit`.

The runs are the benchmarks' books over their walk, with the whole log; the market is read from Parquet, which counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.market import write_market
from benchmarks.peers.peer import Lap, Stopwatch
from benchmarks.quorum_ema import archived, ema_book, replayed
from replay.audit import Audited, audit
from replay.cassette import RecordedVerdicts
from replay.collector import collector_paused
from replay.sources import open_archive
from schemas.book import Book

MODELS = ("vader", "textblob", "trend")
BOOKS: dict[str, Book] = {
    "usual": ema_book(400, 1000),
    "loud": ema_book(20, 50),
    "guarded": ema_book(400, 1000, guarded=True),
    "guarded, with models": ema_book(400, 1000, MODELS, guarded=True),
}


def quickest(run: Path, archive: Path, book: Book, repeat: int) -> tuple[Audited, Lap]:
    """Audit a run so many times; give what was compared, and the quickest."""
    laps: list[Lap] = []
    for _ in range(repeat):
        watch = Stopwatch()
        with collector_paused():
            audited = audit(run, open_archive(archive, book).frames(), book)
        laps.append(watch.lap())
    return audited, min(laps, key=lambda lap: lap.cpu_s)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    table = Table("book", "bars", "journal entries", "derived events", "bars/s of processor time", "bars/s")
    with TemporaryDirectory(prefix="quorum-audit-") as folder:
        market = Path(folder) / "market.parquet"
        write_market(market, given.bars, seed=1)
        archive = archived(market)
        for name, book in BOOKS.items():
            replayed(book, open_archive(archive, book).frames(), Path(folder) / name, RecordedVerdicts())
            audited, lap = quickest(Path(folder) / name, archive, book, given.repeat)
            counts = (audited.market_events, audited.journal_entries, audited.derived_events)
            rates = (audited.market_events / seconds for seconds in (lap.cpu_s, lap.wall_s))
            table.add_row(name, *(f"{count:,}" for count in counts), *(f"{rate:,.0f}" for rate in rates))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
