"""Decimals that print one way and round one way, whatever context the program around them has set."""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.money import (
    CENT,
    add,
    divide,
    exact,
    floor_to_step,
    magnitude,
    multiply,
    negative,
    percent_of,
    plain,
    quantize,
    remainder,
    subtract,
    to_cent,
    to_step,
)

amounts = st.decimals(-(10**12), 10**12, places=8, allow_nan=False)
steps = st.sampled_from([Decimal(s) for s in ("0.00000001", "0.001", "0.01", "0.25", "1", "5", "0.3", "7")])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("1.500", "1.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("-0.0", "0"),
        ("0E-10", "0"),
        ("-2.50", "-2.5"),
        ("1E-7", "1E-7"),
    ],
)
def test_a_number_is_written_one_way(value: str, written: str) -> None:
    assert str(plain(Decimal(value))) == written


@given(amounts)
def test_writing_changes_no_value(value: Decimal) -> None:
    assert plain(value) == value
    assert str(plain(plain(value))) == str(plain(value))
    assert str(plain(value * Decimal("1.000"))) == str(plain(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_becomes_the_decimal_that_it_prints_as(value: float) -> None:
    assert float(exact(value)) == value
    assert exact(value) == Decimal(str(value))


def test_a_tenth_is_a_tenth() -> None:
    assert exact(0.1) == Decimal("0.1")


@given(amounts, steps)
def test_steps_are_met_and_the_nearest_or_the_one_towards_zero_is_taken(value: Decimal, step: Decimal) -> None:
    nearest, floor = Fraction(to_step(value, step)), Fraction(floor_to_step(value, step))
    size = Fraction(step)
    assert nearest % size == floor % size == 0
    assert abs(nearest - Fraction(value)) * 2 <= size
    assert 0 <= abs(Fraction(value)) - abs(floor) < size
    assert floor == 0 or (floor > 0) == (value > 0)


@pytest.mark.parametrize(("value", "nearest"), [("0.5", "0"), ("1.5", "2"), ("2.5", "2"), ("-0.5", "0"), ("2.51", "3")])
def test_half_a_step_goes_to_the_even_one(value: str, nearest: str) -> None:
    assert to_step(Decimal(value), Decimal(1)) == Decimal(nearest)


@given(amounts, st.floats(0, 1000))
def test_a_percentage_is_what_it_says(value: Decimal, percent: float) -> None:
    expected = Fraction(value) * Fraction(exact(percent)) / 100
    assert abs(Fraction(percent_of(value, exact(percent))) - expected) <= abs(expected) / 10**33


@given(amounts)
def test_a_cent_is_the_least_that_is_shown(value: Decimal) -> None:
    shown = to_cent(value)
    assert shown * 100 == int(shown * 100)
    assert abs(shown - value) <= Decimal("0.005")


@given(amounts, steps, st.floats(0, 200))
def test_no_context_of_the_program_around_changes_a_digit(value: Decimal, step: Decimal, percent: float) -> None:
    def all_of_it() -> list[str]:
        results = (
            plain(value),
            to_step(value, step),
            floor_to_step(value, step),
            to_cent(value),
            percent_of(value, exact(percent)),
            add(value, step),
            subtract(value, step),
            multiply(value, step),
            divide(value, step),
            remainder(value, step),
            negative(value),
            magnitude(value),
            quantize(value, CENT),
        )
        return [str(result) for result in (*results, exact(percent))]

    usual = all_of_it()
    with localcontext(Context(prec=3, rounding=ROUND_UP)):
        assert all_of_it() == usual
