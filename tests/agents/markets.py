"""Random markets and books: instruments, kinds of data, gaps, repeats, jumps and extreme prices in one journal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from agents.frame import BAR, QUOTE, TRADE, Frame
from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_S, Event
from schemas.book import Book
from tests.agents.builders import T0, make_book

NAMES = ("BTC/USDT@x", "ETH/USDT@x", "SOL/USDT@y")
COLUMNS = ("kind", "instrument", "number", "occurred_at", "observed_at", "values")
PAUSES_S = (0, 0, 1, 5, 20, 20, 60, 60, 60, 600)


class Market(NamedTuple):
    """A market that follows from its seed."""

    seed: int
    instruments: int = 1
    rows: int = 100
    kinds: tuple[int, ...] = (BAR,)
    roughness: int = 1
    """0 stands still at times, 1 moves, 2 jumps, 3 goes from one extreme price to another."""

    def book(self, **sections: Any) -> Book:
        """A book on the market's instruments."""
        steps = {"lot_size": "0.0001", "tick_size": "0.000001", "min_notional": "1"}
        return make_book([{"id": name} | steps for name in NAMES[: self.instruments]], **sections)

    def frame(self) -> Frame:
        """All of its rows, as one frame."""
        random = np.random.default_rng(self.seed)
        price = 10.0 ** random.uniform(-3, 6, self.instruments) if self.roughness == 3 else np.full(3, 100.0)
        now = T0 + int(random.integers(0, NS_PER_DAY))
        ints: list[tuple[int, ...]] = []
        values: list[tuple[float, ...]] = []
        for count in range(self.rows):
            k, kind = int(random.integers(self.instruments)), int(random.choice(self.kinds))
            now += int(random.choice(PAUSES_S)) * NS_PER_S + (NS_PER_DAY if random.random() < 0.01 else 0)
            price[k] = self._moved(random, float(price[k]))
            number, occurred_at, row = self._row(random, kind, float(price[k]), now)
            ints.append((kind, k, count if number is None else number, occurred_at, now))
            values.append(row)
        columns = np.ascontiguousarray(np.array(ints, np.int64).T)
        a, b, c, d, e = columns
        return Frame(NAMES[: self.instruments], a, b, c, d, e, np.array(values))

    def _moved(self, random: np.random.Generator, price: float) -> float:
        luck = random.random()
        if luck < 0.2 or (self.roughness == 0 and luck < 0.7):
            return price
        if self.roughness == 3 and luck > 0.97:
            return float(10.0 ** random.uniform(-3, 6))
        if self.roughness >= 2 and luck > 0.9:
            return float(price * random.choice([0.5, 0.9, 1.1, 2.0]))
        return float(price * np.exp(random.normal(0, 0.005)))

    @staticmethod
    def _row(
        random: np.random.Generator, kind: int, price: float, now: int
    ) -> tuple[int | None, int, tuple[float, ...]]:
        size = float(random.integers(1, 1000)) / 10
        if kind == TRADE:
            return None, now - int(random.integers(0, NS_PER_S)), (price, size, float(random.integers(-1, 2)), 0, 0, 0)
        if kind == QUOTE:
            return None, now, (price * 0.9999, price * 1.0001, size, size, 0, 0)
        interval_ns = NS_PER_MIN if random.random() < 0.95 else 5 * NS_PER_MIN
        late = int(random.integers(1, 4)) if random.random() < 0.05 else 0
        opened_at = (now // interval_ns - 1 - late) * interval_ns
        high, low = price * (1 + 0.002 * random.random()), price * (1 - 0.002 * random.random())
        row = (low + (high - low) * random.random(), high, low, price, size, float(interval_ns))
        return opened_at, opened_at + interval_ns, row


def part(frame: Frame, lo: int, hi: int) -> Frame:
    """Cut rows [lo, hi) out of a frame."""
    a, b, c, d, e, values = (getattr(frame, column)[lo:hi] for column in COLUMNS)
    return Frame(frame.instruments, a, b, c, d, e, values, frame.ids[lo:hi])


def frame_of(events: Iterable[Event], instruments: tuple[str, ...]) -> Frame:
    """Join market events to one frame; with ids where a producer gave its own."""
    rows = [Frame.of_events([event], instruments) for event in events]
    a, b, c, d, e, values = (np.concatenate([getattr(row, column) for row in rows]) for column in COLUMNS)
    ids = tuple("".join(row.ids) for row in rows)
    return Frame(instruments, a, b, c, d, e, values, ids if any(ids) else ())


@st.composite
def markets(draw: st.DrawFn, max_rows: int = 120) -> Market:
    """A random market."""
    kinds = draw(st.lists(st.sampled_from([BAR, TRADE, QUOTE]), min_size=1, max_size=3, unique=True))
    return Market(
        seed=draw(st.integers(0, 2**32 - 1)),
        instruments=draw(st.integers(1, 3)),
        rows=draw(st.integers(1, max_rows)),
        kinds=tuple(sorted(kinds)),
        roughness=draw(st.integers(0, 3)),
    )


@st.composite
def books(draw: st.DrawFn, market: Market) -> Book:
    """A random book on a market: strict limits and short rests, so that every rule has its day."""

    def maybe(*values: float) -> float | None:
        return draw(st.sampled_from([None, None, *values]))

    models = draw(st.sampled_from([0, 1, 3]))
    agree = draw(st.integers(1, models or 1))
    screen = draw(st.sampled_from(["", "outside", "voter"])) if models > 1 else ""
    analysts: dict[str, Any] = {"every_min": draw(st.sampled_from([1, 5])), "news_cooldown_s": 30, "deadline_s": 60}
    if screen:
        agree = min(max(agree, 2), 2 if screen == "outside" else models)
        analysts |= {"screen": "m2", "models": ["m0", "m1"] if screen == "outside" else ["m0", "m1", "m2"]}
    mode = draw(st.sampled_from(["consensus", "override", "advisory"])) if models else "advisory"
    return market.book(
        models=models,
        mark_every_min=draw(st.sampled_from([1, 30])),
        analysts=analysts,
        consensus={
            "agree": agree,
            "fallback": draw(st.sampled_from(["", "m0"][:models])),
            "weights": draw(st.sampled_from(["equal", "accuracy"])),
            "calibrate": draw(st.booleans()),
            "prior_outcomes": draw(st.sampled_from([1, 20])),
            "disagreement_alert_min": maybe(1, 30),
        }
        if models
        else {},
        strategy={
            "mode": mode,
            "fast_brain": draw(st.sampled_from(["ema_cross", "none"])),
            "bias_ttl_min": draw(st.sampled_from([3, 60])),
            "hold_exits": draw(st.booleans()),
            "stop_atr": maybe(1.0),
            "target_atr": maybe(2.0),
        },
        risk={
            "order_pct": draw(st.sampled_from([10.0, 60.0])),
            "max_position_pct": draw(st.sampled_from([25.0, 90.0])),
            "max_exposure_pct": draw(st.sampled_from([30.0, 150.0])),
            "max_orders_per_day": maybe(2),
            "confirm_above_notional": maybe(8_000.0),
            "max_price_age_s": draw(st.sampled_from([1, 300, 100_000])),
        },
        breakers={
            "max_drawdown_pct": maybe(0.5, 5.0),
            "max_daily_loss_pct": maybe(0.3),
            "max_losing_streak": maybe(1, 2),
            "flash_move_pct": maybe(1.0),
            "max_failed_votes": maybe(1),
            "cooldown_min": 5,
        },
    )
