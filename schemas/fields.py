"""The kinds of values that an event's fields hold, each with its bounds.

The bounds stand in the type alone: `schemas.checks` enforces them, the published JSON Schema and the reference
page state them. A plain `float`, `int`, `str`, `Decimal` or `bytes` has the bounds that hold for every such field.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, NamedTuple

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


class Range(NamedTuple):
    """The numbers from `low` to `high`, both of them allowed unless `above`, which shuts out `low`."""

    low: float
    high: float
    allows: str
    """What a document says of it: "0 or more"."""
    refusal: str
    """What is said of another number: "… is negative"."""
    above: bool = False
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
ANY_DECIMAL = ANY_FLOAT
ANY_NAME = Length(0, MAX_NAME_CHARS, lines=False)

_ABOVE_ZERO = Range(0, MAX_FLOAT, "above 0", "is not above zero", above=True)
_NOT_NEGATIVE = Range(0, MAX_FLOAT, "0 or more", "is negative")
_NOT_POSITIVE = Range(-MAX_FLOAT, 0, "0 or less", "is above zero")
_TIME = Range(
    EARLIEST_NS + 1,
    LATEST_NS - 1,
    "1971 to 2100",
    "is not a time in nanoseconds since 1970 (1971 to 2100 are taken)",
)
_UNIT = Range(0, 1, "0 to 1", "is not between 0 and 1")
_SCORE = Range(-1, 1, "-1 to 1", "is not between -1 and 1")
_PERCENTAGE = Range(0, 100, "0 to 100", "is not between 0 and 100")
_COUNT = Range(0, INT64_MAX, "0 or more", "is negative")
_POSITIVE_INT = Range(1, INT64_MAX, "above 0", "is not above zero")

PositiveFloat = Annotated[float, Meta(extra={"range": _ABOVE_ZERO})]
NonNegativeFloat = Annotated[float, Meta(extra={"range": _NOT_NEGATIVE})]
NonPositiveFloat = Annotated[float, Meta(extra={"range": _NOT_POSITIVE})]
Share = Annotated[float, Meta(extra={"range": _UNIT})]
Score = Annotated[float, Meta(extra={"range": _SCORE})]
Percentage = Annotated[float, Meta(extra={"range": _PERCENTAGE})]
PositiveDecimal = Annotated[Decimal, Meta(extra={"range": _ABOVE_ZERO})]
NonNegativeDecimal = Annotated[Decimal, Meta(extra={"range": _NOT_NEGATIVE})]
Count = Annotated[int, Meta(extra={"range": _COUNT})]
PositiveInt = Annotated[int, Meta(extra={"range": _POSITIVE_INT})]
Time = Annotated[int, Meta(extra={"range": _TIME})]
TimeOrZero = Annotated[int, Meta(extra={"range": _TIME._replace(or_zero=True)})]
Name = Annotated[str, Meta(extra={"length": Length(1, MAX_NAME_CHARS, lines=False)})]
"""An id or a name that must be given; a plain `str` is one that may be empty."""
Note = Annotated[str, Meta(extra={"length": Length(0, MAX_NOTE_CHARS, lines=True)})]
"""A title, a reason, an address."""
Text = Annotated[str, Meta(extra={"length": Length(0, MAX_TEXT_CHARS, lines=True)})]
"""Prose from a person, a model or a program."""

UNPRINTABLE_IN_NAME = r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters, line and paragraph separators, marks that turn the writing round, lone surrogates: in an id or
a name they would only deceive whoever reads it in a terminal or a log."""
UNPRINTABLE_IN_TEXT = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]"
"""A text may hold line breaks, tabs, and all else that people write, but nothing that steers a terminal."""
PLAIN_DECIMAL = r"-?(0|[1-9][0-9]{0,39})([.][0-9]{1,40})?(E-[1-9][0-9]?)?"
"""How a decimal is written: `0.0000001` comes out as `1E-7`, and both are read."""
