"""The desk as a whole: batch is fold, a restored desk goes on as if nothing had been, a fault stops the book."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.pipeline import Desk
from schemas.base import Event
from schemas.book import Book
from schemas.decisions import TradeRejected
from schemas.execution import OrderRequested
from schemas.verdicts import VerdictRequested
from tests.agents.answers import verdict
from tests.agents.builders import BTC, ETH, bar, clock, make_book
from tests.agents.invariants import Witness
from tests.agents.markets import Market, books, markets, part
from tests.agents.outside import COMMANDS, Outside
from tests.agents.scene import Scene, all_of, kinds, only

ROOT = Path(__file__).parents[2]
Said = list[tuple[int, bytes, list[Event]]]
"""Per step at which the desk spoke or was spoken to: the row, the state after it, the answers."""


RESTARTS = 0.2
"""How often a run that may restart does so, between two events or two frames."""


class Script(NamedTuple):
    """A market, a book, and what happens between the rows: at each turn the outside speaks."""

    market: Market
    book: Book
    turns: tuple[tuple[int, str], ...]
    """Row before which it happens, and what an operator does."""


@st.composite
def scripts(draw: st.DrawFn, max_rows: int = 120) -> Script:
    market = draw(markets(max_rows))
    random = Random(draw(st.integers(0, 2**32 - 1)))
    turns = [
        (random.randint(1, market.rows), random.choice(COMMANDS) if random.random() < 0.3 else "none")
        for _ in range(draw(st.integers(0, 60)))
    ]
    return Script(market, draw(books(market)), tuple(sorted(turns)))


class Run:
    """A desk that plays a script."""

    def __init__(self, script: Script) -> None:
        self.frame = script.market.frame()
        self.desk = Desk(script.book)
        self.witness = Witness(self.desk)
        self.outside = Outside(self.desk)
        self.said: Said = []
        self.turns = [(0, "none"), *script.turns, (len(self.frame), "none")]

    def take_turns(self, row: int) -> None:
        """Let the outside speak before a row."""
        while self.turns and self.turns[0][0] <= row:
            _, command = self.turns.pop(0)
            now = int(self.frame.observed_at[max(row - 1, 0)])
            for event in self.outside.turn(now, command):
                self.note(row, self.witness.apply(event))

    def note(self, row: int, answers: list[Event]) -> None:
        self.outside.hear(answers)
        self.said.append((row, self.desk.snapshot(), answers))

    def restart(self) -> None:
        """Go on with a new desk that knows the old one by its snapshot alone."""
        saved = self.desk.snapshot()
        self.desk = Desk(self.desk.book)
        self.desk.restore(saved)
        assert self.desk.snapshot() == saved
        self.witness.take_over(self.desk)
        self.outside.take_over(self.desk)

    def next_turn(self) -> int:
        return self.turns[0][0]


def by_event(script: Script, restarts: Random | None = None) -> Said:
    """Take every row as an event of its own; with restarts at random between them."""
    run = Run(script)
    for row in range(len(run.frame)):
        if restarts is not None and restarts.random() < RESTARTS:
            run.restart()
        run.take_turns(row)
        answers = run.witness.apply(run.frame.event(row, "", 0))
        if answers:
            run.note(row, answers)
    run.take_turns(len(run.frame))
    return run.said


def by_row(script: Script) -> Said:
    """Speak to every row of one frame."""
    return spoken_to(script)[0]


def spoken_to(script: Script) -> tuple[Said, list[bytes]]:
    """Speak to every row of one frame; give also the state before each row, with all that is said by then."""
    run, states = Run(script), []
    for row in range(len(run.frame)):
        run.take_turns(row)
        states.append(run.desk.snapshot())
        answers = run.witness.speak(run.frame, row)
        if answers:
            run.note(row, answers)
    states.append(run.desk.snapshot())
    run.take_turns(len(run.frame))
    return run.said, states


def by_span(script: Script, random: Random, states: list[bytes]) -> Said:
    """Cut the market into frames and the frames into spans, at random; scan each for what is quiet.

    Wherever a scan ends, the desk is in the state that speaking to each row leaves: `states`.
    """
    run = Run(script)
    n = len(run.frame)
    start = 0
    while start < n:
        end = min(n, start + random.choice([1, 2, 7, 40, 1000]))
        frame = part(run.frame, start, end)
        if random.random() < RESTARTS:
            run.restart()
        lo = 0
        while lo < len(frame):
            run.take_turns(start + lo)
            hi = min(len(frame), run.next_turn() - start, lo + random.choice([1, 3, 20, 1000]))
            stop = run.witness.scan(frame, lo, hi)
            assert lo <= stop <= hi
            if start + stop < run.next_turn():
                assert run.desk.snapshot() == states[start + stop], "a quiet row leaves what speaking to it leaves"
            assert run.witness.scan(frame, stop, stop) == stop
            if stop < hi:
                answers = run.witness.speak(frame, stop)
                assert answers, "a row that is not quiet is answered"
                run.note(start + stop, answers)
                stop += 1
            lo = stop
        start = end
    run.take_turns(n)
    return run.said


@settings(max_examples=60)
@given(scripts(), st.integers(0, 2**32 - 1))
def test_batch_is_fold(script: Script, seed: int) -> None:
    said, states = spoken_to(script)
    assert by_event(script) == said
    assert by_span(script, Random(seed), states) == said


@settings(max_examples=40)
@given(scripts(), st.integers(0, 2**32 - 1))
def test_a_restored_desk_goes_on_as_if_nothing_had_been(script: Script, seed: int) -> None:
    assert by_event(script, Random(seed)) == by_event(script)


def mute_breakers(desk: Desk) -> None:
    desk.breakers.limits.fill(inf)


def mute_strategy(desk: Desk) -> None:
    desk.orders.busy.fill(1)


@settings(max_examples=40)
@given(scripts(max_rows=80), st.integers(0, 2**32 - 1))
def test_every_agent_alone_is_scanned_over_what_it_would_not_answer(script: Script, seed: int) -> None:
    """The desk stops at the first agent that speaks; alone, an agent's spans are longer, and the law holds for them."""
    random, run = Random(seed), Run(script)
    cut = random.randrange(len(run.frame))
    for row in range(cut):
        run.take_turns(row)
        run.note(row, run.witness.apply(run.frame.event(row, "", 0)))
    saved, frame = run.desk.snapshot(), part(run.frame, cut, len(run.frame))
    for muted in ((mute_breakers,), (mute_strategy,), (mute_breakers, mute_strategy)):
        spans, rows = Desk(script.book), Desk(script.book)
        for desk in (spans, rows):
            desk.restore(saved)
            for mute in muted:
                mute(desk)
        lo = stop = 0
        for hi in sorted([len(frame), *(random.randint(0, len(frame)) for _ in range(random.randrange(3)))]):
            stop = spans.scan(frame, lo, hi)
            if stop < hi:
                break
            lo = hi
        for row in range(stop):
            assert rows.speak(frame, row, row) == []
        assert spans.snapshot() == rows.snapshot()
        if stop < len(frame):
            assert len(muted) == 1, "nobody is left to speak"
            assert rows.speak(frame, stop, stop), "a row that is not quiet is answered"


