"""Sends load at a pace, and bars that each make an order: `python -m benchmarks.live_sender PACE SECONDS`.

It is a program of its own, so that what it does takes no time from what receives the orders. An event's time is the
one at which it was due to be sent: a sender that falls behind makes the latency longer, as it would for a user.
"""

from __future__ import annotations

import argparse
import time

from confluent_kafka import Producer

from benchmarks.live_load import FLIP_HZ, FLIPS, LOAD, WARM_FLIPS, flip, tick
from schemas.base import NS_PER_S
from streams.kafka import kafka_from

MAX_UNSENT = 50_000
"""Above this the sender waits: the machine cannot take more."""
STEP_S = 0.002
_SENTINEL = 1_111_111_111_111_111_111


def template(number: int) -> tuple[bytes, bytes, bytes]:
    """Give what stands before, between and after the two times of a trade."""
    before, between, after = tick(number, _SENTINEL).split(b"%d" % _SENTINEL)
    return before, between, after


def main() -> None:
    """Send, and print how many events of the load were sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pace", type=float, help="events a second")
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    kafka = kafka_from()
    producer = Producer(kafka.producer() | {"linger.ms": 1})
    ticks, bars = kafka.name("ticks"), kafka.name("bars")
    bodies = [template(1_000_000 + number) for number in range(int(given.pace * given.seconds))]
    gap_ns, flip_gap_ns = NS_PER_S / given.pace, NS_PER_S / FLIP_HZ / len(FLIPS)
    start, sent, flips = time.time_ns(), 0, 0
    while (passed := time.time_ns() - start) < given.seconds * NS_PER_S:
        due = min(int(passed / gap_ns), len(bodies), sent + max(MAX_UNSENT - len(producer), 0))
        for number in range(sent, due):
            at = b"%d" % (start + int(number * gap_ns))
            producer.produce(ticks, key=LOAD, value=at.join(bodies[number]))
        sent = due
        while flips < passed / flip_gap_ns:
            at_ns = start + int(flips * flip_gap_ns)
            turn, n = divmod(flips, len(FLIPS))
            producer.produce(bars, key=FLIPS[n], value=flip(FLIPS[n], WARM_FLIPS + turn, at_ns))
            flips += 1
        producer.poll(0)
        time.sleep(STEP_S)
    producer.flush()
    print(sent)


if __name__ == "__main__":
    main()
