"""The indicators against references written from their definitions, and every way in which a bar can come."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from math import exp
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import features as f
from agents.agent import pack
from agents.features import Features
from agents.frame import Floats
from agents.layout import FROM_BARS, FROM_TRADES, Closed, Forming, Row, row_of
from agents.pipeline import Desk
from agents.rules import drawdown, rsi, volatility
from schemas.base import Event
from schemas.book import parse_book
from schemas.decisions import NewsVetted
from schemas.errors import BookError
from tests.agents.builders import BTC, ETH, at, bar, make_book, quote, trade, tweet
from tests.agents.markets import frame_of
from tests.agents.scene import Scene

ROOT = Path(__file__).parents[2]
FAST, SLOW, RSI, ATR, DECAY = 3, 5, 4, 6, 0.9
BOOK = make_book(
    [BTC, ETH], features={"ema_fast": FAST, "ema_slow": SLOW, "rsi": RSI, "atr": ATR, "volatility_decay": DECAY}
)
Bars = list[tuple[float, float, float]]
"""High, low and close of each."""

steps = st.floats(-0.05, 0.05).map(exp)
bars = st.lists(st.tuples(steps, steps, steps), min_size=1, max_size=70).map(
    lambda moves: [
        (close * max(1.0, up), close * min(1.0, down), close)
        for close, (_, up, down) in zip(np.cumprod([100.0] + [m[0] for m in moves[1:]]).tolist(), moves, strict=True)
    ]
)


def after(*events: Event) -> Floats:
    """Give the first instrument's row after some market events."""
    desk = Desk(BOOK)
    for event in events:
        desk.apply(event)
    return np.asarray(desk.features.state.rows[0])


def closed(row: Floats) -> Closed:
    """Read what the closed bars of a row come to."""
    return row_of(row[np.newaxis], 0).closed


def indicators(row: Floats) -> Floats:
    """Leave out what builds the bars: they are told apart from the bars themselves."""
    return row[f.BARS : f.FEED]


def bar_events(history: Bars) -> list[Event]:
    return [bar(i + 1, close, high, low) for i, (high, low, close) in enumerate(history)]


def ema(closes: list[float], n: int) -> float:
    value = closes[0]
    for close in closes[1:]:
        value = 2.0 / (n + 1) * close + (1.0 - 2.0 / (n + 1)) * value
    return value


def wilder(values: list[float], n: int) -> float:
    """Mean of the first n, then each new value with weight 1/n."""
    value = sum(values[:n]) / len(values[:n])
    for new in values[n:]:
        value = (value * (n - 1) + new) / n
    return value


def true_ranges(history: Bars) -> list[float]:
    first = history[0][0] - history[0][1]
    return [first] + [
        max(high - low, abs(high - before), abs(low - before)) for (_, _, before), (high, low, _) in pairwise(history)
    ]


@given(bars)
def test_indicators_follow_their_definitions(history: Bars) -> None:
    row = after(*bar_events(history))
    closes = [close for _, _, close in history]
    changes = [b - a for a, b in pairwise(closes)]
    assert row[f.BARS] == len(closes)
    assert row[f.CLOSE] == row[f.PRICE] == closes[-1]
    assert row[f.EMA_FAST] == pytest.approx(ema(closes, FAST), rel=1e-12)
    assert row[f.EMA_SLOW] == pytest.approx(ema(closes, SLOW), rel=1e-12)
    assert row[f.ATR] == pytest.approx(wilder(true_ranges(history), ATR), rel=1e-9, abs=1e-12)
    assert row[f.PEAK] == max(closes)
    assert drawdown(closed(row)) == pytest.approx(closes[-1] / max(closes) - 1.0, abs=1e-15)
    if changes:
        gain = wilder([max(change, 0.0) for change in changes], RSI)
        loss = wilder([max(-change, 0.0) for change in changes], RSI)
        assert row[f.RETURN] == changes[-1] / closes[-2]
        assert rsi(closed(row)) == pytest.approx(100.0 * gain / (gain + loss) if gain + loss else 50.0, rel=1e-9)


