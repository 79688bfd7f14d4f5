"""What the market looks like: incremental indicators per instrument, and the tone of vetted texts.

One recurrence, `step`, serves one event and a whole frame. Rows of the frame keep the state after each event, so any
span can be absorbed by taking over its last rows. The other agents read these numbers; nothing is emitted.

Sources: EMA with alpha 2/(n+1), seeded by the first close; RSI and ATR with Wilder's smoothing (Wilder 1978, New
Concepts in Technical Trading Systems), running means while fewer than n bars are known; variance of returns with
exponential weights (RiskMetrics Technical Document 1996, section 5.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum, sqrt

import numpy as np

from agents.agent import Handler, MarketAgent, State
from agents.frame import BAR, TRADE, Floats, Frame, Ints, kind_name
from agents.kernels import kernel
from schemas.base import NS_PER_MIN, NS_PER_S, Event, base_of, market_id
from schemas.book import Book, FeatureSettings
from schemas.decisions import NewsVetted

(
    PRICE,  # last price seen: close, trade or middle of the quote
    CLOSED,  # 1 where this event closed a bar
    BARS,  # closed bars so far
    CLOSE,  # of the last closed bar, as are all below
    RETURN,
    EMA_FAST,
    EMA_SLOW,
    GAIN,
    LOSS,
    ATR,
    VARIANCE,
    PEAK,
    ANCHOR,  # close at the start of this window of bars, and of the one before
    ANCHOR_BEFORE,
    FEED,  # what builds the bars: 0 nothing yet, or one of the FROM_ values
    BUCKET,  # number of the bar that is forming, or of the last bar taken from the feed
    FORM_OPEN,
    FORM_HIGH,
    FORM_LOW,
) = range(19)
COLUMNS = 19
FROM_QUOTES, FROM_TRADES, FROM_BARS = 1.0, 2.0, 3.0
ANCHOR_BARS = 30.0
"""Bars in a window of the move that texts are held against: the anchor is 30 to 60 bars old."""

SEEN_AT, SEEN_KIND, SEEN_NUMBER, SEEN_INTERVAL_NS = range(4)
MAX_TEXTS = 512


@kernel
def close_bar(row: Floats, high: float, low: float, close: float, settings: Floats) -> None:
    """Take one closed bar into an instrument's row."""
    bars = row[BARS]
    if bars == 0.0:
        row[EMA_FAST] = row[EMA_SLOW] = row[PEAK] = row[ANCHOR] = row[ANCHOR_BEFORE] = close
        row[ATR] = high - low
    else:
        before = row[CLOSE]
        row[EMA_FAST] += settings[0] * (close - row[EMA_FAST])
        row[EMA_SLOW] += settings[1] * (close - row[EMA_SLOW])
        change = close - before
        gain = max(0.0, change)
        loss = -change if change < 0.0 else 0.0
        length = min(settings[2], bars)
        row[GAIN] += (gain - row[GAIN]) / length
        row[LOSS] += (loss - row[LOSS]) / length
        true_range = max(high, before) - min(low, before)
        length = min(settings[3], bars + 1.0)
        row[ATR] += (true_range - row[ATR]) / length
        change = change / before
        row[RETURN] = change
        decay = settings[4] if bars > 1.0 else 0.0
        row[VARIANCE] = decay * row[VARIANCE] + (1.0 - decay) * change * change
        row[PEAK] = max(row[PEAK], close)
        if bars % ANCHOR_BARS == 0.0:
            row[ANCHOR_BEFORE] = row[ANCHOR]
            row[ANCHOR] = close
    row[CLOSE] = close
    row[BARS] = bars + 1.0
    row[CLOSED] = 1.0


