"""Reads a run's orders as an executor would, and says what it would place: python examples/consume_orders.py runs/btc.

On Kafka the same bytes come from the topic `orders`. An executor drops an id that it has seen, places with the id as
the client order id, and writes what happens to `fills`.
"""

import sys
from pathlib import Path

from schemas.codec import decode
from schemas.errors import QuorumError
from schemas.execution import CancelRequested, OrderRequested


def main(run: Path) -> None:
    """Print one line an order."""
    seen: set[str] = set()
    with (run / "log" / "orders.jsonl").open("rb") as log:
        for line in log:
            event = decode(line.rstrip(b"\n"))
            if event.id in seen:
                continue
            seen.add(event.id)
            if isinstance(event, OrderRequested):
                level = f" at {event.trigger_price}" if event.trigger_price else ""
                print(
                    f"place  {event.id[:8]} {event.side} {event.quantity} {event.instrument} {event.order_type}{level}"
                )
            elif isinstance(event, CancelRequested):
                print(f"cancel {event.order[:8]} because {event.reason}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (IndexError, OSError, QuorumError) as error:
        sys.exit(f"consume_orders.py RUN: {error}")
