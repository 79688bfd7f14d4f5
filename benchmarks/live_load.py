"""What the live benchmark sends: trades that hardly ever lead to anything, and bars that each lead to an order."""

from __future__ import annotations

from pathlib import Path

import yaml

from schemas.base import NS_PER_S, market_id
from schemas.codec import encode
from schemas.market import BarClosed, TradeTicked

LOAD = "LOAD/USD@bench"
FLIPS = tuple(f"F{n}/USD@bench" for n in range(20))
FLIP_HZ = 4.0
"""Orders a second of each flipping instrument."""
WARM_FLIPS = 10
"""Bars of each that are sent before anything is measured."""
BAR_NS = 60 * NS_PER_S


def book_file(path: Path) -> Path:
    """Write a book that trades every bar of the flipping instruments, and hardly ever the load."""
    book = {
        "name": "bench",
        "cash": 100_000_000,
        "instruments": [{"id": name} for name in (LOAD, *FLIPS)],
        "features": {"ema_fast": 1, "ema_slow": 2},
        "strategy": {"mode": "advisory"},
        "risk": {"order_quantity": 1, "max_position_pct": 1e6, "max_exposure_pct": 1e6},
        "venue": {"latency_ms": 1, "max_volume_pct": None},
    }
    path.write_text(yaml.safe_dump(book), encoding="utf-8")
    return path


def tick(number: int, at: int) -> bytes:
    """Encode a trade of the load."""
    price = 100 + (number // 500 % 100) / 100
    key = market_id(LOAD, "trade", number)
    return encode(TradeTicked(id=key, key=LOAD, occurred_at=at, observed_at=at, price=price, size=1.0, side="buy"))


def flip(instrument: str, number: int, at: int) -> bytes:
    """Encode a bar that turns the averages round."""
    price = 100.0 + number % 2
    opened = 1_700_000_000 * NS_PER_S + number * BAR_NS
    bar = BarClosed(
        id=market_id(instrument, "bar60", opened),
        key=instrument,
        occurred_at=at,
        observed_at=at,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=1e6,
        interval_ns=BAR_NS,
    )
    return encode(bar)
