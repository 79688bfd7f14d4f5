"""Recorded questions as columns: what a run asked and was answered, for the scan to take without telling anybody.

A question shows numbers and nothing of the portfolio. Where it would show, bit for bit, what a recorded one showed, its
prompt, verdicts and vote are the recorded ones; `agents.scan.fold` checks each. Where the record leaves any doubt, the
question is put. See docs/decisions/0007-folded-questions.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from agents.agent import NEVER
from agents.analysts import Analysts, digest_of, instruction_line
from agents.consensus import Consensus
from agents.frame import BAR, MAX_NUMBER, QUOTE, TRADE, kind_name
from agents.layout import KEEP, REFUSED, Answers, Ask, Notes, Shown
from agents.outcomes import Told
from agents.strategy import bias_of
from replay.cassette import RecordedVerdicts, Verdict
from replay.collector import collector_paused
from replay.files import Place
from replay.gateway import parameters_of, stamped, verdict_id
from replay.rundir import RunDir
from schemas.base import NS_PER_MS, NS_PER_S, Event, derived_id, market_id
from schemas.book import Book
from schemas.control import ClockTicked
from schemas.decisions import ConsensusFailed, ConsensusReached
from schemas.errors import ArchiveError
from schemas.verdicts import NOTHING, PricePart, PromptPart

REQUESTS = "verdict-requests"
Vote = ConsensusReached | ConsensusFailed
_INSTRUMENT, _BIAS, _LAST_AT = (Ask._fields.index(name) for name in ("instrument", "bias", "last_at"))
_NEVER_PUT = Ask(*[NEVER] * len(Ask._fields)), Shown(*[0.0] * len(Shown._fields))


class Recorded(NamedTuple):
    """A question on one instrument and its end; without verdicts it must be put again."""

    ask: Ask
    shown: Shown
    verdicts: tuple[Verdict, ...] = ()
    """In the order in which the models are asked."""
    vote: Vote | None = None
    settled_by: int = 0
    """Which of the verdicts the vote followed."""


class Sheet:
    """A run's questions, by time and instrument."""

    def __init__(self, book: Book, recorded: list[Recorded]) -> None:
        """Lay out the columns. `book` is the one that is replayed: ids follow from its name."""
        self._recorded = sorted(recorded, key=lambda one: one.ask[:2])
        self.answers = Answers(
            np.array([*(one.ask for one in self._recorded), _NEVER_PUT[0]], np.int64),
            np.array([*(one.shown for one in self._recorded), _NEVER_PUT[1]], np.float64),
        )
        self._name, self._models = book.name, book.analysts.models
        self.models = len(self._models)
        """Verdicts on each question."""
        self._is_free = not any(verdict.cost_usd for one in recorded for verdict in one.verdicts)

    def cost_usd(self, first: int, end: int) -> dict[str, Decimal]:
        """Give what the answers to the questions [first, end) cost when they were recorded, by model."""
        costs: dict[str, Decimal] = {}
        for one in () if self._is_free else self._recorded[first:end]:
            for verdict in one.verdicts:
                costs[verdict.model] = costs.get(verdict.model, NOTHING) + verdict.cost_usd
        return costs

    def __len__(self) -> int:
        """Count the questions."""
        return len(self._recorded)

    def vote(self, at: int, first: int, end: int, a: int, seq: int) -> ConsensusReached:
        """Give the vote on a question of a boundary, whose questions are [first, end) and whose tick is entry `seq`."""
        arrived = self._arrivals(first, end).index((a, self._recorded[a].settled_by)) + 1
        return replace(self._vote(at, first, a), seq=seq + arrived)

    def spelt(self, at: int, first: int, end: int) -> Iterator[Event]:
        """Give the tick at a boundary, the verdicts on the questions [first, end), and each vote after its verdict.

        Their `seq` is left out.
        """
        clock, name = self._clock(at), self._name
        yield ClockTicked(id=clock, key=name, occurred_at=at, observed_at=at, book=name)
        for a, m in self._arrivals(first, end):
            one = self._recorded[a]
            instrument = one.verdicts[m].instrument
            request, question = self._request(clock, a - first, m), self._question(clock, instrument)
            yield stamped(one.verdicts[m], request=request, at=at, book=name, question=question, instrument=instrument)
            if isinstance(one.vote, ConsensusReached) and m == one.settled_by:
                yield self._vote(at, first, a)

    def _arrivals(self, first: int, end: int) -> list[tuple[int, int]]:
        """Give the verdicts on a boundary's questions in the order in which they come, as question and model."""
        sent = [(a, m) for a in range(first, end) for m in range(len(self._models))]
        return sorted(sent, key=lambda place: self._recorded[place[0]].verdicts[place[1]].latency_ms)

    def _vote(self, at: int, first: int, a: int) -> ConsensusReached:
        """Make the recorded vote on a question the one on that question here, but for its `seq`."""
        one, clock = self._recorded[a], self._clock(at)
        if not isinstance(one.vote, ConsensusReached):
            raise TypeError(f"question {a} of the record came to no vote")
        ids = [verdict_id(self._request(clock, a - first, m), model) for m, model in enumerate(self._models)]
        cause = ids[one.settled_by]
        return replace(
            one.vote,
            id=derived_id(cause, f"{self._name}/{Consensus.name}", 0),
            book=self._name,
            seq=0,
            cause=cause,
            question=self._question(clock, one.vote.instrument),
            votes=tuple(
                replace(vote, verdict=new) if vote.verdict else vote
                for vote, new in zip(one.vote.votes, ids, strict=True)
            ),
        )

    def _clock(self, at: int) -> str:
        return market_id(self._name, "clock", at)

    def _question(self, clock: str, instrument: str) -> str:
        return derived_id(clock, f"{self._name}/{Analysts.name}:{instrument}", 0)

    def _request(self, clock: str, place: int, model: int) -> str:
        """Give the id of a request: `place` counts the instruments that are asked about at that tick."""
        return derived_id(clock, f"{self._name}/{Analysts.name}", place * len(self._models) + model)


