"""What a feed is: it tells a sink what its source says, until it is cancelled or the source fails.

The host (streams/feeding.py) does the rest: it publishes, drops ids told lately, backs off, measures.
A feed keeps no cursor of its own: `since` says what the topics hold, and ids from the source make an overlap
count once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.base import Event

Stream = tuple[type[Event], str]
"""What a feed tells: a type of event and the key it stands under, as (TradeTicked, "BTC/USDT@binance")."""


class Newest(NamedTuple):
    """The last event of a stream that its topic holds."""

    occurred_at: int
    """Unix time in ns."""
    id: str


Since = Mapping[Stream, Newest]
"""Where each stream stands; a stream that is not there has told nothing yet."""


class Sink(Protocol):
    """Where a feed tells its events. No method waits."""

    def now(self) -> int:
        """Give the host's time in ns: what `observed_at` is read from, and no other clock."""
        ...

    def put(self, event: Event) -> None:
        """Publish an event, unless its id was told lately. Events of a stream arrive in the order they are put."""
        ...

    def heard(self) -> None:
        """The source is alive though it told nothing, as by a keep-alive: it is not silent."""
        ...

    def skip(self, why: str) -> None:
        """Count what is told to nobody on purpose. `why` is the feed's own word, as `no key`, never the source's."""
        ...

    def refuse(self, reason: str, message: str = "") -> None:
        """Report what came and cannot be read: counted, logged with the start of `message`, never fatal.

        `reason` is a sentence of the feed's own; `message` is what the source sent.
        """
        ...


class Feed(Protocol):
    """One source."""

    @property
    def streams(self) -> Sequence[Stream]:
        """All that the feed may tell, as far as its settings say: what `since` and the staleness are kept of."""
        ...

    async def run(self, sink: Sink, since: Since) -> None:
        """Tell `sink` all that the source says from `since` on, until cancelled.

        Raises FeedError where the source fails for now: the host waits, at least as long as the error says, and calls
        again with a `since` that counts in what was told so far. Whoever is cancelled closes its connections.
        """
        ...
