"""The bounds of every field of every event, by table, and golden events with one value changed.

The tables repeat the bounds on purpose: a bound that is loosened in `schemas/` must be loosened here too.
"""

from __future__ import annotations

from decimal import Decimal
from typing import cast

import msgspec
from msgspec import inspect

from schemas.base import Event, Record
from schemas.decisions import Clamp, ConsensusFailed, TradeApproved, Vote
from schemas.topics import EVENT_TYPES
from schemas.verdicts import InstructionPart, PricePart, TextPart, VerdictRequested
from tests.schemas.samples import full

PARTS: dict[type[Record], tuple[type[Event], str, int]] = {
    Vote: (ConsensusFailed, "votes", 1),
    Clamp: (TradeApproved, "clamps", 0),
    InstructionPart: (VerdictRequested, "prompt", 0),
    PricePart: (VerdictRequested, "prompt", 1),
    TextPart: (VerdictRequested, "prompt", 3),
}
"""Where in a golden event such a part stands."""
RECORDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (*EVENT_TYPES, *PARTS)}

NUMBERS = {
    "price": """
        TradeTicked.price QuoteTicked.bid QuoteTicked.ask BarClosed.open BarClosed.high BarClosed.low BarClosed.close
        VerdictGiven.stop_price VerdictGiven.target_price ConsensusReached.stop_price ConsensusReached.target_price
        TradeProposed.price PricePart.close""",
    "price paid": "OrderFilled.price TradeApproved.price",
    "level": """
        OrderRequested.limit_price OrderRequested.trigger_price TradeProposed.stop_price TradeProposed.target_price
        TradeApproved.stop_price TradeApproved.target_price""",
    "size": """
        TradeTicked.size OrderRequested.quantity OrderFilled.quantity TradeApproved.quantity
        ConfirmationRequested.quantity""",
    "size or zero": "QuoteTicked.bid_size QuoteTicked.ask_size BarClosed.volume OrderFilled.leaves_quantity",
    "notional": "ConfirmationRequested.notional",
    "amount": """
        VerdictGiven.cost_usd VerdictFailed.cost_usd ModelCallStarted.worst_cost_usd ModelCallEnded.cost_usd
        Clamp.before Clamp.after PositionChanged.average_price
        EquityMarked.gross_exposure""",
    "above zero": """
        BarClosed.interval_ns SentimentMeasured.interval_ns VerdictGiven.horizon_ms OutcomeMeasured.horizon_ms
        ModelCallStarted.attempt Vote.weight""",
    "not negative": """
        TweetPosted.followers TweetPosted.retweets SentimentMeasured.tweets SentimentMeasured.news
        VerdictGiven.prompt_tokens VerdictGiven.reply_tokens VerdictGiven.latency_ms VerdictFailed.latency_ms
        VerdictFailed.prompt_tokens VerdictFailed.reply_tokens ModelCallEnded.prompt_tokens ModelCallEnded.reply_tokens
        ModelCallEnded.latency_ms
        ConsensusReached.agree ConsensusReached.of RegimeAssessed.volatility PricePart.atr PricePart.volatility
        PricePart.bars PricePart.text_count NewsFlagged.score JournalProcessed.orders JournalProcessed.requests""",
    "not positive": "PricePart.drawdown",
    "0 to 1": """
        VerdictGiven.confidence VerdictGiven.size_hint ConsensusReached.confidence ConsensusReached.size_hint
        Vote.confidence QuestionScreened.confidence TradeProposed.conviction OutcomeMeasured.confidence
        SentimentMeasured.positive_share
        SentimentMeasured.negative_share""",
    "-1 to 1": "NewsVetted.sentiment SentimentMeasured.mean_score TextPart.sentiment PricePart.text_sentiment",
    "0 to 100": "PricePart.rsi",
    "time": "VerdictRequested.deadline_at ConfirmationRequested.expires_at PricePart.observed_at TextPart.observed_at",
    "time or zero": "NewsFlagged.expires_at OrderRequested.expires_at BreakerTripped.until JournalProcessed.due",
    "any": """
        NewsFlagged.move_pct BreakerTripped.limit BreakerTripped.value OutcomeMeasured.return_pct
        PricePart.return_since_ask PricePart.ema_fast PricePart.ema_slow""",
    "money": """
        OrderFilled.fee Clamp.value
        PositionChanged.quantity PositionChanged.realised_pnl PositionChanged.fee PositionChanged.cash
        PositionChanged.total_realised_pnl PositionChanged.total_fees
        EquityMarked.equity EquityMarked.cash EquityMarked.unrealised_pnl EquityMarked.realised_pnl
        EquityMarked.fees""",
}
BAD_NUMBERS = {
    "price": ("0", "-0.5", "-1", "1E-19", "1E-300", "10000000000000"),
    "price paid": ("0", "-0.5", "-1", "1E-21", "1E-300", "100000000000000"),
    "level": ("0", "-0.5", "-1", "1E-37", "1E-300", f"1{25 * '0'}"),
    "size": ("0", "-0.5", "-1", "1E-19", "1E-300", "10000000000000000000"),
    "size or zero": ("-0.5", "-1", "-0.0001", "10000000000000000000"),
    "notional": ("0", "-0.5", "-1", "1E-37", f"1{32 * '0'}"),
    "amount": ("-0.5", "-1", "-0.0001", f"1{32 * '0'}"),
    "money": (f"1{32 * '0'}", f"-1{32 * '0'}"),
    "above zero": ("0", "-0.5", "-1"),
    "not negative": ("-0.5", "-1", "-0.0001"),
    "not positive": ("0.5", "1"),
    "0 to 1": ("-0.01", "1.01", "-1", "2"),
    "-1 to 1": ("-1.01", "1.01", "-2", "2"),
    "0 to 100": ("-0.01", "100.01"),
    "time": ("0", "-1", "1700000000", "1700000000000", "1700000000000000", "4102444800000000000"),
    "time or zero": ("-1", "1", "1700000000", "1700000000000", "1700000000000000", "4102444800000000000"),
    "any": (),
}
GOOD_NUMBERS = {
    "price": ("1", "0.00000001", "1E-12", "1E-18", "10000000", "1000000000000"),
    "price paid": ("1", "0.00000001", "1E-18", "1E-20", "10000000000000"),
    "level": ("1", "0.00000001", "1E-36", f"1{24 * '0'}"),
    "size": ("1", "0.00000001", "1E-18", "1000000000000000000"),
    "size or zero": ("0", "1", "0.00000001", "1000000000000000000"),
    "notional": ("1", "0.01", "1E-36", f"1{31 * '0'}"),
    "amount": ("0", "0.01", f"1{31 * '0'}"),
    "money": ("0", "-0.01", f"1{31 * '0'}", f"-1{31 * '0'}"),
    "above zero": ("1",),
    "not negative": ("0", "1"),
    "not positive": ("0", "-1"),
    "0 to 1": ("0", "0.5", "1"),
    "-1 to 1": ("-1", "0", "1"),
    "0 to 100": ("0", "100"),
    "time": ("1700000000000000000", "31536000000000001", "4102444799999999999"),
    "time or zero": ("0", "1700000000000000000"),
    "any": ("0", "1", "-1"),
}
LINES = {
    20_000: """
        TweetPosted.text NewsPublished.text VerdictGiven.reasoning ModelCallEnded.reply AlertRaised.text
        ProcessingFailed.error
        InstructionPart.text TextPart.text""",
    2_000: """
        TweetPosted.url NewsPublished.title NewsPublished.url VerdictGiven.risk_note VerdictFailed.detail
        ModelCallEnded.detail
        OrderRejected.reason OrderCanceled.reason CancelRequested.reason BookPaused.reason BookResumed.reason
        TradeDeclined.reason KillSwitchPulled.reason NewsFlagged.claim NewsFlagged.excerpt TradeProposed.reason
        TradeRejected.reason TextAccepted.reason TextRejected.reason RecordRefused.reason""",
}
"""Texts that may hold line breaks, by their limit; every other text is a name of one line."""
NAME_CHARS = 512
MAY_BE_EMPTY = """
    TweetPosted.author TweetPosted.url NewsPublished.source NewsPublished.text NewsPublished.url
    VerdictGiven.parameters_sha256 VerdictGiven.model_version VerdictGiven.repeats VerdictFailed.parameters_sha256
    VerdictFailed.repeats ModelCallEnded.detail ModelCallEnded.reply ModelCallEnded.reply_sha256
    ModelCallEnded.model_version
    VerdictGiven.reasoning VerdictGiven.risk_note VerdictGiven.prompt_sha256 VerdictGiven.reply_sha256
    VerdictFailed.detail VerdictFailed.prompt_sha256 OrderAccepted.venue_order OrderRejected.reason
    OrderCanceled.reason CancelRequested.reason BookPaused.reason BookResumed.reason TradeDeclined.reason
    KillSwitchPulled.reason NewsVetted.source NewsDiscarded.source NewsFlagged.source NewsFlagged.claim
    NewsVetted.text NewsDiscarded.text NewsFlagged.excerpt TextAccepted.reason TextRejected.reason Vote.verdict
    Vote.failure TradeProposed.reason TradeProposed.consensus TradeRejected.reason
    TradeRejected.limit TradeRejected.limit_value TradeRejected.value AlertRaised.text ProcessingFailed.error
    RecordRefused.reason InstructionPart.text TextPart.source TextPart.text"""