@given(bars)
def test_variance_weighs_squared_returns_by_their_age(history: Bars) -> None:
    closes = [close for _, _, close in history]
    squares = [(b / a - 1.0) ** 2 for a, b in pairwise(closes)]
    # RiskMetrics: weights (1 - decay) decay^age; the first square stands for all that came before it.
    expected = sum((1.0 - DECAY) * DECAY**age * square for age, square in enumerate(reversed(squares[1:])))
    expected += DECAY ** (len(squares) - 1) * squares[0] if squares else 0.0
    assert volatility(closed(after(*bar_events(history)))) == pytest.approx(expected**0.5, rel=1e-9, abs=1e-12)


@given(st.integers(1, 200))
def test_the_window_starts_30_to_60_bars_ago(n: int) -> None:
    closes = [100.0 + i for i in range(n)]
    row = after(*bar_events([(close, close, close) for close in closes]))
    start = max(0, (n - 1) // 30 * 30 - 30)
    assert row[f.ANCHOR_BEFORE] == closes[start]
    assert f.window_move_pct(row) == pytest.approx(100.0 * (closes[-1] / closes[start] - 1.0))


@given(st.lists(st.floats(1e-6, 1e9), min_size=2, max_size=30))
def test_what_a_question_shows_keeps_within_its_bounds(closes: list[float]) -> None:
    row = after(*bar_events([(close, close, close) for close in closes]))
    assert 0.0 <= rsi(closed(row)) <= 100.0
    assert drawdown(closed(row)) <= 0.0
    assert row[f.ATR] >= 0.0
    assert volatility(closed(row)) >= 0.0


def test_a_market_that_only_rises_has_an_rsi_of_100_and_no_more() -> None:
    # 100 * 0.16527636 / 0.16527636 is 100.00000000000001 in floats.
    assert rsi(closed(after(bar(1, 100.0), bar(2, 100.0 + 0.16527636)))) == 100.0


def test_nothing_is_known_of_a_market_that_stands_still() -> None:
    row = after(*(bar(i, 100.0) for i in range(1, 6)))
    assert (rsi(closed(row)), volatility(closed(row)), drawdown(closed(row)), row[f.ATR]) == (50.0, 0.0, 0.0, 0.0)


# The feeds


@given(bars)
def test_trades_build_the_bars_that_the_feed_lacks(history: Bars) -> None:
    ticks: list[Event] = []
    for minute, (high, low, close) in enumerate(history):
        for second, price in ((1, low), (2, high), (59, close)):
            ticks.append(trade(minute + second / 60, price, len(ticks)))
    closing = trade(len(history), 1.0, len(ticks))
    assert indicators(after(*ticks, closing)) == pytest.approx(indicators(after(*bar_events(history))), nan_ok=True)


@given(bars)
def test_quotes_build_the_bars_where_there_are_no_trades(history: Bars) -> None:
    ticks: list[Event] = []
    for minute, (high, low, close) in enumerate(history):
        for second, middle in ((1, low), (2, high), (59, close)):
            ticks.append(quote(minute + second / 60, middle * 0.999, middle * 1.001, len(ticks)))
    closing = quote(len(history), 1.0, 1.0, len(ticks))
    assert indicators(after(*ticks, closing)) == pytest.approx(indicators(after(*bar_events(history))), rel=1e-9)


def test_a_bar_is_closed_by_the_first_price_of_a_later_one_and_gaps_make_none() -> None:
    ticks = [trade(0.1, 100.0, 1), trade(0.9, 102.0, 2), trade(7.5, 90.0, 3)]
    assert after(*ticks[:2])[f.BARS] == 0.0
    row = after(*ticks)
    assert (row[f.BARS], row[f.CLOSE], row[f.PRICE], row[f.CLOSED]) == (1.0, 102.0, 90.0, 1.0)


def test_a_finer_feed_gives_way_to_trades_and_trades_to_bars() -> None:
    quotes = [quote(0.1, 99.0, 101.0, 1), quote(1.1, 99.0, 101.0, 2)]
    trades = [trade(1.2, 100.0, 1), trade(2.1, 105.0, 2)]
    row = after(*quotes, *trades, quote(9.0, 1.0, 1.0, 3))
    assert (row[f.BARS], row[f.CLOSE], row[f.FEED]) == (2.0, 100.0, FROM_TRADES)
    row = after(*quotes, *trades, bar(3, 107.0), trade(30.0, 1.0, 3), quote(40.0, 1.0, 1.0, 3))
    assert (row[f.BARS], row[f.CLOSE], row[f.FEED]) == (3.0, 107.0, FROM_BARS)


def test_bars_of_another_length_only_mark_the_price() -> None:
    history = bar_events([(101.0, 99.0, 100.0), (103.0, 99.0, 102.0)])
    row = after(*history, bar(60, 150.0, interval_s=3600))
    assert row[f.PRICE] == 150.0
    assert row[f.CLOSED] == 0.0
    np.testing.assert_array_equal(indicators(row), indicators(after(*history)))


@given(bars, st.integers(0, 2**32 - 1))
def test_late_and_repeated_bars_count_once(history: Bars, seed: int) -> None:
    random, events = Random(seed), bar_events(history)
    told: list[Event] = []
    for i, event in enumerate(events):
        told += [event, *random.choices(events[: i + 1], k=random.randrange(3))]
    row, plain = after(*told), after(*events)
    np.testing.assert_array_equal(np.delete(row, f.CLOSED), np.delete(plain, f.CLOSED))
    assert row[f.CLOSED] == (told.index(told[-1]) == len(told) - 1)


def test_a_late_bar_does_not_turn_the_price_back() -> None:
    assert after(bar(1, 50.0), bar(3, 100.0), bar(2, 60.0))[f.PRICE] == 100.0


def test_instruments_are_kept_apart() -> None:
    desk = Desk(BOOK)
    for i in range(1, 40):
        desk.apply(bar(i, 100.0 + i))
        desk.apply(bar(i, 10.0, key=ETH))
    assert desk.features.state.rows[0, f.CLOSE] == 139.0
    assert desk.features.state.rows[1, f.CLOSE] == desk.features.state.rows[1, f.EMA_SLOW] == 10.0


# What is cited


def test_the_last_event_is_named_by_its_id_whoever_gave_it() -> None:
    desk = Desk(BOOK)
    named = [
        bar(1, 100.0),
        trade(2, 100.0, 7),
        trade(3, 100.0, 0, id="theirs"),
        quote(4, 99.0, 101.0, 8),
        bar(5, 100.0, id="theirs too"),
        bar(6, 100.0),
        bar(6, 100.0, interval_s=3600),
    ]
    for event in named:
        desk.apply(event)
        assert desk.features.last_id(0) == event.id


def test_a_frame_with_ids_and_one_without_name_their_events() -> None:
    desk = Desk(BOOK)
    features = desk.features
    frames = [
        frame_of([trade(1, 100.0, 1, id="theirs"), trade(2, 10.0, 2, ETH, id="theirs too")], features.instruments),
        frame_of([trade(3, 100.0, 3), trade(4, 100.0, 4)], features.instruments),
    ]
    for frame in frames:
        assert desk.scan(frame, 0, len(frame)) == len(frame)
    assert features.last_id(0) == frames[1].id(1)
    assert features.last_id(1) == "theirs too"


# Texts


def test_the_tone_is_the_mean_of_the_window() -> None:
    scene = Scene(make_book([BTC, ETH], text={"window_min": 10}))
    scene.tell(
        tweet(1, "a great rally", key="BTC"),
        tweet(5, "a crash and a hack, yet a win", key="BTC"),
        tweet(6, "bans", key="ETH"),
        tweet(7, "gains", key="WORLD"),
    )
    for instrument, when, count, mean in (
        (BTC, at(8), 3, 5.0 / 9.0),
        (ETH, at(8), 2, 0.0),
        (BTC, at(11), 3, 5.0 / 9.0),
        (BTC, at(11) + 1, 2, 1.0 / 3.0),
        (BTC, at(30), 0, 0.0),
    ):
        assert scene.desk.features.tone(instrument, when) == pytest.approx((count, mean))


def test_texts_are_forgotten_when_too_many_or_too_old() -> None:
    features = Features(BOOK)

    def vet(minutes: float) -> None:
        fields = {"id": f"v{minutes}", "key": "BTC", "occurred_at": at(minutes), "observed_at": at(minutes)}
        features.on_news_vetted(msgspec.convert(fields | {"source": "s", "sentiment": 0.5}, NewsVetted))

    for i in range(f.MAX_TEXTS + 50):
        vet(i / 1000)
    assert len(features.state.texts) == f.MAX_TEXTS
    assert features.state.texts[-1][0] == at((f.MAX_TEXTS + 49) / 1000)
    vet(1000)
    assert len(features.state.texts) == 1


@pytest.mark.parametrize(
    ("key", "concerned"),
    [(BTC, {BTC}), ("BTC", {BTC}), ("ETH", {ETH}), ("WORLD", {BTC, ETH}), ("btc", {BTC, ETH})],
)
def test_a_text_concerns_its_instrument_or_all(key: str, concerned: set[str]) -> None:
    features = Features(BOOK)
    assert {instrument for instrument in features.instruments if features.concerns(key, instrument)} == concerned


def test_a_share_that_names_no_currency_is_concerned_by_its_symbol() -> None:
    features = Features(make_book(["SPY@x", "QQQ@x"]))
    concerned = {key: [i for i in features.instruments if features.concerns(key, i)] for key in ("SPY", "SPY@x", "Fed")}
    assert concerned == {"SPY": ["SPY@x"], "SPY@x": ["SPY@x"], "Fed": ["SPY@x", "QQQ@x"]}


def test_the_columns_have_the_order_of_the_record_that_fills_them() -> None:
    flat = [*Row._fields[:2], *Closed._fields, *Forming._fields]
    other = {"closes": f.CLOSED, "move": f.RETURN, "open": f.FORM_OPEN, "high": f.FORM_HIGH, "low": f.FORM_LOW}
    assert [other[name] if name in other else getattr(f, name.upper()) for name in flat] == list(range(f.COLUMNS))


# Compiled or not

PROGRAM = """
import sys
from agents.pipeline import Desk
from tests.agents.markets import Market
market = Market(seed=int(sys.argv[1]), instruments=3, rows=600, kinds=(0, 1, 2), roughness=3)
book = market.book(models=0, strategy={"fast_brain": "ema_cross"}, breakers={"flash_move_pct": 1.0})
by_row, by_scan = Desk(book), Desk(book)
frame = market.frame()
for row in range(len(frame)):
    by_row.speak(frame, row, row + 1)
    sys.stdout.buffer.write(by_row.features.state.rows.tobytes())
lo = 0
spoken = 0
while lo < len(frame):
    stop = by_scan.scan(frame, lo, len(frame))
    if stop < len(frame):
        spoken += 1
        assert by_scan.speak(frame, stop, stop + 1)
    lo = stop + 1
assert spoken > 10
assert by_scan.snapshot() == by_row.snapshot()
sys.stdout.buffer.write(by_row.snapshot())
"""


def test_uncompiled_kernels_give_the_same_bytes() -> None:
    def run(**environment: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, "11"],
            cwd=ROOT,
            env=os.environ | environment,
            check=True,
            capture_output=True,
        ).stdout

    compiled = run()
    assert len(compiled) > 600 * 3 * f.COLUMNS * 8
    assert run(NUMBA_DISABLE_JIT="1", PYTHONHASHSEED="1") == compiled


