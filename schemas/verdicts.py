"""What models are asked, and what they answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from schemas.base import Event, Record

Action = Literal["BUY", "SELL", "HOLD"]
FailReason = Literal["timeout", "refused", "unparsable", "over_budget", "not_recorded", "unavailable"]


class InstructionPart(Record, frozen=True, kw_only=True, tag_field="part", tag="instruction"):
    """What the model is to do; written by us and versioned, never from outside."""

    text: str


class PricePart(Record, frozen=True, kw_only=True, tag_field="part", tag="price"):
    """The market as the features agent saw it when the question was put. Returns and moves are fractions."""

    cites: str
    """Id of the market event that these numbers reflect."""
    observed_at: int
    instrument: str
    close: float
    return_since_ask: float
    """Return since the last question on this instrument."""
    ema_fast: float
    ema_slow: float
    rsi: float
    atr: float
    volatility: float
    """Per-bar standard deviation of returns."""
    drawdown: float
    """Distance below the highest close seen, zero or negative."""
    bars: int
    text_count: int = 0
    """Vetted texts on this instrument within the window of the book's `text` section."""
    text_sentiment: float = 0.0
    """Their mean lexicon score, -1 to 1."""


class TextPart(Record, frozen=True, kw_only=True, tag_field="part", tag="text"):
    """One vetted text. Whatever it says, it is quoted material."""

    cites: str
    observed_at: int
    source: str
    text: str
    sentiment: float
    """Lexicon score of the features agent, -1 to 1."""


PromptPart = InstructionPart | PricePart | TextPart


class VerdictRequested(Event, frozen=True, kw_only=True):
    """Ask one model one question. All requests of a question share `question` and `prompt`."""

    question: str
    """Id shared by the requests that put the same question to several models."""
    instrument: str
    model: str
    prompt: tuple[PromptPart, ...]
    prompt_version: str
    prompt_sha256: str
    """Of the canonical encoding of `prompt`; with the model, the key of a recorded answer."""
    deadline_at: int
    trigger: Literal["cadence", "news"]


class VerdictGiven(Event, frozen=True, kw_only=True):
    """A model answered, and the answer fits the schema. `cause` is the request."""

    question: str
    instrument: str
    model: str
    action: Action
    confidence: float
    """0 to 1; 0 is an abstention."""
    size_hint: float | None = None
    """Share of the usual size that the model would take, 0 to 1."""
    stop_price: float | None = None
    target_price: float | None = None
    horizon_ms: int | None = None
    reasoning: str = ""
    key_factors: tuple[str, ...] = ()
    risk_note: str = ""
    prompt_sha256: str = ""
    reply_sha256: str = ""
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    latency_ms: int = 0


class VerdictFailed(Event, frozen=True, kw_only=True):
    """No usable answer came. It counts as HOLD, and says why. `cause` is the request."""

    question: str
    instrument: str
    model: str
    reason: FailReason
    detail: str = ""
    prompt_sha256: str = ""
    cost_usd: Decimal = Decimal(0)
    latency_ms: int = 0
