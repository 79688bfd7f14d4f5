"""Make the sample archive and the two books of this folder anew: `python examples/make_sample.py [FOLDER]`.

The market is synthetic: six days of two instruments with news, drawn from a fixed seed. The same code writes the same
rows every time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cli.new import book_yaml, write_book
from replay.synthetic import Scenario, write_archive

BTC, ETH = "BTC/USD@synthetic", "ETH/USD@synthetic"
SAMPLE = Scenario(instruments=(BTC, ETH), days=6, seed=14, fake_news=True)
BOOKS = {
    "btc.yaml": book_yaml(
        "btc",
        [BTC],
        "consensus",
        "archive",
        file="examples/btc.yaml",
        title="One instrument. Two of three voters must agree, and the fast brain times the entry.",
    ),
    "pair.yaml": book_yaml(
        "pair",
        [BTC, ETH],
        "advisory",
        "archive",
        file="examples/pair.yaml",
        title="Two instruments. The fast brain trades, and the vote may veto an entry.",
    ),
}


def main(folder: Path) -> None:
    """Write archive and books into a folder."""
    rows = write_archive(folder / "archive", SAMPLE)
    for name, text in BOOKS.items():
        write_book(folder / name, text, force=True)
    print(f"{folder}: {rows:,} synthetic bars and texts, {len(BOOKS)} books")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
