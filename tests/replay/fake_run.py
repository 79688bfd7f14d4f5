"""Writes the folder of a run that never ran: real schemas, one step at a time."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from replay.log import DERIVED_TOPICS, JOURNAL
from schemas.accounting import EquityMarked, OutcomeMeasured, PositionChanged
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S, Event, derived_id
from schemas.book import AnalystSettings, Book, Instrument, ModelSettings
from schemas.codec import encode
from schemas.control import ClockTicked
from schemas.decisions import (
    Clamp,
    ConsensusFailed,
    ConsensusReached,
    TradeApproved,
    TradeProposed,
    Vote,
)
from schemas.execution import OrderAccepted, OrderFilled, OrderRequested
from schemas.texts import TweetPosted
from schemas.topics import TOPIC_OF
from schemas.verdicts import (
    InstructionPart,
    PricePart,
    PromptPart,
    TextPart,
    VerdictFailed,
    VerdictGiven,
    VerdictRequested,
)

START = 1_483_228_800 * NS_PER_S  # 2017-01-01
MODELS = ("vader", "textblob", "trend")
E = TypeVar("E", bound=Event)


def book_of(*instruments: str, **changes: object) -> Book:
    """A book of these instruments with three models."""
    return Book(
        name="fake",
        instruments=tuple(Instrument(id=name) for name in instruments),
        analysts=AnalystSettings(models=MODELS),
        models={name: ModelSettings(kind=name) for name in MODELS},  # type: ignore[arg-type]
        **changes,  # type: ignore[arg-type]
    )


class FakeRun:
    """Collects events, then writes them as a run's folder."""

    def __init__(self, root: Path, book: Book) -> None:
        self.root, self.book = root, book
        self.logs: dict[str, list[bytes]] = {name: [] for name in (JOURNAL, *DERIVED_TOPICS)}
        self.prices: list[tuple[str, int, float]] = []
        self.held = {i.id: (Decimal(0), Decimal(0)) for i in book.instruments}
        self.last = {i.id: 0.0 for i in book.instruments}
        self.cash, self.realised, self.fees = book.cash, Decimal(0), Decimal(0)
        self.made = 0
        self.add(ClockTicked, START)

    def add(self, cls: type[E], at: int, key: str = "", **fields: object) -> E:
        """Append one event to its topic, or an input to the journal; give it."""
        self.made += 1
        given: dict[str, Any] = {"id": derived_id(f"fake{self.made}", cls.__name__, 0), "occurred_at": at}
        given |= {"key": key or self.book.name, "observed_at": at, "book": self.book.name, "seq": self.made}
        event = cls(**given | fields)
        topic = TOPIC_OF[cls]
        self.logs[topic if topic in DERIVED_TOPICS else JOURNAL].append(encode(event) + b"\n")
        return event

    def price(self, instrument: str, at: int, price: float) -> None:
        self.prices.append((instrument, at, price))
        self.last[instrument] = price

    def question(
        self, instrument: str, at: int, votes: list[tuple[str, float, str]], texts: list[TweetPosted]
    ) -> ConsensusReached | ConsensusFailed:
        """Put a question to the models; each vote is (action, confidence, reasoning), empty action failed."""
        prompt: list[PromptPart] = [InstructionPart(text="Answer BUY, SELL or HOLD, and why.")]
        prompt.append(self._price_part(instrument, at))
        prompt += [
            TextPart(cites=t.id, observed_at=t.observed_at, source=t.author, text=t.text, sentiment=0.4) for t in texts
        ]
        question = derived_id(f"q{self.made}", "analysts", 0)
        counted = []
        for model, (action, confidence, reasoning) in zip(MODELS, votes, strict=False):
            asked: dict[str, Any] = {"question": question, "instrument": instrument, "model": model}
            request = self.add(
                VerdictRequested,
                at,
                prompt=tuple(prompt),
                prompt_version="v1",
                prompt_sha256="0" * 64,
                deadline_at=at + 30 * NS_PER_S,
                trigger="cadence",
                **asked,
            )
            later = at + 200 * NS_PER_MS
            if action:
                answer: Event = self.add(
                    VerdictGiven,
                    later,
                    cause=request.id,
                    action=action,
                    confidence=confidence,
                    reasoning=reasoning,
                    key_factors=("sentiment", "trend"),
                    latency_ms=200,
                    cost_usd=Decimal("0.0004"),
                    prompt_tokens=812,
                    reply_tokens=64,
                    **asked,
                )
                self.add(
                    OutcomeMeasured,
                    later + 3600 * NS_PER_S,
                    instrument=instrument,
                    prediction=answer.id,
                    model=model,
                    action=action,
                    confidence=confidence,
                    horizon_ms=3_600_000,
                    return_pct=0.1,
                    correct=self.made % 5 < 3,
                )
            else:
                answer = self.add(VerdictFailed, later, cause=request.id, reason="timeout", **asked)
            counted.append(
                Vote(
                    model=model,
                    action=action or "HOLD",  # type: ignore[arg-type]
                    confidence=confidence if action else 0.0,
                    verdict=answer.id,
                    failure="" if action else "timeout",
                )
            )
        return self._signal(instrument, later, question, tuple(counted))

    def _price_part(self, instrument: str, at: int) -> PricePart:
        return PricePart(
            cites=f"{instrument}/bar60/{at - NS_PER_MIN}",
            observed_at=at,
            instrument=instrument,
            close=self.last[instrument],
            return_since_ask=0.0031,
            ema_fast=self.last[instrument] * 1.01,
            ema_slow=self.last[instrument] * 0.99,
            rsi=61.2,
            atr=self.last[instrument] * 0.004,
            volatility=0.0011,
            drawdown=-0.034,
            bars=4_200,
            text_count=2,
            text_sentiment=0.4,
        )

    def _signal(
        self, instrument: str, at: int, question: str, votes: tuple[Vote, ...]
    ) -> ConsensusReached | ConsensusFailed:
        cast = [vote.action for vote in votes if not vote.failure]
        for action in ("BUY", "SELL", "HOLD"):
            agree = [v for v in votes if v.action == action and not v.failure]
            if len(agree) >= 2:
                confidence = sum(v.confidence for v in agree) / len(agree)
                return self.add(
                    ConsensusReached,
                    at,
                    instrument=instrument,
                    question=question,
                    action=action,
                    confidence=confidence,
                    agree=len(agree),
                    of=len(votes),
                    votes=votes,
                )
        reason = "disagreement" if len(cast) > 1 else "no_quorum"
        return self.add(ConsensusFailed, at, instrument=instrument, question=question, reason=reason, votes=votes)

    def order(
        self,
        instrument: str,
        at: int,
        side: str,
        quantity: str,
        *,
        role: str = "entry",
        consensus: str = "",
        reason: str = "EMA 20 crossed above EMA 50 while the vote says BUY",
        clamps: tuple[Clamp, ...] = (),
    ) -> OrderRequested:
        """Propose, approve and request an order."""
        price = self.last[instrument]
        target = "flat" if role == "exit" else "long" if side == "buy" else "short"
        proposal = self.add(
            TradeProposed,
            at,
            instrument=instrument,
            mode="consensus",
            target=target,
            conviction=0.71,
            price=price,
            reason=reason,
            consensus=consensus,
        )
        amount = Decimal(quantity)
        approval = self.add(
            TradeApproved,
            at,
            cause=proposal.id,
            instrument=instrument,
            proposal=proposal.id,
            side=side,
            quantity=amount,
            price=Decimal(str(price)),
            reduce_only=role == "exit",
            clamps=clamps,
        )
        order: OrderRequested = self.add(
            OrderRequested,
            at,
            cause=approval.id,
            instrument=instrument,
            side=side,
            order_type="market",
            quantity=amount,
            role=role,
            approval=approval.id,
            reduce_only=role == "exit",
        )
        return order

    def fill(
        self, order: OrderRequested, at: int, price: str, quantity: str = "", *, fee: str = "0"
    ) -> PositionChanged:
        """Fill an order, wholly unless a quantity is given, and book it at average cost."""
        self.add(OrderAccepted, at - NS_PER_MS, order.instrument, order=order.id, venue_order="v1")
        amount = Decimal(quantity) if quantity else order.quantity
        fill = self.add(
            OrderFilled,
            at,
            order.instrument,
            order=order.id,
            side=order.side,
            quantity=amount,
            price=Decimal(price),
            fee=Decimal(fee),
            leaves_quantity=order.quantity - amount,
        )
        realised = self._book(order.instrument, amount if order.side == "buy" else -amount, Decimal(price))
        self.cash -= (amount if order.side == "buy" else -amount) * Decimal(price) + Decimal(fee)
        self.realised += realised
        self.fees += Decimal(fee)
        held, average = self.held[order.instrument]
        position: PositionChanged = self.add(
            PositionChanged,
            at,
            cause=fill.id,
            instrument=order.instrument,
            order=order.id,
            quantity=held,
            average_price=round(average, 10),
            realised_pnl=realised,
            fee=Decimal(fee),
            cash=self.cash,
            total_realised_pnl=self.realised,
            total_fees=self.fees,
        )
        return position

    def _book(self, instrument: str, change: Decimal, price: Decimal) -> Decimal:
        held, average = self.held[instrument]
        after = held + change
        if held == 0 or (held > 0) == (change > 0):
            self.held[instrument] = (after, (average * abs(held) + price * abs(change)) / abs(after))
            return Decimal(0)
        closed = min(abs(held), abs(change)) * (1 if held > 0 else -1)
        turned = (after > 0) != (held > 0)
        self.held[instrument] = (after, Decimal(0) if not after else price if turned else average)
        return round(closed * (price - average), 10)

    def mark(self, at: int) -> EquityMarked:
        """Sample the book's worth at the last prices."""
        notionals = {name: held * Decimal(str(self.last[name])) for name, (held, _) in self.held.items()}
        cost = sum((held * average for held, average in self.held.values()), Decimal(0))
        worth = sum(notionals.values(), Decimal(0))
        marked: EquityMarked = self.add(
            EquityMarked,
            at,
            equity=round(self.cash + worth, 8),
            cash=self.cash,
            unrealised_pnl=round(worth - cost, 8),
            realised_pnl=self.realised,
            fees=self.fees,
            gross_exposure=round(sum((abs(n) for n in notionals.values()), Decimal(0)), 8),
        )
        return marked

    def write(self) -> Path:
        """Write the folder."""
        log = self.root / "log"
        log.mkdir(parents=True)
        sums = ""
        for name in sorted(self.logs):
            data = b"".join(self.logs[name])
            (log / f"{name}.jsonl").write_bytes(data)
            sums += f"{sha256(data).hexdigest()}  {name}.jsonl\n"
        (log / "SHA256SUMS").write_text(sums, encoding="utf-8")
        (self.root / "book.json").write_bytes(encode(self.book))
        columns = list(zip(*self.prices, strict=True)) or [(), (), ()]
        table = pa.table(
            {
                "instrument": pa.array(columns[0], pa.string()),
                "time": pa.array(columns[1], pa.int64()),
                "price": pa.array(columns[2], pa.float64()),
            }
        )
        pq.write_table(table, self.root / "prices.parquet")
        return self.root
