"""An archiver killed again and again: `python -m benchmarks.lakefaults --kills 50 [--seed 1] [--faults 0.1]`.

A broker, a server that speaks S3's protocol, between it and the archiver a proxy that spoils a share of the requests.
Records of every sort are told, and the archiver is killed at a request drawn evenly from the first 300 of its life,
half of the time before the request is passed on, else a little later. Leaves with status 1, and says why, unless in the
end the lake is whole and holds each record once, as it stands.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from rich.console import Console

from benchmarks.lake import s3
from connectors.store import open_store
from deploy.kafka.broker import Broker
from streams.admin import create_topics
from streams.kafka import Kafka
from tests.faultproxy import Fault, FaultProxy
from tests.integration.kills import kill_at_random
from tests.integration.lakes import PLACES, manifests_of

FAULTS: tuple[Fault, ...] = ("503", "slow", "cut", "reset", "lost")
OUT = Console(width=130)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0.1, help="share of requests that the proxy spoils")
    given = parser.parse_args()
    rng, network = Random(given.seed), Random(given.seed + 1)  # noqa: S311 - chance that can be had again
    folder, began = Path(mkdtemp(prefix="quorum-lakefaults-")), time.monotonic()
    try:
        with ExitStack() as stack:
            broker = stack.enter_context(Broker(folder / "kafka"))
            lake = stack.enter_context(s3(folder))
            server = os.environ["AWS_ENDPOINT_URL_S3"]  # what is checked is read from there, past the proxy
            proxy = stack.enter_context(
                FaultProxy(server, lambda _m, _p: network.choice(FAULTS) if network.random() < given.faults else "")
            )
            kafka = Kafka(bootstrap=broker.bootstrap, namespace="faults.")
            create_topics(kafka)
            records, moments = kill_at_random(kafka, lake, folder / "log", rng, given.kills, proxy)
            spoiled = Counter(request.fault for request in proxy.requests)
            segments = sum(len(manifests_of(open_store(lake), *place)) for place in PLACES)
    finally:
        shutil.rmtree(folder)
    sound = spoiled.pop("", 0)
    OUT.print(
        f"{given.kills} kills in {time.monotonic() - began:,.0f} s: {records:,} records on Kafka, each of them once in "
        f"the lake, as it stands; {segments:,} segments, contiguous and verified"
    )
    OUT.print("killed when it " + ", ".join(f"{moment}: {n}" for moment, n in sorted(moments.items())))
    OUT.print(
        f"requests: {sound:,} sound, spoiled: " + ", ".join(f"{n:,} {fault}" for fault, n in sorted(spoiled.items()))
    )


if __name__ == "__main__":
    main()
