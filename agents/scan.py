"""The rules that see every market event, and the one pass in which a span of quiet events goes into the state.

A rule takes scalars and gives scalars, so that a compiled loop keeps an instrument's whole row in registers. Each rule
stands once: `scan` runs them over a span, `take_row` over one event, the agents call them from Python. They share this
file because numba's cache of a kernel looks at the kernel's own file alone: a rule changed elsewhere would stay unseen.

Sources: EMA with alpha 2/(n+1), seeded by the first close; RSI and ATR with Wilder's smoothing (Wilder 1978, New
Concepts in Technical Trading Systems), running means while fewer than n bars are known; variance of returns with
exponential weights (RiskMetrics Technical Document 1996, section 5.2).
"""

from __future__ import annotations

from math import copysign, inf, sqrt

from agents.agent import NEVER
from agents.frame import BAR, QUOTE, TRADE, Floats, Ints
from agents.kernels import inlined, kernel
from agents.layout import (
    ADVISORY,
    ASKED,
    DAILY_LOSS,
    DRAWDOWN,
    FLASH_MOVE,
    FROM_BARS,
    FROM_QUOTES,
    FROM_TRADES,
    HOLD,
    KEEP,
    MARKED,
    NEW_TARGET,
    NO_BIAS,
    OVERRIDE,
    PEAK,
    REFUSED,
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
    ask_of,
    bounds_of,
    keep_row,
    keep_seen,
    keep_vote,
    row_of,
    rules_of,
    settings_of,
    shown_of,
    signal_of,
    terms_of,
)

ANCHOR_BARS = 30
"""Bars in a window of the move that texts are held against: the anchor is 30 to 60 bars old."""
MAX_NOTES = 2048
"""Ticks between rows that one scan notes at most."""


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


@kernel
def shown(rows: Floats, k: int, before: float) -> Shown:
    """Give the numbers that a question on the `k`-th instrument shows."""
    return shown_now(row_of(rows, k), before)


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


@kernel
def fold(
    ask_at: int,
    now: int,
    quiet_until: int,
    asked: int,
    asks: Ints,
    recorded: Floats,
    asked_at: Ints,
    asked_price: Floats,
    lapses: Ints,
    bias_ttl: int,
    rows: Floats,
    seen: Ints,
    signals: Ints,
    busy: Ints,
    rules: Ints,
    exposures: Floats,
) -> int:
    """Take the questions of the boundary `ask_at` into the state, the record's `asked`-th the first of them.

    Gives how many recorded questions then lie behind; or -1, with nothing changed, where the record does not hold the
    very questions that would be put, or where anything could come between them and their last answer: the next row,
    observed at `now`, what else is due at `quiet_until`, or a trade.
    """
    r, a, last = rules_of(rules), asked, ask_at
    for k in range(len(rows)):
        if seen[k, 0] > asked_at[k]:
            ask = ask_of(asks, a)
            if ask.at != ask_at or ask.bias == REFUSED or not cites(ask, seen, k):
                return -1
            row = row_of(rows, k)
            if not shows(shown_now(row, asked_price[k]), shown_of(recorded, a)):
                return -1
            if ask.bias != KEEP and busy[k] == 0:
                signal = voted(ask.bias, ask.strong, exposures[k], busy[k], signal_of(signals, k), r)
                c = row.closed
                if target_of(fast_brain(c.bars, c.ema_fast, c.ema_slow, r), signal, r) != signal.intent:
                    return -1
            last, a = max(last, ask.last_at), a + 1
    if asks[a, 0] == ask_at or last > now or last >= quiet_until:
        return -1
    for b in range(asked, a):
        ask = ask_of(asks, b)
        k = ask.instrument
        asked_at[k], asked_price[k] = seen[k, 0], rows[k, 0]
        if ask.bias != KEEP:
            keep_vote(signals, k, voted(ask.bias, ask.strong, exposures[k], busy[k], signal_of(signals, k), r))
            lapses[k] = ask.settled_at + bias_ttl
    return a


# All of them on one row, and over a span


@inlined
def weigh(
    row: Row, k: int, peak: float, terms: Terms, prices: Floats, exposures: Floats, cash: float
) -> tuple[float, int]:
    """Give the highest equity up to an instrument's row, and the bits of what the row leads to."""
    bits = 0
    if row.closes != 0.0 and terms.busy == 0:
        c = row.closed
        cross = fast_brain(c.bars, c.ema_fast, c.ema_slow, terms.rules)
        if target_of(cross, terms.signal, terms.rules) != terms.signal.intent:
            bits = NEW_TARGET
    if is_limited(terms.limits):
        equity = equity_with(k, row.price, prices, exposures, cash)
        peak = max(peak, equity)
        bits |= trips(row, equity, peak, terms)
    return peak, bits


@inlined
def keep_equity(prices: Floats, marks: Floats, k: int, price: float, peak: float, limits: Limits) -> None:
    """Write what the breakers keep of a row."""
    if is_limited(limits):
        prices[k], marks[PEAK] = price, peak


@inlined
def is_limited(limits: Limits) -> bool:
    """Tell whether any limit is set; without one, neither prices nor marks are kept."""
    return limits.drawdown < inf or limits.daily_loss < inf or limits.move < inf


