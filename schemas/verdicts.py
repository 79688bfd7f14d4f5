"""What models are asked, what they answer, and what each call to one was and cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from schemas.base import Event, Record
from schemas.fields import (
    FEW,
    Amount,
    Count,
    Label,
    Name,
    NonNegativeFloat,
    NonPositiveFloat,
    Note,
    Percentage,
    PositiveInt,
    Price,
    Score,
    Share,
    Text,
    Time,
)

NOTHING = Decimal(0)
NEUTRAL = 0.0
Action = Literal["BUY", "SELL", "HOLD"]
FailReason = Literal["timeout", "refused", "unparsable", "over_budget", "not_recorded", "unavailable"]


class InstructionPart(Record, frozen=True, kw_only=True, tag_field="part", tag="instruction"):
    """What the model is to do; written by us and versioned, never from outside."""

    text: Text


class PricePart(Record, frozen=True, kw_only=True, tag_field="part", tag="price"):
    """The market as the features agent saw it when the question was put. Returns and moves are fractions."""

    cites: Name
    """Id of the market event that these numbers reflect."""
    observed_at: Time
    instrument: Name
    close: Price
    return_since_ask: float
    """Return since the last question on this instrument."""
    ema_fast: float
    ema_slow: float
    rsi: Percentage
    atr: NonNegativeFloat
    volatility: NonNegativeFloat
    """Per-bar standard deviation of returns."""
    drawdown: NonPositiveFloat
    """Distance below the highest close seen, zero or negative."""
    bars: Count
    text_count: Count = 0
    """Vetted texts on this instrument within the window of the book's `text` section."""
    text_sentiment: Score = NEUTRAL
    """Their mean lexicon score, -1 to 1."""

    def __post_init__(self) -> None:
        """Leave a zero off the wire however it was made: msgspec goes by identity."""
        if self.text_sentiment is not NEUTRAL and not self.text_sentiment:
            msgspec.structs.force_setattr(self, "text_sentiment", NEUTRAL)


class TextPart(Record, frozen=True, kw_only=True, tag_field="part", tag="text"):
    """One vetted text. Whatever it says, it is quoted material."""

    cites: Name
    observed_at: Time
    source: Label
    text: Text
    sentiment: Score
    """Lexicon score of the features agent, -1 to 1."""


PromptPart = InstructionPart | PricePart | TextPart


class VerdictRequested(Event, frozen=True, kw_only=True):
    """Ask one model one question. All requests of a question share `question` and `prompt`."""

    question: Name
    """Id shared by the requests that put the same question to several models."""
    instrument: Name
    model: Name
    prompt: Annotated[tuple[PromptPart, ...], FEW]
    prompt_version: Name
    prompt_sha256: Name
    """Of the canonical encoding of `prompt`; with the model, the key of a recorded answer."""
    deadline_at: Time
    trigger: Literal["cadence", "news"]


class VerdictGiven(Event, frozen=True, kw_only=True):
    """A model answered, and the answer fits the schema. `cause` is the request."""

    question: Name
    instrument: Name
    model: Name
    action: Action
    confidence: Share
    """0 to 1; 0 is an abstention."""
    size_hint: Share | None = None
    """Share of the usual size that the model would take, 0 to 1."""
    stop_price: Price | None = None
    target_price: Price | None = None
    horizon_ms: PositiveInt | None = None
    reasoning: Text = ""
    key_factors: Annotated[tuple[Note, ...], FEW] = ()
    risk_note: Note = ""
    prompt_sha256: Label = ""
    reply_sha256: Label = ""
    parameters_sha256: Label = ""
    """Of all that steers the model besides the prompt; with model and prompt, the key of a recorded answer. Empty of a
    voter without a network."""
    model_version: Label = ""
    """What the provider says has answered."""
    repeats: Label = ""
    """Id of the recorded verdict that this one repeats, without a call."""
    prompt_tokens: Count = 0
    reply_tokens: Count = 0
    cost_usd: Amount = NOTHING
    latency_ms: Count = 0

    def __post_init__(self) -> None:
        """Leave a zero off the wire however it was made: msgspec goes by identity."""
        if self.cost_usd is not NOTHING and not self.cost_usd:
            msgspec.structs.force_setattr(self, "cost_usd", NOTHING)


class VerdictFailed(Event, frozen=True, kw_only=True):
    """No usable answer came. It counts as HOLD, and says why. `cause` is the request."""

    question: Name
    instrument: Name
    model: Name
    reason: FailReason
    detail: Note = ""
    prompt_sha256: Label = ""
    parameters_sha256: Label = ""
    repeats: Label = ""
    prompt_tokens: Count = 0
    reply_tokens: Count = 0
    cost_usd: Amount = NOTHING
    latency_ms: Count = 0

    def __post_init__(self) -> None:
        """Leave a zero off the wire however it was made: msgspec goes by identity."""
        if self.cost_usd is not NOTHING and not self.cost_usd:
            msgspec.structs.force_setattr(self, "cost_usd", NOTHING)


class ModelCallStarted(Event, frozen=True, kw_only=True):
    """A model is about to be called: from here on it may cost as much as `worst_cost_usd`. `cause` is the request."""

    model: Name
    provider: Name
    model_id: Name
    """What the provider calls it."""
    attempt: PositiveInt
    """Of this request: 2 is the one retry of an answer that did not fit, or of a call that may safely be made again."""
    prompt_sha256: Name
    parameters_sha256: Name
    sent_sha256: Name
    """Of what was sent: the prompt as the model reads it."""
    worst_cost_usd: Amount


class ModelCallEnded(Event, frozen=True, kw_only=True):
    """What came of a call. `cause` is its `ModelCallStarted`; one that has no end has cost its worst."""

    model: Name
    request: Name
    """Id of the `VerdictRequested`."""
    outcome: Literal["answered", "unparsable", "refused", "throttled", "timeout", "unavailable"]
    detail: Note = ""
    reply: Text = ""
    """What the model said, as it said it, cut to the bounds of a text."""
    reply_sha256: Label = ""
    """Of the whole of it."""
    model_version: Label = ""
    prompt_tokens: Count = 0
    reply_tokens: Count = 0
    cost_usd: Amount = NOTHING
    latency_ms: Count = 0

    def __post_init__(self) -> None:
        """Leave a zero off the wire however it was made: msgspec goes by identity."""
        if self.cost_usd is not NOTHING and not self.cost_usd:
            msgspec.structs.force_setattr(self, "cost_usd", NOTHING)
