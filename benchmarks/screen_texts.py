"""How often the screen for orders to models flags what people really wrote: `python -m benchmarks.screen_texts`.

All recorded texts of `../shared/data/text` are scored as they came; none of them is known to be an attack. The table
says of each recording how many would wait for a person, and how long a text takes.
"""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agents.injection import FLAGGED_FROM, screen

TEXTS = Path(__file__).parents[2] / "shared" / "data" / "text"


def main() -> None:
    """Score them and print the table."""
    paths = sorted(TEXTS.rglob("*.jsonl.gz"))
    if not paths:
        raise SystemExit(f"{TEXTS} is not there: this benchmark needs the recorded texts")
    table = Table("recording", "texts", f"score {FLAGGED_FROM} or more", "share %", "ms a text")
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        texts = list(dict.fromkeys(f"{row.get('title', '')}. {row['text']}".removeprefix(". ") for row in rows))
        began = time.process_time()
        flagged = sum(screen(text).score >= FLAGGED_FROM for text in texts)
        cost_ms = 1000 * (time.process_time() - began) / len(texts)
        share_pct = 100 * flagged / len(texts)
        table.add_row(path.name, f"{len(texts):,}", f"{flagged:,}", f"{share_pct:.3f}", f"{cost_ms:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
