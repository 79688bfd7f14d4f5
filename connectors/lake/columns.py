"""The columns that each kind of event has in the lake, and the events back from them.

They are the archive's, so that a replay reads the lake as it reads an archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import pyarrow as pa

from connectors.archive import SCHEMAS, TEXT_KINDS
from connectors.lake.layout import values_of
from schemas.base import NS_PER_S, Event, market_id
from schemas.codec import decode
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted

_SIDES = {"buy": 1, "sell": -1, "unknown": 0}
_SIDE_NAMES = {code: name for name, code in _SIDES.items()}
_INT64_MAX = 2**63 - 1


class Laid(NamedTuple):
    """Events as columns."""

    columns: Mapping[str, Sequence[Any]]
    exact: Sequence[bool]
    """Of each event, whether the columns give it back."""


class Form(NamedTuple):
    """How events of one type lie in files."""

    kind: str
    schema: pa.Schema
    lay: Callable[[Sequence[Any]], Laid]
    """Events to columns."""
    events: Callable[[pa.Table], Iterable[Event]]
    """Columns to events."""


def form_of(kind: str) -> Form | None:
    """Give the form of a kind that has columns of its own; None for one whose events are kept whole."""
    return _FORMS.get(kind)


def kind_of(event: type[Event], topic: str) -> str:
    """Give the kind of file that an event of a topic goes into."""
    return _KINDS.get(event, topic)


def envelope(events: Sequence[Event]) -> dict[str, list[Any]]:
    """Give the columns that whole events have besides their bytes."""
    return {
        "id": [event.id for event in events],
        "key": [event.key for event in events],
        "occurred_at": [event.occurred_at for event in events],
        "observed_at": [event.observed_at for event in events],
    }


def _times(events: Sequence[Event]) -> dict[str, list[Any]]:
    return {
        "key": [event.key for event in events],
        "occurred_at": [event.occurred_at for event in events],
        "observed_at": [event.observed_at for event in events],
    }


def _bare(event: Event) -> bool:
    """Tell an event of no book: the columns have no place for one."""
    return not (event.book or event.seq or event.cause or event.v != 1)


def _numbered(events: Sequence[Event], marks: Iterable[str]) -> tuple[list[int], list[bool]]:
    """Give each event's number, and whether its id is made of it; else the number is a digest of the id."""
    numbers, exact = [], []
    for event, mark, bare in zip(events, marks, map(_bare, events), strict=True):
        id_ = event.id
        try:
            number = int(id_[id_.rfind("/") + 1 :])
        except ValueError:
            number = _INT64_MAX + 1
        if f"{event.key}/{mark}/{number}" == id_ and -_INT64_MAX <= number <= _INT64_MAX:
            numbers.append(number)
            exact.append(bare)
        else:
            numbers.append(int.from_bytes(blake2b(id_.encode(), digest_size=8).digest()) >> 1)
            exact.append(False)
    return numbers, exact


def _lay_trades(events: Sequence[TradeTicked]) -> Laid:
    numbers, exact = _numbered(events, ["trade"] * len(events))
    return Laid(
        _times(events)
        | {
            "number": numbers,
            "price": [event.price for event in events],
            "size": [event.size for event in events],
            "side": [_SIDES[event.side] for event in events],
        },
        exact,
    )


def _trades(table: pa.Table) -> list[Event]:
    rows = zip(*_lists(table, "key number occurred_at observed_at price size side"), strict=True)
    return [
        TradeTicked(
            id=market_id(key, "trade", number),
            key=key,
            occurred_at=occurred_at,
            observed_at=observed_at,
            price=price,
            size=size,
            side=_SIDE_NAMES[side],  # type: ignore[arg-type]  # a word of the three
        )
        for key, number, occurred_at, observed_at, price, size, side in rows
    ]


def _lay_quotes(events: Sequence[QuoteTicked]) -> Laid:
    numbers, exact = _numbered(events, ["quote"] * len(events))
    return Laid(_times(events) | {"number": numbers} | _fields(events, "bid ask bid_size ask_size"), exact)


def _quotes(table: pa.Table) -> list[Event]:
    rows = zip(*_lists(table, "key number occurred_at observed_at bid ask bid_size ask_size"), strict=True)
    return [
        QuoteTicked(
            id=market_id(key, "quote", number),
            key=key,
            occurred_at=occurred_at,
            observed_at=observed_at,
            bid=bid,
            ask=ask,
            bid_size=bid_size,
            ask_size=ask_size,
        )
        for key, number, occurred_at, observed_at, bid, ask, bid_size, ask_size in rows
    ]


def _bar_mark(interval_ns: int) -> str:
    return f"bar{interval_ns // NS_PER_S}"


def _lay_bars(events: Sequence[BarClosed]) -> Laid:
    numbers, exact = _numbered(events, [_bar_mark(event.interval_ns) for event in events])
    values = _fields(events, "open high low close volume interval_ns")
    return Laid(_times(events) | {"number": numbers} | values, exact)


def _bars(table: pa.Table) -> list[Event]:
    return [
        BarClosed(id=market_id(row["key"], _bar_mark(row["interval_ns"]), row.pop("number")), **row)
        for row in table.select(SCHEMAS["bars"].names).to_pylist()
    ]


def _lay_texts(events: Sequence[Event], kind: str) -> Laid:
    return Laid(_fields(events, " ".join(SCHEMAS[kind].names)), [_bare(event) for event in events])


def _texts(table: pa.Table, kind: str, event: type[Event]) -> list[Event]:
    return [event(**row) for row in table.select(SCHEMAS[kind].names).to_pylist()]


def whole(table: pa.Table) -> Iterable[Event]:
    """Read events that are kept as their bytes."""
    return map(decode, table["event"].to_pylist())


def _fields(events: Sequence[Event], names: str) -> dict[str, Sequence[Any]]:
    return {name: [getattr(event, name) for event in events] for name in names.split()}


def _lists(table: pa.Table, names: str) -> list[list[Any]]:
    return [values_of(table[name]) for name in names.split()]


_TEXTS: dict[str, type[Event]] = {"tweets": TweetPosted, "news": NewsPublished}
_FORMS: dict[str, Form] = {
    "trades": Form("trades", SCHEMAS["trades"], _lay_trades, _trades),
    "quotes": Form("quotes", SCHEMAS["quotes"], _lay_quotes, _quotes),
    "bars": Form("bars", SCHEMAS["bars"], _lay_bars, _bars),
} | {
    kind: Form(
        kind,
        SCHEMAS[kind],
        lambda events, kind=kind: _lay_texts(events, kind),  # type: ignore[misc]
        lambda table, kind=kind: _texts(table, kind, _TEXTS[kind]),  # type: ignore[misc]
    )
    for kind in TEXT_KINDS
}
_KINDS: dict[type[Event], str] = {TradeTicked: "trades", QuoteTicked: "quotes", BarClosed: "bars"}
