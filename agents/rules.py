"""The rules that see every market event: what an event makes of an instrument's row, and what a row leads to.

A rule takes scalars and gives scalars, so that a compiled loop keeps an instrument's whole row in registers. Each rule
stands once: the kernels of `agents.scan` run them over a span or over one event, the agents call those from Python.

Sources: EMA with alpha 2/(n+1), seeded by the first close; RSI and ATR with Wilder's smoothing (Wilder 1978, New
Concepts in Technical Trading Systems), running means while fewer than n bars are known; variance of returns with
exponential weights (RiskMetrics Technical Document 1996, section 5.2).
"""

from __future__ import annotations

from math import copysign, inf, sqrt

from agents.frame import BAR, QUOTE, TRADE, Floats, Ints
from agents.kernels import inlined
from agents.layout import (
    ADVISORY,
    DAILY_LOSS,
    DRAWDOWN,
    FLASH_MOVE,
    FROM_BARS,
    FROM_QUOTES,
    FROM_TRADES,
    HOLD,
    NO_BIAS,
    OVERRIDE,
    Ask,
    Bounds,
    Closed,
    Forming,
    Limits,
    Row,
    Rules,
    Settings,
    Shown,
    Signal,
    Terms,
)

ANCHOR_BARS = 30
"""Bars in a window of the move that texts are held against: the anchor is 30 to 60 bars old."""


# Indicators


@inlined
def close_bar(c: Closed, high: float, low: float, close: float, settings: Settings) -> Closed:
    """Take one closed bar."""
    if c.bars == 0.0:
        return Closed(1.0, close, c.move, close, close, c.gain, c.loss, high - low, c.variance, close, close, close)
    change = close - c.close
    up = max(0.0, change)
    down = -change if change < 0.0 else 0.0
    length = min(settings.rsi_bars, c.bars)
    true_range = max(high, c.close) - min(low, c.close)
    move = change / c.close
    decay = settings.decay if c.bars > 1.0 else 0.0
    is_new_window = int(c.bars) % ANCHOR_BARS == 0
    return Closed(
        c.bars + 1.0,
        close,
        move,
        c.ema_fast + settings.alpha_fast * (close - c.ema_fast),
        c.ema_slow + settings.alpha_slow * (close - c.ema_slow),
        c.gain + (up - c.gain) / length,
        c.loss + (down - c.loss) / length,
        c.atr + (true_range - c.atr) / min(settings.atr_bars, c.bars + 1.0),
        decay * c.variance + (1.0 - decay) * move * move,
        max(c.peak, close),
        close if is_new_window else c.anchor,
        c.anchor if is_new_window else c.anchor_before,
    )


