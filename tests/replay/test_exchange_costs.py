"""What a fill costs, and how much of a row one order may take."""

from __future__ import annotations

from decimal import Decimal

import pytest

from replay.costs import Costs
from schemas.book import Instrument
from schemas.execution import OrderFilled
from tests.replay.venue import (
    COIN,
    FLAT,
    IN_LONG,
    LONG,
    TENTH,
    Command,
    Scene,
    bar,
    book_of,
    check_scene,
    order,
    play,
    quote,
    scenes,
    trade,
)


@scenes(
    Scene(
        "a market order slips against itself and rounds to the tick against itself",
        [bar(0, "100 100 100 100"), bar(1, "100 100 100 100")],
        [(0, order("a", "buy")), (60, order("b", "sell"))],
        ["a filled 1 @ 100.5 as taker at 0s", "b filled 1 @ 99.5 as taker at 60s"],
        {"slippage_bps": 1},
    ),
    Scene(
        "a slipped price may lie outside of the bar",
        [bar(0, FLAT)],
        [(0, order("a", "buy"))],
        ["a filled 1 @ 102 as taker at 0s"],
        {"slippage_bps": 200},
    ),
    Scene(
        "a price off the tick is rounded against the order without slippage too",
        [bar(0, "100.26 101 99 100"), bar(1, "100.26 101 99 100")],
        [(0, order("a", "buy")), (60, order("b", "sell"))],
        ["a filled 1 @ 100.5 as taker at 0s", "b filled 1 @ 100 as taker at 60s"],
    ),
    Scene(
        "stops and targets slip",
        [bar(0, FLAT), bar(1, "100 100 94 94"), bar(2, "94 94 94 94"), bar(3, "100 106 100 100")],
        [
            (0, order("in", "buy", "2")),
            (60, order("s", "sell", "1", stop="95", reduce=True)),
            (120, order("t", "sell", "1", target="105", reduce=True)),
        ],
        [
            "in filled 2 @ 101 as taker at 0s",
            "s filled 1 @ 94 as taker at 120s",
            "t filled 1 @ 103.5 as taker at 240s",
        ],
        {"slippage_bps": 100},
    ),
    Scene(
        "nothing sells below one tick",
        [bar(0, FLAT), bar(1, "0.2 0.2 0.2 0.2")],
        [(60, order("a", "sell"))],
        ["a filled 1 @ 0.5 as taker at 60s"],
    ),
)
def test_slippage(scene: Scene) -> None:
    check_scene(scene)


@scenes(
    Scene(
        "an order takes its share of each bar's volume, the rest follows at the next opens",
        [bar(0, "100 100 100 100", 10), bar(1, "101 101 101 101", 5), bar(2, "102 102 102 102", 90)],
        [(0, order("a", "buy", "2"))],
        [
            "a filled 1 @ 100 as taker at 0s, 1 left",
            "a filled 0.5 @ 101 as taker at 60s, 0.5 left",
            "a filled 0.5 @ 102 as taker at 120s",
        ],
        TENTH,
    ),
    Scene(
        "a share is cut to whole lots, and below one lot nothing fills",
        [bar(0, FLAT, 0.99), bar(1, "101 101 101 101", 1.99)],
        [(0, order("a", "buy"))],
        ["a filled 0.1 @ 101 as taker at 60s, 0.9 left"],
        TENTH,
    ),
    Scene(
        "each order has a share of its own",
        [bar(0, FLAT, 10)],
        [(0, order("a", "buy", "1")), (0, order("b", "buy", "1"))],
        ["a filled 1 @ 100 as taker at 0s", "b filled 1 @ 100 as taker at 0s"],
        TENTH,
    ),
    Scene(
        "a stop once triggered is a market order, also where its bar had no volume to give",
        [bar(0, FLAT), bar(1, "100 100 95 99", 0), bar(2, "98 99 97 99", 15), bar(3, "99 99 99 99")],
        [LONG, (60, order("s", "sell", "2", stop="95", reduce=True))],
        [IN_LONG, "s filled 1.5 @ 98 as taker at 120s, 0.5 left", "s filled 0.5 @ 99 as taker at 180s"],
        TENTH,
    ),
    Scene(
        "the rest of a limit needs the price to go through it again",
        [bar(0, FLAT, 10), bar(1, "99 99 97 97", 10), bar(2, "99 99 98 98"), bar(3, "98 98 97 97")],
        [(0, order("a", "buy", "2", limit="98"))],
        ["a filled 1 @ 98 as maker at 120s, 1 left", "a filled 1 @ 98 as maker at 240s"],
        TENTH,
    ),
    Scene(
        "the rest of a limit that took on arrival rests",
        [bar(0, FLAT), bar(1, "97 99 97 99", 10), bar(2, "97 97 97 97")],
        [(60, order("a", "buy", "2", limit="98"))],
        ["a filled 1 @ 97 as taker at 60s, 1 left", "a filled 1 @ 98 as maker at 120s"],
        TENTH,
    ),
    Scene(
        "of a trade, its size counts; of a quote, the size on the side that is taken",
        [trade(1, 100, 5), quote(2, 99, 101, 1000, 4), quote(3, 99, 102)],
        [(0, order("a", "buy", "1"))],
        [
            "a filled 0.5 @ 100 as taker at 1s, 0.5 left",
            "a filled 0.4 @ 101 as taker at 2s, 0.1 left",
            "a filled 0.1 @ 102 as taker at 3s",
        ],
        TENTH,
    ),
    Scene(
        "without a cap an order fills whole, whatever the volume",
        [bar(0, FLAT, 0)],
        [(0, order("a", "buy", "1000000"))],
        ["a filled 1000000 @ 100 as taker at 0s"],
    ),
)
def test_volume_cap(scene: Scene) -> None:
    check_scene(scene)


def test_fees_are_on_the_notional_at_the_rate_of_the_liquidity() -> None:
    contract = Instrument(id=COIN, lot_size=Decimal(1), tick_size=Decimal("0.25"), multiplier=Decimal(50))
    rows = [bar(0, FLAT), bar(1, "100 101 96.5 99")]
    orders: list[tuple[float, Command]] = [(0, order("a", "buy", "3")), (60, order("b", "buy", "2", limit="97.25"))]
    fills = play(book_of((contract,), maker_bps=-0.5, taker_bps=7.5), rows, orders)
    fees = [event.fee for event in fills if isinstance(event, OrderFilled)]
    assert fees == [Decimal("11.25"), Decimal("-0.48625")]  # 100 · 3 · 50 · 7.5 bps, 97.25 · 2 · 50 · -0.5 bps


@pytest.mark.parametrize(
    ("price", "fee"), [("0.5", "0"), ("1.5", "0.00000002"), ("2.5", "0.00000002"), ("2.51", "0.00000003")]
)
def test_fees_round_half_to_even_at_the_eighth_decimal(price: str, fee: str) -> None:
    costs = Costs(book_of(taker_bps=0.0001).venue)
    assert costs.fee(Decimal(price), Decimal(1), Decimal(1), "taker") == Decimal(fee)
