"""Offline voters: they answer a question with no network, no key and no cost, the same way on every machine.

Each is a pure function of the question's prompt parts. Importing this package loads no lexicon: a voter loads its
own when it scores its first text.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.voters.finance.model import FINANCE
from connectors.voters.letters.model import LETTERS
from connectors.voters.lexicons import TEXTBLOB, VADER
from connectors.voters.protocol import Answer, Failure, Opinion, Voter, computed
from connectors.voters.trend import TREND
from schemas.book import Book

__all__ = ["VOTERS", "Answer", "Failure", "Opinion", "Voter", "computed", "offline_voters"]

VOTERS: Mapping[str, Voter] = {
    "vader": VADER,
    "textblob": TEXTBLOB,
    "finance": FINANCE,
    "letters": LETTERS,
    "trend": TREND,
}
"""Kind of a model, as a book names it, to the voter behind it."""


def offline_voters(book: Book) -> dict[str, Voter]:
    """Give the voter behind each name in the book's `models` that needs no network."""
    return {name: VOTERS[model.kind] for name, model in book.models.items() if not model.is_outside}