@inlined
def step_bar(row: Row, number: int, high: float, low: float, close: float, length_ns: int, settings: Settings) -> Row:
    """Take a bar: one of the book's own length steps the indicators, another only marks the price.

    A bar sent twice or late counts once.
    """
    interval_ns, g = int(settings.interval_ns), row.forming
    if length_ns != interval_ns:
        return Row(close, 0.0, row.closed, g)
    bucket = float(number // interval_ns)
    last = g.bucket if g.feed == FROM_BARS else -1.0
    if bucket <= last:
        return Row(row.price, 0.0, row.closed, Forming(FROM_BARS, last, g.open, g.high, g.low))
    forming = Forming(FROM_BARS, bucket, g.open, g.high, g.low)
    return Row(close, 1.0, close_bar(row.closed, high, low, close, settings), forming)


@inlined
def step_price(row: Row, price: float, feed: float, occurred_at: int, settings: Settings) -> Row:
    """Take the price of a trade or a quote.

    Where there are no bars, trades build them; where there are no trades, the middle of the quote does. A price of a
    later bucket closes the bar that is forming.
    """
    g = row.forming
    if g.feed > feed:
        return Row(price, 0.0, row.closed, g)
    last = g.bucket if g.feed == feed else -1.0
    bucket = float(occurred_at // int(settings.interval_ns))
    if last >= 0.0 and bucket <= last:
        return Row(price, 0.0, row.closed, Forming(feed, last, g.open, max(g.high, price), min(g.low, price)))
    forming = Forming(feed, bucket, price, price, price)
    if last < 0.0:
        return Row(price, 0.0, row.closed, forming)
    return Row(price, 1.0, close_bar(row.closed, g.high, g.low, row.price, settings), forming)


@inlined
def step(row: Row, kind: int, number: int, occurred_at: int, values: Floats, i: int, settings: Settings) -> Row:
    """Take the market event whose values are row `i`."""
    if kind == BAR:
        return step_bar(row, number, values[i, 1], values[i, 2], values[i, 3], int(values[i, 5]), settings)
    is_trade = kind == TRADE
    price = values[i, 0] if is_trade else 0.5 * (values[i, 0] + values[i, 1])
    return step_price(row, price, FROM_TRADES if is_trade else FROM_QUOTES, occurred_at, settings)


@inlined
def rsi(c: Closed) -> float:
    """Relative strength index, 0 to 100; 50 while nothing moved."""
    total = c.gain + c.loss
    return 100.0 * (c.gain / total) if total > 0.0 else 50.0


@inlined
def volatility(c: Closed) -> float:
    """Standard deviation of returns a bar."""
    return sqrt(c.variance)


@inlined
def drawdown(c: Closed) -> float:
    """Distance of the last close below the highest one, as a fraction; zero or negative."""
    return c.close / c.peak - 1.0 if c.peak > 0.0 else 0.0


@inlined
def shown_now(row: Row, before: float) -> Shown:
    """Give the numbers that a question shows; `before` is the price at the last question, 0 if there was none."""
    c = row.closed
    since = row.price / before - 1.0 if before > 0.0 else 0.0
    return Shown(row.price, since, c.ema_fast, c.ema_slow, rsi(c), c.atr, volatility(c), drawdown(c), c.bars)


# Strategy


@inlined
def fast_brain(bars: float, ema_fast: float, ema_slow: float, rules: Rules) -> int:
    """Say which way the local rule points: EMA fast over slow is 1, under is -1; 0 while it does not know."""
    if rules.fast_brain == 0 or bars < rules.slow_bars:
        return 0
    if ema_fast > ema_slow:
        return 1
    return -1 if ema_fast < ema_slow else 0


@inlined
def target_of(cross: int, signal: Signal, rules: Rules) -> int:
    """Say which position (1 long, -1 short, 0 flat) the moment calls for, given the one it last called for."""
    bias, intent = signal.bias, signal.intent
    if signal.killed == 1:
        return 0
    target = intent
    if rules.mode == ADVISORY:
        if cross not in (0, intent):
            target = 0 if bias == -cross else cross
    elif bias == HOLD:
        target = 0 if rules.hold_exits == 1 else intent
    elif bias != NO_BIAS:
        at_once = rules.fast_brain == 0 or (rules.mode == OVERRIDE and signal.strong == 1)
        if at_once or cross == bias:
            target = bias
        elif intent == -bias:
            target = 0
    return 0 if target < 0 and signal.shortable == 0 else target


# Breakers


@inlined
def equity_with(k: int, price: float, prices: Floats, exposures: Floats, cash: float) -> float:
    """Sum the book's worth in the fixed order of its instruments, the `k`-th of them at another price."""
    total = cash
    for j in range(len(prices)):
        if exposures[j] != 0.0:
            total += exposures[j] * (price if j == k else prices[j])
    return total


@inlined
def fall_pct(value: float, start: float) -> float:
    """Give how far `value` lies below `start`, in percent."""
    return 100.0 * (start - value) / start if start > 0.0 else 0.0


@inlined
def trips(row: Row, equity: float, peak: float, terms: Terms) -> int:
    """Give the bits of the limits that a row breaks; `peak` is the highest equity up to it."""
    bits = 0
    if terms.drawdown_open == 0 and fall_pct(equity, peak) > terms.limits.drawdown:
        bits |= DRAWDOWN
    if terms.daily_open == 0 and fall_pct(equity, terms.day_start) > terms.limits.daily_loss:
        bits |= DAILY_LOSS
    if row.closes != 0.0 and terms.is_halted == 0 and abs(row.closed.move) * 100.0 > terms.limits.move:
        bits |= FLASH_MOVE
    return bits


@inlined
def is_limited(limits: Limits) -> bool:
    """Tell whether any limit is set; without one, neither prices nor marks are kept."""
    return limits.drawdown < inf or limits.daily_loss < inf or limits.move < inf


# Venue


@inlined
def touches(kind: int, occurred_at: int, values: Floats, i: int, wake_at: int, bounds: Bounds) -> bool:
    """Tell whether a working order may have to do with an event: too often at times, never too seldom."""
    at = occurred_at
    if kind == BAR:
        at = occurred_at - 1
        buy_low = sell_low = values[i, 2]
        buy_high = sell_high = values[i, 1]
    elif kind == QUOTE:
        sell_low = sell_high = values[i, 0]
        buy_low = buy_high = values[i, 1]
    else:
        buy_low = sell_low = buy_high = sell_high = values[i, 0]
    return (
        at >= wake_at
        or buy_low <= bounds.buy_below
        or sell_low <= bounds.sell_below
        or buy_high >= bounds.buy_above
        or sell_high >= bounds.sell_above
    )


# Recorded questions


@inlined
def equal(x: float, y: float) -> bool:
    """Tell whether two numbers are written alike; -0.0 is not written as 0.0."""
    return x == y and (x != 0.0 or copysign(1.0, x) == copysign(1.0, y))


@inlined
def shows(now: Shown, recorded: Shown) -> bool:
    """Tell whether a question shows what a recorded one did."""
    return (
        equal(now.close, recorded.close)
        and equal(now.return_since_ask, recorded.return_since_ask)
        and equal(now.ema_fast, recorded.ema_fast)
        and equal(now.ema_slow, recorded.ema_slow)
        and equal(now.rsi, recorded.rsi)
        and equal(now.atr, recorded.atr)
        and equal(now.volatility, recorded.volatility)
        and equal(now.drawdown, recorded.drawdown)
        and equal(now.bars, recorded.bars)
    )


@inlined
def cites(ask: Ask, seen: Ints, k: int) -> bool:
    """Tell whether a recorded question is on the `k`-th instrument and cites the last event there."""
    s = seen[k]
    last = ask.seen_at == s[0] and ask.kind == s[1] and ask.number == s[2] and ask.interval_ns == s[3]
    return ask.instrument == k and last


@inlined
def voted(bias: int, strong: int, held: float, busy: int, signal: Signal, rules: Rules) -> Signal:
    """Take a vote into a signal: where it is to enter and leave, it starts from what is held."""
    side = (1 if held > 0.0 else 0) - (1 if held < 0.0 else 0)
    intent = signal.intent if rules.mode == ADVISORY or busy != 0 else side
    return Signal(bias, strong, intent, signal.shortable, signal.killed)