class Folded:
    """The ticks that a scan noted, spelt out where that is asked for."""

    def __init__(self, sheet: Sheet, notes: Notes, asked: int) -> None:
        """`asked` questions lay behind before the first."""
        self._sheet, self._asked = sheet, asked
        self._notes = Notes(notes.ticks, notes.prices.copy(), notes.seen_at.copy())
        self._end = notes.ticks[-1].asked
        self.entries = len(notes.ticks) + sheet.models * (self._end - asked)

    @property
    def last_at(self) -> int:
        """Give the time of the last entry."""
        ticks = self._notes.ticks
        first = ticks[-2].asked if len(ticks) > 1 else self._asked
        answered: list[int] = self._sheet.answers.asks[first : self._end, _LAST_AT].tolist()
        return max([ticks[-1].at, *answered])

    def votes(self, seqs: Sequence[int]) -> dict[int, ConsensusReached]:
        """Give the last vote on each instrument, by its index; `seqs` are the ticks' places in the journal."""
        asks = self._sheet.answers.asks[self._asked : self._end, _INSTRUMENT : _BIAS + 1].tolist()
        last = {ask[0]: a for a, ask in enumerate(asks, self._asked) if ask[-1] != KEEP}
        ends = [self._asked, *(tick.asked for tick in self._notes.ticks)]
        votes = {}
        for k, a in last.items():
            n = bisect_right(ends, a)
            votes[k] = self._sheet.vote(self._notes.ticks[n - 1].at, ends[n - 1], ends[n], a, seqs[n - 1])
        return votes

    def __iter__(self) -> Iterator[Told]:
        """Give ticks, verdicts and votes in the order of the journal, with the market at that time."""
        first = self._asked
        for tick, prices, seen_at in zip(*self._notes, strict=True):
            for event in self._sheet.spelt(tick.at, first, tick.asked):
                yield Told(event, prices, seen_at)
            first = tick.asked


# Reading


class _Request(msgspec.Struct):
    """What is read of a request."""

    observed_at: int
    question: str
    instrument: str
    prompt: tuple[PromptPart, ...]
    prompt_sha256: str
    deadline_at: int
    trigger: str


def load_sheet(run: Place, book: Book, recorded: RecordedVerdicts) -> Sheet | None:
    """Read the questions of a run's folder for a replay of `book`; `recorded` are the run's verdicts.

    None where there are none, or where the run's book has other instruments, asks otherwise, or counts votes
    otherwise, and where a vote goes by outcomes or follows a screen: then every question is put. A line that cannot
    be read is a question that is put.
    """
    if isinstance(run, str):  # a bucket holds an archive, and an archive no questions
        return None
    path = run / "log" / f"{REQUESTS}.jsonl"
    if not path.is_file() or not _can_fold(book) or not _alike(run, book):
        return None
    with collector_paused():
        reader = _Reader(book, recorded, _votes(run))
        read = map(reader.read, _requests(path, book.analysts.models[0]))
        return Sheet(book, [one for one in read if one is not None])


def _can_fold(book: Book) -> bool:
    """Tell whether a vote follows from its question alone: not if outcomes weigh in, or if not all are always asked."""
    return bool(book.analysts.models) and not book.analysts.screen and not book.consensus.learns


def _alike(run: Path, book: Book) -> bool:
    try:
        other = RunDir(run).book()
    except ArchiveError:
        return False
    ids, other_ids = ([instrument.id for instrument in one.instruments] for one in (book, other))
    asks = (other.analysts, other.consensus) == (book.analysts, book.consensus)
    return asks and ids == other_ids and book.analysts.deadline_s <= book.analysts.every_min * 60