@kernel
def form_bar(row: Floats, price: float, bucket: float, settings: Floats) -> None:
    """Take one price into the bar that is forming; a price of a later bucket closes it first."""
    if row[BUCKET] >= 0.0 and bucket > row[BUCKET]:
        close_bar(row, row[FORM_HIGH], row[FORM_LOW], row[PRICE], settings)
    if row[BUCKET] < 0.0 or bucket > row[BUCKET]:
        row[BUCKET] = bucket
        row[FORM_OPEN] = row[FORM_HIGH] = row[FORM_LOW] = price
    else:
        row[FORM_HIGH] = max(row[FORM_HIGH], price)
        row[FORM_LOW] = min(row[FORM_LOW], price)


@kernel
def step(row: Floats, kind: int, number: int, occurred_at: int, values: Floats, settings: Floats) -> None:
    """Take one market event into its instrument's row.

    Bars of the book's own length step the indicators; others only mark the price. Where there are no bars, trades
    build them, and where there are no trades, the middle of the quote does. A bar sent twice or late counts once.
    """
    row[CLOSED] = 0.0
    interval_ns = int(settings[5])
    if kind == BAR:
        if int(values[5]) == interval_ns:
            bucket = float(number // interval_ns)
            if row[FEED] < FROM_BARS:
                row[FEED], row[BUCKET] = FROM_BARS, -1.0
            if bucket <= row[BUCKET]:
                return
            row[BUCKET] = bucket
            close_bar(row, values[1], values[2], values[3], settings)
        row[PRICE] = values[3]
        return
    price = values[0] if kind == TRADE else 0.5 * (values[0] + values[1])
    feed = FROM_TRADES if kind == TRADE else FROM_QUOTES
    if row[FEED] < feed:
        row[FEED], row[BUCKET] = feed, -1.0
    if row[FEED] == feed:
        form_bar(row, price, float(occurred_at // interval_ns), settings)
    row[PRICE] = price


@kernel
def step_frame(
    rows: Floats,
    kind: Ints,
    instrument: Ints,
    number: Ints,
    occurred_at: Ints,
    values: Floats,
    settings: Floats,
    out: Floats,
) -> None:
    """Step through a frame; `out` row i is its instrument's row after event i. `rows` is scratch."""
    for i in range(len(kind)):
        row = rows[instrument[i]]
        step(row, kind[i], number[i], occurred_at[i], values[i], settings)
        out[i, :] = row


@kernel
def take_last(
    features: Floats,
    instrument: Ints,
    observed_at: Ints,
    kind: Ints,
    number: Ints,
    values: Floats,
    lo: int,
    hi: int,
    rows: Floats,
    seen: Ints,
) -> None:
    """Take over the last row of each instrument that has one in [lo, hi)."""
    missing = len(rows)
    done = np.zeros(missing, np.bool_)
    for i in range(hi - 1, lo - 1, -1):
        k = instrument[i]
        if not done[k]:
            done[k] = True
            rows[k, :] = features[i]
            seen[k, SEEN_AT], seen[k, SEEN_KIND], seen[k, SEEN_NUMBER] = observed_at[i], kind[i], number[i]
            seen[k, SEEN_INTERVAL_NS] = int(values[i, 5])
            missing -= 1
            if missing == 0:
                return


class FeaturesState(State, kw_only=True):
    """`rows` float64[instruments, COLUMNS]; `seen` int64[instruments, 4]: the last event's SEEN_ values."""

    rows: np.ndarray
    seen: np.ndarray
    ids: list[str]
    """Ids of the last events where their producer gave its own, else empty."""
    texts: list[tuple[int, str, float]]
    """Vetted texts of the window: observed_at, key, score; oldest first."""


class Features(MarketAgent[FeaturesState]):
    """Keeps the indicators of every instrument and the tone of the texts, for the other agents to read."""

    name = "features"

    def __init__(self, book: Book) -> None:
        """Start with no bar seen."""
        self.instruments = tuple(i.id for i in book.instruments)
        self.settings = _settings(book.features)
        n = len(self.instruments)
        rows = np.zeros((n, COLUMNS))
        rows[:, BUCKET] = -1.0
        state = FeaturesState(rows=rows, seen=np.zeros((n, 4), np.int64), ids=[""] * n, texts=[])
        super().__init__(book, state)

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Texts count once they are vetted."""
        return {NewsVetted: self.on_news_vetted}

    def prepare(self, frame: Frame) -> None:
        """Fill `frame.features` from the present state; due before the frame's first row is taken."""
        frame.features = np.empty((len(frame), COLUMNS))
        step_frame(
            self.state.rows.copy(),
            frame.kind,
            frame.instrument,
            frame.number,
            frame.occurred_at,
            frame.values,
            self.settings,
            frame.features,
        )

    def quiet_until(self, frame: Frame, lo: int, hi: int) -> int:
        """Never speaks."""
        del frame, lo
        return hi

    def absorb(self, frame: Frame, lo: int, hi: int) -> None:
        """Take over the state after the span's last rows."""
        state = self.state
        take_last(
            frame.features,
            frame.instrument,
            frame.observed_at,
            frame.kind,
            frame.number,
            frame.values,
            lo,
            hi,
            state.rows,
            state.seen,
        )
        for i in range(lo, hi) if frame.ids else ():
            state.ids[frame.instrument[i]] = frame.ids[i]
        for k, last in enumerate(() if frame.ids else state.ids):
            if last and (frame.instrument[lo:hi] == k).any():
                state.ids[k] = ""

    def speak(self, frame: Frame, row: int, event: Event) -> Iterable[Event]:
        """Answer nothing."""
        del event
        self.absorb(frame, row, row + 1)
        return ()

    def on_news_vetted(self, event: NewsVetted) -> Iterable[Event]:
        """Count the text and its tone."""
        texts = self.state.texts
        texts.append((event.observed_at, event.key, event.sentiment))
        oldest = event.observed_at - self.book.text.window_min * NS_PER_MIN
        while texts and (texts[0][0] < oldest or len(texts) > MAX_TEXTS):
            texts.pop(0)
        return ()

    def tone(self, instrument: str, now: int) -> tuple[int, float]:
        """Count the vetted texts on an instrument within the window, and give their mean score."""
        oldest = now - self.book.text.window_min * NS_PER_MIN
        scores = [s for at, key, s in self.state.texts if at >= oldest and self.concerns(key, instrument)]
        return len(scores), fsum(scores) / len(scores) if scores else 0.0

    def concerns(self, key: str, instrument: str) -> bool:
        """Tell whether a text of this key is about the instrument: its id, its base, or no instrument's base."""
        if key in (instrument, base_of(instrument)):
            return True
        return all(key not in (other, base_of(other)) for other in self.instruments)

    def last_id(self, index: int) -> str:
        """Give the id of the last market event of the book's `index`-th instrument."""
        if self.state.ids[index]:
            return self.state.ids[index]
        _, kind, number, interval_ns = self.state.seen[index].tolist()
        return market_id(self.instruments[index], kind_name(kind, interval_ns), number)


def _settings(settings: FeatureSettings) -> Floats:
    return np.array(
        [
            2.0 / (settings.ema_fast + 1),
            2.0 / (settings.ema_slow + 1),
            settings.rsi,
            settings.atr,
            settings.volatility_decay,
            settings.bar_s * NS_PER_S,
        ],
        np.float64,
    )


def rsi(row: Floats) -> float:
    """Relative strength index of an instrument's row, 0 to 100; 50 while nothing moved."""
    total = float(row[GAIN] + row[LOSS])
    return 100.0 * (float(row[GAIN]) / total) if total > 0.0 else 50.0


def volatility(row: Floats) -> float:
    """Standard deviation of returns a bar."""
    return sqrt(float(row[VARIANCE]))


def drawdown(row: Floats) -> float:
    """Distance of the last close below the highest one, as a fraction; zero or negative."""
    return float(row[CLOSE] / row[PEAK]) - 1.0 if row[PEAK] > 0.0 else 0.0


def window_move_pct(row: Floats) -> float:
    """Move from the close 30 to 60 bars ago to the last price, in percent."""
    anchor = float(row[ANCHOR_BEFORE])
    return 100.0 * (float(row[PRICE]) / anchor - 1.0) if anchor > 0.0 else 0.0
