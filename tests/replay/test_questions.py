"""Recorded questions: folded or put, a replay comes to the same; what the record leaves in doubt is put."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.frame import BAR, QUOTE, TRADE
from agents.layout import KEEP, REFUSED, Ask, Shown
from connectors.voters import offline_voters
from connectors.voters.protocol import Answer, Opinion, Voter
from replay.cassette import Verdict
from replay.gateway import ReplayGateway
from replay.log import Kept
from replay.questions import Sheet
from replay.results import Summary, Unlogged
from replay.run import Run, Settings
from replay.sweep import Sources, settings_of, sweep
from schemas.base import NS_PER_MIN, NS_PER_S
from schemas.book import (
    AnalystSettings,
    Book,
    BreakerSettings,
    ConsensusSettings,
    FeatureSettings,
    ModelSettings,
    RiskSettings,
    StrategySettings,
)
from schemas.decisions import Mode
from schemas.verdicts import Action, VerdictRequested
from tests.replay.archives import archive as write_archive
from tests.replay.folding import edit, folds, lines_of, of_kind, record, replayed, sheet_of, with_gaps
from tests.replay.market import Market, book_of

ROOT = Path(__file__).parents[2]
MODELS = ("vader", "textblob", "trend")
MODES: tuple[Mode, ...] = ("consensus", "override", "advisory")
JOURNAL, REQUESTS, SIGNALS = "log/journal.jsonl", "log/verdict-requests.jsonl", "log/signals.jsonl"


def asking(mode: Mode = "override", instruments: int = 1, *, ttl: int = 60, agree: int = 1, **changes: Any) -> Book:
    """A book whose models all have an opinion, at latencies of their own, every 5 minutes."""
    strategy = StrategySettings(mode=mode, stop_atr=2.0, target_atr=3.0, override_confidence=0.3, bias_ttl_min=ttl)
    latencies = dict(zip(MODELS, (900, 20, 200), strict=True))
    models = {name: ModelSettings(kind="trend", latency_ms=ms) for name, ms in latencies.items()}
    usual = {
        "analysts": AnalystSettings(models=MODELS, every_min=5),
        "models": models,
        "consensus": ConsensusSettings(agree=agree),
        "strategy": strategy,
    }
    return book_of(mode, instruments, **(usual | changes))


def quiet(seed: int, minutes: int = 500, instruments: int = 1) -> Market:
    """A market without texts and commands."""
    market = Market(seed, minutes, instruments)
    market.inputs = []
    return market


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return record(tmp_path, asking(), quiet(1))


def answered(run: Path, book: Book | None = None) -> Sheet:
    sheet = sheet_of(run, book or asking())
    assert sheet is not None
    return sheet


def biases(sheet: Sheet) -> list[int]:
    return [int(bias) for bias in sheet.answers.asks[:-1, Ask._fields.index("bias")]]


# Folded or put, the same


@st.composite
def books(draw: st.DrawFn) -> Book:
    """Books that differ in whatever a question, a vote or a trade goes by."""
    latency = st.sampled_from([0, 20, 200, 200, 900, 30_000, 60_000])
    models = {
        name: ModelSettings(kind=draw(st.sampled_from(["trend", name])), latency_ms=draw(latency)) for name in MODELS
    }
    mode: Mode = draw(st.sampled_from(MODES))
    return book_of(
        mode,
        draw(st.integers(1, 2)),
        models=models,
        analysts=AnalystSettings(models=MODELS, every_min=draw(st.sampled_from([1, 5, 15]))),
        consensus=ConsensusSettings(
            agree=draw(st.integers(1, 3)),
            fallback=draw(st.sampled_from(["", "trend"])),
            disagreement_alert_min=draw(st.sampled_from([None, 1, 60])),
        ),
        strategy=StrategySettings(
            mode=mode,
            stop_atr=2.0,
            target_atr=3.0,
            override_confidence=draw(st.sampled_from([0.3, 0.8])),
            bias_ttl_min=draw(st.sampled_from([2, 10, 60, 300])),
            fast_brain=draw(st.sampled_from(["ema_cross", "none"])),
            hold_exits=draw(st.booleans()),
        ),
        breakers=BreakerSettings(
            max_drawdown_pct=draw(st.sampled_from([4.0, 50.0])),
            max_daily_loss_pct=draw(st.sampled_from([None, 1.0])),
            max_losing_streak=3,
            flash_move_pct=1.0,
            max_failed_votes=draw(st.sampled_from([None, 3])),
        ),
        mark_every_min=draw(st.sampled_from([7, 60])),
    )


@settings(max_examples=40)
@given(books(), st.integers(0, 1000), st.sampled_from([BAR, BAR, TRADE, QUOTE]), st.booleans(), st.data())
def test_a_replay_comes_to_the_same_where_questions_are_folded(
    book: Book, seed: int, kind: int, has_texts: bool, data: st.DataObject
) -> None:
    """Lines, places in the journal, coverage; and the whole state at any cut, from which another engine goes on."""
    market = of_kind(with_gaps(Market(seed, instruments=len(book.instruments)), seed), kind)
    market.inputs = market.inputs if has_texts else []
    with TemporaryDirectory() as folder:
        run = record(Path(folder), book, market)
        again = replace(book, name=data.draw(st.sampled_from([book.name, "other"])))
        batch_rows = data.draw(st.sampled_from([65_536, 400, 37]))
        folds(again, run, market, batch_rows=batch_rows, resume=data.draw(st.integers(0, 3)))


@pytest.mark.parametrize("mode", MODES)
def test_nearly_all_questions_are_folded_but_for_those_that_trade(mode: Mode, tmp_path: Path) -> None:
    book, market = asking(mode, 2, agree=2), quiet(2, 1500, 2)
    came = folds(book, record(tmp_path, book, market), market)
    asked = came.coverage["trend"].requests
    assert asked == came.coverage["trend"].recorded == len(answered(tmp_path, book)) > 500
    assert asked > came.folded > 0.6 * asked
    assert lines_of(came.lines, "TradeProposed")


def test_a_proposal_names_a_vote_that_was_folded(tmp_path: Path) -> None:
    book, market = asking("consensus", 2, ttl=300), quiet(3, 1500, 2)
    came = folds(book, record(tmp_path, book, market), market)
    proposed = b"".join(lines_of(came.lines, "TradeProposed"))
    assert proposed.count(b'"consensus":"') > 3
    assert came.folded > 0.6 * came.coverage["trend"].requests


def test_a_bias_that_lapses_between_two_questions_is_forgotten_then(tmp_path: Path) -> None:
    book, market = asking("consensus", 2, ttl=3), with_gaps(quiet(4, 1000, 2), 4)
    came = folds(book, record(tmp_path, book, market), market)
    assert came.folded > 0.5 * came.coverage["trend"].requests


def test_a_bias_that_lapses_amid_a_question_on_another_instrument_lapses_there(tmp_path: Path) -> None:
    """The vote on the second comes 20 ms after a boundary, and lapses as long after a later one; the last answer to
    the first comes after 900 ms.
    """
    book, market = asking("advisory", 2), quiet(7, 300, 2)
    is_open = (market.instrument == 0) | (market.number < market.number[0] + 100 * NS_PER_MIN)
    market._keep(np.flatnonzero(is_open))
    assert folds(book, record(tmp_path, book, market), market, batch_rows=40).folded > 50


def test_a_question_whose_last_answer_comes_after_the_next_row_is_put(tmp_path: Path) -> None:
    """The vote is settled by then; only where a minute has no bar does the answer come before the next."""
    latencies = dict(zip(MODELS, (90_000, 20, 200), strict=True))
    models = {name: ModelSettings(kind="trend", latency_ms=ms) for name, ms in latencies.items()}
    book, market = asking(models=models), quiet(8)
    came = folds(book, record(tmp_path, book, market), market)
    known = [bias for bias in biases(answered(tmp_path, book)) if bias != REFUSED]
    assert 0 < came.folded < 0.2 * len(known)


def test_a_vote_that_comes_to_nothing_leaves_the_bias_as_it_is(tmp_path: Path) -> None:
    """One takes a side, and then two abstain, for there are no texts."""
    models = {name: ModelSettings(kind=name, latency_ms=200 - 90 * (name == "trend")) for name in MODELS}  # type: ignore[arg-type]
    book, market = asking(models=models, agree=2), quiet(5)
    came = folds(book, record(tmp_path, book, market), market)
    kept = biases(answered(tmp_path, book)).count(KEEP)
    assert kept >= came.folded > 0.9 * kept > 50


def test_a_what_if_with_other_limits_and_another_name_folds_as_well(run: Path) -> None:
    book = replace(asking(), name="what-if", risk=RiskSettings(order_pct=7.0), breakers=BreakerSettings())
    assert folds(book, run, quiet(1)).folded > 0.8 * len(answered(run))


def test_texts_in_the_window_and_commands_are_told(tmp_path: Path) -> None:
    book, market = asking(instruments=1), Market(6, 1500, 1)
    market.inputs = [event for event in market.inputs if event.id.startswith("c") or event.id in ("n1", "t2", "n7")]
    came = folds(book, record(tmp_path, book, market), market)
    shown = [line for line in (tmp_path / REQUESTS).read_bytes().splitlines() if b'"part":"text"' in line]
    assert shown
    assert 0 < came.folded < len(answered(tmp_path, book))


# In doubt, put


@pytest.mark.parametrize("number", Shown._fields)
def test_a_number_that_differs_in_its_last_bit_is_asked_about(number: str, run: Path) -> None:
    sheet, column = answered(run), Shown._fields.index(number)
    sheet.answers.shown[11, column] = np.nextafter(sheet.answers.shown[11, column], np.inf)
    assert folds(asking(), run, quiet(1), sheet).folded == folds(asking(), run, quiet(1)).folded - 1


def test_a_zero_of_another_sign_is_asked_about(run: Path) -> None:
    sheet = answered(run)
    column = sheet.answers.shown[:-1, Shown._fields.index("drawdown")]
    zeros = column == 0.0
    assert zeros.any()
    column[zeros] = -0.0
    assert folds(asking(), run, quiet(1), sheet).folded < folds(asking(), run, quiet(1)).folded


@pytest.mark.parametrize("field", ["seen_at", "kind", "number", "interval_ns", "instrument", "at"])
def test_a_question_that_cites_another_event_is_asked(field: str, run: Path) -> None:
    sheet = answered(run)
    sheet.answers.asks[10:20, Ask._fields.index(field)] += 1
    assert folds(asking(), run, quiet(1), sheet).folded < folds(asking(), run, quiet(1)).folded - 5


Damage = Callable[[Path], object]
GIVEN = b'{"type":"VerdictGiven"'
# Each to the twelfth question; it trades nothing.
DAMAGES: dict[str, Damage] = {
    "an answer is missing": lambda run: edit(run / JOURNAL, GIVEN, 33),
    "the vote is missing": lambda run: edit(run / SIGNALS, b"Consensus", 11),
    "the vote follows from no answer": lambda run: edit(run / SIGNALS, b"Consensus", 11, cause="somebody"),
    "the vote counts other models": lambda run: edit(run / SIGNALS, b"Consensus", 11, votes=[]),
    "the vote came at another time": lambda run: edit(
        run / SIGNALS, b"Consensus", 11, observed_at=1_704_070_000 * NS_PER_S
    ),
    "an answer came later than it says": lambda run: edit(run / JOURNAL, GIVEN, 33, latency_ms=7),
    "a number is not what the digest says": lambda run: _with_line(
        run, lambda line: line.replace(b'"close":', b'"close":1')
    ),
    "a line is cut off": lambda run: _with_line(run, lambda line: line[:-10]),
    "the question is on news": lambda run: edit(run / REQUESTS, b'"model":"vader"', 11, trigger="news"),
    "another deadline": lambda run: edit(run / REQUESTS, b'"model":"vader"', 11, deadline_at=1),
}


def _with_line(run: Path, change: Callable[[bytes], bytes]) -> None:
    path = run / REQUESTS
    lines = path.read_bytes().splitlines()
    lines[33] = change(lines[33])
    path.write_bytes(b"\n".join(lines) + b"\n")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_question_that_the_record_leaves_in_doubt_is_asked(damage: Damage, run: Path) -> None:
    whole, asked = folds(asking(), run, quiet(1)).folded, biases(answered(run))
    assert REFUSED not in asked
    damage(run)
    left = [bias for bias in biases(answered(run)) if bias != REFUSED]
    assert len(left) == len(asked) - 1
    assert folds(asking(), run, quiet(1)).folded == whole - 1


def test_a_prompt_that_was_answered_twice_is_asked_about(run: Path) -> None:
    path = run / JOURNAL
    held = edit(path, GIVEN, 33, seq=77)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(held | {"cause": "again", "id": "again", "confidence": 0.5}) + b"\n")
    assert biases(answered(run)).count(REFUSED) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"analysts": AnalystSettings(models=MODELS, every_min=15)},
        {"analysts": AnalystSettings(models=MODELS[:2], every_min=5)},
        {"consensus": ConsensusSettings(agree=2)},
        {"consensus": ConsensusSettings(agree=1, min_confidence=0.5)},
        {"instruments": book_of(instruments=2).instruments},
        {"analysts": AnalystSettings(), "strategy": StrategySettings(mode="advisory")},
    ],
    ids=str,
)
def test_a_book_that_asks_or_counts_otherwise_asks_all(changes: dict[str, Any], run: Path) -> None:
    assert sheet_of(run, replace(asking(), **changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"consensus": ConsensusSettings(agree=2, weights="accuracy")},
        {"consensus": ConsensusSettings(agree=2, calibrate=True)},
        {"analysts": AnalystSettings(models=MODELS[:2], every_min=5, screen="trend")},
    ],
    ids=str,
)
def test_a_vote_by_outcomes_or_behind_a_screen_is_put_every_time(changes: dict[str, Any], tmp_path: Path) -> None:
    book = replace(asking(), **changes)
    market = Market(3, 400, 1)
    run = record(tmp_path, book, market)
    assert sheet_of(run, book) is None
    assert len((run / SIGNALS).read_bytes().splitlines()) > 50
    came = replayed(book, run, list(market.frames(50)), market.inputs, None, resume=3)
    assert came.lines == replayed(book, run, list(market.frames()), market.inputs, None).lines
    assert all(each.unanswered == each.asked == 0 for each in came.coverage.values())


class Contrary:
    """Says the opposite of another voter, every other time."""

    def __init__(self, other: Voter) -> None:
        self._other, self._turn = other, 0

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        answer = self._other.answer(request, within_s)
        self._turn += 1
        assert isinstance(answer.said, Opinion)
        opposite: dict[Action, Action] = {"BUY": "SELL", "SELL": "BUY", "HOLD": "HOLD"}
        return (
            replace(answer, said=replace(answer.said, action=opposite[answer.said.action]))
            if self._turn % 2
            else answer
        )


def test_a_disagreement_that_alerts_is_put_and_one_that_does_not_is_folded(tmp_path: Path) -> None:
    market, folded, refused = quiet(7), {}, {}
    for every in (None, 30):
        book = asking(consensus=ConsensusSettings(agree=3, disagreement_alert_min=every))
        voters = offline_voters(book)
        (root := tmp_path / str(every)).mkdir()
        run = record(root, book, market, voters | {"vader": Contrary(voters["vader"])})
        disagreed = (run / SIGNALS).read_bytes().count(b'"reason":"disagreement"')
        came = folds(book, run, market)
        folded[every] = came.folded
        assert disagreed > 10
        refused[every] = biases(answered(run, book)).count(REFUSED)
        assert bool(lines_of(came.lines, "AlertRaised")) == bool(every)
    assert refused[30] == refused[None] + disagreed
    assert folded[None] >= folded[30] + 10 > 40


def test_other_averages_show_other_numbers_and_ask_all(run: Path) -> None:
    assert folds(replace(asking(), features=FeatureSettings(ema_fast=6, ema_slow=12)), run, quiet(1)).folded == 0


def test_a_run_without_its_book_or_its_questions_asks_all(run: Path) -> None:
    (run / REQUESTS).unlink()
    assert sheet_of(run, asking()) is None


# In a run, in a sweep


@pytest.mark.parametrize("log", ["decisions", "none"])
def test_a_run_folds_the_questions_of_the_run_that_it_is_given(
    log: Kept, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _archived(quiet(1), tmp_path / "archive")
    folded, *came = _replay(run, archive, tmp_path / "folded", log)
    monkeypatch.setattr("replay.run.load_sheet", lambda *_: None)
    put, *expected = _replay(run, archive, tmp_path / "put", log)
    assert folded > 50 > put == 0
    assert came == expected


def test_a_full_log_holds_every_question(run: Path, tmp_path: Path) -> None:
    folded, came, _ = _replay(run, _archived(quiet(1), tmp_path / "archive"), tmp_path / "full", "full")
    assert folded == 0
    assert came.log_sha256 == sha256((run / "log" / "SHA256SUMS").read_bytes()).hexdigest()


def _archived(market: Market, root: Path) -> Path:
    """Write a market's bars as an archive."""
    [frame] = market.frames()
    columns = (column.tolist() for column in (frame.instrument, frame.number, frame.occurred_at, frame.observed_at))
    rows = [
        (frame.instruments[k], *times, *values[:5], int(values[5]))
        for k, *times, values in zip(*columns, frame.values.tolist(), strict=True)
    ]
    return write_archive(root, bars=rows)


