"""Which synthetic market to make, and the generators that its parts are drawn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.synthetic.walk import generator
from schemas.base import NS_PER_DAY, NS_PER_S

MINUTES = 1440
FIRST_DAY_NS = 1_704_067_200 * NS_PER_S
"""2024-01-01."""
MAX_DAYS = 27_000
"""The last day must lie before 2100."""
COMMON, OWN, REGIME, PRESS, TAPE, GAPS = range(6)
"""What is drawn; part of a generator's key."""


class Scenario(NamedTuple):
    """What market to make."""

    instruments: tuple[str, ...] = ("BTC/USD@synthetic",)
    days: int = 31
    seed: int = 1
    trends: bool = True
    """Drift and volatility change every two days."""
    news_per_day: int = 8
    """Of each instrument; most of it moves the price minutes later."""
    flash_crash: bool = False
    """On the middle day all prices fall by 12 % in 4 minutes and come back in 20."""
    fake_news: bool = False
    """A third of the way in, bots flood the tweets on the first instrument with claims that no price bears out."""
    gaps: bool = False
    """Single minutes are missing, and every week an outage of 90 minutes."""
    ticks: bool = False
    """Trades and quotes instead of bars."""

    def check(self) -> None:
        """Raise ValueError where there can be no such market."""
        if not 1 <= self.days <= MAX_DAYS:
            raise ValueError(f"a synthetic market has 1 to {MAX_DAYS:,} days, not {self.days}")
        if self.seed < 0:
            raise ValueError(f"a seed is zero or more, not {self.seed}")
        if not 0 <= self.news_per_day <= MINUTES:
            raise ValueError(f"news_per_day is 0 to {MINUTES:,}, not {self.news_per_day}")
        if not self.instruments or len(set(self.instruments)) < len(self.instruments):
            raise ValueError("a synthetic market needs instruments, each once")

    def rng(self, drawn: int, *key: int) -> np.random.Generator:
        """Give the generator of one part of one day, which no other part draws from."""
        return generator(self.seed, drawn, *key)

    @property
    def crash_day(self) -> int:
        """Day of the flash crash, from 0."""
        return self.days // 2

    @property
    def attack_day(self) -> int:
        """Day of the attack with fake news, from 0."""
        return self.days // 3


def day_start_ns(day: int) -> int:
    """Give the midnight at which a day of the market begins."""
    return FIRST_DAY_NS + day * NS_PER_DAY
