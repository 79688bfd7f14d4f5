"""What the live path is compared with: programs that pass events from `ticks` to `signals` and do nothing else."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import aiokafka
import faust

from streams.kafka import Kafka, kafka_from


async def bare(kafka: Kafka) -> None:
    """Consume and produce in batches, as aiokafka does it best."""
    consumer = aiokafka.AIOKafkaConsumer(
        kafka.name("ticks"),
        bootstrap_servers=kafka.bootstrap,
        group_id=kafka.name("peer"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5)
    await consumer.start()
    await producer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=200, max_records=5_000)).values():
            batch = producer.create_batch()
            for record in records:
                if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                    await producer.send_batch(batch, kafka.name("signals"), partition=0)
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=record.value, timestamp=None)
            await producer.send_batch(batch, kafka.name("signals"), partition=0)
        await consumer.commit()


def app_of(kafka: Kafka, folder: Path, *, table: bool) -> faust.App:
    """Build a plain Faust application, with its defaults."""
    app = faust.App(
        kafka.name("peer"),
        broker=f"aiokafka://{kafka.bootstrap}",
        datadir=folder,
        topic_partitions=8,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    ticks = app.topic(
        kafka.name("ticks"), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    signals = app.topic(
        kafka.name("signals"), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    counts = app.Table("counts", default=int, partitions=8) if table else None

    @app.agent(ticks)
    async def pass_on(stream: faust.StreamT[bytes]) -> None:
        async for key, value in stream.items():
            if counts is not None:
                counts[key.decode()] += 1
            signals.send_soon(key=key, value=value)

    return app


async def run_app(app: faust.App) -> None:
    """Run an application until the process is killed."""
    app.in_worker = True
    app.loop = asyncio.get_running_loop()
    app.finalize()
    await app.start()
    await asyncio.Event().wait()


def main() -> None:
    """Run the peer that the first argument names."""
    kafka = kafka_from()
    with TemporaryDirectory(prefix="quorum-peer-") as folder:
        if sys.argv[1] == "aiokafka":
            asyncio.run(bare(kafka))
        else:
            app = app_of(kafka, Path(folder), table=sys.argv[1] == "faust-table")
            asyncio.run(run_app(app))


if __name__ == "__main__":
    main()
