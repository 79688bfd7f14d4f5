"""Exact money: decimals in a context of our own, never the thread's, so that no embedding program changes a cent."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal

CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN)
"""34 digits, as IEEE 754 decimal128: a fill's notional is exact, only averages are rounded."""
ZERO = Decimal(0)
ONE = Decimal(1)
CENT = Decimal("0.01")
COST_STEP = Decimal("1E-10")
_HUNDRED = Decimal(100)


def plain(value: Decimal) -> Decimal:
    """Give the one way to write this number: no trailing zeros, no exponent above zero."""
    if not value:
        return ZERO
    normal = value.normalize(CONTEXT)
    return normal.quantize(ONE, context=CONTEXT) if "E+" in str(normal) else normal


def exact(value: float) -> Decimal:
    """Give the decimal that prints as this float does; 0.1 is 0.1."""
    return Decimal(repr(value))


def to_step(value: Decimal, step: Decimal) -> Decimal:
    """Round to the nearest multiple of `step`, half to even."""
    return CONTEXT.multiply(CONTEXT.divide(value, step).to_integral_value(ROUND_HALF_EVEN), step)


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Cut towards zero to a multiple of `step`."""
    return CONTEXT.multiply(CONTEXT.divide(value, step).to_integral_value(ROUND_DOWN), step)


def to_cent(value: Decimal) -> Decimal:
    """Round an amount for display in a decision; never used in the accounts themselves."""
    return plain(value.quantize(CENT, context=CONTEXT))


def percent_of(value: Decimal, percent: Decimal) -> Decimal:
    """Give `percent` of a value."""
    return CONTEXT.divide(CONTEXT.multiply(value, percent), _HUNDRED)