@kernel
def scan(
    kind: Ints,
    instrument: Ints,
    number: Ints,
    occurred_at: Ints,
    observed_at: Ints,
    values: Floats,
    rows: Floats,
    seen: Ints,
    settings: Floats,
    signals: Ints,
    busy: Ints,
    rules: Ints,
    prices: Floats,
    marks: Floats,
    limits: Floats,
    tripped: Ints,
    halted: Ints,
    exposures: Floats,
    cash: float,
    wake_at: Ints,
    bounds: Floats,
    lo: int,
    hi: int,
    until: int,
    mark_at: int,
    mark_every: int,
    ask_at: int,
    ask_every: int,
    asked: int,
    asks: Ints,
    recorded: Floats,
    asked_at: Ints,
    asked_price: Floats,
    lapses: Ints,
    bias_ttl: int,
    notes: Ints,
    noted_prices: Floats,
    noted_seen_at: Ints,
) -> tuple[int, int, bool]:
    """Take rows from `lo` on into the state while they are quiet: the first row that is not, or `hi`, is given.

    Not quiet is a row observed at `until` or later, one that an agent answers, and one that the venue waits for. A
    tick that comes before a row is noted if it does no more than mark the book's worth, or put questions that the
    record answers; the number of notes is given. One more than there is room for ends the scan, and so does a tick
    that does more: then it is said that a tick is due before the row. Where no questions are folded, `ask_at` is
    NEVER, and only marks are noted.
    """
    fixed = settings_of(settings)
    i, noted, speaks, is_due = lo, 0, False, False
    lapse_at = lapses.min() if ask_at < NEVER else NEVER
    while i < hi and not speaks and observed_at[i] < until:
        tick = min(mark_at, ask_at)
        if lapse_at <= tick and lapse_at < observed_at[i]:
            is_due = True
            break
        if tick < observed_at[i]:
            if noted == len(notes):
                break
            bits = MARKED if mark_at == tick else 0
            next_mark = mark_at + mark_every if mark_at == tick else mark_at
            if ask_at == tick:
                quiet = min(until, next_mark, lapse_at, ask_at + ask_every)
                record = asked, asks, recorded, asked_at, asked_price, lapses, bias_ttl
                after = fold(ask_at, observed_at[i], quiet, *record, rows, seen, signals, busy, rules, exposures)
                if after < 0:
                    is_due = True
                    break
                bits, asked, ask_at, lapse_at = bits | ASKED, after, ask_at + ask_every, lapses.min()
            mark_at = next_mark
            notes[noted, 0], notes[noted, 1], notes[noted, 2], notes[noted, 3] = i, tick, bits, asked
            noted_prices[noted], noted_seen_at[noted] = rows[:, 0], seen[:, 0]
            noted += 1
            continue
        k, first = instrument[i], i
        before = min(tick, lapse_at)
        before = until if before >= until else before + 1
        terms = terms_of(k, signals, busy, rules, marks, limits, tripped, halted)
        row, peak, wake, bound = row_of(rows, k), marks[PEAK], wake_at[k], bounds_of(bounds, k)
        while i < hi and instrument[i] == k and observed_at[i] < before:
            after_row = step(row, kind[i], number[i], occurred_at[i], values, i, fixed)
            high, found = weigh(after_row, k, peak, terms, prices, exposures, cash)
            speaks = found != 0 or touches(kind[i], occurred_at[i], values, i, wake, bound)
            if speaks:
                break
            row, peak = after_row, high
            i += 1
        if i > first:
            keep_row(rows, k, row)
            keep_seen(seen, k, observed_at[i - 1], kind[i - 1], number[i - 1], int(values[i - 1, 5]))
            keep_equity(prices, marks, k, row.price, peak, terms.limits)
    return i, noted, is_due


@kernel
def take_row(
    kind: Ints,
    instrument: Ints,
    number: Ints,
    occurred_at: Ints,
    observed_at: Ints,
    values: Floats,
    rows: Floats,
    seen: Ints,
    settings: Floats,
    signals: Ints,
    busy: Ints,
    rules: Ints,
    prices: Floats,
    marks: Floats,
    limits: Floats,
    tripped: Ints,
    halted: Ints,
    exposures: Floats,
    cash: float,
    i: int,
) -> int:
    """Take row `i` into the state, whatever it leads to, and give the bits of that."""
    k = instrument[i]
    terms = terms_of(k, signals, busy, rules, marks, limits, tripped, halted)
    row = step(row_of(rows, k), kind[i], number[i], occurred_at[i], values, i, settings_of(settings))
    peak, bits = weigh(row, k, marks[PEAK], terms, prices, exposures, cash)
    keep_row(rows, k, row)
    keep_seen(seen, k, observed_at[i], kind[i], number[i], int(values[i, 5]))
    keep_equity(prices, marks, k, row.price, peak, terms.limits)
    return bits


@kernel
def called_for(k: int, rows: Floats, signals: Ints, rules: Ints) -> tuple[int, int]:
    """Give which way an instrument's fast brain points, and which position the moment calls for."""
    c, r = row_of(rows, k).closed, rules_of(rules)
    cross = fast_brain(c.bars, c.ema_fast, c.ema_slow, r)
    return cross, target_of(cross, signal_of(signals, k), r)


@kernel
def take_vote(k: int, bias: int, strong: int, signals: Ints, busy: Ints, rules: Ints, exposures: Floats) -> None:
    """Take a vote on an instrument into its signal."""
    keep_vote(signals, k, voted(bias, strong, exposures[k], busy[k], signal_of(signals, k), rules_of(rules)))


@kernel
def equity_of(prices: Floats, exposures: Floats, cash: float) -> float:
    """Sum the book's worth."""
    return equity_with(0, prices[0], prices, exposures, cash)


@kernel
def first_touch(
    kind: Ints,
    instrument: Ints,
    occurred_at: Ints,
    values: Floats,
    wake_at: Ints,
    bounds: Floats,
    lo: int,
    hi: int,
) -> int:
    """Give the first row in [lo, hi) that a working order may have to do with, or `hi`."""
    for i in range(lo, hi):
        k = instrument[i]
        if touches(kind[i], occurred_at[i], values, i, wake_at[k], bounds_of(bounds, k)):
            return i
    return hi
