"""What models may cost: every call is paid for at its worst before it is made, and no cap is ever passed.

Amounts are exact. What a call turned out to cost replaces its worst once that is known; a call of which nobody knows
how it ended has cost its worst. An hour and a day are those of the clock, UTC, in which the call began.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from schemas.base import NS_PER_DAY, NS_PER_MIN
from schemas.book import BudgetSettings, Caps
from schemas.errors import QuorumError
from schemas.verdicts import NOTHING, ModelCallEnded, ModelCallStarted

NS_PER_HOUR = 60 * NS_PER_MIN
ALERT_SHARE = Decimal("0.8")
ALL = ""
"""In place of a model's name: all models together."""
KEPT_WINDOWS = 2
"""Hours, and days, before the newest in which a call that is still open can be settled."""
Span = Literal["call", "hour", "day", "run"]


class OverBudgetError(QuorumError):
    """A call could pass a cap, so it is not made; the cap is named."""


class Hold(NamedTuple):
    """Money that is set aside for a call that is under way."""

    number: int
    model: str
    worst_usd: Decimal
    at: int


class Purse(Protocol):
    """What a voter pays its calls from."""

    def reserve(self, model: str, worst_usd: Decimal, at: int) -> Hold:
        """Set aside the most that a call begun at `at` (ns) can cost. Raises OverBudgetError, which names the cap."""

    def settle(self, hold: Hold, actual_usd: Decimal) -> None:
        """Replace the worst of a call by what it cost."""


class CapAlert(NamedTuple):
    """A cap that is nearly spent, or that has stopped a call."""

    model: str
    """Empty of the cap on all models together."""
    span: Span
    cap_usd: Decimal
    spent_usd: Decimal
    """Of calls that have ended, in this span."""
    reached: bool
    """Calls are refused for it; otherwise 80 % of it are spent."""
    at: int

    @property
    def text(self) -> str:
        """Say it in one sentence."""
        what = f"the budget of {_cap_name(self.model, self.span)}, {_usd(self.cap_usd)},"
        if self.span == "call":
            return f"{what} has stopped a call"
        if self.reached:
            return f"{what} is reached: {_usd(self.spent_usd)} are spent, and calls are refused"
        return f"{what} is spent to {_usd(self.spent_usd)}, over 80 %"


class CapSpent(NamedTuple):
    """How far a cap is spent."""

    model: str
    """Empty of the cap on all models together."""
    span: Span
    cap_usd: Decimal
    spent_usd: Decimal
    """Ended calls at their cost, open ones at their worst."""


class _Account:
    """One cap over one span: of all models or of one."""

    def __init__(self, model: str, span: Span, cap: Decimal) -> None:
        self.model, self.span, self.cap = model, span, cap
        self.spent, self.held = NOTHING, NOTHING
        self._told_near = self._told_reached = False

    def refusal(self, worst: Decimal) -> str:
        """Say why a call cannot be paid; nothing if it can."""
        if self.spent + self.held + worst <= self.cap:
            return ""
        name = _cap_name(self.model, self.span)
        if self.span == "call":
            return f"the call may cost {_usd(worst)}, and the budget of {name} is {_usd(self.cap)}"
        under_way = f" and {_usd(self.held)} under way" if self.held else ""
        return (
            f"the call may cost {_usd(worst)}, and of the budget of {name}, {_usd(self.cap)}, {_usd(self.spent)} are"
            f" spent{under_way}"
        )

    def alerts(self, at: int, *, refused: bool = False) -> Iterator[CapAlert]:
        """Give what is to be told now and was not before."""
        near = self.span != "call" and self.spent >= self.cap * ALERT_SHARE and self.spent > 0
        reached = refused or (self.span != "call" and self.spent >= self.cap and self.spent > 0)
        if near and not self._told_near:
            self._told_near = True
            yield CapAlert(self.model, self.span, self.cap, self.spent, reached=False, at=at)
        if reached and not self._told_reached:
            self._told_reached = True
            yield CapAlert(self.model, self.span, self.cap, self.spent, reached=True, at=at)


