"""How far the parts are with a book: the records of topic `progress`, under a key of each part's own.

The desk's key is the book, and only the desk says what orders and questions there are. The executor's states on topic
`snapshots` have the same key as its progress.
"""

from __future__ import annotations

from agents.agent import NEVER
from schemas.operations import JournalProcessed


def part_key(book: str, part: str = "") -> str:
    """Give the key of a part's records on a book; without a part, the desk's."""
    return f"{part}/{book}" if part else book


def processed(
    name: str,
    book: str,
    seq: int,
    at: int,
    *,
    part: str = "",
    cause: str = "",
    due: int = NEVER,
    orders: int = 0,
    requests: int = 0,
) -> JournalProcessed:
    """Tell, under the id `name`, that a part has taken entry `seq` of a book and seen the time `at`, in ns."""
    return JournalProcessed(
        id=name,
        key=part_key(book, part),
        occurred_at=at,
        observed_at=at,
        book=book,
        seq=seq,
        cause=cause,
        due=0 if due == NEVER else due,
        orders=orders,
        requests=requests,
    )
