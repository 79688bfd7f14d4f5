"""One market, one log: whatever the batches, the process, the hash seed, the moment of a resume, or the future."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.frame import Frame
from replay.cassette import RecordedVerdicts
from replay.engine import Engine
from replay.log import DERIVED_TOPICS, JOURNAL, MemoryLog
from schemas.codec import decode
from schemas.execution import OrderRequested
from schemas.verdicts import VerdictFailed, VerdictGiven, VerdictRequested
from tests.replay.market import Market, book_of, engine_of, replayed

ROOT = Path(__file__).parents[2]
MODES = ("consensus", "override", "advisory")


@pytest.mark.parametrize("mode", MODES)
def test_the_market_of_these_tests_exercises_the_whole_flow(mode: str) -> None:
    log = replayed(book_of(mode), Market(1))
    kinds = {msgspec.json.decode(line)["type"] for lines in log.lines.values() for line in lines}
    assert {
        "NewsVetted",
        "NewsDiscarded",
        "VerdictRequested",
        "VerdictGiven",
        "ConsensusReached",
        "TradeProposed",
        "TradeApproved",
        "TradeRejected",
        "OrderRequested",
        "OrderFilled",
        "PositionChanged",
        "EquityMarked",
        "BreakerTripped",
        "AlertRaised",
    } <= kinds


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=4)
@given(batch_rows=st.integers(1, 700))
def test_the_size_of_batches_changes_no_byte(mode: str, batch_rows: int) -> None:
    assert replayed(book_of(mode), Market(2), batch_rows).lines == replayed(book_of(mode), Market(2)).lines


@settings(max_examples=8)
@given(cut=st.integers(1, 900), batch_rows=st.integers(5, 400))
def test_a_run_that_resumes_from_a_checkpoint_writes_the_rest_of_the_log(cut: int, batch_rows: int) -> None:
    book, market = book_of(), Market(3)
    log = MemoryLog()
    first = engine_of(book, log)
    for _ in first.run(_stopping(first, market, batch_rows, cut), market.inputs):
        pass
    saved = first.checkpoint()
    second = engine_of(book, log)
    second.restore(saved)
    assert second.checkpoint() == saved
    for _ in second.run(market.frames(batch_rows, skip=second.rows), market.inputs[second.inputs_pulled :]):
        pass
    assert log.lines == replayed(book, market).lines


def _stopping(engine: Engine, market: Market, batch_rows: int, cut: int) -> Iterable[Frame]:
    """Frames that end, as a crash would end them, once `cut` rows were taken; the end is not announced."""
    for frame in market.frames(batch_rows):
        if engine.rows + len(frame) > cut:
            engine._finish = lambda: None  # type: ignore[method-assign]
            return
        yield frame


@settings(max_examples=10)
@given(cut=st.integers(100, 900), seed=st.integers(0, 2**32 - 1), noise=st.booleans())
def test_what_comes_later_changes_no_past_decision(cut: int, seed: int, noise: bool) -> None:
    """The look-ahead check: cut the future off, or replace it by another market; the past says the same."""
    book, whole = book_of(), Market(4)
    moment = int(whole.number[cut - 1]) + 60_000_000_000
    other = Market(4)
    if noise:
        rng = np.random.default_rng(seed)
        after = other.number + 60_000_000_000 > moment
        other.values[after, :4] *= rng.uniform(0.5, 1.5)
    else:
        other.cut(cut)
    past, again = (_before(replayed(book, market), moment) for market in (whole, other))
    assert past == again
    assert past["orders"] or cut < 300


def _before(log: MemoryLog, moment: int) -> dict[str, list[bytes]]:
    """The derived events that were said before a moment."""
    return {
        topic: [line for line in log.lines.get(topic, []) if decode(line).observed_at < moment]
        for topic in DERIVED_TOPICS
    }


@pytest.mark.parametrize(("seed", "jit"), [("0", "0"), ("4711", "0"), ("1", "1")])
def test_hash_seed_and_compiler_change_no_byte(seed: str, jit: str) -> None:
    program = "from tests.replay.market import *\nprint(replayed(book_of(), Market(5, minutes=400)).sha256())"
    env = {**os.environ, "PYTHONHASHSEED": seed, "NUMBA_DISABLE_JIT": jit}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, check=True, text=True
    )
    assert result.stdout.strip() == replayed(book_of(), Market(5, minutes=400)).sha256()


def test_recorded_verdicts_give_the_same_log_and_ask_nobody() -> None:
    book, market = book_of(), Market(6)
    log = replayed(book, market)
    verdicts = [e for e in map(decode, log.lines[JOURNAL]) if isinstance(e, VerdictGiven | VerdictFailed)]
    recorded = RecordedVerdicts((f"entry {i}", verdict) for i, verdict in enumerate(verdicts))
    again = MemoryLog()
    engine = engine_of(msgspec.structs.replace(book, on_unrecorded="fail"), again, recorded)
    for _ in engine.run(market.frames(), market.inputs):
        pass
    assert again.lines == log.lines


def test_another_limit_changes_orders_and_no_question() -> None:
    log = replayed(book_of(), Market(7))
    risk = msgspec.structs.replace(book_of().risk, order_pct=5.0)
    other = replayed(book_of(risk=risk), Market(7))
    asked, asked_again = ([_question(line) for line in each.lines["verdict-requests"]] for each in (log, other))
    assert asked == asked_again
    assert log.lines["orders"] != other.lines["orders"]


def _question(line: bytes) -> tuple[str, str]:
    """A request's id and prompt; its place in the journal moves with the fills in between."""
    request = decode(line)
    assert isinstance(request, VerdictRequested)
    return request.id, request.prompt_sha256


