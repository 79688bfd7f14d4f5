"""What an executor owes, as rules: each a pure function over the orders that were played and the words on `fills`.

docs/executing.md is the contract in prose. No rule depends on a price, so they hold on paper and at any venue. A
record that the sequencer would refuse counts as not said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from agents.money import CONTEXT, ZERO
from agents.orders import DONE, TRANSITIONS, Status
from schemas.book import Book
from schemas.checks import MAX_CLOCK_SKEW_NS
from schemas.execution import (
    CancelRequested,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderRequested,
)
from schemas.operations import RecordRefused
from streams.intake import Intake, Record

Answer = OrderAccepted | OrderRejected | OrderFilled | OrderCanceled | OrderExpired
RESTART, REDUCE_ONLY = "restart", "reduce-only"
"""Scenarios that have a rule of their own."""


class Sent(msgspec.Struct, frozen=True):
    """An order or a cancel that was played, and when it was first sent, in ns."""

    event: OrderRequested | CancelRequested
    scenario: str
    at: int


class Word(msgspec.Struct, frozen=True):
    """A record of `fills`: what it says, or why the sequencer would refuse it. `at` is when it was read, in ns."""

    record: Record
    key: bytes
    at: int
    answer: Answer | None = None
    refused: str = ""


class Played(msgspec.Struct, frozen=True):
    """What was played to the executor of a book."""

    book: Book
    sent: Sequence[Sent]
    restarted: bool = False


class Breach(msgspec.Struct, frozen=True):
    """A broken rule: the order, its scenario, what is wrong, and the record that shows it, if one does."""

    order: str
    scenario: str
    text: str
    position: str = ""
    record: str = ""


class Finding(msgspec.Struct, frozen=True):
    """What became of a rule."""

    rule: str
    promise: str
    verdict: Literal["kept", "broken", "not shown"]
    breaches: list[Breach]


def read_word(book: Book, record: Record, key: bytes, at: int) -> Word:
    """Read a record as the sequencer would that has seen none before."""
    taken = Intake([book], [book]).take(record, at)
    if isinstance(taken, RecordRefused):
        return Word(record, key, at, refused=taken.reason)
    event = taken[0]
    assert isinstance(event, Answer)  # noqa: S101 - the intake lets no other type onto `fills`
    return Word(record, key, at, event)


class Case:
    """What was played, and what was said of each order, every id once."""

    def __init__(self, played: Played, words: Sequence[Word]) -> None:
        """Sort the words, which come in the order in which they were read."""
        self.played, self.words = played, words
        self.orders = {sent.event.id: sent for sent in played.sent if isinstance(sent.event, OrderRequested)}
        self.cancels: dict[str, Sent] = {}
        """Of each order, the first cancel."""
        for sent in played.sent:
            if isinstance(sent.event, CancelRequested):
                self.cancels.setdefault(sent.event.order, sent)
        self.said: dict[str, list[Word]] = {order: [] for order in self.orders}
        self.strangers: list[Word] = []
        """Words on orders that were not played."""
        self.repeats: list[tuple[Word, Word]] = []
        first: dict[str, Word] = {}
        for word in words:
            if word.answer is None:
                continue
            if word.answer.id in first:
                self.repeats.append((first[word.answer.id], word))
                continue
            first[word.answer.id] = word
            self.said.get(word.answer.order, self.strangers).append(word)

    def requested(self, order: str) -> OrderRequested:
        """Give an order as it was asked for."""
        event = self.orders[order].event
        assert isinstance(event, OrderRequested)  # noqa: S101 - the table holds no other
        return event

    def answers(self, order: str) -> list[Answer]:
        """Give what was said of an order."""
        return [word.answer for word in self.said[order] if word.answer is not None]

    def filled(self, order: str, until: int | None = None) -> Decimal:
        """Add up an order's fills that were read until then."""
        total = ZERO
        for word in self.said[order]:
            if isinstance(word.answer, OrderFilled) and (until is None or word.at <= until):
                total = CONTEXT.add(total, word.answer.quantity)
        return total

    def status(self, order: str) -> Status:
        """Give an order's state as the desk sees it, who leaves what breaks its table aside."""
        status: Status = "requested"
        filled, quantity = ZERO, self.requested(order).quantity
        for answer in self.answers(order):
            status = TRANSITIONS.get((status, type(answer)), status)
            if isinstance(answer, OrderFilled):
                filled = CONTEXT.add(filled, answer.quantity)
                if filled >= quantity:
                    status = "filled"
        return status

    def has_ended(self, order: str) -> bool:
        """Tell whether nothing more is to come of an order."""
        return self.status(order) in DONE

    def breach(self, order: str, text: str, word: Word | None = None) -> Breach:
        """Say what is wrong with an order."""
        scenario = self.orders[order].scenario if order in self.orders else ""
        if word is None:
            return Breach(order, scenario, text)
        record = (word.record.value or b"").decode("utf-8", errors="backslashreplace")
        return Breach(order, scenario, text, word.record.place, record)


