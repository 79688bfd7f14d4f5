"""Comprehend beside the lexicons: an hour is measured whole and paid once, the cap holds, and else it is left out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from connectors.models.comprehend import cost
from connectors.models.provider import CallError
from connectors.processed.sentiment import LEXICONS
from schemas.base import NS_PER_DAY, Event
from schemas.checks import check
from schemas.texts import NewsPublished, SentimentMeasured, TweetPosted
from streams import metrics
from streams.comprehend import Reader, Spent
from streams.limits import FAILURES_IN_A_ROW, OPEN_NS
from streams.windows import sentiment_windows
from tests.connectors.processed.trades import AT

HOUR_NS = 3_600_000_000_000
UNIT = Decimal("0.0001")
TEXT_USD = 3 * UNIT
NOBODY = CallError("unavailable", "nobody there", prompt_tokens=0)
CUT = CallError("unavailable", "cut")


class Scores:
    """A service that does what it is told, call after call, and gives 0.5 behind it."""

    def __init__(self, *script: float | CallError) -> None:
        self.script = list(script)
        self.calls: list[list[str]] = []

    def scores(self, texts: Sequence[str], within_s: float) -> list[float]:
        assert within_s > 0
        self.calls.append(list(texts))
        does = self.script.pop(0) if self.script else 0.5
        if isinstance(does, CallError):
            raise does
        return [does] * len(texts)


class Memory:
    """A ledger that notes how much of it was written before each call."""

    def __init__(self, spent: Spent = Spent()) -> None:  # noqa: B008 - it is frozen
        self.spent, self.written = spent, 0

    def read(self) -> Spent:
        return self.spent

    def write(self, spent: Spent) -> None:
        self.spent = spent
        self.written += 1


class Worker:
    """A worker's windows with a reader, and the clock that it looks at."""

    def __init__(
        self,
        service: Scores,
        cap: str = "1",
        ledger: Memory | None = None,
        told: Sequence[Event] = (),
    ) -> None:
        self.service, self.ledger, self.now = service, ledger or Memory(), AT
        self.asked: list[int] = []
        self.recorded = {event.id: event for event in told if isinstance(event, SentimentMeasured)}
        self.reader = Reader(service, Decimal(cap), self.ledger, self.recall, clock=lambda: self.now)

    def recall(self, occurred_at: int) -> dict[str, SentimentMeasured]:
        self.asked.append(occurred_at)
        return self.recorded

    def tells(self, *texts: TweetPosted | NewsPublished) -> list[SentimentMeasured]:
        windows = sentiment_windows(self.reader.measure)
        for offset, text in enumerate(texts):
            windows.take(text, ("tweets", 0), offset)
        told = list(windows.tell(AT + 10**15))
        assert all(isinstance(event, SentimentMeasured) for event in told)
        return [event for event in told if isinstance(event, SentimentMeasured)]

    def measures(self, *texts: TweetPosted | NewsPublished) -> list[SentimentMeasured]:
        """Give what Comprehend measured; the lexicons have measured as ever."""
        told = self.tells(*texts)
        ours = [event for event in told if event.lexicon == "Comprehend"]
        plain = sentiment_windows()
        for offset, text in enumerate(texts):
            plain.take(text, ("tweets", 0), offset)
        assert [event for event in told if event.lexicon != "Comprehend"] == list(plain.tell(AT + 10**15))
        return ours


def tweet(number: int, text: str = "a great win", hour: int = 0, key: str = "BTC") -> TweetPosted:
    at = AT + hour * HOUR_NS + number
    return TweetPosted(id=f"t-{key}-{hour}-{number}", key=key, occurred_at=at, observed_at=at, author="ann", text=text)


def count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("quorum_comprehend_hours_total", {"outcome": outcome}) or 0.0


