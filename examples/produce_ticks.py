"""Produces trades or bars of a made-up market: python examples/produce_ticks.py BTC/USD@synthetic [--bars 60] [COUNT].

It needs confluent-kafka alone. Put your feed in the place of `walk`; all else is what docs/producing.md asks for.
"""

import json
import math
import os
import random
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

NAMESPACE = os.environ.get("QUORUM_KAFKA_NAMESPACE", "")
NS_PER_S = 1_000_000_000
PAUSE_S = 0.1
Trade = tuple[int, float, float]
"""When it happened at the exchange in ns, price, size."""


def walk(price: float = 100.0) -> Iterator[Trade]:
    """Give a trade every tenth of a second: a random walk, true of no market."""
    while True:
        price *= math.exp(random.gauss(0.0, 1e-4))
        yield time.time_ns(), round(price, 2), round(random.uniform(0.01, 2.0), 4)  # noqa: S311 - no secret
        time.sleep(PAUSE_S)


def trades(instrument: str, source: Iterator[Trade]) -> Iterator[dict[str, Any]]:
    """Give each trade as an event. The exchange's own trade id makes the best id; this market has the time alone."""
    for at, price, size in source:
        yield {
            "type": "TradeTicked",
            "id": f"{instrument}/trade/{at}",
            "key": instrument,
            "occurred_at": at,
            "observed_at": time.time_ns(),
            "price": price,
            "size": size,
        }


def bars(instrument: str, source: Iterator[Trade], interval_s: int) -> Iterator[dict[str, Any]]:
    """Give a bar when its interval is over, if there were trades in it."""
    interval_ns = interval_s * NS_PER_S
    opened_at, inside = 0, list[Trade]()
    for trade in source:
        start = trade[0] - trade[0] % interval_ns
        if inside and start > opened_at:
            prices = [price for _, price, _ in inside]
            yield {
                "type": "BarClosed",
                "id": f"{instrument}/bar{interval_s}/{opened_at}",
                "key": instrument,
                "occurred_at": opened_at + interval_ns,
                "observed_at": time.time_ns(),
                "open": prices[0],
                "high": max(prices),
                "low": min(prices),
                "close": prices[-1],
                "volume": sum(size for _, _, size in inside),
                "interval_ns": interval_ns,
            }
            inside = []
        opened_at = start
        inside.append(trade)


def check(error: KafkaError | None, message: Message) -> None:
    """Leave with a word if the broker did not take a record: what was not taken is not there."""
    if error is not None:
        sys.exit(f"produce_ticks.py: {message.topic()}: {error.str()}")


def main() -> None:
    """Produce until Ctrl-C, or COUNT events."""
    parser = ArgumentParser(description="Produce trades or bars of a made-up market.")
    parser.add_argument("instrument")
    parser.add_argument("count", type=int, nargs="?", default=0)
    parser.add_argument("--bars", type=int, default=0, metavar="SECONDS", help="bars of this length in place of trades")
    given = parser.parse_args()
    producer = Producer(
        {
            "bootstrap.servers": os.environ.get("QUORUM_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
            "enable.idempotence": True,  # what the client sends again by itself arrives once, in order
            "linger.ms": 5,  # ticks of 5 ms go out as one batch
            "compression.type": "gzip",  # every client can read it
            "topic.metadata.refresh.interval.ms": 10_000,  # five minutes by default: long after a broker's restart
        }
    )
    source = walk()
    events = bars(given.instrument, source, given.bars) if given.bars else trades(given.instrument, source)
    for number, event in enumerate(events, 1):
        topic = "bars" if event["type"] == "BarClosed" else "ticks"
        producer.produce(NAMESPACE + topic, key=event["key"], value=json.dumps(event), on_delivery=check)
        producer.poll(0)
        if number == given.count:
            break
    producer.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
