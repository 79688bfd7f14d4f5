"""What stops and targets trade at, and what comes first on a bar that hides the order of its prices."""

from __future__ import annotations

from tests.replay.venue import (
    FLAT,
    IN_LONG,
    IN_SHORT,
    LONG,
    SECOND,
    SHORT,
    Scene,
    bar,
    check_scene,
    order,
    quote,
    scenes,
    trade,
)


@scenes(
    Scene(
        "a stop triggers at a touch",
        [bar(0, FLAT), bar(1, "100 101 95 99")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        [IN_LONG, "s filled 2 @ 95 as taker at 120s"],
    ),
    Scene(
        "a stop that is not touched waits",
        [bar(0, FLAT), bar(1, "100 101 95.5 99")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        [IN_LONG],
    ),
    Scene(
        "a gap through the stop fills at the open, which is worse",
        [bar(0, FLAT), bar(1, "99 99 98 98"), bar(2, "90 96 89 95")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        [IN_LONG, "s filled 2 @ 90 as taker at 120s"],
    ),
    Scene(
        "a buy stop is the mirror image",
        [bar(0, FLAT), bar(1, "101 102 100 101"), bar(2, "107 108 104 105")],
        [SHORT, (60, order("s", "buy", "2", stop="105", reduce=True))],
        [IN_SHORT, "s filled 2 @ 107 as taker at 120s"],
    ),
    Scene(
        "inside its bar of arrival a stop sees the close alone",
        [bar(0, FLAT), bar(1, "100 101 90 96"), bar(2, "96 97 95 96")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        ["in filled 2 @ 100 as taker at 60s", "s filled 2 @ 95 as taker at 180s"],
        {"latency_ms": 500},
    ),
    Scene(
        "a close beyond it triggers, at the close",
        [bar(0, FLAT), bar(1, "100 101 90 94")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        ["in filled 2 @ 100 as taker at 60s", "s filled 2 @ 94 as taker at 120s"],
        {"latency_ms": 500},
    ),
    Scene(
        "a close at the trigger touches it",
        [bar(0, FLAT), bar(1, "100 101 95 95")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        ["in filled 2 @ 100 as taker at 60s", "s filled 2 @ 95 as taker at 120s"],
        {"latency_ms": 500},
    ),
    Scene(
        "an open at the trigger fills at the open",
        [bar(0, FLAT), bar(1, "95 99 94 98")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        [IN_LONG, "s filled 2 @ 95 as taker at 60s"],
    ),
    Scene(
        "a stop fills at the trade that touches it",
        [bar(0, FLAT), trade(61, 96), trade(62, 94.5)],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        [IN_LONG, "s filled 2 @ 94.5 as taker at 62s"],
    ),
    Scene(
        "where there are quotes, a trade triggers and the next quote fills",
        [quote(1, 100, 100), trade(2, 95), trade(3, 99), quote(4, 96, 98)],
        [(0, order("in", "buy", "2")), (1, order("s", "sell", "2", stop="95", reduce=True))],
        ["in filled 2 @ 100 as taker at 1s", "s filled 2 @ 96 as taker at 4s"],
    ),
    Scene(
        "a quote triggers a sell stop by the bid and a buy stop by the ask",
        [quote(1, 100, 100), quote(2, 95.5, 104.5), quote(3, 95, 104.5), quote(4, 96, 105)],
        [(1, order("s", "sell", stop="95")), (1, order("b", "buy", stop="105"))],
        ["s filled 1 @ 95 as taker at 3s", "b filled 1 @ 105 as taker at 4s"],
    ),
)
def test_stops(scene: Scene) -> None:
    check_scene(scene)


@scenes(
    Scene(
        "a target triggers at a touch",
        [bar(0, FLAT), bar(1, "100 105 99 101")],
        [LONG, (60, order("t", "sell", "2", target="105", reduce=True))],
        [IN_LONG, "t filled 2 @ 105 as taker at 120s"],
    ),
    Scene(
        "a gap beyond the target gains nothing",
        [bar(0, FLAT), bar(1, "100 101 99 101"), bar(2, "110 112 109 111")],
        [LONG, (60, order("t", "sell", "2", target="105", reduce=True))],
        [IN_LONG, "t filled 2 @ 105 as taker at 120s"],
    ),
    Scene(
        "an open at the target fills at the open",
        [bar(0, FLAT), bar(1, "105 106 104 104")],
        [LONG, (60, order("t", "sell", "2", target="105", reduce=True))],
        [IN_LONG, "t filled 2 @ 105 as taker at 60s"],
    ),
    Scene(
        "a buy target is the mirror image",
        [bar(0, FLAT), bar(1, "100 101 95 99")],
        [SHORT, (60, order("t", "buy", "2", target="95", reduce=True))],
        [IN_SHORT, "t filled 2 @ 95 as taker at 120s"],
    ),
    Scene(
        "inside its bar of arrival a target sees nothing",
        [bar(0, FLAT), bar(1, "100 110 99 108"), bar(2, "108 109 104 104")],
        [LONG, (60, order("t", "sell", "2", target="105", reduce=True))],
        ["in filled 2 @ 100 as taker at 60s", "t filled 2 @ 105 as taker at 120s"],
        {"latency_ms": 500},
    ),
    Scene(
        "a trade beyond the target fills at the target",
        [bar(0, FLAT), trade(61, 104), trade(62, 107)],
        [LONG, (60, order("t", "sell", "2", target="105", reduce=True))],
        [IN_LONG, "t filled 2 @ 105 as taker at 62s"],
    ),
    Scene(
        "a bar that touches stop and target takes the stop; the target finds nothing left",
        [bar(0, FLAT), bar(1, "100 106 94 105")],
        [
            LONG,
            (60, order("t", "sell", "2", target="105", reduce=True)),
            (60, order("s", "sell", "2", stop="95", reduce=True)),
        ],
        [IN_LONG, "s filled 2 @ 95 as taker at 120s", "t canceled at 120s: no position left to close"],
    ),
    Scene(
        "the stop of a short comes first too",
        [bar(0, FLAT), bar(1, "100 106 94 95")],
        [
            SHORT,
            (60, order("t", "buy", "2", target="95", reduce=True)),
            (60, order("s", "buy", "2", stop="105", reduce=True)),
        ],
        [IN_SHORT, "s filled 2 @ 105 as taker at 120s", "t canceled at 120s: no position left to close"],
    ),
    Scene(
        "the stop is hit before a market exit that arrives inside the bar",
        [bar(0, FLAT), bar(1, "100 101 99 99"), bar(2, "100 106 94 105")],
        [
            LONG,
            (61, order("s", "sell", "2", stop="95", reduce=True)),
            (120, order("x", "sell", "2", reduce=True)),
        ],
        [
            "in filled 2 @ 100 as taker at 60s",
            "s filled 2 @ 95 as taker at 180s",
            "x canceled at 180s: no position left to close",
        ],
        SECOND,
    ),
    Scene(
        "a market exit at the open comes before the stop of that bar",
        [bar(0, FLAT), bar(1, "100 106 94 105")],
        [
            LONG,
            (60, order("s", "sell", "2", stop="95", reduce=True)),
            (60, order("x", "sell", "2", reduce=True)),
        ],
        [IN_LONG, "x filled 2 @ 100 as taker at 60s", "s canceled at 120s: no position left to close"],
    ),
)
def test_targets_and_the_order_of_one_bar(scene: Scene) -> None:
    check_scene(scene)
