"""When a model may be called: its rate, its provider's circuit, and what a book says of both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.book import Book, Instrument, ModelSettings
from streams.limits import FAILURES_IN_A_ROW, FEWEST, OPEN_NS, WINDOW_NS, Circuit, Rate, endpoint_of, terms_of

T0 = 1_700_000_000 * NS_PER_S


@given(st.integers(1, 5), st.lists(st.integers(0, 40), max_size=40))
def test_no_minute_holds_more_calls_than_the_rate(calls_per_min: int, pauses_s: list[int]) -> None:
    rate, now, made = Rate(calls_per_min), T0, []
    for pause_s in pauses_s:
        now += pause_s * NS_PER_S
        if rate.free_at() <= now:
            rate.called(now)
            made.append(now)
        else:
            in_the_minute = [at for at in made if at > now - NS_PER_MIN]
            assert len(in_the_minute) == calls_per_min, "it waits for nothing"
    for first in made:
        assert sum(first <= at < first + NS_PER_MIN for at in made) <= calls_per_min


def opened(at: int = T0) -> Circuit:
    circuit = Circuit("openai")
    for number in range(FAILURES_IN_A_ROW):
        circuit.ended(f"r{number}", False, at)
    return circuit


def test_failures_in_a_row_open_a_circuit_and_a_success_between_them_does_not() -> None:
    circuit = Circuit("openai")
    for number in range(3 * FAILURES_IN_A_ROW):
        worked = number % FAILURES_IN_A_ROW == FAILURES_IN_A_ROW - 1
        circuit.ended(f"r{number}", worked, T0 + number * WINDOW_NS)  # the share is of one call at a time
        assert circuit.state(T0 + number * WINDOW_NS) == "closed"
    assert opened().state(T0) == "open"
    assert opened().reason == f"{FAILURES_IN_A_ROW} calls in a row failed"


def test_a_share_of_failures_opens_a_circuit_once_there_are_calls_enough() -> None:
    circuit = Circuit("openai")
    for number in range(FEWEST - 1):
        circuit.ended(f"r{number}", number % 2 == 0, T0)
    assert circuit.admits(T0)
    circuit.ended("last", False, T0)
    assert not circuit.admits(T0)
    assert circuit.reason == f"{FEWEST // 2} of {FEWEST} calls in 60 s failed"


def test_failures_long_ago_do_not_count() -> None:
    circuit = Circuit("openai")
    for number in range(4 * FEWEST):
        circuit.ended(f"r{number}", number % 3 != 0, T0 + number * WINDOW_NS // 10)
        assert circuit.admits(T0 + number * WINDOW_NS // 10)


def test_one_call_tries_a_half_open_circuit_and_closes_it() -> None:
    circuit = opened()
    assert not circuit.admits(T0 + OPEN_NS - 1)
    now = T0 + OPEN_NS
    assert (circuit.state(now), circuit.admits(now)) == ("half_open", True)
    circuit.began("try", now)
    assert not circuit.admits(now)
    circuit.ended("late", True, now)  # under way since before it opened
    assert circuit.state(now) == "half_open"
    circuit.ended("try", True, now)
    assert (circuit.state(now), circuit.reason) == ("closed", "")
    circuit.ended("next", False, now)
    assert circuit.admits(now), "it begins anew"


def test_a_try_that_fails_opens_it_again_and_one_that_was_not_made_leaves_the_place_free() -> None:
    circuit, now = opened(), T0 + OPEN_NS
    circuit.began("unpaid", now)
    circuit.ended("unpaid", None, now)
    assert circuit.admits(now)
    circuit.began("try", now)
    circuit.ended("try", False, now)
    assert (circuit.state(now), circuit.state(now + OPEN_NS)) == ("open", "half_open")
    assert circuit.admits(now + OPEN_NS)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"kind": "bedrock", "region": "eu-west-1"}, "bedrock/eu-west-1"),
        ({"kind": "anthropic"}, "anthropic"),
        ({"kind": "openai", "endpoint": "https://me:SECRET@models.test:8000/v1?key=SECRET"}, "openai/models.test:8000"),
    ],
)
def test_an_endpoint_is_named_without_a_secret(settings: dict[str, str], name: str) -> None:
    assert endpoint_of(ModelSettings(model_id="m", **settings)) == name  # type: ignore[arg-type]


def test_models_at_one_endpoint_share_its_circuit_and_nothing_else() -> None:
    models = {
        "a": ModelSettings(kind="anthropic", model_id="a", max_concurrent=2, max_calls_per_min=3),
        "b": ModelSettings(kind="anthropic", model_id="b"),
        "c": ModelSettings(kind="openai", model_id="c"),
        "words": ModelSettings(kind="vader"),
    }
    terms = terms_of([Book(name="x", instruments=(Instrument(id="A@x"),), models=models)])
    assert set(terms) == {("x", "a"), ("x", "b"), ("x", "c")}
    a, b, c = (terms["x", name] for name in "abc")
    assert a.circuit is b.circuit is not c.circuit
    assert (a.max_concurrent, b.max_concurrent) == (2, 16)
    assert (a.rate and a.rate.calls_per_min, b.rate) == (3, None)
