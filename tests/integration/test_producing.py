"""The example producer's events all enter the journal; what is sent twice counts once and lands in the dead letters."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from schemas.codec import decode, decode_own
from schemas.operations import RecordRefused
from schemas.topics import PARTITIONS
from streams.kafka import ENVIRONMENT, Kafka, partition_of
from streams.reading import read_back
from streams.sequencer import Sequencer
from streams.wire import DEAD_LETTERS, JOURNAL, unpack
from tests.integration.session import ROOT, write_live_book

INSTRUMENT = "BTC/USD@synthetic"
COUNT = 8
PATIENCE_S = 30.0


def produce(kafka: Kafka, *arguments: str) -> None:
    mine = {"BOOTSTRAP": kafka.bootstrap, "NAMESPACE": kafka.namespace}
    command = [sys.executable, "examples/produce_ticks.py", INSTRUMENT, *arguments]
    environment = {**os.environ, **{ENVIRONMENT + name: value for name, value in mine.items()}}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def written(kafka: Kafka, topic: str) -> list[Message]:
    return [message for n in range(PARTITIONS) for message in read_back(kafka, topic, n, 0)]


def letters(kafka: Kafka) -> list[RecordRefused]:
    found = [decode(message.value() or b"") for message in read_back(kafka, DEAD_LETTERS, 0, 0)]
    return [letter for letter in found if isinstance(letter, RecordRefused)]


@pytest.mark.parametrize(
    ("topic", "kind", "arguments"),
    [("ticks", "TradeTicked", (f"{COUNT}",)), ("bars", "BarClosed", ("2", "--bars", "1"))],
)
def test_what_the_example_produces_enters_the_journal(
    kafka: Kafka, tmp_path: Path, topic: str, kind: str, arguments: tuple[str, ...]
) -> None:
    produce(kafka, *arguments)
    sent = written(kafka, topic)
    assert len(sent) == int(arguments[0])
    assert len({message.partition() for message in sent}) == 1
    assert {message.key() for message in sent} == {INSTRUMENT.encode()}
    producer = Producer(kafka.producer())
    producer.produce(kafka.name(topic), key=sent[0].key(), value=sent[0].value())
    producer.flush()

    book = write_live_book(tmp_path / "b.yaml", "alpha", [INSTRUMENT])
    sequencer = Sequencer(kafka, partition_of(book.name), [book], [book], start="earliest")
    stop = threading.Event()
    running = threading.Thread(target=sequencer.run, args=(stop,))
    running.start()
    until = time.monotonic() + PATIENCE_S
    while sequencer.refused < 1 and time.monotonic() < until:
        time.sleep(0.1)
    stop.set()
    running.join()
    journal = read_back(kafka, JOURNAL, partition_of(book.name), 0)
    entries = [decode_own(line) for record in journal for line in unpack(record.value() or b"")]
    assert [entry.id for entry in entries if type(entry).__name__ == kind] == [
        decode(message.value() or b"").id for message in sent
    ]
    (letter,) = letters(kafka)
    assert letter.reason.endswith("is a duplicate of an event taken before")
    assert letter.payload == sent[0].value()
