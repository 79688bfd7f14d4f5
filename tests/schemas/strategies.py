"""Hypothesis strategies for events: `events()` draws any valid event of any type, or of the types that it is given.

They are built from the types of the fields, as the checks are, so a new event or field is drawn without a word here;
only what ties several fields together is written out.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any, cast

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import inspect

from schemas.base import NS_PER_S, Event, Record
from schemas.checks import MAX_CLOCK_SKEW_NS
from schemas.execution import OrderRequested
from schemas.fields import ANY_DECIMAL, ANY_FLOAT, ANY_INT, ANY_NAME, Length, Range
from schemas.market import BarClosed, QuoteTicked
from schemas.texts import NewsPublished, TweetPosted
from schemas.topics import EVENT_TYPES

DRAWN_CHARS = 30
"""Length of most drawn texts; the limits themselves are tested by table."""
DRAWN_ITEMS = 4
TURNING_MARKS = "".join(map(chr, (*range(0x2028, 0x202F), *range(0x2066, 0x206A))))


def events(*kinds: type[Event]) -> SearchStrategy[Event]:
    """Draw a valid event of one of the types, of any type where none is named."""
    return st.one_of([_event(kind) for kind in kinds or EVENT_TYPES])


@cache
def records(kind: type[Record]) -> SearchStrategy[Any]:
    """Draw a record whose fields are valid each by itself."""
    info = cast("inspect.StructType", inspect.type_info(kind))
    required = {field.name: values(field.type) for field in info.fields if field.required}
    optional = {field.name: values(field.type) for field in info.fields if not field.required}
    optional.pop("v", None)
    fields = st.fixed_dictionaries(required, optional=optional)
    return fields.map(lambda drawn: kind(**drawn))


def values(kind: inspect.Type) -> SearchStrategy[Any]:
    """Draw a value that a field of this type may hold."""
    if isinstance(kind, inspect.Metadata):
        return _BUILDERS[type(kind.type)](kind.type, kind.extra or {})
    return _BUILDERS[type(kind)](kind, {})


@cache
def _event(kind: type[Event]) -> SearchStrategy[Event]:
    drawn = records(kind).map(_in_time)
    return drawn.map(_MENDS[kind]) if kind in _MENDS else drawn


def _in_time(event: Event) -> Event:
    earliest = event.occurred_at - MAX_CLOCK_SKEW_NS
    return msgspec.structs.replace(event, observed_at=max(event.observed_at, earliest))


def _mended_bar(bar: Event) -> Event:
    assert isinstance(bar, BarClosed)
    low, first, last, high = sorted((bar.open, bar.high, bar.low, bar.close))
    whole = max(1, bar.interval_ns // NS_PER_S) * NS_PER_S
    return msgspec.structs.replace(bar, low=low, open=last, close=first, high=high, interval_ns=whole)


def _mended_quote(quote: Event) -> Event:
    assert isinstance(quote, QuoteTicked)
    bid, ask = sorted((quote.bid, quote.ask))
    return msgspec.structs.replace(quote, bid=bid, ask=ask)


def _mended_order(order: Event) -> Event:
    assert isinstance(order, OrderRequested)
    one = Decimal(1)
    return msgspec.structs.replace(
        order, limit_price=order.limit_price or one, trigger_price=order.trigger_price or one
    )


def _mended_tweet(tweet: Event) -> Event:
    assert isinstance(tweet, TweetPosted)
    return msgspec.structs.replace(tweet, text=f"{tweet.text}.")


def _mended_news(news: Event) -> Event:
    assert isinstance(news, NewsPublished)
    return msgspec.structs.replace(news, title=f"{news.title}.")


_MENDS: dict[type[Event], Callable[[Event], Event]] = {
    BarClosed: _mended_bar,
    QuoteTicked: _mended_quote,
    OrderRequested: _mended_order,
    TweetPosted: _mended_tweet,
    NewsPublished: _mended_news,
}
"""Whose fields depend on each other, and how any fields are made to agree."""


def _floats(bounds: Range) -> SearchStrategy[float]:
    return st.floats(float(bounds.low), float(bounds.high), allow_nan=False, allow_infinity=False)


def _ints(bounds: Range) -> SearchStrategy[int]:
    drawn = st.integers(int(bounds.low), int(bounds.high))
    return st.just(0) | drawn if bounds.or_zero else drawn


def _decimals(bounds: Range) -> SearchStrategy[Decimal]:
    signs = st.sampled_from((0, 1) if bounds.low < 0 else (0,))
    low, high = (Fraction(Decimal(repr(bound))) for bound in (max(bounds.low, 0), bounds.high))

    def of(places: int) -> SearchStrategy[int]:
        return st.integers(ceil(low * 10**places), min(int(high * 10**places), 10**40 - 1))

    placed = st.integers(0, 40).flatmap(lambda places: st.tuples(of(places), st.just(places)))
    return st.builds(_decimal, signs, placed)


def _decimal(sign: int, placed: tuple[int, int]) -> Decimal:
    return Decimal((sign, tuple(map(int, str(placed[0]))), -placed[1]))


def _texts(bounds: Length) -> SearchStrategy[str]:
    if bounds.lines:
        marks = st.sampled_from("\t\n\r\x85\u2028\u202e")
        alphabet = st.characters(codec="utf-8", exclude_categories=["Cc"]) | marks
    else:
        alphabet = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=TURNING_MARKS)
    return st.text(alphabet, min_size=bounds.low, max_size=DRAWN_CHARS)


def _unions(kinds: tuple[inspect.Type, ...]) -> SearchStrategy[Any]:
    return st.one_of([st.none() if isinstance(kind, inspect.NoneType) else values(kind) for kind in kinds])


_BUILDERS: dict[type[inspect.Type], Callable[[Any, dict[str, Any]], SearchStrategy[Any]]] = {
    inspect.FloatType: lambda _, extra: _floats(extra.get("range", ANY_FLOAT)),
    inspect.IntType: lambda _, extra: _ints(extra.get("range", ANY_INT)),
    inspect.DecimalType: lambda _, extra: _decimals(extra.get("range", ANY_DECIMAL)),
    inspect.StrType: lambda _, extra: _texts(extra.get("length", ANY_NAME)),
    inspect.BoolType: lambda _, __: st.booleans(),
    inspect.BytesType: lambda _, __: st.binary(max_size=DRAWN_CHARS),
    inspect.LiteralType: lambda kind, _: st.sampled_from(kind.values),
    inspect.StructType: lambda kind, _: records(kind.cls),
    inspect.UnionType: lambda kind, _: _unions(kind.types),
    inspect.VarTupleType: lambda kind, _: st.lists(values(kind.item_type), max_size=DRAWN_ITEMS).map(tuple),
    inspect.DictType: lambda kind, _: st.dictionaries(
        values(kind.key_type), values(kind.value_type), max_size=DRAWN_ITEMS
    ),
}
