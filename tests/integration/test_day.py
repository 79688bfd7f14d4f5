"""A day in the life of the data: a venue's wire and a folder of news, Kafka, the archiver, the lake, a replay of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path
from random import Random

import msgspec
import pytest

from connectors.feeds.files import Files
from connectors.feeds.settings import FilesFeed
from connectors.store import open_store
from schemas.base import NS_PER_DAY, NS_PER_MS, NS_PER_S, Event
from schemas.codec import decode
from streams.feeding import FeedHost
from streams.kafka import Kafka
from streams.lag import bounds_of
from tests.cli.commands import quorum
from tests.connectors.feeds.servers import Binance, Item
from tests.integration.feeding import fed
from tests.integration.lakes import PLACES, archiving, assert_same, await_, behind, on_kafka

DAY_NS = 1_704_240_000 * NS_PER_S
"""2024-01-03, UTC."""
TRADES = 2_880
EVERY_MS = NS_PER_DAY // NS_PER_MS // TRADES
KEY = "BTC/USDT@binance"
STORIES = 24
BOOK = """
name: day
archive: {archive}
instruments:
  - {{id: {key}, lot_size: 0.0001, tick_size: 0.01}}
features: {{bar_s: 300, ema_fast: 5, ema_slow: 20}}
models: {{vader: {{kind: vader}}, trend: {{kind: trend}}}}
analysts: {{models: [vader, trend], every_min: 15}}
consensus: {{agree: 1}}
strategy: {{mode: override, override_confidence: 0.0}}
"""


def trades() -> list[Item]:
    """Give a day of trades as Binance tells them: a walk with three long swings, so that somebody will trade."""
    rng, price, told = Random(3), 42_000.0, []
    for n in range(TRADES):
        price += rng.gauss(0, 9) + (4 if (n // 480) % 2 else -4)
        at = DAY_NS // NS_PER_MS + n * EVERY_MS
        trade = {"e": "trade", "E": at, "T": at, "s": "BTCUSDT", "t": 3_000_000 + n, "p": f"{price:.2f}"}
        told.append(trade | {"q": f"{rng.uniform(0.01, 2):.4f}", "m": rng.random() < 0.5})
    return told


def stories(path: Path) -> None:
    words = ("rallies to a record high, investors delighted", "plunges, fears of a crash grow", "trades sideways")
    with path.open("w") as file:
        for hour in range(STORIES):
            told = {"ts": DAY_NS // NS_PER_S + hour * 3_600 + 61, "source": "wire", "url": f"https://wire.test/{hour}"}
            file.write(json.dumps(told | {"title": f"Bitcoin {words[hour % 3]} ({hour})", "text": "Bitcoin."}) + "\n")


class PastHost(FeedHost):
    """Stamps what it hears as if that day were today: known 50 ms after it happened."""

    def _send(self, event: Event) -> None:
        super()._send(msgspec.structs.replace(event, observed_at=event.occurred_at + 50 * NS_PER_MS))


def told(kafka: Kafka, topic: str) -> int:
    return sum(high - low for (name, _), (low, high) in bounds_of(kafka, PLACES).items() if name == topic)


def feed_the_day(kafka: Kafka, folder: Path) -> None:
    """Let both sources tell their day; the venue cuts the line in the middle, and the gap is repaired by REST."""
    day = trades()
    files = FilesFeed(path=str(folder), tell="news", keys={"BTC": ("bitcoin",)})

    async def scenario() -> None:
        server = Binance(day, "spot", tell=("trades",))
        async with server.serving():
            with fed(kafka, server.feed(), PastHost):
                await server.say(0, 1_000)
                await asyncio.to_thread(await_, "trades come", lambda: told(kafka, "ticks") == 1_000)
                await server.cut()
                await server.miss(1_000, 1_700)
                await asyncio.to_thread(await_, "the gap is mended", lambda: told(kafka, "ticks") == 1_700)
                await server.say(1_700, TRADES)
                await asyncio.to_thread(await_, "the rest comes", lambda: told(kafka, "ticks") == TRADES)

    stories(folder / "wire.jsonl")
    with fed(kafka, Files("wire", files), PastHost):
        asyncio.run(scenario())
        await_("the news come", lambda: told(kafka, "news") == STORIES)


def replayed(book: Path, archive: str, out: Path) -> bytes:
    book.write_text(BOOK.format(archive=json.dumps(archive), key=KEY))
    ended = quorum("replay", book, "--from", "2024-01-03", "--to", "2024-01-04", "--out", out)
    assert ended.code == 0, ended.err
    return (out / "log" / "SHA256SUMS").read_bytes()


def as_files(kafka: Kafka, root: Path) -> str:
    """Write what stands on Kafka as JSON lines, which a replay reads too: another way to the same day."""
    rows: dict[Path, list[dict[str, object]]] = {}
    for topic, name in (("ticks", "trades.jsonl"), ("news", "news.jsonl")):
        for place, partition in PLACES:
            for record in on_kafka(kafka, topic, partition) if place == topic else ():
                row = msgspec.to_builtins(decode(record.value or b""))
                row.pop("type")
                if topic == "ticks":
                    row["number"] = int(row.pop("id").rpartition("/")[2])
                    row["side"] = {"buy": 1, "sell": -1}[row["side"]]
                rows.setdefault(root / topic / "year=2024" / "month=01" / "day=03" / name, []).append(row)
    for path, found in rows.items():
        path.parent.mkdir(parents=True)
        found.sort(key=lambda row: row["observed_at"])  # type: ignore[arg-type,return-value]
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(root)


def test_a_day_from_the_wire_to_a_replay_of_it(
    kafka: Kafka, s3_lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORUM_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "wire").mkdir()
    with ExitStack() as stack:
        stack.enter_context(archiving(kafka, open_store(s3_lake)))
        feed_the_day(kafka, tmp_path / "wire")
        await_("all is archived", lambda: not behind(kafka, s3_lake))
    assert assert_same(kafka, s3_lake) == TRADES + STORIES
    assert quorum("lake", "verify", s3_lake).code == 0
    sums = replayed(tmp_path / "lake.yaml", s3_lake, tmp_path / "of-the-lake")
    assert sums == replayed(tmp_path / "files.yaml", as_files(kafka, tmp_path / "files"), tmp_path / "of-kafka")
    log = tmp_path / "of-the-lake" / "log"
    assert (log / "orders.jsonl").read_bytes(), "somebody traded"
    assert b"investors delighted" in (log / "verdict-requests.jsonl").read_bytes(), "the models were shown the news"
