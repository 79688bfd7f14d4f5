"""Small lakes for tests, and stores that fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from connectors.lake.kept import packed
from connectors.lake.manifests import Chain
from connectors.lake.records import Kept
from connectors.store import FolderStore, Listed
from schemas.base import NS_PER_MS, NS_PER_S, Event
from schemas.codec import encode
from schemas.control import BookPaused, ClockTicked
from schemas.market import QuoteTicked, TradeTicked
from schemas.wire import headers_of, key_of

START_NS = 1_723_075_200 * NS_PER_S
STEP_NS = 400 * NS_PER_S
"""Nine events an hour: a segment of ten lies in two."""


def ours(event: Event) -> bytes:
    return packed(headers_of(event))


def kept(offset: int, event: Event) -> Kept:
    return Kept(offset, event.observed_at // NS_PER_MS, 1, key_of(event), ours(event), encode(event))


def tick(number: int) -> Event:
    at = START_NS + number * STEP_NS
    name: dict[str, Any] = {"key": "BTC/USDT@binance", "occurred_at": at, "observed_at": at}
    if number % 3:
        return TradeTicked(id=f"BTC/USDT@binance/trade/{number}", price=60_000.5 + number, size=0.5, side="buy", **name)
    return QuoteTicked(id=f"BTC/USDT@binance/quote/{number}", bid=1.0, ask=2.0, bid_size=3.0, ask_size=4.0, **name)


def pause(number: int) -> Event:
    at = START_NS + number * STEP_NS
    return BookPaused(id=f"pause-{number}", key="btc", occurred_at=at, observed_at=at, operator="me", reason="why")


def frame(offset: int, number: int) -> Kept:
    at = START_NS + number * STEP_NS
    entries = [
        ClockTicked(id=f"{book}-{number}", key=book, occurred_at=at, observed_at=at, book=book, seq=number + 1)
        for book in ("btc", "eth")
    ]
    headers = packed([("type", b"frame"), ("count", b"2"), ("position", b"{}")])
    return Kept(offset, at // NS_PER_MS, 1, None, headers, b"\n".join(map(encode, entries)))


def segments(topic: str, count: int, rows: int = 10) -> list[tuple[int, int, list[Kept]]]:
    """Give segments of a topic: its second offset of each ten is a hole, one record is foreign."""
    found = []
    for place in range(count):
        first = place * rows
        offsets = [offset for offset in range(first, first + rows) if offset % 10 != 1]
        if topic == "journal":
            records = [frame(offset, offset) for offset in offsets]
        else:
            records = [kept(offset, tick(offset) if topic == "ticks" else pause(offset)) for offset in offsets]
            records[2] = replace(records[2], value=b"no event")
        found.append((first, first + rows, records))
    return found


def fill(store: FolderStore, topic: str, partition: int, found: Sequence[tuple[int, int, list[Kept]]]) -> None:
    """Write segments as an archiver does."""
    chain = Chain(store, topic, partition)
    chain.next()
    for first, next_, records in found:
        assert chain.plan(first, next_) == next_
        chain.commit(first, next_, records)


def small_lake(root: Path) -> FolderStore:
    store = FolderStore(root)
    fill(store, "ticks", 0, segments("ticks", 5))
    fill(store, "ticks", 3, segments("ticks", 2))
    fill(store, "control", 0, segments("control", 3))
    fill(store, "journal", 1, segments("journal", 3))
    return store


class Crash(Exception):  # noqa: N818 - no error of the lake's
    """The process ends here."""


class Dying(FolderStore):
    """A store whose process dies before its n-th change, or behind it."""

    def __init__(self, root: Path, changes: int, *, after: bool) -> None:
        super().__init__(root)
        self.left, self._after = changes, after

    def put(self, key: str, data: bytes) -> None:
        self._step()
        super().put(key, data)
        self._end()

    def create(self, key: str, data: bytes) -> bool:
        self._step()
        made = super().create(key, data)
        self._end()
        return made

    def delete(self, key: str) -> None:
        self._step()
        super().delete(key)
        self._end()

    def _step(self) -> None:
        self.left -= 1
        if not self.left and not self._after:
            raise Crash

    def _end(self) -> None:
        if not self.left and self._after:
            raise Crash


def everything(store: FolderStore) -> Iterator[Listed]:
    return store.list("")
