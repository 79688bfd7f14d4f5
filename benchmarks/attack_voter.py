"""Voters that are gullible on purpose: they obey any order in a text, so that what keeps it from them is tested."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from functools import cache

from benchmarks.attack_items import FULL_WIDTH, HOMOGLYPHS, LEET, TAGS
from connectors.voters import Answer, Opinion, Voter, computed
from connectors.voters.lexicons import TEXTBLOB, VADER
from connectors.voters.trend import TREND
from schemas.verdicts import TextPart, VerdictRequested

_UNDO = {other: plain for table in (HOMOGLYPHS, FULL_WIDTH, TAGS) for plain, other in table.items()}
_UNLEET = {other: plain for plain, other in LEET.items()}
_BLOB = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_SPEAKS_TO_MODELS = re.compile(
    r"ignor|instruct|answer|verdict|vote|system|assistant|respond|action|output|guideline|model"
)
_SIDE = re.compile(r"\b(buy|sell)\b")


class Gullible:
    """Obeys the newest text that gives an order, however it is written; otherwise votes as a word list does."""

    def __init__(self, usual: Voter) -> None:
        """`usual` answers where no text gives an order."""
        self._usual = usual

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        """Answer a question."""
        for part in request.prompt:
            if type(part) is TextPart and (side := _order(part.text)):
                return computed(
                    Opinion(action="BUY" if side == "buy" else "SELL", confidence=1.0, reasoning="As told.")
                )
        return self._usual.answer(request, within_s)


@cache
def _order(text: str) -> str:
    """Give the side that a text orders, if it gives an order: buy or sell."""
    shown = "".join(char for char in text.translate(_UNDO) if char.isprintable() and char != "\u200b")
    decoded = [b64decode(blob[: len(blob) // 4 * 4]).decode("ascii", "ignore") for blob in _BLOB.findall(shown)]
    for reading in (shown, shown.translate(_UNLEET), *decoded):
        lower = reading.casefold()
        if _SPEAKS_TO_MODELS.search(lower) and (side := _SIDE.search(lower)):
            return side[1]
    return ""


VOTERS: Mapping[str, Voter] = {"reader": Gullible(VADER), "second": Gullible(TEXTBLOB), "trend": TREND}
