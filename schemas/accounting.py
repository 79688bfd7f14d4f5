"""What the book holds and is worth, and how predictions turned out.

Money is exact decimals in the book's currency.
"""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Event
from schemas.fields import Amount, Name, PositiveInt, Share
from schemas.verdicts import Action

VOTE_NAME = "consensus"
"""What an outcome calls the vote as a whole, where it names a model."""


class PositionChanged(Event, frozen=True, kw_only=True):
    """A fill changed a position. `cause` is the fill. Quantity is signed: negative is short."""

    instrument: Name
    order: Name
    """Id of the order that was filled."""
    quantity: Decimal
    average_price: Amount
    """Average cost of what is open; 0 when flat."""
    realised_pnl: Decimal
    """Realised by this fill, before its fee."""
    fee: Decimal
    cash: Decimal
    total_realised_pnl: Decimal
    """Of the whole book since its start, before fees."""
    total_fees: Decimal


class EquityMarked(Event, frozen=True, kw_only=True):
    """A sample of the book's worth at current prices."""

    equity: Decimal
    cash: Decimal
    unrealised_pnl: Decimal
    realised_pnl: Decimal
    fees: Decimal
    gross_exposure: Amount
    """Sum of the absolute notional of all positions."""


class OutcomeMeasured(Event, frozen=True, kw_only=True):
    """What came after a prediction. `cause` is the clock that ended the horizon."""

    instrument: Name
    prediction: Name
    """Id of the `VerdictGiven` or `ConsensusReached`."""
    model: Name
    """`consensus` for the vote as a whole."""
    action: Action
    confidence: Share
    horizon_ms: PositiveInt
    """From the prediction to this measure."""
    return_pct: float
    """Of the instrument's price over that time, costs left aside."""
    correct: bool
    """The price rose after a BUY, or fell after a SELL."""