# The rules


def _readable(case: Case) -> Iterator[Breach]:
    for word in case.words:
        if word.refused:
            yield case.breach("", word.refused, word)


def _in_one_place(case: Case) -> Iterator[Breach]:
    name = case.played.book.name.encode()
    for word in case.words:
        if word.key != name:
            yield case.breach("", f"the record's key is {word.key!r}, not the book {name!r}", word)
        elif word.record.partition != case.words[0].record.partition:
            yield case.breach("", f"partition {word.record.partition}: the book's words have no order any more", word)


def _addressed(case: Case) -> Iterator[Breach]:
    for word in case.strangers:
        yield case.breach(word.answer.order if word.answer else "", "no such order was asked for", word)
    for order, words in case.said.items():
        requested = case.requested(order)
        for word in words:
            answer = word.answer
            if answer is None:
                continue
            if answer.book != requested.book:
                yield case.breach(order, f"book is {answer.book!r}, not the order's {requested.book!r}", word)
            if answer.key != requested.instrument:
                yield case.breach(order, f"key is {answer.key!r}, not the instrument {requested.instrument!r}", word)
            if isinstance(answer, OrderFilled) and answer.side != requested.side:
                yield case.breach(order, f"a {requested.side} order was filled as a {answer.side}", word)


def _one_id_one_word(case: Case) -> Iterator[Breach]:
    for first, again in case.repeats:
        if first.answer and again.answer and _timeless(first.answer) != _timeless(again.answer):
            place = first.record.place
            yield case.breach(again.answer.order, f"id {again.answer.id} said something else at {place}", again)


def _timeless(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, occurred_at=1, observed_at=1)


def _answered(case: Case) -> Iterator[Breach]:
    for order, sent in case.orders.items():
        if sent.scenario != RESTART and not case.said[order]:
            yield case.breach(order, "no answer: neither accepted nor rejected")


def _accepted_first(case: Case) -> Iterator[Breach]:
    for order, words in case.said.items():
        for word in words:
            if isinstance(word.answer, OrderAccepted):
                break
            if isinstance(word.answer, OrderFilled):
                yield case.breach(order, "filled before it was accepted", word)
                break


def _one_life(case: Case) -> Iterator[Breach]:
    for order, words in case.said.items():
        status: Status = "requested"
        filled, quantity = ZERO, case.requested(order).quantity
        for word in words:
            answer = word.answer
            if answer is None:
                continue
            following = TRANSITIONS.get((status, type(answer)))
            if following is None:
                yield case.breach(order, f"{type(answer).__name__}, but the order is {status}", word)
                continue
            status = following
            if isinstance(answer, OrderFilled):
                filled = CONTEXT.add(filled, answer.quantity)
                if filled >= quantity:
                    status = "filled"


def _quantities(case: Case) -> Iterator[Breach]:
    for order, words in case.said.items():
        quantity, filled = case.requested(order).quantity, ZERO
        for word in words:
            if not isinstance(word.answer, OrderFilled):
                continue
            filled = CONTEXT.add(filled, word.answer.quantity)
            if filled > quantity:
                yield case.breach(order, f"{filled} filled of {quantity}", word)
            elif word.answer.leaves_quantity != CONTEXT.subtract(quantity, filled):
                leaves = word.answer.leaves_quantity
                yield case.breach(order, f"{filled} of {quantity} filled, but leaves_quantity is {leaves}", word)


def _cancels(case: Case) -> Iterator[Breach]:
    for order in _canceled(case):
        if not case.has_ended(order):
            yield case.breach(order, "was to be canceled, and is neither canceled nor filled")


def _canceled(case: Case) -> Iterator[str]:
    """Give the orders that were accepted, and canceled, outside of the restart."""
    for order in case.cancels:
        if order in case.orders and case.orders[order].scenario != RESTART and case.said[order]:
            yield order


def _ended(case: Case) -> Iterator[Breach]:
    canceled = set(_canceled(case))
    for order, sent in case.orders.items():
        waits = sent.scenario == RESTART or order in canceled or not case.said[order]
        if not waits and not case.has_ended(order):
            yield case.breach(order, f"has no end: it is {case.status(order)} still")


def _unasked(case: Case) -> Iterator[Breach]:
    for order, words in case.said.items():
        requested = case.requested(order)
        if requested.order_type == "market" or requested.reduce_only or requested.expires_at:
            continue  # a venue may cancel the rest of these by itself
        cancel = case.cancels.get(order)
        for word in words:
            if isinstance(word.answer, OrderCanceled) and (cancel is None or word.at < cancel.at):
                yield case.breach(order, "canceled, and nobody had asked for it", word)


