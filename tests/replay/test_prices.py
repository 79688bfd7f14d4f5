"""The prices that a report samples are those that the agents saw, whatever the data and however it is cut."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.features import PRICE
from agents.frame import Frame
from agents.pipeline import Desk
from replay.prices import PriceSampler
from schemas.base import NS_PER_MIN
from schemas.book import Book
from tests.agents.markets import Market, markets, part

Samples = dict[tuple[str, int], tuple[int, float]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prices") / "prices.parquet"


def seen(book: Book, frame: Frame, every_ns: int) -> Samples:
    """The last price of each instrument in each interval, as the agents know it after the last event."""
    desk, samples = Desk(book), {}
    for row in range(len(frame)):
        desk.speak(frame, row, row)
        k, time = int(frame.instrument[row]), int(frame.observed_at[row])
        samples[frame.instruments[k], time // every_ns] = time, float(desk.features.state.rows[k, PRICE])
    return samples


@given(markets(), st.sampled_from([1, 5, 60]), st.integers(0, 2**32 - 1))
def test_samples_are_the_prices_that_the_agents_saw(path: Path, market: Market, every_min: int, seed: int) -> None:
    random, book, frame = Random(seed), market.book(mark_every_min=every_min), market.frame()
    sampler = PriceSampler(book)
    lo = 0
    while lo < len(frame):
        hi = min(len(frame), lo + random.choice([1, 2, 7, 40, 1000]))
        piece = part(frame, lo, hi)
        sampler.take(piece, int(piece.observed_at[-1]))
        lo = hi
    sampler.write(path)
    every_ns = every_min * NS_PER_MIN
    rows = pq.read_table(path).to_pylist()
    samples = {(row["instrument"], row["time"] // every_ns): (row["time"], row["price"]) for row in rows}
    assert samples == seen(book, frame, every_ns)