class BudgetPurse:
    """A purse that holds to the caps of a book's budget, whatever its callers' threads do."""

    def __init__(self, budget: BudgetSettings, alert: Callable[[CapAlert], None] = lambda _: None) -> None:
        """`alert` is told once a cap and span that 80 % are spent, and once that the cap is reached.

        It is called in the thread that brought it about, which holds no lock.
        """
        self._budget, self._alert = budget, alert
        self._lock = threading.Lock()
        self._accounts: dict[tuple[str, Span, int], _Account] = {}
        self._open: dict[int, tuple[Hold, bool]] = {}
        self._number = 0
        self._taken: dict[str, Hold | None] = {}
        self._spent: dict[str, Decimal] = {}
        self._newest: dict[Span, int] = {}

    def reserve(self, model: str, worst_usd: Decimal, at: int) -> Hold:
        """Set aside the most that a call begun at `at` can cost. Raises OverBudgetError, which names the cap."""
        _check(worst_usd)
        with self._lock:
            accounts = self._accounts_of(model, at, in_run=True)
            refusing = next((each for each in accounts if each.refusal(worst_usd)), None)
            if refusing is None:
                hold = self._hold(model, worst_usd, at, in_run=True)
            else:
                reason, alerts = refusing.refusal(worst_usd), list(refusing.alerts(at, refused=True))
        if refusing is None:
            return hold
        self._tell(alerts)
        raise OverBudgetError(reason)

    def settle(self, hold: Hold, actual_usd: Decimal) -> None:
        """Replace the worst of a call by what it cost. A hold is settled once; ValueError says that it was before."""
        _check(actual_usd)
        with self._lock:
            alerts = self._settle(hold, actual_usd)
        self._tell(alerts)

    def take(self, event: ModelCallStarted | ModelCallEnded, *, in_run: bool = False) -> None:
        """Take what an earlier process spent, event by event in the order of their log; one seen before is nothing new.

        It counts towards the caps of the hour and day in which the call began, and with `in_run` towards the run's. A
        start costs its worst until its end is taken.
        """
        with self._lock:
            alerts: list[CapAlert] = []
            if isinstance(event, ModelCallStarted):
                if event.id not in self._taken:
                    self._taken[event.id] = self._hold(
                        event.model, event.worst_cost_usd, event.observed_at, in_run=in_run
                    )
            elif event.cause not in self._taken:  # its start is no longer in the log
                self._taken[event.cause] = None
                hold = self._hold(event.model, event.cost_usd, event.observed_at, in_run=in_run)
                alerts = self._settle(hold, event.cost_usd)
            elif (begun := self._taken[event.cause]) is not None:
                self._taken[event.cause] = None
                alerts = self._settle(begun, event.cost_usd)
        self._tell(alerts)

    def spent(self, model: str = ALL) -> Decimal:
        """Give what this purse has paid, of a model or in all: ended calls at their cost, open ones at their worst.

        What `take` was told without `in_run` is not counted.
        """
        with self._lock:
            if model:
                return self._spent.get(model, NOTHING)
            return sum(self._spent.values(), NOTHING)

    def caps(self, at: int) -> list[CapSpent]:
        """Give how far each cap of the hour and the day of `at`, and of the run, is spent."""
        with self._lock:
            return [
                CapSpent(model, account.span, account.cap, account.spent + account.held)
                for model in (ALL, *self._budget.models)
                for account in self._accounts_of(model, at, in_run=True)
                if account.model == model and account.span != "call"
            ]

    def _hold(self, model: str, worst: Decimal, at: int, *, in_run: bool) -> Hold:
        self._number += 1
        hold = Hold(self._number, model, worst, at)
        self._open[hold.number] = hold, in_run
        for account in self._accounts_of(model, at, in_run=in_run):
            if account.span != "call":
                account.held += worst
        if in_run:
            self._spent[model] = self._spent.get(model, NOTHING) + worst
        return hold

    def _settle(self, hold: Hold, actual: Decimal) -> list[CapAlert]:
        held = self._open.get(hold.number)
        if held is None or held[0] != hold:
            raise ValueError(f"hold {hold.number} of model {hold.model!r} was settled before, or is of another purse")
        del self._open[hold.number]
        in_run = held[1]
        if in_run:
            self._spent[hold.model] += actual - hold.worst_usd
        alerts: list[CapAlert] = []
        for account in self._accounts_of(hold.model, hold.at, in_run=in_run):
            if account.span != "call":
                account.held -= hold.worst_usd
                account.spent += actual
                alerts += account.alerts(hold.at)
        return alerts

    def _accounts_of(self, model: str, at: int, *, in_run: bool) -> list[_Account]:
        """Give the accounts that a call of `model` at `at` draws on, made where they are not yet there."""
        caps: list[tuple[str, Caps]] = [(ALL, self._budget)]
        if model in self._budget.models:
            caps.append((model, self._budget.models[model]))
        accounts = []
        for name, cap in caps:
            limits: tuple[tuple[Span, Decimal | None, int], ...] = (
                ("call", cap.per_call_usd, 0),
                ("hour", cap.per_hour_usd, at // NS_PER_HOUR),
                ("day", cap.per_day_usd, at // NS_PER_DAY),
                ("run", cap.per_run_usd if in_run else None, 0),
            )
            accounts += [self._account(name, span, most, window) for span, most, window in limits if most is not None]
        return accounts

    def _account(self, model: str, span: Span, cap: Decimal, window: int) -> _Account:
        key = model, span, window
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(model, span, cap)
            if window > self._newest.get(span, 0):
                self._newest[span] = window
                self._forget(span, window - KEPT_WINDOWS)
        return account

    def _forget(self, span: Span, before: int) -> None:
        """Let go of windows that are long over, but for those in which a call is still open."""
        ns = NS_PER_HOUR if span == "hour" else NS_PER_DAY
        open_windows = {hold.at // ns for hold, _ in self._open.values()}
        for key in [key for key in self._accounts if key[1] == span and key[2] < before]:
            if key[2] not in open_windows:
                del self._accounts[key]

    def _tell(self, alerts: list[CapAlert]) -> None:
        for alert in alerts:
            self._alert(alert)


def _check(amount: Decimal) -> None:
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{amount} is no amount of money that a call can cost")


def _cap_name(model: str, span: Span) -> str:
    whose = f"model {model!r}" if model else "all models"
    return f"{whose} per {span}"


def _usd(amount: Decimal) -> str:
    """Write an amount without an exponent and without the zeros at its end."""
    text = f"{amount:f}"
    return f"${text.rstrip('0').rstrip('.') if '.' in text else text}"
