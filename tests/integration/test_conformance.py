"""The conformance kit on a real broker: our executor and the examples keep the contract, also through a kill."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from cli.books import load_book
from schemas.codec import decode
from schemas.errors import KafkaError
from schemas.execution import OrderFilled
from streams.conformance import RULES, judge
from streams.kafka import ENVIRONMENT, Kafka, partition_of
from streams.orderscript import Settings, play
from streams.reading import read_back
from tests.integration.session import ROOT, write_live_book

QUORUM = [sys.executable, "-c", "from cli.main import run; run()"]
MARKET_ORDERS_ALONE = {"unasked", "expiry"}
"""What an executor cannot show that rejects all orders but market orders."""


def findings(kafka: Kafka, book: Path, run: list[str]) -> dict[str, str]:
    """Play the script to an executor; give every rule's verdict."""
    mine = {"BOOTSTRAP": kafka.bootstrap, "NAMESPACE": kafka.namespace}
    played = subprocess.run(
        [*QUORUM, "conformance", "executor", str(book), "--json", "--run", shlex.join(run)],
        cwd=ROOT,
        env={**os.environ, **{ENVIRONMENT + name: value for name, value in mine.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode in (0, 1), played.stderr
    report = json.loads(played.stdout)
    broken = [finding for finding in report if finding["verdict"] == "broken"]
    assert not broken, f"{broken}\n{played.stderr[-3000:]}"
    assert played.returncode == 0
    return {finding["rule"]: finding["verdict"] for finding in report}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    write_live_book(tmp_path / "kit.yaml", "kit")
    return tmp_path / "kit.yaml"


def test_the_paper_executor_keeps_the_contract(kafka: Kafka, book: Path) -> None:
    verdicts = findings(kafka, book, [*QUORUM, "worker", "executor", str(book)])
    assert verdicts == {rule.name: "kept" for rule in RULES}
    said = [decode(message.value() or b"") for message in read_back(kafka, "fills", partition_of("kit"), 0)]
    parts = Counter(word.order for word in said if isinstance(word, OrderFilled))
    assert max(parts.values()) > 1, "the play shows partial fills"


def test_the_example_in_python_keeps_the_contract(kafka: Kafka, book: Path) -> None:
    verdicts = findings(kafka, book, [sys.executable, "examples/execute_orders.py", "kit"])
    assert verdicts == {rule.name: "kept" for rule in RULES}


def test_the_example_on_node_keeps_the_contract(kafka: Kafka, book: Path, tmp_path: Path) -> None:
    verdicts = findings(kafka, book, ["node", str(_node_example(tmp_path)), "kit"])
    assert {rule for rule, verdict in verdicts.items() if verdict != "kept"} == MARKET_ORDERS_ALONE


def _node_example(folder: Path) -> Path:
    """Copy the example and install what its lock names; skip where that cannot be had."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the example on Node.js was NOT tested: {' and '.join(missing)} not found")
    copy = folder / "node"
    shutil.copytree(ROOT / "examples" / "node", copy, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=copy, capture_output=True, text=True, check=False
    )
    if installed.returncode:
        reason = " ".join(installed.stderr.split())[-300:]
        pytest.skip(f"the example on Node.js was NOT tested: npm could not fetch its package: {reason}")
    return copy / "execute_orders.js"


def test_an_executor_that_forgets_is_caught(kafka: Kafka, book: Path) -> None:
    forgetful = """
from examples import execute_orders as example

def history(self, topic):
    self.read_to = self.places("orders", example.OFFSET_END)
    return iter(())

example.Executor.history = history
example.Executor("kit").run()
"""
    environment = {**os.environ, f"{ENVIRONMENT}BOOTSTRAP": kafka.bootstrap, f"{ENVIRONMENT}NAMESPACE": kafka.namespace}
    running = [subprocess.Popen([sys.executable, "-c", forgetful], cwd=ROOT, env=environment)]

    def restart() -> None:
        running[-1].kill()
        running[-1].wait()
        running.append(subprocess.Popen([sys.executable, "-c", forgetful], cwd=ROOT, env=environment))
        time.sleep(3)

    time.sleep(3)  # an executor that reads from the end has to be there first
    try:
        settings = Settings(price=Decimal(100), wait_s=1, start_s=8, burst=2)
        found = judge(*play(kafka, load_book(book), settings, restart))
    finally:
        running[-1].kill()
        running[-1].wait()
    broken = {finding.rule: finding.breaches for finding in found if finding.breaches}
    assert "restart" in broken
    assert broken["restart"][0].text == "was forgotten over the restart: it is accepted still"


def test_an_executor_that_says_nothing_ends_the_play_early(kafka: Kafka, book: Path) -> None:
    played, words = play(kafka, load_book(book), Settings(price=Decimal(100), start_s=0.5))
    assert len(played.sent) == 1
    assert {finding.rule for finding in judge(played, words) if finding.verdict == "broken"} == {"answer", "trade"}


def test_it_plays_on_fresh_topics_alone(kafka: Kafka, book: Path) -> None:
    settings = Settings(price=Decimal(100), start_s=0.1)
    play(kafka, load_book(book), settings)
    with pytest.raises(KafkaError, match="holds records; choose another QUORUM_KAFKA_NAMESPACE"):
        play(kafka, load_book(book), settings)
    with pytest.raises(KafkaError, match="never played on the live topics"):
        play(Kafka(bootstrap=kafka.bootstrap), load_book(book), settings)
