"""The kinds of values that an event's fields hold, each with its bounds.

The bounds stand in the type alone: msgspec holds to most of them as it reads, `schemas.checks` enforces them all, the
published JSON Schema and the reference page state them. A plain `float`, `int`, `str`, `Decimal`, `bytes`, list or map
has the bounds that hold for every such field, but is checked slower than a type of this module.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

EARLIEST_NS = 31_536_000 * 1_000_000_000
"""1971-01-01. A present time in s, ms or µs, taken for ns, lies before it and is refused."""
LATEST_NS = 4_102_444_800 * 1_000_000_000
"""2100-01-01."""
MAX_FLOAT = 1.7976931348623157e308
MAX_NAME_CHARS = 512
MAX_NOTE_CHARS = 2_000
MAX_TEXT_CHARS = 20_000
MAX_BLOB_BYTES = 700_000
"""In base64 it stays below the limit of a record."""
MAX_ITEMS = 100
"""Of a list, and of a map."""
MAX_DECIMAL_DIGITS = 40
MAX_DECIMAL_PLACES = 40
MIN_PRICE = 1e-18
"""A token worth 1e-12 of a dollar, quoted in bitcoin, lies above it."""
MAX_PRICE = 1e12
"""An index lies at 1e7; a share of Berkshire Hathaway in Iranian rials below it."""
MIN_PAID, MAX_PAID = 1e-20, 1e13
"""Of a price that is traded at: slippage takes it beyond those of the market."""
MIN_LEVEL, MAX_LEVEL = 1e-36, 1e24
"""Of a stop or a target: a price, and a number of average ranges up or down."""
MIN_SIZE = 1e-18
"""A wei; a satoshi is 1e-8."""
MAX_SIZE = 1e18
"""A thousand times all there is of a token of which there are 1e15."""
MIN_NOTIONAL = 1e-36
MAX_AMOUNT = 1e31
"""Of money: MAX_PAID * MAX_SIZE, and below what 34 digits hold to the cent."""
MAX_SETTING = 1e18
"""Of a limit that a rule sets, be it money, a percentage or a count."""


class Range(NamedTuple):
    """The numbers from `low` to `high`, both of them allowed."""

    low: float
    high: float
    allows: str
    """What a document says of it: "0 or more"."""
    refusal: str
    """What is said of another number: "… is negative"."""
    or_zero: bool = False
    """Zero is allowed besides, and means none."""


class Length(NamedTuple):
    """The number of characters of a text, and whether it may hold line breaks and tabs."""

    low: int
    high: int
    lines: bool


INT64_MAX = 2**63 - 1
ANY_INT = Range(-(2**63), INT64_MAX, "64 bits", "is beyond 64 bits")
ANY_FLOAT = Range(-MAX_FLOAT, MAX_FLOAT, "", "is not a finite number")
ANY_NAME = Length(0, MAX_NAME_CHARS, lines=False)


def _between(low: float, high: float, what: str = "") -> Range:
    """Give the numbers from `low` to `high`; `what` names them in a refusal."""
    first, last = (f"{bound:g}".replace("e+", "e") for bound in (low, high))
    return Range(low, high, f"{first} to {last}", f"is not {f'{what} ' if what else ''}between {first} and {last}")


ANY_DECIMAL = _between(-MAX_AMOUNT, MAX_AMOUNT)
_NOT_NEGATIVE = Range(0, MAX_FLOAT, "0 or more", "is negative")
_NOT_POSITIVE = Range(-MAX_FLOAT, 0, "0 or less", "is above zero")
_TIME = Range(
    EARLIEST_NS + 1,
    LATEST_NS - 1,
    "1971 to 2100",
    "is not a time in nanoseconds since 1970 (1971 to 2100 are taken)",
)
_COUNT = Range(0, INT64_MAX, "0 or more", "is negative")
POSITIVE_INT = Range(1, INT64_MAX, "above 0", "is not above zero")
PRICE = _between(MIN_PRICE, MAX_PRICE, "a price")
_PAID = _between(MIN_PAID, MAX_PAID, "a price")
_LEVEL = _between(MIN_LEVEL, MAX_LEVEL, "a price level")
SIZE = _between(MIN_SIZE, MAX_SIZE, "a size")
SIZE_OR_ZERO = _between(0, MAX_SIZE, "a size")
_NOTIONAL = _between(MIN_NOTIONAL, MAX_AMOUNT, "a notional")
_AMOUNT = _between(0, MAX_AMOUNT, "an amount")
_SETTING = _between(0, MAX_SETTING)


def _number(bounds: Range) -> Meta:
    """Say the bounds of a number so that msgspec holds to them as it reads; of a gap above zero it knows nothing."""
    told: dict[str, Any] = {"ge": 0 if bounds.or_zero else bounds.low, "le": bounds.high}
    return Meta(**told, extra={"range": bounds})


def _text(bounds: Length) -> Meta:
    return Meta(min_length=bounds.low, max_length=bounds.high, extra={"length": bounds})


NonNegativeFloat = Annotated[float, _number(_NOT_NEGATIVE)]
NonPositiveFloat = Annotated[float, _number(_NOT_POSITIVE)]
Price = Annotated[float, _number(PRICE)]
Level = Annotated[float, _number(_LEVEL)]
Size = Annotated[float, _number(SIZE)]
SizeOrZero = Annotated[float, _number(SIZE_OR_ZERO)]
Setting = Annotated[float, _number(_SETTING)]
Share = Annotated[float, _number(_between(0, 1))]
Score = Annotated[float, _number(_between(-1, 1))]
Percentage = Annotated[float, _number(_between(0, 100))]
DecimalPrice = Annotated[Decimal, Meta(extra={"range": _PAID})]
DecimalLevel = Annotated[Decimal, Meta(extra={"range": _LEVEL})]
DecimalSize = Annotated[Decimal, Meta(extra={"range": SIZE})]
DecimalSizeOrZero = Annotated[Decimal, Meta(extra={"range": SIZE_OR_ZERO})]
Notional = Annotated[Decimal, Meta(extra={"range": _NOTIONAL})]
Amount = Annotated[Decimal, Meta(extra={"range": _AMOUNT})]
"""Money that is never negative."""
Count = Annotated[int, _number(_COUNT)]
PositiveInt = Annotated[int, _number(POSITIVE_INT)]
Time = Annotated[int, _number(_TIME)]
TimeOrZero = Annotated[int, _number(_TIME._replace(or_zero=True))]
Name = Annotated[str, _text(Length(1, MAX_NAME_CHARS, lines=False))]
"""An id or a name that must be given."""
Label = Annotated[str, _text(ANY_NAME)]
"""An id or a name that may be empty."""
Note = Annotated[str, _text(Length(0, MAX_NOTE_CHARS, lines=True))]
"""A title, a reason, an address."""
Text = Annotated[str, _text(Length(0, MAX_TEXT_CHARS, lines=True))]
"""Prose from a person, a model or a program."""
FEW = Meta(max_length=MAX_ITEMS)
"""Of a list or a map."""
Blob = Annotated[bytes, Meta(max_length=MAX_BLOB_BYTES)]

UNPRINTABLE_IN_NAME = r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters, line and paragraph separators, marks that turn the writing round, lone surrogates: in an id or
a name they would only deceive whoever reads it in a terminal or a log."""
UNPRINTABLE_IN_TEXT = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]"
"""A text may hold line breaks, tabs, and all else that people write, but nothing that steers a terminal."""
PLAIN_DECIMAL = r"-?(0|[1-9][0-9]{0,39})([.][0-9]{1,40})?(E-[1-9][0-9]?)?"
"""How a decimal is written: `0.0000001` comes out as `1E-7`, and both are read."""
