"""What of a backfill is whole: a small file of spans beside the rows, in `_backfill`, which readers pass over."""

from __future__ import annotations

import msgspec
import numpy as np

from connectors.archive import source_digest
from connectors.backfill.spans import Span, merged
from connectors.importers.report import utc
from connectors.store import Store
from schemas.errors import ArchiveError

FOLDER = "_backfill"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be had."""

    exchange: str
    """ccxt's id."""
    symbol: str
    """ccxt's: `BTC/USDT`, `BTC/USDT:USDT`."""
    kind: str
    """`bars` or `trades`."""
    timeframe: str = ""
    """Of bars: `1m`."""
    interval_ns: int = 0
    instrument: str
    """The rows' key."""
    since_ns: int
    """Of `observed_at`, as the archive sorts: of a bar, when it closes."""
    until_ns: int

    @property
    def source(self) -> str:
        """The name of the rows' source: the same however much of it is asked for."""
        return f"backfill|{self.exchange}|{self.symbol}|{self.kind}|{self.timeframe}|{self.instrument}"

    @property
    def digest(self) -> str:
        """What the files' names carry of the source."""
        return source_digest(self.source)


class State(msgspec.Struct, kw_only=True):
    """As it is stored: times are ISO 8601, UTC."""

    source: str
    exchange: str
    symbol: str
    instrument: str
    timeframe: str
    whole: list[tuple[str, str]] = []


class Whole:
    """The spans that are whole, in the archive and in mind."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        """Read what an earlier backfill left. Raises ArchiveError where the file is no state of one."""
        self._store, self._wanted = store, wanted
        self._key = f"{FOLDER}/{wanted.kind}-{wanted.digest}.json"
        data = store.get(self._key)
        try:
            state = msgspec.json.decode(data, type=State) if data else None
            self.spans: list[Span] = merged((_ns(lo), _ns(hi)) for lo, hi in state.whole) if state else []
        except (msgspec.MsgspecError, ValueError) as error:
            where = f"{store.where}/{self._key}"
            raise ArchiveError(
                f"{where}: is no state of a backfill ({error}); remove it, and all is fetched again"
            ) from None

    def add(self, span: Span) -> None:
        """Note that all rows of a span are in the archive."""
        self.spans = merged([*self.spans, span])
        state = State(
            source=self._wanted.source,
            exchange=self._wanted.exchange,
            symbol=self._wanted.symbol,
            instrument=self._wanted.instrument,
            timeframe=self._wanted.timeframe,
            whole=[(utc(lo), utc(hi)) for lo, hi in self.spans],
        )
        self._store.put(self._key, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")


def _ns(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "ns").astype(np.int64))