TEXTS = ((1.0, "Wire", 1.0), (5.0, "ann", -1.0), (9.0, "bob", 0.5))
"""Minute, source and score."""


def told(settings: dict[str, object], texts: Sequence[tuple[float, str, float]] = TEXTS) -> Features:
    features = Features(make_book([BTC], text=settings))
    for minutes, source, score in texts:
        fields = {"id": f"v{minutes}", "key": "BTC", "occurred_at": at(minutes), "observed_at": at(minutes)}
        features.on_news_vetted(msgspec.convert(fields | {"source": source, "sentiment": score}, NewsVetted))
    return features


@pytest.mark.parametrize(
    ("settings", "mean"),
    [
        ({}, 0.5 / 3),
        ({"source_weights": {"wire": 3.0, "ann": 0.0}}, (3.0 + 0.5) / 4),
        ({"half_life_min": 4.0}, (1 / 3 - 1 / 2 + 0.5) / (1 / 3 + 1 / 2 + 1)),
        ({"half_life_min": 4.0, "source_weights": {"wire": 3.0}}, (3 / 3 - 1 / 2 + 0.5) / (3 / 3 + 1 / 2 + 1)),
        ({"source_weights": {"wire": 0.0, "ann": 0.0, "bob": 0.0}}, 0.0),
    ],
)
def test_the_tone_weighs_sources_and_age_where_the_book_says_so(settings: dict[str, object], mean: float) -> None:
    count, tone = told(settings).tone(BTC, at(9))
    assert count == 3
    assert tone == pytest.approx(mean, rel=1e-15)


