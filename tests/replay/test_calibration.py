"""Brier score and reliability curve, by hand and against what they must add up to; what a screen has saved."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.calibration import calibration_of, calibrations
from replay.decisions import complete, read_calibrations, read_models, read_signals
from replay.rundir import RunDir
from schemas.accounting import OutcomeMeasured
from schemas.decisions import QuestionScreened
from schemas.verdicts import VerdictGiven
from tests.replay.fake_run import START, FakeRun, book_of

BTC = "BTC/USDT@x"


def outcome(model: str, confidence: float, *, correct: bool, action: str = "BUY") -> OutcomeMeasured:
    return OutcomeMeasured(
        id=f"{model}{confidence}{correct}",
        key=BTC,
        occurred_at=START,
        observed_at=START,
        instrument=BTC,
        prediction="p",
        model=model,
        action=action,  # type: ignore[arg-type]
        confidence=confidence,
        horizon_ms=1,
        return_pct=0.1,
        correct=correct,
    )


def test_a_calibration_by_hand() -> None:
    """Four predictions: 0.9 came true, 0.9 did not, 0.6 came true twice."""
    found = calibration_of([(0.9, True), (0.9, False), (0.6, True), (0.6, True)])
    assert (found.predictions, found.hits, found.mean_confidence) == (4, 3, 0.75)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.16 + 0.16) / 4)
    assert found.reliability == pytest.approx((2 * 0.4**2 + 2 * 0.4**2) / 4)
    assert found.resolution == pytest.approx((2 * 0.25**2 + 2 * 0.25**2) / 4)
    assert found.uncertainty == pytest.approx(0.75 * 0.25)
    assert [(one.confidence_from, one.predictions) for one in found.bins if one.predictions] == [(0.6, 2), (0.9, 2)]
    assert (found.bins[9].mean_confidence, found.bins[9].hit_rate) == (0.9, 0.5)
    assert found.bins[0].mean_confidence is found.bins[0].hit_rate is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=200))
def test_the_parts_add_up_to_the_brier_score_where_a_bin_holds_one_confidence(told: list[tuple[int, bool]]) -> None:
    found = calibration_of([(bin_ / 10 + 0.05, correct) for bin_, correct in told])
    assert found.brier == pytest.approx(found.reliability - found.resolution + found.uncertainty, abs=3e-6)
    assert sum(one.predictions for one in found.bins) == found.predictions == len(told)
    assert 0.0 <= found.brier <= 1.0


@given(st.floats(0, 1), st.integers(0, 50), st.integers(0, 50))
def test_who_states_the_hit_rate_scores_its_uncertainty(stated: float, hits: int, misses: int) -> None:
    if hits + misses:
        told = [(hits / (hits + misses), True)] * hits + [(hits / (hits + misses), False)] * misses
        assert calibration_of(told).brier == pytest.approx(calibration_of(told).uncertainty, abs=2e-6)
        other = [(stated, correct) for _, correct in told]
        assert calibration_of(other).brier >= calibration_of(told).brier - 2e-6, "nobody does better with one number"


def test_models_come_by_name_and_the_vote_last() -> None:
    found = calibrations(
        [
            outcome("consensus", 0.5, correct=True),
            outcome("zoe", 0.5, correct=True),
            outcome("ann", 0.5, correct=False, action="SELL"),
        ]
    )
    assert list(found) == ["ann", "zoe", "consensus"]


# What a screen has saved


def screened_run(root: Path, costs: dict[str, list[str]]) -> RunDir:
    """Three questions that the screen ended, which spared two models; each answered others at a cost."""
    run = FakeRun(root / "run", book_of(BTC))
    for n in range(3):
        run.add(
            QuestionScreened,
            START + n,
            instrument=BTC,
            question=f"q{n}",
            model="cheap",
            confidence=0.9,
            spared=("large", "small"),
        )
    for model, each in costs.items():
        for n, cost in enumerate(each):
            run.add(
                VerdictGiven,
                START + n,
                question=f"asked{n}",
                instrument=BTC,
                model=model,
                action="HOLD",
                confidence=0.5,
                cost_usd=Decimal(cost),
            )
    return RunDir(run.write())


@pytest.mark.parametrize(
    ("costs", "saved"),
    [
        ({"large": ["0.02", "0.04"], "small": ["0.001"]}, Decimal("0.093")),
        ({"large": ["0.02"]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_what_a_screen_saved_is_told_at_the_mean_cost_of_those_it_spared(
    costs: dict[str, list[str]], saved: Decimal | None, tmp_path: Path
) -> None:
    run = screened_run(tmp_path, costs)
    measured = read_calibrations(run)
    questions = complete(read_signals(run).questions, read_models(run, measured), measured)
    assert (questions.screened, questions.calls_saved) == (3, {"large": 3, "small": 3})
    assert questions.usd_saved == saved
    assert questions.calibration is None
