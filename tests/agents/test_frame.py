"""A frame and the events that it stands for are one and the same, whichever was there first."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.frame import BAR, QUOTE, TRADE, Frame
from schemas.base import NS_PER_S, Event
from tests.agents.builders import BTC, ETH, bar, quote, trade

INSTRUMENTS = (BTC, ETH)
NUMBERS = st.integers(0, 2**63 - 1)
PRICES = st.floats(1e-9, 1e12)


@st.composite
def rows(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from([BAR, TRADE, QUOTE]))
    low, high, size = *sorted([draw(PRICES), draw(PRICES)]), draw(PRICES)
    values = {
        BAR: [low, high, low, high, size, float(draw(st.integers(1, 10**6)) * NS_PER_S)],
        TRADE: [low, size, float(draw(st.sampled_from([-1, 0, 1]))), 0.0, 0.0, 0.0],
        QUOTE: [low, high, size, size, 0.0, 0.0],
    }[kind]
    observed_at = draw(st.integers(10**18, 2 * 10**18))
    occurred_at = observed_at - draw(st.integers(0, 10**9))
    ints = (kind, draw(st.integers(0, 1)), draw(NUMBERS), occurred_at, observed_at)
    a, b, c, d, e = (np.array([column], np.int64) for column in ints)
    return Frame(INSTRUMENTS, a, b, c, d, e, np.array([values]))


def same(left: Frame, right: Frame) -> bool:
    columns = ("kind", "instrument", "number", "occurred_at", "observed_at", "values")
    return left.ids == right.ids and all(np.array_equal(getattr(left, c), getattr(right, c)) for c in columns)


@given(rows())
def test_the_event_of_a_row_makes_the_same_row(frame: Frame) -> None:
    assert same(Frame.of_events([frame.event(0, "book", 7)], INSTRUMENTS), frame)


@given(rows(), st.text("abcdef0123456789/-", min_size=1))
def test_an_id_that_its_producer_chose_is_kept(frame: Frame, chosen: str) -> None:
    event = msgspec.structs.replace(frame.event(0, "book", 7), id=chosen)
    assert Frame.of_events([event], INSTRUMENTS).event(0, "book", 7) == event


@pytest.mark.parametrize("number", ["-1", "007", "٣", "9" * 19, "9" * 40, "", "1e3", "1.0"])
def test_an_id_that_only_looks_like_ours_is_kept(number: str) -> None:
    event = trade(1, 100.0, 0, id=f"{BTC}/trade/{number}")
    assert Frame.of_events([event], INSTRUMENTS).event(0, "", 0) == event


@pytest.mark.parametrize("event", [bar(1, 100.0), trade(1, 100.0, 5), quote(1, 99.0, 101.0, 5)], ids=repr)
def test_an_id_of_ours_is_not_kept_but_made(event: Event) -> None:
    frame = Frame.of_events([event], INSTRUMENTS)
    assert frame.ids == ()
    assert frame.event(0, "", 0) == event


def test_a_bar_of_another_id_is_numbered_by_its_opening_as_ours_are() -> None:
    ours, theirs = bar(1, 100.0), bar(1, 100.0, id="theirs")
    assert Frame.of_events([theirs], INSTRUMENTS).number == Frame.of_events([ours], INSTRUMENTS).number
