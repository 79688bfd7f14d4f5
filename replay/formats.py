"""How a report writes numbers, times and ids for people. What has no value is written as an en dash."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from replay.metrics import Unit
from schemas.base import NS_PER_DAY, NS_PER_MS, NS_PER_S

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"

Number = float | Decimal | None


def number(value: Number, decimals: int = 2) -> str:
    """Write with thousands separators and a true minus sign."""
    if value is None:
        return NOTHING
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        return text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text


def signed(value: Number, decimals: int = 2) -> str:
    """Write as `number` does, with a plus sign before what is above zero."""
    text = number(value, decimals)
    return f"+{text}" if value is not None and text.strip("0.,") and not text.startswith(MINUS) else text


def percent(value: Number, decimals: int = 2) -> str:
    """Write a percentage with its sign."""
    return NOTHING if value is None else f"{signed(value, decimals)}{NARROW}%"


def price(value: Number) -> str:
    """Write a price or quantity with as many decimals as its size asks for."""
    if value is None:
        return NOTHING
    size = abs(float(value))
    decimals = 2 if size >= 100 else 4 if size >= 1 else 8  # noqa: PLR2004 - a look-up in a line
    text = number(value, decimals)
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}{dot}{fraction.ljust(2, '0')}" if fraction else whole


def span(ns: float | None) -> str:
    """Write a length of time with its two largest units."""
    if ns is None:
        return NOTHING
    if ns < NS_PER_S:
        return f"{number(ns / NS_PER_MS, 0)}{NARROW}ms"
    if ns < 10 * NS_PER_S:
        return f"{number(ns / NS_PER_S, 1)}{NARROW}s"
    seconds = round(ns / NS_PER_S)
    parts = ((seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count:,}{NARROW}{unit}" for count, unit in parts[first : first + 2] if count)


def days(value: float | None) -> str:
    """Write a length given in days."""
    return NOTHING if value is None else span(value * NS_PER_DAY) if value else "0"


def moment(ns: int) -> str:
    """Write a time in UTC to the second."""
    return str(np.datetime_as_string(np.datetime64(ns, "ns"), unit="s")).replace("T", " ")


def day(ns: int) -> str:
    """Write a date in UTC."""
    return str(np.datetime_as_string(np.datetime64(ns, "ns"), unit="D"))


def short_id(id: str) -> str:
    """Cut an id that only machines read; the whole stands in the element's title."""
    return f"{id[:8]}…" if len(id) >= 32 and "/" not in id else id  # noqa: PLR2004 - a derived id's length


def measured(value: float | None, unit: Unit) -> str:
    """Write a metric in its unit."""
    if value is None:
        return NOTHING
    if unit == "days":
        return days(value)
    if unit == "s":
        return span(value * NS_PER_S)
    suffix = {"%": f"{NARROW}%", "x": f"{NARROW}{TIMES}"}.get(unit, "")
    return number(value, 0 if unit == "count" else 2) + suffix