def _expiry(case: Case) -> Iterator[Breach]:
    for order, words in case.said.items():
        expires_at = case.requested(order).expires_at
        for word in words:
            if isinstance(word.answer, OrderExpired):
                if not expires_at:
                    yield case.breach(order, "expired, but it is good till canceled", word)
                elif word.answer.occurred_at < expires_at - MAX_CLOCK_SKEW_NS:
                    early_s = (expires_at - word.answer.occurred_at) / 1e9
                    yield case.breach(order, f"expired {early_s:.1f} s before its time", word)
            elif isinstance(word.answer, OrderCanceled) and expires_at and order not in case.cancels:
                yield case.breach(order, "lapsed at its time: say OrderExpired", word)


def _reduce_only(case: Case) -> Iterator[Breach]:
    for order in _reducing(case):
        sent, requested = case.orders[order], case.requested(order)
        held = ZERO
        for other in case.orders:
            if other != order and case.requested(other).instrument == requested.instrument:
                filled = case.filled(other, sent.at)
                held = CONTEXT.add(held, filled if case.requested(other).side == "buy" else CONTEXT.minus(filled))
        room = max(held if requested.side == "sell" else CONTEXT.minus(held), ZERO)
        if case.filled(order) > room:
            text = f"a reduce-only {requested.side} filled {case.filled(order)}, and {room} was there to reduce"
            last = next(word for word in reversed(case.said[order]) if isinstance(word.answer, OrderFilled))
            yield case.breach(order, text, last)


def _reducing(case: Case) -> list[str]:
    return [
        order
        for order, sent in case.orders.items()
        if sent.scenario == REDUCE_ONLY and case.requested(order).reduce_only
    ]


def _restart(case: Case) -> Iterator[Breach]:
    for order, sent in case.orders.items():
        if sent.scenario == RESTART and not case.has_ended(order):
            said = f"it is {case.status(order)} still" if case.said[order] else "nothing was said of it"
            yield case.breach(order, f"was forgotten over the restart: {said}")


def _traded(case: Case) -> Iterator[Breach]:
    if not any(case.filled(order) for order in case.orders):
        yield Breach("", "", "no order was filled, so little was proved; do --price and --quantity suit the venue?")


def _always(_: Case) -> bool:
    return True


class Rule(msgspec.Struct, frozen=True):
    """A rule's name, what it promises, how it is checked, and whether the play has shown it at all."""

    name: str
    promise: str
    check: Callable[[Case], Iterator[Breach]]
    shown: Callable[[Case], bool] = _always


def _accepted_some(case: Case, is_meant: Callable[[str], bool]) -> bool:
    return any(
        any(isinstance(answer, OrderAccepted) for answer in case.answers(order))
        for order in case.orders
        if is_meant(order)
    )


RULES: tuple[Rule, ...] = (
    Rule("readable", "the sequencer takes every record: schema, times, topic", _readable),
    Rule("place", "the record's key is the book, and all its words stand in one partition", _in_one_place),
    Rule("address", "book, order, instrument and side are those of an order that was asked for", _addressed),
    Rule("ids", "an id is written again only to say the same", _one_id_one_word),
    Rule("answer", "every order is accepted or rejected", _answered),
    Rule("acceptance", "an order is accepted before it is filled", _accepted_first),
    Rule("life", "an order lives once: accepted once, ended once, silent after its end", _one_life),
    Rule("quantity", "fills sum to the quantity at most, and leaves_quantity is the rest", _quantities),
    Rule("end", "an order that is not to rest comes to an end", _ended),
    Rule("cancel", "a cancel ends an order, if a fill does not", _cancels, lambda case: any(_canceled(case))),
    Rule(
        "unasked",
        "a resting order is not canceled unless asked for",
        _unasked,
        lambda case: _accepted_some(case, lambda order: case.requested(order).order_type == "limit"),
    ),
    Rule(
        "expiry",
        "an order expires at its time, and says so",
        _expiry,
        lambda case: _accepted_some(case, lambda order: bool(case.requested(order).expires_at)),
    ),
    Rule(
        "reduce-only",
        "a reduce-only order trades no more than the position",
        _reduce_only,
        lambda case: any(case.filled(order) for order in _reducing(case)),
    ),
    Rule("restart", "no order is forgotten over a restart", _restart, lambda case: case.played.restarted),
    Rule("trade", "something was traded at all", _traded),
)


def judge(played: Played, words: Sequence[Word]) -> list[Finding]:
    """Hold what was said against every rule."""
    case = Case(played, words)
    findings = []
    for rule in RULES:
        breaches = list(rule.check(case))
        verdict: Literal["kept", "broken", "not shown"] = "kept" if rule.shown(case) else "not shown"
        findings.append(Finding(rule.name, rule.promise, "broken" if breaches else verdict, breaches))
    return findings