def _replay(run: Path, archive: Path, out: Path, log: Kept) -> tuple[int, Summary | Unlogged, object]:
    """Give how many questions were folded, and what the run came to; times are left out."""
    replay = Run(asking(), Settings(archive=archive, out=out, verdicts=run, log=log, report=False))
    came = replay.run(lambda _: None)
    assert replay.engine is not None
    return replay.engine.folded, replace(came, timing={}), came.run["coverage"]


def test_a_sweep_folds_the_questions_of_the_run_that_it_is_given(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    answer = ReplayGateway.answer

    def counted(self: ReplayGateway, request: VerdictRequested) -> Verdict:
        put.append(request.id)
        return answer(self, request)

    monkeypatch.setattr(ReplayGateway, "answer", counted)
    archive = _archived(quiet(1), tmp_path / "archive")
    data = msgspec.json.decode((run / "book.json").read_bytes())
    varied = settings_of({"risk.order_pct": [5, 10, 20]})
    folded = list(sweep(data, varied, Sources(archive=archive, verdicts=run), 1))
    assert len(put) < 100
    asked = list(sweep(data, varied, Sources(archive=archive), 1))
    assert len(put) > 300
    assert folded == asked
    assert len({outcome.end_equity for outcome in asked}) == len(asked)


def test_the_compiler_changes_nothing(run: Path) -> None:
    program = (
        "import sys; from hashlib import sha256; from pathlib import Path; from tests.replay.test_questions import *\n"
        "came = folds(asking(), Path(sys.argv[1]), quiet(1))\n"
        "print(came.folded, sha256(b''.join([*came.lines, *came.saved])).hexdigest())"
    )
    told = []
    for off in ("0", "1"):
        env = {**os.environ, "NUMBA_DISABLE_JIT": off}
        command = [sys.executable, "-c", program, str(run)]
        told.append(subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, text=True).stdout)
    assert told[0] == told[1]
    assert int(told[0].split()[0]) > 50
