"""What an import is told beside its files."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from schemas.base import NS_PER_DAY, NS_PER_MIN, NS_PER_S
from schemas.errors import ArchiveError
from schemas.fields import MAX_NAME_CHARS, UNPRINTABLE_IN_NAME

MAX_INTERVAL_NS = 366 * NS_PER_DAY
Kind = Literal["bars", "ticks", "tweets", "news"]
Form = Literal["auto", "plain", "lean", "binance-ws"]
TimeUnit = Literal["auto", "iso", "s", "ms", "us", "ns"]
_INTERVAL = re.compile(r"(\d+)(s|m|h|d)")
_SECONDS_NS = {"s": NS_PER_S, "m": NS_PER_MIN, "h": 60 * NS_PER_MIN, "d": NS_PER_DAY}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """See `quorum import --help`; the defaults guess what a file shows by itself."""

    kind: Kind
    form: Form = "auto"
    instrument: str = ""
    """Key of market rows; in LEAN futures, `{expiry}` stands for the contract's."""
    key: str = ""
    """Key of texts; empty takes each row's own symbol."""
    source: str = ""
    """Author or publisher of texts that name none; one that is named stays."""
    symbol: str = ""
    """Which symbol of a recording that holds several."""
    mapping: dict[str, str] = {}
    """Column of the archive to column of the file."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV without a header."""
    time_unit: TimeUnit = "auto"
    time_is: Literal["open", "close"] = "open"
    """Which end of a bar its time names."""
    tz: str = ""
    """Zone of times that name none; empty is UTC, or what the format prescribes."""
    interval_ns: int = 0
    """Length of bars; 0 takes the commonest step between them."""
    clock_skew_ms: int | Literal["auto"] = "auto"
    """Added to receive times; `auto` finds how far the recorder's clock was behind. 0 is none."""
    delay_ms: int = 0
    """From the event to our knowing of it, where the source tells no receive time."""
    keep_suspicious: bool = False
    start_ns: int | None = None
    """Take what was observed from here on."""
    end_ns: int | None = None
    """Take what was observed before."""


def check_options(settings: Settings) -> None:
    """Raise ArchiveError for an option that the kind has no use for: it would be passed over in silence."""
    is_text = settings.kind in ("tweets", "news")
    wrong = (
        ("--instrument", is_text and settings.instrument),
        ("--symbol", is_text and settings.symbol),
        ("--key", not is_text and settings.key),
        ("--source", not is_text and settings.source),
        ("--interval", settings.kind != "bars" and settings.interval_ns),
        ("--keep-suspicious", settings.kind != "ticks" and settings.keep_suspicious),
    )
    for option, given in wrong:
        if given:
            named = "texts are named by --key and --source" if is_text else "market data is named by --instrument"
            raise ArchiveError(f"{option} means nothing for {settings.kind}: {named}; leave it out")


def parse_interval(text: str) -> int:
    """Turn `1m`, `15s`, `4h` or `1d` into ns. Raises ArchiveError."""
    found = _INTERVAL.fullmatch(text)
    if not found or not int(found[1]):
        raise ArchiveError(f"--interval {text}: write a number and s, m, h or d, as in 1m")
    length_ns = int(found[1]) * _SECONDS_NS[found[2]]
    if length_ns > MAX_INTERVAL_NS:
        raise ArchiveError(f"--interval {text}: a bar is no longer than {MAX_INTERVAL_NS // NS_PER_DAY} days")
    return length_ns


def check_key(name: str, option: str) -> str:
    """Give the key back if it can be one. Raises ArchiveError."""
    if not name or len(name) > MAX_NAME_CHARS or re.search(UNPRINTABLE_IN_NAME, name) or name != name.strip():
        raise ArchiveError(f"{option} {name!r}: must be a name of 1 to {MAX_NAME_CHARS} printable characters")
    return name


def check_instrument(name: str) -> str:
    """Give the instrument back if it is of the form `SYMBOL@venue`. Raises ArchiveError."""
    symbol, at, venue = name.partition("@")
    if not (symbol and at and venue):
        raise ArchiveError(f"--instrument {name or '(none)'}: name it SYMBOL@venue, as in BTC/USD@bitfinex")
    return check_key(name, "--instrument")
