"""The one pass in which a span of quiet events goes into the state, and the same for a single event.

A kernel takes the arrays of a frame and of all agents, one by one, for a call with tuples takes twice as long, and runs
the rules of `agents.rules` over them.
"""

from __future__ import annotations

from agents.agent import NEVER
from agents.frame import Floats, Ints
from agents.kernels import inlined, kernel
from agents.layout import (
    ASKED,
    DAY_START,
    KEEP,
    MARKED,
    NEW_TARGET,
    PEAK,
    REFUSED,
    Limits,
    Row,
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
from agents.rules import (
    cites,
    equity_with,
    fast_brain,
    is_limited,
    shown_now,
    shows,
    step,
    target_of,
    touches,
    trips,
    voted,
)
from schemas.base import NS_PER_DAY

Columns = tuple[Ints, Ints, Ints, Ints, Ints, Floats]
"""Of a frame: kind, instrument, number, occurred_at, observed_at, values."""
Arrays = tuple[Floats, Ints, Floats, Ints, Ints, Ints, Floats, Floats, Floats, Ints, Ints, Floats]
"""Of the agents: rows, seen and settings of the features; signals, busy and rules of the strategy; prices, marks,
limits, tripped and halted of the breakers; exposures."""
Record = tuple[Ints, Floats, Ints, Floats, Ints, int]
"""Recorded questions, see Answers; asked_at and asked_price of the analysts; the strategy's `until` and `bias_ttl`."""
Noted = tuple[Ints, Floats, Ints]
"""Room for notes: int64[n, 4], see Note; and the arrays of Notes."""
MAX_NOTES = 2048
"""Ticks between rows that one scan notes at most."""


# One row


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


# Questions


@kernel
def shown(rows: Floats, k: int, before: float) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Give the numbers that a question on the `k`-th instrument shows, in the order of Shown."""
    s = shown_now(row_of(rows, k), before)  # not as such a record: that takes three times as long to hand over
    return (
        s.close,
        s.return_since_ask,
        s.ema_fast,
        s.ema_slow,
        s.rsi,
        s.atr,
        s.volatility,
        s.drawdown,
        s.bars,
    )


@kernel
def fold(ask_at: int, now: int, quiet_until: int, asked: int, record: Record, state: Arrays) -> int:
    """Take the questions of the boundary `ask_at` into the state, the record's `asked`-th the first of them.

    Gives how many recorded questions then lie behind; or -1, with nothing changed, where the record does not hold the
    very questions that would be put, or where anything could come between them and their last answer: the next row,
    observed at `now`, what else is due at `quiet_until`, or a trade.
    """
    asks, recorded, asked_at, asked_price, lapses, bias_ttl = record
    rows, seen, _, signals, busy, rules, _, _, _, _, _, exposures = state
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


# A span


@inlined
def take_rows(
    frame: Columns, state: Arrays, cash: float, watch: tuple[Ints, Floats], lo: int, hi: int, before: int
) -> tuple[int, bool]:
    """Take quiet rows from `lo` on that are observed before a time and are of one instrument.

    Gives the first row that is not taken, and whether it is not quiet.
    """
    kind, instrument, number, occurred_at, observed_at, values = frame
    rows, seen, settings, signals, busy, rules, prices, marks, limits, tripped, halted, exposures = state
    fixed, i, k, speaks = settings_of(settings), lo, instrument[lo], False
    terms = terms_of(k, signals, busy, rules, marks, limits, tripped, halted)
    row, peak, wake, bound = row_of(rows, k), marks[PEAK], watch[0][k], bounds_of(watch[1], k)
    while i < hi and instrument[i] == k and observed_at[i] < before:
        after = step(row, kind[i], number[i], occurred_at[i], values, i, fixed)
        high, bits = weigh(after, k, peak, terms, prices, exposures, cash)
        speaks = bits != 0 or touches(kind[i], occurred_at[i], values, i, wake, bound)
        if speaks:
            break
        row, peak = after, high
        i += 1
    if i > lo:
        keep_row(rows, k, row)
        keep_seen(seen, k, observed_at[i - 1], kind[i - 1], number[i - 1], int(values[i - 1, 5]))
        keep_equity(prices, marks, k, row.price, peak, terms.limits)
    return i, speaks


@inlined
def note(notes: Noted, n: int, row: int, tick: int, bits: int, asked: int, state: Arrays) -> None:
    """Note a tick before a row."""
    ticks, prices, seen_at = notes
    ticks[n, 0], ticks[n, 1], ticks[n, 2], ticks[n, 3] = row, tick, bits, asked
    prices[n], seen_at[n] = state[0][:, 0], state[1][:, 0]


@inlined
def begin_day(state: Arrays, cash: float) -> None:
    """Keep what the book is worth at midnight."""
    _, _, _, _, _, _, prices, marks, _, _, _, exposures = state
    marks[DAY_START] = equity_with(0, prices[0], prices, exposures, cash)


@inlined
def take_span(
    frame: Columns,
    state: Arrays,
    cash: float,
    watch: tuple[Ints, Floats],
    span: tuple[int, int, int],
    every: tuple[int, int],
    mark_at: int,
    day_at: int,
    ask_at: int,
    asked: int,
    record: Record,
    notes: Noted,
) -> tuple[int, int, bool]:
    """Take quiet rows of a span, which is a first row, the one after the last, and a time. See `scan`."""
    (lo, hi, until), (mark_every, ask_every) = span, every
    observed_at, lapses = frame[4], record[4]
    i, noted, is_due = lo, 0, False
    lapse_at = lapses.min() if ask_at < NEVER else NEVER
    while i < hi and observed_at[i] < until:
        tick = min(mark_at, ask_at)  # a day begins at a mark
        if lapse_at <= tick and lapse_at < observed_at[i]:
            is_due = True
            break
        if tick >= observed_at[i]:
            before = min(tick, lapse_at)
            i, speaks = take_rows(frame, state, cash, watch, i, hi, until if before >= until else before + 1)
            if speaks:
                break
            continue
        if noted == len(notes[0]):
            break
        is_mark, is_ask = mark_at == tick, ask_at == tick
        next_mark = mark_at + mark_every if is_mark else mark_at
        if is_ask:
            quiet_until = min(until, next_mark, lapse_at, ask_at + ask_every)
            after = fold(ask_at, observed_at[i], quiet_until, asked, record, state)
            if after < 0:
                is_due = True
                break
            asked, ask_at, lapse_at = after, ask_at + ask_every, lapses.min()
        if day_at == tick:
            begin_day(state, cash)
            day_at += NS_PER_DAY
        mark_at = next_mark
        note(notes, noted, i, tick, (MARKED if is_mark else 0) | (ASKED if is_ask else 0), asked, state)
        noted += 1
    return i, noted, is_due


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
    day_at: int,
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
    tick that comes before a row is noted if it does no more than mark the book's worth, begin a day with that, or put
    questions that the record answers; the number of notes is given. One more than there is room for ends the scan,
    and so does a tick that does more: then it is said that a tick is due before the row. Where no questions are
    folded, `ask_at` is NEVER; where no day is to begin, `day_at` is.
    """
    frame = kind, instrument, number, occurred_at, observed_at, values
    state = rows, seen, settings, signals, busy, rules, prices, marks, limits, tripped, halted, exposures
    record = asks, recorded, asked_at, asked_price, lapses, bias_ttl
    watch, span, room = (wake_at, bounds), (lo, hi, until), (notes, noted_prices, noted_seen_at)
    every = mark_every, ask_every
    return take_span(frame, state, cash, watch, span, every, mark_at, day_at, ask_at, asked, record, room)


# Besides


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
