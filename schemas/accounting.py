"""What the book holds and is worth, and how predictions turned out.

Money is exact decimals in the book's currency.
"""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Event
from schemas.verdicts import Action


class PositionChanged(Event, frozen=True, kw_only=True):
    """A fill changed a position. `cause` is the fill. Quantity is signed: negative is short."""

    instrument: str
    order: str
    """Id of the order that was filled."""
    quantity: Decimal
    average_price: Decimal
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
    gross_exposure: Decimal
    """Sum of the absolute notional of all positions."""


class OutcomeMeasured(Event, frozen=True, kw_only=True):
    """What came after a prediction. `cause` is the clock that ended the horizon."""

    instrument: str
    prediction: str
    """Id of the `VerdictGiven` or `ConsensusReached`."""
    model: str
    """`consensus` for the vote as a whole."""
    action: Action
    confidence: float
    horizon_ms: int
    return_pct: float
    correct: bool