def test_every_event_is_sane_has_its_own_id_and_a_known_cause() -> None:
    log = replayed(book_of(), Market(8))
    events = [decode(line) for lines in log.lines.values() for line in lines]
    ids = [event.id for event in events]
    assert len(set(ids)) == len(ids)
    known = set(ids)
    for event in events:
        assert not event.cause or event.cause in known or "/bar60/" in event.cause, event


def test_no_order_without_an_approval_and_one_entry_for_each() -> None:
    log = replayed(book_of(), Market(9))
    approvals = {decode(line).id for line in log.lines["risk-decisions"]}
    orders = [event for event in map(decode, log.lines["orders"]) if isinstance(event, OrderRequested)]
    assert orders
    assert {order.approval for order in orders} <= approvals
    entries = [order.approval for order in orders if order.role in ("entry", "exit")]
    assert len(set(entries)) == len(entries)


def test_a_market_without_texts_or_without_prices_ends_quietly() -> None:
    book, market = book_of(), Market(10)
    market.inputs = []
    assert "verdict-requests" in replayed(book, market).lines
    market.cut(1)
    assert replayed(book, market).lines.get("orders", []) == []
    log = MemoryLog()
    assert list(engine_of(book, log).run([], Market(10).inputs)) == []
    assert "signals" in log.lines
    assert list(engine_of(book, MemoryLog()).run([], [])) == []


def test_stopping_ends_between_two_events_and_says_when() -> None:
    book, market, log = book_of(), Market(11), MemoryLog()
    engine = engine_of(book, log)
    for frame in engine.run(market.frames(100), market.inputs):
        engine.stop = engine.rows >= 500
        last = frame
    assert len(last) == 100
    assert engine.rows == 500 + 100 * (engine.rows > 500)
    assert decode(log.lines[JOURNAL][-1]).observed_at == engine.now


@pytest.mark.parametrize("mode", MODES)
def test_one_instrument_trades_as_well(mode: str) -> None:
    log = replayed(book_of(mode, instruments=1), Market(12, instruments=1))
    assert log.lines["orders"]