def test_an_hour_is_measured_beside_the_lexicons() -> None:
    worker = Worker(Scores(0.5, -0.7))
    article = NewsPublished(
        id="n", key="BTC", occurred_at=AT, observed_at=AT + 99, source="wire", title="Up", text="Far up."
    )
    told = worker.tells(*(tweet(n) for n in range(29)), tweet(28), tweet(30, "  \n"), article)
    assert [event.lexicon for event in told] == [*(each.lexicon for each in LEXICONS), "Comprehend"]
    ours = told[-1]
    check(ours)
    assert ours.id == f"BTC/sentiment3600-comprehend/{AT}"
    assert len({event.id for event in told}) == len(told)
    assert (ours.tweets, ours.news, ours.sources) == (29, 1, {"ann": 29, "wire": 1}), "a blank text has no tone"
    assert [len(call) for call in worker.service.calls] == [25, 5]
    assert "Up. Far up." in worker.service.calls[0]
    assert ours.mean_score == pytest.approx((25 * 0.5 - 5 * 0.7) / 30, abs=1e-4)
    assert (ours.positive_share, ours.negative_share) == (0.8333, 0.1667)
    assert worker.ledger.spent == Spent(AT // NS_PER_DAY, 30 * TEXT_USD)
    assert told[0].occurred_at == ours.occurred_at
    assert told[0].observed_at == ours.observed_at


@pytest.mark.parametrize("outcome", ["refused", "throttled", "timeout", "unavailable", "unparsable"])
def test_an_hour_that_fails_in_part_has_no_measure_and_the_next_has(outcome: str, caplog: object) -> None:
    worker, before = Worker(Scores(0.5, CallError(outcome, "the reason"))), count(outcome)  # type: ignore[arg-type]
    (ours,) = worker.measures(*(tweet(n) for n in range(60)), tweet(0, hour=1))
    assert ours.occurred_at == AT + 2 * HOUR_NS
    assert [len(call) for call in worker.service.calls] == [25, 25, 1], "what cannot be whole is not paid on"
    assert count(outcome) == before + 1


def test_hours_of_blank_texts_are_not_sent() -> None:
    worker = Worker(Scores())
    assert worker.measures(tweet(1, " "), tweet(2, "")) == []
    assert worker.service.calls == []


def test_the_cap_holds_and_an_hour_is_not_begun_that_it_does_not_pay() -> None:
    worker, before = Worker(Scores(), str(60 * TEXT_USD)), count("over_budget")
    told = worker.measures(
        *(tweet(n) for n in range(40)), *(tweet(n, hour=1) for n in range(21)), *(tweet(n, hour=2) for n in range(20))
    )
    assert [(event.occurred_at - AT) // HOUR_NS for event in told] == [1, 3]
    assert sum(cost(call) for call in worker.service.calls) == 60 * TEXT_USD
    assert count("over_budget") == before + 1
    worker.now += NS_PER_DAY
    assert len(worker.measures(*(tweet(n, hour=3) for n in range(21)))) == 1, "the next day pays anew"


def test_what_was_spent_before_a_restart_counts() -> None:
    ledger = Memory()
    assert len(Worker(Scores(), str(50 * TEXT_USD), ledger).measures(*(tweet(n) for n in range(40)))) == 1
    again = Worker(Scores(), str(50 * TEXT_USD), ledger)
    assert again.measures(*(tweet(n, hour=1) for n in range(11))) == []
    assert len(again.measures(*(tweet(n, hour=2) for n in range(10)))) == 1
    assert Worker(Scores(), str(TEXT_USD), ledger).measures(tweet(1, hour=3)) == [], "under a lower cap too"


def test_the_cost_is_kept_before_the_call() -> None:
    class Watching(Scores):
        def scores(self, texts: Sequence[str], within_s: float) -> list[float]:
            seen.append(ledger.spent.usd)
            return super().scores(texts, within_s)

    seen: list[Decimal] = []
    ledger = Memory()
    Worker(Watching(), ledger=ledger).measures(*(tweet(n) for n in range(30)), tweet(1, hour=1))
    assert seen == [30 * TEXT_USD, 30 * TEXT_USD, 31 * TEXT_USD]


def test_a_call_that_was_not_taken_on_is_free_and_one_that_broke_is_not() -> None:
    worker = Worker(Scores(NOBODY, CUT), str(2 * TEXT_USD))
    assert worker.measures(tweet(1), tweet(1, hour=1)) == []
    assert len(worker.measures(tweet(1, hour=2))) == 1
    assert worker.measures(tweet(1, hour=3)) == []


def test_an_hour_that_was_told_is_told_again_as_it_was_and_not_paid() -> None:
    told = Worker(Scores(0.9)).tells(tweet(1), tweet(1, hour=1))
    again = Worker(Scores(-0.9), told=told[:4])
    assert again.tells(tweet(1), tweet(1, hour=1))[:7] == told[:7]
    assert len(again.service.calls) == 1, "of the hour that was not told"
    assert again.asked == [AT + HOUR_NS], "the end of the first hour"


def test_a_service_that_fails_is_let_be_for_a_while() -> None:
    worker = Worker(Scores(*[CUT] * FAILURES_IN_A_ROW))
    texts = [tweet(1, hour=hour) for hour in range(FAILURES_IN_A_ROW + 3)]
    assert worker.measures(*texts) == []
    assert len(worker.service.calls) == FAILURES_IN_A_ROW
    worker.now += OPEN_NS
    assert len(worker.measures(tweet(1, hour=20), tweet(1, hour=21))) == 2


def test_a_ledger_is_read_as_it_was_written() -> None:
    spent = Spent(20_000, Decimal("0.0123"))
    assert msgspec.json.decode(msgspec.json.encode(spent), type=Spent) == spent
