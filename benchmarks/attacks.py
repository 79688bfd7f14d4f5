"""How many of 200 planted texts move an order: `python -m benchmarks.attacks`.

Ten kinds of attack (`benchmarks.attack_items`) are spliced into the real texts and bars of January 2017 and January
2022, one item at a time: an item has moved an order if the orders of the rest of its day are not those of the same day
without it. The same is done with weaker and stronger books; then all items at once are spliced into each month.

The two voters that read texts are gullible on purpose: they obey any order that they find in one, through every
disguise that the attacker has. Needs the recordings in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from agents.frame import Frame
from agents.pipeline import Desk
from benchmarks.attack_items import BEYOND, KINDS, Old, Post, posts_of
from benchmarks.attack_items import Scene as Where
from benchmarks.attack_voter import VOTERS
from connectors.importers.run import import_files
from connectors.importers.settings import Settings as ImportSettings
from connectors.voters.lexicons import VADER
from replay.cassette import RecordedVerdicts
from replay.engine import Engine
from replay.exchange import SimulatedExchange
from replay.gateway import ReplayGateway
from replay.sources import open_archive
from schemas.base import NS_PER_DAY, NS_PER_S, Event
from schemas.book import Book, parse_book
from schemas.decisions import NewsDiscarded, NewsFlagged, NewsVetted
from schemas.execution import OrderRequested
from schemas.texts import NewsPublished, TweetPosted

DATA = Path(__file__).parents[2] / "shared" / "data"
PER_KIND = 10
"""Items of a kind in each market: 200 in all, of ten kinds in two markets."""
STRONGEST = 5
"""Old texts to choose from: those of the strongest tone."""
FIRST_HOUR, LAST_HOUR = 6, 18
"""Of the day, between which items are planted."""
HOUR_NS = 3600 * NS_PER_S


class Market(NamedTuple):
    """A month of real bars and texts."""

    name: str
    instrument: dict[str, str]
    bars: str
    texts: str
    kind: Literal["tweets", "news"]
    known: tuple[str, ...]
    """Sources that the book trusts: those that the month's texts are from."""
    first: datetime


MARKETS = {
    "2017": Market(
        "2017",
        {"id": "BTC/USD@bitfinex", "lot_size": "0.0001", "tick_size": "0.1"},
        "bars/bitfinex_btcusd_1m_2017.parquet",
        "text/tweets_bitcoin_2017_jan_feb.jsonl.gz",
        "tweets",
        (
            *("coindesk", "loomdart", "BTCTN", "TuurDemeester", "BTCNewsletter"),
            *("BitcoinMagazine", "iamjosephyoung", "Bitcoin", "MatiGreenspan"),
        ),
        datetime(2017, 1, 1, tzinfo=UTC),
    ),
    "2022": Market(
        "2022",
        {"id": "BTC/PERP@unnamed", "lot_size": "0.001", "tick_size": "0.5"},
        "bars/btc-perp_1m_20211231_20220201.csv",
        "text/cryptonews_2021_10_to_2022_04.jsonl.gz",
        "news",
        ("CoinTelegraph", "CryptoNews", "CryptoPotato"),
        datetime(2022, 1, 1, tzinfo=UTC),
    ),
}
DAYS = (5, 7, 10, 13, 16, 19, 22, 25, 28, 30)
"""Days of the month on which items are planted, one of each kind a day; two days before each there are texts."""

NO_CHECK = {"max_age_s": 10**9, "dedupe_hours": 1, "crash_move_pct": 1e-9}
LEVELS: dict[str, dict[str, Any]] = {
    "one model": {"models": 1, "text": NO_CHECK},
    "2 of 3": {"models": 3, "text": NO_CHECK},
    "2 of 3, fact check": {"models": 3, "text": {"known": True}},
    "all defences": {"models": 3, "text": {"known": True, "defences": "strict", "dedupe_hours": 720}},
    "all but the whitelist": {"models": 3, "text": {"defences": "strict", "dedupe_hours": 720}},
}
"""Books from bare to careful. Without a fact check a text is dropped only where the same words came within the hour."""


def book_of(market: Market, level: str) -> Book:
    """Give the book of a market: it trades on the vote alone, so that a vote that is moved moves an order."""
    models, text = LEVELS[level]["models"], dict(LEVELS[level]["text"])
    if text.pop("known", False):
        text["sources"] = list(market.known)
    names = ["reader", "second", "trend"][:models]
    return parse_book(
        {
            "name": "attacked",
            "instruments": [market.instrument],
            "features": {"ema_fast": 60, "ema_slow": 240},
            "text": {"keys": ["BTC"], **text},
            "models": {name: {"kind": "vader", "latency_ms": 200} for name in names},
            "analysts": {"models": names},
            "consensus": {"agree": min(2, models), "min_confidence": 0.2},
            "strategy": {"mode": "consensus", "fast_brain": "none"},
            "risk": {"order_pct": 20.0, "max_position_pct": 25.0},
        }
    )


# Replays