def _votes(run: Path) -> dict[str, Vote]:
    votes: Iterator[Vote] = RunDir(run).events("signals", ConsensusReached, ConsensusFailed)
    return {vote.question: vote for vote in votes}


def _requests(path: Path, model: str) -> Iterator[_Request]:
    """Give the requests to one model. Inside a string quotes are escaped, so the mark stands nowhere else."""
    mark = b'"model":' + msgspec.json.encode(model) + b',"prompt":'
    decoder = msgspec.json.Decoder(_Request)
    with path.open("rb") as lines:
        for line in lines:
            if mark in line:
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError:
                    continue


class _Reader:
    """Makes questions of requests."""

    def __init__(self, book: Book, recorded: RecordedVerdicts, votes: dict[str, Vote]) -> None:
        self._book, self._recorded, self._votes = book, recorded, votes
        self._parameters = parameters_of(book)
        self._index = {instrument.id: k for k, instrument in enumerate(book.instruments)}
        self._models = list(book.analysts.models)
        self._alerts = book.consensus.disagreement_alert_min is not None
        self._instruction = instruction_line(book)
        self._deadline = book.analysts.deadline_s * NS_PER_S

    def read(self, request: _Request) -> Recorded | None:
        """Take a question of the cadence; None of any other, or on an instrument that the book has not."""
        k = self._index.get(request.instrument)
        price = request.prompt[1] if len(request.prompt) > 1 else None
        if k is None or request.trigger != "cadence" or not isinstance(price, PricePart):
            return None
        shown = Shown(
            price.close,
            price.return_since_ask,
            price.ema_fast,
            price.ema_slow,
            price.rsi,
            price.atr,
            price.volatility,
            price.drawdown,
            price.bars,
        )
        at, cited = request.observed_at, _cited(price)
        refused = Recorded(Ask(at, k, price.observed_at, -1, -1, -1, REFUSED, 0, at, at), shown)
        verdicts, vote = self._verdicts(request), self._votes.get(request.question)
        causes = [verdict.id for verdict in verdicts]
        if cited is None or vote is None or vote.cause not in causes or not self._proves(request, price):
            return refused
        by = causes.index(vote.cause)
        if vote.observed_at != verdicts[by].observed_at or [one.model for one in vote.votes] != self._models:
            return refused
        bias, strong = KEEP, 0
        if isinstance(vote, ConsensusReached):
            bias, strong = bias_of(vote, self._book)
        elif vote.reason == "no_quorum" or (vote.reason == "disagreement" and self._alerts):
            return refused
        last_at = max(verdict.observed_at for verdict in verdicts)
        ask = Ask(at, k, price.observed_at, *cited, bias, strong, vote.observed_at, last_at)
        return Recorded(ask, shown, verdicts, vote, by)

    def _proves(self, request: _Request, price: PricePart) -> bool:
        """Tell whether a question shows numbers alone, and has the digest of what it shows."""
        numbers_alone = len(request.prompt) == 2 and not price.text_count  # noqa: PLR2004 # instruction and price
        in_time = request.deadline_at == request.observed_at + self._deadline
        return numbers_alone and in_time and digest_of(self._instruction, (price,)) == request.prompt_sha256

    def _verdicts(self, request: _Request) -> tuple[Verdict, ...]:
        """Give every model's verdict; nothing where one is missing, one of several, or not as late as it says."""
        found = []
        for model in self._models:
            verdict = self._recorded.only(model, request.prompt_sha256, self._parameters.get(model, ""))
            if verdict is None or verdict.question != request.question or verdict.instrument != request.instrument:
                return ()
            if verdict.observed_at != request.observed_at + verdict.latency_ms * NS_PER_MS:
                return ()
            found.append(verdict)
        return tuple(found)


def _cited(price: PricePart) -> tuple[int, int, int] | None:
    """Give kind, number and length of the market event that is cited; None where its producer gave its own id."""
    source, _, digits = price.cites.rpartition("/")
    name = source.rpartition("/")[2]
    if not digits.isdecimal() or not digits.isascii() or int(digits) > MAX_NUMBER:
        return None
    seconds = name.removeprefix("bar")
    if name in ("trade", "quote"):
        kind, interval_ns = (TRADE if name == "trade" else QUOTE), 0
    elif seconds.isdecimal() and seconds.isascii():
        kind, interval_ns = BAR, int(seconds) * NS_PER_S
    else:
        return None
    number = int(digits)
    made = market_id(price.instrument, kind_name(kind, interval_ns), number)
    return (kind, number, interval_ns) if made == price.cites else None
