"""What the market looks like: incremental indicators per instrument, and the tone of vetted texts.

The indicators follow one recurrence, `agents.scan.step`; the other agents read their numbers here, by the names of the
columns. Nothing is emitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum

import numpy as np
from msgspec.structs import asdict

from agents.agent import Agent, Handler, State
from agents.frame import Floats, Frame, kind_name
from agents.layout import Closed, Forming, Row, Settings
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
) = range(len(Row._fields) - 2 + len(Closed._fields) + len(Forming._fields))
COLUMNS = FORM_LOW + 1
SEEN_AT, SEEN_KIND, SEEN_NUMBER, SEEN_INTERVAL_NS = range(4)
MAX_TEXTS = 512


class FeaturesState(State, kw_only=True):
    """`rows` float64[instruments, COLUMNS]; `seen` int64[instruments, 4]: the last event's SEEN_ values."""

    rows: np.ndarray
    seen: np.ndarray
    ids: list[str]
    """Ids of the last events where their producer gave its own, else empty."""
    texts: list[tuple[int, str, float]]
    """Vetted texts of the window: observed_at, key, score; oldest first."""


class WeighedState(FeaturesState, kw_only=True):
    """That of a book that weighs its sources. Other books keep the record, and so the checkpoints, that they had."""

    weights: list[float]
    """Of each of `texts`, by its source."""


class Features(Agent[FeaturesState]):
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
        super().__init__(book, WeighedState(**asdict(state), weights=[]) if book.text.source_weights else state)

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Texts count once they are vetted."""
        return {NewsVetted: self.on_news_vetted}

    def name_last(self, frame: Frame, lo: int, hi: int) -> None:
        """Keep the ids of the last events in rows [lo, hi), which the state has taken."""
        ids = self.state.ids
        if frame.ids:
            for i in range(lo, hi):
                ids[frame.instrument[i]] = frame.ids[i]
        elif any(ids):
            for k in np.unique(frame.instrument[lo:hi]).tolist():
                ids[k] = ""

    def on_news_vetted(self, event: NewsVetted) -> Iterable[Event]:
        """Count the text and its tone."""
        texts = self.state.texts
        texts.append((event.observed_at, event.key, event.sentiment))
        weights = self.state.weights if isinstance(self.state, WeighedState) else None
        if weights is not None:
            weights.append(self.book.text.source_weights.get(event.source.casefold(), 1.0))
        oldest = event.observed_at - self.book.text.window_min * NS_PER_MIN
        while texts and (texts[0][0] < oldest or len(texts) > MAX_TEXTS):
            texts.pop(0)
            if weights is not None:
                weights.pop(0)
        return ()

    def tone(self, instrument: str, now: int) -> tuple[int, float]:
        """Count the vetted texts on an instrument within the window, and give the mean of their scores.

        A text weighs what its source does, times half / (half + age): 1 / 2 at the half-life, as an exponential decay,
        but exact on every machine. Where all weigh nothing the mean is 0.
        """
        oldest = now - self.book.text.window_min * NS_PER_MIN
        state = self.state
        told = [i for i, (at, key, _) in enumerate(state.texts) if at >= oldest and self.concerns(key, instrument)]
        scores = [state.texts[i][2] for i in told]
        if not (self.book.text.source_weights or self.book.text.half_life_min):
            return len(scores), fsum(scores) / len(scores) if scores else 0.0
        weights = [self._weight(i, now) for i in told]
        whole = fsum(weights)
        return len(scores), fsum(w * s for w, s in zip(weights, scores, strict=True)) / whole if whole else 0.0

    def _weight(self, place: int, now: int) -> float:
        """Give the weight of one of the texts."""
        weight = self.state.weights[place] if isinstance(self.state, WeighedState) else 1.0
        if not self.book.text.half_life_min:
            return weight
        half = self.book.text.half_life_min * NS_PER_MIN
        return weight * (half / (half + (now - self.state.texts[place][0])))

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
        Settings(
            alpha_fast=2.0 / (settings.ema_fast + 1),
            alpha_slow=2.0 / (settings.ema_slow + 1),
            rsi_bars=settings.rsi,
            atr_bars=settings.atr,
            decay=settings.volatility_decay,
            interval_ns=settings.bar_s * NS_PER_S,
        ),
        np.float64,
    )


def window_move_pct(row: Floats) -> float:
    """Move from the close 30 to 60 bars ago to the last price, in percent."""
    anchor = float(row[ANCHOR_BEFORE])
    return 100.0 * (float(row[PRICE]) / anchor - 1.0) if anchor > 0.0 else 0.0
