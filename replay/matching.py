"""When a working order trades, and at which price: the rules of the simulated exchange, which change nothing.

A rule never assumes what the data does not show: where a bar hides the order of its prices, the worse case counts.
Prices are compared as floats, the data's own; what an order then pays is computed in `replay.costs`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from math import inf, nextafter
from typing import NamedTuple

import msgspec

from agents.frame import BAR, QUOTE, TRADE, Floats, Frame, Ints
from agents.kernels import kernel
from agents.layout import Bounds
from replay.costs import Liquidity
from schemas.execution import OrderRequested, OrderType


class Working(msgspec.Struct, kw_only=True, gc=False):
    """An order at the venue, or on its way there. It lives from `active_at` up to, not including, `ends_at`."""

    request: OrderRequested
    index: int
    """Of its instrument in the book."""
    level: float
    """Limit or trigger price; 0 on a market order."""
    active_at: int
    ends_at: int
    open: Decimal
    """Quantity that is not filled."""
    reducing: bool
    """It may bring the position to zero at most."""
    triggered: bool
    """It is a market order, or has become one."""
    answers: int
    """Events sent about it so far."""
    told_at: int
    """When the last of them is observed."""
    met: bool = False
    """A row has met it."""
    cancel_reason: str | None = None
    """Set where `ends_at` is a cancel and not the order's own expiry."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """A market row in time: what it shows happened from `starts_at` to `last_at`, and was known at `observed_at`."""

    kind: int
    values: list[float]
    starts_at: int
    last_at: int
    occurred_at: int
    observed_at: int


class Hit(msgspec.Struct, frozen=True, gc=False):
    """An order trades on a row: at this price, in the row's first instant or at its end."""

    price: float
    at_start: bool
    liquidity: Liquidity = "taker"


def moment_of(frame: Frame, row: int) -> Moment:
    """Read a row. A bar starts one interval before it closes, and its last trade came before the close."""
    kind, occurred_at, observed_at = frame.kind.item(row), frame.occurred_at.item(row), frame.observed_at.item(row)
    values: list[float] = frame.values[row].tolist()
    if kind == BAR:
        return Moment(kind, values, occurred_at - int(values[5]), occurred_at - 1, occurred_at, observed_at)
    return Moment(kind, values, occurred_at, occurred_at, occurred_at, observed_at)


def turn(order: Working, moment: Moment) -> int:
    """Give an order's turn on a row that several meet: at the open, then stops, then the rest, then at the close.

    The true order of a bar's high and low is hidden, so what hurts comes first.
    """
    if order.active_at > moment.starts_at:
        return 3
    if order.triggered:
        return 0
    return 1 if order.request.order_type == "stop" else 2


def match(order: Working, moment: Moment) -> Hit | None:
    """Tell whether, and at which price, an order trades on a row that it lives to see.

    A buyer meets the ask of a quote, a seller the bid; a trade or a quote shows one price in all four places. A market
    order trades at the first price that is surely later than the order.
    """
    kind, values = moment.kind, moment.values
    buys = order.request.side == "buy"
    if kind == BAR:
        first, high, low, last, _, _ = values
    else:
        first = high = low = last = values[1 if buys and kind == QUOTE else 0]
    whole = order.active_at <= moment.starts_at
    if order.triggered:
        return Hit(first, at_start=True) if whole else Hit(last, at_start=False)
    rule, fresh, firm = _RULES[order.request.order_type], not order.met, kind == QUOTE
    if buys:
        return rule(Meeting(order.level, first, low, high, last, whole, fresh, firm))
    hit = rule(Meeting(-order.level, -first, -high, -low, -last, whole, fresh, firm))
    return None if hit is None else Hit(-hit.price, hit.at_start, hit.liquidity)


def size_on_offer(order: Working, moment: Moment) -> float:
    """Give a row's size: volume of a bar, size of a trade, size displayed at the quote that the order would take."""
    if moment.kind == BAR:
        return moment.values[4]
    if moment.kind == TRADE:
        return moment.values[1]
    return moment.values[3 if order.request.side == "buy" else 2]


class Meeting(NamedTuple):
    """An order meets a row, seen as by a buyer. For a sell order the price axis is mirrored: every price is negative,
    high and low have changed places, and the same rules hold.
    """

    level: float
    """Limit or trigger price."""
    first: float
    low: float
    high: float
    last: float
    whole: bool
    """The order was active by the row's first instant; otherwise only `last` is surely later than the order."""
    fresh: bool
    """No row has met the order before."""
    firm: bool
    """The price is an offer (a quote), not the print of a trade that somebody else made."""


def _stop(m: Meeting) -> Hit | None:
    """Trade once the trigger is touched: there, or at the open of a bar that opens beyond it."""
    if not m.whole:
        return Hit(m.last, at_start=False) if m.last >= m.level else None
    if m.first >= m.level:
        return Hit(m.first, at_start=True)
    return Hit(m.level, at_start=False) if m.high >= m.level else None


def _take_profit(m: Meeting) -> Hit | None:
    """Trade at the trigger once it is touched; a gap beyond it gains nothing."""
    return Hit(m.level, at_start=m.first <= m.level) if m.whole and m.low <= m.level else None


def _limit(m: Meeting) -> Hit | None:
    """Take what is on offer at arrival; after that, trade at the limit once the price goes through it."""
    if not m.whole:
        return Hit(m.last, at_start=False) if m.fresh and m.high < m.level else None
    if m.fresh and (m.first < m.level or (m.firm and m.first == m.level)):
        return Hit(m.first, at_start=True)
    return Hit(m.level, m.first < m.level, "maker") if m.low < m.level else None


_RULES: dict[OrderType, Callable[[Meeting], Hit | None]] = {
    "stop": _stop,
    "take_profit": _take_profit,
    "limit": _limit,
}


def tightened(bounds: Bounds, order: Working) -> Bounds:
    """Move the bounds of an instrument to where this resting order may begin to trade."""
    level, order_type = order.level, order.request.order_type
    buy_below, sell_below, buy_above, sell_above = bounds
    if order_type == "stop":
        if order.request.side == "buy":
            return Bounds(buy_below, sell_below, min(buy_above, level), sell_above)
        return Bounds(buy_below, max(sell_below, level), buy_above, sell_above)
    passed = order_type == "limit"  # to touch a limit is not enough
    if order.request.side == "buy":
        level = nextafter(level, -inf) if passed else level
        return Bounds(max(buy_below, level), sell_below, buy_above, sell_above)
    level = nextafter(level, inf) if passed else level
    return Bounds(buy_below, sell_below, buy_above, min(sell_above, level))


@kernel
def see(kind: Ints, instrument: Ints, values: Floats, lo: int, hi: int, source: Ints, last_price: Floats) -> None:
    """Take rows [lo, hi) into what is known of each instrument: the finest kind of row seen, the last price."""
    row = lo
    while row < hi:
        i = instrument[row]
        finest = source[i]
        while row < hi and instrument[row] == i:
            finest = max(finest, kind[row])
            row += 1
        source[i], last = finest, row - 1
        if kind[last] == BAR:
            last_price[i] = values[last, 3]
        elif kind[last] == QUOTE:
            last_price[i] = (values[last, 0] + values[last, 1]) / 2.0
        else:
            last_price[i] = values[last, 0]
