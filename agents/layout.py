"""What the pass over market events reads and keeps, as records of scalars and columns of the agents' arrays.

A compiled loop holds such a record in registers. The order of the fields is the order of the columns where the record
is kept.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from agents.frame import Floats, Ints
from agents.kernels import inlined

FROM_QUOTES, FROM_TRADES, FROM_BARS = 1.0, 2.0, 3.0
"""What builds an instrument's bars; 0 while nothing does."""
CONSENSUS, OVERRIDE, ADVISORY = range(3)
NO_BIAS, BUY, SELL, HOLD = 0, 1, -1, 2
KEEP, REFUSED = 3, 4
"""What a recorded question does besides: it leaves the bias as it is, or it must be put again."""
MARKED, ASKED = 1, 2
"""Bits of what a tick between rows does: it marks the book's worth, it puts the questions of a boundary."""
DRAWDOWN, DAILY_LOSS, FLASH_MOVE, NEW_TARGET = 1, 2, 4, 8
"""Bits of what a row leads to: the limits that it breaks, and a call for another position."""
PEAK, DAY_START = range(2)
"""Columns of the breakers' marks."""
OPEN_DRAWDOWN, OPEN_DAILY = range(2)
"""Columns of the breakers' flags of what is tripped."""


class Closed(NamedTuple):
    """What the closed bars of an instrument come to."""

    bars: float
    close: float
    move: float
    ema_fast: float
    ema_slow: float
    gain: float
    loss: float
    atr: float
    variance: float
    peak: float
    anchor: float
    anchor_before: float


class Forming(NamedTuple):
    """What builds an instrument's bars, and the bar that is forming."""

    feed: float
    bucket: float
    open: float
    high: float
    low: float


class Row(NamedTuple):
    """An instrument's state after an event: the columns of `FeaturesState.rows`, in their order."""

    price: float
    closes: float
    """1 where this event closed a bar."""
    closed: Closed
    forming: Forming


class Settings(NamedTuple):
    """Of the features."""

    alpha_fast: float
    alpha_slow: float
    rsi_bars: float
    atr_bars: float
    decay: float
    interval_ns: float


class Limits(NamedTuple):
    """Of the breakers, in percent; infinite where there is none."""

    drawdown: float
    daily_loss: float
    move: float


class Rules(NamedTuple):
    """Of the strategy."""

    mode: int
    fast_brain: int
    """0 where there is none."""
    slow_bars: int
    hold_exits: int


class Signal(NamedTuple):
    """What the strategy goes by on an instrument: the columns of its state's signals, in their order."""

    bias: int
    strong: int
    intent: int
    shortable: int
    killed: int


class Bounds(NamedTuple):
    """Prices at which a working order may begin to trade: once the price at which a buyer (seller) trades is at or
    beyond it.
    """

    buy_below: float
    sell_below: float
    buy_above: float
    sell_above: float


UNBOUNDED = Bounds(-inf, -inf, inf, inf)


class Watch(NamedTuple):
    """What a venue waits for. A live desk's venue is elsewhere and waits for nothing here."""

    wake_at: Ints
    """int64[instruments]: the time from which every row counts, NEVER if there is none."""
    bounds: Floats
    """float64[instruments, 4]: see Bounds; infinite where no price counts."""


class Shown(NamedTuple):
    """The numbers that a question on an instrument shows, in the order of `PricePart`."""

    close: float
    return_since_ask: float
    ema_fast: float
    ema_slow: float
    rsi: float
    atr: float
    volatility: float
    drawdown: float
    bars: float


class Ask(NamedTuple):
    """A recorded question on one instrument, and what came of it: the columns of `Answers.asks`, in their order."""

    at: int
    instrument: int
    seen_at: int
    """Of the market event that it cites, as are the next three."""
    kind: int
    number: int
    interval_ns: int
    bias: int
    """What the vote came to; KEEP where it came to nothing, REFUSED where the record does not tell."""
    strong: int
    settled_at: int
    last_at: int
    """When the last of its verdicts was observed."""


