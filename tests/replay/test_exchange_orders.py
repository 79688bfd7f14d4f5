"""What is refused, canceled, expired, or cut to the position."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tests.replay.venue import (
    FLAT,
    IN_LONG,
    LONG,
    SECOND,
    SPOT,
    TENTH,
    Scene,
    bar,
    cancel,
    check_scene,
    order,
    quote,
    scenes,
    trade,
)


@scenes(
    Scene(
        "a reduce-only order is cut to the position, the rest is canceled",
        [bar(0, FLAT), bar(1, FLAT)],
        [LONG, (60, order("x", "sell", "3", reduce=True))],
        [
            IN_LONG,
            "x filled 2 @ 100 as taker at 60s, 1 left",
            "x canceled at 60s: no position left to close",
        ],
    ),
    Scene(
        "what is not reduce-only may turn the position round",
        [bar(0, FLAT), bar(1, FLAT), bar(2, FLAT)],
        [LONG, (60, order("x", "sell", "3")), (120, order("y", "buy", "5", reduce=True))],
        [
            IN_LONG,
            "x filled 3 @ 100 as taker at 60s",
            "y filled 1 @ 100 as taker at 120s, 4 left",
            "y canceled at 120s: no position left to close",
        ],
    ),
    Scene(
        "a stop whose position went is canceled when it triggers",
        [bar(0, FLAT), bar(1, FLAT), bar(2, "100 100 90 90")],
        [
            LONG,
            (60, order("s", "sell", "2", stop="95", reduce=True)),
            (60, order("x", "sell", "2")),
        ],
        [IN_LONG, "x filled 2 @ 100 as taker at 60s", "s canceled at 180s: no position left to close"],
    ),
    Scene(
        "reduce-only with no position, or on the side that adds to it",
        [bar(0, FLAT), bar(1, FLAT)],
        [
            (0, order("x", "sell", reduce=True)),
            (0, order("in", "buy", "2")),
            (60, order("y", "buy", reduce=True)),
        ],
        [
            "x rejected at 0s: no position to reduce",
            IN_LONG,
            "y rejected at 60s: no position to reduce",
        ],
    ),
    Scene(
        "where nothing can be sold short, a sell is refused beyond what is held",
        [bar(0, FLAT), bar(1, FLAT)],
        [
            (0, order("a", "sell")),
            LONG,
            (60, order("b", "sell", "2.1")),
            (60, order("c", "sell", "2")),
        ],
        [
            "a rejected at 0s: not shortable: sells 1, holds 0",
            IN_LONG,
            "b rejected at 60s: not shortable: sells 2.1, holds 2",
            "c filled 2 @ 100 as taker at 60s",
        ],
        {},
        SPOT,
    ),
    Scene(
        "nor can two sells together go short",
        [bar(0, FLAT), bar(1, FLAT)],
        [LONG, (60, order("a", "sell", "1.5")), (60, order("b", "sell", "1.5"))],
        [
            IN_LONG,
            "a filled 1.5 @ 100 as taker at 60s",
            "b filled 0.5 @ 100 as taker at 60s, 1 left",
            "b canceled at 60s: no position left to close",
        ],
        {},
        SPOT,
    ),
)
def test_positions(scene: Scene) -> None:
    check_scene(scene)


@scenes(
    Scene(
        "an order that cannot be is refused with the reason",
        [bar(0, FLAT), bar(1, FLAT)],
        [
            (60, order("a", "buy", instrument="ELSE/USD@sim")),
            (60, order("b", "buy", "0.15")),
            (60, order("c", "buy", limit="98.3")),
            (60, order("d", "sell", stop="98.3")),
            (60, order("e", "buy", "0.1", limit="99.5")),
            (60, order("f", "buy", "0.1", target="99.5")),
            (60, order("g", "buy", expires_s=59)),
        ],
        [
            "a rejected at 60s: unknown instrument ELSE/USD@sim",
            "b rejected at 60s: quantity 0.15 is not a multiple of the lot size 0.1",
            "c rejected at 60s: limit_price 98.3 is not a multiple of the tick size 0.5",
            "d rejected at 60s: trigger_price 98.3 is not a multiple of the tick size 0.5",
            "e rejected at 60s: notional 9.95 is below the minimum of 10",
            "f rejected at 60s: notional 9.95 is below the minimum of 10",
            "g rejected at 60s: expired on its way to the venue",
        ],
    ),
    Scene(
        "a market order is valued at the last price seen, and not at all before there is one",
        [bar(0, "100 100 99 99"), bar(1, "200 200 200 200")],
        [(0, order("a", "buy", "0.1")), (60, order("b", "buy", "0.1"))],
        [
            "a filled 0.1 @ 100 as taker at 0s",
            "b rejected at 60s: notional 9.9 is below the minimum of 10",
        ],
    ),
    Scene(
        "the last price of a quote is its middle",
        [quote(1, 98, 101), quote(2, 100, 100)],
        [(1, order("a", "buy", "0.1"))],
        ["a rejected at 1s: notional 9.95 is below the minimum of 10"],
    ),
    Scene(
        "the minimum itself is enough",
        [bar(0, FLAT), bar(1, FLAT)],
        [(60, order("a", "buy", "0.1"))],
        ["a filled 0.1 @ 100 as taker at 60s"],
    ),
    Scene(
        "the multiplier counts towards the notional",
        [bar(0, "50 50 50 50"), bar(1, "50 50 50 50")],
        [(60, order("a", "buy", "0.1"))],
        ["a filled 0.1 @ 50 as taker at 60s"],
        {},
        msgspec.structs.replace(SPOT, multiplier=Decimal(2)),
    ),
    Scene(
        "a small rest may always be closed",
        [bar(0, FLAT), bar(1, "50 50 50 50"), bar(2, "50 50 50 50")],
        [(0, order("in", "buy", "0.1")), (120, order("x", "sell", "0.1", reduce=True))],
        ["in filled 0.1 @ 100 as taker at 0s", "x filled 0.1 @ 50 as taker at 120s"],
    ),
    Scene(
        "a refused order's id is taken; the same order again is not answered",
        [bar(0, FLAT)],
        [(0, order("a", "buy", "0.15")), (0, order("a", "buy"))],
        ["a rejected at 0s: quantity 0.15 is not a multiple of the lot size 0.1"],
    ),
    Scene(
        "an order sent again trades once",
        [bar(0, FLAT), bar(1, FLAT), bar(2, FLAT)],
        [(0, order("a", "buy")), (0, order("a", "buy")), (60, order("a", "buy"))],
        ["a filled 1 @ 100 as taker at 0s"],
    ),
)
def test_rejections(scene: Scene) -> None:
    check_scene(scene)


@scenes(
    Scene(
        "a cancel takes effect at the venue",
        [bar(0, FLAT), bar(1, FLAT), bar(2, "100 100 90 90")],
        [(0, order("a", "buy", limit="95")), (90, cancel("a"))],
        ["a canceled at 91s: not wanted"],
        SECOND,
    ),
    Scene(
        "a fill at the venue before the cancel gets there wins",
        [trade(1, 100), trade(2, 96), trade(9.5, 94), trade(11, 94)],
        [(0, order("a", "buy", limit="95")), (9, cancel("a"))],
        ["a filled 1 @ 95 as maker at 9.5s"],
        SECOND,
    ),
    Scene(
        "from the instant of the cancel on nothing fills, though its report is still under way",
        [trade(1, 100), trade(2, 96), trade(10, 94), trade(10.5, 94)],
        [(0, order("a", "buy", limit="95")), (9, cancel("a"))],
        ["a canceled at 10s: not wanted"],
        SECOND,
    ),
    Scene(
        "a cancel that overtakes nothing: an order canceled as it is sent never lives",
        [bar(0, FLAT)],
        [(0, order("a", "buy")), (0, cancel("a"))],
        ["a canceled at 1s: not wanted"],
        SECOND,
    ),
    Scene(
        "a bar that ends after the cancel is not asked: the cancel came first as far as it shows",
        [bar(0, FLAT), bar(1, "100 100 90 90")],
        [(0, order("a", "buy", limit="95")), (118.5, cancel("a"))],
        ["a canceled at 119.5s: not wanted"],
        SECOND,
    ),
    Scene(
        "the rest of a partly filled order is canceled",
        [bar(0, FLAT, 5), bar(1, FLAT)],
        [(0, order("a", "buy")), (60, cancel("a"))],
        ["a filled 0.5 @ 100 as taker at 0s, 0.5 left", "a canceled at 60s: not wanted"],
        TENTH,
    ),
    Scene(
        "a cancel of what is done, unknown or canceled already says nothing",
        [bar(0, FLAT), bar(1, FLAT), bar(2, FLAT)],
        [
            (0, order("a", "buy")),
            (0, order("b", "buy", limit="90")),
            (60, cancel("a")),
            (60, cancel("nobody")),
            (60, cancel("b")),
            (60, cancel("b")),
        ],
        ["a filled 1 @ 100 as taker at 0s", "b canceled at 60s: not wanted"],
    ),
    Scene(
        "an order lives up to and including its time",
        [trade(1, 100), trade(2, 96), trade(10, 94)],
        [(0, order("a", "buy", limit="95", expires_s=10))],
        ["a filled 1 @ 95 as maker at 10s"],
    ),
    Scene(
        "an order that arrives at its very time is taken",
        [trade(1, 100), trade(10, 94)],
        [(9, order("a", "buy", expires_s=10))],
        ["a filled 1 @ 94 as taker at 10s"],
        SECOND,
    ),
    Scene(
        "and lapses one ns later",
        [trade(1, 100), trade(2, 96), trade(11, 94)],
        [(0, order("a", "buy", limit="95", expires_s=10))],
        ["a expired at 10s"],
    ),
    Scene(
        "a bar that ends at its time is the last that counts",
        [bar(0, FLAT), bar(1, "100 100 90 90")],
        [(0, order("a", "buy", limit="95", expires_s=120))],
        ["a filled 1 @ 95 as maker at 120s"],
    ),
    Scene(
        "a cancel after its expiry changes nothing",
        [trade(1, 100), trade(20, 100)],
        [(0, order("a", "buy", limit="95", expires_s=10)), (9.5, cancel("a"))],
        ["a expired at 10s"],
        SECOND,
    ),
    Scene(
        "what ends in one step ends in the order of time",
        [trade(1, 100), trade(30, 100)],
        [
            (0, order("a", "buy", limit="95", expires_s=12)),
            (0, order("b", "buy", limit="95", expires_s=10)),
            (10, cancel("a")),
        ],
        ["b expired at 10s", "a canceled at 11s: not wanted"],
        SECOND,
    ),
)
def test_cancels_and_expiry(scene: Scene) -> None:
    check_scene(scene)
