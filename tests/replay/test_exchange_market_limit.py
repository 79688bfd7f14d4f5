"""What market and limit orders trade at, by bars, trades and quotes."""

from __future__ import annotations

from tests.replay.venue import FLAT, LONG_BAR, SECOND, Scene, bar, check_scene, order, quote, scenes, trade


@scenes(
    Scene(
        "a market order that is active at a bar's open fills there",
        [bar(0, "100 103 99 102"), bar(1, "101 105 98 104")],
        [(60, order("a", "buy"))],
        ["a filled 1 @ 101 as taker at 60s"],
    ),
    Scene(
        "inside a bar only the close is surely later than the order",
        [bar(0, "100 103 99 102"), bar(1, "101 105 98 104")],
        [(60, order("a", "buy"))],
        ["a filled 1 @ 104 as taker at 120s"],
        SECOND,
    ),
    Scene(
        "a bar that closes as the order becomes active shows only what came before it",
        [bar(0, "100 103 99 102"), bar(1, "101 105 98 104"), bar(2, "110 110 110 110")],
        [(60, order("a", "sell"))],
        ["a filled 1 @ 110 as taker at 120s"],
        {"latency_ms": 60_000},
    ),
    Scene(
        "a row that is observed late is met at the time at which it occurred",
        [bar(0, FLAT)._replace(late_s=30), bar(1, "101 105 98 104")],
        [(70, order("a", "buy"))],
        ["a filled 1 @ 104 as taker at 120s"],
    ),
    Scene(
        "of two orders that fill at one open, the first sent is told first",
        [bar(0, FLAT)],
        [(0, order("a", "buy")), (0, order("b", "sell"))],
        ["a filled 1 @ 100 as taker at 0s", "b filled 1 @ 100 as taker at 0s"],
    ),
    Scene(
        "a market order takes the next trade at its price",
        [trade(1, 100), trade(2, 101), trade(3, 102)],
        [(1, order("a", "buy"))],
        ["a filled 1 @ 101 as taker at 2s"],
    ),
    Scene(
        "a trade at the very instant of the order's arrival is met",
        [trade(1, 100), trade(2, 101), trade(3, 102)],
        [(1, order("a", "buy"))],
        ["a filled 1 @ 101 as taker at 2s"],
        SECOND,
    ),
    Scene(
        "a buyer pays the ask, a seller gets the bid",
        [quote(1, 99, 101), quote(2, 98, 102)],
        [(1, order("a", "buy")), (1, order("b", "sell"))],
        ["a filled 1 @ 102 as taker at 2s", "b filled 1 @ 98 as taker at 2s"],
    ),
    Scene(
        "once a quote was seen, a market order waits for a quote and takes no trade",
        [quote(1, 99, 101), trade(2, 100), quote(3, 98, 102)],
        [(1, order("a", "buy"))],
        ["a filled 1 @ 102 as taker at 3s"],
    ),
    Scene(
        "until a quote is seen, trades fill",
        [trade(1, 100), trade(2, 100.5), quote(3, 98, 102)],
        [(1, order("a", "buy"))],
        ["a filled 1 @ 100.5 as taker at 2s"],
    ),
    Scene(
        "once a trade was seen, a bar fills nothing: it holds the same trades again",
        [trade(1, 100), bar(0, "100 120 80 90"), trade(61, 101)],
        [(0, order("t", "sell", stop="85")), (1, order("a", "buy"))],
        ["a filled 1 @ 101 as taker at 61s"],
    ),
)
def test_market_orders(scene: Scene) -> None:
    check_scene(scene)


@scenes(
    Scene(
        "a touch of the limit is not enough: others stood in line before",
        [bar(0, FLAT), bar(1, "100 101 98 99"), bar(2, "99 100 97.5 99")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 180s"],
    ),
    Scene(
        "a sell limit fills once the price is through it",
        [bar(0, FLAT), bar(1, "100 102 99 99"), bar(2, "99 102.5 97 99")],
        [(60, order("a", "sell", limit="102"))],
        ["a filled 1 @ 102 as maker at 180s"],
    ),
    Scene(
        "marketable as it arrives at the open: a taker at the open",
        [bar(0, FLAT), bar(1, "97 99 96 98")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 97 as taker at 60s"],
    ),
    Scene(
        "an open at the limit is somebody else's trade, not an offer to us",
        [bar(0, FLAT), bar(1, "98 99 98 98")],
        [(60, order("a", "buy", limit="98"))],
        [],
    ),
    Scene(
        "a resting limit keeps its price when the market opens beyond it",
        [bar(0, FLAT), bar(1, "100 100 99 99"), bar(2, "95 96 94 95")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 120s"],
    ),
    Scene(
        "inside a bar the low may have come before the order: not on that bar",
        [bar(0, FLAT), bar(1, "100 100 95 99"), bar(2, "99 99 97 98")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 180s"],
        SECOND,
    ),
    Scene(
        "inside a bar that lies below the limit as a whole it was surely marketable: a taker at the close",
        [bar(0, FLAT), bar(1, "97 97.5 95 96")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 96 as taker at 120s"],
        SECOND,
    ),
    Scene(
        "a high at the limit may have been somebody else's: it rests",
        [bar(0, FLAT), bar(1, "97 98 95 96"), bar(2, "99 99 97.5 99")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 180s"],
        SECOND,
    ),
    Scene(
        "a longer bar that began before the order arrived is not its arrival again",
        [bar(0, FLAT), bar(1, "99 99 96 99"), LONG_BAR, bar(3, "97 97 97 97")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 180s"],
        SECOND,
    ),
    Scene(
        "after its bar of arrival it rests, so a later gap gains nothing",
        [bar(0, FLAT), bar(1, "100 100 95 96"), bar(2, "95 96 94 95")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 120s"],
        SECOND,
    ),
    Scene(
        "trades: through the limit, not at it",
        [trade(1, 100), trade(2, 99), trade(3, 98), trade(4, 97.5)],
        [(1, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 4s"],
    ),
    Scene(
        "an ask at the limit is an offer: a taker on arrival",
        [quote(1, 99, 101), quote(2, 97, 98)],
        [(1, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as taker at 2s"],
    ),
    Scene(
        "a better ask on arrival is taken at the ask",
        [quote(1, 99, 101), quote(2, 96, 97)],
        [(1, order("a", "buy", limit="98"))],
        ["a filled 1 @ 97 as taker at 2s"],
    ),
    Scene(
        "a resting limit waits until the ask is below it, whatever the bid does",
        [quote(1, 99, 101), quote(2, 98, 99), quote(3, 97.5, 98), quote(4, 97, 97.5)],
        [(1, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 4s"],
    ),
    Scene(
        "a trade through the limit fills it where there are quotes too",
        [quote(1, 99, 101), trade(2, 100), trade(3, 97.5)],
        [(1, order("a", "buy", limit="98"))],
        ["a filled 1 @ 98 as maker at 3s"],
    ),
    Scene(
        "a limit is not slipped",
        [bar(0, FLAT), bar(1, "97 99 96 98")],
        [(60, order("a", "buy", limit="98"))],
        ["a filled 1 @ 97 as taker at 60s"],
        {"slippage_bps": 200},
    ),
)
def test_limit_orders(scene: Scene) -> None:
    check_scene(scene)