class Answers(NamedTuple):
    """Recorded questions by time, then instrument, and last of all one that is never put."""

    asks: Ints
    """int64[asks + 1, 10]: see Ask."""
    shown: Floats
    """float64[asks + 1, 9]: see Shown."""


class Note(NamedTuple):
    """A tick that a scan took between rows."""

    row: int
    """The row that it comes before."""
    at: int
    bits: int
    """MARKED, ASKED or both."""
    asked: int
    """How many of the recorded questions lie behind it."""


class Notes(NamedTuple):
    """Ticks that a scan took between rows, in their order."""

    ticks: list[Note]
    prices: Floats
    """float64[notes, instruments]: the last prices by then."""
    seen_at: Ints
    """int64[notes, instruments]: when the last market events by then were observed."""


class Terms(NamedTuple):
    """What the agents hold against an instrument's rows until one of them speaks."""

    signal: Signal
    rules: Rules
    busy: int
    limits: Limits
    drawdown_open: int
    daily_open: int
    is_halted: int
    day_start: float


# Reading and keeping


@inlined
def settings_of(settings: Floats) -> Settings:
    """Read the features' settings."""
    return Settings(settings[0], settings[1], settings[2], settings[3], settings[4], settings[5])


@inlined
def rules_of(rules: Ints) -> Rules:
    """Read the strategy's rules."""
    return Rules(rules[0], rules[1], rules[2], rules[3])


@inlined
def signal_of(signals: Ints, k: int) -> Signal:
    """Read an instrument's signal."""
    return Signal(signals[k, 0], signals[k, 1], signals[k, 2], signals[k, 3], signals[k, 4])


@inlined
def terms_of(
    k: int, signals: Ints, busy: Ints, rules: Ints, marks: Floats, limits: Floats, tripped: Ints, halted: Ints
) -> Terms:
    """Read what holds for an instrument's rows."""
    return Terms(
        signal_of(signals, k),
        rules_of(rules),
        busy[k],
        Limits(limits[0], limits[1], limits[2]),
        tripped[OPEN_DRAWDOWN],
        tripped[OPEN_DAILY],
        halted[k],
        marks[DAY_START],
    )


@inlined
def ask_of(asks: Ints, a: int) -> Ask:
    """Read a recorded question."""
    r = asks[a]
    return Ask(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9])


@inlined
def shown_of(shown: Floats, a: int) -> Shown:
    """Read what a recorded question showed."""
    r = shown[a]
    return Shown(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8])


@inlined
def bounds_of(bounds: Floats, k: int) -> Bounds:
    """Read an instrument's bounds."""
    return Bounds(bounds[k, 0], bounds[k, 1], bounds[k, 2], bounds[k, 3])


@inlined
def row_of(rows: Floats, k: int) -> Row:
    """Read an instrument's row."""
    r = rows[k]
    closed = Closed(r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13])
    return Row(r[0], r[1], closed, Forming(r[14], r[15], r[16], r[17], r[18]))


@inlined
def keep_row(rows: Floats, k: int, row: Row) -> None:
    """Write an instrument's row."""
    r, c, g = rows[k], row.closed, row.forming
    r[0], r[1] = row.price, row.closes
    r[2], r[3], r[4], r[5], r[6], r[7] = c.bars, c.close, c.move, c.ema_fast, c.ema_slow, c.gain
    r[8], r[9], r[10], r[11], r[12], r[13] = c.loss, c.atr, c.variance, c.peak, c.anchor, c.anchor_before
    r[14], r[15], r[16], r[17], r[18] = g.feed, g.bucket, g.open, g.high, g.low


@inlined
def keep_vote(signals: Ints, k: int, signal: Signal) -> None:
    """Write what a vote changes of an instrument's signal."""
    signals[k, 0], signals[k, 1], signals[k, 2] = signal.bias, signal.strong, signal.intent


@inlined
def keep_seen(seen: Ints, k: int, observed_at: int, kind: int, number: int, interval_ns: int) -> None:
    """Write which event an instrument's last one was, in the order of the SEEN_ columns."""
    seen[k, 0], seen[k, 1], seen[k, 2], seen[k, 3] = observed_at, kind, number, interval_ns