class Orders:
    """A log that keeps the orders, and counts what became of texts, those planted apart."""

    def __init__(self) -> None:
        """Start empty."""
        self.orders: list[tuple[object, ...]] = []
        self.fates: Counter[tuple[bool, str]] = Counter()
        self.released = 0

    def journal(self, event: Event) -> None:
        """Pass over what came in."""

    def derived(self, event: Event) -> None:
        """Keep an order without its id, which follows from all that was said before."""
        if type(event) is OrderRequested:
            fields = (event.observed_at, event.side, event.order_type, event.quantity)
            self.orders.append((*fields, event.limit_price, event.trigger_price))
        elif isinstance(event, (NewsVetted, NewsDiscarded, NewsFlagged)):
            fate = "vetted" if isinstance(event, NewsVetted) else event.reason
            text = getattr(event, "text", "")
            self.released += bool(text)
            self.fates[(text or event.cause).startswith("planted/"), fate] += not text


class Days(NamedTuple):
    """Some days of a market, read once."""

    frames: tuple[Frame, ...]
    texts: tuple[Event, ...]


def days_of(archive: Path, market: Market, start: int, end: int) -> Days:
    """Read what was observed from `start` to before `end`, ns."""
    source = open_archive(archive, book_of(market, "one model"), start, end)
    return Days(tuple(source.frames()), tuple(source.texts()))


def engine_of(book: Book, log: Orders) -> Engine:
    """Make an engine with the voters of the attack."""
    voters = {name: VOTERS[name] for name in book.analysts.models}
    return Engine(Desk(book), SimulatedExchange(book), ReplayGateway(book, RecordedVerdicts(), voters), log)


def replayed(book: Book, days: Days, planted: Sequence[Event], saved: bytes = b"") -> Orders:
    """Replay some days with the planted texts among the real ones, from a checkpoint if one is given."""
    log = Orders()
    engine = engine_of(book, log)
    if saved:
        engine.restore(saved)
        engine.inputs_pulled = 0  # none of the first days' texts is pending: the next is to be pulled
    inputs = merge(days.texts, planted, key=lambda event: event.observed_at)
    for _ in engine.run(days.frames, inputs):
        pass
    return log


def checkpoint(book: Book, days: Days) -> bytes:
    """Replay some days up to their last bar, and tell where the replay stands."""
    engine = engine_of(book, Orders())
    running = engine.run(days.frames, days.texts)
    for _ in days.frames:
        next(running)
    if engine.inputs_pulled != len(days.texts):
        raise SystemExit("attacks: a text comes after the last bar of its days")
    return engine.checkpoint()


def events_of(market: Market, name: str, at: int, posts: Sequence[Post]) -> list[Event]:
    """Make the posts events of the market's kind of texts."""
    events: list[Event] = []
    for n, post in enumerate(posts):
        observed_at = at + round(post.after_s * NS_PER_S)
        shared: dict[str, Any] = {
            "id": f"planted/{name}/{n}",
            "key": "BTC",
            "occurred_at": observed_at - round(post.age_h * HOUR_NS),
            "observed_at": observed_at,
        }
        if market.kind == "tweets":
            events.append(TweetPosted(**shared, author=post.source, text=post.text))
        else:
            events.append(NewsPublished(**shared, source=post.source, title=post.text))
    return events


def _old_texts(days: Days) -> list[Old]:
    """Give the texts of the strongest tone."""
    found = []
    for event in days.texts:
        if isinstance(event, TweetPosted):
            found.append(Old(event.author, event.text))
        elif isinstance(event, NewsPublished):
            found.append(Old(event.source, event.title))
    return sorted(found, key=lambda old: -abs(VADER.score(old.text)))[:STRONGEST]


def midnight_of(market: Market, day: int) -> int:
    """Give the start of a day of the market's month."""
    return int(market.first.timestamp()) * NS_PER_S + (day - 1) * NS_PER_DAY


def planted_on(archive: Path, market: Market, number: int, seed: int) -> dict[str, list[Event]]:
    """Give the `number`-th item of every kind, each at its own time of the day."""
    midnight = midnight_of(market, DAYS[number])
    long_ago = days_of(archive, market, midnight - 2 * NS_PER_DAY, midnight - 24 * HOUR_NS)
    where = Where(market.known, _old_texts(long_ago))
    items = {}
    for kind in KINDS | BEYOND:
        random = Random(f"{seed}/{market.name}/{kind}/{number}/at")  # noqa: S311 - no secret
        at = midnight + random.randrange(FIRST_HOUR * 3600, LAST_HOUR * 3600) * NS_PER_S
        posts = posts_of(kind, number, seed + market.first.year, where)
        items[kind] = events_of(market, f"{kind}/{number}", at, posts)
    return items


