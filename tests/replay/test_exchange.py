"""When the answers of the simulated exchange come, and what a host may ask of it."""

from __future__ import annotations

import pytest

from replay.exchange import REMEMBERED_ORDERS, SimulatedExchange
from schemas.base import NS_PER_MS, NS_PER_S, derived_id
from schemas.book import Instrument
from schemas.errors import BookError
from tests.replay.venue import (
    COIN,
    FLAT,
    bar,
    book_of,
    cancel,
    frame_of,
    ns,
    order,
    play,
    quote,
    send,
    settle,
    told,
    trade,
)


def test_answers_come_back_after_the_latency_and_name_their_order() -> None:
    rows = [bar(0, FLAT), bar(1, "100 100 100 101"), bar(2, FLAT)]
    answers = play(book_of(latency_ms=250), rows, [(60, order("a", "buy"))])
    assert [told(e) for e in answers] == ["a accepted at 60.25s", "a filled 1 @ 101 as taker at 120s"]
    assert [e.observed_at for e in answers] == [ns(60.5), ns(120.25)]
    assert [e.id for e in answers] == [derived_id("a", "exchange", n) for n in (0, 1)]
    assert {(e.key, e.cause, e.book) for e in answers} == {(COIN, "a", "scene")}


def test_a_rejection_comes_back_after_the_latency() -> None:
    (answer,) = play(book_of(latency_ms=250), [bar(0, FLAT)], [(30, order("a", "buy", "0.15"))])
    assert (answer.occurred_at, answer.observed_at) == (ns(30.25), ns(30.5))
    assert answer.id == derived_id("a", "exchange", 0)


def test_a_fill_is_not_known_before_the_row_that_shows_it() -> None:
    book = book_of(latency_ms=250)
    _, at_open = play(book, [bar(0, FLAT), bar(1, FLAT)], [(59.75, order("a", "buy"))])
    assert (at_open.occurred_at, at_open.observed_at) == (ns(60), ns(120))
    _, late = play(book, [trade(2, 100)._replace(late_s=3)], [(1, order("a", "buy"))])
    assert (late.occurred_at, late.observed_at) == (ns(2), ns(5))


def test_a_cancel_is_due_when_its_report_is_back() -> None:
    exchange = SimulatedExchange(book_of(latency_ms=250))
    send(exchange, order("a", "buy", limit="95"), ns(0))
    assert send(exchange, cancel("a"), ns(10)) == []
    assert exchange.due == ns(10) + 500 * NS_PER_MS
    assert exchange.on_time(exchange.due - 1) == []
    (answer,) = exchange.on_time(exchange.due)
    assert (answer.occurred_at, answer.observed_at) == (ns(10.25), ns(10.5))
    assert exchange.on_time(ns(100)) == []


def test_an_expiry_is_due_one_ns_after_the_order_s_time() -> None:
    exchange = SimulatedExchange(book_of(latency_ms=250))
    send(exchange, order("a", "buy", limit="95", expires_s=10), ns(0))
    assert exchange.due == ns(10) + 1 + 250 * NS_PER_MS
    (answer,) = settle(exchange, ns(11))
    assert (answer.occurred_at, answer.observed_at) == (ns(10) + 1, ns(10.25) + 1)


def test_without_orders_every_span_is_quiet() -> None:
    exchange = SimulatedExchange(book_of())
    frame = frame_of([bar(0, FLAT), bar(1, FLAT)])
    assert exchange.quiet_until(frame, 0, 2) == 2
    send(exchange, order("a", "buy"), ns(0))
    assert exchange.quiet_until(frame, 0, 2) == 0
    exchange.on_row(frame, 0)
    assert exchange.quiet_until(frame, 1, 2) == 2


