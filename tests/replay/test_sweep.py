"""A sweep comes to what single replays come to, however many processes share the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from replay.results import Summary
from replay.run import Run
from replay.run import Settings as RunSettings
from replay.sweep import Outcome, Sources, book_with, settings_of, sweep
from schemas.errors import ArchiveError, BookError

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = Sources(archive=EXAMPLES / "archive", end_ns=1_704_240_000_000_000_000)
VARIED = {"risk.order_pct": [5, 20], "strategy.stop_atr": [2, 3]}


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    read = yaml.safe_load((EXAMPLES / "btc.yaml").read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


@pytest.fixture(scope="module")
def outcomes(data: dict[str, Any]) -> list[Outcome]:
    return list(sweep(data, settings_of(VARIED), SOURCES, workers=1))


def test_each_outcome_is_what_a_replay_of_that_book_comes_to(
    data: dict[str, Any], outcomes: list[Outcome], tmp_path: Path
) -> None:
    assert len({outcome.end_equity for outcome in outcomes}) == len(outcomes), "every setting matters here"
    for outcome in outcomes:
        settings = RunSettings(archive=SOURCES.archive, out=tmp_path, end_ns=SOURCES.end_ns, report=False)
        alone = Run(book_with(data, outcome.setting), settings).run(lambda _: None)
        assert isinstance(alone, Summary)
        assert outcome.end_equity == alone.end_equity
        assert outcome.orders == alone.metrics["orders"]
        assert outcome.metrics == {name: alone.metrics[name] for name in outcome.metrics}


def test_processes_change_nothing(data: dict[str, Any], outcomes: list[Outcome]) -> None:
    shared = list(sweep(data, settings_of(VARIED), SOURCES, workers=2))
    assert msgspec.json.encode(shared) == msgspec.json.encode(outcomes)


def test_other_models_get_answers_of_their_own(data: dict[str, Any]) -> None:
    slow = {"models.trend.latency_ms": [20, 3_600_000]}
    fast, late = sweep(data, settings_of(slow), SOURCES, workers=1)
    alone = next(sweep(data, settings_of({"models.trend.latency_ms": [3_600_000]}), SOURCES, workers=1))
    assert (late.orders, late.end_equity) == (alone.orders, alone.end_equity)
    assert late.end_equity != fast.end_equity


def test_all_combinations_the_last_place_changing_fastest() -> None:
    assert settings_of({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_a_setting_that_makes_no_book_is_refused_before_anything_runs(data: dict[str, Any]) -> None:
    with pytest.raises(BookError, match=r"order_pct.*\(with risk.order_pct -1\)"):
        next(sweep(data, [{"risk.order_pct": 5}, {"risk.order_pct": -1}], SOURCES, workers=1))
    with pytest.raises(BookError, match="unknown field `order_pc`"):
        next(sweep(data, [{"risk.order_pc": 5}], SOURCES, workers=1))


def test_a_place_that_is_none_is_refused(data: dict[str, Any]) -> None:
    for place in ("name.first", "instruments.7.lot_size", "instruments.first.lot_size"):
        with pytest.raises(BookError, match=place):
            next(sweep(data, [{place: 5}], SOURCES, workers=1))


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(BookError, match="1,000,000 combinations"):
        settings_of({"a": range(1000), "b": range(1000)})


def test_what_is_read_from_the_archive_cannot_be_varied(data: dict[str, Any]) -> None:
    with pytest.raises(BookError, match="cannot vary what the archive is read for"):
        list(sweep(data, settings_of({"instruments.0.id": ["BTC/USD@synthetic", "ETH/USD@synthetic"]}), SOURCES, 1))


def test_an_archive_that_is_not_there_is_refused(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        next(sweep(data, settings_of(VARIED), Sources(archive=tmp_path / "none"), workers=2))
