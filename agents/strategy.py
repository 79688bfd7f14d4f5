"""From signals to a target position: the slow brain (the vote) gives the bias, the fast brain (a rule) the moment.

Modes: `consensus` enters where both agree and leaves when the vote turns; `override` also acts at once on a very
confident vote; `advisory` follows the fast brain and lets the vote veto an entry. One rule, `agents.scan.target_of`,
says what position each moment calls for; a proposal is made when that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from agents import features as f
from agents.agent import NEVER, Agent, Handler, State
from agents.features import Features
from agents.frame import Floats
from agents.layout import ADVISORY, BUY, CONSENSUS, HOLD, NO_BIAS, OVERRIDE, SELL, Rules, Signal
from agents.orders import Orders
from agents.portfolio import Portfolio
from agents.scan import called_for, take_vote
from schemas.accounting import PositionChanged
from schemas.base import NS_PER_MIN, Event
from schemas.book import Book
from schemas.control import BookResumed, ClockTicked, KillSwitchPulled
from schemas.decisions import ConsensusReached, Target, TradeProposed
from schemas.fields import MAX_NOTE_CHARS
from schemas.verdicts import Action

BIAS, STRONG, INTENT, SHORTABLE, KILLED = range(len(Signal._fields))
_MODE = {"consensus": CONSENSUS, "override": OVERRIDE, "advisory": ADVISORY}
_BIAS: dict[Action, int] = {"BUY": BUY, "SELL": SELL, "HOLD": HOLD}
_TARGET: dict[int, Target] = {1: "long", -1: "short", 0: "flat"}


class StrategyState(State, kw_only=True):
    """`signals` int64[instruments, 5]: bias, strong, intent, shortable, killed. `due` is the next lapse of a bias."""

    signals: np.ndarray
    until: np.ndarray
    """int64[instruments]: when each bias lapses."""
    votes: list[ConsensusReached | None]
    """The consensus behind each bias."""


class Strategy(Agent[StrategyState]):
    """Proposes trades."""

    name = "strategy"

    def __init__(self, book: Book, features: Features, portfolio: Portfolio, orders: Orders) -> None:
        """The others are read: indicators, what is held, and whether an order is under way."""
        n = len(book.instruments)
        signals = np.zeros((n, 5), np.int64)
        signals[:, SHORTABLE] = [instrument.shortable for instrument in book.instruments]
        super().__init__(book, StrategyState(signals=signals, until=np.full(n, NEVER), votes=[None] * n))
        self._features, self._portfolio, self._orders = features, portfolio, orders
        settings = book.strategy
        self.bias_ttl = settings.bias_ttl_min * NS_PER_MIN
        """How long a vote stays the bias."""
        self._fast_reasons = _fast_reasons(book)
        self.rules = np.array(
            Rules(
                mode=_MODE[settings.mode],
                fast_brain=settings.fast_brain == "ema_cross",
                slow_bars=book.features.ema_slow,
                hold_exits=settings.hold_exits,
            ),
            np.int64,
        )

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Signals, the clock that lets them lapse, positions that were stopped out, and the kill switch."""
        return {
            ConsensusReached: self.on_consensus_reached,
            ClockTicked: self.on_clock_ticked,
            PositionChanged: self.on_position_changed,
            KillSwitchPulled: self.on_kill_switch_pulled,
            BookResumed: self.on_book_resumed,
        }

    # Market data

    def speak(self, k: int, event: Event) -> Iterable[Event]:
        """Propose the trade that the event, a row of the `k`-th instrument, calls for."""
        return self._follow(event, k, self._features.state.rows[k])

    # Events

    def on_consensus_reached(self, event: ConsensusReached) -> tuple[Event, ...]:
        """Take the vote as the bias, and act on it if the moment is right."""
        k = self.index_of[event.instrument]
        state = self.state
        bias, strong = bias_of(event, self.book)
        take_vote(k, bias, strong, state.signals, self._orders.busy, self.rules, self._portfolio.exposures)
        state.votes[k] = event
        state.until[k] = event.observed_at + self.bias_ttl
        state.due = min(state.until.tolist())
        row = self._features.state.rows[k]
        if row[f.BARS] > 0 and not self._orders.busy[k]:
            return self._follow(event, k, row)
        return ()

    def on_clock_ticked(self, event: ClockTicked) -> tuple[Event, ...]:
        """Let a bias lapse that no vote has renewed."""
        state = self.state
        if event.observed_at >= state.due:
            for k in np.flatnonzero(state.until <= event.observed_at).tolist():
                self._forget(k)
            state.due = min(state.until.tolist())
        return ()

    def _forget(self, k: int) -> None:
        self.state.signals[k, BIAS] = NO_BIAS
        self.state.signals[k, STRONG] = 0
        self.state.until[k] = NEVER
        self.state.votes[k] = None

    def on_position_changed(self, event: PositionChanged) -> tuple[Event, ...]:
        """A position that a stop or target closed uses up the vote behind it: only a new one enters again.

        A fill that crossed the kill switch on its way is closed in turn.
        """
        k = self.index_of[event.instrument]
        signals, busy = self.state.signals, self._orders.busy.item(k)
        if signals.item(k, KILLED):
            signals[k, INTENT] = self._side_held(k)
            if not busy:
                return self._follow(event, k, self._features.state.rows[k])
        elif not event.quantity and signals.item(k, INTENT) != 0 and not busy:
            self._forget(k)
            self.state.due = min(self.state.until.tolist())
        return ()

    def on_kill_switch_pulled(self, event: KillSwitchPulled) -> Iterator[Event]:
        """Close whatever is open, and go on until it is closed."""
        for k, signal in enumerate(self.state.signals):
            self._forget(k)
            signal[KILLED] = 1
            signal[INTENT] = self._side_held(k)
            yield from self._follow(event, k, self._features.state.rows[k], f"kill switch: {event.reason}")
        self.state.due = NEVER

    def on_book_resumed(self, event: BookResumed) -> tuple[Event, ...]:
        """Enter again."""
        self.state.signals[:, KILLED] = 0
        return ()

    def _side_held(self, k: int) -> int:
        held = self._portfolio.quantity(k)
        return (held > 0) - (held < 0)

    def _follow(self, event: Event, k: int, row: Floats, reason: str = "") -> tuple[Event, ...]:
        signal = self.state.signals[k]
        cross, target = called_for(k, self._features.state.rows, self.state.signals, self.rules)
        if target == signal.item(INTENT):
            return ()
        signal[INTENT] = target
        proposed = self._propose(event, k, row, (reason or self._reason(k, cross))[:MAX_NOTE_CHARS])
        if signal.item(KILLED):
            signal[INTENT] = self._side_held(k)  # so that each bar asks again until nothing is held
        return (proposed,)

    def _propose(self, cause: Event, k: int, row: Floats, reason: str) -> Event:
        settings = self.book.strategy
        instrument = self.book.instruments[k].id
        intent = self.state.signals.item(k, INTENT)
        vote = self.state.votes[k]
        backs = vote is not None and _BIAS[vote.action] == intent
        price, atr = row.item(f.PRICE), row.item(f.ATR)
        stop = vote.stop_price if vote is not None and backs else None
        target = vote.target_price if vote is not None and backs else None
        if intent and stop is None and settings.stop_atr is not None:
            stop = price - intent * settings.stop_atr * atr
        if intent and target is None and settings.target_atr is not None:
            target = price + intent * settings.target_atr * atr
        proposed = TradeProposed(
            id="",
            key=instrument,
            occurred_at=0,
            observed_at=0,
            instrument=instrument,
            mode=settings.mode,
            target=_TARGET[intent],
            conviction=self._conviction(vote if backs else None),
            price=price,
            reason=reason,
            consensus=vote.id if vote is not None else "",
            stop_price=_on_side(stop, price, -intent),
            target_price=_on_side(target, price, intent),
        )
        return self.signed(proposed, cause)

    def _conviction(self, vote: ConsensusReached | None) -> float:
        """Full where no models are asked; else the vote's confidence times its size hint, half of it without one."""
        if not self.book.analysts.models:
            return 1.0
        if vote is None:
            return 0.5
        return vote.confidence * (vote.size_hint if vote.size_hint is not None else 1.0)

    def _reason(self, k: int, cross: int) -> str:
        """Say in words what the two brains see."""
        if self.state.signals.item(k, KILLED):
            return "the kill switch is pulled"
        fast, vote = self._fast_reasons[cross], self.state.votes[k]
        if vote is None:
            return fast
        return f"{vote.agree} of {vote.of} models say {vote.action} ({vote.confidence:.2f}); {fast}"


def bias_of(vote: ConsensusReached, book: Book) -> tuple[int, int]:
    """Give a vote as the kernels read it: which way, and 1 if it is as strong as an override asks."""
    return _BIAS[vote.action], int(vote.confidence >= book.strategy.override_confidence)


def _on_side(level: float | None, price: float, side: int) -> float | None:
    """Give a level if it lies on the side of the price (1 above, -1 below) where it protects; else None."""
    if level is None or level <= 0.0 or side * (level - price) <= 0.0:
        return None
    return level


def _fast_reasons(book: Book) -> dict[int, str]:
    """Say in words what the fast brain sees, by the way it points."""
    settings, sides = book.features, {1: "above", -1: "below", 0: "not yet known against"}
    if book.strategy.fast_brain == "none":
        return dict.fromkeys(sides, "no fast brain")
    return {cross: f"EMA {settings.ema_fast} {side} EMA {settings.ema_slow}" for cross, side in sides.items()}