SEEDED = """
import sys
from hashlib import sha256
from schemas.codec import encode
from tests.agents.test_pipeline import Script, by_event
from tests.agents.markets import Market
market = Market(seed=5, instruments=3, rows=300, kinds=(0, 1, 2), roughness=2)
book = market.book(
    text={"sources": ["wire", "post"]},
    analysts={"every_min": 1},
    strategy={"stop_atr": 1.0},
    breakers={"flash_move_pct": 1.0},
    consensus={"weights": "accuracy", "calibrate": True, "disagreement_alert_min": 1},
)
commands = ("tweet", "rules", "tweet", "none", "pause", "resume", "none")
script = Script(market, book, tuple((row, commands[row % 7]) for row in range(1, 300)))
said = by_event(script)
assert len(said) > 300
for _, state, answers in said:
    print(sha256(state).hexdigest(), *(sha256(encode(answer)).hexdigest() for answer in answers))
"""


def test_no_hash_seed_changes_a_byte() -> None:
    def run(seed: str) -> bytes:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", SEEDED], cwd=ROOT, env=environment, check=True, capture_output=True
        ).stdout

    assert run("1") == run("2")


def test_the_scripts_tell_of_everything() -> None:
    """A property over scripts proves nothing of what never comes up in them."""
    seen: set[str] = set()

    @settings(max_examples=60)
    @given(scripts())
    def play(script: Script) -> None:
        for _, _, answers in by_row(script):
            seen.update(kinds(answers))

    play()
    assert seen >= {
        "AlertRaised",
        "BreakerReset",
        "BreakerTripped",
        "CancelRequested",
        "ConfirmationRequested",
        "ConsensusFailed",
        "ConsensusReached",
        "EquityMarked",
        "NewsDiscarded",
        "NewsVetted",
        "OrderRequested",
        "OutcomeMeasured",
        "PositionChanged",
        "QuestionScreened",
        "TradeApproved",
        "TradeProposed",
        "TradeRejected",
        "VerdictRequested",
    }


# How answers travel


def two_at_once(**sections: Any) -> list[Event]:
    """Let the fallback model's votes on two instruments count at the same tick of the clock."""
    book = make_book([BTC, ETH], analysts={"every_min": 1}, consensus={"fallback": "m0"}, **sections)
    scene = Scene(book)
    scene.tell(clock(0), bar(1, 100.0), bar(1, 100.0, key=ETH))
    requests = all_of(VerdictRequested, scene.tell(clock(1)))
    scene.tell(*(verdict(request, "BUY", 1.1) for request in requests if request.model == "m0"))
    return scene.tell(clock(2))


def test_a_decision_is_followed_to_its_order_before_the_next_is_taken() -> None:
    chain = ["ConsensusReached", "TradeProposed", "TradeApproved", "OrderRequested"]
    assert [event.key for event in two_at_once() if type(event).__name__ in chain] == [BTC] * 4 + [ETH] * 4


def test_of_two_entries_at_once_the_second_finds_the_day_used_up() -> None:
    answers = two_at_once(risk={"max_orders_per_day": 1})
    assert only(OrderRequested, answers).instrument == BTC
    assert only(TradeRejected, answers).limit == "max_orders_per_day"
