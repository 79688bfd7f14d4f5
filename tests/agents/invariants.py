"""What must hold of every desk after every event, written once: every test that runs a desk runs it through here."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_UP, Context, Decimal, localcontext

import msgspec

from agents import features as f
from agents.frame import Frame
from agents.money import exact
from agents.pipeline import MARKET_EVENTS, Desk
from agents.risk import Risk
from schemas.base import NS_PER_DAY, Event
from schemas.codec import decode, encode
from schemas.control import BookPaused, BookResumed, KillSwitchPulled
from schemas.decisions import ConsensusFailed, ConsensusReached, TradeApproved
from schemas.execution import OrderCanceled, OrderExpired, OrderFilled, OrderRejected, OrderRequested

EXACT = Context(prec=100)
HOSTILE = Context(prec=3, rounding=ROUND_UP)
"""What a program around the desk might have set; no digit may depend on it."""
ZERO = Decimal(0)


class Witness:
    """Takes events to a desk, numbers them as a journal would, and holds its answers against the invariants."""

    def __init__(self, desk: Desk) -> None:
        self.take_over(desk)
        self.seq = 0
        self._known: set[str] = set()
        self._answered: set[str] = set()
        self._approvals: dict[str, TradeApproved] = {}
        self._approved_proposals: set[str] = set()
        self._ordered: set[str] = set()
        self._settled: set[str] = set()
        self._entries: list[int] = []
        self._under_way: dict[str, tuple[str, Decimal]] = {}
        self._halted = False

    def take_over(self, desk: Desk) -> None:
        """Go on with a desk that was restored from the last one."""
        self.desk = desk
        [self._risk] = [agent for agent in desk.agents if isinstance(agent, Risk)]

    def apply(self, event: Event) -> list[Event]:
        """Journal an event."""
        self.seq += 1
        entry = msgspec.structs.replace(event, book=self.desk.book.name, seq=self.seq)
        return self._held_to(entry, lambda: self.desk.apply(entry))

    def speak(self, frame: Frame, row: int) -> list[Event]:
        """Journal a row of a frame."""
        self.seq += 1
        entry = frame.event(row, self.desk.book.name, self.seq)
        return self._held_to(entry, lambda: self.desk.speak(frame, row, self.seq))

    def scan(self, frame: Frame, lo: int, hi: int) -> int:
        """Journal the quiet rows from `lo` on; give the first that is not."""
        stop = self.desk.scan(frame, lo, hi)
        self.seq += stop - lo
        return stop

    def _held_to(self, entry: Event, act: Callable[[], list[Event]]) -> list[Event]:
        assert decode(encode(entry)) == entry
        if entry.id not in self._known:
            self._follow_order(entry)
        self._known.add(entry.id)
        if isinstance(entry, BookPaused | KillSwitchPulled):
            self._halted = True
        if isinstance(entry, BookResumed):
            self._halted = False
        if isinstance(entry, TradeApproved):
            self._approvals[entry.id] = entry
        with localcontext(HOSTILE):
            answers = act()
        with localcontext(EXACT):
            for answer in answers:
                self._check_answer(entry, answer)
            self._check_state()
        return answers

    def _check_answer(self, entry: Event, answer: Event) -> None:
        assert decode(encode(answer)) == answer, "canonical, sane, and free of NaN"
        assert type(answer) not in MARKET_EVENTS
        assert answer.id not in self._known, f"two events have the id of {answer}"
        assert answer.cause in self._known, f"nothing is known of the cause of {answer}"
        assert (answer.book, answer.seq) == (self.desk.book.name, entry.seq)
        assert answer.observed_at == answer.occurred_at == entry.observed_at
        self._known.add(answer.id)
        if isinstance(answer, ConsensusReached | ConsensusFailed):
            assert answer.question not in self._settled, "a question is settled once"
            self._settled.add(answer.question)
        elif isinstance(answer, TradeApproved):
            self._check_approval(answer)
        elif isinstance(answer, OrderRequested):
            self._check_order(answer)

    def _check_approval(self, approval: TradeApproved) -> None:
        desk, limits = self.desk, self._risk.limits
        self._approvals[approval.id] = approval
        assert approval.proposal in self._known
        assert approval.proposal not in self._approved_proposals, "two approvals of one proposal"
        self._approved_proposals.add(approval.proposal)
        index = desk.features.index_of[approval.instrument]
        instrument = desk.book.instruments[index]
        assert approval.quantity % instrument.lot_size == 0, "not a whole number of lots"
        held = desk.portfolio.quantity(index)
        after = held + (approval.quantity if approval.side == "buy" else -approval.quantity)
        if approval.reduce_only:
            assert after == 0 != held, f"an exit from {held} to {after}"
            return
        assert not self._halted, "a paused book opens nothing"
        assert not desk.breakers.halts(index), "a tripped breaker opens nothing"
        price = exact(float(desk.features.state.rows[index, f.PRICE]))
        notional = abs(after) * price * instrument.multiplier
        equity = desk.portfolio.equity()
        assert notional >= instrument.min_notional
        assert notional <= equity * exact(limits.max_position_pct) / 100
        if limits.max_order_notional is not None:
            assert notional <= exact(limits.max_order_notional)
        others = sum((self._exposure(other) for other in range(len(desk.book.instruments)) if other != index), ZERO)
        assert others + notional <= equity * exact(limits.max_exposure_pct) / 100
        self._entries.append(approval.observed_at // NS_PER_DAY)
        if limits.max_orders_per_day is not None:
            assert self._entries.count(self._entries[-1]) <= limits.max_orders_per_day
        seen_at = int(desk.features.state.seen[index, f.SEEN_AT])
        assert approval.observed_at - seen_at < (limits.max_price_age_s + 1) * 1_000_000_000

    def _exposure(self, index: int) -> Decimal:
        """Give the notional that is held, or that will be once entries and exits are filled, if that is larger."""
        held = self.desk.portfolio.quantity(index)
        name = self.desk.book.instruments[index].id
        expected = held + sum((left for instrument, left in self._under_way.values() if instrument == name), ZERO)
        return max(abs(held), abs(expected)) * self.desk.portfolio.unit(index)

    def _follow_order(self, event: Event) -> None:
        """Keep what the venue says of entries and exits."""
        if isinstance(event, OrderFilled) and event.order in self._under_way:
            instrument, left = self._under_way[event.order]
            left -= event.quantity if event.side == "buy" else -event.quantity
            self._under_way[event.order] = (instrument, left)
        elif isinstance(event, OrderCanceled | OrderExpired | OrderRejected):
            self._under_way.pop(event.order, None)

    def _check_order(self, order: OrderRequested) -> None:
        approval = self._approvals.get(order.approval)
        assert approval is not None, "an order without an approval"
        assert order.instrument == approval.instrument
        if order.role in ("entry", "exit"):
            assert order.approval not in self._ordered, "two orders for one decision"
            self._ordered.add(order.approval)
            assert (order.side, order.quantity) == (approval.side, approval.quantity)
            assert order.reduce_only == approval.reduce_only == (order.role == "exit")
            left = order.quantity if order.side == "buy" else -order.quantity
            self._under_way[order.id] = (order.instrument, left)
        else:
            held = self.desk.portfolio.quantity(self.desk.features.index_of[order.instrument])
            assert order.reduce_only
            assert order.quantity == abs(held), "protection is as large as what it protects"
            assert order.side == ("sell" if held > 0 else "buy")

    def _check_state(self) -> None:
        """Hold the accounts and the derived numbers against the state."""
        desk, accounts = self.desk, self.desk.portfolio.state
        cost = sum((position.cost for position in accounts.positions), ZERO)
        assert accounts.cash == desk.book.cash + accounts.realised - accounts.fees - cost, "cash is conserved"
        for position in accounts.positions:
            assert position.quantity or not position.cost
        busy = [0] * len(desk.book.instruments)
        for order in desk.orders.state.working.values():
            busy[order.index] += order.role in ("entry", "exit")
        assert busy == desk.orders.busy.tolist()
        assert desk.due == min(agent.state.due for agent in desk.agents)
        quiet = (
            (desk.portfolio, desk.breakers) if desk.breakers.day_at == desk.breakers.state.due else (desk.portfolio,)
        )
        assert desk.loud_due == min(agent.state.due for agent in desk.agents if agent not in quiet)
