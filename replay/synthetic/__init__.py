"""Synthetic markets, drawn from a seed: the same bits on every machine, whatever the length. Nothing here is real.

`walk` is the bare random walk for benchmarks of any size; `market` adds what a book reacts to: news that runs ahead
of the price, trends, and on request a flash crash, an attack with fake news, and gaps.
"""

from __future__ import annotations

from replay.synthetic.market import write_archive
from replay.synthetic.scenario import Scenario
from replay.synthetic.walk import Bars, walk, write_bars

__all__ = ["Bars", "Scenario", "walk", "write_archive", "write_bars"]
