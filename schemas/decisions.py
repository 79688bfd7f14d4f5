"""What the core concluded on the way from text and price to an order, each step with its reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from schemas.base import Event, Record
from schemas.execution import Side
from schemas.fields import (
    Count,
    Name,
    NonNegativeDecimal,
    NonNegativeFloat,
    Note,
    PositiveDecimal,
    PositiveFloat,
    Score,
    Share,
    Time,
    TimeOrZero,
)
from schemas.verdicts import Action

Mode = Literal["consensus", "override", "advisory"]
Target = Literal["long", "short", "flat"]


class NewsVetted(Event, frozen=True, kw_only=True):
    """A text passed the checks and may be shown to models. `cause` is the text's event."""

    source: str
    sentiment: Score


class NewsDiscarded(Event, frozen=True, kw_only=True):
    """A text was dropped, and why. `cause` is the text's event."""

    source: str
    reason: Literal["unknown_source", "duplicate", "stale", "empty"]


class NewsFlagged(Event, frozen=True, kw_only=True):
    """A text claims what prices do not show; it is kept from models. `cause` is the text's event."""

    source: str
    reason: Literal["no_price_move"]
    claim: Note
    """The words that made the claim."""
    move_pct: float
    """Price move over the window in which the claim should have shown."""


class Vote(Record, frozen=True, kw_only=True):
    """One model's part in a question: its verdict, or why there is none (then the action is HOLD).

    HOLD with a confidence of 0 is an abstention: the model had nothing to go by, and agrees with nobody.
    """

    model: Name
    action: Action
    confidence: Share
    verdict: str
    """Id of the `VerdictGiven` or `VerdictFailed`; empty where none came before the deadline."""
    failure: str = ""


class ConsensusReached(Event, frozen=True, kw_only=True):
    """Enough models agree. HOLD is a consensus too."""

    instrument: Name
    question: Name
    action: Action
    confidence: Share
    """Mean confidence of the models that agree."""
    agree: Count
    of: Count
    votes: tuple[Vote, ...]
    fallback: bool = False
    """True where the fallback model alone answered in time."""
    size_hint: Share | None = None
    stop_price: PositiveFloat | None = None
    target_price: PositiveFloat | None = None


class ConsensusFailed(Event, frozen=True, kw_only=True):
    """Too few models agree, or too few answered: no signal, which means HOLD."""

    instrument: Name
    question: Name
    reason: Literal["disagreement", "no_quorum", "abstained"]
    """No quorum: too few models gave a usable answer in time. Abstained: all answered, too few took a side."""
    votes: tuple[Vote, ...]


class RegimeAssessed(Event, frozen=True, kw_only=True):
    """The market's regime changed."""

    instrument: Name
    regime: Literal["calm", "trending", "turbulent"]
    volatility: NonNegativeFloat


class TradeProposed(Event, frozen=True, kw_only=True):
    """The strategy wants a position. `reason` says it in words; `consensus` names the signal behind it."""

    instrument: Name
    mode: Mode
    target: Target
    conviction: Share
    """0 to 1; scales the size."""
    price: PositiveFloat
    """The market's price at the time of the proposal."""
    reason: Note
    consensus: str = ""
    stop_price: PositiveFloat | None = None
    target_price: PositiveFloat | None = None


class Clamp(Record, frozen=True, kw_only=True):
    """One limit's effect on the size: notional before and after, in the book's currency."""

    limit: Name
    value: Decimal
    before: NonNegativeDecimal
    after: NonNegativeDecimal


class TradeApproved(Event, frozen=True, kw_only=True):
    """Risk allows a trade of this size; every limit that cut it is named.

    `cause` is the proposal or the confirmation.
    """

    instrument: Name
    proposal: Name
    side: Side
    quantity: PositiveDecimal
    price: PositiveDecimal
    reduce_only: bool
    """True where the trade only closes what is open."""
    clamps: tuple[Clamp, ...] = ()
    stop_price: PositiveDecimal | None = None
    target_price: PositiveDecimal | None = None


class TradeRejected(Event, frozen=True, kw_only=True):
    """Risk refuses a proposal, names the limit and the value that broke it."""

    instrument: Name
    proposal: Name
    reason: Note
    limit: str = ""
    limit_value: str = ""
    value: str = ""


class BreakerTripped(Event, frozen=True, kw_only=True):
    """A circuit breaker opened: no new risk until `until`.

    `key` is the book, or the instrument that it halts.
    """

    rule: Literal["drawdown", "daily_loss", "losing_streak", "flash_move", "model_outage"]
    limit: float
    value: float
    until: TimeOrZero
    """Time in ns at which it resets by itself; 0 means that only an operator resets it."""


class BreakerReset(Event, frozen=True, kw_only=True):
    """A circuit breaker closed again."""

    rule: Literal["drawdown", "daily_loss", "losing_streak", "flash_move", "model_outage"]
    reason: Literal["cooldown", "new_day", "operator"]


class ConfirmationRequested(Event, frozen=True, kw_only=True):
    """The trade is larger than the book trades alone: a person must confirm it before `expires_at`."""

    instrument: Name
    proposal: Name
    side: Side
    quantity: PositiveDecimal
    notional: PositiveDecimal
    expires_at: Time
