"""Why an order was placed: the chain of ids from the order back to what the models were shown.

order -> approval (with its clamps) -> proposal -> consensus (with its votes) -> verdicts -> questions, which
hold the texts and prices and cite their ids. A log is read once for any number of orders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from replay.log import JOURNAL
from replay.rundir import RunDir
from schemas.decisions import ConsensusFailed, ConsensusReached, TradeApproved, TradeProposed, Vote
from schemas.errors import ArchiveError
from schemas.execution import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)
from schemas.verdicts import InstructionPart, VerdictFailed, VerdictGiven, VerdictRequested

Answer = VerdictGiven | VerdictFailed
Signal = ConsensusReached | ConsensusFailed
VenueEvent = OrderAccepted | OrderRejected | OrderFilled | OrderCanceled | OrderExpired

SHORT_REASONING_CHARS = 160


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What led to an order, and what came of it. A part that the decision did without is None or empty."""

    order: OrderRequested
    venue: tuple[VenueEvent, ...] = ()
    """What the venue answered, in order."""
    approval: TradeApproved | None = None
    proposal: TradeProposed | None = None
    consensus: Signal | None = None
    verdicts: tuple[Answer, ...] = ()
    """In the order of the votes; a model that did not answer in time has none."""
    requests: tuple[VerdictRequested, ...] = ()
    """The questions that the verdicts answer."""

    @property
    def cites(self) -> tuple[str, ...]:
        """Ids of the market events and texts that the models were shown, each once."""
        parts = (part for request in self.requests for part in request.prompt)
        return tuple(dict.fromkeys(part.cites for part in parts if not isinstance(part, InstructionPart)))


def explain(run_dir: Path, order_id: str) -> Evidence:
    """Give the evidence of one order of a run. Raises ArchiveError where the run has no such order."""
    found = explain_orders(RunDir(run_dir), (order_id,))
    if order_id not in found:
        raise ArchiveError(f"{run_dir}: no order {order_id}; order ids stand in log/orders.jsonl and trades.csv")
    return found[order_id]


def explain_orders(run: RunDir, order_ids: Collection[str]) -> dict[str, Evidence]:
    """Give the evidence of several orders, by id; ids that are no order's are left out."""
    return gather(run, Reasons.read(run, order_ids), order_ids)


def gather(run: RunDir, reasons: Reasons, order_ids: Iterable[str]) -> dict[str, Evidence]:
    """Add to what is known of these orders the questions and the venue's answers."""
    orders = {id: reasons.orders[id] for id in order_ids if id in reasons.orders}
    chains = {id: reasons.chain(order) for id, order in orders.items()}
    answers = {id: reasons.answers_to(signal) for id, (_, _, signal) in chains.items()}
    causes = {answer.cause for given in answers.values() for answer in given}
    requests = run.pick("verdict-requests", causes, VerdictRequested)
    venue = _venue_events(run, orders)
    return {
        id: Evidence(
            order=order,
            venue=tuple(venue.get(id, ())),
            approval=chains[id][0],
            proposal=chains[id][1],
            consensus=chains[id][2],
            verdicts=answers[id],
            requests=tuple(requests[a.cause] for a in answers[id] if a.cause in requests),
        )
        for id, order in orders.items()
    }


def _venue_events(run: RunDir, orders: Collection[str]) -> dict[str, list[VenueEvent]]:
    found: dict[str, list[VenueEvent]] = {}
    kinds = (OrderAccepted, OrderRejected, OrderFilled, OrderCanceled, OrderExpired)
    events: Iterator[VenueEvent] = run.events(JOURNAL, *kinds)
    for event in events:
        if event.order in orders:
            found.setdefault(event.order, []).append(event)
    return found


class Reasons:
    """The decisions behind a set of orders, without the questions: what `trades.csv` needs of every fill."""

    def __init__(
        self,
        orders: dict[str, OrderRequested],
        approvals: dict[str, TradeApproved],
        proposals: dict[str, TradeProposed],
        signals: dict[str, Signal],
        answers: dict[str, Answer],
    ) -> None:
        self.orders = orders
        self.approvals = approvals
        self.proposals = proposals
        self.signals = signals
        self.answers = answers

    @classmethod
    def read(cls, run: RunDir, order_ids: Collection[str]) -> Reasons:
        """Read the chain behind these orders, one pass over each topic."""
        orders = run.pick("orders", order_ids, OrderRequested)
        approvals = run.pick("risk-decisions", {o.approval for o in orders.values()}, TradeApproved)
        proposals = run.pick("proposals", {a.proposal for a in approvals.values()}, TradeProposed)
        consensuses = {p.consensus for p in proposals.values() if p.consensus}
        signals: dict[str, Signal] = run.pick("signals", consensuses, ConsensusReached, ConsensusFailed)
        verdicts = {vote.verdict for signal in signals.values() for vote in signal.votes if vote.verdict}
        answers: dict[str, Answer] = run.pick(JOURNAL, verdicts, VerdictGiven, VerdictFailed)
        return cls(orders, approvals, proposals, signals, answers)

    def chain(self, order: OrderRequested) -> tuple[TradeApproved | None, TradeProposed | None, Signal | None]:
        """Give what led to an order; None from the first link that the log does not hold."""
        approval = self.approvals.get(order.approval)
        proposal = self.proposals.get(approval.proposal) if approval else None
        return approval, proposal, self.signals.get(proposal.consensus) if proposal else None

    def answers_to(self, signal: Signal | None) -> tuple[Answer, ...]:
        """Give the verdicts that a vote counted."""
        votes = signal.votes if signal else ()
        return tuple(self.answers[vote.verdict] for vote in votes if vote.verdict in self.answers)

    def why(self, order_id: str) -> str:
        """Give the reason of an order in the words of its proposal."""
        order = self.orders.get(order_id)
        if order is None:
            return "the order is not in the log"
        proposal = self.chain(order)[1]
        reason = proposal.reason if proposal else "the proposal is not in the log"
        if order.trigger_price is None:
            return reason
        return f"{order.role} at {order.trigger_price:f}, placed with the entry: {reason}"

    def in_words(self, order_id: str) -> tuple[str, tuple[str, ...]]:
        """Say in a line why an order was placed and who voted for it, and give the ids of the verdicts."""
        order = self.orders.get(order_id)
        signal = self.chain(order)[2] if order else None
        votes = signal.votes if signal else ()
        role = f"{order.role}: " if order and order.trigger_price is None else ""
        words = role + self.why(order_id)
        if votes:
            words += " | " + "; ".join(self._vote_in_words(vote) for vote in votes)
        return _one_line(words), tuple(vote.verdict for vote in votes if vote.verdict)

    def _vote_in_words(self, vote: Vote) -> str:
        answer = self.answers.get(vote.verdict)
        if isinstance(answer, VerdictGiven):
            said = shorten(answer.reasoning, SHORT_REASONING_CHARS)
            return f"{vote.model} {vote.action} {vote.confidence:.2f}" + (f" ({said})" if said else "")
        return f"{vote.model} did not answer ({vote.failure or 'no verdict before the deadline'})"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def shorten(text: str, limit: int) -> str:
    """Put a text on one line of at most `limit` characters."""
    line = _one_line(text)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
