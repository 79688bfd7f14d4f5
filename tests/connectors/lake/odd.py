"""Records of every sort that a topic may hold, ours and others', as hypothesis draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from connectors.lake.kept import packed
from connectors.lake.records import Kept
from schemas.base import NS_PER_S, Event
from schemas.codec import encode
from schemas.control import BookPaused, ClockTicked
from schemas.market import BarClosed, QuoteTicked, TradeTicked
from schemas.texts import NewsPublished, TweetPosted
from schemas.wire import headers_of, key_of

__all__ = ["START_NS", "kept", "records"]

START_NS = 1_723_075_200 * NS_PER_S
KEYS = ("BTC/USDT@binance", "ETH/USDT@binance", "SPY")
_times = st.integers(0, 3 * 3_600 * NS_PER_S).map(lambda after: START_NS + after)
_prices = st.floats(1e-18, 1e12)
_sizes = st.floats(1e-18, 1e18)
_names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
_ids = st.one_of(
    st.sampled_from(["x", "BTC/USDT@binance/trade/007", "BTC/USDT@binance/trade/1_0", "SPY/trade/", "SPY/trade/+5"]),
    st.integers(-(2**66), 2**66).map(lambda number: f"BTC/USDT@binance/trade/{number}"),
    st.integers(0, 2**63 - 1).map(lambda number: f"BTC/USDT@binance/quote/{number}"),
    _names,
)
_stamped: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), st.just({"book": "btc", "seq": 7}), st.just({"cause": "why"})
)


@st.composite
def _envelope(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    key, at = draw(st.sampled_from(KEYS)), draw(_times)
    number = draw(st.integers(0, 2**63 - 1))
    return {
        "id": draw(st.one_of(st.just(f"{key}/{kind}/{number}"), _ids)),
        "key": key,
        "occurred_at": at,
        "observed_at": at + draw(st.integers(0, NS_PER_S)),
    } | draw(_stamped)


@st.composite
def _trades(draw: st.DrawFn) -> Event:
    side: Any = draw(st.sampled_from(["buy", "sell", "unknown"]))
    return TradeTicked(**draw(_envelope("trade")), price=draw(_prices), size=draw(_sizes), side=side)


@st.composite
def _quotes(draw: st.DrawFn) -> Event:
    bid, ask = sorted([draw(_prices), draw(_prices)])
    sizes: dict[str, Any] = {
        name: draw(st.one_of(st.just(0.0), st.just(-0.0), _sizes)) for name in ("bid_size", "ask_size")
    }
    return QuoteTicked(**draw(_envelope("quote")), bid=bid, ask=ask, **sizes)


@st.composite
def _bars(draw: st.DrawFn) -> Event:
    low, a, b, high = sorted(draw(_prices) for _ in range(4))
    seconds = draw(st.sampled_from([1, 60, 3_600]))
    return BarClosed(
        **draw(_envelope(f"bar{seconds}")),
        open=a,
        high=high,
        low=low,
        close=b,
        volume=draw(_sizes),
        interval_ns=seconds * NS_PER_S,
    )


@st.composite
def _texts(draw: st.DrawFn) -> Event:
    said = draw(_names)
    if draw(st.booleans()):
        counts: dict[str, Any] = {"followers": draw(st.integers(0, 2**63 - 1)), "is_retweet": draw(st.booleans())}
        return TweetPosted(**draw(_envelope("tweet")), author=said, text=f"{said}\n\té", **counts)
    return NewsPublished(**draw(_envelope("news")), source="", title=said, text=draw(st.sampled_from(["", said])))


@st.composite
def _commands(draw: st.DrawFn) -> Event:
    return BookPaused(**draw(_envelope("pause")), operator="me", reason=draw(_names))


_EVENTS = {"ticks": st.one_of(_trades(), _quotes()), "bars": _bars(), "control": _commands()}
_EVENTS |= {"tweets": _texts(), "news": _texts()}


def _strange(value: bytes) -> list[bytes]:
    """Give writings of an event that are not canonical, or no event any more."""
    return [
        value.replace(b":", b": ", 1),
        value.replace(b"}", b"\n}"),
        value.replace(b'"price":', b'"price":1e2,"x":'),
        value.replace(b'"volume":', b'"volume":00'),
        value[:-1] + b',"v":1}',
        value[:-1] + b',"v":2}',
        value[:-1],
        b"[" + value + b"]",
    ]


@st.composite
def kept(draw: st.DrawFn, topic: str) -> Kept:
    """Draw a record of a topic; its offset is 0."""
    event = draw(_EVENTS[topic])
    value = encode(event)
    ours = headers_of(event)
    keys = st.one_of(st.just(key_of(event)), st.none(), st.just(b""), st.binary(max_size=5))
    foreign = st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.binary(max_size=5))), max_size=3)
    values = st.one_of(
        st.just(value),
        st.just(value),
        st.sampled_from(_strange(value)),
        st.none(),
        st.just(b""),
        st.binary(max_size=20),
        st.just(encode(draw(st.one_of(*_EVENTS.values())))),
    )
    headers = packed(draw(st.one_of(st.just(ours), st.just([]), foreign, st.just([*ours, ("type", None)]))))
    stamp = draw(st.one_of(st.just(event.observed_at // 1_000_000), st.sampled_from([-1, 0, 2**62, -(2**62)])))
    return Kept(0, stamp, draw(st.integers(0, 2)), draw(keys), headers, draw(values))


@st.composite
def _frames(draw: st.DrawFn) -> bytes | None:
    """Draw the value of a record of the journal."""
    lines = []
    for event in draw(st.lists(st.one_of(*_EVENTS.values()), max_size=5)):
        book = draw(st.sampled_from(["btc", "eth", "btc", "eth", "../up", ""]))
        at = event.observed_at
        stamped = ClockTicked(id=event.id, key=event.key, occurred_at=at, observed_at=at, book=book, seq=1)
        lines.append(encode(stamped))
    value = b"\n".join(lines)
    return draw(st.sampled_from([value, value, value, value + b"\n", b"", None, b"\n", b"{}\n" + value]))


@st.composite
def _frame_records(draw: st.DrawFn) -> Kept:
    headers = draw(st.sampled_from([b"", packed([("type", b"frame"), ("position", b"{}")])]))
    key = draw(st.sampled_from([None, b"", b"k"]))
    return Kept(0, draw(_times) // 1_000_000, 1, key, headers, draw(_frames()))


def _placed(found: Sequence[Kept], gaps: Sequence[int]) -> list[Kept]:
    offset, placed = 100, []
    for record, gap in zip(found, gaps, strict=False):
        offset += gap
        placed.append(replace(record, offset=offset))
        offset += 1
    return placed


def records(topic: str) -> st.SearchStrategy[list[Kept]]:
    """Draw the records of a segment that begins at offset 100, with holes among them; some come twice."""
    one = _frame_records() if topic == "journal" else kept(topic)
    lists = st.lists(one, min_size=0, max_size=12).flatmap(
        lambda found: (
            st.lists(st.sampled_from(found), max_size=3).map(lambda again: found + again) if found else st.just([])
        )
    )
    return st.builds(_placed, lists, st.lists(st.integers(0, 2), min_size=15, max_size=15))
