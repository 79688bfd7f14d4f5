"""The purse: no cap is passed, whatever happens in which order, and each alert is told once."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.models.purse import NS_PER_HOUR, BudgetPurse, CapAlert, Hold, OverBudgetError
from schemas.base import NS_PER_DAY
from schemas.book import BudgetSettings, Caps
from schemas.verdicts import ModelCallEnded, ModelCallStarted

D = Decimal
T0 = 1_700_006_400 * 1_000_000_000 // NS_PER_DAY * NS_PER_DAY
CENTS = st.integers(0, 400).map(lambda cents: D(cents) / 100)


def started(id: str, worst: str, at: int = T0, model: str = "m") -> ModelCallStarted:
    return ModelCallStarted(
        id=id,
        key="b",
        occurred_at=at,
        observed_at=at,
        book="b",
        cause="r",
        model=model,
        provider="openai",
        model_id="x",
        attempt=1,
        prompt_sha256="p",
        parameters_sha256="q",
        sent_sha256="s",
        worst_cost_usd=D(worst),
    )


def ended(start: str, cost: str, at: int = T0, model: str = "m") -> ModelCallEnded:
    return ModelCallEnded(
        id=f"{start}/end",
        key="b",
        occurred_at=at,
        observed_at=at,
        book="b",
        cause=start,
        model=model,
        request="r",
        outcome="answered",
        cost_usd=D(cost),
    )


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (BudgetSettings(per_call_usd=D(1)), "all models per call is $1"),
        (BudgetSettings(per_hour_usd=D(1)), "all models per hour, $1, $0 are spent"),
        (BudgetSettings(per_day_usd=D(1)), "all models per day"),
        (BudgetSettings(per_run_usd=D(1)), "all models per run"),
        (BudgetSettings(models={"m": Caps(per_run_usd=D(1))}), "model 'm' per run"),
    ],
)
def test_a_call_that_could_pass_a_cap_is_refused_and_the_cap_is_named(budget: BudgetSettings, says: str) -> None:
    purse = BudgetPurse(budget)
    with pytest.raises(OverBudgetError, match="may cost") as refused:
        purse.reserve("m", D("1.01"), T0)
    assert says in str(refused.value)
    assert purse.reserve("m", D(1), T0)  # the refused call has left nothing behind


def test_a_cap_of_one_model_binds_no_other() -> None:
    purse = BudgetPurse(BudgetSettings(per_day_usd=None, models={"m": Caps(per_run_usd=D(1))}))
    assert purse.reserve("other", D(100), T0)


def test_a_day_has_a_cap_unless_a_book_says_that_there_is_none() -> None:
    with pytest.raises(OverBudgetError, match=r"all models per day, \$10"):
        BudgetPurse(BudgetSettings()).reserve("m", D("10.01"), T0)


@pytest.mark.parametrize(
    ("budget", "ns"),
    [(BudgetSettings(per_hour_usd=D(1)), NS_PER_HOUR), (BudgetSettings(per_day_usd=D(1)), NS_PER_DAY)],
)
def test_an_hour_and_a_day_begin_anew_by_the_clock(budget: BudgetSettings, ns: int) -> None:
    purse = BudgetPurse(budget)
    purse.settle(purse.reserve("m", D(1), T0 + ns - 1), D(1))
    with pytest.raises(OverBudgetError):
        purse.reserve("m", D("0.01"), T0)
    assert purse.reserve("m", D(1), T0 + ns)


def test_a_call_belongs_to_the_hour_in_which_it_began_however_late_it_ends() -> None:
    purse = BudgetPurse(BudgetSettings(per_hour_usd=D(1)))
    old = purse.reserve("m", D(1), T0)
    for hour in range(1, 6):
        purse.settle(purse.reserve("m", D(1), T0 + hour * NS_PER_HOUR), D(1))
    purse.settle(old, D("0.25"))
    with pytest.raises(OverBudgetError):
        purse.reserve("m", D("0.76"), T0)


def test_what_is_under_way_counts_at_its_worst_until_it_is_settled() -> None:
    purse = BudgetPurse(BudgetSettings(per_run_usd=D(1)))
    hold = purse.reserve("m", D("0.60"), T0)
    assert purse.spent() == D("0.60")
    with pytest.raises(OverBudgetError, match=r"\$0.6 under way"):
        purse.reserve("m", D("0.60"), T0)
    purse.settle(hold, D("0.10"))
    assert purse.spent() == purse.spent("m") == D("0.10")
    assert purse.reserve("m", D("0.60"), T0)


def test_a_hold_is_settled_once_and_only_by_the_purse_that_gave_it() -> None:
    purse = BudgetPurse(BudgetSettings())
    hold = purse.reserve("m", D(1), T0)
    with pytest.raises(ValueError, match="another purse"):
        purse.settle(Hold(hold.number, "m", D(2), T0), D(0))
    purse.settle(hold, D(0))
    with pytest.raises(ValueError, match="settled before"):
        purse.settle(hold, D(0))


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "Infinity"])
def test_what_is_no_amount_is_never_set_aside(amount: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        BudgetPurse(BudgetSettings()).reserve("m", D(amount), T0)


def test_thousand_thousandths_are_one() -> None:
    purse = BudgetPurse(BudgetSettings(per_run_usd=D(1)))
    for _ in range(1000):
        purse.settle(purse.reserve("m", D("0.001"), T0), D("0.001"))
    with pytest.raises(OverBudgetError):
        purse.reserve("m", D("0.000000000000000001"), T0)


class TestAlerts:
    def test_each_cap_tells_once_at_80_percent_and_once_when_it_is_reached(self) -> None:
        told: list[CapAlert] = []
        purse = BudgetPurse(BudgetSettings(per_run_usd=D(1), models={"m": Caps(per_run_usd=D(2))}), told.append)
        for _ in range(10):
            purse.settle(purse.reserve("m", D("0.1"), T0), D("0.1"))
        for _ in range(5):
            with pytest.raises(OverBudgetError):
                purse.reserve("m", D("0.1"), T0)
        assert [(alert.model, alert.span, alert.reached, alert.spent_usd) for alert in told] == [
            ("", "run", False, D("0.8")),
            ("", "run", True, D("1.0")),
        ]
        assert "all models per run, $1, is spent to $0.8" in told[0].text
        assert "is reached" in told[1].text

    def test_a_new_hour_tells_anew(self) -> None:
        told: list[CapAlert] = []
        purse = BudgetPurse(BudgetSettings(per_hour_usd=D(1)), told.append)
        for hour in range(3):
            purse.settle(purse.reserve("m", D("0.9"), T0 + hour * NS_PER_HOUR), D("0.9"))
        assert [alert.at for alert in told] == [T0, T0 + NS_PER_HOUR, T0 + 2 * NS_PER_HOUR]

    def test_a_refused_call_tells_of_its_cap_even_where_little_is_spent(self) -> None:
        told: list[CapAlert] = []
        purse = BudgetPurse(BudgetSettings(per_call_usd=D(1)), told.append)
        for _ in range(2):
            with pytest.raises(OverBudgetError):
                purse.reserve("m", D(2), T0)
        assert [(alert.span, alert.reached) for alert in told] == [("call", True)]
        assert "has stopped a call" in told[0].text

    def test_the_one_who_is_told_may_use_the_purse(self) -> None:
        seen: list[Decimal] = []
        purse = BudgetPurse(BudgetSettings(per_run_usd=D(1)), lambda _: seen.append(purse.spent()))
        purse.settle(purse.reserve("m", D(1), T0), D(1))
        assert seen == [D(1), D(1)]


class TestRebuilding:
    def test_a_start_without_an_end_has_cost_its_worst(self) -> None:
        purse = BudgetPurse(BudgetSettings(per_hour_usd=D(1)))
        purse.take(started("a", "0.50"))
        purse.take(ended("a", "0.10"))
        purse.take(started("b", "0.70"))
        assert purse.reserve("m", D("0.20"), T0)
        with pytest.raises(OverBudgetError):
            purse.reserve("m", D("0.01"), T0)

    def test_an_event_that_is_read_twice_counts_once(self) -> None:
        purse = BudgetPurse(BudgetSettings(per_run_usd=D(1)))
        for event in (started("a", "0.50"), started("a", "0.50"), ended("a", "0.10"), ended("a", "0.10")):
            purse.take(event, in_run=True)
        purse.take(started("a", "0.50"), in_run=True)
        assert purse.spent() == D("0.10")

    def test_an_end_whose_start_is_gone_from_the_log_has_cost_what_it_says(self) -> None:
        purse = BudgetPurse(BudgetSettings(per_run_usd=D(1)))
        purse.take(ended("a", "0.90"), in_run=True)
        with pytest.raises(OverBudgetError):
            purse.reserve("m", D("0.11"), T0)

    def test_what_another_run_spent_counts_for_the_hour_and_not_for_this_run(self) -> None:
        purse = BudgetPurse(BudgetSettings(per_run_usd=D(1), per_hour_usd=D(2)))
        purse.take(started("a", "1.50"))
        assert purse.spent() == 0
        with pytest.raises(OverBudgetError, match="per hour"):
            purse.reserve("m", D("0.60"), T0)
        assert purse.reserve("m", D("0.50"), T0)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), CENTS, st.floats(0, 1), st.integers(0, 3), st.booleans()), max_size=60)
)
def test_no_order_of_calls_passes_a_cap(calls: list[tuple[str, Decimal, float, int, bool]]) -> None:
    """Calls of two models are begun and ended in any order, over four half hours, and may cost less than feared."""
    budget = BudgetSettings(
        per_hour_usd=D(5), per_run_usd=D(8), models={"a": Caps(per_hour_usd=D(3), per_run_usd=D(4))}
    )
    purse = BudgetPurse(budget)
    begun: list[tuple[Hold, Decimal]] = []
    paid: list[tuple[str, int, Decimal]] = []
    for model, worst, share, half_hour, ends in calls:
        at = T0 + half_hour * NS_PER_HOUR // 2
        try:
            begun.append((purse.reserve(model, worst, at), (worst * D(share)).quantize(D("0.0001"))))
        except OverBudgetError:
            continue
        if ends:
            hold, cost = begun.pop(0)
            purse.settle(hold, min(cost, hold.worst_usd))
            paid.append((hold.model, hold.at // NS_PER_HOUR, min(cost, hold.worst_usd)))
    paid += [(hold.model, hold.at // NS_PER_HOUR, hold.worst_usd) for hold, _ in begun]
    assert sum(cost for _, _, cost in paid) == purse.spent() <= 8
    assert sum(cost for model, _, cost in paid if model == "a") == purse.spent("a") <= 4
    for hour in {hour for _, hour, _ in paid}:
        assert sum(cost for _, at, cost in paid if at == hour) <= 5
        assert sum(cost for model, at, cost in paid if at == hour and model == "a") <= 3


@pytest.mark.parametrize("seed", range(5))
def test_fifty_threads_with_random_failures_never_pass_a_dollar(seed: int) -> None:
    """Each call costs anything up to its worst; some fail and cost all of it. At no moment is a dollar passed."""
    purse = BudgetPurse(BudgetSettings(per_run_usd=D(1), models={"a": Caps(per_run_usd=D("0.40"))}))
    together = threading.Barrier(50)
    paid: list[tuple[str, Decimal]] = []
    passed: list[Decimal] = []
    refused: list[str] = []

    def ask(number: int) -> None:
        dice = random.Random(seed * 100 + number)
        model = "ab"[number % 2]
        together.wait()
        for _ in range(20):
            try:
                hold = purse.reserve(model, D(dice.randrange(1, 60)) / 1000, T0)
            except OverBudgetError as error:
                refused.append(str(error))
                continue
            if purse.spent() > 1 or purse.spent("a") > D("0.40"):
                passed.append(purse.spent())
            cost = hold.worst_usd if dice.random() < 0.3 else hold.worst_usd * dice.randrange(0, 100) / 100
            purse.settle(hold, cost)
            paid.append((model, cost))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(ask, range(50)))
    assert not passed
    assert refused
    assert D("0.9") < sum(cost for _, cost in paid) == purse.spent() <= 1
    assert sum(cost for model, cost in paid if model == "a") == purse.spent("a") <= D("0.40")