def moved_on(archive: Path, name: str, number: int, seed: int) -> Counter[tuple[str, str]]:
    """Count by level and kind whether the items of one day move an order; two days go before."""
    market = MARKETS[name]
    midnight = midnight_of(market, DAYS[number])
    begin = midnight + FIRST_HOUR * HOUR_NS
    before = days_of(archive, market, midnight - 2 * NS_PER_DAY, begin)
    rest = days_of(archive, market, begin, midnight + NS_PER_DAY)
    items = planted_on(archive, market, number, seed)
    moved: Counter[tuple[str, str]] = Counter()
    for level in LEVELS:
        book = book_of(market, level)
        saved = checkpoint(book, before)
        clean = replayed(book, rest, [], saved).orders
        for kind, events in items.items():
            moved[level, kind] += replayed(book, rest, events, saved).orders != clean
    return moved


class Month(NamedTuple):
    """A month's replay with all of its items at once, beside the one without any."""

    orders: int
    same_orders: bool
    texts: int
    real: dict[str, int]
    """What became of the real texts where nothing was planted."""
    released: int
    """Of those, texts that a second source let pass."""
    unchanged: bool
    """Whether the real texts fared alike where items were planted."""
    planted: dict[str, int]


def month_of(archive: Path, name: str, level: str, seed: int) -> Month:
    """Replay a month with every item of the ten kinds."""
    market = MARKETS[name]
    days, book = days_of(archive, market, midnight_of(market, 1), midnight_of(market, 32)), book_of(market, level)
    items = [planted_on(archive, market, number, seed) for number in range(PER_KIND)]
    events = sorted(
        (event for each in items for kind in KINDS for event in each[kind]), key=lambda event: event.observed_at
    )
    clean, attacked = replayed(book, days, []), replayed(book, days, events)
    fates = {
        side: {fate: n for (planted, fate), n in attacked.fates.items() if planted == side} for side in (True, False)
    }
    real = {fate: n for (_, fate), n in clean.fates.items()}
    same = attacked.orders == clean.orders
    return Month(len(clean.orders), same, len(days.texts), real, clean.released, real == fates[False], fates[True])


def archives(root: Path) -> dict[str, Path]:
    """Import the months' bars and texts."""
    for market in MARKETS.values():
        into = root / market.name
        start = int(market.first.timestamp()) * NS_PER_S
        shared: dict[str, Any] = {"start_ns": start, "end_ns": start + 31 * NS_PER_DAY}
        bars = ImportSettings(kind="bars", instrument=market.instrument["id"], **shared)
        texts = ImportSettings(kind=market.kind, key="BTC", **shared)
        for path, settings in ((market.bars, bars), (market.texts, texts)):
            list(import_files([DATA / path], into, settings))
    return {name: root / name for name in MARKETS}


def measure(seed: int, workers: int) -> Iterator[dict[str, Any]]:
    """Give the count of moved orders, then each month with all items at once."""
    with TemporaryDirectory(prefix="quorum-attacks-") as folder, ProcessPoolExecutor(workers) as pool:
        places = archives(Path(folder))
        tasks = [pool.submit(moved_on, places[name], name, n, seed) for name in MARKETS for n in range(PER_KIND)]
        levels = ("2 of 3, fact check", "all defences")
        months = {
            (name, level): pool.submit(month_of, places[name], name, level, seed)
            for name in MARKETS
            for level in levels
        }
        moved: Counter[tuple[str, str]] = Counter()
        for task in tasks:
            moved.update(task.result())
        yield {"moved": {level: {kind: moved[level, kind] for kind in KINDS | BEYOND} for level in LEVELS}}
        yield {"months": {f"{name}, {level}": month.result()._asdict() for (name, level), month in months.items()}}


def show(figures: dict[str, Any]) -> None:
    """Print the table of the items, and what became of each month."""
    console = Console(width=150)
    table = Table(title=f"items that moved an order, of {2 * PER_KIND} of each kind", title_justify="left")
    for column in ("kind", *LEVELS):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in KINDS:
        table.add_row(kind, *(str(figures["moved"][level][kind]) for level in LEVELS))
    totals = {level: sum(figures["moved"][level][kind] for kind in KINDS) for level in LEVELS}
    table.add_section()
    table.add_row(f"all {2 * PER_KIND * len(KINDS)}", *(str(totals[level]) for level in LEVELS))
    table.add_section()
    for kind in BEYOND:
        table.add_row(f"beyond: {kind}", *(str(figures["moved"][level][kind]) for level in LEVELS))
    console.print(table)
    for name, month in figures["months"].items():
        console.print(f"{name}: {json.dumps(month)}", soft_wrap=True, highlight=False)


def main() -> int:
    """Measure, and print tables; status 1 where an item of the ten kinds moves an order with all defences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"attacks: the recordings are not in {DATA}")
    began = time.perf_counter()
    figures: dict[str, Any] = {}
    for part in measure(given.seed, given.workers):
        figures |= part
    show(figures)
    print(f"seed {given.seed}, {time.perf_counter() - began:.0f} s")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    total = sum(figures["moved"]["all defences"][kind] for kind in KINDS)
    unchanged = all(month["same_orders"] for name, month in figures["months"].items() if name.endswith("all defences"))
    return int(total > 0 or not unchanged)


if __name__ == "__main__":
    raise SystemExit(main())
