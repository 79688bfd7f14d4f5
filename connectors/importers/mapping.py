"""Which column of a foreign file is which of ours: by `--map`, else by the names that recordings commonly use."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from connectors.importers.raw import ROW
from connectors.importers.report import printable
from schemas.errors import ArchiveError

_TIME = ("ts", "timestamp", "time", "date", "datetime", "open_time", "event_time", "event_ns", "t")
_RECEIVED = ("observed_at", "recv_ns", "recv_time", "received_at", "local_timestamp")
_KEY = ("key", "instrument", "symbol", "ticker")

ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "bars": {
        "ts": _TIME,
        "observed_at": _RECEIVED,
        "open": ("open", "o"),
        "high": ("high", "h"),
        "low": ("low", "l"),
        "close": ("close", "c"),
        "volume": ("volume", "v", "vol"),
    },
    "trades": {
        "ts": ("trade_ns", "trade_time", *_TIME),
        "observed_at": _RECEIVED,
        "number": ("number", "trade_id", "tradeid", "id", "agg_trade_id"),
        "price": ("price", "px", "p"),
        "size": ("size", "qty", "quantity", "amount", "volume", "q"),
        "side": ("side", "aggressor", "taker_side"),
        "is_buyer_maker": ("is_buyer_maker", "isbuyermaker", "buyer_maker"),
    },
    "quotes": {
        "ts": ("transaction_time", *_TIME),
        "observed_at": _RECEIVED,
        "number": ("number", "update_id", "id"),
        "bid": ("bid", "bid_price", "bid_px", "best_bid_price"),
        "ask": ("ask", "ask_price", "ask_px", "best_ask_price"),
        "bid_size": ("bid_size", "bid_sz", "bid_qty", "bid_volume", "best_bid_qty"),
        "ask_size": ("ask_size", "ask_sz", "ask_qty", "ask_volume", "best_ask_qty"),
    },
    "tweets": {
        "ts": ("ts", "created_at", *_TIME[1:]),
        "observed_at": _RECEIVED,
        "key": _KEY,
        "id": ("id", "tweet_id", "id_str"),
        "author": ("author", "user", "username", "screen_name", "user_id"),
        "text": ("text", "full_text", "tweet", "content", "body"),
        "followers": ("followers", "followers_count"),
        "retweets": ("retweets", "retweet_count"),
        "is_retweet": ("is_retweet", "retweeted"),
        "url": ("url", "link"),
    },
    "news": {
        "ts": ("ts", "published_at", "published", *_TIME[1:]),
        "observed_at": _RECEIVED,
        "key": _KEY,
        "id": ("id",),
        "source": ("source", "publisher", "site"),
        "title": ("title", "headline"),
        "text": ("text", "summary", "description", "body", "content"),
        "url": ("url", "link"),
    },
}
"""Kind to column to the names that it goes by, the likeliest first. `ts` is the event's own time."""
REQUIRED = {
    "bars": ("ts", "open", "high", "low", "close", "volume"),
    "trades": ("price", "size"),
    "quotes": ("bid", "ask", "bid_size", "ask_size"),
    "tweets": ("ts", "text"),
    "news": ("ts", "title"),
}
Picked = dict[str, pa.ChunkedArray]


def kind_of(path: Path, names: list[str], kind: str, mapping: dict[str, str]) -> str:
    """Tell trades from quotes where the user said ticks. Raises ArchiveError where they are neither."""
    if kind != "ticks":
        return kind
    known = {_plain(name) for name in names}
    is_quotes = {"bid", "ask"} <= set(mapping) or (
        bool(known & set(ALIASES["quotes"]["bid"])) and bool(known & set(ALIASES["quotes"]["ask"]))
    )
    if not is_quotes and "update_id" in known and not {"number", "price"} & set(mapping):
        raise ArchiveError(
            f"{path}: changes of the depth of a book (update_id and one price a row) cannot be kept as ticks"
        )
    return "quotes" if is_quotes else "trades"


def pick(path: Path, table: pa.Table, kind: str, mapping: dict[str, str]) -> Picked:
    """Give our columns of a file's table. Raises ArchiveError where one is not there."""
    aliases = ALIASES[kind]
    there = {_plain(name): name for name in reversed(table.column_names)}
    picked: Picked = {ROW: table[ROW]}
    for field, name in mapping.items():
        if field not in aliases:
            raise ArchiveError(f"--map {field}={name}: {kind} have no such column; they have {', '.join(aliases)}")
        if name not in table.column_names:
            raise ArchiveError(f"--map {field}={name}: {path} has no such column; it has {_list(table)}")
        picked[field] = table[name]
    for field, names in aliases.items():
        found = [there[name] for name in names if name in there]
        if field not in picked and found:
            picked[field] = table[found[0]]
    for field in REQUIRED[kind]:
        if field not in picked:
            raise ArchiveError(
                f"{path}: no column of {kind} for {field} in {_list(table)}; name it with --map {field}=COLUMN"
            )
    if "ts" not in picked and "observed_at" not in picked:
        raise ArchiveError(f"{path}: no time in {_list(table)}; name it with --map ts=COLUMN")
    return picked


def _list(table: pa.Table) -> str:
    return printable(", ".join(name for name in table.column_names if name != ROW)) or "(none)"


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
