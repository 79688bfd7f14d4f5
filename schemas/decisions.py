"""What the core concluded on the way from text and price to an order, each step with its reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from schemas.base import Event, Record
from schemas.execution import Side
from schemas.fields import (
    FEW,
    Amount,
    Count,
    DecimalLevel,
    DecimalPrice,
    DecimalSize,
    Label,
    Level,
    Name,
    NonNegativeFloat,
    Note,
    Notional,
    PositiveInt,
    Price,
    Score,
    Share,
    Time,
    TimeOrZero,
)
from schemas.verdicts import Action

Mode = Literal["consensus", "override", "advisory"]
Target = Literal["long", "short", "flat"]


class NewsVetted(Event, frozen=True, kw_only=True):
    """A text passed the checks and may be shown to models. `cause` is the text's event, or what released it later."""

    source: Label
    sentiment: Score
    text: Label = ""
    """Id of the text where it is not the cause: it was flagged, and a person or a second source let it pass."""


class NewsDiscarded(Event, frozen=True, kw_only=True):
    """A text was dropped, and why. `cause` is the text's event, or the person's command."""

    source: Label
    reason: Literal["unknown_source", "duplicate", "stale", "empty", "disguised", "rejected"]
    """Disguised: the source's name looks like one that is known, and is another. Rejected: by a person."""
    text: Label = ""
    """Id of the text where it is not the cause."""


class NewsFlagged(Event, frozen=True, kw_only=True):
    """A text is kept from models until a person or a second source lets it pass. `cause` is the text's event."""

    source: Label
    reason: Literal["no_price_move", "injection", "uncorroborated"]
    """It claims what prices do not show; it reads like an order to a model; no second source claims the like."""
    claim: Note
    """The words that made the claim, the kinds of claims, or the rules of the screen that it met."""
    move_pct: float
    """Price move over the window in which the claim should have shown; 0 where it was not held against prices."""
    score: Count = 0
    """Of the screen for injections."""
    excerpt: Note = ""
    """How the text begins, for the person who decides."""
    expires_at: TimeOrZero = 0
    """Until when it waits for a person or a second source; 0 is not at all."""


class Vote(Record, frozen=True, kw_only=True):
    """One model's part in a question: its verdict, or why there is none (then the action is HOLD).

    HOLD with a confidence of 0 is an abstention: the model had nothing to go by, and agrees with nobody.
    """

    model: Name
    action: Action
    confidence: Share
    verdict: Label
    """Id of the `VerdictGiven` or `VerdictFailed`; empty where none came before the deadline."""
    failure: Label = ""
    weight: PositiveInt | None = None
    """In thousandths of an equal vote; none where every vote weighs the same."""


class ConsensusReached(Event, frozen=True, kw_only=True):
    """Enough models agree. HOLD is a consensus too."""

    instrument: Name
    question: Name
    action: Action
    confidence: Share
    """Mean confidence of the models that agree, each by its vote's weight."""
    agree: Count
    of: Count
    votes: Annotated[tuple[Vote, ...], FEW]
    fallback: bool = False
    """True where the fallback model alone answered in time."""
    size_hint: Share | None = None
    stop_price: Price | None = None
    target_price: Price | None = None


class ConsensusFailed(Event, frozen=True, kw_only=True):
    """Too few models agree, or too few answered: no signal, which means HOLD."""

    instrument: Name
    question: Name
    reason: Literal["disagreement", "no_quorum", "abstained"]
    """No quorum: too few models gave a usable answer in time. Abstained: all answered, too few took a side."""
    votes: Annotated[tuple[Vote, ...], FEW]


class QuestionScreened(Event, frozen=True, kw_only=True):
    """A cheap model saw nothing to do, so the others were not asked: no vote, and no signal. `cause` is its verdict."""

    instrument: Name
    question: Name
    model: Name
    """The screen: it held, or abstained."""
    confidence: Share
    """0 where it abstained."""
    spared: Annotated[tuple[Name, ...], FEW]
    """The models that were not asked."""


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
    price: Price
    """The market's price at the time of the proposal."""
    reason: Note
    consensus: Label = ""
    stop_price: Level | None = None
    target_price: Level | None = None


class Clamp(Record, frozen=True, kw_only=True):
    """One limit's effect on the size: notional before and after, in the book's currency."""

    limit: Name
    value: Decimal
    before: Amount
    after: Amount


class TradeApproved(Event, frozen=True, kw_only=True):
    """Risk allows a trade of this size; every limit that cut it is named.

    `cause` is the proposal or the confirmation.
    """

    instrument: Name
    proposal: Name
    side: Side
    quantity: DecimalSize
    price: DecimalPrice
    reduce_only: bool
    """True where the trade only closes what is open."""
    clamps: Annotated[tuple[Clamp, ...], FEW] = ()
    stop_price: DecimalLevel | None = None
    target_price: DecimalLevel | None = None


class TradeRejected(Event, frozen=True, kw_only=True):
    """Risk refuses a proposal, names the limit and the value that broke it."""

    instrument: Name
    proposal: Name
    reason: Note
    limit: Label = ""
    limit_value: Label = ""
    value: Label = ""


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
    quantity: DecimalSize
    notional: Notional
    expires_at: Time