@pytest.mark.parametrize("weights", [{"Wire": 1.0}, {"": 1.0}, {"wire": -1.0}, {"wire": float("inf")}])
def test_a_weight_that_cannot_be_meant_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(BookError, match="source_weights"):
        parse_book({"name": "b", "instruments": [{"id": BTC}], "text": {"source_weights": weights}})


def test_a_book_that_weighs_no_source_keeps_its_state_as_it_was() -> None:
    assert pack(told({}).state) == pack(told({"half_life_min": 4.0}).state)
    assert b"weights" not in pack(told({}).state)


def test_weights_survive_a_snapshot_and_go_with_their_texts() -> None:
    settings: dict[str, object] = {"source_weights": {"wire": 3.0, "ann": 0.5}, "window_min": 5}
    features, again = told(settings), Features(make_book([BTC], text=settings))
    again.restore(pack(features.state))
    late = (11.0, "ann", -0.25)
    for each in (features, again):
        fields = {"id": "late", "key": "BTC", "occurred_at": at(late[0]), "observed_at": at(late[0])}
        each.on_news_vetted(msgspec.convert(fields | {"source": late[1], "sentiment": late[2]}, NewsVetted))
    assert pack(again.state) == pack(features.state)
    assert again.tone(BTC, at(11)) == (2, (0.5 - 0.5 * 0.25) / 1.5)


@given(
    texts=st.lists(st.tuples(st.floats(0, 60), st.sampled_from("abc"), st.floats(-1, 1)), max_size=12),
    weights=st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e6)),
    half=st.none() | st.floats(1e-3, 1e4),
)
def test_a_weighed_tone_lies_between_its_lowest_and_its_highest_score(
    texts: list[tuple[float, str, float]], weights: dict[str, float], half: float | None
) -> None:
    texts.sort()
    count, mean = told({"source_weights": weights, "half_life_min": half, "window_min": 60}, texts).tone(BTC, at(60))
    scores = [score for _, _, score in texts]
    assert count == len(texts)
    low, high = min([0.0, *scores]), max([0.0, *scores])
    assert low - 1e-12 <= mean <= high + 1e-12
    assert -1.0 <= mean <= 1.0
