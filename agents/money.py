"""Exact money: decimals in a context of our own, never the thread's, so that no embedding program changes a cent."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal

from msgspec.json import encode

CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN)
"""34 digits, as IEEE 754 decimal128: a fill's notional is exact, only averages are rounded."""
_CUTTING = Context(prec=34, rounding=ROUND_DOWN)
ZERO = Decimal(0)
ONE = Decimal(1)
CENT = Decimal("0.01")
COST_STEP = Decimal("1E-10")
_HUNDRED = Decimal(100)
_normalize, _nearest, _cut = CONTEXT.normalize, CONTEXT.to_integral_value, _CUTTING.to_integral_value

add, subtract, multiply, divide, remainder = (
    CONTEXT.add,
    CONTEXT.subtract,
    CONTEXT.multiply,
    CONTEXT.divide,
    CONTEXT.remainder,
)
negative, magnitude, quantize = CONTEXT.minus, CONTEXT.abs, CONTEXT.quantize
"""The arithmetic of CONTEXT, bound once: so it costs half of what it costs by way of CONTEXT."""


def plain(value: Decimal) -> Decimal:
    """Give the one way to write this number: no trailing zeros, no exponent above zero."""
    if not value:
        return ZERO
    normal = _normalize(value)
    return quantize(normal, ONE) if "E+" in str(normal) else normal


def exact(value: float) -> Decimal:
    """Give the decimal that prints as this float does; 0.1 is 0.1."""
    return Decimal(encode(value).decode())  # the digits of repr, for a third of its cost


def to_step(value: Decimal, step: Decimal) -> Decimal:
    """Round to the nearest multiple of `step`, half to even."""
    return multiply(_nearest(divide(value, step)), step)


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Cut towards zero to a multiple of `step`."""
    return multiply(_cut(divide(value, step)), step)


def to_cent(value: Decimal) -> Decimal:
    """Round an amount for display in a decision; never used in the accounts themselves."""
    return plain(quantize(value, CENT))


def percent_of(value: Decimal, percent: Decimal) -> Decimal:
    """Give `percent` of a value."""
    return divide(multiply(value, percent), _HUNDRED)