def fields_of(*kinds: type) -> list[str]:
    """`Record.field` of every own field whose golden value is of one of the types."""
    found = []
    for name, record in RECORDS.items():
        shared = set(Event.__struct_fields__) if issubclass(record, Event) else set()
        sample = part_of(record)
        own = [field for field in record.__struct_fields__ if field not in shared]
        found += [f"{name}.{field}" for field in own if type(getattr(sample, field)) in kinds]
    return found


def part_of(kind: type[Record]) -> Record:
    if kind in PARTS:
        event, field, index = PARTS[kind]
        part = getattr(full(event), field)[index]
        assert type(part) is kind
        return part
    assert issubclass(kind, Event)
    return full(kind)


def changed(place: str, value: object) -> tuple[Event, str]:
    """The golden event in which the field has another value, and where a refusal must point."""
    name, field = place.split(".")
    record = RECORDS[name]
    part = msgspec.structs.replace(part_of(record), **{field: value})
    if isinstance(part, Event):
        return part, field
    kind, holder, index = PARTS[record]
    parts = list(getattr(full(kind), holder))
    parts[index] = part
    return msgspec.structs.replace(full(kind), **{holder: tuple(parts)}), f"{holder}[{index}].{field}"


def as_kind_of(place: str, number: str) -> float | Decimal | None:
    """The number in the field's own type; None where that type can't hold it."""
    name, field = place.split(".")
    kind = type(getattr(part_of(RECORDS[name]), field))
    if kind is int:
        return int(number) if "." not in number else None
    return kind(number)  # type: ignore[no-any-return]


def is_word(place: str) -> bool:
    """Whether the field takes one of a list of words."""
    name, field = place.split(".")
    info = cast("inspect.StructType", inspect.type_info(RECORDS[name]))
    return any(found.name == field and isinstance(found.type, inspect.LiteralType) for found in info.fields)


CASES = [(place, rule) for rule, places in NUMBERS.items() for place in places.split()]
WORDS = [place for place in fields_of(str) if is_word(place)]
TEXTS = [place for place in fields_of(str) if not is_word(place)]
LIMITS = {place: limit for limit, places in LINES.items() for place in places.split()}
