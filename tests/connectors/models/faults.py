"""What a service may do to a question, and what becomes of it: the table that docs/models.md shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from tests.connectors.models.servers import PROSE, VOTE, Says, Wire, made

GOOD = json.dumps(VOTE)


def vote(**changes: object) -> str:
    """Write a vote in which some fields are otherwise."""
    return json.dumps({**VOTE, **changes})


class Fault(NamedTuple):
    """What a service does, request after request, and what the verdict is then."""

    what: str
    script: Callable[[Wire], Sequence[Says]]
    event: str
    """`VerdictGiven`, or the reason of the `VerdictFailed`."""
    calls: int
    charged: Literal["told", "worst", "nothing"]
    """Of each call: what the service told, the worst, or nothing. Of several, the last is followed by a good answer."""
    within_s: float = 30.0


def _then_good(first: Callable[[Wire], Says]) -> Callable[[Wire], Sequence[Says]]:
    return lambda wire: (first(wire), wire.votes(GOOD))


def _always(says: Callable[[Wire], Says]) -> Callable[[Wire], Sequence[Says]]:
    return lambda wire: (says(wire),)


FAULTS: tuple[Fault, ...] = (
    Fault("answers in the form", _always(lambda wire: wire.votes(GOOD)), "VerdictGiven", 1, "told"),
    Fault("declines to answer", _always(lambda wire: wire.refuses()), "refused", 1, "told"),
    Fault(
        "a guardrail or filter steps in",
        _always(lambda wire: wire.votes(text="Sorry, no.", stop=wire.filtered)),
        "refused",
        1,
        "told",
    ),
    Fault(
        "a guardrail or filter steps in behind an answer",
        _always(lambda wire: wire.votes(GOOD, stop=wire.filtered)),
        "refused",
        1,
        "told",
    ),
    Fault(
        "429 with Retry-After: 1, then answers",
        _then_good(lambda w: w.error(429, Retry_After="1")),
        "VerdictGiven",
        2,
        "told",
    ),
    Fault("429 again and again", _always(lambda wire: wire.error(429)), "unavailable", 2, "nothing"),
    Fault(
        "429 with Retry-After: 3600", _always(lambda w: w.error(429, Retry_After="3600")), "unavailable", 1, "nothing"
    ),
    Fault("500, then answers", _then_good(lambda wire: wire.error(500)), "VerdictGiven", 2, "told"),
    Fault("500 again and again", _always(lambda wire: wire.error(500)), "unavailable", 2, "nothing"),
    Fault("503 again and again", _always(lambda wire: wire.error(503)), "unavailable", 2, "nothing"),
    Fault("529 (overloaded) again and again", _always(lambda wire: wire.error(529)), "unavailable", 2, "nothing"),
    Fault("504: gave up on the model", _always(lambda wire: wire.error(504)), "timeout", 1, "worst"),
    Fault("401: the key is not accepted", _always(lambda wire: wire.error(401)), "unavailable", 1, "nothing"),
    Fault("403: the key may not do this", _always(lambda wire: wire.error(403)), "unavailable", 1, "nothing"),
    Fault("404: no such model", _always(lambda wire: wire.error(404)), "unavailable", 1, "nothing"),
    Fault("400: the request is not taken", _always(lambda wire: wire.error(400)), "unavailable", 1, "nothing"),
    Fault(
        "redirects to another address",
        _always(lambda _: made({}, 307, Location="http://127.0.0.1:9/elsewhere")),
        "unavailable",
        1,
        "nothing",
    ),
    Fault("the connection is refused", lambda _: (), "unavailable", 2, "nothing"),
    Fault("the connection is closed without a word", _always(lambda _: Says(closed=True)), "unavailable", 1, "worst"),
    Fault(
        "the answer is cut in the middle",
        _always(lambda wire: Says(wire.votes(GOOD).body, cut=True)),
        "unavailable",
        1,
        "worst",
    ),
    Fault("silence", _always(lambda _: Says(silent=True)), "timeout", 1, "worst", 0.8),
    Fault(
        "the answer drips", _always(lambda wire: Says(wire.votes(GOOD).body, drip_s=0.05)), "timeout", 1, "worst", 0.8
    ),
    Fault("the body is no JSON", _always(lambda wire: Says(wire.votes(GOOD).body[:-9])), "unparsable", 1, "worst"),
    Fault("the body is empty", _always(lambda _: Says()), "unparsable", 1, "worst"),
    Fault("the body has another shape", _always(lambda _: made({"answer": VOTE})), "unparsable", 1, "worst"),
    Fault("no content at all", _always(lambda wire: wire.votes()), "unparsable", 2, "told"),
    Fault("prose that holds a good answer", _always(lambda wire: wire.votes(text=PROSE)), "unparsable", 2, "told"),
    Fault("two answers", _always(lambda wire: wire.votes(GOOD, vote(action="SELL"))), "unparsable", 2, "told"),
    Fault(
        "the answer stops at max_reply_tokens",
        _always(lambda w: w.votes(GOOD, stop=w.cut_off)),
        "unparsable",
        2,
        "told",
    ),
    Fault("a field is missing", _always(lambda wire: wire.votes('{"action": "BUY"}')), "unparsable", 2, "told"),
    Fault("a field too many", _always(lambda wire: wire.votes(vote(order="now"))), "unparsable", 2, "told"),
    Fault("an unknown action", _always(lambda wire: wire.votes(vote(action="STRONG BUY"))), "unparsable", 2, "told"),
    Fault("confidence 1.7", _always(lambda wire: wire.votes(vote(confidence=1.7))), "unparsable", 2, "told"),
    Fault("confidence as a text", _always(lambda wire: wire.votes(vote(confidence="0.7"))), "unparsable", 2, "told"),
    Fault("a price below zero", _always(lambda wire: wire.votes(vote(stop_price=-1))), "unparsable", 2, "told"),
    Fault("a list in place of the form", _always(lambda wire: wire.votes("[]")), "unparsable", 2, "told"),
    Fault("does not fit, then does", _then_good(lambda w: w.votes(vote(confidence=1.7))), "VerdictGiven", 2, "told"),
)


def charged_words(fault: Fault) -> str:
    """Say what is charged for a fault."""
    if fault.event == "VerdictGiven" and fault.calls > 1:
        return "what the service tells" if "fit" in fault.what else "what the service tells of the second"
    return {"told": "what the service tells", "worst": "the worst", "nothing": "nothing"}[fault.charged]


def fault_table() -> str:
    """Write the table of docs/models.md."""
    lines = ["| the service | the event | calls | charged |", "|---|---|---|---|"]
    for fault in FAULTS:
        event = "`VerdictGiven`" if fault.event == "VerdictGiven" else f"`VerdictFailed`, `{fault.event}`"
        lines.append(f"| {fault.what} | {event} | {fault.calls} | {charged_words(fault)} |")
    return "\n".join(lines)