def test_resting_orders_sleep_until_their_price() -> None:
    """Where a passive order would wake the host at each row, a replay of quotes would crawl."""
    exchange = SimulatedExchange(book_of())
    quotes = [quote(1 + i, 99 + i % 2 / 2, 101) for i in range(50)]
    quotes[49] = quote(50, 98, 99)
    frame = frame_of([*quotes, quote(60, 98, 98.5), quote(61, 97, 97.5)])
    send(exchange, order("a", "buy", limit="99"), ns(0))
    send(exchange, order("b", "sell", limit="101"), ns(0))
    send(exchange, order("c", "sell", stop="97"), ns(0))
    send(exchange, order("d", "buy", stop="101.5"), ns(0))
    assert exchange.quiet_until(frame, 0, len(frame)) == 0
    assert exchange.on_row(frame, 0) == []
    assert exchange.quiet_until(frame, 1, len(frame)) == 50
    assert [told(e) for e in exchange.on_row(frame, 50)] == ["a filled 1 @ 99 as maker at 60s"]
    assert exchange.quiet_until(frame, 51, len(frame)) == 51


def test_a_bar_that_closes_as_the_order_becomes_active_is_quiet() -> None:
    exchange = SimulatedExchange(book_of())
    frame = frame_of([bar(0, FLAT), bar(1, FLAT)])
    send(exchange, order("a", "buy"), ns(60))
    assert exchange.quiet_until(frame, 0, 2) == 1


def test_a_late_host_is_told_what_ended_in_the_order_of_time() -> None:
    exchange = SimulatedExchange(book_of())
    for name, expires_s in (("a", 12.0), ("b", 10.0), ("c", 11.0)):
        send(exchange, order(name, "buy", limit="95", expires_s=expires_s), ns(0))
    assert [told(e) for e in exchange.on_time(ns(60))] == ["b expired at 10s", "c expired at 11s", "a expired at 12s"]


def test_only_the_last_order_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.exchange.REMEMBERED_ORDERS", 2)
    exchange = SimulatedExchange(book_of())
    for name in ("a", "b", "c"):
        send(exchange, order(name, "buy", "0.15"), ns(0))
    assert send(exchange, order("b", "buy", "0.15"), ns(0)) == []
    assert len(send(exchange, order("a", "buy", "0.15"), ns(0))) == 1


def test_a_snapshot_stays_small_however_many_orders_there_were() -> None:
    """A live executor saves one every half minute and answers no order meanwhile."""
    exchange, sizes = SimulatedExchange(book_of()), []
    for first in (0, REMEMBERED_ORDERS):
        for number in range(first, first + REMEMBERED_ORDERS):
            send(exchange, order(f"{number:032x}", "buy", "0.15"), ns(0))
        sizes.append(len(exchange.snapshot()))
    assert sizes[0] == sizes[1] < 500_000


def test_a_snapshot_belongs_to_its_instruments() -> None:
    saved = SimulatedExchange(book_of()).snapshot()
    with pytest.raises(BookError, match=r"saved with instruments COIN/USD@sim, but the book has ELSE@sim"):
        SimulatedExchange(book_of((Instrument(id="ELSE@sim"),))).restore(saved)


def test_a_bar_starts_its_own_interval_before_its_end() -> None:
    hour = bar(0, "100 105 95 101")._replace(occurred_s=3600)
    hour = hour._replace(values=(*hour.values[:5], 3600.0 * NS_PER_S))
    assert [told(e) for e in play(book_of(), [hour], [(0, order("a", "buy"))])][1:] == [
        "a filled 1 @ 100 as taker at 0s"
    ]


def test_answers_about_one_order_come_back_in_their_order() -> None:
    """Where a feed hands over an older trade later, its fill is not told before the fill of the newer one."""
    rows = [trade(2, 100, 5), trade(1, 101, 5)._replace(late_s=1.5)]
    _, newer, older = play(book_of(latency_ms=800, max_volume_pct=10.0), rows, [(0, order("a", "buy"))])
    assert [told(newer), told(older)] == [
        "a filled 0.5 @ 100 as taker at 2s, 0.5 left",
        "a filled 0.5 @ 101 as taker at 1s",
    ]
    assert [newer.observed_at, older.observed_at] == [ns(2.8), ns(2.8)]
